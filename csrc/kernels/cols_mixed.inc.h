/* cross-entropy with a coefficient for every class, with a row in each lane: the formulas of
 * cross_entropy_mixed.inc.h, the same operations in the same order. (Its gradient:
 * cols_mixed_grad.inc.h.) A row whose loss is not finite, or whose gaps overflow, is done alone, by
 * that file's own kernels, on a copy. */

/* What all rows of a call share. */
typedef struct {
    coefficients q; /* soft: whether there are soft targets that count, not where */
    wide even;      /* a / C sum(w) */
    wide hard;      /* A of a hard target whose class weight is one */
    wide at_hard;   /* its coefficient */
    double scale;   /* of the weights */
    double z_loss;
    int soft;       /* whether the targets are soft */
    int grad;
} mixed_call;

/* Hard targets that do not outweigh their smoothing: as mix_by_largest() has them. */
typedef struct {
    int some, all;           /* of the lanes that count */
    double here[V_LANES];    /* 1: this lane */
    double logit[V_LANES], weight[V_LANES]; /* of the target */
    real target[V_LANES], at_target[V_LANES]; /* of the gradient */
} outweighed_targets;

typedef struct {
    cols_group at; /* its targets are the pivots */
    cols_mixtures sums;
    double weight[V_LANES], share[V_LANES]; /* at the pivot: its class weight, its target */
    real slope[V_LANES], slope_low[V_LANES], base[V_LANES], base_low[V_LANES]; /* times factor */
    outweighed_targets by_largest;
    v_t others; /* of short rows: the largest but the pivot */
    int finite; /* all losses are */
} mixed_group;

FS_INLINE mixed_call begin_call(const fs_rows *rows, int soft, int grad)
{
    mixed_call call = {0};
    const wide one = wide_of(1.0, 0.0);
    call.q = row_coefficients(rows);
    call.even = wide_mul(call.q.base, wide_of(rows->weight_total, 0.0));
    call.hard = sum_of_coefficients(rows, &call.q, one);
    call.at_hard = wide_add(wide_mul(call.q.slope, one), call.q.base);
    call.scale = rows->weight_scale;
    call.z_loss = rows->z_loss;
    call.soft = soft;
    call.grad = grad;
    return call;
}

/* --- a row on its own --- */

static void cross_entropy_mixed_rows(const fs_rows *rows);
static void cross_entropy_mixed_grad_rows(const fs_rows *rows);

/* Row `row` by the kernels of cross_entropy_mixed.inc.h; its gradient goes to a lane of the
 * tile. */
FS_SHARED void mixed_alone(const fs_rows *rows, int64_t row, int grad, real *lane)
{
    real x[BLOCK], soft[BLOCK], y[BLOCK];
    const real *from = (const real *)rows->x + row * rows->x_step;
    const real *from_soft = (const real *)rows->other;
    fs_rows one = *rows;
    for (int64_t j = 0; j < rows->n; j++)
        x[j] = from[j * rows->x_class];
    for (int64_t j = 0; from_soft && j < rows->n; j++)
        soft[j] = from_soft[row * rows->other_step + j * rows->other_class];
    one.rows = 1;
    one.x = x;
    one.other = from_soft ? soft : 0;
    one.y = y;
    one.x_step = one.y_step = one.other_step = rows->n;
    one.target = rows->target + row;
    one.factor = rows->factor + row;
    one.value = rows->value + row;
    if (!grad) {
        cross_entropy_mixed_rows(&one);
        return;
    }
    cross_entropy_mixed_grad_rows(&one);
    for (int64_t j = 0; j < rows->n; j++)
        lane[j * V_LANES] = y[j];
}

/* --- the pivots --- */

#define ALL_LANES ((uint32_t)((UINT64_C(1) << V_LANES) - 1))

/* Bit l: lane l of the numbers is 1. */
FS_INLINE uint32_t bits_of_ones(const d_t *number)
{
    return v_eq_bits(v_narrow(number), v_set1(1));
}

FS_INLINE void pivots_are(const cols_classes *a, v_t class, v_t logit, mixed_group *group)
{
    v_store(group->at.target, class);
    v_store(group->at.logit, logit);
    class_weights(a, class, group->weight);
}

