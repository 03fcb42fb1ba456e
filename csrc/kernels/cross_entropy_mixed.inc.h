/* cross-entropy with a coefficient for every class: label smoothing, soft targets, and the z-loss.
 *
 *   loss = sum_c q_c (lse - x_c) + z lse^2 = A log(1 + R) + D + z lse^2
 *   dloss/dx_j = p_j (A + 2 z lse) - q_j
 *   A = sum_c q_c,  D = sum_c q_c (max - x_c),  lse = max + log(1 + R), R as in logsumexp
 *
 * with weights w and smoothing a over C classes (PyTorch's convention)
 *
 *   hard target t:  q_c = (1 - a) w_t [c = t] + a w_c / C
 *   soft targets t: q_c = w_c ((1 - a) t_c + a / C)
 *
 * All terms of A and D are of one sign for ordinary weights: nothing cancels. A coefficient of 0
 * times an infinite max - x_c is 0. D and the gradient read the row again, from cache.
 */

/* q_c = (slope t_c + base) w_c, without the hard target's own share. */
typedef struct {
    const real *soft, *weight; /* 0: none, all one */
    real slope, base;
    int any; /* whether any q_c is there beside the hard target's */
} coefficients;

/* f: what multiplies them, 1 in the loss, the row's factor in the gradient. */
FS_INLINE coefficients row_coefficients(const fs_rows *rows, int64_t i, double f)
{
    coefficients q;
    q.soft = rows->other ? (const real *)rows->other + i * rows->other_step : 0;
    q.weight = (const real *)rows->class_weight;
    q.slope = (real)(f * (1.0 - rows->smoothing));
    q.base = (real)(f * rows->smoothing / (double)rows->n);
    q.any = q.soft || rows->smoothing != 0.0;
    return q;
}

/* All of a vector, or its first lanes and rest. */
FS_INLINE v_t load_some(const real *p, int64_t count, v_t rest)
{
    return count >= V_LANES ? v_load(p) : v_load_part(p, count, rest);
}

FS_INLINE void store_some(real *p, v_t a, int64_t count)
{
    if (count >= V_LANES)
        v_store(p, a);
    else
        v_store_part(p, a, count);
}

/* The coefficients from class j on; what stands where there is no class is of no use. */
FS_INLINE v_t class_coefficients(const coefficients *q, int64_t j, int64_t count)
{
    const v_t zero = v_set1(0);
    v_t value = v_set1(q->base);
    if (q->soft)
        value = v_fma(v_set1(q->slope), load_some(q->soft + j, count, zero), value);
    if (q->weight)
        value = v_mul(value, load_some(q->weight + j, count, zero));
    return value;
}

typedef struct { wide A, D; } mixture;

/* One column set of a group of classes into the two sums; `count` of them are left from j on.
 * Added pairwise in the precision of the logits: the terms are all of one sign. */
FS_INLINE void add_mixture(const real *x, int64_t j, int64_t count, v_t max, const coefficients *q,
                           v_acc_t *a, v_acc_t *d)
{
    const v_t zero = v_set1(0);
    v_t coefficient[4], term[4];
    for (int i = 0; i < 4; i++) {
        const int64_t at = j + i * COLUMNS, left = count - i * COLUMNS;
        coefficient[i] = term[i] = zero;
        if (left <= 0)
            continue;
        const v_t gap = v_sub(max, load_some(x + at, left, max));
        term[i] = gap;
        if (q->soft || q->weight) {
            const v_t value = class_coefficients(q, at, left);
            real lanes[V_LANES] = {0};
            coefficient[i] = value;
            term[i] = v_where_nonzero(value, v_mul(value, gap));
            if (left < V_LANES) {
                v_store_part(lanes, value, left);
                coefficient[i] = v_load(lanes);
            }
        }
    }
    if (q->soft)
        v_acc_add(a, v_add(v_add(coefficient[0], coefficient[1]),
                           v_add(coefficient[2], coefficient[3])));
    v_acc_add(d, v_add(v_add(term[0], term[1]), v_add(term[2], term[3])));
}

