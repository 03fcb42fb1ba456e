/* The kernels' own exponential and logarithms against long double, one instance a program:
 *
 *   cc ... -DINSTANCE='"isa/avx2_f32.c"' tests/c/exp_check.c        (tools/exhaustive_exp.sh does)
 *
 *   exp_check [STRIDE]    float32: every number from -DIRECT_LIMIT to DIRECT_LIMIT, or of STRIDE runs
 *                         of 64 neighbours one; float64: samples and hard cases (STRIDE of them
 *                         fewer), so that its worst error is a lower bound of the true one
 *
 * Prints the worst and the mean error; exit status 1 if one is above its limit, or if K (the scale)
 * or the way of calling changes a bit. Where long double is no wider than double only float32 means
 * anything.
 */
#include <float.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include INSTANCE

enum { RUN = 64 };
#define REAL_DIGITS (FS_F64 ? 53 : 24)
/* What docs/accuracy.md derives its bounds from: e^x in ULP, and relative to itself in 2^-REAL_DIGITS. */
#define EXP_LIMIT (FS_F64 ? 1.0 : 0.578)
#define RELATIVE_LIMIT (FS_F64 ? 1.35 : 1.04)
#define LOSS_SHORT_LIMIT 0.9
#define LOG1P_LIMIT 0.6
#define LOG_LIMIT 0.6
#define EXP_WIDE_LIMIT 0x1.1p-55 /* 0.26 u and what is rounded of its own low part */
/* Between one K and another: to the smallest normal numbers; without an FMA (the scalar float64 instance
 * of x86-64) products have to be normal, too. */
#if defined(FP_FAST_FMA) || !FS_F64
#define LARGEST_STEP (HEADROOM + EXPONENT_BIAS - 3)
#else
#define LARGEST_STEP (HEADROOM + EXPONENT_BIAS - (V_LANES > 1 ? 3 : 59))
#endif
/* ln 2 = HEAD + TAIL; k * HEAD is exact in 64 bits for |k| < 2^23. */
#define HEAD 0x1.62e42fefa3p-1L
#define TAIL 0x1.3de6af278ece6p-42L

typedef long double wide_real;

typedef struct { double worst, at, relative, sum, count; int64_t bits; } tally;

static void tally_add(tally *t, double error, double at)
{
    if (!(error <= t->worst)) { /* NaN too */
        t->worst = error;
        t->at = at;
    }
    t->sum += error;
    t->count += 1;
}

static void tally_join(tally *t, const tally *part)
{
    if (part->worst > t->worst) {
        t->worst = part->worst;
        t->at = part->at;
    }
    if (part->relative > t->relative)
        t->relative = part->relative;
    t->sum += part->sum;
    t->count += part->count;
    t->bits += part->bits;
}

static uint64_t splitmix(uint64_t *state)
{
    uint64_t z = (*state += UINT64_C(0x9e3779b97f4a7c15));
    z = (z ^ (z >> 30)) * UINT64_C(0xbf58476d1ce4e5b9);
    z = (z ^ (z >> 27)) * UINT64_C(0x94d049bb133111eb);
    return z ^ (z >> 31);
}

static double uniform(uint64_t *state) { return (double)(splitmix(state) >> 11) * 0x1p-53; }

/* --- exp_scaled --- */

/* e^x 2^-K. The difference is exact, so the error is that of expl; float32 can do with exp. */
static wide_real exact_exp(real x, int64_t K)
{
    const wide_real r = ((wide_real)x - (wide_real)K * HEAD) - (wide_real)K * TAIL;
    return FS_F64 ? expl(r) : (wide_real)exp((double)r);
}

static void exp_error(real got, real x, int64_t K, tally *t)
{
    const wide_real exact = exact_exp(x, K);
    int exponent;
    const double fraction = frexp((double)exact, &exponent);
    const wide_real error = fabsl((wide_real)got / HEADROOM_POWER - exact);
    const double ulps = (double)(error * power_of_two(REAL_DIGITS - exponent));
    tally_add(t, ulps, (double)x);
    if (ulps / fraction > t->relative)
        t->relative = ulps / fraction;
}

