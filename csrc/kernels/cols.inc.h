/* V_LANES rows reduced at a time, a row in each lane, down the classes: for few classes, where a
 * row does not fill vectors, and for a class axis that is not the last, where rows lie side by
 * side. Each lane does what block.inc.h does to a row of one block, with the same columns, the same
 * tree and a K of its own, so a row has the same bits by either way. */

typedef struct {
    v_t max, shift, K;
    d_wide sum[D_PARTS]; /* times 2^(HEADROOM - K); NaN where a row has no softmax */
} cols_state;

#define FEW_CLASSES 16 /* a pivot is blended out, not taken out */
#define MOST_GROUPS (FS_TILE / V_LANES) /* to a tile */

FS_INLINE v_t cols_max(const real *tile, int64_t n)
{
    v_t a = v_set1((real)-INFINITY), b = a;
    int64_t j = 0;
    for (; j + 2 <= n; j += 2) {
        a = v_max(v_load(tile + j * V_LANES), a);
        b = v_max(v_load(tile + (j + 1) * V_LANES), b);
    }
    if (j < n)
        a = v_max(v_load(tile + j * V_LANES), a);
    return v_max(a, b);
}

/* The logit at `pivot`, and the largest of the others. */
FS_INLINE v_t logit_and_others(const real *tile, int64_t n, v_t pivot, v_t *others)
{
    const v_t none = v_set1((real)-INFINITY), one = v_set1(1);
    v_t logit = none, at = v_set1(0), max = none;
    for (int64_t j = 0; j < n; j++, at = v_add(at, one)) {
        const v_t x = v_load(tile + j * V_LANES);
        const v_mask here = v_eq(at, pivot);
        logit = v_select(here, x, logit);
        max = v_max(v_select(here, none, x), max);
    }
    *others = max;
    return logit;
}

typedef struct { v_t max, index, others; } cols_largest;

/* The first of the largest: only a larger one takes its place; and the largest of the others. */
FS_INLINE cols_largest find_largest(const real *tile, int64_t n)
{
    const v_t none = v_set1((real)-INFINITY), one = v_set1(1);
    cols_largest found = {v_max(v_load(tile), none), v_set1(0), none};
    v_t at = one;
    for (int64_t j = 1; j < n; j++) {
        const v_t x = v_load(tile + j * V_LANES);
        found.index = v_select(v_lt(found.max, x), at, found.index);
        found.others = v_max(v_min(found.max, x), found.others);
        found.max = v_max(x, found.max);
        at = v_add(at, one);
    }
    return found;
}

/* The logit of one class of each row, taken out of the tile while the others are summed, since
 * e^-inf adds nothing. */
typedef struct {
    int64_t at[V_LANES];
    real logit[V_LANES];
} taken_out;

FS_INLINE void take_out(real *tile, v_t pivot, taken_out *out)
{
    real class[V_LANES];
    v_store(class, pivot);
    for (int l = 0; l < V_LANES; l++) {
        out->at[l] = (int64_t)class[l] * V_LANES + l;
        out->logit[l] = tile[out->at[l]];
        tile[out->at[l]] = (real)-INFINITY;
    }
}

FS_INLINE void put_back(real *tile, const taken_out *out)
{
    for (int l = 0; l < V_LANES; l++)
        tile[out->at[l]] = out->logit[l];
}

FS_INLINE v_t cols_shift(v_t max)
{
    const v_t limit = v_set1((real)DIRECT_LIMIT), zero = v_set1(0);
    const v_t low = v_select(v_lt(max, v_sub(zero, limit)), max, zero);
    const v_t huge = v_select(v_lt(limit, max), max, low);
    return v_select(v_eq(v_sub(max, max), zero), huge, zero);
}

/* Shift, K and the powers of two for rows whose largest summed logits are `others`. */
FS_INLINE void cols_begin(v_t max, v_t others, cols_plan *plan, cols_state *state)
{
    state->max = max;
    state->shift = plan->shift = cols_shift(max);
    state->K = binary_exponents(v_sub(others, state->shift));
    plan->scale = exp_scale_of(state->K);
}

FS_ONCE void cols_end(cols_term_sums *sums, int64_t n, cols_state *state)
{
    d_t max[D_PARTS];
    join_terms(sums, n, state->sum);
    v_widen(state->max, max);
    for (int p = 0; p < D_PARTS; p++) {
        state->sum[p].high = d_if_finite(max[p], state->sum[p].high, d_set1(NAN));
        if (FS_F64)
            state->sum[p].low = d_if_finite(max[p], state->sum[p].low, d_set1(0.0));
    }
}

/* All terms, a pivot being -inf already. max: of all logits, with the pivot; others: without. */
FS_INLINE void cols_sweep(real *tile, int64_t n, v_t max, v_t others, int keep, cols_state *state)
{
    cols_term_sums sums;
    cols_plan plan = {keep, 0, v_set1(0), v_set1(0), exp_scale_of(v_set1(0))};
    cols_begin(max, others, &plan, state);
    sum_cols(tile, n, &plan, &sums);
    cols_end(&sums, n, state);
}

/* One copy of each; kept terms take the logits' place. */
FS_SHARED void cols_sum(real *tile, int64_t n, v_t max, v_t others, cols_state *state)
{
    cols_sweep(tile, n, max, others, 0, state);
}

