#include "targets.h"
#include "math/wide.h"

#define READ(type)                                                                                 \
    for (int64_t i = 0; i < count; i++)                                                            \
        label[i] = (int64_t)*(const type *)(const void *)(from + i * step);                        \
    break

/* Labels of any integer dtype as int64. A uint64 beyond int64 becomes negative: out of range too. */
static void read_labels(const fs_call *call, const char *from, int64_t step, int64_t count,
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

static int is_ignored(const fs_call *call, int64_t label)
{
    return call->has_ignore && label == call->ignore_index;
}

static double read_weight(const fs_array *array, int64_t offset)
{
    return array->data ? *(const double *)(const void *)(array->data + offset) : 1.0;
}

void fs_targets_tile(const fs_call *call, const fs_layout *layout, const int64_t *offsets,
                     int64_t count, double divisor, int with_class_weight, int64_t *target,
                     fs_sample_factors *factors)
{
    const int64_t sample_step = fs_layout_step(layout, FS_AT_SAMPLE_WEIGHT);
    const int64_t grad_step = fs_layout_step(layout, FS_AT_GRAD_OUTPUT);
    const int hard = call->target.data != 0;
    if (hard)
        read_labels(call, call->target.data + offsets[FS_AT_TARGET],
                    fs_layout_step(layout, FS_AT_TARGET), count, target);
    for (int64_t i = 0; i < count; i++) {
        if (!hard)
            target[i] = 0;
        if (divisor == 0.0 || (hard && (is_ignored(call, target[i]) || target[i] < 0 ||
                                        target[i] >= call->n))) {
            target[i] = -1;
            factors->weight[i] = factors->sample[i] = 0.0;
            factors->factor[i] = factors->z_factor[i] = 0.0;
            continue;
        }
        const double sample = read_weight(&call->sample_weight,
                                          offsets[FS_AT_SAMPLE_WEIGHT] + i * sample_step);
        const double class_weight =
            hard && with_class_weight && call->weight ? call->weight[target[i]] : 1.0;
        const double outer = read_weight(&call->grad_output,
                                         offsets[FS_AT_GRAD_OUTPUT] + i * grad_step);
        factors->sample[i] = sample;
        factors->weight[i] = sample * class_weight;
        factors->factor[i] = divisor == 0.0 ? 0.0 : sample * class_weight * outer / divisor;
        factors->z_factor[i] = divisor == 0.0 ? 0.0 : sample * outer / divisor;
    }
}

fs_status fs_targets_check(const fs_call *call, const fs_layout *layout, fs_target_sums *sums)
{
    enum { TILE = 256 };
    int64_t offsets[FS_ARRAYS], label[TILE], counted = 0;
    const int weighted = call->weight || call->sample_weight.data;
    const int64_t step = fs_layout_step(layout, FS_AT_TARGET);
    const int64_t sample_step = fs_layout_step(layout, FS_AT_SAMPLE_WEIGHT);
    fs_status status = {FS_OK, 0, 0};
    wide sum = {0.0, 0.0};
    if (!call->target.data) { /* soft targets: the mean is over their number */
        sums->weight_sum = (double)layout->rows;
        return status;
    }
    for (int64_t row = 0; row < layout->rows;) {
        int64_t count = fs_layout_locate(layout, row, offsets);
        count = count < TILE ? count : TILE;
        read_labels(call, call->target.data + offsets[FS_AT_TARGET], step, count, label);
        for (int64_t i = 0; i < count; i++) {
            if (is_ignored(call, label[i]))
                continue;
            if (label[i] < 0 || label[i] >= call->n) {
                status.error = FS_BAD_LABEL;
                status.position = row + i;
                status.value = label[i];
                return status;
            }
            counted++;
            if (!weighted)
                continue;
            double w = read_weight(&call->sample_weight,
                                   offsets[FS_AT_SAMPLE_WEIGHT] + i * sample_step);
            if (call->weight)
                w *= call->weight[label[i]];
            sum = wide_add(sum, wide_of(w, 0.0));
        }
        row += count;
    }
    sums->weight_sum = weighted ? sum.high + sum.low : (double)counted;
    return status;
}

double fs_targets_divisor(const fs_call *call, const fs_target_sums *sums)
{
    if (call->reduction != FS_MEAN)
        return 1.0;
    return call->has_normalizer ? call->normalizer : sums->weight_sum;
}
