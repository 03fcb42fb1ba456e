/* What selftest.c computes and in which ways: operations, and one call of the C interface. */
#ifndef FS_TEST_CALLS_H
#define FS_TEST_CALLS_H
#include <string.h>
#include "cpu.h"
#include "inputs.h"

typedef enum {
    PLAIN,
    IN_PLACE,
    COLUMNS,
    THREADS,
    SMALL,
    PAST_CACHES,
    COLUMNS_PAST_CACHES, /* and aligned, as they are then written by vectors */
    LAYOUTS
} layout;
typedef enum { /* of a loss; of states */
    BARE,
    WEIGHTED,
    WITH_Z,   /* and nothing else */
    SMOOTHED, /* and weighted, with a z-loss */
    EVEN,     /* smoothed, and nothing else */
    FINE,     /* smoothed, with class weights that float32 does not hold */
    SOFT,     /* and weighted, smoothed, with a z-loss */
    SOFT_ALONE,
    SOFT_FINE, /* with class weights that float32 does not hold */
    JOINED
} options;

enum { STATE_NUMBERS = 4 };

typedef struct {
    const char *name;
    fs_op op;
    fs_reduction reduction;
    double bounds[2]; /* in ULP, by fs_dtype; 0: only the bits are looked at */
    options with;
} operation;

static const operation operations[] = {
    {"softmax", FS_SOFTMAX, FS_NONE, {2.5, 4}, BARE},
    {"log_softmax", FS_LOG_SOFTMAX, FS_NONE, {2, 4}, BARE},
    {"logsumexp", FS_LOGSUMEXP, FS_NONE, {2, 4}, BARE}, /* of max(|result|, |max x|) */
    {"loss", FS_CROSS_ENTROPY, FS_NONE, {2, 4}, BARE},
    {"mean_loss", FS_CROSS_ENTROPY, FS_MEAN, {1, 2}, BARE},
    {"sum_loss", FS_CROSS_ENTROPY, FS_SUM, {1, 2}, BARE},
    {"gradient", FS_CROSS_ENTROPY_GRAD, FS_NONE, {2.5, 4}, BARE}, /* losses among them: 2, 4 */
    {"mean_gradient", FS_CROSS_ENTROPY_GRAD, FS_MEAN, {2.5, 4}, BARE},
    {"weighted", FS_CROSS_ENTROPY_GRAD, FS_MEAN, {0, 0}, WEIGHTED},
    {"smoothed", FS_CROSS_ENTROPY, FS_NONE, {0, 0}, SMOOTHED},
    {"smoothed_grad", FS_CROSS_ENTROPY_GRAD, FS_SUM, {0, 0}, SMOOTHED},
    {"soft", FS_CROSS_ENTROPY, FS_NONE, {0, 0}, SOFT},
    {"soft_gradient", FS_CROSS_ENTROPY_GRAD, FS_MEAN, {0, 0}, SOFT},
    {"z_loss", FS_CROSS_ENTROPY_GRAD, FS_NONE, {0, 0}, WITH_Z},
    {"even_smoothed", FS_CROSS_ENTROPY_GRAD, FS_NONE, {0, 0}, EVEN},
    {"fine_weights", FS_CROSS_ENTROPY_GRAD, FS_NONE, {0, 0}, FINE},
    {"soft_alone", FS_CROSS_ENTROPY_GRAD, FS_NONE, {0, 0}, SOFT_ALONE},
    {"soft_fine", FS_CROSS_ENTROPY_GRAD, FS_NONE, {0, 0}, SOFT_FINE},
    {"nll", FS_NLL, FS_NONE, {0, 0}, BARE},
    {"soft_nll", FS_NLL, FS_NONE, {0, 0}, SOFT_FINE},
    {"softmax_back", FS_SOFTMAX_BACKWARD, FS_NONE, {0, 0}, BARE},
    {"log_soft_back", FS_LOG_SOFTMAX_BACKWARD, FS_NONE, {0, 0}, BARE},
    {"state", FS_STATE, FS_NONE, {0, 0}, BARE},
    {"joined_state", FS_STATE, FS_NONE, {0, 0}, JOINED},
    {"softmax_given", FS_SOFTMAX_GIVEN, FS_NONE, {0, 0}, JOINED},
    {"log_soft_given", FS_LOG_SOFTMAX_GIVEN, FS_NONE, {0, 0}, JOINED},
};
enum { OPERATIONS = sizeof operations / sizeof operations[0] };

static int writes_elements(fs_op op)
{
    return op != FS_LOGSUMEXP && op != FS_CROSS_ENTROPY && op != FS_NLL && op != FS_STATE;
}
static int is_given(fs_op op) { return op == FS_SOFTMAX_GIVEN || op == FS_LOG_SOFTMAX_GIVEN; }
static int is_loss(fs_op op)
{
    return op == FS_CROSS_ENTROPY || op == FS_CROSS_ENTROPY_GRAD || op == FS_NLL;
}
static int is_soft(options with) { return with >= SOFT && with <= SOFT_FINE; }
static int is_fine(options with) { return with == FINE || with == SOFT_FINE; }
static size_t size_of(fs_dtype dtype) { return dtype == FS_FLOAT32 ? 4 : 8; }

