/* The words for float64 lanes that finish rows (README.md) for AVX2 with FMA: 4 lanes. */
#ifndef FS_SIMD_AVX2_WIDE_H
#define FS_SIMD_AVX2_WIDE_H
#include <immintrin.h>
#include "../portable.h"

typedef __m256d d_t;
typedef __m256d d_mask;
#define D_LANES 4

FS_INLINE d_t d_set1(double a) { return _mm256_set1_pd(a); }
FS_INLINE d_t d_load(const double *p) { return _mm256_loadu_pd(p); }
FS_INLINE void d_store(double *p, d_t a) { _mm256_storeu_pd(p, a); }
FS_INLINE d_t d_add(d_t a, d_t b) { return _mm256_add_pd(a, b); }
FS_INLINE d_t d_sub(d_t a, d_t b) { return _mm256_sub_pd(a, b); }
FS_INLINE d_t d_mul(d_t a, d_t b) { return _mm256_mul_pd(a, b); }
FS_INLINE d_t d_div(d_t a, d_t b) { return _mm256_div_pd(a, b); }
FS_INLINE d_t d_fma(d_t a, d_t b, d_t c) { return _mm256_fmadd_pd(a, b, c); }
FS_INLINE d_t d_fnma(d_t a, d_t b, d_t c) { return _mm256_fnmadd_pd(a, b, c); }
FS_INLINE d_t d_max(d_t a, d_t b) { return _mm256_max_pd(a, b); }
FS_INLINE d_t d_min(d_t a, d_t b) { return _mm256_min_pd(a, b); }
FS_INLINE d_mask d_lt(d_t a, d_t b) { return _mm256_cmp_pd(a, b, _CMP_LT_OQ); }
FS_INLINE d_mask d_eq(d_t a, d_t b) { return _mm256_cmp_pd(a, b, _CMP_EQ_OQ); }
FS_INLINE d_t d_select(d_mask m, d_t a, d_t b) { return _mm256_blendv_pd(b, a, m); }
FS_INLINE d_t d_exponent(d_t t)
{
    return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(t), 52));
}
FS_INLINE d_t d_binade(d_t a, d_t b, d_t *exponent)
{
    const __m256i apart = _mm256_sub_epi64(_mm256_castpd_si256(a), _mm256_castpd_si256(b));
    const __m256i bits = _mm256_add_epi64(apart, _mm256_set1_epi64x(NEAREST_BINADE));
    const __m256i biased = _mm256_srli_epi64(bits, 52);
    const __m256i number = _mm256_or_si256(biased, _mm256_set1_epi64x(INTEGER_BITS));
    *exponent = _mm256_sub_pd(_mm256_castsi256_pd(number), _mm256_set1_pd(INTEGER_BIAS));
    return _mm256_castsi256_pd(_mm256_slli_epi64(biased, 52));
}
#endif