/* Some lanes' pivots become their largest logits. */
FS_SHARED void take_largest(const cols_classes *a, v_t target, v_t logit, mixed_group *group)
{
    outweighed_targets *by_largest = &group->by_largest;
    const cols_largest found = find_largest(a->x, a->n);
    const v_t one = v_set1(1);
    d_t wide_here[D_PARTS];
    v_store(by_largest->target, target);
    store_wide(by_largest->logit, logit);
    for (int p = 0; p < D_PARTS; p++)
        wide_here[p] = d_load(by_largest->here + p * D_LANES);
    const v_mask here = v_eq(v_narrow(wide_here), one);
    const v_t class = v_select(here, found.index, target);
    pivots_are(a, class, v_select(here, found.max, logit), group);
    group->others = v_select(here, found.others, group->others);
    store_wide(group->share, v_select(v_eq(class, target), one, v_set1(0)));
}

/* Hard targets: the target, where mix_by_target() takes it. */
FS_INLINE void begin_hard(const mixed_call *call, const cols_classes *a, mixed_group *group)
{
    outweighed_targets *by_largest = &group->by_largest;
    const v_t target = v_load(group->at.target);
    v_t others = v_set1((real)-INFINITY);
    const v_t logit = a->n > FEW_CLASSES ? at_class(a->x, a->n, target)
                                         : logit_and_others(a->x, a->n, target, &others);
    const d_t zero = d_set1(0.0), one = d_set1(1.0), even = d_set1(call->even.high);
    d_t here[D_PARTS];
    uint32_t counted = group->at.all_counted ? ALL_LANES : 0;
    pivots_are(a, target, logit, group);
    store_wide(group->share, v_set1(1));
    const int lanes = group->at.all_counted ? 0 : V_LANES;
    FS_ROLLED
    for (int l = 0; l < lanes; l++)
        counted |= (uint32_t)group->at.counted[l] << l;
    for (int p = 0; p < D_PARTS; p++) {
        const d_t weight = d_load(group->weight + p * D_LANES);
        const d_t own = d_mul(d_set1(call->q.slope.high), weight);
        const d_t outweighed = d_select(d_lt(own, even), one, zero);
        here[p] = d_select(d_lt(zero, own), outweighed, one);
        d_store(by_largest->weight + p * D_LANES, weight);
        d_store(by_largest->here + p * D_LANES, here[p]);
    }
    const uint32_t some = bits_of_ones(here) & counted;
    by_largest->some = some != 0;
    by_largest->all = some == counted;
    group->others = others;
    if (by_largest->some)
        take_largest(a, target, logit, group);
}

/* Soft targets: the first of the largest logits. */
FS_INLINE void begin_soft(const mixed_call *call, const cols_classes *a, mixed_group *group)
{
    const cols_largest found = find_largest(a->x, a->n);
    group->by_largest.some = 0;
    group->others = found.others;
    pivots_are(a, found.index, found.max, group);
    store_wide(group->share, call->q.soft ? at_class(a->soft, a->n, found.index) : v_set1(0));
}

/* As mixed_gaps() without a target's own: of lanes by the largest. */
FS_SHARED void sum_outweighed(const mixed_call *call, const cols_classes *a, v_t pivot,
                              mixed_group *group)
{
    cols_mixtures sums;
    const mixture_terms m = terms_of_mixture(pivot, 1, &call->q);
    clear_mixtures(&sums);
    cols_mixture(a, &m, &sums);
    for (int p = 0; p < D_PARTS; p++) {
        const d_mask here = d_lt(d_set1(0.0), d_load(group->by_largest.here + p * D_LANES));
        d_wide *U = &group->sums.U[p];
        U->high = d_select(here, sums.U[p].high, U->high);
        U->low = d_select(here, sums.U[p].low, U->low);
    }
}

/* As sum_mixture(); where that would take its second way, the loss is not finite. */
FS_INLINE void sum_classes(const mixed_call *call, const cols_classes *a, mixed_group *group)
{
    const v_t pivot = v_load(group->at.logit);
    clear_mixtures(&group->sums);
    if (!call->soft && !a->weight_low) {
        if (!group->by_largest.some || !group->by_largest.all)
            cols_gaps(a, pivot, group->sums.U);
        if (group->by_largest.some)
            sum_outweighed(call, a, pivot, group);
    } else if (call->q.soft && !a->weight) {
        cols_soft(a, pivot, &group->sums);
        if (call->q.base.high != 0.0)
            cols_gaps(a, pivot, group->sums.U);
    } else {
        const mixture_terms m = terms_of_mixture(pivot, 1, &call->q);
        cols_mixture(a, &m, &group->sums);
    }
}

/* --- the finish --- */

typedef struct {
    cols_target target;
    d_wide total, z;
} cols_mixed_row;

