#include "targets.h"
#include <string.h>
#include "math/wide.h"
#include "portable.h"

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

/* Whether every label is a class and none is ignored, as is usual. The sign of label | n - 1 -
 * label says whether one is outside: comparisons of int64 are none that every processor has for
 * vectors. */
static int all_count(const fs_call *call, const int64_t *label, int64_t count)
{
    const uint64_t last = (uint64_t)call->n - 1;
    uint64_t outside = 0;
    if (call->has_ignore && (uint64_t)call->ignore_index <= last)
        return 0;
    for (int64_t i = 0; i < count; i++)
        outside |= (uint64_t)label[i] | (last - (uint64_t)label[i]);
    return call->n > 0 && !(outside >> 63);
}

/* A tile's classes, -1 for what is not counted; no branch that labels decide. A divisor of 0 says
 * that nothing is counted. */
static void read_targets(const fs_call *call, const fs_layout *layout, const int64_t *offsets,
                         int64_t count, double divisor, int64_t *target)
{
    const int64_t nothing = divisor == 0.0, ignored = call->ignore_index;
    const int64_t has_ignore = call->has_ignore;
    if (!call->target.data) {
        for (int64_t i = 0; i < count; i++)
            target[i] = -nothing;
        return;
    }
    read_labels(call, call->target.data + offsets[FS_AT_TARGET],
                fs_layout_step(layout, FS_AT_TARGET), count, target);
    if (!nothing && all_count(call, target, count))
        return;
    for (int64_t i = 0; i < count; i++) {
        const int64_t outside = (uint64_t)target[i] >= (uint64_t)call->n;
        const int64_t out = nothing | outside | (has_ignore & (target[i] == ignored));
        target[i] = out ? -1 : target[i];
    }
}

int fs_is_weighted(const fs_call *call) { return call->weight || call->sample_weight.data; }

/* Those of each sample; what is not counted has none. */
static void read_weights(const fs_call *call, const fs_layout *layout, const int64_t *offsets,
                         int64_t count, const double *class_weight, const int64_t *target,
                         fs_sample_factors *factors)
{
    const int64_t step = fs_layout_step(layout, FS_AT_SAMPLE_WEIGHT);
    for (int64_t i = 0; i < count; i++) {
        const int64_t counts = target[i] >= 0, class = counts ? target[i] : 0;
        const double sample = read_weight(&call->sample_weight,
                                          offsets[FS_AT_SAMPLE_WEIGHT] + i * step);
        const double weight = class_weight ? sample * class_weight[class] : sample;
        factors->sample[i] = counts ? sample : 0.0;
        factors->weight[i] = counts ? weight : 0.0;
    }
}

static void read_factors(const fs_call *call, const fs_layout *layout, const int64_t *offsets,
                         int64_t count, double divisor, const int64_t *target,
                         fs_sample_factors *factors)
{
    const int64_t step = fs_layout_step(layout, FS_AT_GRAD_OUTPUT);
    for (int64_t i = 0; i < count; i++) {
        const double outer = read_weight(&call->grad_output,
                                         offsets[FS_AT_GRAD_OUTPUT] + i * step);
        const double factor = factors->weight[i] * outer / divisor;
        /* without a z-loss of no effect, neither on the range that the two have together */
        const double z_factor = call->z_loss == 0.0 ? factor : factors->sample[i] * outer / divisor;
        factors->factor[i] = target[i] < 0 ? 0.0 : factor;
        factors->z_factor[i] = target[i] < 0 ? 0.0 : z_factor;
    }
}

void fs_targets_tile(const fs_call *call, const fs_layout *layout, const int64_t *offsets,
                     int64_t count, double divisor, int with_class_weight, int64_t *target,
                     fs_sample_factors *factors)
{
    const int64_t grad_step = fs_layout_step(layout, FS_AT_GRAD_OUTPUT);
    const double *class_weight = with_class_weight && call->target.data ? call->weight : 0;
    read_targets(call, layout, offsets, count, divisor, target);
    if (!fs_is_weighted(call) && call->op != FS_CROSS_ENTROPY_GRAD && call->z_loss == 0.0)
        return; /* nobody asks for factors that are all one */
    if (!fs_is_weighted(call) && !(call->grad_output.data && grad_step)) { /* one for all */
        const double outer = read_weight(&call->grad_output, offsets[FS_AT_GRAD_OUTPUT]);
        const double factor = divisor == 0.0 ? 0.0 : outer / divisor;
        factors->one = factor;
        for (int64_t i = 0; i < count; i++)
            factors->factor[i] = factors->z_factor[i] = target[i] < 0 ? 0.0 : factor;
        for (int64_t i = 0; call->z_loss != 0.0 && i < count; i++)
            factors->weight[i] = factors->sample[i] = target[i] < 0 ? 0.0 : 1.0;
        return;
    }
    read_weights(call, layout, offsets, count, class_weight, target, factors);
    if (call->op == FS_CROSS_ENTROPY_GRAD)
        read_factors(call, layout, offsets, count, divisor == 0.0 ? 1.0 : divisor, target, factors);
}

