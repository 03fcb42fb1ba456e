/* The largest logits of a block: what decides about its scale, and which is left out of its sum. */

#define NO_PIVOT (-1)

/* Lane i holds the largest of elements i, i + LANES, i + 2 LANES ... NaN is passed over here; it
 * shows in the sum. */
#define LANES (4 * V_LANES)

typedef struct { v_t part[4]; } lane_maxima;

/* A vector of which `left` elements are there, if any are. */
FS_INLINE v_t load_up_to(const real *x, int64_t left, v_t none)
{
    return left >= V_LANES ? v_load(x) : left > 0 ? v_load_part(x, left, none) : none;
}

FS_INLINE lane_maxima maxima_and(v_t a, const real *x, int64_t n)
{
    const v_t none = v_set1((real)-INFINITY);
    v_t b = none, c = none, d = none;
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES) {
        a = v_max(v_load(x + j), a);
        b = v_max(v_load(x + j + V_LANES), b);
        c = v_max(v_load(x + j + 2 * V_LANES), c);
        d = v_max(v_load(x + j + 3 * V_LANES), d);
    }
    a = v_max(load_up_to(x + j, n - j, none), a);
    b = v_max(load_up_to(x + j + V_LANES, n - j - V_LANES, none), b);
    c = v_max(load_up_to(x + j + 2 * V_LANES, n - j - 2 * V_LANES, none), c);
    d = v_max(load_up_to(x + j + 3 * V_LANES, n - j - 3 * V_LANES, none), d);
    const lane_maxima m = {{a, b, c, d}};
    return m;
}

FS_INLINE lane_maxima maxima_of(const real *x, int64_t n)
{
    return maxima_and(v_set1((real)-INFINITY), x, n);
}

FS_INLINE real largest(const lane_maxima *m)
{
    return v_hmax(v_max(v_max(m->part[0], m->part[1]), v_max(m->part[2], m->part[3])));
}

/* Loads that straddle cache lines take twice as long, and here they are all there is: the rest is
 * read aligned, some elements twice. (softmax of 1000 classes, where every other row is unaligned: 3%.) */
FS_SHARED real block_max(const real *x, int64_t n)
{
    const int64_t over = (int64_t)((uintptr_t)x / sizeof(real) % V_LANES);
    const int64_t head = n >= V_LANES && over ? V_LANES - over : 0;
    const v_t first = load_up_to(x, n, v_set1((real)-INFINITY));
    const lane_maxima m = maxima_and(first, x + head, n - head);
    return largest(&m);
}

/* The logits that decide about a block. */
typedef struct {
    real max, max_of_others; /* of all; of all but the pivot */
    int64_t pivot;           /* in the block, or NO_PIVOT */
} extremes;

FS_INLINE real larger(real a, real b) { return a > b ? a : b; }

/* The first position of a value that the block holds. */
FS_SHARED int64_t block_find(const real *x, int64_t n, real value)
{
    const v_t wanted = v_set1(value), nan = v_set1((real)NAN);
    int64_t j = 0;
    for (; j + LANES <= n; j += LANES)
        if (v_eq_bits(v_load(x + j), wanted) | v_eq_bits(v_load(x + j + V_LANES), wanted) |
            v_eq_bits(v_load(x + j + 2 * V_LANES), wanted) |
            v_eq_bits(v_load(x + j + 3 * V_LANES), wanted))
            break;
    for (; j < n; j += V_LANES) {
        const uint32_t bits = v_eq_bits(load_up_to(x + j, n - j, nan), wanted);
        if (bits)
            return j + fs_lowest_bit(bits);
    }
    return NO_PIVOT; /* a block of NaN */
}

/* The pivot is the first of the largest, which one lane alone holds. Only that lane is gone
 * through: no branch that data decides. (Before: a search for the place, then the maxima of what is
 * in front of it and behind; 15 ns more at n = 1000. The largest two of each lane in the first loop
 * were slower still.) */
FS_INLINE extremes extremes_of_lane(const real *x, int64_t n, const lane_maxima *m, real max,
                                    int64_t lane)
{
    const v_t wanted = v_set1(max), none = v_set1((real)-INFINITY);
    lane_maxima others;
    for (int i = 0; i < 4; i++)
        others.part[i] = v_select(v_eq(m->part[i], wanted), none, m->part[i]);
    real first = (real)-INFINITY, second = (real)-INFINITY;
    int64_t place = lane;
    for (int64_t j = lane; j < n; j += LANES) {
        const real smaller = x[j] < first ? x[j] : first;
        place = x[j] > first ? j : place;
        first = larger(x[j], first);
        second = larger(smaller, second);
    }
    const extremes e = {max, larger(largest(&others), second), place};
    return e;
}

FS_ONCE extremes extremes_of_maxima(const real *x, int64_t n, const lane_maxima *m, real max)
{
    const v_t wanted = v_set1(max);
    uint64_t bits = 0;
    for (int i = 0; i < 4; i++)
        bits |= (uint64_t)v_eq_bits(m->part[i], wanted) << (i * V_LANES);
    if (bits & (bits - 1)) { /* several lanes hold it */
        const extremes e = {max, max, block_find(x, n, max)};
        return e;
    }
    const uint32_t low = (uint32_t)bits;
    return extremes_of_lane(x, n, m, max, low ? fs_lowest_bit(low)
                                              : 32 + fs_lowest_bit((uint32_t)(bits >> 32)));
}

/* The first step of the two: the largest of each lane, and of all. */
FS_ONCE real lanes_and_max(const real *x, int64_t n, lane_maxima *lanes)
{
    *lanes = maxima_of(x, n);
    return largest(lanes);
}

FS_SHARED extremes extremes_with_max(const real *x, int64_t n)
{
    lane_maxima lanes;
    const real max = lanes_and_max(x, n, &lanes);
    return extremes_of_maxima(x, n, &lanes, max);
}

/* A pivot at a given index. Only where it is the largest are the others gone through again: loops
 * whose length changes from row to row cost more in mispredicted branches than they do. */
FS_SHARED extremes extremes_with_pivot(const real *x, int64_t n, int64_t pivot)
{
    extremes e = {block_max(x, n), 0, pivot};
    e.max_of_others = e.max;
    if (!(x[pivot] < e.max))
        e.max_of_others = larger(block_max(x, pivot), block_max(x + pivot + 1, n - pivot - 1));
    return e;
}

FS_INLINE extremes extremes_without_pivot(const real *x, int64_t n)
{
    extremes e;
    e.pivot = NO_PIVOT;
    e.max = e.max_of_others = block_max(x, n);
    return e;
}
