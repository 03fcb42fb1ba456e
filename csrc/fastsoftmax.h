/* The C interface of fastsoftmax: everything that _core.pyx sees. See ARCHITECTURE.md. */
#ifndef FASTSOFTMAX_H
#define FASTSOFTMAX_H
#include <stdint.h>

#define FS_MAX_DIMS 64

typedef enum { FS_FLOAT32, FS_FLOAT64 } fs_dtype;

typedef enum {
    FS_SOFTMAX,
    FS_LOG_SOFTMAX,
    FS_LOGSUMEXP,
    FS_CROSS_ENTROPY,
    FS_CROSS_ENTROPY_GRAD,
    FS_NLL, /* x: log-probabilities */
    FS_SOFTMAX_BACKWARD, /* x: the gradient dy; other: the result y */
    FS_LOG_SOFTMAX_BACKWARD,
    FS_STATE,         /* value: four doubles a row (math/state.h) */
    FS_SOFTMAX_GIVEN, /* value: the state of a longer row, of which x is a block */
    FS_LOG_SOFTMAX_GIVEN
} fs_op;

typedef enum { FS_NONE, FS_MEAN, FS_SUM } fs_reduction;

typedef enum { FS_OK, FS_NO_MEMORY, FS_BAD_LABEL, FS_INTERRUPTED } fs_error;

typedef struct {
    fs_error error;
    int64_t position; /* of a bad label, counted in C order */
    int64_t value;    /* the label itself; its bits, where the labels are unsigned */
} fs_status;

/* One array over the batch: strides in bytes, along the batch dimensions and along the classes. */
typedef struct {
    char *data; /* 0: absent */
    int64_t strides[FS_MAX_DIMS];
    int64_t class_stride;
} fs_array;

/* Labels of any integer dtype. */
typedef struct {
    int size; /* bytes: 1, 2, 4, 8 */
    int is_signed;
} fs_label_type;

/* Asked now and then, on the calling thread, in calls of more than a few milliseconds; not 0 ends
 * the call, with its results half written. */
typedef int fs_ask(void *context);

typedef struct {
    fs_op op;
    fs_dtype dtype;
    int ndim; /* batch dimensions, the class axis not among them */
    int64_t shape[FS_MAX_DIMS];
    int64_t n; /* classes */
    int threads; /* 0: resolve */
    fs_ask *ask; /* 0: nobody is asked */
    void *ask_context;

    fs_array x;     /* logits */
    fs_array other; /* soft targets; or the result whose gradient x is */
    fs_array y;     /* what is written: like x, or one value a row (logsumexp, loss unreduced) */
    fs_array value; /* logsumexp, or the unreduced loss */

    fs_array target; /* labels, unless the targets are soft */
    fs_label_type label;
    int has_ignore;
    int64_t ignore_index; /* its bits, where the labels are uint64 */
    const double *weight;   /* one factor a class, contiguous, or 0 */
    fs_array sample_weight; /* float64 */
    fs_array grad_output;   /* float64; a scalar has strides of 0 */
    double smoothing, z_loss;
    fs_reduction reduction;
    int has_normalizer;
    double normalizer;
    double loss; /* out: the reduced loss */
} fs_call;

fs_status fs_run(fs_call *call);

/* One contiguous batch of rows on the calling thread: the shortest way in, for small arrays. */
void fs_run_rows(fs_op op, fs_dtype dtype, const void *x, void *y, int64_t rows, int64_t n);
/* Whether that way is the right one. */
int fs_is_small(int64_t rows, int64_t n);

/* States, four doubles a row: a becomes that of the elements of both; logsumexp, less x if
 * given. */
void fs_state_join(double *a, const double *b, int64_t rows);
void fs_state_end(const double *states, const double *x, double *result, int64_t rows);

void fs_threads_init(int allowed, int follow_omp);
void fs_threads_set(int threads);
int fs_threads_swap(int threads);
int fs_threads_resolve(int asked);
int fs_openmp_version(void);

void fs_isa_cap(const char *cap); /* 0: no cap */
int fs_isa_count(void);
const char *fs_isa_name(int index);
int fs_isa_runs(int index);
const char *fs_isa_current(void);
int fs_isa_force(const char *name); /* for the calling thread; 0: back to the dispatched one */

#endif
