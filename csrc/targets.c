#include "targets.h"
#include "kernels/rows.h"
#include "labels.h"
#include "math/wide.h"
#include <string.h>

static double read_weight(const fs_array *array, int64_t offset)
{
    return array->data ? *(const double *)(const void *)(array->data + offset) : 1.0;
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
    fs_labels_read(call, call->target.data + offsets[FS_AT_TARGET],
                   fs_layout_step(layout, FS_AT_TARGET), count, target);
    if (!nothing && fs_labels_all_count(call, target, count))
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

void fs_targets_weights(const fs_call *call, const fs_layout *layout, const int64_t *offsets,
                        int64_t count, const double *class_weight, const int64_t *target, int all,
                        double *sample, double *weight)
{
    read_doubles(&call->sample_weight, offsets[FS_AT_SAMPLE_WEIGHT],
                 fs_layout_step(layout, FS_AT_SAMPLE_WEIGHT), count, sample);
    if (!class_weight)
        memcpy(weight, sample, (size_t)count * sizeof *weight);
    for (int64_t i = 0; class_weight && i < count; i++)
        weight[i] = sample[i] * class_weight[target[i] < 0 ? 0 : target[i]];
    if (all)
        return;
    clear_uncounted(count, target, sample);
    clear_uncounted(count, target, weight);
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
            factors->factor[i] = factors->z_factor[i] = target[i] < 0 ? 0.0 : factor;
        for (int64_t i = 0; with_z && i < count; i++)
            factors->weight[i] = factors->sample[i] = target[i] < 0 ? 0.0 : 1.0;
        return;
    }
    fs_targets_weights(call, layout, offsets, count, class_weight, target, all, factors->sample,
                       factors->weight);
    if (!grad)
        return;
    read_factors(call, layout, offsets, count, divisor == 0.0 ? 1.0 : divisor, factors);
    if (all) /* else 0 times an infinite grad_output */
        return;
    clear_uncounted(count, target, factors->factor);
    if (with_z)
        clear_uncounted(count, target, factors->z_factor);
}

double fs_targets_divisor(const fs_call *call, const fs_target_sums *sums)
{
    if (call->reduction != FS_MEAN)
        return 1.0;
    return call->has_normalizer ? call->normalizer : sums->weight_sum;
}
