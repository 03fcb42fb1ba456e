/* cross-entropy of hard targets, and its gradient, with a row in each lane: the formulas of
 * cross_entropy.inc.h. */

/* A group's rows: what the driver knows of them, and the results. Lanes without a row, and rows that
 * are not counted, go along with target 0. */
typedef struct {
    int64_t at[V_LANES]; /* the targets in the tile */
    real target[V_LANES], logit[V_LANES];
    d_t wide_logit[D_PARTS];
    double factor[V_LANES], z_factor[V_LANES];
    double loss[V_LANES], lse[V_LANES];
    real at_target[V_LANES]; /* of the gradient */
    real high[V_LANES], low[V_LANES], lift[2][V_LANES];
    int counted[V_LANES];
} cols_group;

FS_INLINE void begin_group(const fs_rows *rows, const tile_map *map, int64_t g, int grad,
                           const real *tile, cols_group *group)
{
    int64_t row = first_row(map, g);
    for (int l = 0; l < V_LANES; l++, row += map->fold) {
        const int counted = row < rows->rows && rows->target[row] >= 0;
        const int64_t target = counted ? rows->target[row] : 0;
        group->counted[l] = counted;
        group->at[l] = target * V_LANES + l;
        group->target[l] = (real)target;
        group->logit[l] = tile[group->at[l]];
        if (grad) {
            group->factor[l] = counted ? rows->factor[row] : 0.0;
            group->z_factor[l] = counted ? rows->z_factor[row] : 0.0;
        }
    }
}

/* As sweep_target(): the sum of the others. */
FS_INLINE void sweep_targets(real *tile, int64_t n, int keep, cols_group *group, cols_state *state)
{
    v_widen(v_load(group->logit), group->wide_logit);
    if (keep)
        cols_keep_but(tile, n, cols_max(tile, n), v_load(group->target), state);
    else
        cols_sum_but(tile, n, cols_max(tile, n), v_load(group->target), state);
}

typedef struct {
    d_wide rest, sum; /* of the others; of all, which is on the scale of K - d */
    d_t K, shift, d, distance;
    d_wide_exp inverse; /* e^(shift - x_t) */
    d_wide own;         /* e^(x_t - shift), on the scale of K - d */
} cols_target;

/* with_sum: not needed for the loss alone. */
FS_INLINE cols_target split_targets(const cols_state *state, const cols_group *group, int p,
                                    int with_sum)
{
    cols_target t;
    d_t K[D_PARTS], shift[D_PARTS];
    const d_t x_t = group->wide_logit[p], headroom = d_set1(HEADROOM);
    v_widen(state->K, K);
    v_widen(state->shift, shift);
    t.K = K[p];
    t.shift = shift[p];
    const d_mask possible = d_lt(x_t, d_set1(INFINITY)); /* neither inf nor NaN */
    t.rest.high = d_select(possible, state->sum[p].high, d_set1(NAN));
    t.rest.low = d_select(possible, state->sum[p].low, d_set1(0.0));
    const d_wide distance = d_two_sum(t.shift, d_negative(x_t));
    t.distance = distance.high;
    t.inverse = d_exp_wide(distance);
    const d_t exponent = d_negative(t.inverse.exponent), scale = d_max(exponent, t.K);
    t.d = d_sub(t.K, scale);
    if (!with_sum)
        return t;
    t.own = d_wide_scale(d_wide_quotient(d_set1(1.0), t.inverse.fraction),
                         d_power(d_add(d_sub(headroom, scale), exponent)));
    t.sum = d_wide_add(d_wide_scale(t.rest, d_power(t.d)), t.own);
    return t;
}

FS_INLINE d_t loss_of_targets(const cols_target *t, d_t x_t)
{
    const d_mask hopeless = d_lt(d_set1(0x1p+30), t->distance);
    const d_wide ratio = d_wide_mul(t->rest, t->inverse.fraction);
    const d_t own = d_sub(t->K, d_set1(HEADROOM)), exponent = d_add(own, t->inverse.exponent);
    const d_wide m = {d_select(hopeless, t->rest.high, ratio.high),
                      d_select(hopeless, t->rest.low, ratio.low)};
    const d_t log = d_log_ratio(m, d_select(hopeless, own, exponent), hopeless).high;
    const d_t loss = d_add(log, d_select(hopeless, t->distance, d_set1(0.0)));
    const d_mask ordered = d_eq(t->rest.high, t->rest.high);
    return d_if_finite(x_t, d_select(ordered, loss, d_set1(NAN)),
                       d_select(ordered, d_set1(INFINITY), d_set1(NAN)));
}

FS_INLINE d_t lse_of_targets(const cols_target *t)
{
    const d_t log = d_log_wide(t->sum, d_sub(d_sub(t->K, t->d), d_set1(HEADROOM))).high;
    return d_select(d_eq(t->sum.high, t->sum.high), d_add(t->shift, log), d_set1(NAN));
}

/* The factor as two reals, small ones times a power of two that the terms make up for: as
 * split_factor(). */
