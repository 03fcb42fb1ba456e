/* The gradient of cross_entropy_mixed.inc.h with a row in each lane, and the tiles' way from logits
 * to results. */

FS_INLINE d_wide d_end_share(d_wide part, d_wide sum)
{
    if (FS_F64)
        return d_wide_mul(part, d_wide_quotient(d_set1(1.0), sum));
    return d_wide_of(d_div(part.high, sum.high), d_set1(0.0));
}

FS_INLINE d_wide d_end_ratio(d_wide a, d_wide b)
{
    return FS_F64 ? d_wide_ratio(a, b) : d_wide_of(d_div(a.high, b.high), d_set1(0.0));
}

/* As class_gradient(). */
FS_SHARED d_t gradient_of_class(const cols_mixed_row *row, d_wide q, d_wide share, d_wide others)
{
    if (!FS_F64) { /* float64 is wide enough */
        const d_t rest = d_add(d_sub(row->total.high, q.high), row->z.high);
        return d_sub(d_mul(share.high, rest), d_mul(q.high, others.high));
    }
    const d_wide lost = d_wide_mul(q, others);
    const d_wide rest = d_wide_add(d_wide_add(row->total, d_wide_minus(q)), row->z);
    return d_wide_value(d_wide_add(d_wide_mul(share, rest), d_wide_minus(lost)));
}

/* As pivot_gradient(). */
FS_INLINE d_t gradient_at_pivot(const mixed_call *call, const mixed_group *group,
                                const cols_mixed_row *row, int p)
{
    const cols_target *t = &row->target;
    const d_wide share = d_end_share(t->own, t->sum);
    const d_wide others = d_end_share(d_wide_scale(t->rest, d_power(t->d)), t->sum);
    d_wide q = d_wide_set1(call->at_hard);
    if (call->soft || group->by_largest.some) {
        const d_wide own = d_wide_of(d_load(group->share + p * D_LANES), d_set1(0.0));
        q = d_wide_add(d_wide_mul(d_wide_set1(call->q.slope), own), d_wide_set1(call->q.base));
    }
    if (call->q.weight)
        q = d_wide_mul(q, d_wide_of(d_load(group->weight + p * D_LANES), d_set1(0.0)));
    return gradient_of_class(row, q, share, others);
}

/* As target_gradient(): of hard targets that are not the pivot. */
FS_INLINE d_t gradient_at_target(const mixed_call *call, const mixed_group *group,
                                 const cols_mixed_row *row, int p)
{
    const cols_target *t = &row->target;
    const d_t x_t = d_load(group->by_largest.logit + p * D_LANES);
    const d_exponential e = d_exp_wide(d_two_sum(x_t, d_negative(t->shift)));
    const d_t up = d_sub(d_set1(HEADROOM), d_sub(t->K, t->d));
    const d_wide term = d_wide_scale(e.fraction, d_power(d_add(up, e.exponent)));
    const d_wide share = d_end_share(term, t->sum);
    const d_wide others = d_end_add(d_wide_of(d_set1(1.0), d_set1(0.0)), d_wide_minus(share));
    const d_t weight = d_load(group->by_largest.weight + p * D_LANES);
    const d_wide q = d_wide_mul(d_wide_set1(call->at_hard), d_wide_of(weight, d_set1(0.0)));
    return gradient_of_class(row, q, share, others);
}

/* What stands at the targets of by_largest; where they are the pivots, what stands there. */
FS_INLINE void targets_of_largest(const mixed_call *call, const cols_mixed_row *row, const d_t *f,
                                  mixed_group *group)
{
    d_t at_target[D_PARTS];
    for (int p = 0; p < D_PARTS; p++)
        at_target[p] = d_add(d_mul(f[p], gradient_at_target(call, group, &row[p], p)),
                             d_set1(0.0));
    const v_t own = v_narrow(at_target), at_pivot = v_load(group->at.at_target);
    const v_mask same = v_eq(v_load(group->by_largest.target), v_load(group->at.target));
    v_store(group->by_largest.at_target, v_select(same, at_pivot, own));
}

/* f a as two reals. */
FS_INLINE void store_product(const d_t *f, wide a, real *high, real *low)
{
    d_t whole[D_PARTS], head[D_PARTS], rest[D_PARTS];
    for (int p = 0; p < D_PARTS; p++)
        whole[p] = d_mul(f[p], d_set1(a.high));
    const v_t first = v_narrow(whole);
    v_widen(first, head);
    for (int p = 0; p < D_PARTS; p++)
        rest[p] = d_add(d_fma(f[p], d_set1(a.high), d_negative(head[p])),
                        d_mul(f[p], d_set1(a.low)));
    v_store(high, first);
    v_store(low, v_narrow(rest));
}

