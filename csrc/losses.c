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

/* Rounded once, where that can be seen: a call to fma() takes as long as the rest. A sample of
 * weight 0 costs nothing, as below. */
static double plus_z_term(const fs_plan *p, double loss, double sample, double z_term)
{
    if (sample == 0.0 && fabs(z_term) == INFINITY)
        return loss;
    if (p->call->dtype == FS_FLOAT32 || sample == 1.0)
        return loss + sample * z_term;
    return fma(sample, z_term, loss);
}

/* Weighs a tile's losses. 0 times an infinite loss is 0: a class or sample of weight 0 costs
 * nothing, while NaN still shows. (A row that is not counted has a loss of 0 already.) */
static void weigh_losses(const fs_plan *p, const fs_rows *rows, const fs_sample_factors *factors)
{
    const double z_loss = p->mixed ? 0.0 : p->call->z_loss, *weight = factors->weight;
    const int64_t weighted = fs_is_weighted(p->call) ? rows->rows : 0;
    const int64_t with_z = z_loss != 0.0 ? rows->rows : 0;
    const uint64_t infinite = bits_of(INFINITY);
    double *value = rows->value, product[FS_TILE];
    uint64_t odd = 0; /* the sign bit: a product is not finite */
    for (int64_t i = 0; i < weighted; i++) {
        product[i] = value[i] * weight[i];
        odd |= (bits_of(product[i]) & infinite) + (UINT64_C(1) << 52);
    }
    for (int64_t i = 0; odd >> 63 && i < weighted; i++)
        if (weight[i] == 0.0 && fabs(value[i]) == INFINITY)
            product[i] = 0.0;
    memcpy(value, product, (size_t)weighted * sizeof *value);
    for (int64_t i = 0; i < with_z; i++)
        value[i] = plus_z_term(p, value[i], factors->sample[i], rows->z_term[i]);
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

/* Adds a tile's losses to the sums of their chunks. */
static void sum_losses(fs_plan *p, int64_t row, const fs_rows *rows)
{
    set_huge_aside(p, row, rows);
    for (int64_t i = 0, count; i < rows->rows; i += count) {
        const int64_t chunk = (row + i) / p->chunk, number = row + i - chunk * p->chunk;
        count = at_most(rows->rows - i, p->chunk - number);
        fs_sums_add(p->kernels, &p->sums[chunk], number, rows->value + i, count);
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
        total = fs_sums_total(total, &p->sums[chunk]);
        huge = wide_add(huge, p->huge[chunk]);
    }
    const double divisor = fs_targets_divisor(call, targets), scale = huge.high ? HUGE_SCALE : 1.0;
    total = wide_add(wide_scale(total, scale), huge);
    call->loss = divisor == 0.0 ? NAN : mean_of(total, divisor) / scale;
}
