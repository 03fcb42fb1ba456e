/* The look at all labels before anything is written. */
#include "labels.h"
#include "parallel.h"
#include "sums.h"
#include "targets.h"
#include <string.h>

static int is_ignored(const fs_call *call, int64_t label)
{
    return call->has_ignore && label == call->ignore_index;
}

enum {
    CHECKED = 256,          /* labels at a time */
    CHECK_CHUNKS = 64,      /* whose sums are joined in order */
    CHECK_CHUNK = 4096,     /* labels in one, at least */
    CHECK_THREAD = 1 << 17, /* labels that pay for one more thread: 40 us, */
    CHECK_WEIGHTED = 4      /* or so many times fewer, if their weights are added up */
};

/* What the labels of a chunk come to. */
typedef struct {
    int64_t counted;
    int bad;          /* whether one is out of range: the first */
    fs_status status; /* says which */
    fs_sums weights;
} label_chunk;

typedef struct {
    const fs_call *call;
    const fs_layout *layout;
    const fs_kernels *kernels;
    int64_t chunk; /* labels in one */
    label_chunk *chunks;
} label_check;

/* How many of the labels count, and whether one is bad; no branch, so that it runs in vectors. */
static int64_t count_labels(const fs_call *call, const int64_t *label, int64_t count, int *any_bad)
{
    const uint64_t no_ignore = !call->has_ignore, last = (uint64_t)call->n - 1;
    const int64_t ignored = call->ignore_index;
    uint64_t counted = 0, bad = 0;
    *any_bad = 0;
    if (fs_labels_all_count(call, label, count))
        return count;
    for (int64_t i = 0; i < count; i++) {
        const uint64_t counts = no_ignore | differs(label[i], ignored);
        counted += counts;
        bad |= counts & is_outside(label[i], last);
    }
    *any_bad = bad != 0;
    return (int64_t)counted;
}

static fs_status bad_label(const fs_call *call, const int64_t *label, int64_t row)
{
    fs_status status = {FS_BAD_LABEL, row, 0};
    int64_t i = 0;
    while (is_ignored(call, label[i]) || (uint64_t)label[i] < (uint64_t)call->n)
        i++;
    status.position = row + i;
    status.value = label[i];
    return status;
}

/* What a mean with weights divides by. */
static int divides_by_weights(const fs_call *call)
{
    return fs_is_weighted(call) && call->reduction == FS_MEAN && !call->has_normalizer;
}

/* The weights of labels that are none of them bad; `label` may be changed. */
static void weights_of_labels(const label_check *check, int64_t *label, int64_t count, int all,
                              const int64_t *offsets, double *weight)
{
    const fs_call *call = check->call;
    const uint64_t no_ignore = !call->has_ignore;
    const int64_t ignored = call->ignore_index;
    double sample[CHECKED];
    for (int64_t i = 0; !all && i < count; i++)
        label[i] |= -(int64_t)((no_ignore | differs(label[i], ignored)) ^ 1);
    fs_targets_weights(call, check->layout, offsets, count, call->n > 0 ? call->weight : 0, label,
                       all, sample, weight);
}

/* Labels from row on, evenly spaced ones of a chunk. */
static void check_labels(const label_check *check, int64_t row, int64_t count,
                         const int64_t *offsets, label_chunk *chunk)
{
    const fs_call *call = check->call;
    const char *from = call->target.data + offsets[FS_AT_TARGET];
    const int64_t step = fs_layout_step(check->layout, FS_AT_TARGET);
    const int averaged = divides_by_weights(call);
    int64_t label[CHECKED];
    double weight[CHECKED];
    int any_bad;
    if (!averaged && fs_labels_lie_as_read(call, from, step) &&
        fs_labels_all_count(call, (const int64_t *)(const void *)from, count)) {
        chunk->counted += count;
        return;
    }
    fs_labels_read(call, from, step, count, label);
    const int64_t counted = count_labels(call, label, count, &any_bad);
    if (any_bad) {
        chunk->status = bad_label(call, label, row);
        chunk->bad = 1;
        return;
    }
    chunk->counted += counted;
    if (averaged) {
        weights_of_labels(check, label, count, counted == count, offsets, weight);
        fs_sums_add(check->kernels, &chunk->weights, row % check->chunk, weight, count);
    }
}

static void check_rows(void *context, int thread, int64_t first, int64_t last)
{
    const label_check *check = context;
    int64_t offsets[FS_ARRAYS];
    (void)thread;
    for (int64_t row = first, count; row < last; row += count) {
        label_chunk *chunk = &check->chunks[row / check->chunk];
        const int64_t left = check->chunk - row % check->chunk;
        const int64_t even = fs_layout_locate(check->layout, row, offsets);
        count = even < CHECKED ? even : CHECKED;
        count = count < left ? count : left;
        count = count < last - row ? count : last - row;
        if (!chunk->bad)
            check_labels(check, row, count, offsets, chunk);
    }
}

static int check_threads(const fs_call *call, int64_t rows)
{
    const int64_t work = rows * (divides_by_weights(call) ? CHECK_WEIGHTED : 1) / CHECK_THREAD;
    const int64_t threads = work < 2 ? 1 : fs_threads_resolve(call->threads);
    return (int)(work < threads ? work < 1 ? 1 : work : threads);
}

fs_status fs_targets_check(const fs_call *call, const fs_layout *layout, const fs_kernels *kernels,
                           fs_pace *pace, fs_target_sums *sums)
{
    label_chunk chunks[CHECK_CHUNKS];
    const int64_t even = (layout->rows / CHECK_CHUNKS / FS_SUMS + 1) * FS_SUMS;
    const int64_t chunk = even < CHECK_CHUNK ? CHECK_CHUNK : even;
    label_check check = {call, layout, kernels, chunk, chunks};
    const fs_work work = {layout->rows, chunk, 1, call->threads};
    const fs_status fine = {FS_OK, 0, 0}, interrupted = {FS_INTERRUPTED, 0, 0};
    const int averaged = divides_by_weights(call);
    int64_t counted = 0;
    wide total = {0.0, 0.0};
    if (!call->target.data) { /* soft targets: the mean is over their number */
        sums->weight_sum = (double)layout->rows;
        return fine;
    }
    memset(chunks, 0, (size_t)(layout->rows / chunk + 1) * sizeof *chunks);
    if (layout->rows <= CHECKED)
        check_rows(&check, 0, 0, layout->rows);
    else if (!fs_parallel(pace, check_threads(call, layout->rows), &work, check_rows, &check))
        return interrupted;
    for (int64_t i = 0; i * chunk < layout->rows; i++) {
        if (chunks[i].bad)
            return chunks[i].status;
        counted += chunks[i].counted;
        if (averaged) /* a chain of some 200 cycles */
            total = fs_sums_total(total, &chunks[i].weights);
    }
    sums->weight_sum = averaged ? wide_value(total) : (double)counted;
    return fine;
}