enum { CHECKED = 256 }; /* labels at a time */

/* How many of the labels count, and whether one is bad; no branch, so that it runs in vectors. */
static int64_t count_labels(const fs_call *call, const int64_t *label, int64_t count, int *any_bad)
{
    const int64_t ignored = call->ignore_index, has_ignore = call->has_ignore;
    int64_t counted = 0, bad = 0;
    *any_bad = 0;
    if (all_count(call, label, count))
        return count;
    for (int64_t i = 0; i < count; i++) {
        const int64_t counts = !(has_ignore & (label[i] == ignored));
        counted += counts;
        bad |= counts & ((uint64_t)label[i] >= (uint64_t)call->n);
    }
    *any_bad = bad != 0;
    return counted;
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

static int divides_by_weights(const fs_call *call)
{
    return call->reduction == FS_MEAN && !call->has_normalizer;
}

enum { SUMS = 4 }; /* side by side, so that an addition need not wait for the last one */

/* Adds the weights of the counted labels from row on. Which sum takes a label depends on its place
 * in C order alone. */
static void add_weights(const fs_call *call, const char *sample, int64_t step, const int64_t *label,
                        int64_t row, int64_t count, wide *sums)
{
    const int64_t ignored = call->ignore_index, has_ignore = call->has_ignore;
    for (int64_t i = 0; i < count; i++) {
        const int64_t counts = !(has_ignore & (label[i] == ignored)), class = counts ? label[i] : 0;
        double w = sample ? *(const double *)(const void *)(sample + i * step) : 1.0;
        if (call->weight && call->n > 0)
            w *= call->weight[class];
        wide *sum = &sums[(row + i) % SUMS];
        const wide next = two_sum(sum->high, counts ? w : 0.0);
        *sum = wide_of(next.high, sum->low + next.low);
    }
}

fs_status fs_targets_check(const fs_call *call, const fs_layout *layout, fs_pace *pace,
                           fs_target_sums *sums)
{
    int64_t offsets[FS_ARRAYS], label[CHECKED], counted = 0;
    const int weighted = fs_is_weighted(call), averaged = divides_by_weights(call);
    const int64_t step = fs_layout_step(layout, FS_AT_TARGET);
    const int64_t sample_step = fs_layout_step(layout, FS_AT_SAMPLE_WEIGHT);
    const char *sample = call->sample_weight.data;
    const fs_status fine = {FS_OK, 0, 0}, interrupted = {FS_INTERRUPTED, 0, 0};
    wide sum[SUMS] = {{0.0, 0.0}};
    if (!call->target.data) { /* soft targets: the mean is over their number */
        sums->weight_sum = (double)layout->rows;
        return fine;
    }
    for (int64_t row = 0, count; row < layout->rows; row += count) {
        int any_bad;
        count = fs_layout_locate(layout, row, offsets);
        count = count < CHECKED ? count : CHECKED;
        const char *from = call->target.data + offsets[FS_AT_TARGET];
        if (!weighted && lie_as_read(call, from, step) &&
            all_count(call, (const int64_t *)(const void *)from, count)) {
            counted += count;
        } else {
        read_labels(call, from, step, count, label);
        counted += count_labels(call, label, count, &any_bad);
        if (any_bad)
            return bad_label(call, label, row);
        if (weighted && averaged)
            add_weights(call, sample ? sample + offsets[FS_AT_SAMPLE_WEIGHT] : 0, sample_step,
                        label, row, count, sum);
        }
        if (fs_pace_stops(pace, count))
            return interrupted;
    }
    const wide total = wide_add(wide_add(sum[0], sum[1]), wide_add(sum[2], sum[3]));
    sums->weight_sum = weighted ? wide_value(total) : (double)counted;
    return fine;
}

double fs_targets_divisor(const fs_call *call, const fs_target_sums *sums)
{
    if (call->reduction != FS_MEAN)
        return 1.0;
    return call->has_normalizer ? call->normalizer : sums->weight_sum;
}
