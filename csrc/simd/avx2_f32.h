/* The vocabulary (README.md) for AVX2 with FMA, float32: 8 lanes. */
#ifndef FS_SIMD_AVX2_F32_H
#define FS_SIMD_AVX2_F32_H
#include <immintrin.h>
#include <stdint.h>
#include "../portable.h"
#include "avx2_wide.h"

typedef float real;
typedef __m256 v_t;
#define V_LANES 8

FS_INLINE v_t v_set1(real a) { return _mm256_set1_ps(a); }
FS_INLINE v_t v_load(const real *p) { return _mm256_loadu_ps(p); }
FS_INLINE void v_store(real *p, v_t a) { _mm256_storeu_ps(p, a); }
FS_INLINE __m256i v_first_lanes(int64_t count)
{
    return _mm256_cmpgt_epi32(_mm256_set1_epi32((int)count),
                              _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
FS_INLINE v_t v_load_part(const real *p, int64_t count, v_t rest)
{
    const __m256i mask = v_first_lanes(count);
    return _mm256_blendv_ps(rest, _mm256_maskload_ps(p, mask), _mm256_castsi256_ps(mask));
}
FS_INLINE void v_store_part(real *p, v_t a, int64_t count)
{
    _mm256_maskstore_ps(p, v_first_lanes(count), a);
}
FS_INLINE void v_stream(real *p, v_t a) { _mm256_stream_ps(p, a); }
FS_INLINE void v_stream_end(void) { _mm_sfence(); }

FS_INLINE v_t v_add(v_t a, v_t b) { return _mm256_add_ps(a, b); }
FS_INLINE v_t v_sub(v_t a, v_t b) { return _mm256_sub_ps(a, b); }
FS_INLINE v_t v_mul(v_t a, v_t b) { return _mm256_mul_ps(a, b); }
FS_INLINE v_t v_fma(v_t a, v_t b, v_t c) { return _mm256_fmadd_ps(a, b, c); }
FS_INLINE v_t v_fnma(v_t a, v_t b, v_t c) { return _mm256_fnmadd_ps(a, b, c); }
FS_INLINE v_t v_reduce_exact(v_t k, v_t high, v_t x) { return _mm256_fnmadd_ps(k, high, x); }
FS_INLINE v_t v_max(v_t a, v_t b) { return _mm256_max_ps(a, b); }
FS_INLINE v_t v_where_nonzero(v_t q, v_t a)
{
    return _mm256_and_ps(_mm256_cmp_ps(q, _mm256_setzero_ps(), _CMP_NEQ_UQ), a);
}
FS_INLINE v_t v_lookup(const void *table, v_t t)
{
    const __m256 eight = _mm256_loadu_ps((const float *)table);
    return _mm256_permutevar8x32_ps(eight, _mm256_castps_si256(t));
}
FS_INLINE v_t v_raise(v_t base, v_t t)
{
    const __m256i shifted = _mm256_slli_epi32(_mm256_castps_si256(t), 20);
    return _mm256_castsi256_ps(_mm256_add_epi32(_mm256_castps_si256(base), shifted));
}
FS_INLINE real v_hmax(v_t a)
{
    __m128 m = _mm_max_ps(_mm256_castps256_ps128(a), _mm256_extractf128_ps(a, 1));
    m = _mm_max_ps(m, _mm_movehl_ps(m, m));
    m = _mm_max_ss(m, _mm_shuffle_ps(m, m, 1));
    return _mm_cvtss_f32(m);
}
FS_INLINE uint32_t v_eq_bits(v_t a, v_t b)
{
    return (uint32_t)_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ));
}

typedef __m256 v_mask;
FS_INLINE v_t v_min(v_t a, v_t b) { return _mm256_min_ps(a, b); }
FS_INLINE v_mask v_lt(v_t a, v_t b) { return _mm256_cmp_ps(a, b, _CMP_LT_OQ); }
FS_INLINE v_mask v_eq(v_t a, v_t b) { return _mm256_cmp_ps(a, b, _CMP_EQ_OQ); }
FS_INLINE v_t v_select(v_mask m, v_t a, v_t b) { return _mm256_blendv_ps(b, a, m); }
FS_INLINE void v_widen(v_t a, d_t *d)
{
    d[0] = _mm256_cvtps_pd(_mm256_castps256_ps128(a));
    d[1] = _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1));
}
FS_INLINE v_t v_narrow(const d_t *d)
{
    const __m256 low = _mm256_castps128_ps256(_mm256_cvtpd_ps(d[0]));
    return _mm256_insertf128_ps(low, _mm256_cvtpd_ps(d[1]), 1);
}
/* Pairs, then quads within either half, then halves. */
FS_INLINE void v_transpose(v_t a[V_LANES])
{
    v_t b[V_LANES];
    for (int i = 0; i < 8; i += 2) {
        b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            a[i + 2 * k] = _mm256_shuffle_ps(b[i + k], b[i + k + 2], 0x44);
            a[i + 2 * k + 1] = _mm256_shuffle_ps(b[i + k], b[i + k + 2], 0xee);
        }
    for (int i = 0; i < 4; i++) {
        b[i] = _mm256_permute2f128_ps(a[i], a[i + 4], 0x20);
        b[i + 4] = _mm256_permute2f128_ps(a[i], a[i + 4], 0x31);
    }
    for (int i = 0; i < 8; i++)
        a[i] = b[i];
}

typedef struct { __m256d low, high; } v_acc_t;
FS_INLINE v_acc_t v_acc_zero(void)
{
    v_acc_t a = {_mm256_setzero_pd(), _mm256_setzero_pd()};
    return a;
}
FS_INLINE __m256d v_upper(v_t a) { return _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1)); }
FS_INLINE __m256d v_lower(v_t a) { return _mm256_cvtps_pd(_mm256_castps256_ps128(a)); }
FS_INLINE void v_acc_add(v_acc_t *s, v_t a)
{
    s->low = _mm256_add_pd(s->low, v_lower(a));
    s->high = _mm256_add_pd(s->high, v_upper(a));
}
FS_INLINE void v_acc_fma(v_acc_t *s, v_t a, v_t b)
{
    s->low = _mm256_fmadd_pd(v_lower(a), v_lower(b), s->low);
    s->high = _mm256_fmadd_pd(v_upper(a), v_upper(b), s->high);
}
FS_INLINE void v_acc_store(const v_acc_t *a, double *sum, double *error)
{
    for (int i = 0; i < V_LANES; i++)
        error[i] = 0.0; /* the wider sums are taken as exact */
    _mm256_storeu_pd(sum, a->low);
    _mm256_storeu_pd(sum + 4, a->high);
}
#endif
