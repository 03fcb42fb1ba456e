/* A block of a row reduced to a state that merges: the monoid under every op.
 *
 *   state = (max, K, S, pivot):  S 2^(K - HEADROOM) = sum of e^x over the elements but the pivot
 *
 * The pivot is left out of the sum and of K: K belongs to the largest of the others, so that their
 * sum keeps its digits however far the pivot stands above them. A block begins where n alone says,
 * so a row's bits depend on nothing else; K does not enter them, since scaling by 2^K is exact.
 * Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv 1805.02867.
 */

/* Processors do not fetch beyond the end of a page by themselves, and rows do not end with pages.
 * What is two blocks on is fetched, since a block's maximum is wanted before its exponentials; in
 * loops that write long rows one block, which leaves the bandwidth to them. (The loss of 32,000
 * classes from the third-level cache in 0.92, of 100,000 from memory in 0.72 of the time with half
 * a block; softmax of 100,000 in 0.9 of that with two blocks.) */
#define BLOCK_BYTES (BLOCK * (int)sizeof(real))

typedef struct {
    real max; /* of all elements, the pivot too */
    int64_t K;
    wide sum;
    wide_exp pivot;      /* e^pivot where the pivot may still return to the sum, else 0 */
    int64_t pivot_index; /* in the row, or NO_PIVOT */
} row_state;

FS_INLINE v_t without_lane(v_t a, int64_t lane)
{
    real lanes[V_LANES];
    v_store(lanes, a);
    lanes[lane] = 0;
    return v_load(lanes);
}

/* A block that is shorter than a group: zeros stand where there is no element and where the pivot
 * is. */
FS_ONCE void short_block(const real *x, int64_t n, int64_t pivot, real shift,
                         const exp_scale *scale, real *out, term_sums *columns)
{
    const v_t shifts = v_set1(shift), none = v_set1((real)-INFINITY);
    for (int q = 0; q < VECTORS; q++)
        for (int i = 0; i < 4; i++) {
            const int64_t at = q * V_LANES + i * COLUMNS, left = n - at;
            if (left <= 0)
                break;
            v_t t = left >= V_LANES ? v_load(x + at) : v_load_part(x + at, left, none);
            exp_parts e = exp_parted(v_sub(t, shifts), scale);
            t = exp_joined(e);
            if (out && left >= V_LANES)
                v_store(out + at, t);
            else if (out)
                v_store_part(out + at, t, left);
            if (pivot >= at && pivot < at + V_LANES) {
                t = without_lane(t, pivot - at);
                e.power = without_lane(e.power, pivot - at);
            }
            terms_add(&columns[q], e, t);
        }
}

/* Groups that are read from a copy: that of the pivot, with -inf in its place, and one that is cut
 * short by the end of the block, filled up with -inf. e^-inf is 0 and adds nothing, so a block is
 * one loop over whole groups. (Tried before: a loop that stops at each odd group and goes on after
 * it; the ends of loops whose length changes from row to row are mispredicted.) */
typedef struct {
    FS_ALIGNED real with_pivot[GROUP], at_end[GROUP], terms[GROUP], unused[GROUP];
    int64_t pivot, last; /* where these groups begin, or -1 */
} odd_groups;

FS_INLINE void copy_odd_groups(const real *x, int64_t n, int64_t pivot, odd_groups *odd)
{
    const v_t none = v_set1((real)-INFINITY);
    const int64_t whole = n - n % GROUP;
    odd->pivot = pivot >= 0 && pivot < whole ? pivot - pivot % GROUP : -1;
    odd->last = whole < n ? whole : -1;
    if (odd->last >= 0)
        for (int64_t j = 0; j < GROUP; j += V_LANES)
            v_store(odd->at_end + j, load_up_to(x + whole + j, n - whole - j, none));
    if (odd->pivot >= 0) {
        for (int64_t j = 0; j < GROUP; j += V_LANES)
            v_store(odd->with_pivot + j, v_load(x + odd->pivot + j));
        odd->with_pivot[pivot - odd->pivot] = (real)-INFINITY;
    } else if (pivot >= 0) {
        odd->at_end[pivot - whole] = (real)-INFINITY;
    }
}

