/* plan -> scratch -> parallel -> kernel.
 *
 * The rows of a call are cut into chunks whose number and size depend on the shape alone. Threads
 * take runs of chunks, a round at a time (pace.h); a scalar loss is summed within its chunk and
 * then over the chunks in order, so it does not depend on the number of threads. A thread's rows go
 * to the kernel in tiles: where a row lies contiguous, as they are; otherwise by way of a
 * contiguous copy of the tile.
 */
#include "losses.h"
#include "math/state.h"
#include "parallel.h"
#include "pieces.h"
#include "plan.h"
#include "range.h"
#include "targets.h"
#include <string.h>

/* The states of a tile's rows, to or from the kernel. */
static void copy_states(const fs_plan *p, const fs_rows *rows, const int64_t *offsets)
{
    const size_t bytes = STATE_NUMBERS * sizeof(double);
    for (int64_t i = 0; i < rows->rows; i++) {
        char *at = p->call->value.data + offsets[FS_AT_VALUE] +
                   i * fs_layout_step(&p->layout, FS_AT_VALUE);
        double *state = rows->state + i * STATE_NUMBERS;
        memcpy(fs_is_given(p->call->op) ? (void *)state : at,
               fs_is_given(p->call->op) ? at : (const void *)state, bytes);
    }
}

/* Rows of one array as the kernel wants them: as they lie, or copied to lie contiguous. */
static const void *read_rows(fs_plan *p, const fs_array *array, int which, int gather,
                             int64_t count, const int64_t *offsets, char *scratch, int64_t *step)
{
    const char *from = array->data + offsets[which];
    const int64_t row_step = fs_layout_step(&p->layout, which);
    *step = gather ? p->call->n : row_step / p->size;
    if (!gather)
        return from;
    if (p->split)
        fs_pieces_gather(p, scratch, from, array->class_stride);
    else
        fs_gather(scratch, from, count, row_step, p->call->n, array->class_stride, p->size);
    return scratch;
}

static void place_rows(fs_plan *p, fs_rows *rows, const int64_t *offsets, char *scratch)
{
    const fs_call *call = p->call;
    rows->x_class = call->x.class_stride / p->size;
    rows->y_class = call->y.class_stride / p->size;
    rows->other_class = p->gather_other ? 1 : call->other.class_stride / p->size;
    rows->tile = scratch;
    rows->other_tile = scratch + p->tile_bytes;
    rows->x = read_rows(p, &call->x, FS_AT_X, p->gather_x, rows->rows, offsets, scratch,
                        &rows->x_step);
    if (call->other.data)
        rows->other = read_rows(p, &call->other, FS_AT_OTHER, p->gather_other, rows->rows, offsets,
                                scratch + p->tile_bytes, &rows->other_step);
    if (!fs_writes_rows(call->op))
        return;
    rows->y = call->y.data + offsets[FS_AT_Y];
    rows->y_step = fs_layout_step(&p->layout, FS_AT_Y) / p->size;
    if (p->gather_y) { /* the copy of x is not needed afterwards: written over */
        rows->y = scratch;
        rows->y_step = rows->n;
    }
}

/* The negative log-probability of each row's target. */
static void pick_targets(const fs_plan *p, const fs_rows *rows, const int64_t *offsets)
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

static void apply_powers(fs_plan *p, const fs_rows *rows, const double *power)
{
    const int64_t step = p->gather_y ? 1 : rows->y_class;
    if (p->split)
        fs_pieces_multiply(p, rows->y, step * p->size, power);
    else
        fs_range_apply(p->call->dtype, rows->y, rows->rows, rows->y_step, rows->n, step, power);
}

static void place_back(fs_plan *p, const fs_rows *rows, const int64_t *offsets)
{
    const int64_t step = fs_layout_step(&p->layout, FS_AT_Y), stride = p->call->y.class_stride;
    char *to = p->call->y.data + offsets[FS_AT_Y];
    if (p->split)
        fs_pieces_scatter(p, to, rows->y, stride);
    else
        fs_scatter(to, rows->y, rows->rows, step, rows->n, stride, p->size);
}

/* Gradient factors as the kernel wants them. Mixed losses take their weights over a scale, and one
 * factor for all. */
static int fit_factors(const fs_plan *p, fs_rows *rows, const fs_sample_factors *factors)
{
    const int two = !p->mixed && p->call->z_loss != 0.0;
    const double one = factors->one * p->weight_scale;
    rows->z_factor = two ? factors->z_factor : factors->factor;
    for (int64_t i = 0; p->mixed && i < rows->rows; i++)
        factors->factor[i] *= p->weight_scale;
    if (fs_range_holds(one)) {
        rows->one_factor = one;
        return 0;
    }
    return fs_range_factors(rows->rows, factors->factor, two ? factors->z_factor : 0,
                            factors->power);
}

