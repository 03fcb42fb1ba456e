/* The words for float64 lanes that finish rows (README.md) in portable C: one lane. */
#ifndef FS_SIMD_SCALAR_WIDE_H
#define FS_SIMD_SCALAR_WIDE_H
#include <math.h>
#include <string.h>
#include "../portable.h"

typedef double d_t;
typedef int d_mask;
#define D_LANES 1

FS_INLINE d_t d_set1(double a) { return a; }
FS_INLINE d_t d_load(const double *p) { return *p; }
FS_INLINE void d_store(double *p, d_t a) { *p = a; }
FS_INLINE d_t d_add(d_t a, d_t b) { return a + b; }
FS_INLINE d_t d_sub(d_t a, d_t b) { return a - b; }
FS_INLINE d_t d_mul(d_t a, d_t b) { return a * b; }
FS_INLINE d_t d_div(d_t a, d_t b) { return a / b; }
/* A call where it is no instruction: a few dozen a row. */
FS_INLINE d_t d_fma(d_t a, d_t b, d_t c) { return fma(a, b, c); }
FS_INLINE d_t d_max(d_t a, d_t b) { return a > b ? a : b; }
FS_INLINE d_t d_min(d_t a, d_t b) { return a < b ? a : b; }
FS_INLINE d_mask d_lt(d_t a, d_t b) { return a < b; }
FS_INLINE d_mask d_eq(d_t a, d_t b) { return a == b; }
FS_INLINE d_t d_select(d_mask m, d_t a, d_t b) { return m ? a : b; }
FS_INLINE d_t d_exponent(d_t t)
{
    uint64_t bits;
    memcpy(&bits, &t, sizeof bits);
    bits <<= 52;
    memcpy(&t, &bits, sizeof bits);
    return t;
}
FS_INLINE d_t d_split(d_t a, d_t *exponent)
{
    uint64_t bits, biased;
    memcpy(&bits, &a, sizeof bits);
    biased = (bits + SQRT_HALF_TO_ONE) >> 52;
    bits -= (biased - 1023) << 52;
    memcpy(&a, &bits, sizeof a);
    *exponent = (double)biased - 1023.0;
    return a;
}
#endif
