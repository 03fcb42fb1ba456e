/* The vocabulary (README.md) in portable C, float64: one lane.
 * Where C's own fma is no instruction, calling it costs more than all the rest: a product and a
 * sum then stand for it, save in v_reduce_exact, whose exactness the accuracy rests on. */
#ifndef FS_SIMD_SCALAR_F64_H
#define FS_SIMD_SCALAR_F64_H
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "../portable.h"

typedef double real;
typedef double v_t;
#define V_LANES 1
#define TURN_BITS 28 /* after the point of t (README.md) */

FS_INLINE v_t v_set1(real a) { return a; }
FS_INLINE v_t v_load(const real *p) { return *p; }
FS_INLINE void v_store(real *p, v_t a) { *p = a; }
/* A part of one lane is nothing: never asked for. */
FS_INLINE v_t v_load_part(const real *p, int64_t count, v_t rest)
{
    return count > 0 ? *p : rest;
}
FS_INLINE void v_store_part(real *p, v_t a, int64_t count)
{
    if (count > 0)
        *p = a;
}
FS_INLINE void v_stream(real *p, v_t a) { v_store(p, a); }
FS_INLINE void v_stream_end(void) {}

FS_INLINE v_t v_add(v_t a, v_t b) { return a + b; }
FS_INLINE v_t v_sub(v_t a, v_t b) { return a - b; }
FS_INLINE v_t v_mul(v_t a, v_t b) { return a * b; }
#ifdef FP_FAST_FMA
FS_INLINE v_t v_fma(v_t a, v_t b, v_t c) { return fma(a, b, c); }
FS_INLINE v_t v_reduce_exact(v_t k, v_t high, v_t x) { return fma(-k, high, x); }
#else
FS_INLINE v_t v_fma(v_t a, v_t b, v_t c) { return a * b + c; }
/* high in two parts of at most 27 bits (Veltkamp): with |k| < 2^26 both products are exact, and
 * so are both differences, since x lies within one of k * high. */
FS_INLINE v_t v_reduce_exact(v_t k, v_t high, v_t x)
{
    const double scaled = 134217729.0 * high; /* 2^27 + 1 */
    const double head = scaled - (scaled - high);
    return (x - k * head) - k * (high - head);
}
#endif
FS_INLINE v_t v_fnma(v_t a, v_t b, v_t c) { return v_fma(a, -b, c); }
FS_INLINE v_t v_max(v_t a, v_t b) { return a > b ? a : b; }
FS_INLINE v_t v_where_nonzero(v_t q, v_t a) { return q == 0 ? 0 : a; }
FS_INLINE v_t v_whole(v_t t)
{
    uint64_t bits;
    memcpy(&bits, &t, sizeof bits);
    bits &= ~((UINT64_C(1) << TURN_BITS) - 1);
    memcpy(&t, &bits, sizeof t);
    return t;
}

FS_INLINE v_t v_exponent(v_t t)
{
    uint64_t bits;
    memcpy(&bits, &t, sizeof bits);
    bits <<= 52 - TURN_BITS;
    memcpy(&t, &bits, sizeof bits);
    return t;
}
FS_INLINE real v_hmax(v_t a) { return a; }
FS_INLINE uint32_t v_eq_bits(v_t a, v_t b) { return a == b; }

FS_INLINE v_t v_min(v_t a, v_t b) { return a < b ? a : b; }

typedef int v_mask;
FS_INLINE v_mask v_eq(v_t a, v_t b) { return a == b; }
FS_INLINE v_t v_select(v_mask m, v_t a, v_t b) { return m ? a : b; }

/* a * b - product, product being a * b rounded; the call of fma is dear where it is no instruction,
 * but what needs it is rare. */
FS_INLINE v_t v_product_error(v_t a, v_t b, v_t product) { return fma(a, b, -product); }

#include "accumulate_f64.h"
#endif
