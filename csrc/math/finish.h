/* The scalar float64 steps that finish a row, for both precisions: a dozen flops a row.
 *
 * Every loss and logarithm is log(1 + R), R = sum over the others of e^x / e^pivot: the pivot (the
 * target, or the largest logit) is left out of the sum, so that a loss of 4e-9 is 4e-9 and not
 * log(1.0000000) = 0.
 */
#ifndef FS_MATH_FINISH_H
#define FS_MATH_FINISH_H
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "../portable.h"
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

/* e^z to about 2^-55: exp.inc.h with the rounding errors carried along. |z| <= 2^30 by clamping:
 * beyond, the result has left every range it is used in. */
FS_INLINE wide_exp exp_wide(wide z)
{
    static const double rounder = 0x1.8p+52;
    const double limit = 0x1p+30;
    wide_exp result;
    if (!(z.high > -limit && z.high < limit))
        z = wide_of(z.high > 0 ? limit : -limit, 0.0);
    const double k = (fma(z.high, LOG2_E_F64, EXP_LEAN_F64) + rounder) - rounder;
    const double r0 = fma(-k, LN2_HIGH_F64, z.high);
    const double step = k * LN2_LOW_F64;
    const double r = r0 - step;
    const double r_low = ((r0 - r) - step) - fma(k, LN2_LOW_F64, -step) + z.low;
    double q = fma(EXP_F64_C11, r, EXP_F64_C10);
    q = fma(q, r, EXP_F64_C9);
    q = fma(q, r, EXP_F64_C8);
    q = fma(q, r, EXP_F64_C7);
    q = fma(q, r, EXP_F64_C6);
    q = fma(q, r, EXP_F64_C5);
    q = fma(q, r, EXP_F64_C4);
    q = fma(q, r, EXP_F64_C3);
    q = fma(q, r, EXP_F64_C2);
    const double curve = r * r * q;
    const double w = r + curve;
    const double w_low = ((r - w) + curve) + fma(r_low, w, r_low);
    result.fraction.high = 1.0 + w;
    result.fraction.low = ((1.0 - result.fraction.high) + w) + w_low;
    result.exponent = (int64_t)k;
    return result;
}

/* log of (1 + f + low) 2^e, as two numbers, with 1 + f in [sqrt(1/2), sqrt(2)] and |low| <= 2^-53.
 * The arrangement of the terms is that of FreeBSD's msun, e_log.c; but the large ones, e ln 2 + f -
 * f^2 / 2 + low, are added up with what that loses (Dekker's Fast2Sum) while the division is under
 * way: beside the last rounding a tenth of an ULP remains. low counts low / (1 + f) - low^2 / 2, 1
 * / (1 + f) being (1 - s) / (1 + s), taken to s^3: 2^-9 of low is too small to matter. */
FS_INLINE wide log_reduced(double f, wide low, double e)
{
    const double s = f / (2.0 + f), z = s * s;
    const double half = 0.5 * f, half_square = half * f, square_low = fma(half, f, -half_square);
    const double scale = e * LN2_HEAD, sum = scale + f, part = sum - half_square;
    const double high = part + low.high, first = f - (sum - scale);
    const double second = ((sum - part) - half_square) - square_low;
    const double third = (low.high - (high - part)) + low.low;
    double p = fma(LOG_L6, z, LOG_L5);
    p = fma(p, z, LOG_L4);
    p = fma(p, z, LOG_L3);
    p = fma(p, z, LOG_L2);
    p = fma(p, z, LOG_L1);
    p = fma(p, z, LOG_L0);
    const double slope = fma(-0.5, low.high, -2.0 * s * (1.0 - s * (1.0 - s)));
    const double own = fma(e, LN2_REST, low.high * slope);
    const double rest = (first + second + third) + fma(s, fma(p, z, half_square), own);
    return fast_two_sum(high, rest);
}

/* log of (high + low) 2^e for a positive normal high of any exponent. */
FS_INLINE wide log_parts(double high, wide low, int64_t e)
{
    uint64_t bits;
    double fraction;
    memcpy(&bits, &high, sizeof bits);
    /* the fraction's exponent is chosen so that it lies in [sqrt(1/2), sqrt(2)) */
    const uint64_t shifted = bits + (UINT64_C(0x3ff0000000000000) - UINT64_C(0x3fe6a09e667f3bcd));
    const int64_t exponent = (int64_t)(shifted >> 52) - 1023;
    bits -= (uint64_t)exponent << 52;
    memcpy(&fraction, &bits, sizeof fraction);
    return log_reduced(fraction - 1.0, wide_scale(low, power_of_two(-exponent)),
                       (double)(exponent + e));
}

FS_INLINE wide log_wide(wide u, int64_t e) { return log_parts(u.high, wide_of(u.low, 0.0), e); }

/* log(1 + (m + m_low) 2^e) for m >= 0: the loss or the distance from the maximum, from the sum of
 * the others over the pivot. */
FS_INLINE wide log1p_scaled(wide m, int64_t e)
{
    if (!(m.high > 0.0) || m.high == INFINITY)
        return wide_of(m.high, 0.0); /* 0, NaN, inf */
    const double ratio = scale_by_power(m.high, e), rest = scale_by_power(m.low, e);
    if (ratio > 0x1p+60)
        return log_wide(m, e); /* adding one changes nothing */
    /* 1 + R as three numbers holds every digit of R, however small: no branch that data decides */
    const wide u = two_sum(1.0, ratio);
    const double low = u.low + rest;
    return log_parts(u.high, wide_of(low, rest - (low - u.low)), 0);
}
#endif
