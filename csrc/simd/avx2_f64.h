/* The vocabulary (README.md) for AVX2 with FMA, float64: 4 lanes. */
#ifndef FS_SIMD_AVX2_F64_H
#define FS_SIMD_AVX2_F64_H
#include <immintrin.h>
#include <stdint.h>
#include "../portable.h"
#include "avx2_wide.h"

typedef double real;
typedef __m256d v_t;
#define V_LANES 4
#define TURN_BITS 28 /* after the point of t (README.md) */

FS_INLINE v_t v_set1(real a) { return _mm256_set1_pd(a); }
FS_INLINE v_t v_load(const real *p) { return _mm256_loadu_pd(p); }
FS_INLINE void v_store(real *p, v_t a) { _mm256_storeu_pd(p, a); }
FS_INLINE __m256i v_first_lanes(int64_t count)
{
    return _mm256_cmpgt_epi64(_mm256_set1_epi64x((long long)count),
                              _mm256_setr_epi64x(0, 1, 2, 3));
}
FS_INLINE v_t v_load_part(const real *p, int64_t count, v_t rest)
{
    const __m256i mask = v_first_lanes(count);
    return _mm256_blendv_pd(rest, _mm256_maskload_pd(p, mask), _mm256_castsi256_pd(mask));
}
FS_INLINE void v_store_part(real *p, v_t a, int64_t count)
{
    _mm256_maskstore_pd(p, v_first_lanes(count), a);
}
FS_INLINE void v_stream(real *p, v_t a) { _mm256_stream_pd(p, a); }
FS_INLINE void v_stream_end(void) { _mm_sfence(); }

FS_INLINE v_t v_add(v_t a, v_t b) { return _mm256_add_pd(a, b); }
FS_INLINE v_t v_sub(v_t a, v_t b) { return _mm256_sub_pd(a, b); }
FS_INLINE v_t v_mul(v_t a, v_t b) { return _mm256_mul_pd(a, b); }
FS_INLINE v_t v_fma(v_t a, v_t b, v_t c) { return _mm256_fmadd_pd(a, b, c); }
FS_INLINE v_t v_fnma(v_t a, v_t b, v_t c) { return _mm256_fnmadd_pd(a, b, c); }
FS_INLINE v_t v_reduce_exact(v_t k, v_t high, v_t x) { return _mm256_fnmadd_pd(k, high, x); }
FS_INLINE v_t v_max(v_t a, v_t b) { return _mm256_max_pd(a, b); }
FS_INLINE v_t v_where_nonzero(v_t q, v_t a)
{
    return _mm256_and_pd(_mm256_cmp_pd(q, _mm256_setzero_pd(), _CMP_NEQ_UQ), a);
}
FS_INLINE v_t v_whole(v_t t)
{
    const __m256i low = _mm256_set1_epi64x((INT64_C(1) << TURN_BITS) - 1);
    return _mm256_castsi256_pd(_mm256_andnot_si256(low, _mm256_castpd_si256(t)));
}

FS_INLINE v_t v_exponent(v_t t)
{
    return _mm256_castsi256_pd(_mm256_slli_epi64(_mm256_castpd_si256(t), 52 - TURN_BITS));
}
FS_INLINE real v_hmax(v_t a)
{
    __m128d m = _mm_max_pd(_mm256_castpd256_pd128(a), _mm256_extractf128_pd(a, 1));
    m = _mm_max_sd(m, _mm_unpackhi_pd(m, m));
    return _mm_cvtsd_f64(m);
}
FS_INLINE uint32_t v_eq_bits(v_t a, v_t b)
{
    return (uint32_t)_mm256_movemask_pd(_mm256_cmp_pd(a, b, _CMP_EQ_OQ));
}

typedef __m256d v_mask;
FS_INLINE v_t v_min(v_t a, v_t b) { return _mm256_min_pd(a, b); }
FS_INLINE v_mask v_lt(v_t a, v_t b) { return d_lt(a, b); }
FS_INLINE v_mask v_eq(v_t a, v_t b) { return d_eq(a, b); }
FS_INLINE v_t v_select(v_mask m, v_t a, v_t b) { return d_select(m, a, b); }
FS_INLINE void v_widen(v_t a, d_t *d) { d[0] = a; }
FS_INLINE v_t v_narrow(const d_t *d) { return d[0]; }
FS_INLINE void v_transpose(v_t a[V_LANES])
{
    v_t b[V_LANES];
    for (int i = 0; i < 4; i += 2) {
        b[i] = _mm256_unpacklo_pd(a[i], a[i + 1]);
        b[i + 1] = _mm256_unpackhi_pd(a[i], a[i + 1]);
    }
    for (int i = 0; i < 2; i++) {
        a[i] = _mm256_permute2f128_pd(b[i], b[i + 2], 0x20);
        a[i + 2] = _mm256_permute2f128_pd(b[i], b[i + 2], 0x31);
    }
}

/* a * b - product, exactly, product being a * b rounded. */
FS_INLINE v_t v_product_error(v_t a, v_t b, v_t product)
{
    return v_fma(a, b, v_sub(v_set1(0), product));
}

#include "accumulate_f64.h"
#endif
