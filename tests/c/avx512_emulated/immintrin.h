/* AVX-512 for machines without it: put before the compiler's own <immintrin.h> (which it includes)
 * by tools/test_avx512_emulated.sh, this header gives the _mm512_ intrinsics the definitions of
 * SIMDe, on AVX2 halves. What Debian's SIMDe (0.7.4) lacks is defined here, lane by lane, after
 * Intel's Intrinsics Guide; a masked load or store touches no lane that is off. */
#ifndef FS_TEST_AVX512_EMULATED_H
#define FS_TEST_AVX512_EMULATED_H
#include_next <immintrin.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#define EMULATED static inline __attribute__((always_inline, unused))

/* For each width: the masked moves, the horizontal maximum, and 128-bit quarters put anew. */
#define EMULATE(suffix, vector, real, lanes, mask_t, quarters_name)                               \
    EMULATED vector fs_mask_loadu_##suffix(vector rest, mask_t mask, const void *from)            \
    {                                                                                             \
        real lane[lanes];                                                                         \
        memcpy(lane, &rest, sizeof lane);                                                         \
        for (int i = 0; i < (lanes); i++)                                                         \
            if ((mask >> i) & 1)                                                                  \
                memcpy(&lane[i], (const real *)from + i, sizeof lane[i]);                         \
        memcpy(&rest, lane, sizeof lane);                                                         \
        return rest;                                                                              \
    }                                                                                             \
    EMULATED void fs_mask_storeu_##suffix(void *to, mask_t mask, vector a)                        \
    {                                                                                             \
        real lane[lanes];                                                                         \
        memcpy(lane, &a, sizeof lane);                                                            \
        for (int i = 0; i < (lanes); i++)                                                         \
            if ((mask >> i) & 1)                                                                  \
                memcpy((real *)to + i, &lane[i], sizeof lane[i]);                                 \
    }                                                                                             \
    EMULATED real fs_reduce_max_##suffix(vector a)                                                \
    {                                                                                             \
        real lane[lanes];                                                                         \
        memcpy(lane, &a, sizeof lane);                                                            \
        for (int half = (lanes) / 2; half > 0; half /= 2)                                         \
            for (int i = 0; i < half; i++)                                                        \
                lane[i] = lane[i] > lane[i + half] ? lane[i] : lane[i + half];                    \
        return lane[0];                                                                           \
    }                                                                                             \
    EMULATED vector fs_shuffle_##quarters_name(vector a, vector b, int control)                   \
    {                                                                                             \
        unsigned char from[2][64], to[64];                                                        \
        memcpy(from[0], &a, 64);                                                                  \
        memcpy(from[1], &b, 64);                                                                  \
        for (int i = 0; i < 4; i++)                                                               \
            memcpy(to + 16 * i, from[i / 2] + 16 * ((control >> (2 * i)) & 3), 16);               \
        memcpy(&a, to, 64);                                                                       \
        return a;                                                                                 \
    }

EMULATE(ps, simde__m512, float, 16, simde__mmask16, f32x4)
EMULATE(pd, simde__m512d, double, 8, simde__mmask8, f64x2)

EMULATED simde__m512d fs_cvtps_pd(__m256 a)
{
    __m256d half[2];
    simde__m512d wide;
    half[0] = _mm256_cvtps_pd(_mm256_castps256_ps128(a));
    half[1] = _mm256_cvtps_pd(_mm256_extractf128_ps(a, 1));
    memcpy(&wide, half, sizeof wide);
    return wide;
}

EMULATED __m256 fs_cvtpd_ps(simde__m512d a)
{
    __m256d half[2];
    memcpy(half, &a, sizeof half);
    return _mm256_insertf128_ps(_mm256_castps128_ps256(_mm256_cvtpd_ps(half[0])),
                                _mm256_cvtpd_ps(half[1]), 1);
}

#undef _mm512_mask_loadu_ps
#undef _mm512_mask_loadu_pd
#undef _mm512_mask_storeu_ps
#undef _mm512_mask_storeu_pd
#undef _mm512_reduce_max_ps
#undef _mm512_reduce_max_pd
#undef _mm512_shuffle_f32x4
#undef _mm512_shuffle_f64x2
#undef _mm512_cvtps_pd
#undef _mm512_cvtpd_ps
#define _mm512_mask_loadu_ps(rest, mask, from) fs_mask_loadu_ps(rest, mask, from)
#define _mm512_mask_loadu_pd(rest, mask, from) fs_mask_loadu_pd(rest, mask, from)
#define _mm512_mask_storeu_ps(to, mask, a) fs_mask_storeu_ps(to, mask, a)
#define _mm512_mask_storeu_pd(to, mask, a) fs_mask_storeu_pd(to, mask, a)
#define _mm512_reduce_max_ps(a) fs_reduce_max_ps(a)
#define _mm512_reduce_max_pd(a) fs_reduce_max_pd(a)
#define _mm512_shuffle_f32x4(a, b, control) fs_shuffle_f32x4(a, b, control)
#define _mm512_shuffle_f64x2(a, b, control) fs_shuffle_f64x2(a, b, control)
#define _mm512_cvtps_pd(a) fs_cvtps_pd(a)
#define _mm512_cvtpd_ps(a) fs_cvtpd_ps(a)
/* An emulated store goes through the caches; what matters here is that the address is aligned. */
EMULATED void fs_stream(void *to, const void *a)
{
    if ((uintptr_t)to % 64 != 0)
        abort();
    memcpy(to, a, 64);
}
EMULATED void fs_stream_ps(float *to, simde__m512 a) { fs_stream(to, &a); }
EMULATED void fs_stream_pd(double *to, simde__m512d a) { fs_stream(to, &a); }
#undef _mm512_stream_ps
#undef _mm512_stream_pd
#define _mm512_stream_ps(to, a) fs_stream_ps(to, a)
#define _mm512_stream_pd(to, a) fs_stream_pd(to, a)
#endif
