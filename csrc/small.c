/* Small contiguous batches: straight to the kernel, without plan or scratch. */
#include "plan.h"

int fs_is_small(int64_t rows, int64_t n)
{
    return n > 0 && rows <= FS_TILE && rows * n < FS_THREAD_ELEMENTS;
}

static void run_small(fs_op op, fs_dtype dtype, fs_kernel *kernel, int64_t tile, fs_rows *batch,
                      int64_t rows)
{
    const int64_t size = dtype == FS_FLOAT32 ? 4 : 8, n = batch->n;
    const int64_t step = size * (op == FS_LOGSUMEXP ? 1 : n);
    const char *x = batch->x;
    char *y = batch->y;
    for (int64_t row = 0; row < rows; row += tile) {
        batch->rows = at_most(tile, rows - row);
        batch->x = x + row * n * size;
        batch->y = op == FS_LOGSUMEXP ? 0 : y + row * step;
        kernel(batch);
        if (op == FS_LOGSUMEXP)
            for (int64_t i = 0; i < batch->rows; i++)
                fs_store_value(dtype, y + (row + i) * step, batch->value[i]);
    }
}

void fs_run_rows(fs_op op, fs_dtype dtype, const void *x, void *y, int64_t rows, int64_t n)
{
    double value[FS_TILE];
    int64_t exponents[FS_STACK_BLOCKS];
    const fs_kernels *kernels = fs_dispatch(dtype);
    fs_rows batch = {0};
    batch.n = n;
    batch.x = x;
    batch.y = y;
    batch.x_step = batch.y_step = n;
    batch.x_class = batch.y_class = 1;
    batch.value = value;
    batch.exponents = exponents;
    batch.keep = 1;
    fs_kernel *across = 2 * rows >= kernels->lanes ? fs_across_kernel_of(kernels, op, n) : 0;
    if (across || fs_pays_side_by_side(kernels, rows, n)) {
        double tile[(FS_COLS_BYTES + FS_COLS_SPARE) / sizeof(double)];
        batch.tile = tile;
        run_small(op, dtype, across ? across : fs_cols_kernel_of(kernels, op, 0),
                  fs_cols_rows(kernels, n, dtype == FS_FLOAT32 ? 4 : 8), &batch, rows);
    } else {
        run_small(op, dtype, fs_kernel_of(kernels, op, 0), FS_TILE, &batch, rows);
    }
}
