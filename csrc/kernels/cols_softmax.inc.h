/* softmax, log_softmax and logsumexp with a row in each lane: the formulas of softmax.inc.h,
 * log_softmax.inc.h and logsumexp.inc.h. */

static void softmax_cols(const fs_rows *rows)
{
    const tile_map map = load_tile(rows);
    real *tile = (real *)rows->tile;
    for (int64_t g = 0; g < map.groups; g++, tile += rows->n * V_LANES) {
        cols_state state;
        d_wide factor[D_PARTS];
        v_t high, low;
        cols_sweep_all(tile, rows->n, &state);
        for (int p = 0; p < D_PARTS; p++)
            factor[p] = d_wide_quotient(d_set1(1.0), state.sum[p]);
        split_lanes(factor, &high, &low);
        for (int64_t j = 0; j < rows->n; j++)
            v_store(tile + j * V_LANES, times_factor(v_load(tile + j * V_LANES), high, low));
    }
    store_tile(rows, &map);
}

static void log_softmax_cols(const fs_rows *rows)
{
    const tile_map map = load_tile(rows);
    real *tile = (real *)rows->tile;
    for (int64_t g = 0; g < map.groups; g++, tile += rows->n * V_LANES) {
        cols_state state;
        d_wide distance[D_PARTS];
        v_t high, low;
        cols_sweep_largest(tile, rows->n, &state);
        for (int p = 0; p < D_PARTS; p++)
            distance[p] = cols_log_ratio(&state, p);
        split_lanes(distance, &high, &low);
        for (int64_t j = 0; j < rows->n; j++) {
            const v_t d = v_sub(v_load(tile + j * V_LANES), state.max);
            v_store(tile + j * V_LANES, v_sub(v_sub(d, high), low));
        }
    }
    store_tile(rows, &map);
}

FS_INLINE int lane_holds_nan(const real *tile, int64_t n, int64_t lane)
{
    for (int64_t j = 0; j < n; j++)
        if (tile[j * V_LANES + lane] != tile[j * V_LANES + lane])
            return 1;
    return 0;
}

/* As plus_ratio(). */
FS_INLINE d_t cols_plus_ratio(d_t max, d_wide ratio)
{
    return FS_F64 ? d_plus_wide(max, ratio) : d_add(max, ratio.high);
}

static void logsumexp_cols(const fs_rows *rows)
{
    const tile_map map = load_tile(rows);
    real *tile = (real *)rows->tile;
    for (int64_t g = 0; g < map.groups; g++, tile += rows->n * V_LANES) {
        cols_state state;
        d_t max[D_PARTS];
        double value[V_LANES], largest[V_LANES];
        const int64_t first = first_row(&map, g);
        cols_sweep_largest(tile, rows->n, &state);
        v_widen(state.max, max);
        for (int p = 0; p < D_PARTS; p++) {
            d_store(value + p * D_LANES, cols_plus_ratio(max[p], cols_log_ratio(&state, p)));
            d_store(largest + p * D_LANES, max[p]);
        }
        for (int64_t l = 0, row = first; l < V_LANES && row < rows->rows; l++, row += map.fold) {
            rows->value[row] = value[l];
            if (largest[l] - largest[l] != 0)
                rows->value[row] = lane_holds_nan(tile, rows->n, l) ? NAN : largest[l];
        }
    }
}
