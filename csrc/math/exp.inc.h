/* e^x 2^(HEADROOM - K) of a vector, written once for both precisions.
 *
 *   k = round(x log2 e),  r = (x - k LN2_HIGH) - k LN2_LOW,  e^x = (1 + r + r^2 q(r)) 2^k
 *   (float32: k counts eighths, and 2^(k/8) comes from a table of eight; float64: k leans down a
 *   little, EXP_LEAN, which makes the roundings of r and r + r^2 q(r) smaller)
 *
 * x is reduced directly, not x - max: rounding that difference is the largest error of the usual
 * softmax (65 ULP in float32 for ordinary logits). x - k LN2_HIGH is exact with an FMA (Cody and
 * Waite). The power of two is a bit pattern: adding ROUNDER + EXPONENT_BIAS + HEADROOM - K leaves
 * the biased exponent in the bits of the sum, and a shift puts it in place (K is thus free: scaling
 * by 2^K is exact). The last FMA multiplies by 2^k and adds the 1 in one rounding.
 * Dukhan and Ablavatski, "Two-pass softmax algorithm", arXiv 2001.04438.
 */

typedef struct {
    v_t rounder; /* ROUNDER + (EXPONENT_BIAS + HEADROOM - K) EXP_STEPS */
    v_t turner;  /* what x log2 e is added to: the same, in float64 with EXP_LEAN */
    v_t lowest;  /* logits below give exactly zero: their biased exponent would be negative */
} exp_scale;

FS_INLINE exp_scale exp_scale_for(int64_t K)
{
    const real offset = (real)((EXPONENT_BIAS + HEADROOM - K) * EXP_STEPS); /* below 2^22: exact */
    exp_scale scale;
    scale.rounder = v_set1((real)ROUNDER + offset);
    scale.turner = v_set1((real)TURNER + offset);
    scale.lowest = v_set1(-offset * (real)LN2_HIGH);
    return scale;
}

/* The same with a K of its own for each lane. */
FS_INLINE exp_scale exp_scale_of(v_t K)
{
    const v_t headroom = v_set1((real)(EXPONENT_BIAS + HEADROOM));
    const v_t offset = v_mul(v_sub(headroom, K), v_set1((real)EXP_STEPS));
    exp_scale scale;
    scale.rounder = v_add(v_set1((real)ROUNDER), offset);
    scale.turner = v_add(v_set1((real)TURNER), offset);
    scale.lowest = v_mul(v_sub(v_set1(0), offset), v_set1((real)LN2_HIGH));
    return scale;
}

/* e^x 2^(HEADROOM - K) = power (1 + w), before the last rounding. */
typedef struct { v_t power, w; } exp_parts;

FS_INLINE v_t exp_joined(exp_parts e) { return v_fma(e.w, e.power, e.power); }

FS_INLINE exp_parts exp_parted(v_t x, const exp_scale *scale)
{
    x = v_max(scale->lowest, x);
    const v_t t = exp_whole(v_fma(x, v_set1((real)LOG2_E), scale->turner));
    const v_t k = v_sub(t, scale->rounder);
    v_t r = v_reduce_exact(k, v_set1((real)LN2_HIGH), x);
    r = v_fnma(k, v_set1((real)LN2_LOW), r);
    exp_parts e;
    e.power = exp_power(t, &r);
    e.w = v_fma(v_mul(r, r), exp_tail(r), r);
    return e;
}

FS_INLINE v_t exp_scaled(v_t x, const exp_scale *scale)
{
    return exp_joined(exp_parted(x, scale));
}

/* Four vectors in step: written so, more of them are under way at a time than the scheduler of a
 * processor finds by itself (a vector alone is a chain of some forty cycles). In two halves, so
 * that a loop can begin four vectors beside the end of the last four; _each: the scales of the
 * four, `step` apart. */
typedef struct { v_t t[4], r[4]; } exp_begun;

FS_INLINE exp_begun exp_begin4_each(v_t x[4], const exp_scale *scale, int step)
{
    exp_begun begun;
    v_t *t = begun.t, *r = begun.r, k[4];
    for (int i = 0; i < 4; i++)
        x[i] = v_max(scale[i * step].lowest, x[i]);
    for (int i = 0; i < 4; i++)
        t[i] = exp_whole(v_fma(x[i], v_set1((real)LOG2_E), scale[i * step].turner));
    for (int i = 0; i < 4; i++)
        k[i] = v_sub(t[i], scale[i * step].rounder);
    for (int i = 0; i < 4; i++)
        r[i] = v_reduce_exact(k[i], v_set1((real)LN2_HIGH), x[i]);
    for (int i = 0; i < 4; i++)
        r[i] = v_fnma(k[i], v_set1((real)LN2_LOW), r[i]);
    return begun;
}

FS_INLINE exp_begun exp_begin4(v_t x[4], const exp_scale *scale)
{
    return exp_begin4_each(x, scale, 0);
}

FS_INLINE void exp_end4(exp_begun begun, exp_parts e[4])
{
    v_t *r = begun.r, tail[4];
    for (int i = 0; i < 4; i++)
        e[i].power = exp_power(begun.t[i], &r[i]);
    for (int i = 0; i < 4; i++)
        tail[i] = exp_tail(r[i]);
    for (int i = 0; i < 4; i++)
        e[i].w = v_fma(v_mul(r[i], r[i]), tail[i], r[i]);
}

FS_INLINE void exp_parted4(v_t x[4], const exp_scale *scale, exp_parts e[4])
{
    exp_end4(exp_begin4(x, scale), e);
}

/* round(x log2 e) of the largest logit of a block, in the logits' own precision (no FMA), so that
 * it can be had for many rows at once. */
FS_INLINE v_t binary_exponents(v_t x)
{
    const v_t limit = v_set1((real)DIRECT_LIMIT), lowest = v_set1((real)-DIRECT_LIMIT);
    const v_t bounded = v_min(v_max(x, lowest), limit), rounder = v_set1((real)K_ROUNDER);
    const v_t product = v_mul(bounded, v_set1((real)(LOG2_E / EXP_STEPS)));
    return v_sub(v_add(product, rounder), rounder);
}

FS_INLINE int64_t binary_exponent(real x)
{
    const real limit = (real)DIRECT_LIMIT, rounder = (real)K_ROUNDER;
    if (!(x > -limit))
        x = -limit;
    if (!(x < limit))
        x = limit;
    const real product = x * (real)(LOG2_E / EXP_STEPS);
    return (int64_t)((product + rounder) - rounder);
}
