/* The kernels by themselves, without Python: the same bits on every instruction set, and values
 * within the bounds of the contract.
 *
 *   selftest [--full]   computes every op on every instance that runs here, over rows that cover
 *                       every path; prints one line an instance, dtype and op with the hash of all
 *                       result bits and the worst error; exit status 1 if a hash is not that of
 *                       hashes.h, a value is out of bounds, or a way of calling changes a bit
 *   selftest --print    prints the table for hashes.h instead of comparing with it
 *   selftest --bits     compares hashes only: where long double is emulated, most of the time
 *                       goes into the truth, and the same bits are the same values
 *   selftest --spoil    changes one bit of each result first: has to fail
 *   selftest --isa NAME one instance alone, whatever else is asked
 *
 * After a change of the kernels' bits, one command writes hashes.h anew:
 *
 *   python tests/test_selftest.py --update
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include "calls.h"
#include "hashes.h"
#include "truth.h"

#if defined(FP_FAST_FMA) && defined(FP_FAST_FMAF)
#define SCALAR_IS_EXACT 1
#else
#define SCALAR_IS_EXACT 0 /* its multiply-adds round differently: only the bounds hold */
#endif

enum { MAX_ISAS = 8 };

static const char *const dtypes[2] = {"float32", "float64"};
static const char *const layouts[LAYOUTS] = {"plain",   "in place", "columns",
                                              "threads", "small",    "past the caches",
                                              "columns past the caches"};

static struct { uint64_t hash; double worst; } found[MAX_ISAS][2][OPERATIONS];
static int failures, spoil, measure = HAVE_TRUTH;
static const char *only; /* the instance asked for, or NULL for all */

static int runs(int isa)
{
    return fs_isa_runs(isa) && (!only || !strcmp(fs_isa_name(isa), only));
}

static void fail(const char *isa, const operation *op, const batch *b, const char *what, int64_t at,
                 double got, double wanted)
{
    if (failures++ < 20)
        printf("FAILED %s %s %s, %" PRId64 " rows of %" PRId64 ": %s at %" PRId64
               ": %.17g, not %.17g\n",
               isa, dtypes[b->dtype], op->name, b->rows, b->n, what, at, got, wanted);
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
    double *results = (double *)(void *)buffer(b.rows * (b.n + STATE_NUMBERS + 2), sizeof *results);
    truth t = {0};
    if (measure)
        t = truth_of(&b);
    for (int isa = 0; isa < fs_isa_count(); isa++) {
        if (!runs(isa))
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
    static const int64_t blocks[] = {255, 257, 1023, 1024, 1025, 1061, 2047, 2048, 2049, 2115, 4133};
    static const int64_t pieces[] = {32768, 32769, 65535, 65536, 65537, 131072 + 2048 + 77};
    random_state = 2024;
    for (int64_t n = 1; n <= 200; n++)
        every_kind(dtype, n);
    for (int64_t n = 1; n <= 40; n++)
        specials(dtype, n);
    specials(dtype, 67);
    for (size_t i = 0; i < sizeof blocks / sizeof blocks[0]; i++)
        every_kind(dtype, blocks[i]);
    for (size_t i = 0; i < sizeof pieces / sizeof pieces[0]; i++)
        for (int of = (int)i; of < KINDS; of += 9)
            one_kind(dtype, 1, pieces[i], (kind)of);
    one_kind(dtype, 1, 65600, RISING);
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
    int print = 0;
    for (int i = 1; i < argc; i++) {
        print |= !strcmp(argv[i], "--print");
        spoil |= !strcmp(argv[i], "--spoil");
        measure &= strcmp(argv[i], "--bits") != 0;
        if (!strcmp(argv[i], "--isa") && i + 1 < argc)
            only = argv[++i];
    }
    for (int isa = 0; isa < MAX_ISAS; isa++)
        for (int i = 0; i < 2 * OPERATIONS; i++)
            found[isa][i / OPERATIONS][i % OPERATIONS].hash = UINT64_C(0xcbf29ce484222325);
    all_inputs(FS_FLOAT32);
    all_inputs(FS_FLOAT64);
    int first = -1;
    for (int isa = 0; isa < fs_isa_count(); isa++) {
        if (!runs(isa))
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
