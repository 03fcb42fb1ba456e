/* The steps from a row's sum to its logarithm, in float64. Written once for a row alone and for a
 * row in each lane: W(word) is one_word (simd/one_wide.h) or d_word. No branch that data decides.
 *
 * Every loss and logarithm is log(1 + R), R = sum over the others of e^x / e^pivot. Neither R nor
 * 1 + R is formed: with the others' sum and the pivot's own exponential on one scale (W(shares)),
 *
 *   1 + R = 2^j (1 + N / P),  P = 2^j own,  N = rest + (own - P),  1 + N / P in [2/3, 3/2]
 *
 * needs one division, and for j = 0 N is the others' sum itself, so that a small loss keeps its
 * digits. float64 takes pairs for N and P and the longer polynomials (wide), float32 plain float64
 * and the shorter ones (short), which leaves 2^-34 where its results need 2^-26. */

/* Pivots further below what is subtracted first are taken to be here, and the rest is added to the
 * logarithm: k ln 2 is exact to here, and beyond DIRECT_LIMIT nothing else of it is left. */
#define LEAST_DISTANCE (-0x1p+20)

typedef struct {
    W(wide) fraction; /* in [2/3, 3/2] */
    W(t) exponent;
} W(exponential);

/* 2^(e + lift) of whole numbers, up to 2^1023; 0 below the normal numbers. */
FS_INLINE W(t) W(power_below)(W(t) e, int lift)
{
    const double least = -1023.0 - lift;
    return W(exponent)(W(add)(W(max)(e, W(set1)(least)), W(set1)(0x1.8p+52 - least)));
}

FS_INLINE W(wide) W(pair)(W(t) high, W(t) low)
{
    const W(wide) a = {high, low};
    return a;
}

FS_INLINE W(wide) W(scaled)(W(wide) a, W(t) power)
{
    return W(pair)(W(mul)(a.high, power), W(mul)(a.low, power));
}

FS_INLINE W(wide) W(sum_of_two)(W(t) a, W(t) b) /* Knuth */
{
    const W(t) sum = W(add)(a, b), part = W(sub)(sum, a);
    return W(pair)(sum, W(add)(W(sub)(a, W(sub)(sum, part)), W(sub)(b, part)));
}

/* e^(z + low) to about 2^-55: exp.inc.h with the rounding errors carried along. |z| <= 2^30. */
FS_INLINE W(exponential) W(exp_pair)(W(t) z, W(t) low)
{
    const W(t) rounder = W(set1)(0x1.8p+52), one = W(set1)(1.0);
    W(exponential) result;
    const W(t) turns = W(fma)(z, W(set1)(LOG2_E_F64), W(set1)(EXP_LEAN_F64));
    const W(t) k = W(sub)(W(add)(turns, rounder), rounder);
    const W(t) r0 = W(fma)(k, W(set1)(-LN2_HIGH_F64), z);
    const W(t) step = W(mul)(k, W(set1)(LN2_LOW_F64)), r = W(sub)(r0, step);
    const W(t) r_low = W(add)(W(sub)(W(sub)(r0, r), step), low);
    const W(t) square = W(mul)(r, r), fourth = W(mul)(square, square);
    const W(t) c3 = W(fma)(W(set1)(EXP_F64_C4), r, W(set1)(EXP_F64_C3));
    const W(t) c5 = W(fma)(W(set1)(EXP_F64_C6), r, W(set1)(EXP_F64_C5));
    const W(t) c7 = W(fma)(W(set1)(EXP_F64_C8), r, W(set1)(EXP_F64_C7));
    const W(t) c9 = W(fma)(W(set1)(EXP_F64_C10), r, W(set1)(EXP_F64_C9));
    const W(t) upper = W(fma)(fourth, W(set1)(EXP_F64_C11), W(fma)(square, c9, c7));
    const W(t) tail = W(fma)(fourth, upper, W(fma)(square, c5, c3));
    const W(t) q = W(fma)(tail, r, W(set1)(EXP_F64_C2)); /* one rounding of its size */
    const W(t) curve = W(mul)(square, q), w = W(add)(r, curve);
    const W(t) w_low = W(add)(W(add)(W(sub)(r, w), curve), W(fma)(r_low, w, r_low));
    result.fraction.high = W(add)(one, w);
    result.fraction.low = W(add)(W(add)(W(sub)(one, result.fraction.high), w), w_low);
    result.exponent = k;
    return result;
}

/* e^z to 2^-34. */
FS_INLINE W(exponential) W(exp_short)(W(t) z)
{
    const W(t) rounder = W(set1)(0x1.8p+52);
    W(exponential) result;
    const W(t) k = W(sub)(W(fma)(z, W(set1)(LOG2_E_F64), rounder), rounder);
    W(t) r = W(fma)(k, W(set1)(-LN2_HIGH_F64), z);
    r = W(fma)(k, W(set1)(-LN2_LOW_F64), r);
    const W(t) square = W(mul)(r, r);
    const W(t) first = W(fma)(W(set1)(EXP_SHORT_C3), r, W(set1)(EXP_SHORT_C2));
    const W(t) second = W(fma)(W(set1)(EXP_SHORT_C5), r, W(set1)(EXP_SHORT_C4));
    W(t) q = W(fma)(W(set1)(EXP_SHORT_C7), r, W(set1)(EXP_SHORT_C6));
    q = W(fma)(W(fma)(q, square, second), square, first);
    result.fraction = W(pair)(W(add)(W(set1)(1.0), W(fma)(square, q, r)), W(set1)(0.0));
    result.exponent = k;
    return result;
}

/* --- the sum of the others and the pivot's own term on one scale --- */

