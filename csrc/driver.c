/* plan -> scratch -> parallel -> kernel.
 *
 * The rows of a call are cut into chunks whose number and size depend on the shape alone. Threads
 * take runs of chunks; a scalar loss is summed within its chunk and then over the chunks in order,
 * so it does not depend on the number of threads. A thread's rows go to the kernel in tiles:
 * where a row lies contiguous, as they are; otherwise by way of a contiguous copy of the tile.
 * (One file, though a long one: a call is followed from its plan to its result without leaving it.)
 */
#include "cpu.h"
#include "dispatch.h"
#include "fastsoftmax.h"
#include "layout.h"
#include "math/state.h"
#include "parallel.h"
#include "range.h"
#include "targets.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

enum {
    MAX_CHUNKS = 256,
    TILE = 128,                  /* rows a kernel call */
    CHUNK_ELEMENTS = 4096,       /* at least */
    THREAD_ELEMENTS = 16384,     /* work that pays for waking one more thread */
    GATHER_BYTES = 256 * 1024,   /* of a tile copied to lie contiguous */
    COLS_BYTES = 16 * 1024,      /* of a tile of rows side by side: it is gone through three times */
    COLS_SPARE = 2048,           /* beyond it, for squares that are transposed whole */
    COLS_CLASSES = 128,          /* contiguous rows up to this length go side by side */
    KEEP_BYTES = 512 * 1024,     /* rows up to this size keep their terms: half a second-level cache */
    STACK_BLOCKS = 64            /* of a kept row, at most */
};

typedef struct {
    const fs_call *call;
    const fs_kernels *kernels;
    fs_kernel *kernel;
    fs_layout layout;
    int mixed;
    int cols;          /* rows side by side */
    int stream;        /* the result goes past the caches */
    int split;         /* threads that share a row; 0: none does */
    fs_split_row pieces;
    void *class_weight; /* in the dtype of the logits, for mixed losses; 0: all one */
    void *class_weight_low; /* behind it: what float32 loses of them; 0: nothing */
    double weight_total, weight_scale;
    int size;          /* bytes an element */
    int64_t chunk;     /* rows a chunk */
    int64_t chunks;
    int gather_x, gather_other, gather_y;
    size_t tile_bytes; /* of one array's tile, in scratch */
    int64_t tile;      /* rows a tile */
    char *scratch;     /* scratch_bytes a thread */
    size_t scratch_bytes;
    double divisor;    /* of the gradient: 0 where there is nothing to average */
    wide sums[MAX_CHUNKS];
    wide huge[MAX_CHUNKS]; /* of losses above HUGE_LOSS, times HUGE_SCALE */
} plan;

#define HUGE_LOSS 0x1p+900
#define HUGE_SCALE 0x1p-200

static int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
static int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }

static int is_loss(fs_op op)
{
    return op == FS_CROSS_ENTROPY || op == FS_CROSS_ENTROPY_GRAD || op == FS_NLL;
}

/* Whether every class has a coefficient of its own. */
static int is_mixed(const fs_call *call)
{
    return is_loss(call->op) && (call->other.data || call->smoothing != 0.0);
}

/* Whether a row is one number to pick out, not one to go through. */
static int picks(const fs_call *call) { return call->op == FS_NLL && call->target.data; }

static fs_kernel *kernel_of(const fs_kernels *kernels, fs_op op, int mixed)
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

/* The kernel that takes rows side by side, or 0. */
static fs_kernel *cols_kernel_of(const fs_kernels *kernels, fs_op op)
{
    switch (op) {
    case FS_SOFTMAX: return kernels->softmax_cols;
    case FS_LOG_SOFTMAX: return kernels->log_softmax_cols;
    case FS_LOGSUMEXP: return kernels->logsumexp_cols;
    case FS_CROSS_ENTROPY: return kernels->cross_entropy_cols;
    case FS_CROSS_ENTROPY_GRAD: return kernels->cross_entropy_grad_cols;
    default: return 0;
    }
}

/* The kernels that take a row in pieces, or 0. */
static const fs_split_kernel *split_kernel_of(const fs_kernels *kernels, fs_op op)
{
    switch (op) {
    case FS_SOFTMAX: return &kernels->softmax_split;
    case FS_LOG_SOFTMAX: return &kernels->log_softmax_split;
    case FS_LOGSUMEXP: return &kernels->logsumexp_split;
    case FS_CROSS_ENTROPY: return &kernels->cross_entropy_split;
    case FS_CROSS_ENTROPY_GRAD: return &kernels->cross_entropy_grad_split;
    default: return 0;
    }
}

