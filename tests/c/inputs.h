/* Deterministic rows for selftest.c: integers of a generator of our own and single operations of
 * IEEE arithmetic, no libm, so that every machine makes the same ones. */
#ifndef FS_TEST_INPUTS_H
#define FS_TEST_INPUTS_H
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include "fastsoftmax.h"

/* One batch of rows. Values are kept as double: those of float32 are rounded to it first. */
typedef struct {
    fs_dtype dtype;
    int64_t rows, n;
    double *x;
    int64_t *target;
} batch;

typedef enum {
    NORMAL,
    WIDE_NORMAL,
    UNIFORM_80,
    DOMINANT,     /* a confident, correct prediction: losses near zero */
    EQUAL,
    OFFSET_1E4,   /* still reduced directly */
    OFFSET_1E6,   /* beyond DIRECT_LIMIT in float32, at its edge in float64 */
    OFFSET_1E30,
    MINUS_1E6,
    FAR_APART,    /* most terms underflow */
    SUBNORMAL,    /* results at the edge of underflow */
    TINY_TAIL,    /* each below it, but not the sum of many: losses are subnormal */
    NEAR_ZERO,    /* logsumexp is */
    RISING,       /* the maximum grows from block to block */
    FALLING,
    MASKED,       /* every third logit is -inf */
    KINDS
} kind;

static uint64_t random_state;

static uint64_t random_bits(void) /* Steele, Lea, Flood: SplitMix64 */
{
    uint64_t z = (random_state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static double uniform(double low, double high)
{
    const double u = (double)(random_bits() >> 11) * 0x1p-53;
    const double part = (high - low) * u;
    return low + part;
}

static double normal(void) /* nearly: the sum of twelve */
{
    double sum = -6.0;
    for (int i = 0; i < 12; i++)
        sum += uniform(0.0, 1.0);
    return sum;
}

/* log n to some digits. */
static double rough_log(int64_t n)
{
    double m = (double)n, log_n = 0.0;
    for (; m >= 2.0; m /= 2.0)
        log_n += 0.6931471805599453;
    const double s = (m - 1.0) / (m + 1.0), z = s * s;
    const double series = 1.0 + z * (1.0 / 3.0 + z * (1.0 / 5.0 + z * (1.0 / 7.0 + z / 9.0)));
    return log_n + 2.0 * s * series;
}

static double logit(kind of, fs_dtype dtype, int64_t j, int64_t n, int64_t peak)
{
    const int single = dtype == FS_FLOAT32;
    switch (of) {
    case NORMAL: return normal();
    case WIDE_NORMAL: return 10.0 * normal();
    case UNIFORM_80: return uniform(-80.0, 80.0);
    case DOMINANT: return j == peak ? (single ? 20.0 : 40.0) + normal() : normal();
    case EQUAL: return 3.25;
    case OFFSET_1E4: return 1e4 + 5.0 * normal();
    case OFFSET_1E6: return 1e6 + (single ? 0.0625 : 30.0) * (double)(int64_t)(16.0 * normal());
    case OFFSET_1E30: return 1e30 * (1.0 + (double)(j % 3 == 1) * (single ? 0x1p-22 : 0x1p-51));
    case MINUS_1E6: return -1e6 - 100.0 * uniform(0.0, 1.0);
    case FAR_APART: return uniform(-3000.0, 3000.0);
    case SUBNORMAL:
        return j == peak ? 0.0 : single ? uniform(-105.0, -86.0) : uniform(-746.0, -707.0);
    case TINY_TAIL:
        return j == peak ? 0.0 : single ? uniform(-109.0, -104.0) : uniform(-750.0, -745.5);
    case NEAR_ZERO: return -rough_log(n) + 1e-3 * normal();
    case RISING: return (double)(j / 700) * 41.5 + normal();
    case FALLING: return (double)(j / 700) * -41.5 + normal();
    default: return j % 3 == 1 && j != peak ? -INFINITY : normal();
    }
}

static double rounded(fs_dtype dtype, double value)
{
    return dtype == FS_FLOAT32 ? (double)(float)value : value;
}

static batch batch_new(fs_dtype dtype, int64_t rows, int64_t n)
{
    batch b = {dtype, rows, n, 0, 0};
    b.x = malloc((size_t)(rows * n) * sizeof *b.x);
    b.target = malloc((size_t)rows * sizeof *b.target);
    if (!b.x || !b.target)
        abort();
    return b;
}

static void batch_free(batch *b)
{
    free(b->x);
    free(b->target);
}

/* Row i of a kind; the label is the largest logit's in every second row, else any. */
static void fill_row(batch *b, int64_t i, kind of)
{
    double *x = b->x + i * b->n;
    const int64_t peak = (int64_t)(random_bits() % (uint64_t)b->n);
    int64_t largest = 0;
    for (int64_t j = 0; j < b->n; j++) {
        x[j] = rounded(b->dtype, logit(of, b->dtype, j, b->n, peak));
        if (x[j] > x[largest])
            largest = j;
    }
    b->target[i] = random_bits() % 2 ? largest : (int64_t)(random_bits() % (uint64_t)b->n);
}

#endif
