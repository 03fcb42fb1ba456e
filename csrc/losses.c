#include "losses.h"
#include <math.h>
#include <string.h>

#define HUGE_LOSS 0x1p+900
#define HUGE_SCALE 0x1p-200

void fs_store_value(fs_dtype dtype, char *to, double value)
{
    if (dtype == FS_FLOAT32)
        *(float *)(void *)to = (float)value;
    else
        *(double *)(void *)to = value;
}

void fs_take_values(const fs_plan *p, const fs_rows *rows, const int64_t *offsets)
{
    const int64_t step = fs_layout_step(&p->layout, FS_AT_VALUE);
    char *to = p->call->value.data + offsets[FS_AT_VALUE];
    if (p->call->dtype == FS_FLOAT32 && step == (int64_t)sizeof(float)) {
        float *value = (float *)(void *)to;
        for (int64_t i = 0; i < rows->rows; i++)
            value[i] = (float)rows->value[i];
        return;
    }
    for (int64_t i = 0; i < rows->rows; i++)
        fs_store_value(p->call->dtype, to + i * step, rows->value[i]);
}

/* 0 times an infinite loss is 0: a class or sample of weight 0 costs nothing, while NaN still
 * shows. */
static double weighed(double weight, double loss)
{
    return weight == 0.0 && loss == loss ? 0.0 : loss * weight;
}

/* Weighs a tile's losses. (A row that is not counted has a loss of 0 already.) */
static void weigh_losses(const fs_plan *p, const fs_rows *rows, const fs_sample_factors *factors)
{
    const double z_loss = p->mixed ? 0.0 : p->call->z_loss;
    if (!fs_is_weighted(p->call) && z_loss == 0.0)
        return;
    for (int64_t i = 0; i < rows->rows; i++) {
        const double loss = weighed(factors->weight[i], rows->value[i]), sample = factors->sample[i];
        rows->value[i] = loss;
        if (z_loss != 0.0)
            rows->value[i] = sample == 0.0 ? loss + weighed(sample, rows->z_term[i])
                                           : fma(sample, rows->z_term[i], loss);
    }
}

/* Losses so large that their sum may overflow where their mean does not go to a sum of their own.
 * (Those of float32 are summed in float64: theirs cannot.) */
static void set_huge_aside(fs_plan *p, int64_t row, const fs_rows *rows)
{
    const uint64_t no_sign = ~(UINT64_C(1) << 63);
    uint64_t huge_bits, bits, above = 0;
    const double huge_loss = HUGE_LOSS;
    if (p->call->dtype == FS_FLOAT32)
        return;
    memcpy(&huge_bits, &huge_loss, sizeof huge_bits);
    for (int64_t i = 0; i < rows->rows; i++) { /* as numbers of bits: a maximum would be a chain */
        memcpy(&bits, &rows->value[i], sizeof bits);
        above |= huge_bits - (bits & no_sign);
    }
    if (!(above >> 63))
        return;
    for (int64_t i = 0; i < rows->rows; i++) {
        const double loss = rows->value[i];
        wide *huge = &p->huge[(row + i) / p->chunk];
        if (fabs(loss) > HUGE_LOSS && loss - loss == 0) {
            *huge = wide_add(*huge, wide_of(loss * HUGE_SCALE, 0.0));
            rows->value[i] = 0.0;
        }
    }
}

static void add_loss(double loss, int64_t at, fs_loss_sums *sums)
{
    const wide next = two_sum(sums->high[at], loss);
    sums->high[at] = next.high;
    sums->low[at] += next.low;
}

/* Adds losses, each with its rounding error. Which sum takes one depends on its number in the chunk
 * alone. */
static void add_losses(const fs_plan *p, const double *loss, int64_t number, int64_t count,
                       fs_loss_sums *sums)
{
    while (count > 0) {
        const int64_t whole = number % FS_SUMS == 0 ? count / FS_SUMS * FS_SUMS : 0;
        const int64_t step = p->kernels->add_values && whole > 0 ? whole : 1;
        if (step > 1)
            p->kernels->add_values(loss, whole, sums->high, sums->low);
        else
            add_loss(*loss, number % FS_SUMS, sums);
        loss += step;
        number += step;
        count -= step;
    }
}

/* Adds a tile's losses to the sums of their chunks. */
static void sum_losses(fs_plan *p, int64_t row, const fs_rows *rows)
{
    set_huge_aside(p, row, rows);
    for (int64_t i = 0, count; i < rows->rows; i += count) {
        const int64_t chunk = (row + i) / p->chunk, number = row + i - chunk * p->chunk;
        count = at_most(rows->rows - i, p->chunk - number);
        add_losses(p, rows->value + i, number, count, &p->sums[chunk]);
    }
}

void fs_take_losses(fs_plan *p, int64_t row, const fs_rows *rows,
                    const fs_sample_factors *factors, const int64_t *offsets)
{
    weigh_losses(p, rows, factors);
    if (p->call->reduction != FS_NONE)
        sum_losses(p, row, rows);
    else if (p->call->value.data)
        fs_take_values(p, rows, offsets);
}

/* Rounded once: a sum rounded first would be another half ULP off. */
static double mean_of(wide total, double divisor)
{
    const double mean = total.high / divisor;
    const double rest = (fma(-mean, divisor, total.high) + total.low) / divisor;
    return mean - mean == 0 && rest - rest == 0 ? mean + rest : mean;
}

void fs_finish_loss(fs_call *call, const fs_plan *p, const fs_target_sums *targets)
{
    wide total = {0.0, 0.0}, huge = {0.0, 0.0};
    for (int64_t chunk = 0; fs_is_loss(call->op) && chunk < p->chunks; chunk++) {
        for (int k = 0; k < FS_SUMS; k++)
            total = wide_add(total, wide_of(p->sums[chunk].high[k], p->sums[chunk].low[k]));
        huge = wide_add(huge, p->huge[chunk]);
    }
    const double divisor = fs_targets_divisor(call, targets), scale = huge.high ? HUGE_SCALE : 1.0;
    total = wide_add(wide_scale(total, scale), huge);
    call->loss = divisor == 0.0 ? NAN : mean_of(total, divisor) / scale;
}
