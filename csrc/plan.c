#include "plan.h"
#include "cpu.h"
#include <string.h>

enum {
    CHUNK_ELEMENTS = 4096,       /* at least */
    GATHER_BYTES = 256 * 1024,   /* of a tile copied to lie contiguous */
    COLS_CLASSES = 256,          /* contiguous rows up to this length go side by side */
    ACROSS_LEAST = 48,           /* up to here in a transposed tile (where there is <op>_across) */
    ACROSS_MOST = 256,           /* beyond, one by one */
    KEEP_BYTES = 4 << 20,        /* rows up to this size keep their terms */
    LONG_ROW = 1 << 22           /* a call does not wait for the end of such a row to be interrupted */
};

int fs_is_loss(fs_op op)
{
    return op == FS_CROSS_ENTROPY || op == FS_CROSS_ENTROPY_GRAD || op == FS_NLL;
}

/* Whether every class has a coefficient of its own. */
static int is_mixed(const fs_call *call)
{
    return fs_is_loss(call->op) && (call->other.data || call->smoothing != 0.0);
}

int fs_picks(const fs_call *call) { return call->op == FS_NLL && call->target.data; }

fs_kernel *fs_kernel_of(const fs_kernels *kernels, fs_op op, int mixed)
{
    if (op == FS_NLL)
        return kernels->nll_soft;
    if (mixed)
        return op == FS_CROSS_ENTROPY ? kernels->cross_entropy_mixed
                                      : kernels->cross_entropy_mixed_grad;
    switch (op) {
    case FS_SOFTMAX: return kernels->softmax;
    case FS_LOG_SOFTMAX: return kernels->log_softmax;
    case FS_LOGSUMEXP: return kernels->logsumexp;
    case FS_CROSS_ENTROPY: return kernels->cross_entropy;
    case FS_CROSS_ENTROPY_GRAD: return kernels->cross_entropy_grad;
    case FS_SOFTMAX_BACKWARD: return kernels->softmax_backward;
    case FS_STATE: return kernels->state;
    case FS_SOFTMAX_GIVEN: return kernels->softmax_given;
    case FS_LOG_SOFTMAX_GIVEN: return kernels->log_softmax_given;
    default: return kernels->log_softmax_backward;
    }
}

fs_kernel *fs_across_kernel_of(const fs_kernels *kernels, fs_op op, int64_t n)
{
    if (n <= ACROSS_LEAST || n > ACROSS_MOST)
        return 0;
    switch (op) {
    case FS_SOFTMAX: return kernels->softmax_across;
    case FS_LOG_SOFTMAX: return kernels->log_softmax_across;
    case FS_LOGSUMEXP: return kernels->logsumexp_across;
    case FS_CROSS_ENTROPY: return kernels->cross_entropy_across;
    case FS_CROSS_ENTROPY_GRAD: return kernels->cross_entropy_grad_across;
    default: return 0;
    }
}

fs_kernel *fs_cols_kernel_of(const fs_kernels *kernels, fs_op op, int mixed)
{
    if (mixed && op == FS_CROSS_ENTROPY)
        return kernels->cross_entropy_mixed_cols;
    if (mixed)
        return op == FS_CROSS_ENTROPY_GRAD ? kernels->cross_entropy_mixed_grad_cols : 0;
    switch (op) {
    case FS_SOFTMAX: return kernels->softmax_cols;
    case FS_LOG_SOFTMAX: return kernels->log_softmax_cols;
    case FS_LOGSUMEXP: return kernels->logsumexp_cols;
    case FS_CROSS_ENTROPY: return kernels->cross_entropy_cols;
    case FS_CROSS_ENTROPY_GRAD: return kernels->cross_entropy_grad_cols;
    default: return 0;
    }
}

int fs_writes_rows(fs_op op)
{
    return op != FS_LOGSUMEXP && op != FS_CROSS_ENTROPY && op != FS_NLL && op != FS_STATE;
}

int fs_is_given(fs_op op) { return op == FS_SOFTMAX_GIVEN || op == FS_LOG_SOFTMAX_GIVEN; }

static int lies_apart(const fs_plan *p, const fs_array *array)
{
    return array->data && p->call->n > 1 && array->class_stride != p->size && !fs_picks(p->call);
}

/* A result that the caches cannot hold is written past them, unless it takes the place of the
 * logits, whose lines are there already. Terms of several blocks wait in the result's own lines:
 * one thread alone, which does not use up what the memory can move, had better leave them there (n
 * = 128,256: 44 to 34 us a row). Rows across fetch the place of their results in time, which does
 * as well up to twice the cache (65,536 x 100: 1.01 ms, 1.13 past the caches). */
static int goes_past_caches(const fs_plan *p)
{
    const fs_call *call = p->call;
    const int64_t bytes = p->layout.rows * call->n * p->size;
    const int waits = (call->op == FS_SOFTMAX || call->op == FS_CROSS_ENTROPY_GRAD) && !p->cols &&
                      !p->across && !p->mixed && !p->split && p->threads == 1 && p->keep &&
                      call->n > p->kernels->block;
    const int64_t most = p->across ? 2 * fs_cpu_last_cache() : fs_cpu_last_cache() / 4 * 3;
    return fs_writes_rows(call->op) && !p->gather_y && call->y.data != call->x.data && !waits &&
           bytes > most;
}

