/* cross-entropy of hard targets, and its gradient, with a row in each lane: the formulas of
 * cross_entropy.inc.h. */

/* A group's rows: what the driver knows of them, and the results. Lanes without a row, and rows
 * that are not counted, go along with target 0. */
typedef struct {
    real target[V_LANES], logit[V_LANES];
    d_t wide_logit[D_PARTS];
    double factor[V_LANES], z_factor[V_LANES];
    double loss[V_LANES], z_term[V_LANES];
    real at_target[V_LANES]; /* of the gradient */
    real high[V_LANES], low[V_LANES], lift[2][V_LANES];
    int counted[V_LANES], all_counted;
} cols_group;

/* The targets of a tile, group by group as its rows lie; -1 for what is not counted. */
typedef struct {
    real target[FS_TILE + V_LANES * V_LANES]; /* transposing goes by squares */
    int all_counted;
} tile_targets;

FS_ONCE void load_targets(const fs_rows *rows, const tile_map *map, tile_targets *t)
{
    real given[FS_TILE + V_LANES] = {0};
    real *to = map->fold > 1 ? given : t->target;
    const int64_t strip = map->fold * V_LANES;
    int64_t signs = 0;
    for (int64_t i = rows->rows; i < map->groups * V_LANES; i++)
        t->target[i] = -1;
    for (int64_t i = 0; i < rows->rows; i++) {
        const int64_t target = rows->target[i];
        signs |= target;
        to[i] = (real)(int32_t)target; /* of a block */
    }
    t->all_counted = signs >= 0 && rows->rows == map->groups * V_LANES;
    for (int64_t row = 0; map->fold > 1 && row < rows->rows; row += strip)
        load_strips(given + row, map->fold, map->fold, strip / map->fold, strip + V_LANES, t->target + row);
}

FS_ONCE void begin_plain(const fs_rows *rows, const tile_map *map, int64_t g, int grad,
                           const tile_targets *t, cols_group *group)
{
    const v_t given = v_load(t->target + g * V_LANES);
    int64_t row = first_row(map, g);
    v_store(group->target, v_max(given, v_set1(0)));
    group->all_counted = t->all_counted;
    FS_ROLLED
    for (int l = 0; l < V_LANES; l++)
        group->counted[l] = t->target[g * V_LANES + l] >= 0;
    for (int p = 0; grad && p < D_PARTS; p++) {
        d_store(group->factor + p * D_LANES, d_set1(rows->one_factor));
        d_store(group->z_factor + p * D_LANES, d_set1(rows->one_factor));
    }
    if (rows->one_factor != 0.0)
        return;
    const int64_t lanes = grad ? rows_of_group(rows, map, g) : 0;
    FS_ROLLED
    for (int64_t l = 0; l < lanes; l++, row += map->fold) {
        group->factor[l] = rows->factor[row];
        group->z_factor[l] = rows->z_factor[row];
    }
}

/* The logit of each row's target, which is taken out of the tile, and the largest of the others. */
FS_INLINE v_t pick_logits(real *tile, int64_t n, v_t target, v_t *others)
{
    const v_t none = v_set1((real)-INFINITY), one = v_set1(1);
    v_t logit = none, at = v_set1(0), max = none;
    for (int64_t j = 0; j < n; j++, at = v_add(at, one)) {
        const v_t x = v_load(tile + j * V_LANES);
        const v_mask here = v_eq(at, target);
        const v_t other = v_select(here, none, x);
        logit = v_select(here, x, logit);
        max = v_max(other, max);
        v_store(tile + j * V_LANES, other);
    }
    *others = max;
    return logit;
}

/* As sweep_target(): the sum of the others. Of longer rows the targets have been taken out. */
FS_INLINE void sweep_targets(real *tile, int64_t n, int keep, const taken_out *out,
                             cols_group *group, cols_state *state)
{
    const int few = n <= COLUMNS;
    v_t others;
    const v_t logit = few ? pick_logits(tile, n, v_load(group->target), &others) : v_load(out->logit);
    if (!few)
        others = cols_max(tile, n);
    v_widen(logit, group->wide_logit);
    if (keep)
        cols_keep(tile, n, v_max(logit, others), others, state);
    else
        cols_sum(tile, n, v_max(logit, others), others, state);
}

typedef struct {
    d_wide rest, sum, own; /* of the others; of all, and e^(x_t - shift), on the scale of K - d */
    d_t K, shift, d, more; /* more: as in target_exp */
    d_shares shares;
} cols_target;

