/* float64 constants (tools/derive_coefficients.py): the kernels of float64 and, in both precisions,
 * the few scalar steps that finish a row. */
#ifndef FS_MATH_FINISH_CONSTANTS_H
#define FS_MATH_FINISH_CONSTANTS_H

#define EXP_F64_C2 0x1.ffffffffffffep-2
#define EXP_F64_C3 0x1.55555555556e2p-3
#define EXP_F64_C4 0x1.55555555560a6p-5
#define EXP_F64_C5 0x1.111111108e3e2p-7
#define EXP_F64_C6 0x1.6c16c16a503c4p-10
#define EXP_F64_C7 0x1.a01a054d73aafp-13
#define EXP_F64_C8 0x1.a019f5ebb1a0dp-16
#define EXP_F64_C9 0x1.71d320afc3dcap-19
#define EXP_F64_C10 0x1.283f2ef4d54d1p-22
#define EXP_F64_C11 0x1.c6c6d7bb0b454p-26
#define LN2_HIGH_F64 0x1.62e42fefa39efp-1
#define LN2_LOW_F64 0x1.abc9e3b39803fp-56
#define LOG2_E_F64 0x1.71547652b82fep+0
/* k = round(x log2 e + EXP_LEAN) leaves e^r in [3/4, 3/2), so that r and e^r - 1 are rounded where
 * they are small: in [0.7, 1.42] both cost half as much again. 3/2 - log2(3) and 2^-27 more, a
 * number of 28 bits after the point: that sum is rounded, and above 3/2 an ULP of e^r - 1 is twice
 * as large. */
#define EXP_LEAN_F64 (-0x1.5c01a2p-4)

/* ln 2 split so that e * LN2_HEAD is exact for |e| < 2^21. */
#define LN2_HEAD 0x1.62e42feep-1
#define LN2_REST 0x1.a39ef35793c76p-33

/* log(1 + f) = t + t z Q(z), t = 2 f / (2 + f), z = t^2, f in [-1/3, 1/2]: relative error 2^-61.6 */
#define LOG_Q0 0x1.555555555554fp-4
#define LOG_Q1 0x1.999999999c115p-7
#define LOG_Q2 0x1.24924921ea179p-9
#define LOG_Q3 0x1.c71c748ab801bp-12
#define LOG_Q4 0x1.745c4c03fbb0cp-14
#define LOG_Q5 0x1.3b359b95b87ccp-16
#define LOG_Q6 0x1.0dcdfdda21c4bp-18
#define LOG_Q7 0x1.1b7183c0be620p-20

/* Those of float32. */
/* short: e^r = 1 + r + r^2 q(r), |r| <= ln(2)/2 + 0.001: relative error 2^-34.1 */
#define EXP_SHORT_C2 0x1.0000003b1520cp-1
#define EXP_SHORT_C3 0x1.5555543ea75f0p-3
#define EXP_SHORT_C4 0x1.55548b961e5a7p-5
#define EXP_SHORT_C5 0x1.1112749246279p-7
#define EXP_SHORT_C6 0x1.6d8f14a7c9f3dp-10
#define EXP_SHORT_C7 0x1.9f072760ac65ap-13
/* short: log(1 + f) as above: relative error 2^-35.4 */
#define LOG_SHORT_Q0 0x1.55555422aa5d9p-4
#define LOG_SHORT_Q1 0x1.999bdb7eeb1b9p-7
#define LOG_SHORT_Q2 0x1.23e9a2f801040p-9
#define LOG_SHORT_Q3 0x1.ed8d526a5f8edp-12

/* A float64 loss may be subnormal, its sum of the others over the pivot's term a float64 before. */
#define WIDE_LIFT 60
#endif
