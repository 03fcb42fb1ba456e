/* The vocabulary (README.md) for AVX-512, float64: 8 lanes. */
#ifndef FS_SIMD_AVX512_F64_H
#define FS_SIMD_AVX512_F64_H
#include <immintrin.h>
#include <stdint.h>
#include "../portable.h"
#include "avx512_wide.h"

typedef double real;
typedef __m512d v_t;
#define V_LANES 8
#define TURN_BITS 28 /* after the point of t (README.md) */

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
FS_INLINE void v_stream(real *p, v_t a) { _mm512_stream_pd(p, a); }
FS_INLINE void v_stream_end(void) { _mm_sfence(); }

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
FS_INLINE v_t v_whole(v_t t)
{
    const __m512i low = _mm512_set1_epi64((INT64_C(1) << TURN_BITS) - 1);
    return _mm512_castsi512_pd(_mm512_andnot_si512(low, _mm512_castpd_si512(t)));
}

FS_INLINE v_t v_exponent(v_t t)
{
    return _mm512_castsi512_pd(_mm512_slli_epi64(_mm512_castpd_si512(t), 52 - TURN_BITS));
}
FS_INLINE real v_hmax(v_t a) { return _mm512_reduce_max_pd(a); }
FS_INLINE uint32_t v_eq_bits(v_t a, v_t b)
{
    return (uint32_t)_mm512_cmp_pd_mask(a, b, _CMP_EQ_OQ);
}

typedef __mmask8 v_mask;
FS_INLINE v_t v_min(v_t a, v_t b) { return _mm512_min_pd(a, b); }
FS_INLINE v_mask v_lt(v_t a, v_t b) { return d_lt(a, b); }
FS_INLINE v_mask v_eq(v_t a, v_t b) { return d_eq(a, b); }
FS_INLINE v_t v_select(v_mask m, v_t a, v_t b) { return d_select(m, a, b); }
FS_INLINE void v_widen(v_t a, d_t *d) { d[0] = a; }
FS_INLINE v_t v_narrow(const d_t *d) { return d[0]; }
/* Pairs within each quarter; then quarters, by halves. */
FS_INLINE void v_transpose(v_t a[V_LANES])
{
    v_t b[V_LANES];
    for (int i = 0; i < 8; i += 2) {
        b[i] = _mm512_unpacklo_pd(a[i], a[i + 1]);
        b[i + 1] = _mm512_unpackhi_pd(a[i], a[i + 1]);
    }
    for (int i = 0; i < 8; i += 4)
        for (int k = 0; k < 2; k++) {
            a[i + k] = _mm512_shuffle_f64x2(b[i + k], b[i + k + 2], 0x88);
            a[i + k + 2] = _mm512_shuffle_f64x2(b[i + k], b[i + k + 2], 0xdd);
        }
    for (int k = 0; k < 4; k++) {
        b[k] = _mm512_shuffle_f64x2(a[k], a[k + 4], 0x88);
        b[k + 4] = _mm512_shuffle_f64x2(a[k], a[k + 4], 0xdd);
    }
    for (int i = 0; i < 8; i++)
        a[i] = b[i];
}

/* a * b - product, exactly, product being a * b rounded. */
FS_INLINE v_t v_product_error(v_t a, v_t b, v_t product)
{
    return v_fma(a, b, v_sub(v_set1(0), product));
}

#include "accumulate_f64.h"
#endif
