/* The largest logits of a block: what decides about its scale, and which is left out of its sum. */

#define NO_PIVOT (-1)

/* NaN is passed over here; it shows in the sum. */
FS_SHARED real block_max(const real *x, int64_t n)
{
    const v_t none = v_set1((real)-INFINITY);
    v_t a = none, b = none, c = none, d = none;
    int64_t j = 0;
    for (; j + 4 * V_LANES <= n; j += 4 * V_LANES) {
        a = v_max(v_load(x + j), a);
        b = v_max(v_load(x + j + V_LANES), b);
        c = v_max(v_load(x + j + 2 * V_LANES), c);
        d = v_max(v_load(x + j + 3 * V_LANES), d);
    }
    for (; j + V_LANES <= n; j += V_LANES)
        a = v_max(v_load(x + j), a);
    if (j < n)
        b = v_max(v_load_part(x + j, n - j, none), b);
    return v_hmax(v_max(v_max(a, b), v_max(c, d)));
}

/* The first position of a value that the block holds. */
FS_INLINE int64_t block_find(const real *x, int64_t n, real value)
{
    const v_t wanted = v_set1(value);
    int64_t j = 0;
    for (; j + 4 * V_LANES <= n; j += 4 * V_LANES)
        if (v_eq_bits(v_load(x + j), wanted) | v_eq_bits(v_load(x + j + V_LANES), wanted) |
            v_eq_bits(v_load(x + j + 2 * V_LANES), wanted) |
            v_eq_bits(v_load(x + j + 3 * V_LANES), wanted))
            break;
    for (; j + V_LANES <= n; j += V_LANES) {
        const uint32_t bits = v_eq_bits(v_load(x + j), wanted);
        if (bits)
            return j + fs_lowest_bit(bits);
    }
    if (j < n) {
        const uint32_t bits = v_eq_bits(v_load_part(x + j, n - j, v_set1((real)NAN)), wanted);
        if (bits)
            return j + fs_lowest_bit(bits);
    }
    return NO_PIVOT; /* a block of NaN */
}

/* The logits that decide about a block. */
typedef struct {
    real max, max_of_others; /* of all; of all but the pivot */
    int64_t pivot;           /* in the block, or NO_PIVOT */
} extremes;

FS_INLINE real max_without(const real *x, int64_t n, int64_t pivot)
{
    const real before = block_max(x, pivot), after = block_max(x + pivot + 1, n - pivot - 1);
    return before > after ? before : after;
}

/* A pivot at a given index. Only where it is the largest are the others gone through again: loops
 * whose length changes from row to row cost more in mispredicted branches than they do. */
FS_INLINE extremes extremes_with_pivot(const real *x, int64_t n, int64_t pivot)
{
    const real max = block_max(x, n);
    const extremes e = {max, x[pivot] < max ? max : max_without(x, n, pivot), pivot};
    return e;
}

/* The pivot is the first of the largest. (Tried: the largest two of each lane in one loop, 10%
 * slower at n = 1000 than this.) */
FS_INLINE extremes extremes_with_max(const real *x, int64_t n)
{
    const real max = block_max(x, n);
    const int64_t pivot = block_find(x, n, max);
    const extremes e = {max, pivot < 0 ? max : max_without(x, n, pivot), pivot};
    return e;
}

FS_INLINE extremes extremes_without_pivot(const real *x, int64_t n)
{
    extremes e;
    e.pivot = NO_PIVOT;
    e.max = e.max_of_others = block_max(x, n);
    return e;
}
