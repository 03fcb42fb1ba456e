/* The vocabulary (README.md) for AVX-512, float32: 16 lanes. */
#ifndef FS_SIMD_AVX512_F32_H
#define FS_SIMD_AVX512_F32_H
#include <immintrin.h>
#include <stdint.h>
#include "../portable.h"
#include "avx512_wide.h"

typedef float real;
typedef __m512 v_t;
#define V_LANES 16

FS_INLINE v_t v_set1(real a) { return _mm512_set1_ps(a); }
FS_INLINE v_t v_load(const real *p) { return _mm512_loadu_ps(p); }
FS_INLINE void v_store(real *p, v_t a) { _mm512_storeu_ps(p, a); }
FS_INLINE __mmask16 v_first_lanes(int64_t count) { return (__mmask16)((1u << count) - 1u); }
FS_INLINE v_t v_load_part(const real *p, int64_t count, v_t rest)
{
    return _mm512_mask_loadu_ps(rest, v_first_lanes(count), p);
}
FS_INLINE void v_store_part(real *p, v_t a, int64_t count)
{
    _mm512_mask_storeu_ps(p, v_first_lanes(count), a);
}
FS_INLINE void v_stream(real *p, v_t a) { _mm512_stream_ps(p, a); }
FS_INLINE void v_stream_end(void) { _mm_sfence(); }

FS_INLINE v_t v_add(v_t a, v_t b) { return _mm512_add_ps(a, b); }
FS_INLINE v_t v_sub(v_t a, v_t b) { return _mm512_sub_ps(a, b); }
FS_INLINE v_t v_mul(v_t a, v_t b) { return _mm512_mul_ps(a, b); }
FS_INLINE v_t v_fma(v_t a, v_t b, v_t c) { return _mm512_fmadd_ps(a, b, c); }
FS_INLINE v_t v_fnma(v_t a, v_t b, v_t c) { return _mm512_fnmadd_ps(a, b, c); }
FS_INLINE v_t v_reduce_exact(v_t k, v_t high, v_t x) { return _mm512_fnmadd_ps(k, high, x); }
FS_INLINE v_t v_max(v_t a, v_t b) { return _mm512_max_ps(a, b); }
FS_INLINE v_t v_where_nonzero(v_t q, v_t a)
{
    return _mm512_maskz_mov_ps(_mm512_cmp_ps_mask(q, _mm512_setzero_ps(), _CMP_NEQ_UQ), a);
}
FS_INLINE v_t v_lookup(const void *table, v_t t)
{
    const __m256 eight = _mm256_loadu_ps((const float *)table);
    return _mm512_permutexvar_ps(_mm512_castps_si512(t), _mm512_broadcast_f32x8(eight));
}
FS_INLINE v_t v_raise(v_t base, v_t t)
{
    const __m512i shifted = _mm512_slli_epi32(_mm512_castps_si512(t), 20);
    return _mm512_castsi512_ps(_mm512_add_epi32(_mm512_castps_si512(base), shifted));
}
FS_INLINE real v_hmax(v_t a) { return _mm512_reduce_max_ps(a); }
FS_INLINE uint32_t v_eq_bits(v_t a, v_t b)
{
    return (uint32_t)_mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ);
}

typedef __mmask16 v_mask;
FS_INLINE v_t v_min(v_t a, v_t b) { return _mm512_min_ps(a, b); }
FS_INLINE v_mask v_lt(v_t a, v_t b) { return _mm512_cmp_ps_mask(a, b, _CMP_LT_OQ); }
FS_INLINE v_mask v_eq(v_t a, v_t b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }
FS_INLINE v_t v_select(v_mask m, v_t a, v_t b) { return _mm512_mask_blend_ps(m, b, a); }
FS_INLINE void v_widen(v_t a, d_t *d)
{
    const __m512d pairs = _mm512_castps_pd(a);
    d[0] = _mm512_cvtps_pd(_mm512_castps512_ps256(a));
    d[1] = _mm512_cvtps_pd(_mm256_castpd_ps(_mm512_extractf64x4_pd(pairs, 1)));
}
FS_INLINE v_t v_narrow(const d_t *d)
{
    const __m512d low = _mm512_castps_pd(_mm512_castps256_ps512(_mm512_cvtpd_ps(d[0])));
    const __m256d high = _mm256_castps_pd(_mm512_cvtpd_ps(d[1]));
    return _mm512_castpd_ps(_mm512_insertf64x4(low, high, 1));
}
/* Pairs, then quads within each quarter; then quarters, by halves. */
FS_INLINE void v_transpose(v_t a[V_LANES])
{
    v_t b[V_LANES];
    for (int i = 0; i < 16; i += 2) {
        b[i] = _mm512_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 16; i += 4)
        for (int k = 0; k < 2; k++) {
            a[i + 2 * k] = _mm512_shuffle_ps(b[i + k], b[i + k + 2], 0x44);
            a[i + 2 * k + 1] = _mm512_shuffle_ps(b[i + k], b[i + k + 2], 0xee);
        }
    for (int i = 0; i < 16; i += 8)
        for (int k = 0; k < 4; k++) {
            b[i + k] = _mm512_shuffle_f32x4(a[i + k], a[i + k + 4], 0x88);
            b[i + k + 4] = _mm512_shuffle_f32x4(a[i + k], a[i + k + 4], 0xdd);
        }
    for (int k = 0; k < 8; k++) {
        a[k] = _mm512_shuffle_f32x4(b[k], b[k + 8], 0x88);
        a[k + 8] = _mm512_shuffle_f32x4(b[k], b[k + 8], 0xdd);
    }
}

typedef struct { __m512d low, high; } v_acc_t;
FS_INLINE v_acc_t v_acc_zero(void)
{
    v_acc_t a = {_mm512_setzero_pd(), _mm512_setzero_pd()};
    return a;
}
FS_INLINE __m512d v_upper(v_t a)
{
    return _mm512_cvtps_pd(_mm256_castpd_ps(_mm512_extractf64x4_pd(_mm512_castps_pd(a), 1)));
}
FS_INLINE __m512d v_lower(v_t a) { return _mm512_cvtps_pd(_mm512_castps512_ps256(a)); }
FS_INLINE void v_acc_add(v_acc_t *s, v_t a)
{
    s->low = _mm512_add_pd(s->low, v_lower(a));
    s->high = _mm512_add_pd(s->high, v_upper(a));
}
FS_INLINE void v_acc_fma(v_acc_t *s, v_t a, v_t b)
{
    s->low = _mm512_fmadd_pd(v_lower(a), v_lower(b), s->low);
    s->high = _mm512_fmadd_pd(v_upper(a), v_upper(b), s->high);
}
FS_INLINE void v_acc_store(const v_acc_t *a, double *sum, double *error)
{
    for (int i = 0; i < V_LANES; i++)
        error[i] = 0.0; /* the wider sums are taken as exact */
    _mm512_storeu_pd(sum, a->low);
    _mm512_storeu_pd(sum + 8, a->high);
}
#endif