FS_INLINE d_wide total_of(const mixed_call *call, const mixed_group *group, int p)
{
    if (!call->soft && !call->q.weight)
        return d_wide_set1(call->hard);
    const d_t weight = d_load(group->by_largest.weight + p * D_LANES);
    const d_wide targets = call->soft ? group->sums.T[p] : d_wide_of(weight, d_set1(0.0));
    return d_wide_add(d_wide_mul(d_wide_set1(call->q.slope), targets), d_wide_set1(call->even));
}

/* The loss as in mix_by_largest(), without its z-loss. */
FS_SHARED d_wide loss_by_largest(const mixed_call *call, const mixed_group *group, d_wide total,
                                 d_wide distance, int p)
{
    const d_wide slope = d_wide_set1(call->q.slope), base = d_wide_set1(call->q.base);
    const d_t scale = d_set1(call->scale);
    d_wide gaps = d_end_mul(slope, group->sums.D[p]);
    if (call->q.base.high != 0.0)
        gaps = d_end_add(gaps, d_end_mul(base, group->sums.U[p]));
    if (!call->soft) {
        const d_t weight = d_load(group->by_largest.weight + p * D_LANES);
        const d_t x_t = d_load(group->by_largest.logit + p * D_LANES);
        const d_wide own = d_end_mul(slope, d_wide_of(weight, d_set1(0.0)));
        const d_wide gap = d_two_sum(group->at.wide_logit[p], d_negative(x_t));
        const d_wide sum = d_end_add(gaps, d_end_mul(own, gap));
        const d_mask none = d_eq(own.high, d_set1(0.0));
        gaps.high = d_select(none, gaps.high, sum.high);
        gaps.low = d_select(none, gaps.low, sum.low);
    }
    const d_wide above = d_end_mul(d_wide_scale(total, scale), distance);
    return d_end_add(above, d_wide_scale(gaps, scale));
}

/* The loss, without its z-loss; of hard targets as in mix_by_target(). */
FS_INLINE d_wide loss_of_mixture(const mixed_call *call, const mixed_group *group, d_wide total,
                                 d_wide distance, int p)
{
    if (call->soft)
        return loss_by_largest(call, group, total, distance, p);
    const d_wide gaps = d_end_mul(d_wide_set1(call->q.base), group->sums.U[p]);
    const d_wide sum = d_end_add(d_end_mul(total, distance), gaps);
    const d_wide loss = d_wide_scale(sum, d_set1(call->scale));
    if (!group->by_largest.some)
        return loss;
    const d_mask here = d_lt(d_set1(0.0), d_load(group->by_largest.here + p * D_LANES));
    const d_wide other = loss_by_largest(call, group, total, distance, p);
    return d_wide_of(d_select(here, other.high, loss.high), d_select(here, other.low, loss.low));
}

/* As is_ordinary(): NaN for a row that is not, so that it is done alone. */
FS_INLINE d_t if_ordinary(const cols_state *state, const mixed_group *group, int p, d_t loss)
{
    d_t max[D_PARTS];
    v_widen(state->max, max);
    const d_t number[3] = {max[p], group->at.wide_logit[p], group->sums.U[p].high};
    for (int i = 0; FS_F64 && i < 3; i++) {
        const d_t size = d_max(number[i], d_negative(number[i]));
        loss = d_select(d_lt(size, d_set1(FAR_FROM_HUGE)), loss, d_set1(NAN));
    }
    return loss;
}

FS_INLINE void finish_row(const mixed_call *call, const cols_state *state, mixed_group *group,
                          int p, cols_mixed_row *row)
{
    row->target = split_targets(state, &group->at, p, call->grad || call->z_loss != 0.0);
    row->total = total_of(call, group, p);
    const d_wide distance = loss_of_targets(&row->target);
    d_wide loss = loss_of_mixture(call, group, row->total, distance, p);
    if (!call->soft)
        loss.high = if_ordinary(state, group, p, loss.high);
    row->z = d_wide_of(d_set1(0.0), d_set1(0.0));
    if (call->z_loss != 0.0) {
        const d_wide lse = lse_of_targets(&row->target, distance, group->at.wide_logit[p]);
        const d_wide twice = d_wide_of(d_set1(2.0 * call->z_loss), d_set1(0.0));
        loss = d_end_add(loss, z_squares(call->z_loss, lse));
        row->z = d_wide_scale(d_end_mul(twice, lse), d_set1(1.0 / call->scale));
    }
    d_store(group->at.loss + p * D_LANES, d_wide_value(loss));
}