static int writes_rows(fs_op op)
{
    return op != FS_LOGSUMEXP && op != FS_CROSS_ENTROPY && op != FS_NLL && op != FS_STATE;
}

static int is_given(fs_op op) { return op == FS_SOFTMAX_GIVEN || op == FS_LOG_SOFTMAX_GIVEN; }

static void store_value(const fs_call *call, char *to, double value)
{
    if (call->dtype == FS_FLOAT32)
        *(float *)(void *)to = (float)value;
    else
        *(double *)(void *)to = value;
}

static void take_values(const plan *p, const fs_rows *rows, const int64_t *offsets)
{
    const int64_t step = fs_layout_step(&p->layout, FS_AT_VALUE);
    for (int64_t i = 0; i < rows->rows; i++)
        store_value(p->call, p->call->value.data + offsets[FS_AT_VALUE] + i * step, rows->value[i]);
}

/* Weighs a tile's losses. 0 times an infinite loss is 0: a class or sample of weight 0 costs
 * nothing, while NaN still shows. (A row that is not counted has a loss of 0 already.) */
static void weigh_losses(const plan *p, const fs_rows *rows, const fs_sample_factors *factors)
{
    const double z_loss = p->mixed ? 0.0 : p->call->z_loss;
    if (!fs_is_weighted(p->call) && z_loss == 0.0)
        return;
    for (int64_t i = 0; i < rows->rows; i++) {
        double loss = rows->value[i];
        const double weight = factors->weight[i];
        loss = weight == 0.0 && loss - loss != 0 && loss == loss ? 0.0 : loss * weight;
        if (z_loss != 0.0)
            loss += factors->sample[i] * z_loss * rows->lse[i] * rows->lse[i];
        rows->value[i] = loss;
    }
}

/* Losses so large that their sum may overflow where their mean does not go to a sum of their own.
 * (Those of float32 are summed in float64: theirs cannot.) */
static void set_huge_aside(plan *p, int64_t row, const fs_rows *rows)
{
    double largest = 0.0;
    if (p->call->dtype == FS_FLOAT32)
        return;
    for (int64_t i = 0; i < rows->rows; i++)
        largest = fabs(rows->value[i]) > largest ? fabs(rows->value[i]) : largest;
    if (largest <= HUGE_LOSS)
        return;
    for (int64_t i = 0; i < rows->rows; i++) {
        const double loss = rows->value[i];
        wide *huge = &p->huge[(row + i) / p->chunk];
        if (fabs(loss) > HUGE_LOSS && loss - loss == 0) {
            *huge = wide_add(*huge, wide_of(loss * HUGE_SCALE, 0.0));
            rows->value[i] = 0.0;
        }
    }
}

/* Adds a tile's losses to the sums of their chunks, each with its rounding error. */
static void sum_losses(plan *p, int64_t row, const fs_rows *rows)
{
    set_huge_aside(p, row, rows);
    for (int64_t i = 0; i < rows->rows;) {
        const int64_t chunk = (row + i) / p->chunk;
        const int64_t end = at_most(rows->rows, (chunk + 1) * p->chunk - row);
        wide sum = p->sums[chunk];
        for (; i < end; i++) {
            const wide next = two_sum(sum.high, rows->value[i]);
            sum = wide_of(next.high, sum.low + next.low);
        }
        p->sums[chunk] = sum;
    }
}

static void take_losses(plan *p, int64_t row, const fs_rows *rows,
                        const fs_sample_factors *factors, const int64_t *offsets)
{
    weigh_losses(p, rows, factors);
    if (p->call->reduction != FS_NONE)
        sum_losses(p, row, rows);
    else if (p->call->value.data)
        take_values(p, rows, offsets);
}

/* The states of a tile's rows, to or from the kernel. */
static void copy_states(const plan *p, const fs_rows *rows, const int64_t *offsets)
{
    const size_t bytes = STATE_NUMBERS * sizeof(double);
    for (int64_t i = 0; i < rows->rows; i++) {
        char *at = p->call->value.data + offsets[FS_AT_VALUE] +
                   i * fs_layout_step(&p->layout, FS_AT_VALUE);
        double *state = rows->state + i * STATE_NUMBERS;
        memcpy(is_given(p->call->op) ? (void *)state : at,
               is_given(p->call->op) ? at : (const void *)state, bytes);
    }
}

