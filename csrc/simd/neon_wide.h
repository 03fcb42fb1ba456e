/* The words for float64 lanes that finish rows (README.md) for NEON (AArch64): 2 lanes. */
#ifndef FS_SIMD_NEON_WIDE_H
#define FS_SIMD_NEON_WIDE_H
#include <arm_neon.h>
#include "../portable.h"

typedef float64x2_t d_t;
typedef uint64x2_t d_mask;
#define D_LANES 2

FS_INLINE d_t d_set1(double a) { return vdupq_n_f64(a); }
FS_INLINE d_t d_load(const double *p) { return vld1q_f64(p); }
FS_INLINE void d_store(double *p, d_t a) { vst1q_f64(p, a); }
FS_INLINE d_t d_add(d_t a, d_t b) { return vaddq_f64(a, b); }
FS_INLINE d_t d_sub(d_t a, d_t b) { return vsubq_f64(a, b); }
FS_INLINE d_t d_mul(d_t a, d_t b) { return vmulq_f64(a, b); }
FS_INLINE d_t d_div(d_t a, d_t b) { return vdivq_f64(a, b); }
FS_INLINE d_t d_fma(d_t a, d_t b, d_t c) { return vfmaq_f64(c, a, b); }
FS_INLINE d_t d_fnma(d_t a, d_t b, d_t c) { return vfmsq_f64(c, a, b); }
FS_INLINE d_t d_max(d_t a, d_t b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }
FS_INLINE d_t d_min(d_t a, d_t b) { return vbslq_f64(vcltq_f64(a, b), a, b); }
FS_INLINE d_mask d_lt(d_t a, d_t b) { return vcltq_f64(a, b); }
FS_INLINE d_mask d_eq(d_t a, d_t b) { return vceqq_f64(a, b); }
FS_INLINE d_t d_select(d_mask m, d_t a, d_t b) { return vbslq_f64(m, a, b); }
FS_INLINE d_t d_exponent(d_t t)
{
    return vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(t), 52));
}
FS_INLINE d_t d_binade(d_t a, d_t b, d_t *exponent)
{
    const uint64x2_t apart = vsubq_u64(vreinterpretq_u64_f64(a), vreinterpretq_u64_f64(b));
    const uint64x2_t biased = vshrq_n_u64(vaddq_u64(apart, vdupq_n_u64(NEAREST_BINADE)), 52);
    const uint64x2_t number = vorrq_u64(biased, vdupq_n_u64(INTEGER_BITS));
    *exponent = vsubq_f64(vreinterpretq_f64_u64(number), vdupq_n_f64(INTEGER_BIAS));
    return vreinterpretq_f64_u64(vshlq_n_u64(biased, 52));
}
#endif
