/* Numbers wider than double, as unevaluated sums high + low (Dekker 1971). */
#ifndef FS_MATH_WIDE_H
#define FS_MATH_WIDE_H
#include "../portable.h"
#include <string.h>

typedef struct { double high, low; } wide;

/* For what vectors are to do: not every processor has their comparisons. */
FS_INLINE uint64_t bits_of(double a)
{
    uint64_t bits;
    memcpy(&bits, &a, sizeof bits);
    return bits;
}

FS_INLINE double of_bits(uint64_t bits)
{
    double a;
    memcpy(&a, &bits, sizeof a);
    return a;
}

FS_INLINE wide wide_of(double high, double low)
{
    const wide a = {high, low};
    return a;
}

FS_INLINE wide two_sum(double a, double b) /* Knuth */
{
    const double sum = a + b, part = sum - a;
    return wide_of(sum, (a - (sum - part)) + (b - part));
}

FS_INLINE wide fast_two_sum(double a, double b) /* Dekker; |a| >= |b| */
{
    const double sum = a + b;
    return wide_of(sum, b - (sum - a));
}

FS_INLINE wide wide_add(wide a, wide b)
{
    const wide sum = two_sum(a.high, b.high);
    const double low = sum.low + (a.low + b.low);
    if (!(sum.high - sum.high == 0))
        return wide_of(sum.high, 0.0); /* inf or NaN: the errors of such a sum mean nothing */
    const double high = sum.high + low;
    return wide_of(high, low - (high - sum.high));
}

FS_INLINE double wide_value(wide a) /* of inf or NaN the low part means nothing */
{
    return a.high - a.high == 0 ? a.high + a.low : a.high;
}

FS_INLINE double plus_wide(double a, wide b) /* rounded once, nearly */
{
    const wide sum = two_sum(a, b.high);
    return sum.high + (sum.low + b.low);
}

FS_INLINE wide wide_minus(wide a) { return wide_of(-a.high, -a.low); }

FS_INLINE wide wide_scale(wide a, double power_of_two)
{
    return wide_of(a.high * power_of_two, a.low * power_of_two);
}
#endif