/* Rows of one array as the kernel wants them: as they lie, or copied to lie contiguous. */
static const void *read_rows(const plan *p, const fs_array *array, int which, int gather,
                             int64_t count, const int64_t *offsets, char *scratch, int64_t *step)
{
    const char *from = array->data + offsets[which];
    const int64_t row_step = fs_layout_step(&p->layout, which);
    *step = gather ? p->call->n : row_step / p->size;
    if (!gather)
        return from;
    fs_gather(scratch, from, count, row_step, p->call->n, array->class_stride, p->size);
    return scratch;
}

static void place_rows(const plan *p, fs_rows *rows, const int64_t *offsets, char *scratch)
{
    const fs_call *call = p->call;
    rows->x_class = call->x.class_stride / p->size;
    rows->y_class = call->y.class_stride / p->size;
    rows->tile = scratch;
    rows->x = read_rows(p, &call->x, FS_AT_X, p->gather_x, rows->rows, offsets, scratch,
                        &rows->x_step);
    if (call->other.data)
        rows->other = read_rows(p, &call->other, FS_AT_OTHER, p->gather_other, rows->rows, offsets,
                                scratch + p->tile_bytes, &rows->other_step);
    if (!writes_rows(call->op))
        return;
    rows->y = call->y.data + offsets[FS_AT_Y];
    rows->y_step = fs_layout_step(&p->layout, FS_AT_Y) / p->size;
    if (p->gather_y) { /* the copy of x is not needed afterwards: written over */
        rows->y = scratch;
        rows->y_step = rows->n;
    }
}

/* The negative log-probability of each row's target. */
static void pick_targets(const plan *p, const fs_rows *rows, const int64_t *offsets)
{
    const char *x = p->call->x.data + offsets[FS_AT_X];
    const int64_t step = fs_layout_step(&p->layout, FS_AT_X);
    for (int64_t i = 0; i < rows->rows; i++) {
        const int64_t t = rows->target[i] < 0 ? 0 : rows->target[i];
        const char *at = x + i * step + t * p->call->x.class_stride;
        if (rows->target[i] < 0)
            rows->value[i] = 0.0;
        else
            rows->value[i] = -(p->size == 4 ? (double)*(const float *)(const void *)at
                                            : *(const double *)(const void *)at);
    }
}

typedef struct {
    const fs_split_kernel *kernel;
    const fs_rows *rows;
    fs_split_row *split;
    int write;
} split_step;

static void run_pieces(void *context, int thread, int threads)
{
    const split_step *step = context;
    const int64_t pieces = step->split->pieces;
    const int64_t last = pieces * (thread + 1) / threads;
    for (int64_t piece = pieces * thread / threads; piece < last; piece++)
        if (step->write)
            step->kernel->write(step->rows, step->split, piece);
        else
            step->kernel->reduce(step->rows, step->split, piece);
}

/* One row on all threads. */
static void run_split(plan *p, const fs_rows *rows)
{
    split_step step = {split_kernel_of(p->kernels, p->call->op), rows, &p->pieces, 0};
    p->pieces.shift = 0.0;
    do
        fs_parallel(p->split, run_pieces, &step);
    while (!step.kernel->end(rows, &p->pieces));
    step.write = 1;
    if (step.kernel->write)
        fs_parallel(p->split, run_pieces, &step);
}

/* Gradient factors as the kernel wants them. Mixed losses take their weights over a scale, and one
 * factor for all. */
static int fit_factors(const plan *p, const fs_rows *rows, const fs_sample_factors *factors)
{
    for (int64_t i = 0; p->mixed && i < rows->rows; i++)
        factors->z_factor[i] = factors->factor[i] *= p->weight_scale;
    return fs_range_factors(rows->rows, factors->factor, factors->z_factor, factors->power);
}

