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

typedef struct {
    d_wide fraction;
    d_t exponent;
} d_wide_exp;

FS_SHARED d_wide_exp d_exp_wide(d_wide z)
{
    const d_t rounder = d_set1(0x1.8p+52), limit = d_set1(0x1p+30), least = d_set1(-0x1p+30);
    d_wide_exp result;
    const d_t bound = d_select(d_lt(d_set1(0.0), z.high), limit, least);
    const d_t below = d_select(d_lt(z.high, limit), z.high, bound);
    const d_t low = d_select(d_lt(z.high, limit), z.low, d_set1(0.0));
    z.low = d_select(d_lt(least, below), low, d_set1(0.0));
    z.high = d_select(d_lt(least, below), below, bound);
    const d_t turns = d_fma(z.high, d_set1(LOG2_E_F64), d_set1(EXP_LEAN_F64));
    const d_t k = d_sub(d_add(turns, rounder), rounder);
    const d_t r0 = d_fma(d_negative(k), d_set1(LN2_HIGH_F64), z.high);
    const d_t step = d_mul(k, d_set1(LN2_LOW_F64)), r = d_sub(r0, step);
    const d_t lost = d_fma(k, d_set1(LN2_LOW_F64), d_negative(step));
    const d_t r_low = d_add(d_sub(d_sub(d_sub(r0, r), step), lost), z.low);
    d_t q = d_fma(d_set1(EXP_F64_C11), r, d_set1(EXP_F64_C10));
    q = d_fma(q, r, d_set1(EXP_F64_C9));
    q = d_fma(q, r, d_set1(EXP_F64_C8));
    q = d_fma(q, r, d_set1(EXP_F64_C7));
    q = d_fma(q, r, d_set1(EXP_F64_C6));
    q = d_fma(q, r, d_set1(EXP_F64_C5));
    q = d_fma(q, r, d_set1(EXP_F64_C4));
    q = d_fma(q, r, d_set1(EXP_F64_C3));
    q = d_fma(q, r, d_set1(EXP_F64_C2));
    const d_t curve = d_mul(d_mul(r, r), q), w = d_add(r, curve);
    const d_t w_low = d_add(d_add(d_sub(r, w), curve), d_fma(r_low, w, r_low));
    result.fraction.high = d_add(d_set1(1.0), w);
    result.fraction.low = d_add(d_add(d_sub(d_set1(1.0), result.fraction.high), w), w_low);
    result.exponent = k;
    return result;
}

FS_INLINE d_wide d_log_reduced(d_t f, d_wide low, d_t e)
{
    const d_t s = d_div(f, d_add(d_set1(2.0), f)), z = d_mul(s, s);
    const d_t half = d_mul(d_set1(0.5), f), half_square = d_mul(half, f);
    const d_t square_low = d_fma(half, f, d_negative(half_square));
    const d_t scale = d_mul(e, d_set1(LN2_HEAD)), sum = d_add(scale, f);
    const d_t part = d_sub(sum, half_square), high = d_add(part, low.high);
    const d_t first = d_sub(f, d_sub(sum, scale));
    const d_t second = d_sub(d_sub(d_sub(sum, part), half_square), square_low);
    const d_t third = d_add(d_sub(low.high, d_sub(high, part)), low.low);
    d_t p = d_fma(d_set1(LOG_L6), z, d_set1(LOG_L5));
    p = d_fma(p, z, d_set1(LOG_L4));
    p = d_fma(p, z, d_set1(LOG_L3));
    p = d_fma(p, z, d_set1(LOG_L2));
    p = d_fma(p, z, d_set1(LOG_L1));
    p = d_fma(p, z, d_set1(LOG_L0));
    const d_t one = d_set1(1.0), cubic = d_sub(one, d_mul(s, d_sub(one, s)));
    const d_t slope = d_fma(d_set1(-0.5), low.high, d_mul(d_mul(d_set1(-2.0), s), cubic));
    const d_t own = d_fma(e, d_set1(LN2_REST), d_mul(low.high, slope));
    const d_t lost = d_add(d_add(first, second), third);
    return d_fast_two_sum(high, d_add(lost, d_fma(s, d_fma(p, z, half_square), own)));
}

FS_INLINE d_wide d_log_parts(d_t high, d_wide low, d_t e)
{
    d_t exponent;
    const d_t f = d_sub(d_split(high, &exponent), d_set1(1.0));
    return d_log_reduced(f, d_wide_scale(low, d_power(d_negative(exponent))), d_add(exponent, e));
}

FS_INLINE d_wide d_log_wide(d_wide u, d_t e)
{
    return d_log_parts(u.high, d_wide_of(u.low, d_set1(0.0)), e);
}

/* log1p_scaled(m, e); where plain, the log of m 2^e itself. */
FS_SHARED d_wide d_log_ratio(d_wide m, d_t e, d_mask plain)
{
    const d_t ratio = d_scale(m.high, e), rest = d_scale(m.low, e), zero = d_set1(0.0);
    const d_wide u = d_two_sum(d_set1(1.0), ratio);
    const d_t sum = d_add(u.low, rest), lost = d_sub(rest, d_sub(sum, u.low));
    const d_mask large = d_lt(d_set1(0x1p+60), d_select(plain, d_set1(INFINITY), ratio));
    const d_wide low = {d_select(large, m.low, sum), d_select(large, zero, lost)};
    const d_wide log = d_log_parts(d_select(large, m.high, u.high), low, d_select(large, e, zero));
    const d_mask finite = d_lt(m.high, d_set1(INFINITY)); /* and not NaN; that of 0 is 0 by itself */
    return d_wide_of(d_select(finite, log.high, m.high), d_select(finite, log.low, zero));
}

FS_INLINE d_wide d_log1p_scaled(d_wide m, d_t e)
{
    return d_log_ratio(m, e, d_lt(d_set1(0.0), d_set1(0.0)));
}