/* What the gradient is written from: as factors_of_row(). */
FS_INLINE void gradient_factors(const mixed_call *call, const cols_mixed_row *row,
                                mixed_group *group)
{
    d_wide factor[D_PARTS];
    d_t f[D_PARTS], d[D_PARTS], at_pivot[D_PARTS];
    const d_t zero = d_set1(0.0), least = d_set1(SMALLEST_FACTOR);
    for (int p = 0; p < D_PARTS; p++) {
        const cols_target *t = &row[p].target;
        f[p] = d_load(group->at.factor + p * D_LANES);
        const d_wide total = d_end_add(row[p].total, row[p].z);
        factor[p] = d_end_ratio(d_end_mul(d_wide_of(f[p], zero), total), t->sum);
        const d_wide folded = d_wide_scale(factor[p], d_power(t->d)); /* as whole_factor() */
        const d_mask fits = d_lt(least, d_max(folded.high, d_negative(folded.high)));
        factor[p].high = d_select(fits, folded.high, factor[p].high);
        factor[p].low = d_select(fits, folded.low, factor[p].low);
        d[p] = d_select(fits, zero, t->d);
        at_pivot[p] = d_add(d_mul(f[p], gradient_at_pivot(call, group, &row[p], p)), zero);
    }
    v_store(group->at.at_target, v_narrow(at_pivot));
    if (group->by_largest.some)
        targets_of_largest(call, row, f, group);
    store_factor(factor, d, &group->at);
    store_product(f, call->q.slope, group->slope, group->slope_low);
    store_product(f, call->q.base, group->base, group->base_low);
}

/* As write_mixed_some(). */
FS_INLINE void write_classes(real *tile, const cols_classes *a, const mixed_group *group, int soft,
                             int weighted, int lifted)
{
    const v_t zero = v_set1(0), high = v_load(group->at.high), low = v_load(group->at.low);
    const v_t first = v_load(group->at.lift[0]), second = v_load(group->at.lift[1]);
    const v_t pivot = v_load(group->at.target), at_pivot = v_load(group->at.at_target);
    const mixed_shares shares = {v_load(group->slope), v_load(group->base),
                                 v_load(group->slope_low), v_load(group->base_low), low,
                                 soft, weighted, weighted && a->weight_low};
    for (int64_t j = 0; j < a->n; j++) {
        v_t term = v_load(tile + j * V_LANES);
        if (lifted)
            term = v_mul(v_mul(term, first), second);
        const v_t t = soft ? v_load(a->soft + j * V_LANES) : zero;
        const v_t w = weighted ? v_set1(a->weight[j]) : zero;
        const v_t w_low = shares.lossy ? v_set1(a->weight_low[j]) : zero;
        term = v_fma(term, high, mixed_rest(&shares, term, t, w, w_low));
        v_store(tile + j * V_LANES, v_select(v_eq(pivot, v_set1((real)j)), at_pivot, term));
    }
}

/* One loop for each of the usual cases. */
FS_INLINE void write_mixed_group(const mixed_call *call, real *tile, const cols_classes *a,
                                 const mixed_group *group)
{
    const v_t first = v_load(group->at.lift[0]), second = v_load(group->at.lift[1]);
    const v_t one = v_set1(1);
    const int soft = call->q.soft != 0, weighted = a->weight != 0;
    if ((v_eq_bits(first, one) & v_eq_bits(second, one)) != ALL_LANES)
        write_classes(tile, a, group, soft, weighted, 1);
    else if (!soft && !weighted)
        write_classes(tile, a, group, 0, 0, 0);
    else if (!soft)
        write_classes(tile, a, group, 0, 1, 0);
    else
        write_classes(tile, a, group, 1, weighted, 0);
    const int outweighed = group->by_largest.some ? V_LANES : 0;
    FS_ROLLED
    for (int l = 0; l < outweighed; l++)
        tile[(int64_t)group->by_largest.target[l] * V_LANES + l] = group->by_largest.at_target[l];
    const int some = group->at.all_counted ? 0 : V_LANES;
    FS_ROLLED
    for (int l = 0; l < some; l++)
        for (int64_t j = 0; !group->at.counted[l] && j < a->n; j++)
            tile[j * V_LANES + l] = 0;
}