static char *buffer(int64_t count, size_t size)
{
    char *data = calloc((size_t)count + 1, size);
    if (!data)
        abort();
    return data;
}

static void put(fs_dtype dtype, char *data, int64_t at, double value)
{
    if (dtype == FS_FLOAT32)
        ((float *)(void *)data)[at] = (float)value;
    else
        ((double *)(void *)data)[at] = value;
}

static double get(fs_dtype dtype, const char *data, int64_t at)
{
    return dtype == FS_FLOAT32 ? (double)((const float *)(const void *)data)[at]
                               : ((const double *)(const void *)data)[at];
}

static fs_array describe(char *data, const batch *b, int by_columns)
{
    fs_array array;
    const int64_t size = (int64_t)size_of(b->dtype);
    memset(&array, 0, sizeof array);
    array.data = data;
    array.strides[0] = by_columns ? size : b->n * size;
    array.class_stride = by_columns ? b->rows * size : size;
    return array;
}

/* The results as double: what was written an element, then what there is a row or call. */
static int64_t collect(const operation *op, const batch *b, int by_columns, const char *y,
                       const char *value, double loss, double *results)
{
    int64_t count = 0;
    if (writes_elements(op->op))
        for (int64_t i = 0; i < b->rows; i++)
            for (int64_t j = 0; j < b->n; j++)
                results[count++] = get(b->dtype, y, by_columns ? j * b->rows + i : i * b->n + j);
    if (op->reduction != FS_NONE)
        results[count++] = rounded(b->dtype, loss);
    else if (is_loss(op->op) || op->op == FS_LOGSUMEXP)
        for (int64_t i = 0; i < b->rows; i++)
            results[count++] = get(b->dtype, value, i);
    return count;
}

/* The arrays of a call, in the dtype of the logits where they are of their shape. */
typedef struct { char *x, *other, *y, *value, *weight, *sample_weight, *states, *memory; } arrays;

static int lies_by_columns(layout way) { return way == COLUMNS || way == COLUMNS_PAST_CACHES; }

/* What else than x is of its shape: to a backward op the rows in reverse, else soft targets. */
static double other_element(const operation *op, const batch *b, int64_t i, int64_t j)
{
    if (is_loss(op->op))
        return (double)((7 * j + 3 * i) % 11) / 16.0;
    return b->x[(b->rows - 1 - i) * b->n + j];
}

static arrays arrays_new(const operation *op, const batch *b, layout way)
{
    const int64_t elements = b->rows * b->n;
    arrays a;
    a.x = buffer(elements, size_of(b->dtype));
    a.other = buffer(elements, size_of(b->dtype));
    a.memory = buffer(elements + 64, size_of(b->dtype));
    a.y = way == IN_PLACE ? a.x : a.memory;
    if (way == COLUMNS_PAST_CACHES)
        a.y += (64 - (uintptr_t)a.y % 64) % 64;
    a.value = buffer(b->rows, size_of(b->dtype));
    a.weight = buffer(b->n, sizeof(double));
    a.sample_weight = buffer(b->rows, sizeof(double));
    a.states = buffer(STATE_NUMBERS * b->rows, sizeof(double));
    for (int64_t i = 0; i < b->rows; i++)
        for (int64_t j = 0; j < b->n; j++) {
            const int64_t at = lies_by_columns(way) ? j * b->rows + i : i * b->n + j;
            put(b->dtype, a.x, at, b->x[i * b->n + j]);
            put(b->dtype, a.other, at, other_element(op, b, i, j));
        }
    for (int64_t j = 0; j < b->n; j++)
        put(FS_FLOAT64, a.weight, j, 1.0 + (double)(j % 5) / (is_fine(op->with) ? 3.0 : 4.0));
    for (int64_t i = 0; i < b->rows; i++)
        put(FS_FLOAT64, a.sample_weight, i, (double)(i % 7) / 3.0);
    return a;
}

static void arrays_free(arrays *a)
{
    free(a->memory);
    free(a->x);
    free(a->other);
    free(a->value);
    free(a->weight);
    free(a->sample_weight);
    free(a->states);
}