static void exp_all(const real *x, real *term, int64_t K)
{
    const exp_scale scale = exp_scale_for(K);
    for (int j = 0; j < RUN; j += V_LANES)
        v_store(term + j, exp_scaled(v_load(x + j), &scale));
}

/* The same on another K, four vectors in step. */
static void exp_all4(const real *x, real *term, int64_t K)
{
    const exp_scale scale = exp_scale_of(v_set1((real)K));
    for (int j = 0; j < RUN; j += 4 * V_LANES) {
        v_t four[4];
        exp_parts parts[4];
        for (int i = 0; i < 4; i++)
            four[i] = v_load(x + (j + i * V_LANES) % RUN);
        exp_parted4(four, &scale, parts);
        for (int i = 0; i < 4; i++)
            v_store(term + (j + i * V_LANES) % RUN, exp_joined(parts[i]));
    }
}

/* RUN logits of about one size: their errors, and whether a larger K changes more than the scale. */
static void check_run(const real *x, uint64_t index, tally *t)
{
    static const int64_t steps[] = {1, 7, HEADROOM, LARGEST_STEP};
    real term[RUN], again[RUN];
    const int64_t K = binary_exponent(x[0]), step = steps[index % 4];
    exp_all(x, term, K);
    exp_all4(x, again, K + step);
    for (int j = 0; j < RUN; j++) {
        exp_error(term[j], x[j], K, t);
        t->bits += (double)term[j] != scale_by_power((double)again[j], step);
    }
}

#if !FS_F64
/* Numbers by their bits: those of the limit and all below, then their negatives. */
static tally check_exp(int64_t stride)
{
    const float limit = DIRECT_LIMIT;
    uint32_t top;
    memcpy(&top, &limit, sizeof top);
    const int64_t runs = top / RUN; /* the limit itself begins a run: checked with the last */
    tally total = {0};
#pragma omp parallel
    {
        tally part = {0};
#pragma omp for schedule(dynamic, 4096)
        for (int64_t at = 0; at <= 2 * runs + 1; at += stride) {
            const uint32_t sign = at > runs ? UINT32_C(1) << 31 : 0;
            const uint32_t begin = (uint32_t)(sign ? at - runs - 1 : at) * RUN;
            real x[RUN];
            for (uint32_t j = 0; j < RUN; j++) {
                const uint32_t bits = (begin + j > top ? top : begin + j) | sign;
                memcpy(&x[j], &bits, sizeof bits);
            }
            check_run(x, (uint64_t)(at / stride), &part);
        }
#pragma omp critical
        tally_join(&total, &part);
    }
    return total;
}
#else
/* For each k: the neighbours of k ln 2, whose remainder has the fewest digits left (the worst cases
 * of Cody and Waite's reduction are among them), those of (k + 1/2 - EXP_LEAN) ln 2, where k changes,
 * and numbers at random between; then numbers of every size. */
static tally check_exp(int64_t stride)
{
    const int64_t last = (int64_t)(DIRECT_LIMIT * LOG2_E_F64) - 2;
    tally total = {0};
#pragma omp parallel
    {
        tally part = {0};
#pragma omp for schedule(dynamic, 4096)
        for (int64_t k = -last; k <= last; k += stride) {
            uint64_t state = (uint64_t)k;
            real x[RUN];
            for (int j = 0; j < 16; j++) {
                const wide_real middle = (wide_real)k + (j < 8 ? 0 : 0.5L - EXP_LEAN_F64);
                x[j] = (double)(middle * HEAD + middle * TAIL);
                for (int step = j % 8; step != 4; step += step < 4 ? 1 : -1)
                    x[j] = nextafter(x[j], step < 4 ? -INFINITY : INFINITY);
            }
            for (int j = 16; j < RUN; j++)
                x[j] = ((double)k + 1.1 * uniform(&state) - 0.55) * 0.6931471805599453;
            check_run(x, splitmix(&state), &part);
            for (int j = 0; j < RUN; j++)
                x[j] = ldexp(uniform(&state) - 0.5, (int)(splitmix(&state) % 56) - 55);
            check_run(x, splitmix(&state), &part);
        }
#pragma omp critical
        tally_join(&total, &part);
    }
    return total;
}
#endif

