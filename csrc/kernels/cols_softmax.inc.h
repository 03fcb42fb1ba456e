/* softmax, log_softmax and logsumexp with a row in each lane: the formulas of softmax.inc.h,
 * log_softmax.inc.h and logsumexp.inc.h. All groups of a tile are swept before any is finished:
 * the processor has several of the long chains of operations from a sum to its end under way at
 * a time. */

FS_INLINE void softmax_factors(const cols_state *state, v_t *high, v_t *low)
{
    d_wide factor[D_PARTS];
    for (int p = 0; p < D_PARTS; p++)
        factor[p] = d_end_quotient(d_set1(1.0), state->sum[p]);
    split_lanes(factor, high, low);
}

/* As y = factor * term. */
FS_INLINE void end_softmax_group(real *tile, int64_t n, const cols_state *state)
{
    v_t high, low;
    softmax_factors(state, &high, &low);
    for (int64_t j = 0; j < n; j++)
        v_store(tile + j * V_LANES, times_factor(v_load(tile + j * V_LANES), high, low));
}

static void softmax_cols(const fs_rows *rows)
{
    const tile_map map = load_tile(rows);
    const int64_t n = rows->n;
    real *tile = (real *)rows->tile;
    cols_state state[MOST_GROUPS];
    for (int64_t g = 0; g < map.groups; g++) {
        const v_t max = cols_max(tile + g * n * V_LANES, n);
        cols_keep(tile + g * n * V_LANES, n, max, max, &state[g]);
    }
    for (int64_t g = 0; g < map.groups; g++)
        end_softmax_group(tile + g * n * V_LANES, n, &state[g]);
    store_tile(rows, &map);
}

/* Minus max + ratio of each row, as two numbers: as logs_to_write(). */
FS_INLINE void split_minus_logsumexps(const d_wide *ratio, const d_t *max, v_t *high, v_t *low)
{
    const d_t minus_zero = d_set1(-0.0);
    d_wide minus[D_PARTS];
    for (int p = 0; p < D_PARTS; p++) {
        minus[p] = d_two_sum(d_sub(minus_zero, max[p]), d_sub(minus_zero, ratio[p].high));
        minus[p].low = d_sub(minus[p].low, ratio[p].low);
    }
    split_lanes(minus, high, low);
}

FS_INLINE void minus_logsumexps(const cols_state *state, v_t *high, v_t *low)
{
    d_wide ratio[D_PARTS];
    d_t max[D_PARTS];
    v_widen(state->max, max);
    for (int p = 0; p < D_PARTS; p++)
        ratio[p] = cols_log_ratio(state, p);
    split_minus_logsumexps(ratio, max, high, low);
}

FS_INLINE void end_logs_group(real *tile, int64_t n, const cols_state *state)
{
    v_t high, low;
    minus_logsumexps(state, &high, &low);
    for (int64_t j = 0; j < n; j++)
        v_store(tile + j * V_LANES, minus_logsumexp(v_load(tile + j * V_LANES), high, low));
}

static void log_softmax_cols(const fs_rows *rows)
{
    const tile_map map = load_tile(rows);
    const int64_t n = rows->n;
    real *tile = (real *)rows->tile;
    cols_state state[MOST_GROUPS];
    cols_sweep_largest(tile, n, map.groups, state);
    for (int64_t g = 0; g < map.groups; g++)
        end_logs_group(tile + g * n * V_LANES, n, &state[g]);
    store_tile(rows, &map);
}

FS_INLINE int strided_holds_nan(const fs_rows *rows, int64_t row)
{
    const real *x = (const real *)rows->x + row * rows->x_step;
    for (int64_t j = 0; j < rows->n; j++)
        if (x[j * rows->x_class] != x[j * rows->x_class])
            return 1;
    return 0;
}

/* As plus_ratio(). */
FS_INLINE d_t cols_plus_ratio(d_t max, d_wide ratio)
{
    return FS_F64 ? d_plus_wide(max, ratio) : d_add(max, ratio.high);
}

/* Rows whose largest logit is no number, or not above -inf. */
FS_SHARED void put_infinite(const fs_rows *rows, const tile_map *map, int64_t g,
                            const cols_state *state, int64_t lanes)
{
    real max[V_LANES];
    int64_t row = first_row(map, g);
    v_store(max, state->max);
    for (int64_t l = 0; l < lanes; l++, row += map->fold)
        if (max[l] - max[l] != 0)
            rows->value[row] = strided_holds_nan(rows, row) ? NAN : (double)max[l];
}

FS_INLINE void end_logsumexp_group(const fs_rows *rows, const tile_map *map, int64_t g,
                                   const cols_state *state)
{
    const uint32_t all = (uint32_t)((UINT64_C(1) << V_LANES) - 1);
    const uint32_t finite = v_eq_bits(v_sub(state->max, state->max), v_set1(0));
    const int64_t lanes = rows_of_group(rows, map, g), fold = map->fold;
    d_t max[D_PARTS];
    double log[V_LANES], *value = rows->value + first_row(map, g);
    v_widen(state->max, max);
    for (int p = 0; p < D_PARTS; p++)
        d_store(log + p * D_LANES, cols_plus_ratio(max[p], cols_log_ratio(state, p)));
    for (int l = 0; lanes == V_LANES && l < V_LANES; l++)
        value[l * fold] = log[l];
    const int64_t some = lanes < V_LANES ? lanes : 0;
    FS_ROLLED
    for (int64_t l = 0; l < some; l++)
        value[l * fold] = log[l];
    if (finite != all)
        put_infinite(rows, map, g, state, lanes);
}

static void logsumexp_cols(const fs_rows *rows)
{
    const tile_map map = load_tile(rows);
    cols_state state[MOST_GROUPS];
    cols_sweep_largest((real *)rows->tile, rows->n, map.groups, state);
    for (int64_t g = 0; g < map.groups; g++)
        end_logsumexp_group(rows, &map, g, &state[g]);
}
