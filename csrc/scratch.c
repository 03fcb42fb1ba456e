#include "plan.h"
#include "recycle.h"
#include <math.h>
#include <stdlib.h>

/* Large pieces are recycled: from the system a gigabyte of small pages takes a tenth of a second to
 * give back alone, and nobody answers Ctrl-C meanwhile. */
static void *take(size_t size)
{
    return size < FS_RECYCLE_LEAST ? malloc(size) : fs_recycle_malloc(0, size);
}

static void give_back(void *data, size_t size)
{
    if (size < FS_RECYCLE_LEAST)
        free(data);
    else if (data)
        fs_recycle_free(0, data, size);
}

/* Bytes. */
static size_t for_class_weights(const fs_plan *p) { return (size_t)(2 * p->call->n * p->size); }
static size_t for_results(const fs_plan *p) { return (size_t)p->pieces.count * sizeof(fs_piece); }
static size_t for_tiles(const fs_plan *p) { return p->scratch_bytes * (size_t)p->threads; }

/* How far to go before the next question; `from` itself where the call is to end. */
static int64_t next_stop(fs_plan *p, int64_t from)
{
    enum { SLICE = 1 << 16 };
    return fs_pace_stops(&p->pace, SLICE) ? from : at_most(from + SLICE, p->call->n);
}

/* The power of two that leaves the largest weight of size 1 to 2, whatever they are measured in. */
static int weight_exponent(fs_plan *p)
{
    const double *weight = p->call->weight;
    double largest = 0.0;
    for (int64_t j = 0, end; (end = next_stop(p, j)) > j;)
        for (; j < end; j++)
            if (fabs(weight[j]) > largest)
                largest = fabs(weight[j]);
    return largest > 0.0 && largest - largest == 0 ? ilogb(largest) : 0;
}

/* One class weight from float64: to the copy, what float32 loses of it behind, and to the sum. */
static void copy_weight(fs_plan *p, int64_t j, char *low, int exponent, wide *total)
{
    const double weight = ldexp(p->call->weight[j], -exponent);
    const double lost = p->size == 4 ? weight - (double)(float)weight : 0.0;
    fs_store_value(p->call->dtype, (char *)p->class_weight + j * p->size, weight);
    fs_store_value(p->call->dtype, low + j * p->size, lost);
    if (lost != 0.0)
        p->class_weight_low = low;
    *total = wide_add(*total, wide_of(weight, 0.0));
}

/* A mixed loss takes the class weights by vectors: a copy in the dtype of the logits. 0: no memory,
 * or the call has been ended. */
static int copy_class_weight(fs_plan *p)
{
    const fs_call *call = p->call;
    wide total = {0.0, 0.0};
    p->class_weight = p->class_weight_low = 0;
    p->weight_total = (double)call->n;
    p->weight_scale = 1.0;
    if (!p->mixed || !call->weight)
        return 1;
    const int exponent = weight_exponent(p);
    p->weight_scale = ldexp(1.0, exponent);
    p->class_weight = take(for_class_weights(p));
    char *low = p->class_weight ? (char *)p->class_weight + call->n * p->size : 0;
    fs_pace_change(&p->pace);
    for (int64_t j = 0, end; low && (end = next_stop(p, j)) > j;)
        for (; j < end; j++)
            copy_weight(p, j, low, exponent, &total);
    p->weight_total = total.high + total.low;
    return low && !p->pace.stopped;
}

int fs_plan_allocate(fs_plan *p)
{
    p->scratch = 0;
    p->pieces.results = 0;
    p->tile_bytes = p->scratch_bytes = 0;
    if (!copy_class_weight(p))
        return 0;
    if (p->split) {
        p->pieces.results = take(for_results(p));
        if (!p->pieces.results)
            return 0;
    }
    if (!p->gather_x && !p->gather_other && !p->gather_y && !p->cols && !p->across)
        return 1;
    const int64_t n = p->call->n;
    const int64_t tile = p->across ? fs_across_elements(p->kernels, n)
                         : p->cols ? fs_tile_elements(p->kernels, p->tile, n)
                                   : p->tile * n;
    /* whole cache lines, so that threads do not share one */
    p->tile_bytes = (size_t)(tile * p->size + 127) / 64 * 64;
    const int two = p->gather_other || (p->cols && p->call->other.data);
    p->scratch_bytes = p->tile_bytes * (two ? 2 : 1);
    p->scratch = take(for_tiles(p));
    return p->scratch != 0;
}

void fs_plan_free(fs_plan *p)
{
    give_back(p->scratch, for_tiles(p));
    give_back(p->class_weight, for_class_weights(p));
    give_back(p->pieces.results, for_results(p));
}