/* --- the float64 steps that finish a row (math/finish.h) --- */

static double ulps_of(double got, wide_real exact)
{
    int exponent;
    (void)frexp((double)exact, &exponent);
    return (double)fabsl(((wide_real)got - exact) / ldexpl(1, exponent - 53));
}

/* R = (high + low) 2^e of every size; near a power of two more often than not, where an ULP is
 * smallest beside the value. */
static tally check_log1p(int64_t count)
{
    tally t = {0};
    uint64_t state = 1;
    for (int64_t i = 0; i < count; i++) {
        const int size = (int)(splitmix(&state) % (i % 4 ? 140 : 2000)) - (i % 4 ? 70 : 1000);
        const double high = (1.0 + uniform(&state)) / 2;
        const wide m = wide_of(high, high * 0x1p-53 * (uniform(&state) - 0.5));
        const wide_real R = ldexpl((wide_real)m.high + m.low, size);
        tally_add(&t, ulps_of(log1p_scaled(m, size).high, log1pl(R)), (double)R);
    }
    return t;
}

/* The same with any pivot: R = rest 2^(K - 200) / (own 2^k). */
static tally check_loss(int64_t count)
{
    tally t = {0};
    uint64_t state = 5;
    for (int64_t i = 0; i < count; i++) {
        const int size = (int)(splitmix(&state) % (i % 4 ? 140 : 2000)) - (i % 4 ? 70 : 1000);
        const int k = (int)(splitmix(&state) % 3000) - 1500;
        const double high = ldexp(1.0 + uniform(&state), 200 + (int)(splitmix(&state) % 20));
        const double own = 0.75 + 0.75 * uniform(&state);
        const wide rest = wide_of(high, high * 0x1p-53 * (uniform(&state) - 0.5));
        const wide fraction = wide_of(own, own * 0x1p-53 * (uniform(&state) - 0.5));
        const one_exponential pivot = {fraction, k};
        const one_shares s = one_shares_of(rest, size + k - 10, pivot, 200, WIDE_LIFT);
        const wide_real ratio = ((wide_real)rest.high + rest.low) / ((wide_real)own + fraction.low);
        const wide_real R = ldexpl(ratio, size - 210);
        tally_add(&t, ulps_of(one_loss_wide(&s).high, log1pl(R)), (double)R);
    }
    return t;
}

/* log(u 2^e), the power of two taken out first, so that nothing cancels but what has to. */
static wide_real exact_log(wide_real u, int64_t e)
{
    int exponent;
    wide_real fraction = frexpl(u, &exponent);
    if (fraction < 0.70710678118654752L) {
        fraction *= 2;
        exponent--;
    }
    const wide_real k = (wide_real)(exponent + e);
    return log1pl(fraction - 1) + (k * HEAD + k * TAIL);
}

/* log of (u + u_low) 2^e: any size, and around 1, where the result vanishes. */
static tally check_log(int64_t count)
{
    tally t = {0};
    uint64_t state = 2;
    for (int64_t i = 0; i < count; i++) {
        const int near = i % 2;
        const double head = near ? 1.0 + ldexp(uniform(&state) - 0.5, -(int)(splitmix(&state) % 50))
                                 : ldexp(1.0 + uniform(&state), (int)(splitmix(&state) % 600) - 300);
        const wide u = wide_of(head, head * 0x1p-53 * (uniform(&state) - 0.5));
        const int64_t e = near ? 0 : (int64_t)(splitmix(&state) % 3000000) - 1500000;
        const wide_real exact = near ? log1pl((wide_real)(u.high - 1.0) + u.low)
                                     : exact_log((wide_real)u.high + u.low, e);
        tally_add(&t, ulps_of(log_wide(u, e).high, exact), head);
    }
    return t;
}