FS_INLINE mixture mixture_loop(const real *x, int64_t n, real max, const coefficients *q)
{
    const v_t maxima = v_set1(max);
    const int64_t whole = n - n % GROUP;
    column_sums a, d;
    columns_clear(&a);
    columns_clear(&d);
    for (int64_t j = 0; j < whole; j += GROUP)
        for (int v = 0; v < VECTORS; v++)
            add_mixture(x, j + v * V_LANES, GROUP, maxima, q, &a.part[v], &d.part[v]);
    for (int v = 0; whole < n && v < VECTORS; v++)
        add_mixture(x, whole + v * V_LANES, n - whole - v * V_LANES, maxima, q, &a.part[v],
                    &d.part[v]);
    const mixture sums = {columns_total(&a), columns_total(&d)};
    return sums;
}

/* A and D over a row, the hard target's share left out. With soft targets A is summed; otherwise it
 * is base times the sum of the weights. One loop for each case: q is constant to the compiler. */
FS_SHARED mixture sum_mixture(const real *x, int64_t n, real max, const coefficients *q,
                              double weight_total)
{
    mixture sums;
    coefficients known = *q;
    if (q->soft && q->weight)
        return mixture_loop(x, n, max, q);
    if (q->soft) {
        known.weight = 0;
        return mixture_loop(x, n, max, &known);
    }
    known.soft = 0;
    if (q->weight) {
        sums = mixture_loop(x, n, max, &known);
    } else {
        known.weight = 0;
        sums = mixture_loop(x, n, max, &known);
        sums.D = wide_of((sums.D.high + sums.D.low) * (double)q->base, 0.0);
    }
    sums.A = wide_of((double)q->base * weight_total, 0.0);
    return sums;
}

typedef struct {
    double loss;
    double lse;
    double own;   /* the hard target's share of A; 0 for soft targets */
    double other; /* the rest of A */
    wide rest;    /* the sum of all exponentials but the largest */
    full_sum all;
} mixed_row;

/* The hard target's share of loss: q_t (lse - x_t), 0 for q_t = 0. */
FS_INLINE double own_loss(double own, double max, double x_t, double distance)
{
    return own == 0.0 ? 0.0 : own * ((max - x_t) + distance);
}

FS_INLINE mixed_row mix_row(const fs_rows *rows, int64_t i, const real *x, const row_state *state,
                            const sweep_plan *plan)
{
    mixed_row row = {0};
    mixture sums = {{0.0, 0.0}, {0.0, 0.0}};
    const coefficients q = row_coefficients(rows, i, 1.0);
    const double distance = log_ratio(state, plan->shift), max = (double)state->max;
    if (q.any)
        sums = sum_mixture(x, rows->n, state->max, &q, rows->weight_total);
    row.lse = max + distance;
    row.other = sums.A.high + sums.A.low;
    row.loss = sums.D.high + fma(row.other, distance, sums.D.low);
    if (!q.soft) {
        const int64_t t = rows->target[i];
        const real *weight = (const real *)rows->class_weight;
        row.own = (1.0 - rows->smoothing) * (weight ? (double)weight[t] : 1.0);
        row.loss += own_loss(row.own, max, (double)x[t], distance);
    }
    if (rows->z_loss != 0.0)
        row.loss = fma(rows->z_loss * row.lse, row.lse, row.loss);
    if (distance != distance) /* NaN shows, whatever its coefficient */
        row.loss = NAN;
    const wide_exp pivot = exp_of_pivot(state->max, plan->shift);
    row.rest = checked_sum(state);
    row.all = sum_with_pivot(row.rest, state->K, &pivot);
    return row;
}

static void cross_entropy_mixed_rows(const fs_rows *rows)
{
    for (int64_t i = 0; i < rows->rows; i++) {
        const real *x = (const real *)rows->x + i * rows->x_step;
        sweep_plan plan = {PIVOT_MAX, 0, 0, 0, 0};
        rows->value[i] = 0.0;
        if (rows->target[i] < 0)
            continue;
        const row_state state = sweep(x, rows->n, &plan);
        rows->value[i] = mix_row(rows, i, x, &state, &plan).loss;
    }
}

/* y_j = p_j P - q_j f, the difference rounded once, at its own size. The exponentials were kept in
 * scratch, or are computed again. */