/* Rows whose loss is not finite, each alone. */
FS_SHARED void take_odd_rows(const fs_rows *rows, const tile_map *map, int64_t g, int grad,
                             const cols_group *group, real *tile)
{
    const int64_t lanes = rows_of_group(rows, map, g);
    int64_t at = first_row(map, g);
    FS_ROLLED
    for (int64_t l = 0; l < lanes; l++, at += map->fold)
        if (group->counted[l] && !(group->loss[l] - group->loss[l] == 0))
            mixed_alone(rows, at, grad, tile + l);
}

FS_INLINE void begin_mixed(const mixed_call *call, const cols_classes *a, mixed_group *group)
{
    if (call->soft)
        begin_soft(call, a, group);
    else
        begin_hard(call, a, group);
    v_widen(v_load(group->at.logit), group->at.wide_logit);
    sum_classes(call, a, group); /* before the terms take the logits' place */
}

FS_INLINE void sweep_mixed(int grad, real *tile, int64_t n, const taken_out *out,
                           const mixed_group *group, cols_state *state)
{
    const v_t pivot = v_load(group->at.target), others = group->others;
    const v_t max = v_max(v_load(group->at.logit), others);
    if (grad)
        cols_keep_but(tile, n, max, others, pivot, out, state);
    else
        cols_sum_but(tile, n, max, others, pivot, out, state);
}

FS_INLINE void finish_mixed_group(const mixed_call *call, const cols_state *state,
                                  mixed_group *group)
{
    cols_mixed_row row[D_PARTS];
    d_t finite[D_PARTS];
    for (int p = 0; p < D_PARTS; p++) {
        finish_row(call, state, group, p, &row[p]);
        const d_t loss = d_load(group->at.loss + p * D_LANES);
        finite[p] = d_if_finite(loss, d_set1(1.0), d_set1(0.0));
    }
    group->finite = bits_of_ones(finite) == ALL_LANES;
    if (call->grad)
        gradient_factors(call, row, group);
}

/* Step by step for all groups, as in cols_softmax.inc.h. What differs from call to call is asked
 * once a group, not known to the compiler: with a copy for each kind of call these two kernels were
 * a third of all code. */
FS_ONCE void mixed_tile(const fs_rows *rows, int grad)
{
    const tile_map map = load_tile(rows);
    const mixed_call call = begin_call(rows, rows->other != 0, grad);
    const int64_t n = rows->n, step = n * V_LANES;
    real *tile = (real *)rows->tile, *soft_tile = (real *)rows->other_tile;
    mixed_group group[MOST_GROUPS];
    cols_classes classes[MOST_GROUPS];
    cols_state state[MOST_GROUPS];
    taken_out out[MOST_GROUPS];
    tile_targets targets;
    load_targets(rows, &map, &targets);
    if (call.q.soft)
        load_lanes(rows, &map, (const real *)rows->other, rows->other_step, rows->other_class,
                   soft_tile);
    for (int64_t g = 0; g < map.groups; g++) {
        const cols_classes a = {tile + g * step, call.q.soft ? soft_tile + g * step : 0,
                                call.q.weight, call.q.weight_low, n};
        classes[g] = a;
        begin_plain(rows, &map, g, grad, &targets, &group[g].at);
    }
    for (int64_t g = 0; g < map.groups; g++)
        begin_mixed(&call, &classes[g], &group[g]);
    for (int64_t g = 0; g < map.groups; g++)
        take_pivots(tile + g * step, n, v_load(group[g].at.target), &out[g]);
    for (int64_t g = 0; g < map.groups; g++)
        sweep_mixed(grad, tile + g * step, n, &out[g], &group[g], &state[g]);
    for (int64_t g = 0; g < map.groups; g++)
        finish_mixed_group(&call, &state[g], &group[g]);
    for (int64_t g = 0; g < map.groups; g++) {
        take_losses(rows, &map, g, &group[g].at);
        if (grad)
            write_mixed_group(&call, tile + g * step, &classes[g], &group[g]);
        if (!group[g].finite)
            take_odd_rows(rows, &map, g, grad, &group[g].at, tile + g * step);
    }
    if (grad)
        store_tile(rows, &map);
}

static void cross_entropy_mixed_cols(const fs_rows *rows) { mixed_tile(rows, 0); }
static void cross_entropy_mixed_grad_cols(const fs_rows *rows) { mixed_tile(rows, 1); }
