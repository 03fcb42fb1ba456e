#include "plan.h"
#include "recycle.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

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

/* The power of two that leaves the largest weight of size 1 to 2, whatever they are measured in.
 * Sizes are compared as bits: a chain of one cycle a weight. */
static int weight_exponent(fs_plan *p)
{
    const uint64_t infinite = UINT64_C(0x7ff0000000000000);
    uint64_t largest = 0;
    for (int64_t j = 0, end; (end = next_stop(p, j)) > j;)
        for (; j < end; j++) {
            const uint64_t size = bits_of(p->call->weight[j]) << 1 >> 1;
            const uint64_t number = size > infinite ? 0 : size; /* not NaN */
            largest = number > largest ? number : largest;
        }
    return largest > 0 && largest != infinite ? ilogb(of_bits(largest)) : 0;
}

/* As float32, what that loses behind; returns whether it loses anything. */
static int narrow(const double *weight, int64_t count, float *high, float *low)
{
    uint64_t lost = 0;
    for (int64_t i = 0; i < count; i++) {
        const double rest = weight[i] - (double)(float)weight[i];
        high[i] = (float)weight[i];
        low[i] = (float)rest;
        lost |= bits_of(rest);
    }
    return lost << 1 != 0;
}

/* Class weights begin to end - 1 from float64 to the copy, and to their sum. */
static void copy_weights(fs_plan *p, int64_t begin, int64_t end, fs_sums *sums)
{
    enum { PART = 256 };
    double part[PART], *doubles = p->class_weight;
    float *high = p->class_weight, *low = high + p->call->n;
    for (int64_t j = begin, count; j < end; j += count) {
        count = at_most(PART, end - j);
        for (int64_t i = 0; i < count; i++)
            part[i] = p->call->weight[j + i] / p->weight_scale;
        if (p->size == 8)
            memcpy(doubles + j, part, (size_t)count * sizeof *part);
        else if (narrow(part, count, high + j, low + j))
            p->class_weight_low = low;
        fs_sums_add(p->kernels, sums, j, part, count);
    }
}

/* A mixed loss takes the class weights by vectors: a copy in the dtype of the logits. 0: no memory,
 * or the call has been ended. */
static int copy_class_weight(fs_plan *p)
{
    const fs_call *call = p->call;
    fs_sums sums = {{0.0}, {0.0}};
    p->class_weight = p->class_weight_low = 0;
    p->weight_total = (double)call->n;
    p->weight_scale = 1.0;
    if (!p->mixed || !call->weight)
        return 1;
    p->weight_scale = ldexp(1.0, weight_exponent(p));
    p->class_weight = take(for_class_weights(p));
    fs_pace_change(&p->pace);
    for (int64_t j = 0, end; p->class_weight && (end = next_stop(p, j)) > j; j = end)
        copy_weights(p, j, end, &sums);
    p->weight_total = wide_value(fs_sums_total(wide_of(0.0, 0.0), &sums));
    return p->class_weight && !p->pace.stopped;
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
