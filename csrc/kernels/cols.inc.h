/* V_LANES rows reduced at a time, a row in each lane, down the classes: for few classes, where a row
 * does not fill vectors, and for a class axis that is not the last, where rows lie side by side.
 * Each lane does what block.inc.h does to a row of one block, with the same columns, the same tree
 * and a K of its own, so a row has the same bits by either way. */

typedef struct {
    v_t max, shift, K;
    d_wide sum[D_PARTS]; /* times 2^(HEADROOM - K); NaN where a row has no softmax */
} cols_state;

/* A logit taken out of a row while the others are summed: e^-inf adds nothing. */
typedef struct {
    int64_t at[V_LANES]; /* in the tile's group */
    real logit[V_LANES];
} taken_out;

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

FS_INLINE void take_out(real *tile, taken_out *pivot)
{
    for (int l = 0; l < V_LANES; l++) {
        pivot->logit[l] = tile[pivot->at[l]];
        tile[pivot->at[l]] = (real)-INFINITY;
    }
}

FS_INLINE void put_back(real *tile, const taken_out *pivot)
{
    for (int l = 0; l < V_LANES; l++)
        tile[pivot->at[l]] = pivot->logit[l];
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

FS_INLINE void column_done(const term_sums *column, int64_t c, cols_sums *sums)
{
    d_t error[D_PARTS];
    v_widen(column->sum, sums->sum[c]);
    v_widen(column->error, error);
    for (int p = 0; p < D_PARTS; p++) {
        const d_t sum = d_sub(sums->sum[c][p], d_set1((double)ABOVE)); /* exact */
        sums->sum[c][p] = FS_F64 ? sum : d_add(sum, error[p]);
        sums->error[c][p] = error[p];
    }
}

/* The terms of `count` neighbouring columns, each added up down the row; kept in the tile if asked. */
FS_INLINE void cols_terms4(real *tile, int64_t n, int64_t c, int count, v_t shift, int keep,
                           const exp_scale *scale, cols_sums *sums)
{
    term_sums column[4];
    for (int i = 0; i < count; i++) {
        column[i].sum = v_set1(ABOVE);
        column[i].error = v_set1(0);
    }
    for (int64_t j = c; j < n; j += COLUMNS) {
        v_t t[4];
        const int here = n - j < count ? (int)(n - j) : count;
        for (int i = 0; i < here; i++)
            t[i] = v_sub(v_load(tile + (j + i) * V_LANES), shift);
        if (here == 4)
            exp_scaled4(t, scale);
        else
            for (int i = 0; i < here; i++)
                t[i] = exp_scaled(t[i], scale);
        for (int i = 0; i < here; i++) {
            if (keep)
                v_store(tile + (j + i) * V_LANES, t[i]);
            terms_add(&column[i], t[i]);
        }
    }
    for (int i = 0; i < count; i++)
        column_done(&column[i], c + i, sums);
}

/* Columns joined by halves; those that a short row does not have are zero. */
FS_INLINE d_wide join_cols(cols_sums *sums, int64_t n, int p)
{
    const int64_t present = n < COLUMNS ? n : COLUMNS;
    for (int half = COLUMNS / 2; half > 0; half /= 2)
        for (int i = 0; i < half && i + half < present; i++) {
#if FS_F64
            const d_wide pair = d_two_sum(sums->sum[i][p], sums->sum[i + half][p]);
            const d_t error = d_add(sums->error[i][p], sums->error[i + half][p]);
            sums->sum[i][p] = pair.high;
            sums->error[i][p] = d_add(error, pair.low);
#else
            sums->sum[i][p] = d_add(sums->sum[i][p], sums->sum[i + half][p]);
#endif
        }
    const d_wide sum = d_wide_of(sums->sum[0][p], d_set1(0.0));
    if (!FS_F64)
        return sum;
    const d_wide exact = d_wide_add(sum, d_wide_of(sums->error[0][p], d_set1(0.0)));
    return d_wide_of(d_if_finite(sum.high, exact.high, sum.high),
                     d_if_finite(sum.high, exact.low, d_set1(0.0)));
}

/* max: of the row, with whatever was taken out of it; others: without. */
FS_SHARED void cols_sweep(real *tile, int64_t n, v_t max, v_t others, int keep, cols_state *state)
{
    cols_sums sums;
    d_t wide_max[D_PARTS];
    state->max = max;
    state->shift = cols_shift(max);
    state->K = binary_exponents(v_sub(others, state->shift));
    const exp_scale scale = exp_scale_of(state->K);
    int64_t c = 0;
    for (; c < COLUMNS && c + 4 <= n; c += 4)
        cols_terms4(tile, n, c, 4, state->shift, keep, &scale, &sums);
    if (c < COLUMNS && c < n)
        cols_terms4(tile, n, c, (int)(n - c), state->shift, keep, &scale, &sums);
    v_widen(max, wide_max);
    for (int p = 0; p < D_PARTS; p++) {
        const d_wide sum = join_cols(&sums, n, p);
        state->sum[p].high = d_if_finite(wide_max[p], sum.high, d_set1(NAN));
        state->sum[p].low = d_if_finite(wide_max[p], sum.low, d_set1(0.0));
    }
}

/* The state without the first of the largest, which stays in the tile. */
FS_INLINE void cols_sweep_largest(real *tile, int64_t n, cols_state *state)
{
    taken_out pivot;
    real index[V_LANES];
    const cols_largest largest = find_largest(tile, n);
    v_store(index, largest.index);
    for (int l = 0; l < V_LANES; l++)
        pivot.at[l] = (int64_t)index[l] * V_LANES + l;
    take_out(tile, &pivot);
    /* as max_without(): with one element to a column K does not matter */
    const v_t others = !FS_F64 && n <= COLUMNS ? largest.max : cols_max(tile, n);
    cols_sweep(tile, n, largest.max, others, 0, state);
    put_back(tile, &pivot);
}

/* log(1 + R) of a state whose pivot is the maximum, as log_ratio(). */
FS_INLINE d_t cols_log_ratio(const cols_state *state, int p)
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