FS_SHARED void store_factor(d_wide *factor, const d_t *d, cols_group *group)
{
    d_t first[D_PARTS], second[D_PARTS];
    v_t high, low;
    const d_t lowest = d_set1(1 - EXPONENT_BIAS), zero = d_set1(0.0);
    for (int p = 0; p < D_PARTS; p++) {
        const d_t size = d_max(factor[p].high, d_negative(factor[p].high));
        const d_t up = d_select(d_lt(size, d_set1(SMALLEST_FACTOR)),
                                d_select(d_eq(size, zero), zero, d_set1(FACTOR_LIFT)), zero);
        factor[p] = d_wide_scale(factor[p], d_power(up));
        const d_t lift = d_sub(d[p], up), head = d_max(lift, lowest);
        first[p] = d_power(head);
        second[p] = d_power(d_max(d_sub(lift, head), lowest));
    }
    split_lanes(factor, &high, &low);
    v_store(group->high, high);
    v_store(group->low, low);
    v_store(group->lift[0], v_narrow(first));
    v_store(group->lift[1], v_narrow(second));
}

/* The factor of a group's gradient and what stands at its targets: as grad_row(). */
FS_INLINE void grad_factors(const cols_target *t, const d_t *lse, double z_loss, cols_group *group)
{
    d_wide factor[D_PARTS];
    d_t d[D_PARTS], at_target[D_PARTS];
    for (int p = 0; p < D_PARTS; p++) {
        const d_t f = d_load(group->factor + p * D_LANES);
        factor[p] = d_wide_quotient(f, t[p].sum);
        d[p] = t[p].d;
        const d_wide own = d_wide_mul(t[p].rest, factor[p]);
        at_target[p] = d_sub(d_set1(0.0), d_scale(d_add(own.high, own.low), t[p].d));
        if (z_loss != 0.0) {
            const d_t z = d_mul(d_mul(d_set1(2.0 * z_loss), lse[p]),
                                d_load(group->z_factor + p * D_LANES));
            const d_t share = d_div(t[p].own.high, t[p].sum.high);
            factor[p] = d_wide_quotient(d_add(f, z), t[p].sum);
            at_target[p] = d_add(at_target[p], d_mul(z, share));
        }
    }
    v_store(group->at_target, v_narrow(at_target));
    store_factor(factor, d, group);
}

FS_INLINE void finish_group(const cols_state *state, double z_loss, int grad, cols_group *group)
{
    cols_target target[D_PARTS];
    d_t lse[D_PARTS];
    for (int p = 0; p < D_PARTS; p++) {
        target[p] = split_targets(state, group, p, grad || z_loss != 0.0);
        d_store(group->loss + p * D_LANES, loss_of_targets(&target[p], group->wide_logit[p]));
        lse[p] = z_loss != 0.0 ? lse_of_targets(&target[p]) : d_set1(0.0);
        d_store(group->lse + p * D_LANES, lse[p]);
    }
    if (grad)
        grad_factors(target, lse, z_loss, group);
}

FS_INLINE void write_gradient(real *tile, int64_t n, const cols_group *group)
{
    const v_t high = v_load(group->high), low = v_load(group->low), one = v_set1(1);
    const v_t first = v_load(group->lift[0]), second = v_load(group->lift[1]);
    const uint32_t all = (uint32_t)((UINT64_C(1) << V_LANES) - 1);
    const int lifted = (v_eq_bits(first, one) & v_eq_bits(second, one)) != all;
    for (int64_t j = 0; j < n; j++) {
        v_t t = v_load(tile + j * V_LANES);
        if (lifted)
            t = v_mul(v_mul(t, first), second);
        v_store(tile + j * V_LANES, times_factor(t, high, low));
    }
    for (int l = 0; l < V_LANES; l++) {
        tile[group->at[l]] = group->at_target[l];
        for (int64_t j = 0; !group->counted[l] && j < n; j++)
            tile[j * V_LANES + l] = 0;
    }
}

/* grad is asked once a group: the sweeps have a copy for each, the rest need not. */
FS_SHARED void cross_entropy_tile(const fs_rows *rows, int grad)
{
    const tile_map map = load_tile(rows);
    real *tile = (real *)rows->tile;
    for (int64_t g = 0; g < map.groups; g++, tile += rows->n * V_LANES) {
        cols_group group;
        cols_state state;
        begin_group(rows, &map, g, grad, tile, &group);
        sweep_targets(tile, rows->n, grad, &group, &state);
        finish_group(&state, rows->z_loss, grad, &group);
        if (grad)
            write_gradient(tile, rows->n, &group);
        int64_t row = first_row(&map, g);
        for (int l = 0; l < V_LANES && row < rows->rows; l++, row += map.fold) {
            rows->value[row] = group.counted[l] ? group.loss[l] : 0.0;
            rows->lse[row] = group.counted[l] ? group.lse[l] : 0.0;
        }
    }
    if (grad)
        store_tile(rows, &map);
}

static void cross_entropy_cols(const fs_rows *rows) { cross_entropy_tile(rows, 0); }
static void cross_entropy_grad_cols(const fs_rows *rows) { cross_entropy_tile(rows, 1); }
