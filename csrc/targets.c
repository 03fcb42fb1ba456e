#include "targets.h"
#include "math/wide.h"
#include "parallel.h"
#include "portable.h"
#include "sums.h"
#include <string.h>

#define READ(type)                                                                                 \
    for (int64_t i = 0; i < count; i++)                                                            \
        label[i] = (int64_t)*(const type *)(const void *)(from + i * step);                        \
    break

static void copy_labels(const fs_call *call, const char *from, int64_t step, int64_t count,
                        int64_t *label)
{
    switch (call->label.size * 2 + call->label.is_signed) {
    case 2: READ(uint8_t);
    case 3: READ(int8_t);
    case 4: READ(uint16_t);
    case 5: READ(int16_t);
    case 8: READ(uint32_t);
    case 9: READ(int32_t);
    case 16: READ(uint64_t);
    default: READ(int64_t);
    }
}

/* Labels that a look at them, which remembers none, need not copy. */
static int lie_as_read(const fs_call *call, const char *from, int64_t step)
{
    const uintptr_t size = sizeof(int64_t);
    return call->label.size == 8 && call->label.is_signed && step == (int64_t)size &&
           (uintptr_t)from % size == 0;
}

/* Labels of any integer dtype as int64. A uint64 beyond int64 becomes negative: out of range too.
 * Another thread may change them meanwhile: what is checked afterwards is the copy, and so is what
 * is used. */
static void read_labels(const fs_call *call, const char *from, int64_t step, int64_t count,
                        int64_t *label)
{
    if (lie_as_read(call, from, step))
        memcpy(label, from, (size_t)count * sizeof *label);
    else
        copy_labels(call, from, step, count, label);
    FS_SETTLE(label);
}

static int is_ignored(const fs_call *call, int64_t label)
{
    return call->has_ignore && label == call->ignore_index;
}

static double read_weight(const fs_array *array, int64_t offset)
{
    return array->data ? *(const double *)(const void *)(array->data + offset) : 1.0;
}

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

/* Whether every label is a class and none is ignored, as is usual. */
static int all_count(const fs_call *call, const int64_t *label, int64_t count)
{
    const uint64_t last = (uint64_t)call->n - 1;
    uint64_t outside = 0;
    if (call->has_ignore && (uint64_t)call->ignore_index <= last)
        return 0;
    for (int64_t i = 0; i < count; i++)
        outside |= (uint64_t)label[i] | (last - (uint64_t)label[i]);
    return !(outside >> 63);
}

/* A tile's classes, -1 for what is not counted; no branch that labels decide. A divisor of 0 says
 * that nothing is counted. Returns whether all are. */
static int read_targets(const fs_call *call, const fs_layout *layout, const int64_t *offsets,
                        int64_t count, double divisor, int64_t *target)
{
    const uint64_t nothing = divisor == 0.0, no_ignore = !call->has_ignore;
    const uint64_t last = (uint64_t)call->n - 1;
    const int64_t ignored = call->ignore_index;
    if (!call->target.data) {
        for (int64_t i = 0; i < count; i++)
            target[i] = -(int64_t)nothing;
        return !nothing;
    }
    read_labels(call, call->target.data + offsets[FS_AT_TARGET],
                fs_layout_step(layout, FS_AT_TARGET), count, target);
    if (!nothing && all_count(call, target, count))
        return 1;
    for (int64_t i = 0; i < count; i++) {
        const uint64_t counts = no_ignore | differs(target[i], ignored);
        const uint64_t out = nothing | is_outside(target[i], last) | (counts ^ 1);
        target[i] |= -(int64_t)out;
    }
    return 0;
}

int fs_is_weighted(const fs_call *call) { return call->weight || call->sample_weight.data; }

/* Factors that are one for all are asked for once, and those that lie together need no step: both
 * are then for vectors. */
static void read_doubles(const fs_array *array, int64_t offset, int64_t step, int64_t count,
                         double *to)
{
    const double first = read_weight(array, offset);
    const char *from = array->data + offset;
    if (!array->data || step == 0)
        for (int64_t i = 0; i < count; i++)
            to[i] = first;
    else if (step == (int64_t)sizeof *to)
        memcpy(to, from, (size_t)count * sizeof *to);
    else
        for (int64_t i = 0; i < count; i++)
            to[i] = *(const double *)(const void *)(from + i * step);
}

/* What is not counted has none. */
static void clear_uncounted(int64_t count, const int64_t *target, double *factor)
{
    for (int64_t i = 0; i < count; i++)
        factor[i] = of_bits(bits_of(factor[i]) & (((uint64_t)target[i] >> 63) - 1));
}

