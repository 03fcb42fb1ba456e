/* The words for float64 lanes that finish rows (README.md) for AVX-512: 8 lanes. */
#ifndef FS_SIMD_AVX512_WIDE_H
#define FS_SIMD_AVX512_WIDE_H
#include <immintrin.h>
#include "../portable.h"

typedef __m512d d_t;
typedef __mmask8 d_mask;
#define D_LANES 8

FS_INLINE d_t d_set1(double a) { return _mm512_set1_pd(a); }
FS_INLINE d_t d_load(const double *p) { return _mm512_loadu_pd(p); }
FS_INLINE void d_store(double *p, d_t a) { _mm512_storeu_pd(p, a); }
FS_INLINE d_t d_add(d_t a, d_t b) { return _mm512_add_pd(a, b); }
FS_INLINE d_t d_sub(d_t a, d_t b) { return _mm512_sub_pd(a, b); }
FS_INLINE d_t d_mul(d_t a, d_t b) { return _mm512_mul_pd(a, b); }
FS_INLINE d_t d_div(d_t a, d_t b) { return _mm512_div_pd(a, b); }
FS_INLINE d_t d_fma(d_t a, d_t b, d_t c) { return _mm512_fmadd_pd(a, b, c); }
FS_INLINE d_t d_fnma(d_t a, d_t b, d_t c) { return _mm512_fnmadd_pd(a, b, c); }
FS_INLINE d_t d_max(d_t a, d_t b) { return _mm512_max_pd(a, b); }
FS_INLINE d_t d_min(d_t a, d_t b) { return _mm512_min_pd(a, b); }
FS_INLINE d_mask d_lt(d_t a, d_t b) { return _mm512_cmp_pd_mask(a, b, _CMP_LT_OQ); }
FS_INLINE d_mask d_eq(d_t a, d_t b) { return _mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ); }
FS_INLINE d_t d_select(d_mask m, d_t a, d_t b) { return _mm512_mask_blend_pd(m, b, a); }
FS_INLINE d_t d_exponent(d_t t)
{
    return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(t), 52));
}
FS_INLINE d_t d_binade(d_t a, d_t b, d_t *exponent)
{
    const __m512i apart = _mm512_sub_epi64(_mm512_castpd_si512(a), _mm512_castpd_si512(b));
    const __m512i bits = _mm512_add_epi64(apart, _mm512_set1_epi64(NEAREST_BINADE));
    const __m512i biased = _mm512_srli_epi64(bits, 52);
    const __m512i number = _mm512_or_si512(biased, _mm512_set1_epi64(INTEGER_BITS));
    *exponent = _mm512_sub_pd(_mm512_castsi512_pd(number), _mm512_set1_pd(INTEGER_BIAS));
    return _mm512_castsi512_pd(_mm512_slli_epi64(biased, 52));
}
#endif