static void run_tile(fs_plan *p, int64_t row, int64_t count, const int64_t *offsets, char *scratch,
                     int64_t *exponents)
{
    const fs_call *call = p->call;
    double value[FS_TILE], z_term[FS_TILE], weight[FS_TILE], sample[FS_TILE], factor[FS_TILE];
    double z_factor[FS_TILE], power[FS_TILE], state[FS_TILE * STATE_NUMBERS];
    fs_sample_factors factors = {weight, sample, factor, z_factor, power, 0.0};
    int64_t target[FS_TILE];
    fs_rows rows = {0};
    rows.rows = count;
    rows.n = call->n;
    rows.value = value;
    rows.target = target;
    rows.factor = factor;
    rows.z_factor = z_factor;
    rows.z_term = z_term;
    rows.state = state;
    rows.exponents = exponents;
    rows.stream = p->stream;
    rows.keep = p->keep;
    rows.class_weight = p->class_weight;
    rows.class_weight_low = p->class_weight_low;
    rows.weight_total = p->weight_total;
    rows.weight_scale = p->weight_scale;
    rows.smoothing = call->smoothing;
    rows.z_loss = call->z_loss;
    rows.pieces = p->split ? &p->pieces : 0;
    if (fs_is_loss(call->op))
        fs_targets_tile(call, &p->layout, offsets, count, p->divisor, !p->mixed, target, &factors);
    const int out_of_range = call->op == FS_CROSS_ENTROPY_GRAD && fit_factors(p, &rows, &factors);
    if (fs_picks(call)) {
        pick_targets(p, &rows, offsets);
    } else {
        place_rows(p, &rows, offsets, scratch);
        if (fs_is_given(call->op))
            copy_states(p, &rows, offsets);
        p->kernel(&rows);
    }
    if (out_of_range)
        apply_powers(p, &rows, factors.power);
    if (fs_is_loss(call->op))
        fs_take_losses(p, row, &rows, &factors, offsets);
    else if (call->op == FS_LOGSUMEXP)
        fs_take_values(p, &rows, offsets);
    else if (call->op == FS_STATE)
        copy_states(p, &rows, offsets);
    if (fs_writes_rows(call->op) && p->gather_y)
        place_back(p, &rows, offsets);
}

/* Rows side by side are written past the caches by vectors that are aligned: a tile ends where the
 * next one can begin with such a vector. */
static int64_t aligned_count(const fs_plan *p, int64_t count, const int64_t *offsets)
{
    const int64_t width = p->kernels->lanes * p->size;
    if (!p->cols || !p->stream || fs_layout_step(&p->layout, FS_AT_Y) != p->size)
        return count;
    const uintptr_t end = (uintptr_t)(p->call->y.data + offsets[FS_AT_Y] + count * p->size);
    const int64_t over = (int64_t)(end % (uintptr_t)width) / p->size;
    return over < count ? count - over : count;
}

static void run_rows(void *context, int thread, int64_t first, int64_t last)
{
    fs_plan *p = context;
    int64_t exponents[FS_STACK_BLOCKS], offsets[FS_ARRAYS];
    char *scratch = p->scratch ? p->scratch + p->scratch_bytes * (size_t)thread : 0;
    for (int64_t row = first; row < last;) {
        const int64_t even = fs_layout_locate(&p->layout, row, offsets);
        const int64_t most = at_most(at_most(even, last - row), p->tile);
        const int64_t count = most == p->tile ? aligned_count(p, most, offsets) : most;
        run_tile(p, row, count, offsets, scratch, exponents);
        row += count;
    }
}

static fs_error run_plan(fs_plan *p)
{
    const fs_work work = {p->layout.rows, p->chunk, fs_picks(p->call) ? 1 : p->call->n,
                          p->call->threads};
    fs_pace_begin(&p->pace, p->call); /* at a speed of its own, which the labels' was not */
    return fs_parallel(&p->pace, p->threads, &work, run_rows, p) ? FS_OK : FS_INTERRUPTED;
}

fs_status fs_run(fs_call *call)
{
    fs_status status = {FS_OK, 0, 0};
    fs_target_sums targets = {0};
    fs_plan p;
    fs_plan_make(&p, call);
    p.pieces.each = fs_each_piece;
    p.pieces.driver = &p;
    fs_pace_begin(&p.pace, call);
    if (fs_is_loss(call->op)) {
        status = fs_targets_check(call, &p.layout, p.kernels, &p.pace, &targets);
        if (status.error != FS_OK)
            return status;
        p.divisor = fs_targets_divisor(call, &targets);
    }
    if (call->n == 0)
        return status;
    if (fs_plan_allocate(&p))
        status.error = run_plan(&p);
    else
        status.error = p.pace.stopped ? FS_INTERRUPTED : FS_NO_MEMORY;
    if (status.error == FS_OK)
        fs_finish_loss(call, &p, &targets);
    fs_plan_free(&p);
    return status;
}