FS_INLINE void mixed_loop(const swept_row *row, const coefficients *q)
{
    const v_t high = v_set1(row->factor.high), low = v_set1(row->factor.low), zero = v_set1(0);
    const v_t shift = v_set1(row->plan.shift), none = v_set1((real)-INFINITY);
    const two_powers lift = powers_of_two(row->factor.lift);
    const exp_scale powers = exp_scale_for(row->K);
    const real *kept = row->plan.out;
    for (int64_t j = 0; j < row->n; j += V_LANES) {
        const int64_t left = row->n - j;
        const v_t raw = kept ? load_some(kept + j, left, zero)
                             : exp_scaled(v_sub(load_some(row->x + j, left, none), shift), &powers);
        const v_t term = v_mul(v_mul(raw, lift.a), lift.b);
        const v_t q_j = q->any ? class_coefficients(q, j, left) : zero;
        const v_t y_j = v_fma(term, low, v_fma(term, high, v_sub(zero, q_j)));
        store_some(row->y + j, y_j, left);
    }
}

FS_SHARED void write_mixed(const swept_row *row, const coefficients *q)
{
    coefficients known = *q;
    if (q->soft) {
        mixed_loop(row, q);
    } else {
        known.soft = 0;
        mixed_loop(row, &known);
    }
}

/* The coefficient of one class, the hard target's own share left out. */
FS_INLINE double class_coefficient(const fs_rows *rows, const coefficients *q, int64_t c)
{
    const double base = rows->smoothing / (double)rows->n;
    const double weight = q->weight ? (double)q->weight[c] : 1.0;
    return (q->soft ? fma(1.0 - rows->smoothing, (double)q->soft[c], base) : base) * weight;
}

/* The gradient at one class, over f: p (A + 2 z lse) - q, in full precision. For the largest
 * element, whose term the sweep leaves out, and for a hard target: as
 * q (p - 1) + p (A - q + 2 z lse), with 1 - p from the sum of the others. */
FS_INLINE double class_gradient(const fs_rows *rows, const mixed_row *row, const coefficients *q,
                                int64_t c, double own, const real *x, const row_state *state,
                                const sweep_plan *plan)
{
    const int64_t scale = state->K - row->all.d;
    const wide_exp e = exp_of_pivot(x[c], plan->shift);
    const wide term = pivot_term(&e, scale), minus = wide_of(-term.high, -term.low);
    const wide rest = c == state->pivot_index ? wide_scale(row->rest, power_of_two(row->all.d))
                                              : wide_add(row->all.sum, minus);
    const double p = term.high / row->all.sum.high, one_minus_p = rest.high / row->all.sum.high;
    const double q_c = class_coefficient(rows, q, c) + own;
    const double others = (row->other + row->own - q_c) + 2.0 * rows->z_loss * row->lse;
    return p * others - q_c * one_minus_p;
}

static void cross_entropy_mixed_grad_rows(const fs_rows *rows)
{
    late_rows late;
    for (int64_t i = 0; i < rows->rows; i++) {
        const int64_t t = rows->target[i];
        const double f = rows->factor[i];
        swept_row row = begin_row(rows, i, &late);
        rows->value[i] = 0.0;
        if (t < 0) {
            fill(row.y, rows->n, 0);
            continue;
        }
        if (!write_late(rows)) /* a long row may be overwritten only once D is known */
            row.plan.out = 0;
        row.plan.rule = PIVOT_MAX;
        const row_state state = sweep(row.x, rows->n, &row.plan);
        const mixed_row mix = mix_row(rows, i, row.x, &state, &row.plan);
        const coefficients q = row_coefficients(rows, i, f), one = row_coefficients(rows, i, 1.0);
        const double total = mix.own + mix.other + 2.0 * rows->z_loss * mix.lse;
        const int64_t largest = state.pivot_index < 0 ? 0 : state.pivot_index;
        const double at_largest = class_gradient(rows, &mix, &one, largest, 0.0, row.x, &state,
                                                 &row.plan);
        const double at_target = q.soft ? 0.0 : class_gradient(rows, &mix, &one, t, mix.own, row.x,
                                                               &state, &row.plan);
        row.K = state.K;
        row.factor = split_factor(wide_quotient(f * total, mix.all.sum), mix.all.d);
        rows->value[i] = mix.loss;
        write_mixed(&row, &q);
        row.y[largest] = (real)(f * at_largest + 0.0);
        if (!q.soft)
            row.y[t] = (real)(f * at_target + 0.0);
    }
}
