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
    late_row *late;     /* a row of the same length to be written meanwhile, or 0 */
    const extremes *known; /* of a row of one block, if they have been looked for; or 0 */
} sweep_plan;

FS_INLINE sweep_plan plan_for(pivot_rule rule, int64_t index)
{
    const sweep_plan plan = {rule, index, 0, 0, 0, 0, 0};
    return plan;
}

/* e^pivot on the scale of K. */
FS_INLINE wide pivot_term(const wide_exp *pivot, int64_t K)
{
    return wide_scale(pivot->fraction, power_of_two(HEADROOM - K + pivot->exponent));
}

/* Joins the state of the elements after a's. Under PIVOT_MAX the larger pivot stays left out and
 * the other returns to the sum; under the other rules pivots are 0. */
FS_SHARED row_state merge(const row_state *a, const row_state *b)
{
    const int later = b->max > a->max;
    const row_state *kept = later ? b : a, *returned = later ? a : b;
    row_state joined = *kept;
    joined.K = a->K > b->K ? a->K : b->K;
    const int returns = returned->pivot.fraction.high != 0.0;
    if (returns && returned->pivot.exponent > joined.K)
        joined.K = returned->pivot.exponent;
    joined.sum = wide_add(wide_scale(a->sum, power_of_two(a->K - joined.K)),
                          wide_scale(b->sum, power_of_two(b->K - joined.K)));
    if (returns)
        joined.sum = wide_add(joined.sum, pivot_term(&returned->pivot, joined.K));
    return joined;
}

FS_INLINE extremes block_extremes(const real *x, int64_t begin, int64_t n, const sweep_plan *plan)
{
    if (plan->rule == PIVOT_MAX)
        return extremes_with_max(x + begin, n);
    if (plan->rule == PIVOT_INDEX && plan->index >= begin && plan->index < begin + n)
        return extremes_with_pivot(x + begin, n, plan->index - begin);
    return extremes_without_pivot(x + begin, n);
}

FS_SHARED row_state sweep_block(const real *x, int64_t begin, int64_t n, const extremes *e,
                                const sweep_plan *plan)
{
    late_row *late = plan->late, part = {0};
    if (late) {
        part = *late;
        part.from += begin;
        part.y += begin;
        part.written = 0;
    }
    row_state state = block_state(x + begin, n, e, plan->shift,
                                  plan->out ? plan->out + begin : 0, late ? &part : 0);
    if (late && part.written > 0)
        late->written = begin + part.written;
    if (plan->out)
        plan->exponents[begin / BLOCK] = state.K;
    if (state.pivot_index >= 0)
        state.pivot_index += begin;
    return state;
}

/* The exponential of a pivot that may return to the sum. */
FS_INLINE wide_exp exp_of_pivot(real pivot, real shift)
{
    return exp_wide(two_sum((double)pivot, -(double)shift));
}

/* Of a block that is not the first of its piece. Only where its largest logit is above all before
 * it is it left out of the sum: the place of most blocks' need not be found, nor its exponential
 * computed by itself. (logsumexp of 32,000 classes in 0.8, log_softmax in 0.85 of the time.) */
FS_INLINE extremes later_extremes(const real *x, int64_t begin, int64_t n, const sweep_plan *plan,
                                  real max_before)
{
    if (plan->rule != PIVOT_MAX)
        return block_extremes(x, begin, n, plan);
    lane_maxima lanes;
    const real max = lanes_and_max(x + begin, n, &lanes);
    if (max > max_before)
        return extremes_of_maxima(x + begin, n, &lanes, max);
    const extremes e = {max, max, NO_PIVOT};
    return e;
}

FS_INLINE row_state sweep_piece(const real *x, int64_t begin, int64_t end, const sweep_plan *plan)
{
    row_state state = {0};
    for (int64_t at = begin; at < end; at += BLOCK) {
        const int64_t n = end - at < BLOCK ? end - at : BLOCK;
        const extremes e = at == begin ? block_extremes(x, at, n, plan)
                                       : later_extremes(x, at, n, plan, state.max);
        row_state next = sweep_block(x, at, n, &e, plan);
        if (plan->rule == PIVOT_MAX && e.pivot >= 0)
            next.pivot = exp_of_pivot(e.max, plan->shift);
        state = at == begin ? next : merge(&state, &next);
    }
    return state;
}

FS_SHARED row_state sweep_blocks(const real *x, int64_t n, const sweep_plan *plan)
{
    row_state state = {0};
    for (int64_t at = 0; at < n; at += PIECE) {
        const row_state next = sweep_piece(x, at, n - at < PIECE ? n : at + PIECE, plan);
        state = at == 0 ? next : merge(&state, &next);
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
        const extremes e = plan->known ? *plan->known : block_extremes(x, 0, n, plan);
        plan->shift = shift_for(e.max);
        return sweep_block(x, 0, n, &e, plan);
    }
    if (plan->out == x) {
        plan->shift = shift_for(block_max(x, n));
        return sweep_blocks(x, n, plan);
    }
    const row_state state = sweep_blocks(x, n, plan);
    plan->shift = shift_for(state.max);
    return plan->shift == 0 ? state : sweep_blocks(x, n, plan);
}

/* The extremes of row i, if it is of one block: looked for before the row in front of it is swept,
 * since the way from the logits to their maximum's place is a long chain of operations, which then
 * runs beside exponentials. (2 to 3%, logsumexp 4 to 7%. For the blocks of a long row it gave
 * nothing.) */
FS_INLINE extremes extremes_of_row(const fs_rows *rows, int64_t i, pivot_rule rule)
{
    extremes e = {0};
    if (i >= rows->rows || rows->n > BLOCK || (rule == PIVOT_INDEX && rows->target[i] < 0))
        return e;
    const sweep_plan plan = plan_for(rule, rule == PIVOT_INDEX ? rows->target[i] : 0);
    return block_extremes((const real *)rows->x + i * rows->x_step, 0, rows->n, &plan);
}

/* The sum with the pivot in it, on the larger scale of the two: times 2^d it is on that of K. */
typedef struct {
    wide sum;
    int64_t d;
} full_sum;

FS_INLINE full_sum sum_with_pivot(wide rest, int64_t K, const wide_exp *pivot)
{
    const int64_t scale = pivot->exponent > K ? pivot->exponent : K;
    full_sum full;
    full.d = K - scale;
    full.sum = wide_add(wide_scale(rest, power_of_two(full.d)), pivot_term(pivot, scale));
    return full;
}

/* A row that holds +inf, or nothing above -inf, has no softmax. */
FS_INLINE wide checked_sum(const row_state *state)
{
    const int bad = state->max - state->max != 0;
    return bad ? wide_of(NAN, 0.0) : state->sum;
}
