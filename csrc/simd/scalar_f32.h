/* The vocabulary (README.md) in portable C, float32: one lane.
 * Where C's own fma is an instruction it is used; elsewhere products are formed in double, where
 * they are exact: the sum is rounded twice, once in some 2^29 cases differently from an FMA. */
#ifndef FS_SIMD_SCALAR_F32_H
#define FS_SIMD_SCALAR_F32_H
#include <math.h>
#include <stdint.h>
#include <string.h>
#include "../portable.h"

typedef float real;
typedef float v_t;
#define V_LANES 1

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
#ifdef FP_FAST_FMAF
FS_INLINE v_t v_fma(v_t a, v_t b, v_t c) { return fmaf(a, b, c); }
#else
FS_INLINE v_t v_fma(v_t a, v_t b, v_t c) { return (v_t)((double)a * b + c); }
#endif
/* -b, not -a: with -a gcc 12 (AArch64) fuses two negations into an FNMADD, whose zero has another
 * sign than that of all the other instances. */
FS_INLINE v_t v_fnma(v_t a, v_t b, v_t c) { return v_fma(a, -b, c); }
FS_INLINE v_t v_reduce_exact(v_t k, v_t high, v_t x) { return v_fma(-k, high, x); }
FS_INLINE v_t v_max(v_t a, v_t b) { return a > b ? a : b; }
FS_INLINE v_t v_where_nonzero(v_t q, v_t a) { return q == 0 ? 0 : a; }
FS_INLINE v_t v_lookup(const void *table, v_t t)
{
    uint32_t bits;
    memcpy(&bits, &t, sizeof bits);
    memcpy(&t, (const char *)table + 4 * (bits & 7), sizeof t);
    return t;
}
FS_INLINE v_t v_raise(v_t base, v_t t)
{
    uint32_t bits, shifted;
    memcpy(&bits, &base, sizeof bits);
    memcpy(&shifted, &t, sizeof shifted);
    bits += shifted << 20;
    memcpy(&base, &bits, sizeof base);
    return base;
}
FS_INLINE real v_hmax(v_t a) { return a; }
FS_INLINE uint32_t v_eq_bits(v_t a, v_t b) { return a == b; }

FS_INLINE v_t v_min(v_t a, v_t b) { return a < b ? a : b; }

typedef int v_mask;
FS_INLINE v_mask v_eq(v_t a, v_t b) { return a == b; }
FS_INLINE v_t v_select(v_mask m, v_t a, v_t b) { return m ? a : b; }

typedef struct { double sum; } v_acc_t;
FS_INLINE v_acc_t v_acc_zero(void)
{
    v_acc_t a = {0.0};
    return a;
}
FS_INLINE void v_acc_add(v_acc_t *s, v_t a) { s->sum += (double)a; }
FS_INLINE void v_acc_fma(v_acc_t *s, v_t a, v_t b) { s->sum += (double)a * (double)b; }
FS_INLINE void v_acc_store(const v_acc_t *a, double *sum, double *error)
{
    *sum = a->sum;
    *error = 0.0;
}
#endif
