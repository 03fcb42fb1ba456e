/* float32: what finishes a row, in plain float64, which leaves 2^-35 or better where a float32
 * result needs 2^-26. Written once for a row alone and for a row in each lane: W(word) is one_word
 * (simd/one_wide.h) or d_word. No branch that data decides. */

#define FAR_AWAY 0x1p+50 /* of a distance between logits: k ln 2 is exact to here */

typedef struct { W(t) fraction, exponent; } W(exponential); /* fraction 2^exponent */

/* e^z. z is bounded where it is beyond any use: k and r are exact up to there. */
FS_INLINE W(exponential) W(exp_short)(W(t) z)
{
    const W(t) rounder = W(set1)(0x1.8p+52);
    W(exponential) result;
    z = W(max)(W(min)(z, W(set1)(FAR_AWAY)), W(set1)(-FAR_AWAY));
    const W(t) k = W(sub)(W(fma)(z, W(set1)(LOG2_E_F64), rounder), rounder);
    W(t) r = W(fma)(k, W(set1)(-LN2_HIGH_F64), z);
    r = W(fma)(k, W(set1)(-LN2_LOW_F64), r);
    const W(t) square = W(mul)(r, r);
    const W(t) first = W(fma)(W(set1)(EXP_SHORT_C3), r, W(set1)(EXP_SHORT_C2));
    const W(t) second = W(fma)(W(set1)(EXP_SHORT_C5), r, W(set1)(EXP_SHORT_C4));
    W(t) q = W(fma)(W(set1)(EXP_SHORT_C7), r, W(set1)(EXP_SHORT_C6));
    q = W(fma)(W(set1)(EXP_SHORT_C8), square, q);
    q = W(fma)(W(fma)(q, square, second), square, first);
    result.fraction = W(add)(W(set1)(1.0), W(fma)(square, q, r));
    result.exponent = k;
    return result;
}

/* 2^e of whole numbers e; 0 and inf beyond the normal numbers. */
FS_INLINE W(t) W(power_short)(W(t) e)
{
    const W(t) biased = W(add)(W(min)(W(max)(e, W(set1)(-1023.0)), W(set1)(1024.0)), W(set1)(1023.0));
    return W(exponent)(W(add)(biased, W(set1)(0x1.8p+52)));
}

/* log of (1 + f) 2^e, 1 + f in [sqrt(1/2), sqrt(2)]: s (2 + z L(z)), whose relative error does not
 * grow as f becomes small. */
FS_INLINE W(t) W(log_short)(W(t) f, W(t) e)
{
    const W(t) s = W(div)(f, W(add)(W(set1)(2.0), f)), z = W(mul)(s, s), square = W(mul)(z, z);
    const W(t) first = W(fma)(W(set1)(LOG_SHORT_L1), z, W(set1)(LOG_SHORT_L0));
    const W(t) second = W(fma)(W(set1)(LOG_SHORT_L3), z, W(set1)(LOG_SHORT_L2));
    const W(t) tail = W(mul)(z, W(fma)(second, square, first));
    return W(fma)(e, W(set1)(LN2_HIGH_F64), W(fma)(s, tail, W(add)(s, s)));
}

/* log(m 2^e) for a positive normal m. */
FS_INLINE W(t) W(log_scaled)(W(t) m, W(t) e)
{
    W(t) exponent;
    const W(t) f = W(sub)(W(split)(m, &exponent), W(set1)(1.0));
    return W(log_short)(f, W(add)(exponent, e));
}

/* The loss, log(1 + R) with R = sum 2^(K - HEADROOM) e^z, e being e^z; sum where that is 0, inf or
 * NaN, z where that is beyond any use. What 1 + R loses of R is put back: where R is small, all of
 * it. */
FS_INLINE W(t) W(loss_short)(W(t) sum, W(t) K, W(t) z, W(exponential) e)
{
    const W(t) one = W(set1)(1.0), zero = W(set1)(0.0);
    const W(t) m = W(mul)(W(mul)(sum, W(set1)(1.0 / HEADROOM_POWER)), e.fraction);
    const W(t) power = W(add)(K, e.exponent), ratio = W(mul)(m, W(power_short)(power));
    const W(t) large = W(max)(ratio, one), small = W(min)(ratio, one), u = W(add)(large, small);
    const W(mask) huge = W(lt)(W(set1)(0x1p+60), ratio); /* adding one changes nothing */
    const W(t) lost = W(select)(huge, zero, W(sub)(small, W(sub)(u, large)));
    W(t) exponent;
    const W(t) part = W(split)(W(select)(huge, m, u), &exponent);
    const W(t) down = W(exponent)(W(sub)(W(set1)(0x1.8p+52 + 1023.0), exponent));
    const W(t) f = W(fma)(lost, down, W(sub)(part, one));
    const W(t) log = W(log_short)(f, W(add)(exponent, W(select)(huge, power, zero)));
    const W(t) near = W(select)(W(lt)(z, W(set1)(FAR_AWAY)), log, z);
    const W(t) positive = W(select)(W(lt)(zero, sum), near, sum);
    return W(select)(W(lt)(sum, W(set1)(INFINITY)), positive, sum);
}