/* Where registers are many and a group is four vectors, it is begun beside the end of the group
 * before: what enters the processor's window has its operands ready, and more of it is under way.
 * (AVX-512: 11% less time a block, 26% where terms are stored.) */
#define BEGINS_AHEAD (VECTORS == 1)

/* term times a factor of two numbers. */
FS_INLINE v_t times_factor(v_t term, v_t high, v_t low)
{
    return v_fma(term, high, v_mul(term, low));
}

/* A row before, whose results are written beside the exponentials of this one: loads and stores,
 * and two operations a vector, in a loop that waits for its arithmetic. (AVX-512: 6 to 13% less for
 * softmax and gradients, 15% for log_softmax, of rows of one block that lie in the second-level
 * cache. Before groups were begun ahead it gave nothing.) */
typedef struct {
    const real *from; /* the terms of softmax and of gradients, the logits of log_softmax */
    real *y;
    real high, low;  /* the factor; or minus the logsumexp */
    int64_t written; /* elements: whole groups */
} late_row;

typedef enum { LATE_NOTHING, LATE_TERMS, LATE_LOGS } late_kind; /* known to the compiler */

/* x - logsumexp, of which minus is given as two numbers. */
FS_INLINE v_t minus_logsumexp(v_t x, v_t high, v_t low)
{
    return v_add(v_add(x, high), low);
}

FS_INLINE v_t late_result(late_kind kind, v_t t, v_t high, v_t low)
{
    return kind == LATE_LOGS ? minus_logsumexp(t, high, low) : times_factor(t, high, low);
}

FS_INLINE void write_late_group(late_kind kind, const late_row *late, int64_t j, odd_groups *odd)
{
    const v_t high = v_set1(late->high), low = v_set1(late->low);
    const real *from = j == odd->last ? odd->at_end : late->from + j;
    real *to = j == odd->last ? odd->unused : late->y + j;
    for (int i = 0; i < GROUP; i += V_LANES)
        v_store(to + i, late_result(kind, v_load(from + i), high, low));
}

/* What of a row of n has not been written: its end, which is no whole group. */
FS_INLINE void write_late_end(late_kind kind, const late_row *late, int64_t n)
{
    const v_t high = v_set1(late->high), low = v_set1(late->low), zero = v_set1(0);
    int64_t j = late->written;
    for (; j + V_LANES <= n; j += V_LANES)
        v_store(late->y + j, late_result(kind, v_load(late->from + j), high, low));
    if (j < n)
        v_store_part(late->y + j,
                     late_result(kind, v_load_part(late->from + j, n - j, zero), high, low), n - j);
}

/* The logits of a column set of the group at j. */
FS_INLINE exp_begun begin_vectors(const real *x, int64_t j, int q, real shift,
                                  const exp_scale *scale, const odd_groups *odd)
{
    const v_t shifts = v_set1(shift);
    const real *from = j == odd->pivot ? odd->with_pivot : x + j;
    v_t logits[4];
    from = j == odd->last ? odd->at_end : from;
    for (int i = 0; i < 4; i++) {
        logits[i] = v_load(from + q * V_LANES + i * COLUMNS);
        if (shift != 0)
            logits[i] = v_sub(logits[i], shifts);
    }
    return exp_begin4(logits, scale);
}

