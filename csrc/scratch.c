#include "plan.h"
#include <math.h>
#include <stdlib.h>

/* The power of two that leaves the largest weight of size 1 to 2, whatever they are measured in. */
static int weight_exponent(const fs_call *call)
{
    double largest = 0.0;
    for (int64_t j = 0; j < call->n; j++)
        if (fabs(call->weight[j]) > largest)
            largest = fabs(call->weight[j]);
    return largest > 0.0 && largest - largest == 0 ? ilogb(largest) : 0;
}

/* A mixed loss takes the class weights by vectors: a copy in the dtype of the logits. */
static int copy_class_weight(fs_plan *p)
{
    const fs_call *call = p->call;
    wide total = {0.0, 0.0};
    p->class_weight = p->class_weight_low = 0;
    p->weight_total = (double)call->n;
    p->weight_scale = 1.0;
    if (!p->mixed || !call->weight)
        return 1;
    const int exponent = weight_exponent(call), single = call->dtype == FS_FLOAT32;
    p->weight_scale = ldexp(1.0, exponent);
    p->class_weight = malloc((size_t)(2 * call->n * p->size));
    char *low = p->class_weight ? (char *)p->class_weight + call->n * p->size : 0;
    for (int64_t j = 0; low && j < call->n; j++) {
        const double weight = ldexp(call->weight[j], -exponent);
        const double lost = single ? weight - (double)(float)weight : 0.0;
        fs_store_value(call->dtype, (char *)p->class_weight + j * p->size, weight);
        fs_store_value(call->dtype, low + j * p->size, lost);
        if (lost != 0.0)
            p->class_weight_low = low;
        total = wide_add(total, wide_of(weight, 0.0));
    }
    p->weight_total = total.high + total.low;
    return low != 0;
}

int fs_plan_allocate(fs_plan *p)
{
    p->scratch = 0;
    p->pieces.states = 0;
    p->tile_bytes = p->scratch_bytes = 0;
    if (!copy_class_weight(p))
        return 0;
    if (p->split) {
        p->pieces.states = malloc((size_t)p->pieces.pieces * sizeof(fs_piece));
        if (!p->pieces.states)
            return 0;
    }
    if (!p->gather_x && !p->gather_other && !p->gather_y && !p->cols)
        return 1;
    const int64_t n = p->call->n;
    const int64_t tile = p->cols ? fs_tile_elements(p->kernels, p->tile, n) : p->tile * n;
    /* whole cache lines, so that threads do not share one */
    p->tile_bytes = (size_t)(tile * p->size + 127) / 64 * 64;
    const int two = p->gather_other || (p->cols && p->call->other.data);
    p->scratch_bytes = p->tile_bytes * (two ? 2 : 1);
    p->scratch = malloc(p->scratch_bytes * (size_t)p->threads);
    return p->scratch != 0;
}

void fs_plan_free(fs_plan *p)
{
    free(p->scratch);
    free(p->class_weight);
    free(p->pieces.states);
}
