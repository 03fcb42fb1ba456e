/* Gradient factors (grad_output, sample weights, divisors) of any size, for kernels that multiply
 * in the precision of the logits: what is out of their range is multiplied in afterwards. */
#ifndef FS_RANGE_H
#define FS_RANGE_H
#include "fastsoftmax.h"

/* Brings the one or two factors of each row (z_factor: 0, or the other) into a range that keeps
 * every digit; power: what the row has to be multiplied by then. Returns whether any power is not
 * 1. */
int fs_range_holds(double f); /* a factor that is not 0 and needs nothing of this */
int fs_range_factors(int64_t rows, double *factor, double *z_factor, double *power);

/* Multiplies rows by their powers; strides in elements. */
void fs_range_apply(fs_dtype dtype, void *y, int64_t rows, int64_t row_step, int64_t n,
                    int64_t class_step, const double *power);

#endif
