/* What guard.c calls: operations, ways of calling, and how rows lie in memory. */
#ifndef FS_TEST_GUARD_CASES_H
#define FS_TEST_GUARD_CASES_H
#include "fastsoftmax.h"

enum { MAX_ROWS = 140, MAX_N = 600, LARGE_N = 2 * 65536 + 100,
       MOST = 11 * LARGE_N /* elements of an array */ };

typedef enum { DENSE, PADDED, REVERSED, COLUMNS, GAPPED, ONE_ROW, ONE_CLASS } layout;

typedef enum { AS_IT_IS, TWICE, PIECES } manner; /* of a kernel: swept twice, its row cut in two */

/* How rows lie and which way they are made to take. */
typedef struct {
    const char *name;
    int rows;
    layout x, y;
    int in_place, stream;
    manner manner;
    int threads, small;
} way;

static const way ways[] = {
    {"alone", 1, DENSE, DENSE, 0, 0, AS_IT_IS, 1, 0},
    {"alone, past the caches", 2, DENSE, DENSE, 0, 1, AS_IT_IS, 1, 0},
    {"alone, swept twice", 1, DENSE, DENSE, 0, 0, TWICE, 1, 0},
    {"alone, swept twice, past the caches", 2, PADDED, PADDED, 0, 1, TWICE, 1, 0},
    {"alone, in place", 3, DENSE, DENSE, 1, 0, AS_IT_IS, 1, 0},
    {"small", 1, DENSE, DENSE, 0, 0, AS_IT_IS, 1, 1},
    {"small, side by side", 19, DENSE, DENSE, 0, 0, AS_IT_IS, 1, 1},
    {"side by side", 18, DENSE, PADDED, 0, 0, AS_IT_IS, 1, 0},
    {"side by side, past the caches", 37, DENSE, DENSE, 0, 1, AS_IT_IS, 1, 0},
    {"several tiles", 140, DENSE, DENSE, 0, 0, AS_IT_IS, 1, 0},
    {"columns", 17, COLUMNS, COLUMNS, 0, 0, AS_IT_IS, 1, 0},
    {"columns, in place", 3, COLUMNS, COLUMNS, 1, 0, AS_IT_IS, 1, 0},
    {"columns to rows", 5, COLUMNS, DENSE, 0, 1, AS_IT_IS, 1, 0},
    {"reversed", 2, REVERSED, REVERSED, 0, 0, AS_IT_IS, 1, 0},
    {"gaps", 3, GAPPED, GAPPED, 0, 0, AS_IT_IS, 1, 0},
    {"one row for all", 4, ONE_ROW, GAPPED, 0, 0, AS_IT_IS, 1, 0},
    {"one class for all", 2, ONE_CLASS, REVERSED, 0, 0, AS_IT_IS, 1, 0},
    {"in pieces", 1, DENSE, DENSE, 0, 0, PIECES, 1, 0},
    {"in pieces, past the caches", 1, DENSE, DENSE, 0, 1, PIECES, 1, 0},
    {"on two threads", 1, DENSE, DENSE, 0, 0, AS_IT_IS, 2, 0},
};
enum { WAYS = sizeof ways / sizeof ways[0] };

typedef enum { NO_TARGET, HARD, SOFT } targets;

typedef struct {
    const char *name;
    fs_op op;
    fs_reduction reduction;
    targets kind;
    int weighted; /* weight, sample_weight and grad_output */
    double smoothing, z_loss;
} operation;

static const operation operations[] = {
    {"softmax", FS_SOFTMAX, FS_NONE, NO_TARGET, 0, 0, 0},
    {"log_softmax", FS_LOG_SOFTMAX, FS_NONE, NO_TARGET, 0, 0, 0},
    {"logsumexp", FS_LOGSUMEXP, FS_NONE, NO_TARGET, 0, 0, 0},
    {"loss", FS_CROSS_ENTROPY, FS_NONE, HARD, 0, 0, 0},
    {"weighted loss", FS_CROSS_ENTROPY, FS_MEAN, HARD, 1, 0, 0.1},
    {"gradient", FS_CROSS_ENTROPY_GRAD, FS_MEAN, HARD, 0, 0, 0},
    {"weighted gradient", FS_CROSS_ENTROPY_GRAD, FS_NONE, HARD, 1, 0, 0.1},
    {"smoothed loss", FS_CROSS_ENTROPY, FS_NONE, HARD, 1, 0.1, 0},
    {"smoothed gradient", FS_CROSS_ENTROPY_GRAD, FS_SUM, HARD, 1, 0.1, 0.1},
    {"soft loss", FS_CROSS_ENTROPY, FS_MEAN, SOFT, 0, 0, 0},
    {"soft gradient", FS_CROSS_ENTROPY_GRAD, FS_NONE, SOFT, 1, 0.1, 0.1},
    {"nll", FS_NLL, FS_MEAN, HARD, 1, 0, 0},
    {"soft nll", FS_NLL, FS_NONE, SOFT, 1, 0, 0},
    {"softmax_backward", FS_SOFTMAX_BACKWARD, FS_NONE, NO_TARGET, 0, 0, 0},
    {"log_softmax_backward", FS_LOG_SOFTMAX_BACKWARD, FS_NONE, NO_TARGET, 0, 0, 0},
    {"state", FS_STATE, FS_NONE, NO_TARGET, 0, 0, 0},
    {"softmax of a block", FS_SOFTMAX_GIVEN, FS_NONE, NO_TARGET, 0, 0, 0},
    {"log_softmax of a block", FS_LOG_SOFTMAX_GIVEN, FS_NONE, NO_TARGET, 0, 0, 0},
};
enum { OPERATIONS = sizeof operations / sizeof operations[0] };

static int writes_elements(fs_op op)
{
    return op != FS_LOGSUMEXP && op != FS_CROSS_ENTROPY && op != FS_NLL && op != FS_STATE;
}

static int is_loss(fs_op op)
{
    return op == FS_CROSS_ENTROPY || op == FS_CROSS_ENTROPY_GRAD || op == FS_NLL;
}

static int is_given(fs_op op) { return op == FS_SOFTMAX_GIVEN || op == FS_LOG_SOFTMAX_GIVEN; }

/* Strides in elements, the offset of the first element, and how many there are from end to end. */
typedef struct { int64_t row, class, first, extent; } steps;

static steps steps_of(layout how, int64_t rows, int64_t n)
{
    steps s = {n, 1, 0, 0};
    switch (how) {
    case DENSE: break;
    case PADDED: s.row = n + 3; break;
    case REVERSED: s.row = -n; s.class = -1; break;
    case COLUMNS: s.row = 1; s.class = rows; break;
    case GAPPED: s.row = 2 * n + 1; s.class = 2; break;
    case ONE_ROW: s.row = 0; break;
    case ONE_CLASS: s.row = 1; s.class = 0; break;
    }
    if (rows == 0 || n == 0)
        return s;
    const int64_t span = (rows - 1) * s.row + (n - 1) * s.class;
    s.first = span < 0 ? -span : 0;
    s.extent = (span < 0 ? -span : span) + 1;
    return s;
}

#endif
