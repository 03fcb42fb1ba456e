/* A whole row reduced to its state: blocks merged in order, pieces of 2^16 elements merged in
 * order, so that a huge row gives the same bits whether one thread reduces its pieces or several.
 */

#define PIECE 65536

typedef enum {
    PIVOT_NONE, /* every element is summed */
    PIVOT_MAX,  /* the first of the largest is left out */
    PIVOT_INDEX /* the element at a given index is left out */
} pivot_rule;

typedef struct {
    pivot_rule rule;
    int64_t index;
    real shift;
    real *out;          /* where the terms go, or 0 */
    int64_t *exponents; /* where the K of each block goes, with out */
} sweep_plan;

/* Joins the state of the elements after a's. Where the rule is PIVOT_MAX the larger pivot stays
 * left out and the other returns to the sum; otherwise both pivots are 0. */
FS_INLINE row_state merge(row_state a, row_state b)
{
    row_state joined = a;
    joined.K = a.K > b.K ? a.K : b.K;
    const double scale_a = power_of_two(a.K - joined.K), scale_b = power_of_two(b.K - joined.K);
    const double pivot_a = a.pivot * scale_a, pivot_b = b.pivot * scale_b;
    const int later = b.max > a.max;
    joined.max = later ? b.max : a.max;
    joined.pivot = later ? pivot_b : pivot_a;
    joined.sum = wide_add(wide_scale(a.sum, scale_a), wide_scale(b.sum, scale_b));
    joined.sum = wide_add(joined.sum, wide_of(later ? pivot_a : pivot_b, 0.0));
    return joined;
}

FS_SHARED row_state sweep_block(const real *x, int64_t begin, int64_t n, real max,
                                const sweep_plan *plan)
{
    int64_t pivot = NO_PIVOT;
    if (plan->rule == PIVOT_MAX)
        pivot = block_find(x + begin, n, max);
    else if (plan->rule == PIVOT_INDEX && plan->index >= begin && plan->index < begin + n)
        pivot = plan->index - begin;
    row_state state = block_state(x + begin, n, max, plan->shift, pivot,
                                  plan->out ? plan->out + begin : 0);
    if (plan->rule != PIVOT_MAX)
        state.pivot = 0.0;
    if (plan->out)
        plan->exponents[begin / BLOCK] = state.K;
    return state;
}

FS_INLINE row_state sweep_piece(const real *x, int64_t begin, int64_t end, const sweep_plan *plan)
{
    row_state state = {0};
    for (int64_t at = begin; at < end; at += BLOCK) {
        const int64_t n = end - at < BLOCK ? end - at : BLOCK;
        const row_state next = sweep_block(x, at, n, block_max(x + at, n), plan);
        state = at == begin ? next : merge(state, next);
    }
    return state;
}

FS_SHARED row_state sweep_blocks(const real *x, int64_t n, const sweep_plan *plan)
{
    row_state state = {0};
    for (int64_t at = 0; at < n; at += PIECE) {
        const row_state next = sweep_piece(x, at, n - at < PIECE ? n : at + PIECE, plan);
        state = at == 0 ? next : merge(state, next);
    }
    return state;
}

/* Where k ln 2 would no longer be exact the row's maximum is subtracted first; there the
 * difference is exact, or so large that its exponential is 0 (Sterbenz). */
FS_INLINE real shift_for(real max)
{
    const int huge = max > (real)DIRECT_LIMIT || max < (real)-DIRECT_LIMIT;
    return huge && max - max == 0 ? max : 0;
}

/* The state of a row of n >= 1 logits. The plan's shift is set for whoever computes the
 * exponentials again. Reads the logits once, save that a row of huge logits, and one of several
 * blocks that is overwritten by its own terms, is read for its maximum first. */
FS_SHARED row_state sweep(const real *x, int64_t n, sweep_plan *plan)
{
    plan->shift = 0;
    if (n <= BLOCK) {
        const real max = block_max(x, n);
        plan->shift = shift_for(max);
        return sweep_block(x, 0, n, max, plan);
    }
    if (plan->out == x) {
        plan->shift = shift_for(block_max(x, n));
        return sweep_blocks(x, n, plan);
    }
    const row_state state = sweep_blocks(x, n, plan);
    plan->shift = shift_for(state.max);
    return plan->shift == 0 ? state : sweep_blocks(x, n, plan);
}

/* A row that holds +inf, or nothing above -inf, has no softmax. */
FS_INLINE wide checked_sum(const row_state *state)
{
    const int bad = state->max - state->max != 0;
    return bad ? wide_of(NAN, 0.0) : state->sum;
}
