#include "pieces.h"
#include "parallel.h"
#include "range.h"

typedef struct {
    const fs_plan *p;
    fs_piece_task *task;
    const void *job;
} piece_step;

static void run_pieces(void *context, int thread, int64_t first, int64_t last)
{
    const piece_step *step = context;
    const int64_t length = step->p->kernels->piece, n = step->p->call->n;
    (void)thread;
    for (int64_t i = first; i < last; i++)
        step->task(step->job, i * length, at_most(length, n - i * length),
                   &step->p->pieces.results[i]);
}

int fs_each_piece(void *driver, fs_piece_task *task, const void *job)
{
    fs_plan *p = driver;
    piece_step step = {p, task, job};
    const fs_work work = {p->pieces.count, 1, p->kernels->piece, p->call->threads};
    return fs_parallel(&p->pace, p->split, &work, run_pieces, &step);
}

/* Elements on their way, from one class to the next as many bytes; or multiplied where they are. */
typedef struct {
    char *to;
    const char *from;
    int64_t to_class, from_class;
    const fs_plan *p;
    const double *power;
} piece_move;

static void gather_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    const piece_move *move = job;
    (void)result;
    fs_gather(move->to + begin * move->to_class, move->from + begin * move->from_class, 1, 0, n,
              move->from_class, move->p->size);
}

static void scatter_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    const piece_move *move = job;
    (void)result;
    fs_scatter(move->to + begin * move->to_class, move->from + begin * move->from_class, 1, 0, n,
               move->to_class, move->p->size);
}

static void multiply_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    const piece_move *move = job;
    (void)result;
    fs_range_apply(move->p->call->dtype, move->to + begin * move->to_class, 1, 0, n,
                   move->to_class / move->p->size, move->power);
}

void fs_pieces_gather(fs_plan *p, char *to, const char *from, int64_t from_class)
{
    const piece_move move = {to, from, p->size, from_class, p, 0};
    fs_each_piece(p, gather_piece, &move);
}

void fs_pieces_scatter(fs_plan *p, char *to, const char *from, int64_t to_class)
{
    const piece_move move = {to, from, to_class, p->size, p, 0};
    fs_each_piece(p, scatter_piece, &move);
}

void fs_pieces_multiply(fs_plan *p, char *y, int64_t y_class, const double *power)
{
    const piece_move move = {y, 0, y_class, 0, p, power};
    fs_each_piece(p, multiply_piece, &move);
}