typedef struct {
    W(wide) rest, own; /* own = pivot 2^up, or 0 where the others are far larger */
    W(wide) pivot;
    W(t) up, d; /* rest is on the scale of K - d, times 2^lift */
} W(shares);

/* rest is on the scale of K, times 2^headroom; the lift keeps the smallest of losses from
 * underflowing before their time. */
FS_INLINE W(shares) W(shares_of)(W(wide) rest, W(t) K, W(exponential) pivot, int headroom,
                                 int lift)
{
    const W(t) scale = W(max)(K, pivot.exponent);
    W(shares) s;
    s.d = W(sub)(K, scale);
    s.up = W(add)(W(sub)(pivot.exponent, scale), W(set1)((double)(headroom + lift)));
    s.pivot = pivot.fraction;
    s.rest = W(scaled)(rest, W(power_below)(s.d, lift));
    s.own = W(scaled)(pivot.fraction, W(power_below)(s.up, 0));
    return s;
}

/* --- logarithms --- */

/* log(1 + N / P) + j ln 2 = t + t^3 Q(t^2) + j ln 2, t = N / (P + N / 2) as two numbers; what is
 * large is added up with what that loses: beside the last rounding a tenth of an ULP remains. */
FS_INLINE W(wide) W(log_quotient)(W(wide) N, W(wide) P, W(t) j)
{
    const W(t) half = W(set1)(0.5), H = W(fma)(half, N.high, P.high);
    const W(t) lost = W(fma)(half, N.high, W(sub)(P.high, H));
    const W(t) H_low = W(add)(W(fma)(half, N.low, P.low), lost);
    const W(t) reciprocal = W(div)(W(set1)(1.0), H), t = W(mul)(N.high, reciprocal);
    const W(t) over = W(fnma)(t, H, N.high), over_low = W(fnma)(t, H_low, N.low);
    const W(t) t_low = W(mul)(W(add)(over, over_low), reciprocal), z = W(mul)(t, t);
    const W(t) square = W(mul)(z, z);
    const W(t) q0 = W(fma)(W(set1)(LOG_Q1), z, W(set1)(LOG_Q0));
    const W(t) q2 = W(fma)(W(set1)(LOG_Q3), z, W(set1)(LOG_Q2));
    const W(t) q4 = W(fma)(W(set1)(LOG_Q5), z, W(set1)(LOG_Q4));
    const W(t) q6 = W(fma)(W(set1)(LOG_Q7), z, W(set1)(LOG_Q6));
    const W(t) upper = W(fma)(square, q6, q4), lower = W(fma)(square, q2, q0);
    const W(t) q = W(fma)(W(mul)(square, square), upper, lower);
    const W(t) head = W(mul)(j, W(set1)(LN2_HEAD)), high = W(add)(head, t);
    const W(t) first = W(sub)(t, W(sub)(high, head));
    const W(t) rest = W(fma)(j, W(set1)(LN2_REST), W(fma)(W(mul)(t, z), q, t_low));
    const W(t) low = W(add)(first, rest), sum = W(add)(high, low);
    return W(pair)(sum, W(sub)(low, W(sub)(sum, high)));
}

FS_INLINE W(t) W(log_quotient_short)(W(t) N, W(t) P, W(t) j)
{
    const W(t) t = W(div)(N, W(fma)(W(set1)(0.5), N, P)), z = W(mul)(t, t), square = W(mul)(z, z);
    const W(t) first = W(fma)(W(set1)(LOG_SHORT_Q1), z, W(set1)(LOG_SHORT_Q0));
    const W(t) second = W(fma)(W(set1)(LOG_SHORT_Q3), z, W(set1)(LOG_SHORT_Q2));
    const W(t) log = W(fma)(W(mul)(t, z), W(fma)(second, square, first), t);
    return W(fma)(j, W(set1)(LN2_HIGH_F64), log);
}

/* log(1 + R) = log((rest + own) / own). 0 and NaN come about by themselves. */
FS_INLINE W(wide) W(loss_wide)(const W(shares) *s)
{
    W(t) c;
    const W(t) power = W(binade)(W(add)(s->rest.high, s->own.high), s->pivot.high, &c);
    const W(wide) P = W(scaled)(s->pivot, power);
    const W(t) gap = W(sub)(s->own.high, P.high), lost = W(sub)(s->own.high, W(add)(gap, P.high));
    const W(t) low = W(add)(W(sub)(s->own.low, P.low), W(add)(lost, s->rest.low));
    W(wide) N = W(sum_of_two)(gap, s->rest.high);
    N.low = W(add)(N.low, low);
    return W(log_quotient)(N, P, W(sub)(c, s->up));
}

FS_INLINE W(t) W(loss_short)(const W(shares) *s)
{
    W(t) c;
    const W(t) power = W(binade)(W(add)(s->rest.high, s->own.high), s->pivot.high, &c);
    const W(t) P = W(mul)(s->pivot.high, power), N = W(add)(W(sub)(s->own.high, P), s->rest.high);
    return W(log_quotient_short)(N, P, W(sub)(c, s->up));
}

/* log(u 2^e) for a positive normal u below 2^1000. */
FS_INLINE W(wide) W(log_pair)(W(wide) u, W(t) e)
{
    W(t) c;
    const W(t) P = W(binade)(u.high, W(set1)(1.0), &c), gap = W(sub)(u.high, P);
    const W(t) high = W(add)(gap, u.low), low = W(sub)(u.low, W(sub)(high, gap));
    return W(log_quotient)(W(pair)(high, low), W(pair)(P, W(set1)(0.0)), W(add)(c, e));
}

FS_INLINE W(t) W(log_scaled)(W(t) u, W(t) e)
{
    W(t) c;
    const W(t) P = W(binade)(u, W(set1)(1.0), &c);
    return W(log_quotient_short)(W(sub)(u, P), P, W(add)(c, e));
}