static void run_tile(plan *p, int64_t row, int64_t count, const int64_t *offsets, char *scratch,
                     int64_t *exponents)
{
    const fs_call *call = p->call;
    double value[TILE], lse[TILE], weight[TILE], sample[TILE], factor[TILE], z_factor[TILE];
    double power[TILE], state[TILE * STATE_NUMBERS];
    fs_sample_factors factors = {weight, sample, factor, z_factor, power};
    int64_t target[TILE];
    fs_rows rows = {0};
    rows.rows = count;
    rows.n = call->n;
    rows.value = value;
    rows.target = target;
    rows.factor = factor;
    rows.z_factor = z_factor;
    rows.lse = lse;
    rows.state = state;
    rows.exponents = exponents;
    rows.stream = p->stream;
    rows.keep = call->n * p->size <= (p->stream ? p->kernels->block * p->size : KEEP_BYTES);
    rows.class_weight = p->class_weight;
    rows.class_weight_low = p->class_weight_low;
    rows.weight_total = p->weight_total;
    rows.weight_scale = p->weight_scale;
    rows.smoothing = call->smoothing;
    rows.z_loss = call->z_loss;
    if (is_loss(call->op))
        fs_targets_tile(call, &p->layout, offsets, count, p->divisor, !p->mixed, target, &factors);
    const int out_of_range = call->op == FS_CROSS_ENTROPY_GRAD && fit_factors(p, &rows, &factors);
    if (picks(call)) {
        pick_targets(p, &rows, offsets);
    } else {
        place_rows(p, &rows, offsets, scratch);
        if (is_given(call->op))
            copy_states(p, &rows, offsets);
        if (p->split)
            run_split(p, &rows);
        else
            p->kernel(&rows);
    }
    if (out_of_range)
        fs_range_apply(call->dtype, rows.y, count, rows.y_step, rows.n,
                       p->gather_y ? 1 : rows.y_class, factors.power);
    if (is_loss(call->op))
        take_losses(p, row, &rows, &factors, offsets);
    else if (call->op == FS_LOGSUMEXP)
        take_values(p, &rows, offsets);
    else if (call->op == FS_STATE)
        copy_states(p, &rows, offsets);
    if (writes_rows(call->op) && p->gather_y)
        fs_scatter(call->y.data + offsets[FS_AT_Y], rows.y, count,
                   fs_layout_step(&p->layout, FS_AT_Y), call->n, call->y.class_stride, p->size);
}

static void run_chunks(void *context, int thread, int threads)
{
    plan *p = context;
    int64_t exponents[STACK_BLOCKS], offsets[FS_ARRAYS];
    char *scratch = p->scratch ? p->scratch + p->scratch_bytes * (size_t)thread : 0;
    const int64_t first = p->chunks * thread / threads, last = p->chunks * (thread + 1) / threads;
    const int64_t end = at_most(last * p->chunk, p->layout.rows);
    for (int64_t row = first * p->chunk; row < end;) {
        const int64_t even = fs_layout_locate(&p->layout, row, offsets);
        const int64_t count = at_most(at_most(even, end - row), p->tile);
        run_tile(p, row, count, offsets, scratch, exponents);
        row += count;
    }
}

static int lies_apart(const plan *p, const fs_array *array)
{
    return array->data && p->call->n > 1 && array->class_stride != p->size && !picks(p->call);
}

/* A result that the caches cannot hold is written past them, unless it takes the place of the logits,
 * whose lines are there already. */
static int goes_past_caches(const plan *p)
{
    const fs_call *call = p->call;
    const int64_t bytes = p->layout.rows * call->n * p->size;
    return writes_rows(call->op) && !p->gather_y && call->y.data != call->x.data &&
           bytes > fs_cpu_last_cache() / 4 * 3;
}

/* Whether contiguous rows are better taken side by side: short ones, if they fill the lanes. */
static int pays_side_by_side(const fs_kernels *kernels, int64_t rows, int64_t n)
{
    return kernels->lanes > 1 && n <= COLS_CLASSES && 2 * rows >= kernels->lanes;
}

/* Rows to a tile of rows side by side. */
static int64_t cols_rows(const fs_kernels *kernels, int64_t n, int64_t size)
{
    const int64_t bytes = at_least(n, 1) * size * kernels->lanes;
    return at_least(1, at_most(COLS_BYTES / bytes, TILE / kernels->lanes)) * kernels->lanes;
}

/* Rows go side by side where a row is short, and where its classes lie apart in memory. Both ways
 * give the same bits: which one is a matter of speed alone. */
static int goes_side_by_side(const plan *p)
{
    const fs_call *call = p->call;
    if (p->mixed || !cols_kernel_of(p->kernels, call->op) || call->n > p->kernels->block)
        return 0;
    if (lies_apart(p, &call->x) || (writes_rows(call->op) && lies_apart(p, &call->y)))
        return 1;
    return pays_side_by_side(p->kernels, p->layout.rows, call->n);
}

