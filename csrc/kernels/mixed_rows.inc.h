/* Losses with a coefficient for every class, of rows one by one, and their gradients: put aside and
 * finished V_LANES at a time, as in rows_values.inc.h. */

/* Rows that wait for their loss, total dist + gaps, dist being log(1 + R) to the pivot. */
typedef struct {
    rows_aside rows; /* their logits are those of the pivots */
    double total[V_LANES], total_low[V_LANES], gaps[V_LANES], gaps_low[V_LANES], scale[V_LANES];
} mixed_aside;

FS_SHARED void finish_mixed(const fs_rows *rows, mixed_aside *aside)
{
    losses_aside losses;
    if (aside->rows.count == 0)
        return;
    losses_of(&aside->rows, rows->z_loss, &losses);
    FS_ROLLED
    for (int64_t l = 0; l < aside->rows.count; l++) {
        const wide total = wide_of(aside->total[l], aside->total_low[l]);
        const wide above = end_mul(total, wide_of(losses.loss[l], losses.low[l]));
        const wide sum = end_add(above, wide_of(aside->gaps[l], aside->gaps_low[l]));
        const wide z = wide_of(losses.z[l], losses.z_low[l]), loss = wide_scale(sum, aside->scale[l]);
        rows->value[aside->rows.row[l]] = wide_value(rows->z_loss != 0.0 ? end_add(loss, z) : loss);
    }
    aside->rows.count = 0;
}

/* scale: 1 for rows whose gaps have it already, as mix_by_largest() has them; their total takes it
 * here. */
FS_INLINE void put_mixed_aside(const fs_rows *rows, mixed_aside *aside, int64_t i,
                               const mixed_row *row, real shift)
{
    const int64_t l = aside->rows.count;
    const wide total = row->scale == 1.0 ? wide_scale(row->total, rows->weight_scale) : row->total;
    aside->total[l] = total.high;
    aside->total_low[l] = total.low;
    aside->gaps[l] = row->gaps.high;
    aside->gaps_low[l] = row->gaps.low;
    aside->scale[l] = row->scale;
    aside->rows.logit[l] = row->logit;
    put_aside(&aside->rows, i, &row->state, shift);
    if (aside->rows.count == V_LANES)
        finish_mixed(rows, aside);
}

FS_INLINE extremes mixed_extremes(const fs_rows *rows, int64_t i, const coefficients *q)
{
    const int by_target = i < rows->rows && goes_by_target(rows, i, q);
    return extremes_of_row(rows, i, by_target ? PIVOT_INDEX : PIVOT_MAX);
}

/* The row's sums and shares, from its state and the exponential of its pivot. */
FS_INLINE void share_row(const fs_rows *rows, const target_exp *e, real shift, mixed_row *row)
{
    target_terms terms = split_target(&row->state, row->logit, e);
    row->rest = terms.rest;
    row->all = terms.all;
    row->one_minus_p = end_share(wide_scale(row->rest, power_of_two(row->all.d)), row->all.sum);
    row->p = end_share(pivot_term(&e->own, row->state.K - row->all.d), row->all.sum);
    row->z = wide_of(0.0, 0.0);
    if (rows->z_loss == 0.0)
        return;
    end_target(&row->state, row->logit, e, shift, rows->z_loss, &terms);
    row->z = wide_scale(end_mul(wide_of(2.0 * rows->z_loss, 0.0), terms.lse),
                        1.0 / rows->weight_scale);
}

/* The shares of targets and evenness, times the row's factor, as two reals each. */
FS_INLINE void split_shares(double f, const coefficients *q, mixed_swept *s)
{
    s->slope = (real)(f * q->slope.high);
    s->base = (real)(f * q->base.high);
    s->slope_low = (real)(fma(f, q->slope.high, -(double)s->slope) + f * q->slope.low);
    s->base_low = (real)(fma(f, q->base.high, -(double)s->base) + f * q->base.low);
}

