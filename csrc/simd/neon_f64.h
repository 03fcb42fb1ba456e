/* The vocabulary (README.md) for NEON (AArch64), float64: 2 lanes. */
#ifndef FS_SIMD_NEON_F64_H
#define FS_SIMD_NEON_F64_H
#include <arm_neon.h>
#include <stdint.h>
#include "../portable.h"
#include "neon_wide.h"

typedef double real;
typedef float64x2_t v_t;
#define V_LANES 2
#define TURN_BITS 28 /* after the point of t (README.md) */

FS_INLINE v_t v_set1(real a) { return vdupq_n_f64(a); }
FS_INLINE v_t v_load(const real *p) { return vld1q_f64(p); }
FS_INLINE void v_store(real *p, v_t a) { vst1q_f64(p, a); }
/* A part of two lanes is one lane. */
FS_INLINE v_t v_load_part(const real *p, int64_t count, v_t rest)
{
    return count == 1 ? vld1q_lane_f64(p, rest, 0) : rest;
}
FS_INLINE void v_store_part(real *p, v_t a, int64_t count)
{
    if (count == 1)
        vst1q_lane_f64(p, a, 0);
}
/* C has no portable way to ask for one here. */
FS_INLINE void v_stream(real *p, v_t a) { v_store(p, a); }
FS_INLINE void v_stream_end(void) {}

FS_INLINE v_t v_add(v_t a, v_t b) { return vaddq_f64(a, b); }
FS_INLINE v_t v_sub(v_t a, v_t b) { return vsubq_f64(a, b); }
FS_INLINE v_t v_mul(v_t a, v_t b) { return vmulq_f64(a, b); }
FS_INLINE v_t v_fma(v_t a, v_t b, v_t c) { return vfmaq_f64(c, a, b); }
FS_INLINE v_t v_fnma(v_t a, v_t b, v_t c) { return vfmsq_f64(c, a, b); }
FS_INLINE v_t v_reduce_exact(v_t k, v_t high, v_t x) { return vfmsq_f64(x, k, high); }
/* FMAX would return NaN for a NaN in either place: select as x86 does. */
FS_INLINE v_t v_max(v_t a, v_t b) { return vbslq_f64(vcgtq_f64(a, b), a, b); }
FS_INLINE v_t v_where_nonzero(v_t q, v_t a)
{
    return vbslq_f64(vceqzq_f64(q), vdupq_n_f64(0), a);
}
FS_INLINE v_t v_whole(v_t t)
{
    const uint64x2_t low = vdupq_n_u64((UINT64_C(1) << TURN_BITS) - 1);
    return vreinterpretq_f64_u64(vbicq_u64(vreinterpretq_u64_f64(t), low));
}

FS_INLINE v_t v_exponent(v_t t)
{
    return vreinterpretq_f64_u64(vshlq_n_u64(vreinterpretq_u64_f64(t), 52 - TURN_BITS));
}
FS_INLINE real v_hmax(v_t a) { return vmaxvq_f64(a); }
FS_INLINE uint32_t v_eq_bits(v_t a, v_t b)
{
    const uint64x2_t equal = vceqq_f64(a, b);
    return (uint32_t)((vgetq_lane_u64(equal, 0) & 1u) | (vgetq_lane_u64(equal, 1) & 2u));
}

typedef uint64x2_t v_mask;
FS_INLINE v_t v_min(v_t a, v_t b) { return d_min(a, b); }
FS_INLINE v_mask v_lt(v_t a, v_t b) { return d_lt(a, b); }
FS_INLINE v_mask v_eq(v_t a, v_t b) { return d_eq(a, b); }
FS_INLINE v_t v_select(v_mask m, v_t a, v_t b) { return d_select(m, a, b); }
FS_INLINE void v_widen(v_t a, d_t *d) { d[0] = a; }
FS_INLINE v_t v_narrow(const d_t *d) { return d[0]; }
FS_INLINE void v_transpose(v_t a[V_LANES])
{
    const v_t first = vzip1q_f64(a[0], a[1]);
    a[1] = vzip2q_f64(a[0], a[1]);
    a[0] = first;
}

/* a * b - product, exactly, product being a * b rounded. */
FS_INLINE v_t v_product_error(v_t a, v_t b, v_t product)
{
    return v_fma(a, b, v_sub(v_set1(0), product));
}

#include "accumulate_f64.h"
#endif