/* with_sum: not needed for the loss alone. */
FS_INLINE cols_target split_targets(const cols_state *state, const cols_group *group, int p,
                                    int with_sum)
{
    cols_target t;
    d_t K[D_PARTS], shift[D_PARTS];
    const d_t x_t = group->wide_logit[p];
    v_widen(state->K, K);
    v_widen(state->shift, shift);
    t.K = K[p];
    t.shift = shift[p];
    const d_mask possible = d_lt(x_t, d_set1(INFINITY)); /* neither inf nor NaN */
    t.rest.high = d_select(possible, state->sum[p].high, d_set1(NAN));
    t.rest.low = d_select(possible, state->sum[p].low, d_set1(0.0));
    const d_t z = d_sub(x_t, t.shift), bounded = d_max(z, d_set1(LEAST_DISTANCE));
    t.more = d_sub(bounded, z);
    t.shares = d_shares_of(t.rest, t.K, d_end_exp(bounded), HEADROOM, LOSS_LIFT);
    t.d = t.shares.d;
    t.own = t.sum = d_wide_of(d_set1(0.0), d_set1(0.0));
    if (with_sum) {
        t.own = d_lowered(t.shares.own);
        t.sum = d_lowered(d_end_add(t.shares.rest, t.shares.own));
    }
    return t;
}

FS_INLINE d_wide loss_of_targets(const cols_target *t)
{
    const d_wide loss = d_end_loss(&t->shares);
    return d_wide_of(d_add(loss.high, t->more), loss.low);
}

/* As lse_of(). */
FS_SHARED d_wide lse_of_targets(const cols_target *t, d_wide loss, d_t x_t)
{
    const d_t e = d_sub(d_sub(t->K, t->d), d_set1(HEADROOM)), zero = d_set1(0.0);
    const d_wide log = FS_F64 ? d_log_pair(t->sum, e)
                              : d_wide_of(d_log_scaled(t->sum.high, e), zero);
    const d_mask near = d_lt(loss.high, d_set1(1.0)), ordered = d_eq(t->sum.high, t->sum.high);
    const d_wide part = {d_select(near, loss.high, log.high), d_select(near, loss.low, log.low)};
    const d_wide lse = d_end_add(d_wide_of(d_select(near, x_t, t->shift), zero), part);
    return d_wide_of(d_select(ordered, lse.high, d_set1(NAN)), d_select(ordered, lse.low, zero));
}

/* z lse^2 */
FS_INLINE d_wide z_squares(double z_loss, d_wide lse)
{
    return d_end_mul(d_end_mul(d_wide_of(d_set1(z_loss), d_set1(0.0)), lse), lse);
}

/* The factor as two reals, small ones times a power of two that the terms make up for: as
 * split_factor(). */
FS_ONCE void store_factor(d_wide *factor, const d_t *d, cols_group *group)
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

FS_INLINE d_t own_share(const cols_target *t, d_wide factor)
{
    if (!FS_F64)
        return d_mul(d_mul(t->rest.high, d_power(t->d)), factor.high);
    const d_wide own = d_wide_mul(t->rest, factor);
    return d_scale(d_add(own.high, own.low), t->d);
}

/* As add_z_loss(). */
FS_SHARED d_t add_z_losses(const cols_target *t, d_t factor, d_t z_factor, double z_loss,
                           d_wide lse, d_wide *with_z)
{
    const d_t zero = d_set1(0.0);
    const d_wide f = d_wide_of(factor, zero), twice = d_wide_of(d_set1(2.0 * z_loss), zero);
    const d_wide z = d_end_mul(d_end_mul(twice, lse), d_wide_of(z_factor, zero));
    const d_wide inverse = d_end_quotient(d_set1(1.0), t->sum), p = d_end_mul(t->own, inverse);
    const d_wide lost = d_end_mul(d_end_mul(t->rest, inverse), f);
    const d_wide own = {d_scale(lost.high, t->d), d_mul(lost.low, d_power(t->d))};
    *with_z = d_end_mul(d_end_add(f, z), inverse);
    return d_add(d_wide_value(d_end_add(d_end_mul(p, z), d_wide_minus(own))), zero);
}

/* The factor of a group's gradient and what stands at its targets: as grad_row(). */
FS_INLINE void grad_factors(const cols_target *t, const d_wide *lse, double z_loss,
                            cols_group *group)
{
    d_wide factor[D_PARTS];
    d_t d[D_PARTS], at_target[D_PARTS];
    for (int p = 0; p < D_PARTS; p++) {
        const d_t f = d_load(group->factor + p * D_LANES);
        factor[p] = d_end_quotient(f, t[p].sum);
        d[p] = t[p].d;
        at_target[p] = d_sub(d_set1(0.0), own_share(&t[p], factor[p]));
        if (z_loss != 0.0)
            at_target[p] = add_z_losses(&t[p], f, d_load(group->z_factor + p * D_LANES), z_loss,
                                        lse[p], &factor[p]);
    }
    v_store(group->at_target, v_narrow(at_target));
    store_factor(factor, d, group);
}