/* Those of each sample. */
static void read_weights(const fs_call *call, const fs_layout *layout, const int64_t *offsets,
                         int64_t count, const double *class_weight, const int64_t *target,
                         fs_sample_factors *factors)
{
    double *weight = factors->weight, *sample = factors->sample;
    read_doubles(&call->sample_weight, offsets[FS_AT_SAMPLE_WEIGHT],
                 fs_layout_step(layout, FS_AT_SAMPLE_WEIGHT), count, sample);
    if (!class_weight)
        memcpy(weight, sample, (size_t)count * sizeof *weight);
    for (int64_t i = 0; class_weight && i < count; i++)
        weight[i] = sample[i] * class_weight[target[i] < 0 ? 0 : target[i]];
}

static void read_factors(const fs_call *call, const fs_layout *layout, const int64_t *offsets,
                         int64_t count, double divisor, fs_sample_factors *factors)
{
    double outer[FS_TILE], *factor = factors->factor, *z_factor = factors->z_factor;
    const double *weight = factors->weight, *sample = factors->sample;
    const int64_t with_z = call->z_loss != 0.0 ? count : 0;
    read_doubles(&call->grad_output, offsets[FS_AT_GRAD_OUTPUT],
                 fs_layout_step(layout, FS_AT_GRAD_OUTPUT), count, outer);
    for (int64_t i = 0; i < count; i++)
        factor[i] = weight[i] * outer[i] / divisor;
    for (int64_t i = 0; i < with_z; i++)
        z_factor[i] = sample[i] * outer[i] / divisor;
}

void fs_targets_tile(const fs_call *call, const fs_layout *layout, const int64_t *offsets,
                     int64_t count, double divisor, int with_class_weight, int64_t *target,
                     fs_sample_factors *factors)
{
    const int64_t grad_step = fs_layout_step(layout, FS_AT_GRAD_OUTPUT);
    const double *class_weight = with_class_weight && call->target.data ? call->weight : 0;
    const int all = read_targets(call, layout, offsets, count, divisor, target);
    const int weighted = fs_is_weighted(call), grad = call->op == FS_CROSS_ENTROPY_GRAD;
    if (!weighted && !grad && call->z_loss == 0.0)
        return; /* nobody asks for factors that are all one */
    const int with_z = call->z_loss != 0.0;
    if (!weighted && !(call->grad_output.data && grad_step)) { /* one for all */
        const double outer = read_weight(&call->grad_output, offsets[FS_AT_GRAD_OUTPUT]);
        const double factor = divisor == 0.0 ? 0.0 : outer / divisor;
        factors->one = factor;
        for (int64_t i = 0; i < count; i++)
            factors->factor[i] = factors->z_factor[i] = factor;
        for (int64_t i = 0; with_z && i < count; i++)
            factors->weight[i] = factors->sample[i] = 1.0;
    } else {
        read_weights(call, layout, offsets, count, class_weight, target, factors);
        if (grad)
            read_factors(call, layout, offsets, count, divisor == 0.0 ? 1.0 : divisor, factors);
    }
    if (all)
        return;
    if (weighted || with_z) {
        clear_uncounted(count, target, factors->weight);
        clear_uncounted(count, target, factors->sample);
    }
    if (grad)
        clear_uncounted(count, target, factors->factor);
    if (grad && with_z)
        clear_uncounted(count, target, factors->z_factor);
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
    if (all_count(call, label, count))
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
    fs_sample_factors factors = {weight, sample, 0, 0, 0, 0.0};
    for (int64_t i = 0; !all && i < count; i++)
        label[i] |= -(int64_t)((no_ignore | differs(label[i], ignored)) ^ 1);
    read_weights(call, check->layout, offsets, count, call->n > 0 ? call->weight : 0, label,
                 &factors);
    if (!all)
        clear_uncounted(count, label, weight);
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
    if (!averaged && lie_as_read(call, from, step) &&
        all_count(call, (const int64_t *)(const void *)from, count)) {
        chunk->counted += count;
        return;
    }
    read_labels(call, from, step, count, label);
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
    int64_t counted = 0;
    wide total = {0.0, 0.0};
    if (!call->target.data) { /* soft targets: the mean is over their number */
        sums->weight_sum = (double)layout->rows;
        return fine;
    }
    memset(chunks, 0, (size_t)(layout->rows / chunk + 1) * sizeof *chunks);
    if (!fs_parallel(pace, check_threads(call, layout->rows), &work, check_rows, &check))
        return interrupted;
    for (int64_t i = 0; i * chunk < layout->rows; i++) {
        if (chunks[i].bad)
            return chunks[i].status;
        counted += chunks[i].counted;
        total = fs_sums_total(total, &chunks[i].weights);
    }
    sums->weight_sum = divides_by_weights(call) ? wide_value(total) : (double)counted;
    return fine;
}

double fs_targets_divisor(const fs_call *call, const fs_target_sums *sums)
{
    if (call->reduction != FS_MEAN)
        return 1.0;
    return call->has_normalizer ? call->normalizer : sums->weight_sum;
}
