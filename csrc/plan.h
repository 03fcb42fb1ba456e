/* What a call is turned into: which kernel takes which rows how. One place for the choice; it looks
 * at shape, strides, dtype, caches and threads alone, and changes no bit of the result. */
#ifndef FS_PLAN_H
#define FS_PLAN_H
#include "dispatch.h"
#include "fastsoftmax.h"
#include "layout.h"
#include "pace.h"
#include "sums.h"
#include <stddef.h>

enum {
    FS_MAX_CHUNKS = 256,
    FS_THREAD_ELEMENTS = 16384, /* work that pays for waking one more thread */
    FS_STACK_BLOCKS = 512, /* of a row that keeps its terms, at most */
    FS_COLS_BYTES = 16 * 1024, /* of a tile of rows side by side: it is gone through three times */
    FS_COLS_SPARE = 20 * 1024  /* beyond it: squares that are transposed whole, or a second group */
};

typedef struct {
    const fs_call *call;
    const fs_kernels *kernels;
    fs_kernel *kernel;
    fs_layout layout;
    int size;           /* bytes an element */
    int mixed;          /* every class has a coefficient of its own */
    int cols, across;   /* rows side by side, in a transposed tile; some of them as they lie */
    int stream;         /* the result goes past the caches */
    int keep;           /* rows keep their terms */
    int split;          /* threads that share a row; 0: rows are not taken in pieces */
    fs_pieces pieces;
    fs_pace pace;
    int threads;
    int64_t chunk;      /* rows a chunk */
    int64_t chunks;
    int64_t tile;       /* rows a tile */
    int gather_x, gather_other, gather_y; /* copy the tile to lie contiguous */

    void *class_weight; /* in the dtype of the logits, for mixed losses; 0: all one */
    void *class_weight_low; /* behind it: what float32 loses of them; 0: nothing */
    double weight_total, weight_scale;
    size_t tile_bytes;  /* of one array's tile, in scratch */
    char *scratch;      /* scratch_bytes a thread */
    size_t scratch_bytes;
    double divisor;     /* of the gradient: 0 where there is nothing to average */
    fs_sums sums[FS_MAX_CHUNKS];
    wide huge[FS_MAX_CHUNKS]; /* of losses too large for the others (losses.c) */
} fs_plan;

void fs_plan_make(fs_plan *p, const fs_call *call);

/* What the plan needs beside the call's arrays. 0: no memory, or the call has been ended. */
int fs_plan_allocate(fs_plan *p);
void fs_plan_free(fs_plan *p);

int fs_is_loss(fs_op op);
int fs_writes_rows(fs_op op);
int fs_is_given(fs_op op); /* the state of its rows */
int fs_picks(const fs_call *call); /* a row is one number to pick out, not one to go through */

fs_kernel *fs_kernel_of(const fs_kernels *kernels, fs_op op, int mixed);
/* The kernel that takes rows side by side, or 0; and the rows to its tile. */
fs_kernel *fs_cols_kernel_of(const fs_kernels *kernels, fs_op op, int mixed);
int64_t fs_cols_rows(const fs_kernels *kernels, int64_t n, int64_t size);
int fs_pays_side_by_side(const fs_kernels *kernels, int64_t rows, int64_t n);
/* The kernel for some contiguous rows of a few vectors at a time, or 0: another is better or the
 * only one. */
fs_kernel *fs_across_kernel_of(const fs_kernels *kernels, fs_op op, int64_t n);

static inline int64_t at_most(int64_t a, int64_t b) { return a < b ? a : b; }
static inline int64_t at_least(int64_t a, int64_t b) { return a > b ? a : b; }

/* A number in the dtype of the logits. */
void fs_store_value(fs_dtype dtype, char *to, double value);

#endif
