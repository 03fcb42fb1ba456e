#include "range.h"
#include "math/wide.h"
#include <math.h>

/* Within 2^-60 to 2^60 neither a factor nor its products with probabilities leave float32's range
 * before the gradient does. */
#define SMALLEST 0x1p-60
#define LARGEST 0x1p+60

static int in_range(double f)
{
    const double size = fabs(f);
    return (size >= SMALLEST && size <= LARGEST) || size == 0.0;
}

/* Whether any of many is not; by operations on bits, for vectors: sign bits say so. */
static int leave_range(int64_t count, const double *f)
{
    const uint64_t smallest = bits_of(SMALLEST), largest = bits_of(LARGEST);
    uint64_t any = 0;
    for (int64_t i = 0; i < count; i++) {
        const uint64_t size = bits_of(f[i]) << 1 >> 1;
        any |= ((size - smallest) | (largest - size)) & (0 - size);
    }
    return (int)(any >> 63);
}

/* Large factors keep as much as they may, so that tiny probabilities are not subnormal beside them;
 * infinite ones their sign. */
static double power_for(double largest)
{
    if (largest - largest != 0)
        return largest;
    return ldexp(1.0, ilogb(largest) - (largest > LARGEST ? 59 : 0));
}

static double over_power(double f, double power)
{
    if (f - f == 0 && power - power != 0)
        return 0.0; /* nothing beside an infinite one */
    if (f - f != 0)
        return f == f ? copysign(LARGEST, f) : f;
    return ldexp(f, -ilogb(power));
}

int fs_range_holds(double f) { return f != 0.0 && in_range(f); }

int fs_range_factors(int64_t rows, double *factor, double *z_factor, double *power)
{
    if (!leave_range(rows, factor) && !(z_factor && leave_range(rows, z_factor)))
        return 0;
    for (int64_t i = 0; i < rows; i++) {
        const double a = fabs(factor[i]), b = z_factor ? fabs(z_factor[i]) : 0.0;
        const double largest = a > b ? a : b;
        power[i] = in_range(largest) && a == a ? 1.0 : power_for(a == a ? largest : a);
        if (power[i] == 1.0)
            continue;
        factor[i] = over_power(factor[i], power[i]);
        if (z_factor)
            z_factor[i] = over_power(z_factor[i], power[i]);
    }
    return 1;
}

void fs_range_apply(fs_dtype dtype, void *y, int64_t rows, int64_t row_step, int64_t n,
                    int64_t class_step, const double *power)
{
    for (int64_t i = 0; i < rows; i++)
        for (int64_t j = 0; power[i] != 1.0 && j < n; j++) {
            const int64_t at = i * row_step + j * class_step;
            if (dtype == FS_FLOAT32)
                ((float *)y)[at] = (float)((double)((float *)y)[at] * power[i]);
            else
                ((double *)y)[at] *= power[i];
        }
}