FS_ONCE void finish_group(const cols_state *state, double z_loss, int grad, cols_group *group)
{
    cols_target target[D_PARTS];
    d_wide lse[D_PARTS];
    for (int p = 0; p < D_PARTS; p++) {
        target[p] = split_targets(state, group, p, grad || z_loss != 0.0);
        const d_wide loss = loss_of_targets(&target[p]);
        d_store(group->loss + p * D_LANES, loss.high);
        lse[p] = loss;
        if (z_loss == 0.0)
            continue;
        lse[p] = lse_of_targets(&target[p], loss, group->wide_logit[p]);
        d_store(group->z_term + p * D_LANES, d_wide_value(z_squares(z_loss, lse[p])));
    }
    if (grad)
        grad_factors(target, lse, z_loss, group);
}

/* What stands at the targets: in short rows blended in, as in cols_sweep_but(). */
FS_INLINE void write_gradient(real *tile, int64_t n, const cols_group *group)
{
    const v_t high = v_load(group->high), low = v_load(group->low), one = v_set1(1);
    const v_t first = v_load(group->lift[0]), second = v_load(group->lift[1]);
    const v_t target = v_load(group->target), at_target = v_load(group->at_target);
    const uint32_t all = (uint32_t)((UINT64_C(1) << V_LANES) - 1);
    const int lifted = (v_eq_bits(first, one) & v_eq_bits(second, one)) != all;
    for (int64_t j = 0; j < n; j++) {
        v_t t = v_load(tile + j * V_LANES);
        if (lifted)
            t = v_mul(v_mul(t, first), second);
        t = times_factor(t, high, low);
        if (n <= COLUMNS)
            t = v_select(v_eq(target, v_set1((real)j)), at_target, t);
        v_store(tile + j * V_LANES, t);
    }
    if (n > COLUMNS)
        for (int l = 0; l < V_LANES; l++)
            tile[(int64_t)group->target[l] * V_LANES + l] = group->at_target[l];
    FS_ROLLED
    for (int l = 0; l < V_LANES; l++)
        for (int64_t j = 0; !group->counted[l] && j < n; j++)
            tile[j * V_LANES + l] = 0;
}

/* No question asked in a loop where every lane counts: it would take as long as a row's
 * logarithm. */
FS_ONCE void take_losses(const fs_rows *rows, const tile_map *map, int64_t g, const cols_group *group)
{
    const int64_t lanes = rows_of_group(rows, map, g), fold = map->fold;
    double *value = rows->value + first_row(map, g), *z_term = rows->z_term + first_row(map, g);
    for (int l = 0; group->all_counted && l < V_LANES; l++)
        value[l * fold] = group->loss[l];
    const int64_t some = group->all_counted ? 0 : lanes, z_lanes = rows->z_loss != 0.0 ? lanes : 0;
    FS_ROLLED
    for (int64_t l = 0; l < some; l++)
        value[l * fold] = group->counted[l] ? group->loss[l] : 0.0;
    FS_ROLLED
    for (int64_t l = 0; l < z_lanes; l++)
        z_term[l * fold] = group->counted[l] ? group->z_term[l] : 0.0;
}

/* Step by step for all groups, as in cols_softmax.inc.h. grad is asked once a group: the sweeps
 * have a copy for each, the rest need not. */
FS_ONCE void cross_entropy_tile(const fs_rows *rows, int grad)
{
    const tile_map map = load_tile(rows);
    const int64_t step = rows->n * V_LANES;
    real *tile = (real *)rows->tile;
    cols_group group[MOST_GROUPS];
    cols_state state[MOST_GROUPS];
    taken_out out[MOST_GROUPS];
    tile_targets targets;
    load_targets(rows, &map, &targets);
    for (int64_t g = 0; g < map.groups; g++)
        begin_plain(rows, &map, g, grad, &targets, &group[g]);
    for (int64_t g = 0; g < map.groups; g++)
        if (rows->n > COLUMNS)
            take_out(tile + g * step, v_load(group[g].target), &out[g]);
    for (int64_t g = 0; g < map.groups; g++)
        sweep_targets(tile + g * step, rows->n, grad, &out[g], &group[g], &state[g]);
    for (int64_t g = 0; g < map.groups; g++)
        finish_group(&state[g], rows->z_loss, grad, &group[g]);
    for (int64_t g = 0; g < map.groups; g++)
        take_losses(rows, &map, g, &group[g]);
    if (!grad)
        return;
    for (int64_t g = 0; g < map.groups; g++)
        write_gradient(tile + g * step, rows->n, &group[g]);
    store_tile(rows, &map);
}

static void cross_entropy_cols(const fs_rows *rows) { cross_entropy_tile(rows, 0); }
static void cross_entropy_grad_cols(const fs_rows *rows) { cross_entropy_tile(rows, 1); }
