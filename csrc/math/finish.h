/* The scalar float64 steps that finish a row, for both precisions: a dozen flops a row.
 *
 * Every loss and logarithm is log(1 + R), R = sum over the others of e^x / e^pivot: the pivot (the
 * target, or the largest logit) is left out of the sum, so that a loss of 4e-9 is 4e-9 and not
 * log(1.0000000) = 0 (finish_steps.inc.h).
 */
#ifndef FS_MATH_FINISH_H
#define FS_MATH_FINISH_H
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "../portable.h"
#include "../simd/one_wide.h"
#include "finish_constants.h"
#include "wide.h"

/* a * b of two wide numbers, to about 2^-104. */
FS_INLINE wide wide_mul(wide a, wide b)
{
    const double high = a.high * b.high;
    const double low = fma(a.high, b.high, -high) + (a.high * b.low + a.low * b.high);
    return wide_of(high, low);
}

/* a / b for a plain a, with a single division. */
FS_INLINE wide wide_quotient(double a, wide b)
{
    const double reciprocal = 1.0 / b.high;
    const double high = a * reciprocal;
    const double rest = fma(-high, b.high, a) - high * b.low;
    return wide_of(high, rest * reciprocal);
}

FS_INLINE wide wide_ratio(wide a, wide b)
{
    const double reciprocal = 1.0 / b.high;
    const double high = a.high * reciprocal;
    const double rest = (fma(-high, b.high, a.high) - high * b.low) + a.low;
    return wide_of(high, rest * reciprocal);
}

/* 2^e; 0 and inf beyond the normal numbers of float64. */
FS_INLINE double power_of_two(int64_t e)
{
    uint64_t bits;
    double value;
    if (e > 1023)
        return INFINITY;
    if (e < -1022)
        return 0.0;
    bits = (uint64_t)(e + 1023) << 52;
    memcpy(&value, &bits, sizeof value);
    return value;
}

FS_INLINE int64_t clamp_exponent(int64_t e) { return e < -1000 ? -1000 : e > 1000 ? 1000 : e; }

/* a * 2^e, also where 2^e itself is out of range. a is of ordinary size: the first product is
 * exact, so the result is rounded once. */
FS_INLINE double scale_by_power(double a, int64_t e)
{
    const int64_t first = clamp_exponent(e), second = clamp_exponent(e - first);
    return a * power_of_two(first) * power_of_two(second);
}

typedef struct {
    wide fraction; /* in [3/4, 3/2] */
    int64_t exponent;
} wide_exp;

typedef wide one_wide;

#define W(word) one_##word
#include "finish_steps.inc.h"
#undef W

/* e^z to about 2^-55. |z| <= 2^30 by clamping: beyond, the result has left every range it is used
 * in. */
FS_INLINE wide_exp exp_wide(wide z)
{
    const double limit = 0x1p+30;
    if (!(z.high > -limit && z.high < limit))
        z = wide_of(z.high > 0 ? limit : -limit, 0.0);
    const one_exponential e = one_exp_pair(z.high, z.low);
    const wide_exp result = {e.fraction, (int64_t)e.exponent};
    return result;
}

FS_INLINE wide log_wide(wide u, int64_t e) { return one_log_pair(u, (double)e); }

/* log(1 + m 2^e), m in [1/2, 1) or 0, or NaN. */
FS_INLINE wide log1p_scaled(wide m, int64_t e)
{
    const one_exponential one = {{1.0, 0.0}, 0.0};
    const one_shares s = one_shares_of(m, (double)e, one, 0, WIDE_LIFT);
    return one_loss_wide(&s);
}
#endif
