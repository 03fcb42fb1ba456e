/* What float32 means to the kernels. Coefficients: tools/derive_coefficients.py. */
#ifndef FS_MATH_FORMAT_F32_H
#define FS_MATH_FORMAT_F32_H

#define FS_F64 0
/* Elements of one group: four vectors of COLUMNS, added pairwise before they are accumulated. */
#define COLUMNS 16
/* Elements of one block (8 KiB): read for its maximum and again for its exponentials, from L1. */
#define BLOCK 2048
/* Logits up to this size are reduced directly; beyond, the row's maximum is subtracted first. */
#define DIRECT_LIMIT 16384.0
/* Terms are kept as e^x 2^(HEADROOM - K): a term 2^-149 of the largest is still a normal number,
 * and 2^31 of the largest do not overflow. */
#define HEADROOM 60
#define EXPONENT_BIAS 127
#define ROUNDER 0x1.8p+23f /* 1.5 * 2^23: adding it rounds to an integer, held in the low bits */
#define SMALLEST_FACTOR 0x1p-100
#define FACTOR_LIFT 64

/* e^r = 1 + r + r^2 q(r), |r| <= ln(2)/2 + 0.001: relative error 2^-28.2 */
#define EXP_C2 0x1.fffffcp-2f
#define EXP_C3 0x1.555490p-3f
#define EXP_C4 0x1.5558d8p-5f
#define EXP_C5 0x1.123b6ap-7f
#define EXP_C6 0x1.6a2016p-10f
#define LN2_HIGH 0x1.62e430p-1f
#define LN2_LOW (-0x1.05c610p-29f)
#define LOG2_E 0x1.715476p+0f

FS_INLINE v_t exp_tail(v_t r)
{
    v_t q = v_fma(v_set1(EXP_C6), r, v_set1(EXP_C5));
    q = v_fma(q, r, v_set1(EXP_C4));
    q = v_fma(q, r, v_set1(EXP_C3));
    return v_fma(q, r, v_set1(EXP_C2));
}
#endif
