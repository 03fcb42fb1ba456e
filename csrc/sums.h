/* Sums of many float64, of losses and of weights: each number goes to one of FS_SUMS sums by its
 * place alone, which keeps what its additions lose. */
#ifndef FS_SUMS_H
#define FS_SUMS_H
#include "kernels/rows.h"
#include "math/wide.h"

typedef struct { double high[FS_SUMS], low[FS_SUMS]; } fs_sums;

/* Adds numbers, the first of which is the place-th. */
void fs_sums_add(const fs_kernels *kernels, fs_sums *sums, int64_t place, const double *number,
                 int64_t count);

/* a and all of them, in order. */
wide fs_sums_total(wide a, const fs_sums *sums);

#endif
