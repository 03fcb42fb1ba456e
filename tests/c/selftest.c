/* The kernels by themselves, without Python: the same bits on every instruction set, and values
 * within the bounds of the contract.
 *
 *   selftest            computes every op on every instance that runs here, over rows that cover
 *                       every path; prints one line an instance, dtype and op with the hash of all
 *                       result bits and the worst error; exit status 1 if a hash is not that of
 *                       hashes.h, a value is out of bounds, or a way of calling changes a bit
 *   selftest --print    prints the table for hashes.h instead of comparing with it
 *   selftest --bits     compares hashes only: where long double is emulated, most of the time
 *                       goes into the truth, and the same bits are the same values
 *   selftest --spoil    changes one bit of each result first: has to fail
 *
 * After a change of the kernels' bits, one command writes hashes.h anew:
 *
 *   python tests/test_selftest.py --update
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "hashes.h"
#include "truth.h"

#if defined(FP_FAST_FMA) && defined(FP_FAST_FMAF)
#define SCALAR_IS_EXACT 1
#else
#define SCALAR_IS_EXACT 0 /* its multiply-adds round differently: only the bounds hold */
#endif

typedef enum { PLAIN, IN_PLACE, COLUMNS, THREADS, SMALL, LAYOUTS } layout;
typedef enum { BARE, WEIGHTED, SMOOTHED, SOFT } options; /* of a loss */

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
    {"softmax_back", FS_SOFTMAX_BACKWARD, FS_NONE, {0, 0}, BARE},
    {"log_soft_back", FS_LOG_SOFTMAX_BACKWARD, FS_NONE, {0, 0}, BARE},
};
enum { OPERATIONS = sizeof operations / sizeof operations[0], MAX_ISAS = 8 };

static const char *const dtypes[2] = {"float32", "float64"};
static const char *const layouts[LAYOUTS] = {"plain", "in place", "columns", "threads", "small"};

static struct { uint64_t hash; double worst; } found[MAX_ISAS][2][OPERATIONS];
static int failures, spoil, measure = HAVE_TRUTH;

static void fail(const char *isa, const operation *op, const batch *b, const char *what, int64_t at,
                 double got, double wanted)
{
    if (failures++ < 20)
        printf("FAILED %s %s %s, %" PRId64 " rows of %" PRId64 ": %s at %" PRId64
               ": %.17g, not %.17g\n",
               isa, dtypes[b->dtype], op->name, b->rows, b->n, what, at, got, wanted);
}

static int writes_elements(fs_op op) { return op != FS_LOGSUMEXP && op != FS_CROSS_ENTROPY; }
static int is_loss(fs_op op) { return op == FS_CROSS_ENTROPY || op == FS_CROSS_ENTROPY_GRAD; }
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
typedef struct { char *x, *other, *y, *value, *weight, *sample_weight; } arrays;

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
    a.y = way == IN_PLACE ? a.x : buffer(elements, size_of(b->dtype));
    a.value = buffer(b->rows, size_of(b->dtype));
    a.weight = buffer(b->n, sizeof(double));
    a.sample_weight = buffer(b->rows, sizeof(double));
    for (int64_t i = 0; i < b->rows; i++)
        for (int64_t j = 0; j < b->n; j++) {
            const int64_t at = way == COLUMNS ? j * b->rows + i : i * b->n + j;
            put(b->dtype, a.x, at, b->x[i * b->n + j]);
            put(b->dtype, a.other, at, other_element(op, b, i, j));
        }
    for (int64_t j = 0; j < b->n; j++)
        put(FS_FLOAT64, a.weight, j, 1.0 + (double)(j % 5) / 4.0);
    for (int64_t i = 0; i < b->rows; i++)
        put(FS_FLOAT64, a.sample_weight, i, (double)(i % 7) / 3.0);
    return a;
}

static void arrays_free(arrays *a)
{
    if (a->y != a->x)
        free(a->y);
    free(a->x);
    free(a->other);
    free(a->value);
    free(a->weight);
    free(a->sample_weight);
}