static void add_options(fs_call *call, const operation *op, const batch *b, const arrays *a,
                        int by_columns)
{
    static double grad_output = 0.75;
    if (!is_loss(op->op) || is_soft(op->with))
        call->other = describe(a->other, b, by_columns);
    if (is_loss(op->op) && !is_soft(op->with)) {
        call->target.data = (char *)b->target;
        call->target.strides[0] = call->label.size = (int)sizeof *b->target;
        call->label.is_signed = 1;
    }
    if (op->with == EVEN || op->with == FINE)
        call->smoothing = 0.125;
    if (op->with == WITH_Z)
        call->z_loss = 0x1p-10;
    if (is_fine(op->with))
        call->weight = (const double *)(const void *)a->weight;
    if (op->with != WEIGHTED && op->with != SMOOTHED && op->with != SOFT)
        return;
    call->weight = (const double *)(const void *)a->weight;
    call->grad_output.data = (char *)&grad_output;
    if (op->with != SOFT) {
        call->has_ignore = 1;
        call->ignore_index = b->target[b->rows / 2];
        call->sample_weight.data = a->sample_weight;
        call->sample_weight.strides[0] = sizeof(double);
    }
    if (op->with != WEIGHTED) {
        call->smoothing = 0.125;
        call->z_loss = 0x1p-10;
    }
}

/* Each row's state becomes that of it and of the row as far from the other end. */
static void join_states(const batch *b, double *states)
{
    const size_t count = (size_t)(STATE_NUMBERS * b->rows);
    double *own = (double *)(void *)buffer((int64_t)count, sizeof *own);
    memcpy(own, states, count * sizeof *own);
    for (int64_t i = 0; i < b->rows; i++)
        fs_state_join(states + STATE_NUMBERS * i, own + STATE_NUMBERS * (b->rows - 1 - i), 1);
    free(own);
}

/* The states that a call has written, and of joined ones logsumexp and the loss of a logit. */
static int64_t collect_states(const operation *op, const batch *b, double *states, double *results)
{
    const int64_t count = STATE_NUMBERS * b->rows;
    if (op->with == JOINED)
        join_states(b, states);
    memcpy(results, states, (size_t)count * sizeof *results);
    if (op->with != JOINED)
        return count;
    fs_state_end(states, 0, results + count, b->rows);
    fs_state_end(states, b->x, results + count + b->rows, b->rows);
    return count + 2 * b->rows;
}

static int64_t run(const operation *op, const batch *b, layout way, double *results);

/* What a call is given, or will write, for each row besides the elements. */
static void add_values(fs_call *call, const operation *op, const batch *b, const arrays *a)
{
    static const operation joined = {"", FS_STATE, FS_NONE, {0, 0}, JOINED};
    const int of_states = op->op == FS_STATE || is_given(op->op);
    call->value.data = of_states ? a->states : a->value;
    call->value.strides[0] = (int64_t)(of_states ? STATE_NUMBERS * sizeof(double)
                                                 : size_of(b->dtype));
    if (is_given(op->op)) {
        const int64_t numbers = STATE_NUMBERS * b->rows;
        double *states = (double *)(void *)buffer(numbers + 2 * b->rows, sizeof *states);
        run(&joined, b, PLAIN, states);
        memcpy(a->states, states, (size_t)numbers * sizeof *states);
        free(states);
    }
}

static fs_call call_of(const operation *op, const batch *b, layout way, const arrays *a)
{
    const int by_columns = lies_by_columns(way);
    fs_call call;
    memset(&call, 0, sizeof call);
    call.op = op->op;
    call.dtype = b->dtype;
    call.ndim = 1;
    call.shape[0] = b->rows;
    call.n = b->n;
    call.threads = way == THREADS ? 3 : 1;
    call.x = describe(a->x, b, by_columns);
    if (writes_elements(op->op))
        call.y = describe(a->y, b, by_columns);
    add_values(&call, op, b, a);
    call.reduction = op->reduction;
    add_options(&call, op, b, a, by_columns);
    return call;
}

/* Returns how many results there are: 0 where there is no such way of calling. */
static int64_t run(const operation *op, const batch *b, layout way, double *results)
{
    if (way == SMALL && (op->op > FS_LOGSUMEXP || !fs_is_small(b->rows, b->n)))
        return 0;
    const int past_caches = way == PAST_CACHES || way == COLUMNS_PAST_CACHES;
    if (past_caches && !writes_elements(op->op))
        return 0;
    const int64_t cache = past_caches ? fs_cpu_assume_cache(0) : 0;
    arrays a = arrays_new(op, b, way);
    fs_call call = call_of(op, b, way, &a);
    if (way == SMALL)
        fs_run_rows(op->op, b->dtype, a.x, op->op == FS_LOGSUMEXP ? a.value : a.y, b->rows, b->n);
    else if (fs_run(&call).error != FS_OK)
        abort();
    const int64_t count = op->op == FS_STATE
                              ? collect_states(op, b, (double *)(void *)a.states, results)
                              : collect(op, b, lies_by_columns(way), a.y, a.value, call.loss, results);
    arrays_free(&a);
    if (past_caches)
        fs_cpu_assume_cache(cache);
    return count;
}

#endif