static void plan_cols(plan *p)
{
    p->kernel = cols_kernel_of(p->kernels, p->call->op);
    p->tile = cols_rows(p->kernels, p->call->n, p->size);
    p->gather_x = p->gather_y = 0;
}

/* Rows to a chunk and to a tile, and whether rows must be copied to lie contiguous. */
static void make_plan(plan *p, const fs_call *call)
{
    p->call = call;
    p->kernels = fs_dispatch(call->dtype);
    p->mixed = is_mixed(call);
    p->kernel = kernel_of(p->kernels, call->op, p->mixed);
    p->size = call->dtype == FS_FLOAT32 ? 4 : 8;
    fs_layout_init(&p->layout, call);
    const int64_t n = at_least(call->n, 1), rows = p->layout.rows;
    p->chunk = at_least((rows + MAX_CHUNKS - 1) / MAX_CHUNKS, (CHUNK_ELEMENTS + n - 1) / n);
    p->chunks = (rows + p->chunk - 1) / p->chunk;
    p->gather_x = lies_apart(p, &call->x);
    p->gather_other = lies_apart(p, &call->other);
    p->gather_y = writes_rows(call->op) && lies_apart(p, &call->y);
    p->tile = TILE;
    if (p->gather_x || p->gather_other || p->gather_y)
        p->tile = at_least(1, at_most(16, GATHER_BYTES / (n * p->size)));
    p->stream = goes_past_caches(p);
    p->cols = goes_side_by_side(p);
    if (p->cols)
        plan_cols(p);
    memset(p->sums, 0, (size_t)p->chunks * sizeof *p->sums);
    memset(p->huge, 0, (size_t)p->chunks * sizeof *p->huge);
}

/* How many threads the work pays for. Fewer huge rows than threads are split, one after another. */
static int plan_threads(plan *p)
{
    const fs_call *call = p->call;
    const int64_t work = p->layout.rows * (picks(call) ? 1 : call->n) / THREAD_ELEMENTS;
    p->split = 0;
    if (work < 2)
        return 1;
    const int64_t threads = at_most(fs_threads_resolve(call->threads), work);
    p->pieces.pieces = (call->n + p->kernels->piece - 1) / p->kernels->piece;
    if (p->layout.rows < threads && p->pieces.pieces > 1 && !p->mixed && !p->cols &&
        !p->gather_x && !p->gather_y && split_kernel_of(p->kernels, call->op)) {
        p->split = (int)at_most(threads, p->pieces.pieces);
        p->tile = 1;
        return 1;
    }
    return (int)at_most(threads, p->chunks);
}

/* The power of two that leaves the largest weight of size 1 to 2, whatever they are measured in. */
static int weight_exponent(const fs_call *call)
{
    double largest = 0.0;
    for (int64_t j = 0; j < call->n; j++)
        if (fabs(call->weight[j]) > largest)
            largest = fabs(call->weight[j]);
    return largest > 0.0 && largest - largest == 0 ? ilogb(largest) : 0;
}

/* A mixed loss takes the class weights by vectors: a copy in the dtype of the logits. */
static int copy_class_weight(plan *p)
{
    const fs_call *call = p->call;
    wide total = {0.0, 0.0};
    p->class_weight = p->class_weight_low = 0;
    p->weight_total = (double)call->n;
    p->weight_scale = 1.0;
    if (!p->mixed || !call->weight)
        return 1;
    const int exponent = weight_exponent(call), single = call->dtype == FS_FLOAT32;
    p->weight_scale = ldexp(1.0, exponent);
    p->class_weight = malloc((size_t)(2 * call->n * p->size));
    char *low = p->class_weight ? (char *)p->class_weight + call->n * p->size : 0;
    for (int64_t j = 0; low && j < call->n; j++) {
        const double weight = ldexp(call->weight[j], -exponent);
        const double lost = single ? weight - (double)(float)weight : 0.0;
        store_value(call, (char *)p->class_weight + j * p->size, weight);
        store_value(call, low + j * p->size, lost);
        if (lost != 0.0)
            p->class_weight_low = low;
        total = wide_add(total, wide_of(weight, 0.0));
    }
    p->weight_total = total.high + total.low;
    return low != 0;
}

