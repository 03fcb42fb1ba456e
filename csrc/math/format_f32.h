/* What float32 means to the kernels. Coefficients: tools/derive_coefficients.py. */
#ifndef FS_MATH_FORMAT_F32_H
#define FS_MATH_FORMAT_F32_H

#define FS_F64 0
/* Sums run in this many columns; a group, four elements to each, is one step of the loop. */
#define COLUMNS 16
/* Elements of one block (8 KiB): read for its maximum and again for its exponentials, from L1. */
#define BLOCK 2048
/* Logits up to this size are reduced directly; beyond, the row's maximum is subtracted first. */
#define DIRECT_LIMIT 16384.0
/* Terms are kept as e^x 2^(HEADROOM - K): a term 2^-149 of the largest is still a normal number,
 * and 2^31 of the largest do not overflow. */
#define HEADROOM 60
#define HEADROOM_POWER 0x1p+60
#define LOSS_LIFT 0 /* its smallest results are far above those of float64 */
#define EXPONENT_BIAS 127
#define ROUNDER 0x1.8p+23f /* 1.5 * 2^23: adding it rounds to an integer, held in the low bits */
#define K_ROUNDER ROUNDER
#define TURNER ROUNDER
#define SMALLEST_FACTOR 0x1p-100
#define FACTOR_LIFT 64

/* x is reduced by multiples of ln(2)/8: the small remainder leaves little but the last rounding of
 * the exponential (0.55 ULP; 0.8 with steps of ln 2 and degree 6), and needs two terms fewer. */
#define EXP_STEPS 8
/* e^r = 1 + r + r^2 q(r), |r| <= ln(2)/16 + 0.001: relative error 2^-32.3 */
#define EXP_C2 0x1.000000p-1f
#define EXP_C3 0x1.555cc4p-3f
#define EXP_C4 0x1.5556d8p-5f
#define LN2_HIGH 0x1.62e430p-4f /* of ln(2)/8 */
#define LN2_LOW (-0x1.05c610p-32f)
#define LOG2_E 0x1.715476p+3f /* 8/ln(2) */

/* 2^(j/8) = T_j (1 + d_j). T_j as its bits without the exponent and less j << 20, which v_raise
 * shifts in together with the exponent. */
static const uint32_t exp_step_bits[8] = {0x00000000, 0xfffb95c2, 0xfff837f0, 0xfff5fed7,
                                          0xfff504f3, 0xfff5672a, 0xfff744fd, 0xfffac0c7};
static const float exp_step_error[8] = {0.0f,           -0x1.9c0c22p-27f, 0x1.125002p-25f,
                                        -0x1.0a3550p-25f, 0x1.26055cp-26f,  0x1.67a1cap-28f,
                                        -0x1.f9c304p-27f, -0x1.a5217cp-28f};

FS_INLINE v_t exp_whole(v_t t) { return t; } /* ROUNDER has no bits after the point */

/* 2^(k/8), whose exponent and j = k mod 8 stand in the low bits of t; r takes up the error of
 * T_j. */
FS_INLINE v_t exp_power(v_t t, v_t *r)
{
    *r = v_add(*r, v_lookup(exp_step_error, t));
    return v_raise(v_lookup(exp_step_bits, t), t);
}

FS_INLINE v_t exp_tail(v_t r)
{
    const v_t q = v_fma(v_set1(EXP_C4), r, v_set1(EXP_C3));
    return v_fma(q, r, v_set1(EXP_C2));
}
#endif
