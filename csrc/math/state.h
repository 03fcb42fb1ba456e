/* The state of a row on its own, free of any instance: what OnlineSoftmax holds, merges and sends.
 *
 *   (high + low) 2^exponent = sum over all elements but one of the largest of e^(x_j - origin(max))
 *
 * in four doubles (max, exponent, high, low). The origin is 0 for ordinary logits, so that joining
 * states rescales by powers of two alone, which is exact: only the exponential of a largest logit
 * that returns to the sum is rounded (2^-57), however many states are joined in whatever order.
 * Where |max| is so large that k ln 2 would not be exact the origin is a multiple of ORIGIN_STEP:
 * by the time that one gives way to the next, what was summed before hardly counts any more.
 * max is NaN where a NaN has been seen, else inf or -inf where there is no finite largest logit.
 */
#ifndef FS_MATH_STATE_H
#define FS_MATH_STATE_H
#include "finish.h"

#define STATE_NUMBERS 4
#define ORIGIN_LIMIT 0x1p+20
#define ORIGIN_STEP 1024.0

/* A wide number beyond the range of double: fraction 2^exponent. */
typedef struct {
    wide fraction;
    int64_t exponent;
} scaled;

FS_INLINE scaled scaled_of(wide fraction, int64_t exponent)
{
    const scaled a = {fraction, exponent};
    return a;
}

/* To a fraction in [1/2, 1). */
FS_INLINE scaled scaled_normal(scaled a)
{
    int shift;
    if (!(a.fraction.high > 0.0))
        return scaled_of(wide_of(0.0, 0.0), 0);
    a.fraction.high = frexp(a.fraction.high, &shift);
    a.fraction.low = scale_by_power(a.fraction.low, -shift);
    a.exponent += shift;
    return a;
}

FS_INLINE scaled scaled_add(scaled a, scaled b)
{
    if (a.fraction.high == 0.0 || b.fraction.high == 0.0)
        return a.fraction.high == 0.0 ? b : a;
    const scaled large = a.exponent > b.exponent ? a : b, small = a.exponent > b.exponent ? b : a;
    const wide rest = wide_scale(small.fraction, power_of_two(small.exponent - large.exponent));
    return scaled_normal(scaled_of(wide_add(large.fraction, rest), large.exponent));
}

/* a e^(from - to) */
FS_INLINE scaled scaled_shift(scaled a, double from, double to)
{
    const wide_exp e = exp_wide(two_sum(from, -to));
    return scaled_normal(scaled_of(wide_mul(a.fraction, e.fraction), a.exponent + e.exponent));
}

FS_INLINE double state_origin(double max)
{
    const int huge = max > ORIGIN_LIMIT || max < -ORIGIN_LIMIT;
    return huge && max - max == 0 ? ORIGIN_STEP * rint(max / ORIGIN_STEP) : 0.0;
}

FS_INLINE scaled state_sum(const double *state)
{
    return scaled_of(wide_of(state[2], state[3]), (int64_t)state[1]);
}

FS_INLINE void state_put(double *state, double max, scaled sum)
{
    state[0] = max;
    state[1] = (double)sum.exponent;
    state[2] = sum.fraction.high;
    state[3] = sum.fraction.low;
}

/* R, the sum of the others over e^max; NaN where there is no finite largest logit. */
FS_INLINE scaled state_rest(const double *state)
{
    const double max = state[0];
    if (max - max != 0)
        return scaled_of(wide_of(NAN, 0.0), 0);
    return scaled_shift(state_sum(state), state_origin(max), max);
}

/* logsumexp - max = log(1 + R), by the steps of a kernel's row: one block has its very bits. */
FS_INLINE wide state_distance(const double *state)
{
    const double max = state[0];
    const scaled rest = state_sum(state);
    if (max - max != 0 || !(rest.fraction.high > 0.0))
        return wide_of(max - max != 0 ? NAN : 0.0, 0.0);
    const wide_exp own = exp_wide(two_sum(max, -state_origin(max)));
    const one_exponential pivot = {own.fraction, (double)own.exponent};
    const one_shares s = one_shares_of(rest.fraction, (double)rest.exponent, pivot, 0, WIDE_LIFT);
    return one_loss_wide(&s);
}
#endif
