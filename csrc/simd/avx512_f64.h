/* The vocabulary (README.md) for AVX-512, float64: 8 lanes. */
#ifndef FS_SIMD_AVX512_F64_H
#define FS_SIMD_AVX512_F64_H
#include <immintrin.h>
#include <stdint.h>
#include "../portable.h"

typedef double real;
typedef __m512d v_t;
#define V_LANES 8

FS_INLINE v_t v_set1(real a) { return _mm512_set1_pd(a); }
FS_INLINE v_t v_load(const real *p) { return _mm512_loadu_pd(p); }
FS_INLINE void v_store(real *p, v_t a) { _mm512_storeu_pd(p, a); }
FS_INLINE __mmask8 v_first_lanes(int64_t count) { return (__mmask8)((1u << count) - 1u); }
FS_INLINE v_t v_load_part(const real *p, int64_t count, v_t rest)
{
    return _mm512_mask_loadu_pd(rest, v_first_lanes(count), p);
}
FS_INLINE void v_store_part(real *p, v_t a, int64_t count)
{
    _mm512_mask_storeu_pd(p, v_first_lanes(count), a);
}

FS_INLINE v_t v_add(v_t a, v_t b) { return _mm512_add_pd(a, b); }
FS_INLINE v_t v_sub(v_t a, v_t b) { return _mm512_sub_pd(a, b); }
FS_INLINE v_t v_mul(v_t a, v_t b) { return _mm512_mul_pd(a, b); }
FS_INLINE v_t v_fma(v_t a, v_t b, v_t c) { return _mm512_fmadd_pd(a, b, c); }
FS_INLINE v_t v_fnma(v_t a, v_t b, v_t c) { return _mm512_fnmadd_pd(a, b, c); }
FS_INLINE v_t v_reduce_exact(v_t k, v_t high, v_t x) { return _mm512_fnmadd_pd(k, high, x); }
FS_INLINE v_t v_max(v_t a, v_t b) { return _mm512_max_pd(a, b); }
FS_INLINE v_t v_where_nonzero(v_t q, v_t a)
{
    return _mm512_maskz_mov_pd(_mm512_cmp_pd_mask(q, _mm512_setzero_pd(), _CMP_NEQ_UQ), a);
}
FS_INLINE v_t v_exponent(v_t t)
{
    return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(t), 52));
}
FS_INLINE real v_hmax(v_t a) { return _mm512_reduce_max_pd(a); }
FS_INLINE uint32_t v_eq_bits(v_t a, v_t b)
{
    return (uint32_t)_mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ);
}

/* a * b - product, exactly, product being a * b rounded. */
FS_INLINE v_t v_product_error(v_t a, v_t b, v_t product)
{
    return v_fma(a, b, v_sub(v_set1(0), product));
}

#include "accumulate_f64.h"
#endif
