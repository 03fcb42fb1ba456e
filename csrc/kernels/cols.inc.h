/* V_LANES rows reduced at a time, a row in each lane, down the classes: for few classes, where a row
 * does not fill vectors, and for a class axis that is not the last, where rows lie side by side.
 * Each lane does what block.inc.h does to a row of one block, with the same columns, the same tree
 * and a K of its own, so a row has the same bits by either way. */

typedef struct {
    v_t max, shift, K;
    d_wide sum[D_PARTS]; /* times 2^(HEADROOM - K); NaN where a row has no softmax */
} cols_state;

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

/* The largest but the one at `pivot`. */
FS_INLINE v_t cols_max_but(const real *tile, int64_t n, v_t pivot)
{
    const v_t none = v_set1((real)-INFINITY);
    v_t max = none, at = v_set1(0);
    for (int64_t j = 0; j < n; j++) {
        max = v_max(v_select(v_eq(at, pivot), none, v_load(tile + j * V_LANES)), max);
        at = v_add(at, v_set1(1));
    }
    return max;
}

typedef struct { v_t max, index; } cols_largest;

/* The first of the largest: only a larger one takes its place. */
FS_INLINE cols_largest find_largest(const real *tile, int64_t n)
{
    cols_largest found = {v_load(tile), v_set1(0)};
    found.max = v_max(found.max, v_set1((real)-INFINITY));
    for (int64_t j = 1; j < n; j++) {
        const v_t x = v_load(tile + j * V_LANES);
        found.index = v_select(v_lt(found.max, x), v_set1((real)j), found.index);
        found.max = v_max(x, found.max);
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

/* --- the sum: column j mod COLUMNS of a row, as in sums.inc.h --- */

typedef struct { d_t sum[COLUMNS][D_PARTS], error[COLUMNS][D_PARTS]; } cols_sums;

/* A column's sum as float64: less what it started from, which is exact. */
FS_INLINE void column_done(v_t sum, v_t error, int64_t c, cols_sums *sums)
{
    d_t wide_sum[D_PARTS], wide_error[D_PARTS];
    v_widen(sum, wide_sum);
    v_widen(error, wide_error);
    for (int p = 0; p < D_PARTS; p++) {
        const d_t own = d_sub(wide_sum[p], d_set1((double)ABOVE));
        sums->sum[c][p] = FS_F64 ? own : d_add(own, wide_error[p]);
        if (FS_F64)
            sums->error[c][p] = wide_error[p];
    }
}

typedef struct {
    int keep;  /* the terms take the logits' place; known to the compiler, as is has_pivot */
    int has_pivot;
    v_t pivot; /* a class of each row whose term is 0 */
    v_t shift;
    exp_scale scale;
} cols_plan;

/* Takes up the terms of classes j to j + count - 1, count being known to the compiler, into as many
 * columns; that of the pivot is 0. */
FS_INLINE void cols_terms(real *tile, int64_t j, int count, const cols_plan *plan,
                          term_sums *column)
{
    v_t x[4];
    exp_parts e[4];
    for (int i = 0; i < count; i++)
        x[i] = v_sub(v_load(tile + (j + i) * V_LANES), plan->shift);
    if (count == 4)
        exp_parted4(x, &plan->scale, e);
    else
        e[0] = exp_parted(x[0], &plan->scale);
    for (int i = 0; i < count; i++) {
        if (plan->has_pivot)
            e[i].power = v_select(v_eq(plan->pivot, v_set1((real)(j + i))), v_set1(0), e[i].power);
        const v_t term = exp_joined(e[i]);
        if (plan->keep)
            v_store(tile + (j + i) * V_LANES, term);
        terms_add(&column[i], e[i], term);
    }
}

FS_INLINE void clear_columns(term_sums *column)
{
    for (int i = 0; i < 4; i++) {
        column[i].sum = v_set1(ABOVE);
        column[i].error = v_set1(0);
    }
}

/* Four columns at a time, down the classes; then what is short of four. */
FS_INLINE void sum_cols(real *tile, int64_t n, const cols_plan *plan, cols_sums *sums)
{
    for (int64_t c = 0; c < COLUMNS && c < n; c += 4) {
        term_sums column[4];
        int64_t j = c;
        clear_columns(column);
        for (; j + 4 <= n; j += COLUMNS)
            cols_terms(tile, j, 4, plan, column);
        for (int i = 0; i < 4 && j + i < n; i++)
            cols_terms(tile, j + i, 1, plan, &column[i]);
        for (int i = 0; i < 4; i++)
            column_done(column[i].sum, column[i].error, c + i, sums);
    }
}

/* Columns joined by halves; those that a short row does not have are zero. */
FS_SHARED void join_cols(cols_sums *sums, int64_t n, d_wide *total)
{
    const int64_t present = n < COLUMNS ? n : COLUMNS;
    for (int64_t half = COLUMNS / 2; half > 0; half /= 2)
        for (int64_t i = 0; i < half && i + half < present; i++)
            for (int p = 0; p < D_PARTS; p++) {
#if FS_F64
                const d_wide pair = d_two_sum(sums->sum[i][p], sums->sum[i + half][p]);
                const d_t error = d_add(sums->error[i][p], sums->error[i + half][p]);
                sums->sum[i][p] = pair.high;
                sums->error[i][p] = d_add(error, pair.low);
#else
                sums->sum[i][p] = d_add(sums->sum[i][p], sums->sum[i + half][p]);
#endif
            }
    for (int p = 0; p < D_PARTS; p++) {
        total[p] = d_wide_of(sums->sum[0][p], d_set1(0.0));
        if (FS_F64) { /* of inf or NaN the errors are NaN */
            const d_t error = d_if_finite(total[p].high, sums->error[0][p], d_set1(0.0));
            total[p] = d_wide_add(total[p], d_wide_of(error, d_set1(0.0)));
        }
    }
}

/* Shift, K and the powers of two for rows whose largest summed logits are `others`. */
FS_INLINE void cols_begin(v_t max, v_t others, cols_plan *plan, cols_state *state)
{
    state->max = max;
    state->shift = plan->shift = cols_shift(max);
    state->K = binary_exponents(v_sub(others, state->shift));
    plan->scale = exp_scale_of(state->K);
}

FS_INLINE void cols_end(cols_sums *sums, int64_t n, cols_state *state)
{
    d_t max[D_PARTS];
    join_cols(sums, n, state->sum);
    v_widen(state->max, max);
    for (int p = 0; p < D_PARTS; p++) {
        state->sum[p].high = d_if_finite(max[p], state->sum[p].high, d_set1(NAN));
        state->sum[p].low = d_if_finite(max[p], state->sum[p].low, d_set1(0.0));
    }
}

/* All terms, which take the logits' place. */
FS_SHARED void cols_sweep_all(real *tile, int64_t n, cols_state *state)
{
    cols_sums sums;
    cols_plan plan = {1, 0, v_set1(0), v_set1(0), exp_scale_of(v_set1(0))};
    const v_t max = cols_max(tile, n);
    cols_begin(max, max, &plan, state);
    sum_cols(tile, n, &plan, &sums);
    cols_end(&sums, n, state);
}

/* All but the pivots. Short rows blend their terms out: scalar stores that vector loads have to wait
 * for cost more than that. In longer rows they do not. */
FS_INLINE void cols_sweep_but(real *tile, int64_t n, v_t max, v_t pivot, int keep,
                              cols_state *state)
{
    cols_sums sums;
    cols_plan plan = {keep, 1, pivot, v_set1(0), exp_scale_of(v_set1(0))};
    if (n <= COLUMNS) {
        cols_begin(max, cols_max_but(tile, n, pivot), &plan, state);
        sum_cols(tile, n, &plan, &sums);
    } else {
        taken_out out;
        take_out(tile, pivot, &out);
        plan.has_pivot = 0;
        cols_begin(max, cols_max(tile, n), &plan, state);
        sum_cols(tile, n, &plan, &sums);
        put_back(tile, &out);
    }
    cols_end(&sums, n, state);
}

/* One copy of each for all losses. */
FS_SHARED void cols_sum_but(real *tile, int64_t n, v_t max, v_t pivot, cols_state *state)
{
    cols_sweep_but(tile, n, max, pivot, 0, state);
}

FS_SHARED void cols_keep_but(real *tile, int64_t n, v_t max, v_t pivot, cols_state *state)
{
    cols_sweep_but(tile, n, max, pivot, 1, state);
}

FS_INLINE void cols_sweep_largest(real *tile, int64_t n, cols_state *state)
{
    const cols_largest found = find_largest(tile, n);
    cols_sum_but(tile, n, found.max, found.index, state);
}

/* log(1 + R) of a state whose pivot is the maximum, as log_ratio(). */
FS_INLINE d_wide cols_log_ratio(const cols_state *state, int p)
{
    d_t max[D_PARTS], shift[D_PARTS], K[D_PARTS];
    v_widen(state->max, max);
    v_widen(state->shift, shift);
    v_widen(state->K, K);
    const d_wide_exp e = d_exp_wide(d_two_sum(shift[p], d_negative(max[p])));
    return d_log1p_scaled(d_wide_mul(state->sum[p], e.fraction),
                          d_add(d_sub(K[p], d_set1(HEADROOM)), e.exponent));
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
