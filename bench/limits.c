/* What the machine gives at best: reading, copying, copying past the caches, and vector arithmetic.
 *
 * Compiled by limits.py for the machine at hand (-march=native), with OpenMP where there is one.
 * Nothing of this is part of the package. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#if defined(__AVX512F__)
#include <immintrin.h>
typedef __m512 vec;
#define LOAD(p) _mm512_loadu_ps(p)
#define STORE(p, v) _mm512_storeu_ps(p, v)
#define STREAM(p, v) _mm512_stream_ps(p, v)
#define SET(x) _mm512_set1_ps(x)
#define ADD(a, b) _mm512_add_ps(a, b)
#define FMA(a, b, c) _mm512_fmadd_ps(a, b, c)
#define FENCE() _mm_sfence()
#elif defined(__AVX2__) && defined(__FMA__)
#include <immintrin.h>
typedef __m256 vec;
#define LOAD(p) _mm256_loadu_ps(p)
#define STORE(p, v) _mm256_storeu_ps(p, v)
#define STREAM(p, v) _mm256_stream_ps(p, v)
#define SET(x) _mm256_set1_ps(x)
#define ADD(a, b) _mm256_add_ps(a, b)
#define FMA(a, b, c) _mm256_fmadd_ps(a, b, c)
#define FENCE() _mm_sfence()
#elif defined(__SSE2__)
#include <emmintrin.h>
typedef __m128 vec;
#define LOAD(p) _mm_loadu_ps(p)
#define STORE(p, v) _mm_storeu_ps(p, v)
#define STREAM(p, v) _mm_stream_ps(p, v)
#define SET(x) _mm_set1_ps(x)
#define ADD(a, b) _mm_add_ps(a, b)
#define FMA(a, b, c) _mm_add_ps(_mm_mul_ps(a, b), c) /* there is none: two instructions */
#define FENCE() _mm_sfence()
#elif defined(__ARM_NEON) && defined(__aarch64__)
#include <arm_neon.h>
typedef float32x4_t vec;
#define LOAD(p) vld1q_f32(p)
#define STORE(p, v) vst1q_f32(p, v)
#define SET(x) vdupq_n_f32(x)
#define ADD(a, b) vaddq_f32(a, b)
#define FMA(a, b, c) vfmaq_f32(c, a, b)
#else
typedef float vec;
#define LOAD(p) (*(p))
#define STORE(p, v) (*(p) = (v))
#define SET(x) (x)
#define ADD(a, b) ((a) + (b))
#define FMA(a, b, c) ((a) * (b) + (c))
#endif

#define WIDTH ((int64_t)(sizeof(vec) / sizeof(float)))
/* Independent chains of operations, so many that none waits for another: two FMAs of four cycles
 * and two additions of three; with one constant they fit sixteen registers. */
#define FMA_CHAINS 8
#define CHAINS 14

int limits_vector_bytes(void) { return (int)sizeof(vec); }

int limits_has_threads(void)
{
#ifdef _OPENMP
    return 1;
#else
    return 0;
#endif
}

int limits_has_stream(void)
{
#ifdef STREAM
    return 1;
#else
    return 0;
#endif
}

static float sum_of(vec v)
{
    float lanes[sizeof(vec) / sizeof(float)], sum = 0;
    memcpy(lanes, &v, sizeof v);
    for (int64_t i = 0; i < WIDTH; i++)
        sum += lanes[i];
    return sum;
}

static float read_part(const float *x, int64_t count)
{
    vec sums[8];
    int64_t j = 0;
    for (int i = 0; i < 8; i++)
        sums[i] = SET(0.0f);
    for (; j + 8 * WIDTH <= count; j += 8 * WIDTH)
        for (int i = 0; i < 8; i++)
            sums[i] = ADD(sums[i], LOAD(x + j + i * WIDTH));
    float sum = 0;
    for (int i = 0; i < 8; i++)
        sum += sum_of(sums[i]);
    for (; j < count; j++)
        sum += x[j];
    return sum;
}

static float copy_part(float *y, const float *x, int64_t count)
{
    int64_t j = 0;
    for (; j + 4 * WIDTH <= count; j += 4 * WIDTH)
        for (int i = 0; i < 4; i++)
            STORE(y + j + i * WIDTH, LOAD(x + j + i * WIDTH));
    for (; j < count; j++)
        y[j] = x[j];
    return 0;
}

static float stream_part(float *y, const float *x, int64_t count)
{
#ifdef STREAM
    int64_t j = 0;
    for (; j < count && (uintptr_t)(y + j) % sizeof(vec); j++)
        y[j] = x[j];
    for (; j + 4 * WIDTH <= count; j += 4 * WIDTH)
        for (int i = 0; i < 4; i++)
            STREAM(y + j + i * WIDTH, LOAD(x + j + i * WIDTH));
    for (; j < count; j++)
        y[j] = x[j];
    FENCE();
    return 0;
#else
    return copy_part(y, x, count);
#endif
}

enum { READ, COPY, STREAM_COPY };

static float run_part(int what, float *y, const float *x, int64_t first, int64_t last)
{
    if (what == READ)
        return read_part(x + first, last - first);
    return (what == COPY ? copy_part : stream_part)(y + first, x + first, last - first);
}

/* what: as above; count: of floats (a float64 array has two to an element). The sum keeps the
 * compiler from leaving the reading out. Parts begin on cache lines where the arrays do. */
double limits_move(int what, float *y, const float *x, int64_t count, int threads)
{
    const int64_t part = (count / threads + 15) / 16 * 16;
    double sum = 0;
#ifdef _OPENMP
#pragma omp parallel for num_threads(threads) reduction(+ : sum) schedule(static, 1)
#endif
    for (int i = 0; i < threads; i++) {
        const int64_t first = i * part, last = i + 1 == threads ? count : first + part;
        if (first < count)
            sum += run_part(what, y, x, first, last < count ? last : count);
    }
    return sum;
}

/* `rounds` times CHAINS operations on vectors, on one thread: FMAs alone, or FMAs and additions.
 * Returns a number that depends on all of them. */
double limits_arithmetic(int mixed, int64_t rounds)
{
    vec chain[CHAINS], sum = SET(0.0f);
    const vec half = SET(0.5f);
    for (int i = 0; i < CHAINS; i++)
        chain[i] = SET((float)i);
    for (int64_t r = 0; r < rounds; r++) {
        for (int i = 0; i < FMA_CHAINS; i++)
            chain[i] = FMA(chain[i], half, half);
        for (int i = FMA_CHAINS; i < CHAINS; i++)
            chain[i] = mixed ? ADD(chain[i], half) : FMA(chain[i], half, half);
    }
    for (int i = 0; i < CHAINS; i++)
        sum = ADD(sum, chain[i]);
    return (double)sum_of(sum);
}