static void add_options(fs_call *call, const operation *op, const batch *b, const arrays *a,
                        int by_columns)
{
    static double grad_output = 0.75;
    if (!is_loss(op->op) || op->with == SOFT)
        call->other = describe(a->other, b, by_columns);
    if (is_loss(op->op) && op->with != SOFT) {
        call->target.data = (char *)b->target;
        call->target.strides[0] = call->label.size = (int)sizeof *b->target;
        call->label.is_signed = 1;
    }
    if (op->with == BARE)
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

/* Returns how many results there are: 0 where there is no such way of calling. */
static int64_t run(const operation *op, const batch *b, layout way, double *results)
{
    const int by_columns = way == COLUMNS;
    if (way == SMALL && (op->op > FS_LOGSUMEXP || !fs_is_small(b->rows, b->n)))
        return 0;
    arrays a = arrays_new(op, b, way);
    fs_call call;
    memset(&call, 0, sizeof call);
    call.op = op->op;
    call.dtype = b->dtype;
    call.ndim = 1;
    call.shape[0] = b->rows;
    call.n = b->n;
    call.threads = way == THREADS ? 3 : 1;
    call.x = describe(a.x, b, by_columns);
    if (writes_elements(op->op))
        call.y = describe(a.y, b, by_columns);
    call.value.data = a.value;
    call.value.strides[0] = (int64_t)size_of(b->dtype);
    call.reduction = op->reduction;
    add_options(&call, op, b, &a, by_columns);
    if (way == SMALL)
        fs_run_rows(op->op, b->dtype, a.x, op->op == FS_LOGSUMEXP ? a.value : a.y, b->rows, b->n);
    else if (fs_run(&call).error != FS_OK)
        fail(fs_isa_current(), op, b, "status", 0, 1, 0);
    const int64_t count = collect(op, b, by_columns, a.y, a.value, call.loss, results);
    arrays_free(&a);
    return count;
}

/* NaN of different machines differ in sign and payload, which no one promises. */
static uint64_t bits_of(double value)
{
    uint64_t bits;
    if (value != value)
        return UINT64_C(0x7ff8000000000000);
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static uint64_t fnv1a(uint64_t hash, uint64_t bits)
{
    for (int byte = 0; byte < 8; byte++)
        hash = (hash ^ ((bits >> (8 * byte)) & 0xff)) * UINT64_C(0x100000001b3);
    return hash;
}

/* The exact value of a result, and the size whose ULP count. */
static real_t exact_of(const operation *op, const batch *b, const truth *t, int64_t at,
                       real_t *size)
{
    const int64_t elements = writes_elements(op->op) ? b->rows * b->n : 0;
    *size = 0;
    if (at >= elements && op->reduction != FS_NONE)
        return op->reduction == FS_MEAN ? t->sum / (real_t)b->rows : t->sum;
    if (at >= elements && is_loss(op->op))
        return t->loss[at - elements];
    if (op->op == FS_LOGSUMEXP) {
        *size = fabsl(t->largest[at]);
        return t->logsumexp[at];
    }
    if (op->op == FS_CROSS_ENTROPY_GRAD)
        return t->gradient[at] / (real_t)(op->reduction == FS_MEAN ? b->rows : 1);
    return op->op == FS_SOFTMAX ? t->softmax[at] : t->log_softmax[at];
}

static void check_values(int isa, int which, const batch *b, const truth *t, const double *results,
                         int64_t count)
{
    const operation *op = &operations[which];
    for (int64_t at = 0; at < count; at++) {
        real_t size;
        const real_t exact = exact_of(op, b, t, at, &size);
        const double error = ulp_error(b->dtype, results[at], exact, size);
        const int is_value = op->op == FS_CROSS_ENTROPY_GRAD && at >= b->rows * b->n;
        const operation *as = is_value ? &operations[3 + (op->reduction != FS_NONE)] : op;
        if (error > as->bounds[b->dtype])
            fail(fs_isa_name(isa), op, b, "value", at, results[at], (double)exact);
        if (error > found[isa][b->dtype][which].worst)
            found[isa][b->dtype][which].worst = error;
    }
}

static void check_ways(const operation *op, const batch *b, const double *results, int64_t count)
{
    double *again = (double *)(void *)buffer(count, sizeof *again);
    for (layout way = IN_PLACE; way < LAYOUTS; way++) {
        const int64_t same = run(op, b, way, again);
        for (int64_t at = 0; at < same; at++)
            if (bits_of(again[at]) != bits_of(results[at])) {
                fail(fs_isa_current(), op, b, layouts[way], at, again[at], results[at]);
                break;
            }
    }
    free(again);
}

/* Every op of every instance over one batch, which is freed. */
static void take(batch b)
{
    double *results = (double *)(void *)buffer(b.rows * b.n + b.rows, sizeof *results);
    truth t = {0};
    if (measure)
        t = truth_of(&b);
    for (int isa = 0; isa < fs_isa_count(); isa++) {
        if (!fs_isa_runs(isa))
            continue;
        fs_isa_force(fs_isa_name(isa));
        for (int which = 0; which < OPERATIONS; which++) {
            uint64_t *hash = &found[isa][b.dtype][which].hash;
            const int64_t count = run(&operations[which], &b, PLAIN, results);
            check_ways(&operations[which], &b, results, count);
            if (spoil)
                results[count / 2] += results[count / 2] / 0x1p20;
            if (measure && operations[which].bounds[0] > 0)
                check_values(isa, which, &b, &t, results, count);
            for (int64_t at = 0; at < count; at++)
                *hash = fnv1a(*hash, bits_of(results[at]));
        }
    }
    if (measure)
        truth_free(&t);
    free(results);
    batch_free(&b);
}

static void every_kind(fs_dtype dtype, int64_t n)
{
    batch b = batch_new(dtype, KINDS, n);
    for (int64_t i = 0; i < b.rows; i++)
        fill_row(&b, i, (kind)i);
    take(b);
}

static void one_kind(fs_dtype dtype, int64_t rows, int64_t n, kind of)
{
    batch b = batch_new(dtype, rows, n);
    for (int64_t i = 0; i < rows; i++)
        fill_row(&b, i, of);
    take(b);
}

/* NaN, inf, -inf and the maximum at every place of a row, a plain row now and then between. */
static void specials(fs_dtype dtype, int64_t n)
{
    const double planted[] = {NAN, INFINITY, -INFINITY, 50.0};
    batch b = batch_new(dtype, 5 * n, n);
    for (int64_t i = 0; i < b.rows; i++) {
        fill_row(&b, i, i % 10 == 9 ? MASKED : NORMAL);
        if (i % 5 < 4)
            b.x[i * n + i / 5] = planted[i % 5];
    }
    take(b);
    b = batch_new(dtype, 4, n);
    for (int64_t i = 0; i < b.rows * n; i++)
        b.x[i] = i / n == 0 ? -INFINITY : i / n == 1 ? INFINITY : i / n == 2 ? NAN : -0.0;
    memset(b.target, 0, (size_t)b.rows * sizeof *b.target);
    take(b);
}

static void all_inputs(fs_dtype dtype)
{
    static const int64_t blocks[] = {255, 256, 257, 1023, 1024, 1025, 1061, 2047, 2048, 2049, 2115,
                                     3072, 4096, 4133, 8191};
    static const int64_t pieces[] = {32768, 32769, 65535, 65536, 65537, 65600, 131072 + 2048 + 77};
    random_state = 2024;
    for (int64_t n = 1; n <= 200; n++)
        every_kind(dtype, n);
    for (int64_t n = 1; n <= 40; n++)
        specials(dtype, n);
    specials(dtype, 67);
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        every_kind(dtype, blocks[i]);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        for (int of = (int)(i % 2); of < KINDS; of += 3)
            one_kind(dtype, 1, pieces[i], (kind)of);
    one_kind(dtype, 700, 131, WIDE_NORMAL); /* several tiles, chunks and threads */
    one_kind(dtype, 3000, 10, NORMAL);
    one_kind(dtype, 1000, 33, DOMINANT);
}

static const uint64_t *expected_hash(const char *dtype, const char *op)
{
    for (int64_t i = 0; expected[i].dtype; i++)
        if (!strcmp(expected[i].dtype, dtype) && !strcmp(expected[i].op, op))
            return &expected[i].hash;
    return 0;
}

static void report(int isa, fs_dtype dtype, int which)
{
    const operation *op = &operations[which];
    const uint64_t hash = found[isa][dtype][which].hash;
    const uint64_t *wanted = expected_hash(dtypes[dtype], op->name);
    const char *outcome = "ok";
    if (!SCALAR_IS_EXACT && !strcmp(fs_isa_name(isa), "scalar")) {
        outcome = "not compared";
    } else if (!wanted || *wanted != hash) {
        outcome = "WRONG BITS";
        failures++;
    }
    printf("%-7s %s %-13s %016" PRIx64 "  ", fs_isa_name(isa), dtypes[dtype], op->name, hash);
    if (measure && op->bounds[0] > 0)
        printf("%5.3f ULP  ", found[isa][dtype][which].worst);
    printf("%s\n", outcome);
}

static void print_table(int isa)
{
    for (int dtype = 0; dtype < 2; dtype++)
        for (int which = 0; which < OPERATIONS; which++)
            printf("    {\"%s\", \"%s\", UINT64_C(0x%016" PRIx64 ")},\n", dtypes[dtype],
                   operations[which].name, found[isa][dtype][which].hash);
}

int main(int argc, char **argv)
{
    const int print = argc > 1 && !strcmp(argv[1], "--print");
    measure = HAVE_TRUTH && !(argc > 1 && !strcmp(argv[1], "--bits"));
    spoil = argc > 1 && !strcmp(argv[1], "--spoil");
    for (int isa = 0; isa < MAX_ISAS; isa++)
        for (int i = 0; i < 2 * OPERATIONS; i++)
            found[isa][i / OPERATIONS][i % OPERATIONS].hash = UINT64_C(0xcbf29ce484222325);
    all_inputs(FS_FLOAT32);
    all_inputs(FS_FLOAT64);
    int first = -1;
    for (int isa = 0; isa < fs_isa_count(); isa++) {
        if (!fs_isa_runs(isa))
            continue;
        first = first < 0 ? isa : first;
        for (int i = 0; i < 2 * OPERATIONS && !print; i++)
            report(isa, (fs_dtype)(i / OPERATIONS), i % OPERATIONS);
    }
    if (print)
        print_table(first);
    else if (!measure)
        printf("values not checked%s\n",
               HAVE_TRUTH ? "" : ": long double is no wider than double here");
    if (failures)
        fprintf(print ? stderr : stdout, "%d failures\n", failures);
    return failures != 0;
}
