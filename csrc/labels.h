/* Labels of any integer dtype: as int64, and whether they are classes. */
#ifndef FS_LABELS_H
#define FS_LABELS_H
#include "fastsoftmax.h"
#include "portable.h"

/* 1 or 0, by operations on bits: comparisons of int64 are none that every processor has for
 * vectors. last: n - 1. */
FS_INLINE uint64_t is_outside(int64_t label, uint64_t last)
{
    return ((uint64_t)label | (last - (uint64_t)label)) >> 63;
}

FS_INLINE uint64_t differs(int64_t a, int64_t b)
{
    const uint64_t bits = (uint64_t)a ^ (uint64_t)b;
    return (bits | (0 - bits)) >> 63;
}

/* Labels that a look at them, which remembers none, need not copy. */
int fs_labels_lie_as_read(const fs_call *call, const char *from, int64_t step);

/* Labels `step` bytes apart, as int64. A uint64 beyond int64 becomes negative: out of range too.
 * Another thread may change them meanwhile: what is checked afterwards is the copy, and so is what
 * is used. */
void fs_labels_read(const fs_call *call, const char *from, int64_t step, int64_t count,
                    int64_t *label);

/* Whether every label is a class and none is ignored, as is usual. */
int fs_labels_all_count(const fs_call *call, const int64_t *label, int64_t count);

#endif
