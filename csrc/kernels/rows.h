/* What a kernel sees: a batch of rows, and everything it needs, allocated and checked by the
 * driver. Kernels never allocate, start threads or validate. <op>_rows go through contiguous rows
 * one by one; <op>_cols take rows of any strides side by side, by way of a tile (tile.inc.h);
 * <op>_across some contiguous ones at a time (across.inc.h). */
#ifndef FS_KERNELS_ROWS_H
#define FS_KERNELS_ROWS_H
#include <stdint.h>

enum { FS_TILE = 128 }; /* rows a kernel call, at most */

typedef struct fs_pieces fs_pieces;

typedef struct fs_rows {
    int64_t rows, n;
    const void *x;    /* logits; row i begins x_step * i elements further */
    int64_t x_step;
    const void *other; /* soft targets; or, with a gradient in x, the result it is the gradient of */
    int64_t other_step;
    void *y;          /* probabilities, log-probabilities or gradient; may be x itself */
    int64_t y_step;
    int64_t x_class, y_class, other_class; /* elements from one class to the next: 1, save for
                                              <op>_cols */
    void *tile, *other_tile;  /* scratch of <op>_cols: fs_tile_elements() for x, and for other */
    double *state;            /* four numbers a row (math/state.h): written, or given */
    const int64_t *target; /* a row's class; negative: the row is not counted and not read */
    const double *factor;  /* multiplies a row's gradient; times weight_scale */
    const double *z_factor; /* multiplies the gradient of a row's z-loss */
    double one_factor; /* these, where they are the same for all rows that count; or 0 */
    double *value;         /* a row's logsumexp or loss, in nats */
    double *z_term;        /* what its z-loss adds to a row's loss, where z_loss is not 0 */
    const void *class_weight; /* one a class over weight_scale, or 0 */
    const void *class_weight_low; /* what float32 has lost of them, or 0 */
    double weight_total;       /* their sum: n without */
    double weight_scale;       /* a power of two */
    double smoothing, z_loss;
    int64_t *exponents;    /* scratch: one a block of a row (fs_blocks of them), with keep */
    int keep;              /* hold the exponentials in y and scale them, instead of computing them
                              twice: for rows that stay in cache */
    int stream;            /* write y past the caches: it is larger than they are */
    const fs_pieces *pieces; /* 0, or how to go through a row that is too long for one go */
} fs_rows;

typedef void fs_kernel(const fs_rows *rows);

/* A huge row in pieces (pieces.inc.h). What an instance keeps here is its own affair. */
typedef struct { int64_t words[16]; } fs_piece;

/* What is done to `n` elements of a row from `begin` on, and what comes of it. */
typedef void fs_piece_task(const void *job, int64_t begin, int64_t n, fs_piece *result);

struct fs_pieces {
    int64_t count;
    fs_piece *results;
    /* Has it done to every piece, on all threads; 0 where the call has been ended meanwhile. */
    int (*each)(void *driver, fs_piece_task *task, const void *job);
    void *driver;
};

/* Adds value i to sum i mod FS_SUMS, and its rounding error to that of the sum; count is a
 * multiple. Side by side, so that an addition need not wait for the last one. */
enum { FS_SUMS = 8 };
typedef void fs_add_values(const double *value, int64_t count, double *high, double *low);

/* One instance: an instruction set and a dtype. */
typedef struct {
    int64_t block; /* elements a block; <op>_cols take rows of one block at most */
    int64_t lanes; /* rows side by side */
    fs_kernel *softmax;
    fs_kernel *log_softmax;
    fs_kernel *logsumexp;
    fs_kernel *cross_entropy;
    fs_kernel *cross_entropy_grad;
    fs_kernel *cross_entropy_mixed; /* smoothing, soft targets, z-loss */
    fs_kernel *cross_entropy_mixed_grad;
    fs_kernel *nll_soft;
    fs_kernel *softmax_backward;
    fs_kernel *log_softmax_backward;
    fs_kernel *state;
    fs_kernel *softmax_given;
    fs_kernel *log_softmax_given;
    fs_kernel *softmax_cols;
    fs_kernel *log_softmax_cols;
    fs_kernel *logsumexp_cols;
    fs_kernel *cross_entropy_cols;
    fs_kernel *cross_entropy_grad_cols;
    fs_kernel *cross_entropy_mixed_cols;
    fs_kernel *cross_entropy_mixed_grad_cols;
    fs_kernel *softmax_across;
    fs_kernel *log_softmax_across;
    fs_kernel *logsumexp_across;
    fs_kernel *cross_entropy_across;
    fs_kernel *cross_entropy_grad_across;
    int64_t piece; /* elements a piece of a huge row */
    fs_add_values *add_values; /* or 0 */
} fs_kernels;

/* Elements of the tile for a batch of rows: transposing goes by squares of `lanes` vectors. */
static inline int64_t fs_tile_elements(const fs_kernels *kernels, int64_t rows, int64_t n)
{
    const int64_t lanes = kernels->lanes;
    return ((rows + lanes - 1) / lanes * n + lanes) * lanes;
}

/* Of <op>_across: two groups of whole vectors that are aligned, and room before each. */
static inline int64_t fs_across_elements(const fs_kernels *kernels, int64_t n)
{
    return 2 * (n + kernels->lanes + 2) * kernels->lanes;
}

#endif