FS_SHARED void cols_keep(real *tile, int64_t n, v_t max, v_t others, cols_state *state)
{
    cols_sweep(tile, n, max, others, 1, state);
}

/* All but the pivots, of logits that are needed again. Short rows blend their terms out: scalar
 * stores that vector loads have to wait for cost more than that. In longer rows they do not, and
 * least if other groups' come in between: first take_pivots() for all, then the sweeps. */
FS_INLINE void take_pivots(real *tile, int64_t n, v_t pivot, taken_out *out)
{
    if (n > FEW_CLASSES)
        take_out(tile, pivot, out);
}

/* max: of all logits, or of longer rows, any that are known; others: of short rows. */
FS_INLINE void cols_sweep_but(real *tile, int64_t n, v_t max, v_t others, v_t pivot,
                              const taken_out *out, int keep, cols_state *state)
{
    if (n <= FEW_CLASSES) {
        cols_term_sums sums;
        cols_plan plan = {keep, 1, pivot, v_set1(0), exp_scale_of(v_set1(0))};
        cols_begin(max, others, &plan, state);
        sum_cols(tile, n, &plan, &sums);
        cols_end(&sums, n, state);
        return;
    }
    others = cols_max(tile, n);
    max = v_max(max, others);
    if (keep)
        cols_keep(tile, n, max, others, state);
    else
        cols_sum(tile, n, max, others, state);
    put_back(tile, out);
}

FS_SHARED void cols_sum_but(real *tile, int64_t n, v_t max, v_t others, v_t pivot,
                            const taken_out *out, cols_state *state)
{
    cols_sweep_but(tile, n, max, others, pivot, out, 0, state);
}

FS_SHARED void cols_keep_but(real *tile, int64_t n, v_t max, v_t others, v_t pivot,
                             const taken_out *out, cols_state *state)
{
    cols_sweep_but(tile, n, max, others, pivot, out, 1, state);
}

/* All groups of a tile, their largest logits left out. */
FS_INLINE void cols_sweep_largest(real *tile, int64_t n, int64_t groups, cols_state *state)
{
    cols_largest found[MOST_GROUPS];
    taken_out out[MOST_GROUPS];
    for (int64_t g = 0; g < groups; g++) {
        found[g] = find_largest(tile + g * n * V_LANES, n);
        take_pivots(tile + g * n * V_LANES, n, found[g].index, &out[g]);
    }
    for (int64_t g = 0; g < groups; g++)
        cols_sum_but(tile + g * n * V_LANES, n, found[g].max, found[g].others, found[g].index, &out[g],
                     &state[g]);
}

/* --- the end: float32 in plain float64 (finish_steps.inc.h), float64 in two of them --- */

FS_INLINE d_wide d_end_quotient(d_t a, d_wide b)
{
    return FS_F64 ? d_wide_quotient(a, b) : d_wide_of(d_div(a, b.high), d_set1(0.0));
}

FS_INLINE d_wide d_end_add(d_wide a, d_wide b)
{
    return FS_F64 ? d_wide_add(a, b) : d_wide_of(d_add(a.high, b.high), d_set1(0.0));
}

FS_INLINE d_wide d_end_mul(d_wide a, d_wide b)
{
    return FS_F64 ? d_wide_mul(a, b) : d_wide_of(d_mul(a.high, b.high), d_set1(0.0));
}

FS_INLINE d_wide d_end_scale(d_wide a, d_t power)
{
    return d_wide_of(d_mul(a.high, power), FS_F64 ? d_mul(a.low, power) : d_set1(0.0));
}

/* e^(pivot - shift), as exp_of_target(). */
FS_INLINE d_exponential d_end_exp(d_t z)
{
    return FS_F64 ? d_exp_pair(z, d_set1(0.0)) : d_exp_short(z);
}

/* Without the lift. */
FS_INLINE d_wide d_lowered(d_wide a)
{
    return LOSS_LIFT ? d_wide_scale(a, d_set1(1.0 / (double)(UINT64_C(1) << LOSS_LIFT))) : a;
}

FS_INLINE d_wide d_end_loss(const d_shares *s)
{
    return FS_F64 ? d_loss_wide(s) : d_wide_of(d_loss_short(s), d_set1(0.0));
}

/* log(1 + R) of a state whose pivot is the maximum, as log_ratio(). */
FS_INLINE d_wide cols_log_ratio(const cols_state *state, int p)
{
    d_t max[D_PARTS], shift[D_PARTS], K[D_PARTS];
    v_widen(state->max, max);
    v_widen(state->shift, shift);
    v_widen(state->K, K);
    const d_exponential e = d_end_exp(d_sub(max[p], shift[p])); /* which is never far below */
    const d_shares s = d_shares_of(state->sum[p], K[p], e, HEADROOM, LOSS_LIFT);
    return d_end_loss(&s);
}

/* A float64 as two reals. */
FS_INLINE void split_lanes(const d_wide *value, v_t *high, v_t *low)
{
    d_t head[D_PARTS], rest[D_PARTS];
    for (int p = 0; p < D_PARTS; p++)
        head[p] = value[p].high;
    *high = v_narrow(head);
    v_widen(*high, head);
    for (int p = 0; p < D_PARTS; p++)
        rest[p] = d_add(d_sub(value[p].high, head[p]), value[p].low);
    *low = v_select(v_eq(v_sub(*high, *high), v_set1(0)), v_narrow(rest), v_set1(0));
}
