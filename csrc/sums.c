#include "sums.h"

static void add_one(double number, int64_t at, fs_sums *sums)
{
    const wide next = two_sum(sums->high[at], number);
    sums->high[at] = next.high;
    sums->low[at] += next.low;
}

void fs_sums_add(const fs_kernels *kernels, fs_sums *sums, int64_t place, const double *number,
                 int64_t count)
{
    while (count > 0) {
        const int64_t whole = place % FS_SUMS == 0 ? count / FS_SUMS * FS_SUMS : 0;
        const int64_t step = kernels->add_values && whole > 0 ? whole : 1;
        if (step > 1)
            kernels->add_values(number, whole, sums->high, sums->low);
        else
            add_one(*number, place % FS_SUMS, sums);
        number += step;
        place += step;
        count -= step;
    }
}

wide fs_sums_total(wide a, const fs_sums *sums)
{
    for (int k = 0; k < FS_SUMS; k++)
        a = wide_add(a, wide_of(sums->high[k], sums->low[k]));
    return a;
}
