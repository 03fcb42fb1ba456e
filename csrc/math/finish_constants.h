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

/* log(1+f) = f - f^2/2 + s (f^2/2 + z L(z)), s = f/(2+f), z = s^2: relative error 2^-58.8 */
#define LOG_L0 0x1.5555555555593p-1
#define LOG_L1 0x1.999999997fc64p-2
#define LOG_L2 0x1.249249420747ep-2
#define LOG_L3 0x1.c71c51f4d6e17p-3
#define LOG_L4 0x1.7466439bec015p-3
#define LOG_L5 0x1.39a13566f0a41p-3
#define LOG_L6 0x1.2f0b16552abefp-3

/* Those of float32 (finish_single.inc.h). */
/* short: e^r = 1 + r + r^2 q(r), |r| <= ln(2)/2 + 0.001: relative error 2^-39.6 */
#define EXP_SHORT_C2 0x1.0000000060018p-1
#define EXP_SHORT_C3 0x1.5555557e7ffdcp-3
#define EXP_SHORT_C4 0x1.55555419386c7p-5
#define EXP_SHORT_C5 0x1.1110a124e6e17p-7
#define EXP_SHORT_C6 0x1.6c18d8db9cd71p-10
#define EXP_SHORT_C7 0x1.a18763a78dbaap-13
#define EXP_SHORT_C8 0x1.9e87429397334p-16
/* short: log(1 + f) = s (2 + z L(z)), s and z as above: relative error 2^-37.6 */
#define LOG_SHORT_L0 0x1.555554fd86f81p-1
#define LOG_SHORT_L1 0x1.999a7acb9af85p-2
#define LOG_SHORT_L2 0x1.2438c20cd2941p-2
#define LOG_SHORT_L3 0x1.e2fa4a6724f12p-3
#endif