/* Relative, since its result is wider than an ULP. */
static tally check_exp_wide(int64_t count)
{
    tally t = {0};
    uint64_t state = 3;
    for (int64_t i = 0; i < count; i++) {
        const double high = ldexp(uniform(&state) - 0.5, (int)(splitmix(&state) % 62) - 40);
        const wide z = wide_of(high, high * 0x1p-53 * (uniform(&state) - 0.5));
        const wide_exp e = exp_wide(z);
        const wide_real k = (wide_real)e.exponent;
        const wide_real r = (((wide_real)z.high - k * HEAD) - k * TAIL) + z.low;
        const wide_real got = (wide_real)e.fraction.high + e.fraction.low;
        tally_add(&t, (double)fabsl(got / expl(r) - 1), high);
    }
    return t;
}

/* float32's loss, log(1 + R) with R = sum 2^(K - HEADROOM) e^-z of every size: relative, in 2^-33. */
static tally check_loss_short(int64_t count)
{
    tally t = {0};
    uint64_t state = 4;
    for (int64_t i = 0; i < count; i++) {
        const int size = (int)(splitmix(&state) % (i % 4 ? 200 : 1800)) - (i % 4 ? 100 : 900);
        const double z = (uniform(&state) - 0.5) * (i % 2 ? 2.0 : 2000.0);
        const double sum = ldexp(1.0 + uniform(&state), HEADROOM - 1 + (int)(splitmix(&state) % 10));
        const double K = size + rint(z * LOG2_E_F64);
        const wide_real R = ldexpl((wide_real)sum * expl((wide_real)-z), (int)K - HEADROOM);
        const one_shares s = one_shares_of(wide_of(sum, 0.0), K, one_exp_short(z), HEADROOM, LOSS_LIFT);
        const double got = one_loss_short(&s);
        tally_add(&t, (double)fabsl((wide_real)got / log1pl(R) - 1) * 0x1p+33, (double)R);
    }
    return t;
}

static int show(const char *what, const tally *t, const char *unit, double limit)
{
    const int bad = !(t->worst <= limit) || t->relative > RELATIVE_LIMIT || t->bits > 0;
    printf("%-12s %11.0f values  worst %.4g%s at %a  mean %.4g%s", what, t->count, t->worst, unit,
           t->at, t->sum / t->count, unit);
    if (t->relative > 0)
        printf("  relative %.4f 2^-%d", t->relative, REAL_DIGITS);
    printf("%s\n", bad ? "  OUT OF BOUNDS" : "");
    if (t->bits)
        printf("%s: %" PRId64 " values change with K or the way of calling\n", what, t->bits);
    return bad;
}

int main(int argc, char **argv)
{
    const int64_t stride = argc > 1 ? atoll(argv[1]) : 1, count = 100000000 / stride + 1000;
    tally t = check_exp(stride);
    int bad = show(FS_F64 ? "exp float64" : "exp float32", &t, " ULP", EXP_LIMIT);
    if (!FS_F64) {
        t = check_loss_short(count);
        return bad | show("loss_short", &t, " 2^-33", LOSS_SHORT_LIMIT);
    } /* the rest is the same in both precisions */
    t = check_log1p(count);
    bad |= show("log1p_scaled", &t, " ULP", LOG1P_LIMIT);
    t = check_loss(count);
    bad |= show("loss_wide", &t, " ULP", LOG1P_LIMIT);
    t = check_log(count);
    bad |= show("log_wide", &t, " ULP", LOG_LIMIT);
    t = check_exp_wide(count);
    bad |= show("exp_wide", &t, "", EXP_WIDE_LIMIT);
    return bad;
}
