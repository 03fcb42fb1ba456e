/* The results in long double, and errors counted in units in the last place. Where long double is
 * no wider than double (LDBL_MANT_DIG) there is no truth to be had and nothing is measured. */
#ifndef FS_TEST_TRUTH_H
#define FS_TEST_TRUTH_H
#include <float.h>
#include <math.h>
#include "inputs.h"

#define HAVE_TRUTH (LDBL_MANT_DIG > DBL_MANT_DIG)

typedef long double real_t;

typedef struct { real_t sum, lost; } kept_sum; /* Neumaier */

static void add(kept_sum *s, real_t a)
{
    const real_t sum = s->sum + a;
    s->lost += (s->sum < a ? -s->sum : s->sum) > (a < 0 ? -a : a) ? (s->sum - sum) + a
                                                                    : (a - sum) + s->sum;
    s->sum = sum;
}

static real_t total(const kept_sum *s) { return s->sum + s->lost; }

typedef struct {
    real_t *softmax, *log_softmax, *gradient; /* rows * n */
    real_t *logsumexp, *largest, *loss;       /* rows */
    real_t sum;
} truth;

static truth truth_new(const batch *b)
{
    truth t = {0};
    real_t **const arrays[6] = {&t.softmax,   &t.log_softmax, &t.gradient,
                                &t.logsumexp, &t.largest,     &t.loss};
    for (int i = 0; i < 6; i++) {
        *arrays[i] = malloc((size_t)(b->rows * (i < 3 ? b->n : 1)) * sizeof(real_t));
        if (!*arrays[i])
            abort();
    }
    return t;
}

static void truth_free(truth *t)
{
    free(t->softmax);
    free(t->log_softmax);
    free(t->gradient);
    free(t->logsumexp);
    free(t->largest);
    free(t->loss);
}

/* Everything of a row without a softmax is NaN, save logsumexp. */
static void truth_of_bad_row(truth *t, int64_t i, int64_t n, real_t logsumexp)
{
    for (int64_t j = i * n; j < (i + 1) * n; j++)
        t->softmax[j] = t->log_softmax[j] = t->gradient[j] = NAN;
    t->logsumexp[i] = logsumexp;
    t->largest[i] = 0;
    t->loss[i] = NAN;
}

static void truth_of_row(truth *t, const batch *b, int64_t i)
{
    const int64_t n = b->n, target = b->target[i];
    const double *x = b->x + i * n;
    real_t *p = t->softmax + i * n, *logs = t->log_softmax + i * n, *grad = t->gradient + i * n;
    int64_t peak = 0;
    int nan = 0;
    for (int64_t j = 0; j < n; j++) {
        nan |= x[j] != x[j];
        peak = x[j] > x[peak] ? j : peak;
    }
    if (nan || x[peak] - x[peak] != 0) {
        truth_of_bad_row(t, i, n, nan ? (real_t)NAN : (real_t)x[peak]);
        return;
    }
    const real_t m = x[peak];
    kept_sum but_peak = {0, 0}, but_target = {0, 0};
    for (int64_t j = 0; j < n; j++) {
        p[j] = expl((real_t)x[j] - m);
        if (j != peak)
            add(&but_peak, p[j]);
        if (j != target)
            add(&but_target, p[j]);
    }
    const real_t others = total(&but_peak), log_sum = log1pl(others);
    for (int64_t j = 0; j < n; j++) {
        p[j] /= 1 + others;
        logs[j] = ((real_t)x[j] - m) - log_sum;
        grad[j] = j == target ? -total(&but_target) / (1 + others) : p[j];
    }
    t->logsumexp[i] = m + log_sum;
    t->largest[i] = m;
    t->loss[i] = -logs[target];
}

static truth truth_of(const batch *b)
{
    truth t = truth_new(b);
    kept_sum sum = {0, 0};
    for (int64_t i = 0; i < b->rows; i++) {
        truth_of_row(&t, b, i);
        add(&sum, t.loss[i]);
    }
    t.sum = sum.sum - sum.sum == 0 ? total(&sum) : sum.sum;
    return t;
}

/* The spacing of the dtype's numbers around a value. */
static real_t unit_of(fs_dtype dtype, real_t value)
{
    const int bits = dtype == FS_FLOAT32 ? 24 : 53, lowest = dtype == FS_FLOAT32 ? -125 : -1021;
    int e;
    const double near = dtype == FS_FLOAT32 ? (double)(float)value : (double)value;
    (void)frexp(near, &e);
    if (near == 0 || e < lowest)
        e = lowest;
    return ldexpl(1.0L, e - bits);
}

/* |result - truth| in ULP of the larger of truth and size; infinite where the one is finite and
 * the other is not. */
static double ulp_error(fs_dtype dtype, double result, real_t exact, real_t size)
{
    const double near = dtype == FS_FLOAT32 ? (double)(float)exact : (double)exact;
    if (near - near != 0 || result - result != 0)
        return near == result || (near != near && result != result) ? 0.0 : INFINITY;
    return (double)(fabsl((real_t)result - exact) / unit_of(dtype, fmaxl(fabsl(exact), size)));
}

#endif
