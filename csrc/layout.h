/* The only place for strides: which rows lie together, and where row i of each array begins. */
#ifndef FS_LAYOUT_H
#define FS_LAYOUT_H
#include "fastsoftmax.h"
#include <stddef.h>

enum { FS_AT_X, FS_AT_OTHER, FS_AT_Y, FS_AT_VALUE, FS_AT_TARGET, FS_AT_SAMPLE_WEIGHT,
       FS_AT_GRAD_OUTPUT, FS_ARRAYS };

/* The batch dimensions of all arrays of a call, merged where every array allows it. */
typedef struct {
    int ndim;
    int64_t rows;
    int64_t shape[FS_MAX_DIMS];
    int64_t strides[FS_ARRAYS][FS_MAX_DIMS];
} fs_layout;

void fs_layout_init(fs_layout *layout, const fs_call *call);

/* Byte offsets of a row in every array; returns how many rows from it on are evenly spaced. */
int64_t fs_layout_locate(const fs_layout *layout, int64_t row, int64_t offsets[FS_ARRAYS]);

/* Bytes from one row to the next, within evenly spaced ones. */
int64_t fs_layout_step(const fs_layout *layout, int array);

/* Copies rows of strided elements to contiguous ones, and back. */
void fs_gather(char *to, const char *from, int64_t rows, int64_t row_step, int64_t n,
               int64_t class_step, int size);
void fs_scatter(char *to, const char *from, int64_t rows, int64_t row_step, int64_t n,
                int64_t class_step, int size);

#endif