/* Short ones, if they fill the lanes. */
int fs_pays_side_by_side(const fs_kernels *kernels, int64_t rows, int64_t n)
{
    return kernels->lanes > 1 && n <= COLS_CLASSES && 2 * rows >= kernels->lanes;
}

int64_t fs_cols_rows(const fs_kernels *kernels, int64_t n, int64_t size)
{
    const int64_t bytes = at_least(n, 1) * size * kernels->lanes;
    return at_least(1, at_most(FS_COLS_BYTES / bytes, FS_TILE / kernels->lanes)) * kernels->lanes;
}

/* Rows go side by side where a row is short, and where its classes lie apart in memory. Both ways
 * give the same bits: which one is a matter of speed alone. */
static int goes_side_by_side(const fs_plan *p)
{
    const fs_call *call = p->call;
    if (!fs_cols_kernel_of(p->kernels, call->op, p->mixed) || call->n > p->kernels->block)
        return 0;
    if (lies_apart(p, &call->x) || (fs_writes_rows(call->op) && lies_apart(p, &call->y)))
        return 1;
    return fs_pays_side_by_side(p->kernels, p->layout.rows, call->n);
}

static void plan_cols(fs_plan *p)
{
    const int arrays = p->call->other.data ? 2 : 1;
    p->kernel = fs_cols_kernel_of(p->kernels, p->call->op, p->mixed);
    p->tile = fs_cols_rows(p->kernels, p->call->n, p->size * arrays);
    p->gather_x = p->gather_other = p->gather_y = 0;
}

/* Whether a row has the same bits in pieces: all it is reduced to is the state that merges. */
static int is_same_in_pieces(const fs_plan *p)
{
    const fs_op op = p->call->op;
    return !p->mixed && op != FS_NLL && op != FS_SOFTMAX_BACKWARD && op != FS_LOG_SOFTMAX_BACKWARD;
}

/* Some contiguous rows at a time: likewise a matter of speed alone. */
static int goes_across(const fs_plan *p)
{
    return !p->mixed && !p->gather_x && !p->gather_y && 2 * p->layout.rows >= p->kernels->lanes &&
           fs_across_kernel_of(p->kernels, p->call->op, p->call->n);
}

static void plan_across(fs_plan *p)
{
    p->kernel = fs_across_kernel_of(p->kernels, p->call->op, p->call->n);
    p->tile = FS_TILE;
}

/* Rows that take long, and fewer huge rows than threads, go in pieces, one row after another. */
static int goes_in_pieces(const fs_plan *p, int64_t threads)
{
    const int few = p->layout.rows < threads && !p->gather_x && !p->gather_y &&
                    is_same_in_pieces(p);
    return (few || p->call->n >= LONG_ROW) && p->pieces.count > 1 && !p->cols &&
           !fs_picks(p->call);
}

/* How many threads the work pays for. */
static int plan_threads(fs_plan *p)
{
    const fs_call *call = p->call;
    const int64_t work = p->layout.rows * (fs_picks(call) ? 1 : call->n) / FS_THREAD_ELEMENTS;
    p->split = 0;
    p->pieces.count = (call->n + p->kernels->piece - 1) / p->kernels->piece;
    if (work < 2)
        return 1;
    const int64_t threads = at_most(fs_threads_resolve(call->threads), work);
    if (goes_in_pieces(p, threads)) {
        p->split = (int)at_most(threads, p->pieces.count);
        p->tile = 1;
        p->keep = 0;
        return 1;
    }
    return (int)at_most(threads, p->chunks);
}

void fs_plan_make(fs_plan *p, const fs_call *call)
{
    p->call = call;
    p->kernels = fs_dispatch(call->dtype);
    p->mixed = is_mixed(call);
    p->kernel = fs_kernel_of(p->kernels, call->op, p->mixed);
    p->size = call->dtype == FS_FLOAT32 ? 4 : 8;
    fs_layout_init(&p->layout, call);
    const int64_t n = at_least(call->n, 1), rows = p->layout.rows;
    p->chunk = at_least((rows + FS_MAX_CHUNKS - 1) / FS_MAX_CHUNKS, (CHUNK_ELEMENTS + n - 1) / n);
    p->chunks = (rows + p->chunk - 1) / p->chunk;
    p->gather_x = lies_apart(p, &call->x);
    p->gather_other = lies_apart(p, &call->other);
    p->gather_y = fs_writes_rows(call->op) && lies_apart(p, &call->y);
    p->tile = FS_TILE;
    if (p->gather_x || p->gather_other || p->gather_y)
        p->tile = at_least(1, at_most(16, GATHER_BYTES / (n * p->size)));
    p->across = goes_across(p);
    p->cols = !p->across && goes_side_by_side(p);
    if (p->across)
        plan_across(p);
    if (p->cols)
        plan_cols(p);
    p->keep = n * p->size <= KEEP_BYTES;
    p->threads = plan_threads(p);
    p->stream = goes_past_caches(p);
    p->keep &= !p->stream || n <= p->kernels->block;
    memset(p->sums, 0, (size_t)p->chunks * sizeof *p->sums);
    memset(p->huge, 0, (size_t)p->chunks * sizeof *p->huge);
}