/* The loop that the time is spent in. */
FS_INLINE void groups_loop(const real *x, int64_t n, real shift, const exp_scale *scale, real *out,
                           odd_groups *odd, late_kind kind, const late_row *before,
                           term_sums *total)
{
    const late_row late = kind ? *before : (late_row){0}; /* in registers, as the scale */
    const exp_scale local = *scale; /* in registers: stores to out might alias these */
    const uintptr_t ahead = out && !kind ? BLOCK_BYTES : 2 * BLOCK_BYTES;
    term_sums columns[VECTORS];
    for (int q = 0; q < VECTORS; q++)
        columns[q] = total[q];
    exp_begun begun = begin_vectors(x, 0, 0, shift, &local, odd);
    for (int64_t j = 0; j < n; j += GROUP) {
        const int64_t next = j + GROUP < n ? j + GROUP : j;
        real *to = !out || j == odd->last ? odd->terms : out + j;
        for (int i = 0; i < 4; i++) /* by number: there need not be an element */
            FS_PREFETCH((uintptr_t)(x + j + i * COLUMNS) + ahead);
        for (int q = 0; q < VECTORS; q++) {
            exp_parts e[4];
            const exp_begun now = BEGINS_AHEAD ? begun : begin_vectors(x, j, q, shift, &local, odd);
            if (BEGINS_AHEAD)
                begun = begin_vectors(x, next, q, shift, &local, odd);
            exp_end4(now, e);
            for (int i = 0; i < 4; i++) {
                const v_t term = exp_joined(e[i]);
                if (out)
                    v_store(to + q * V_LANES + i * COLUMNS, term);
                terms_add(&columns[q], e[i], term);
            }
        }
        if (kind)
            write_late_group(kind, &late, j, odd);
    }
    for (int q = 0; q < VECTORS; q++)
        total[q] = columns[q];
}

/* A block of a group at least, by a loop for each of its cases. */
FS_ONCE void whole_groups(const real *x, int64_t n, int64_t pivot, real shift,
                          const exp_scale *scale, real *out, late_row *late, term_sums *columns)
{
    odd_groups odd;
    const int64_t all = n, tail = n % GROUP;
    /* a tail of few vectors is cheaper by itself: 2 to 5% */
    if (tail <= 2 * V_LANES * VECTORS)
        n -= tail;
    copy_odd_groups(x, n, pivot < n ? pivot : -1, &odd);
    const int beside = BEGINS_AHEAD && shift == 0 && late;
    if (beside && out)
        groups_loop(x, n, 0, scale, out, &odd, LATE_TERMS, late, columns);
    else if (beside)
        groups_loop(x, n, 0, scale, 0, &odd, LATE_LOGS, late, columns);
    else if (shift == 0 && out)
        groups_loop(x, n, 0, scale, out, &odd, LATE_NOTHING, 0, columns);
    else if (shift == 0)
        groups_loop(x, n, 0, scale, 0, &odd, LATE_NOTHING, 0, columns);
    else
        groups_loop(x, n, shift, scale, out, &odd, LATE_NOTHING, 0, columns);
    if (beside)
        late->written = n - n % GROUP;
    if (n < all)
        short_block(x + n, all - n, pivot - n, shift, scale, out ? out + n : 0, columns);
    if (out && odd.last >= 0)
        for (int64_t j = odd.last; j < n; j += V_LANES) {
            const v_t terms = v_load(odd.terms + (j - odd.last));
            if (n - j >= V_LANES)
                v_store(out + j, terms);
            else
                v_store_part(out + j, terms, n - j);
        }
}

/* The state of one block; its terms go to out where that is given (the pivot's is then of no use).
 * shift: subtracted from every logit first (0, or the row's maximum where logits are huge). */
FS_INLINE row_state block_state(const real *x, int64_t n, const extremes *e, real shift, real *out,
                                late_row *late)
{
    row_state state = {e->max, binary_exponent(e->max_of_others - shift), {0.0, 0.0},
                       {{0.0, 0.0}, 0}, e->pivot};
    const exp_scale scale = exp_scale_for(state.K);
    term_sums columns[VECTORS];
    terms_clear(columns);
    if (n < GROUP)
        short_block(x, n, e->pivot, shift, &scale, out, columns);
    else
        whole_groups(x, n, e->pivot, shift, &scale, out, late, columns);
    state.sum = terms_total(columns);
    return state;
}
