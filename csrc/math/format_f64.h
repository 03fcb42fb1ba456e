/* What float64 means to the kernels. Coefficients: tools/derive_coefficients.py. */
#ifndef FS_MATH_FORMAT_F64_H
#define FS_MATH_FORMAT_F64_H
#include "finish_constants.h"

#define FS_F64 1
/* Sums run in this many columns; a group, four elements to each, is one step of the loop. */
#define COLUMNS 8
/* Elements of one block (8 KiB): read for its maximum and again for its exponentials, from L1. */
#define BLOCK 1024
/* Logits up to this size are reduced directly; beyond, the row's maximum is subtracted first. */
#define DIRECT_LIMIT 1048576.0
/* Terms are kept as e^x 2^(HEADROOM - K): a term 2^-1074 of the largest is still a normal number,
 * and 2^63 of the largest do not overflow. */
#define HEADROOM 200
#define HEADROOM_POWER 0x1p+200
#define LOSS_LIFT WIDE_LIFT
#define EXPONENT_BIAS 1023
#define K_ROUNDER 0x1.8p+52 /* 1.5 * 2^52: adding it rounds to an integer */
/* 1.5 * 2^24: what is added to it is rounded to TURN_BITS bits after the point. Taken away again,
 * they leave the next integer below: EXP_LEAN can be part of it, and costs no addition. */
#define ROUNDER 0x1.8p+24
#define TURNER (ROUNDER + 0.5 + EXP_LEAN_F64)
#define SMALLEST_FACTOR 0x1p-860
#define FACTOR_LIFT 128

#define LN2_HIGH LN2_HIGH_F64
#define LN2_LOW LN2_LOW_F64
#define LOG2_E LOG2_E_F64

#define EXP_STEPS 1
FS_INLINE v_t exp_whole(v_t t) { return v_whole(t); }

/* 2^k, whose exponent stands in t. */
FS_INLINE v_t exp_power(v_t t, v_t *r)
{
    (void)r;
    return v_exponent(t);
}

/* e^r = 1 + r + r^2 q(r), e^r in [3/4, 3/2] and 0.001 more: relative error 2^-57.07 (tried: in
 * pairs, as Estrin did. There is enough to do while one waits, and there are too few registers.) */
FS_INLINE v_t exp_tail(v_t r)
{
    v_t q = v_fma(v_set1(EXP_F64_C11), r, v_set1(EXP_F64_C10));
    q = v_fma(q, r, v_set1(EXP_F64_C9));
    q = v_fma(q, r, v_set1(EXP_F64_C8));
    q = v_fma(q, r, v_set1(EXP_F64_C7));
    q = v_fma(q, r, v_set1(EXP_F64_C6));
    q = v_fma(q, r, v_set1(EXP_F64_C5));
    q = v_fma(q, r, v_set1(EXP_F64_C4));
    q = v_fma(q, r, v_set1(EXP_F64_C3));
    return v_fma(q, r, v_set1(EXP_F64_C2));
}
#endif