/* What a swept row's gradient is written from. e: of its pivot. */
FS_INLINE void factors_of_row(const fs_rows *rows, int64_t i, const coefficients *q,
                              const target_exp *e, mixed_row *row, mixed_swept *s)
{
    const int64_t t = rows->target[i];
    const int at_target = row->pivot == t && !rows->other;
    const double f = rows->factor[i];
    share_row(rows, e, s->row.plan.shift, row);
    split_shares(f, q, s);
    s->soft = q->soft;
    s->weight = q->weight;
    s->weight_low = q->weight_low;
    s->row.K = row->state.K;
    const wide total = end_mul(wide_of(f, 0.0), end_add(row->total, row->z));
    s->row.factor = whole_factor(end_ratio(total, row->all.sum), row->all.d);
    s->pivot = row->pivot;
    s->at_pivot = (real)(f * pivot_gradient(row, q, at_target) + 0.0);
    if (at_target || rows->other)
        return;
    s->row.target = t;
    s->row.at_target =
        (real)(f * target_gradient(row, q, t, s->row.x[t], s->row.plan.shift) + 0.0);
}

/* Rarely needed. */
FS_SHARED target_exp exp_of_target_again(real x_t, real shift) { return exp_of_target(x_t, shift); }

/* A row swept, its loss put aside, and with a gradient, what that is written from. */
FS_INLINE void take_mixed_row(const fs_rows *rows, int64_t i, int grad, const coefficients *q,
                              const extremes *own, mixed_aside *aside, mixed_swept *s)
{
    const real *x = s->row.x;
    const real likely = goes_by_target(rows, i, q) ? x[rows->target[i]] : own->max;
    mixed_row row;
    target_exp e = {0};
    if (grad)
        e = exp_of_target(likely, 0); /* a long chain, which the sweep hides */
    mix_row(rows, i, x, q, own, &s->row.plan, &row);
    put_mixed_aside(rows, aside, i, &row, s->row.plan.shift);
    if (!grad)
        return;
    if (row.logit != likely || s->row.plan.shift != 0)
        e = exp_of_target_again(row.logit, s->row.plan.shift);
    factors_of_row(rows, i, q, &e, &row, s);
}

/* Short rows are written one row late, as in scale.inc.h. One copy for loss and gradient: it is
 * long. */
FS_ONCE void mixed_rows(const fs_rows *rows, int grad)
{
    const int wait = write_late(rows);
    late_rows late;
    mixed_aside aside = {0};
    mixed_swept last = {0};
    int waiting = 0;
    coefficients q = row_coefficients(rows);
    extremes next = mixed_extremes(rows, 0, &q);
    for (int64_t i = 0; i < rows->rows; i++) {
        const extremes own = next;
        const int counted = rows->target[i] >= 0;
        mixed_swept row = {0};
        next = mixed_extremes(rows, i + 1, &q);
        rows->value[i] = 0.0;
        q.soft = soft_of_row(rows, i, &q);
        row.row = begin_row(rows, i, &late);
        if (!grad || !wait) /* a long row may be overwritten only once its gaps are known */
            row.row.plan.out = 0;
        if (counted)
            take_mixed_row(rows, i, grad, &q, &own, &aside, &row);
        else if (grad)
            write_zeros(rows, row.row.y);
        if (waiting)
            write_mixed(&last);
        if (grad && counted && rows->pieces)
            each_piece(rows, write_mixed_piece, &row);
        else if (grad && counted && !wait)
            write_mixed(&row);
        waiting = grad && counted && wait;
        if (waiting)
            last = row;
    }
    if (waiting)
        write_mixed(&last);
    finish_mixed(rows, &aside);
}

static void cross_entropy_mixed_rows(const fs_rows *rows) { mixed_rows(rows, 0); }
static void cross_entropy_mixed_grad_rows(const fs_rows *rows) { mixed_rows(rows, 1); }
