/* The vocabulary (README.md) for NEON (AArch64), float32: 4 lanes. */
#ifndef FS_SIMD_NEON_F32_H
#define FS_SIMD_NEON_F32_H
#include <arm_neon.h>
#include <stdint.h>
#include <string.h>
#include "../portable.h"
#include "neon_wide.h"

typedef float real;
typedef float32x4_t v_t;
#define V_LANES 4

FS_INLINE v_t v_set1(real a) { return vdupq_n_f32(a); }
FS_INLINE v_t v_load(const real *p) { return vld1q_f32(p); }
FS_INLINE void v_store(real *p, v_t a) { vst1q_f32(p, a); }
FS_INLINE v_t v_load_part(const real *p, int64_t count, v_t rest)
{
    real lanes[V_LANES];
    vst1q_f32(lanes, rest);
    memcpy(lanes, p, (size_t)count * sizeof(real));
    return vld1q_f32(lanes);
}
FS_INLINE void v_store_part(real *p, v_t a, int64_t count)
{
    real lanes[V_LANES];
    vst1q_f32(lanes, a);
    memcpy(p, lanes, (size_t)count * sizeof(real));
}
/* C has no portable way to ask for one here. */
FS_INLINE void v_stream(real *p, v_t a) { v_store(p, a); }
FS_INLINE void v_stream_end(void) {}

FS_INLINE v_t v_add(v_t a, v_t b) { return vaddq_f32(a, b); }
FS_INLINE v_t v_sub(v_t a, v_t b) { return vsubq_f32(a, b); }
FS_INLINE v_t v_mul(v_t a, v_t b) { return vmulq_f32(a, b); }
FS_INLINE v_t v_fma(v_t a, v_t b, v_t c) { return vfmaq_f32(c, a, b); }
FS_INLINE v_t v_fnma(v_t a, v_t b, v_t c) { return vfmsq_f32(c, a, b); }
FS_INLINE v_t v_reduce_exact(v_t k, v_t high, v_t x) { return vfmsq_f32(x, k, high); }
/* FMAX would return NaN for a NaN in either place: select as x86 does. */
FS_INLINE v_t v_max(v_t a, v_t b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }
FS_INLINE v_t v_where_nonzero(v_t q, v_t a)
{
    return vbslq_f32(vceqzq_f32(q), vdupq_n_f32(0), a);
}
FS_INLINE v_t v_lookup(const void *table, v_t t)
{
    const uint8_t *bytes = (const uint8_t *)table;
    const uint8x16x2_t eight = {{vld1q_u8(bytes), vld1q_u8(bytes + 16)}};
    const uint32x4_t j = vandq_u32(vreinterpretq_u32_f32(t), vdupq_n_u32(7));
    /* the four byte numbers of entry j */
    const uint32x4_t at = vmlaq_n_u32(vdupq_n_u32(0x03020100), j, 0x04040404);
    return vreinterpretq_f32_u8(vqtbl2q_u8(eight, vreinterpretq_u8_u32(at)));
}
FS_INLINE v_t v_raise(v_t base, v_t t)
{
    const uint32x4_t shifted = vshlq_n_u32(vreinterpretq_u32_f32(t), 20);
    return vreinterpretq_f32_u32(vaddq_u32(vreinterpretq_u32_f32(base), shifted));
}
FS_INLINE real v_hmax(v_t a) { return vmaxvq_f32(a); }
FS_INLINE uint32_t v_eq_bits(v_t a, v_t b)
{
    static const uint32_t bit[V_LANES] = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vceqq_f32(a, b), vld1q_u32(bit)));
}

typedef uint32x4_t v_mask;
FS_INLINE v_t v_min(v_t a, v_t b) { return vbslq_f32(vcltq_f32(a, b), a, b); }
FS_INLINE v_mask v_lt(v_t a, v_t b) { return vcltq_f32(a, b); }
FS_INLINE v_mask v_eq(v_t a, v_t b) { return vceqq_f32(a, b); }
FS_INLINE v_t v_select(v_mask m, v_t a, v_t b) { return vbslq_f32(m, a, b); }
FS_INLINE void v_widen(v_t a, d_t *d)
{
    d[0] = vcvt_f64_f32(vget_low_f32(a));
    d[1] = vcvt_high_f64_f32(a);
}
FS_INLINE v_t v_narrow(const d_t *d) { return vcvt_high_f32_f64(vcvt_f32_f64(d[0]), d[1]); }
FS_INLINE void v_transpose(v_t a[V_LANES])
{
    const float32x4x2_t low = vtrnq_f32(a[0], a[1]), high = vtrnq_f32(a[2], a[3]);
    a[0] = vcombine_f32(vget_low_f32(low.val[0]), vget_low_f32(high.val[0]));
    a[1] = vcombine_f32(vget_low_f32(low.val[1]), vget_low_f32(high.val[1]));
    a[2] = vcombine_f32(vget_high_f32(low.val[0]), vget_high_f32(high.val[0]));
    a[3] = vcombine_f32(vget_high_f32(low.val[1]), vget_high_f32(high.val[1]));
}

typedef struct { float64x2_t low, high; } v_acc_t;
FS_INLINE v_acc_t v_acc_zero(void)
{
    v_acc_t a = {vdupq_n_f64(0.0), vdupq_n_f64(0.0)};
    return a;
}
FS_INLINE float64x2_t v_upper(v_t a) { return vcvt_high_f64_f32(a); }
FS_INLINE float64x2_t v_lower(v_t a) { return vcvt_f64_f32(vget_low_f32(a)); }
FS_INLINE void v_acc_add(v_acc_t *s, v_t a)
{
    s->low = vaddq_f64(s->low, v_lower(a));
    s->high = vaddq_f64(s->high, v_upper(a));
}
FS_INLINE void v_acc_fma(v_acc_t *s, v_t a, v_t b)
{
    s->low = vfmaq_f64(s->low, v_lower(a), v_lower(b));
    s->high = vfmaq_f64(s->high, v_upper(a), v_upper(b));
}
FS_INLINE void v_acc_store(const v_acc_t *a, double *sum, double *error)
{
    for (int i = 0; i < V_LANES; i++)
        error[i] = 0.0; /* the wider sums are taken as exact */
    vst1q_f64(sum, a->low);
    vst1q_f64(sum + 2, a->high);
}
#endif
