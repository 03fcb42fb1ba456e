/* The words for float64 lanes that finish rows (README.md), one lane of them: a row alone. Those of
 * the steps that are written for both (math/finish_steps.inc.h). */
#ifndef FS_SIMD_ONE_WIDE_H
#define FS_SIMD_ONE_WIDE_H
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "../portable.h"

typedef double one_t;
typedef int one_mask;

FS_INLINE one_t one_set1(double a) { return a; }
FS_INLINE one_t one_add(one_t a, one_t b) { return a + b; }
FS_INLINE one_t one_sub(one_t a, one_t b) { return a - b; }
FS_INLINE one_t one_mul(one_t a, one_t b) { return a * b; }
FS_INLINE one_t one_div(one_t a, one_t b) { return a / b; }
FS_INLINE one_t one_fma(one_t a, one_t b, one_t c) { return fma(a, b, c); }
FS_INLINE one_t one_fnma(one_t a, one_t b, one_t c) { return fma(-a, b, c); }
FS_INLINE one_t one_max(one_t a, one_t b) { return a > b ? a : b; }
FS_INLINE one_t one_min(one_t a, one_t b) { return a < b ? a : b; }
FS_INLINE one_mask one_lt(one_t a, one_t b) { return a < b; }
FS_INLINE one_t one_select(one_mask m, one_t a, one_t b) { return m ? a : b; }
FS_INLINE one_t one_exponent(one_t t)
{
    uint64_t bits;
    memcpy(&bits, &t, sizeof bits);
    bits <<= 52;
    memcpy(&t, &bits, sizeof t);
    return t;
}
FS_INLINE one_t one_binade(one_t a, one_t b, one_t *exponent)
{
    uint64_t bits, less;
    double power;
    memcpy(&bits, &a, sizeof bits);
    memcpy(&less, &b, sizeof less);
    const uint64_t biased = (bits - less + (uint64_t)NEAREST_BINADE) >> 52;
    bits = biased << 52;
    memcpy(&power, &bits, sizeof power);
    *exponent = (double)((int64_t)biased - 1023);
    return power;
}
#endif
