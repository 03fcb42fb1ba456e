/* The float64 steps that finish rows, a row in each lane: those of finish.h, the same operations in
 * the same order, so that a row gets the same bits either way. Branches become selections. */

#define D_PARTS (V_LANES / D_LANES) /* float64 vectors to a vector of logits */

typedef struct { d_t high, low; } d_wide;

FS_INLINE d_wide d_wide_of(d_t high, d_t low)
{
    const d_wide a = {high, low};
    return a;
}

FS_INLINE d_t d_negative(d_t a) { return d_sub(d_set1(-0.0), a); }

FS_INLINE d_wide d_wide_set1(wide a) { return d_wide_of(d_set1(a.high), d_set1(a.low)); }

FS_INLINE d_wide d_wide_minus(d_wide a)
{
    return d_wide_of(d_negative(a.high), d_negative(a.low));
}

FS_INLINE d_t d_clamp(d_t a, double limit)
{
    return d_min(d_max(a, d_set1(-limit)), d_set1(limit));
}

/* a where it is finite, else b. */
FS_INLINE d_t d_if_finite(d_t test, d_t a, d_t b)
{
    return d_select(d_eq(d_sub(test, test), d_set1(0.0)), a, b);
}

FS_INLINE d_wide d_two_sum(d_t a, d_t b)
{
    const d_t sum = d_add(a, b), part = d_sub(sum, a);
    return d_wide_of(sum, d_add(d_sub(a, d_sub(sum, part)), d_sub(b, part)));
}

FS_INLINE d_wide d_fast_two_sum(d_t a, d_t b)
{
    const d_t sum = d_add(a, b);
    return d_wide_of(sum, d_sub(b, d_sub(sum, a)));
}

FS_INLINE d_wide d_wide_add(d_wide a, d_wide b)
{
    const d_wide sum = d_two_sum(a.high, b.high);
    const d_t low = d_add(sum.low, d_add(a.low, b.low)), high = d_add(sum.high, low);
    const d_t rest = d_sub(low, d_sub(high, sum.high));
    return d_wide_of(d_if_finite(sum.high, high, sum.high),
                     d_if_finite(sum.high, rest, d_set1(0.0)));
}

FS_INLINE d_t d_plus_wide(d_t a, d_wide b)
{
    const d_wide sum = d_two_sum(a, b.high);
    return d_add(sum.high, d_add(sum.low, b.low));
}

FS_INLINE d_wide d_wide_scale(d_wide a, d_t power)
{
    return d_wide_of(d_mul(a.high, power), d_mul(a.low, power));
}

FS_INLINE d_wide d_wide_mul(d_wide a, d_wide b)
{
    const d_t high = d_mul(a.high, b.high);
    const d_t cross = d_add(d_mul(a.high, b.low), d_mul(a.low, b.high));
    return d_wide_of(high, d_add(d_fma(a.high, b.high, d_negative(high)), cross));
}

FS_INLINE d_wide d_wide_quotient(d_t a, d_wide b)
{
    const d_t reciprocal = d_div(d_set1(1.0), b.high), high = d_mul(a, reciprocal);
    const d_t rest = d_sub(d_fma(d_negative(high), b.high, a), d_mul(high, b.low));
    return d_wide_of(high, d_mul(rest, reciprocal));
}

FS_INLINE d_wide d_wide_ratio(d_wide a, d_wide b)
{
    const d_t reciprocal = d_div(d_set1(1.0), b.high), high = d_mul(a.high, reciprocal);
    const d_t part = d_sub(d_fma(d_negative(high), b.high, a.high), d_mul(high, b.low));
    return d_wide_of(high, d_mul(d_add(part, a.low), reciprocal));
}

FS_INLINE d_t d_wide_value(d_wide a) { return d_if_finite(a.high, d_add(a.high, a.low), a.high); }

/* 2^e of whole numbers e; 0 and inf beyond the normal numbers. */
FS_INLINE d_t d_power(d_t e)
{
    const d_t biased = d_add(d_min(d_max(e, d_set1(-1023.0)), d_set1(1024.0)), d_set1(1023.0));
    return d_exponent(d_add(biased, d_set1(0x1.8p+52)));
}

FS_INLINE d_t d_scale(d_t a, d_t e)
{
    const d_t first = d_clamp(e, 1000.0), second = d_clamp(d_sub(e, first), 1000.0);
    return d_mul(d_mul(a, d_power(first)), d_power(second));
}

#define W(word) d_##word
#include "finish_steps.inc.h"
#undef W

FS_SHARED d_exponential d_exp_wide(d_wide z)
{
    const d_t limit = d_set1(0x1p+30), least = d_set1(-0x1p+30);
    const d_t bound = d_select(d_lt(d_set1(0.0), z.high), limit, least);
    const d_t below = d_select(d_lt(z.high, limit), z.high, bound);
    const d_t low = d_select(d_lt(z.high, limit), z.low, d_set1(0.0));
    z.low = d_select(d_lt(least, below), low, d_set1(0.0));
    z.high = d_select(d_lt(least, below), below, bound);
    return d_exp_pair(z.high, z.low);
}