static int allocate(plan *p, int threads)
{
    p->scratch = 0;
    p->pieces.states = 0;
    p->tile_bytes = p->scratch_bytes = 0;
    if (!copy_class_weight(p))
        return 0;
    if (p->split) {
        p->pieces.states = malloc((size_t)p->pieces.pieces * sizeof(fs_piece));
        return p->pieces.states != 0;
    }
    if (!p->gather_x && !p->gather_other && !p->gather_y && !p->cols)
        return 1;
    const int64_t n = p->call->n;
    const int64_t tile = p->cols ? fs_tile_elements(p->kernels, p->tile, n) : p->tile * n;
    /* whole cache lines, so that threads do not share one */
    p->tile_bytes = (size_t)(tile * p->size + 127) / 64 * 64;
    p->scratch_bytes = p->tile_bytes * (p->gather_other ? 2 : 1);
    p->scratch = malloc(p->scratch_bytes * (size_t)threads);
    return p->scratch != 0;
}

static void finish_loss(fs_call *call, const plan *p, const fs_target_sums *targets)
{
    wide total = {0.0, 0.0}, huge = {0.0, 0.0};
    for (int64_t chunk = 0; chunk < p->chunks; chunk++) {
        total = wide_add(total, p->sums[chunk]);
        huge = wide_add(huge, p->huge[chunk]);
    }
    const double divisor = fs_targets_divisor(call, targets), scale = huge.high ? HUGE_SCALE : 1.0;
    total = wide_add(wide_scale(total, scale), huge);
    call->loss = divisor == 0.0 ? NAN : wide_value(total) / divisor / scale;
}

fs_status fs_run(fs_call *call)
{
    fs_status status = {FS_OK, 0, 0};
    fs_target_sums targets = {0};
    plan p;
    make_plan(&p, call);
    const int threads = plan_threads(&p);
    if (is_loss(call->op)) {
        status = fs_targets_check(call, &p.layout, &targets);
        if (status.error != FS_OK)
            return status;
        p.divisor = fs_targets_divisor(call, &targets);
    }
    if (call->n == 0)
        return status;
    if (allocate(&p, threads))
        fs_parallel(threads, run_chunks, &p);
    else
        status.error = FS_NO_MEMORY;
    free(p.scratch);
    free(p.class_weight);
    free(p.pieces.states);
    finish_loss(call, &p, &targets);
    return status;
}

int fs_is_small(int64_t rows, int64_t n)
{
    return n > 0 && rows <= TILE && rows * n < THREAD_ELEMENTS;
}

/* Values as they are stored: in the dtype of the logits. */
static void store_values(fs_dtype dtype, const double *value, int64_t rows, char *y)
{
    for (int64_t i = 0; i < rows; i++)
        if (dtype == FS_FLOAT32)
            ((float *)(void *)y)[i] = (float)value[i];
        else
            ((double *)(void *)y)[i] = value[i];
}

static void run_small(fs_op op, fs_dtype dtype, fs_kernel *kernel, int64_t tile, fs_rows *batch,
                      int64_t rows)
{
    const int64_t size = dtype == FS_FLOAT32 ? 4 : 8, n = batch->n;
    const int64_t step = size * (op == FS_LOGSUMEXP ? 1 : n);
    const char *x = batch->x;
    char *y = batch->y;
    for (int64_t row = 0; row < rows; row += tile) {
        batch->rows = at_most(tile, rows - row);
        batch->x = x + row * n * size;
        batch->y = op == FS_LOGSUMEXP ? 0 : y + row * step;
        kernel(batch);
        if (op == FS_LOGSUMEXP)
            store_values(dtype, batch->value, batch->rows, y + row * step);
    }
}

void fs_run_rows(fs_op op, fs_dtype dtype, const void *x, void *y, int64_t rows, int64_t n)
{
    double value[TILE];
    int64_t exponents[STACK_BLOCKS];
    const fs_kernels *kernels = fs_dispatch(dtype);
    fs_rows batch = {0};
    batch.n = n;
    batch.x = x;
    batch.y = y;
    batch.x_step = batch.y_step = n;
    batch.x_class = batch.y_class = 1;
    batch.value = value;
    batch.exponents = exponents;
    batch.keep = 1;
    if (pays_side_by_side(kernels, rows, n)) {
        double tile[(COLS_BYTES + COLS_SPARE) / sizeof(double)];
        batch.tile = tile;
        run_small(op, dtype, cols_kernel_of(kernels, op),
                  cols_rows(kernels, n, dtype == FS_FLOAT32 ? 4 : 8), &batch, rows);
    } else {
        run_small(op, dtype, kernel_of(kernels, op, 0), TILE, &batch, rows);
    }
}
