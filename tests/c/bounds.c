/* Rows of every length, for a compiler that checks indices of local arrays (test_regressions.py): the
 * address that was formed beyond one was never read, so that nothing else showed it. */
#include "fastsoftmax.h"
#include <stdlib.h>

enum { MOST = 2400 };

static void at_length(fs_dtype dtype, const void *x, void *y, int64_t rows, int64_t n)
{
    for (int op = FS_SOFTMAX; op <= FS_LOGSUMEXP; op++)
        fs_run_rows((fs_op)op, dtype, x, y, rows, n);
}

int main(void)
{
    float *narrow = malloc(2 * MOST * sizeof *narrow);
    double *wide = malloc(2 * MOST * sizeof *wide);
    if (!narrow || !wide)
        return 1;
    for (int i = 0; i < MOST; i++)
        narrow[i] = (float)(wide[i] = i % 97 * 0.25);
    for (int64_t n = 1; n < MOST / 2; n++)
        for (int64_t rows = 1; rows <= 2; rows++) {
            at_length(FS_FLOAT32, narrow, narrow + MOST, rows, n);
            at_length(FS_FLOAT64, wide, wide + MOST, rows, n);
        }
    free(narrow);
    free(wide);
    return 0;
}
