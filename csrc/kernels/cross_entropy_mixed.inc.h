/* cross-entropy with a coefficient for every class: label smoothing and soft targets, with z-loss.
 *
 *   loss = sum_c q_c (lse - x_c) + z lse^2
 *   dloss/dx_j = p_j (A + 2 z lse) - q_j,  A = sum_c q_c
 *
 * with weights w and smoothing a over C classes (PyTorch's convention)
 *
 *   hard target t:  q_c = (1 - a) w_t [c = t] + a w_c / C
 *   soft targets t: q_c = w_c ((1 - a) t_c + a / C)
 *
 * It is a mixture of the loss of the targets and that of even targets:
 *
 *   loss = A (lse - m) + (1 - a) D + a / C U,  gaps to m
 *
 * For m = max x all terms are of one sign for ordinary weights, and nothing cancels. With a hard
 * target m = x_t spares the search for the maximum's place; its U has both signs, but
 * |a / C U| <= max(loss, a / C sum(w) (lse - x_t)), so that nothing is lost while a target's own
 * share is the larger one. Otherwise, where anything is not finite, and in rows in pieces, the
 * maximum is taken. A coefficient of 0 times an infinite gap is 0. The gaps and the gradient read
 * the row again, from cache. The loops over rows: mixed_rows.inc.h. */

typedef struct {
    wide total;    /* A over weight_scale */
    wide gaps;     /* sum_c q_c gap_c over what `scale` says, without the pivot's own distance */
    double scale;  /* multiplies the loss */
    wide z;        /* 2 z lse over weight_scale: joins A in the gradient */
    int64_t pivot; /* the class left out of the sum `rest` */
    real logit;    /* of the pivot */
    wide p, one_minus_p; /* of that class; the second from the sum of the others: exact where small */
    row_state state;
    wide rest;
    full_sum all;
} mixed_row;

FS_INLINE double class_weight(const coefficients *q, int64_t c)
{
    const double low = q->weight_low ? (double)q->weight_low[c] : 0.0;
    return q->weight ? (double)q->weight[c] + low : 1.0;
}

FS_INLINE wide end_share(wide part, wide sum)
{
    return FS_F64 ? wide_mul(part, wide_quotient(1.0, sum)) : wide_of(part.high / sum.high, 0.0);
}

FS_INLINE wide end_ratio(wide a, wide b)
{
    return FS_F64 ? wide_ratio(a, b) : wide_of(a.high / b.high, 0.0);
}

/* A = (1 - a) sum(w t) + a / C sum(w) */
FS_INLINE wide sum_of_coefficients(const fs_rows *rows, const coefficients *q, wide targets)
{
    return wide_add(wide_mul(q->slope, targets),
                    wide_mul(q->base, wide_of(rows->weight_total, 0.0)));
}

/* Whether a row is one whose hard target is its pivot: where that outweighs its smoothing. */
FS_INLINE int goes_by_target(const fs_rows *rows, int64_t i, const coefficients *q)
{
    const int64_t t = rows->target[i];
    if (rows->other || rows->pieces || t < 0)
        return 0;
    const double own = q->slope.high * class_weight(q, t);
    return own > 0.0 && q->base.high * rows->weight_total <= own;
}

/* Far from overflow, in float64: the same question for a row in each lane. */
#define FAR_FROM_HUGE 0x1p+1000

FS_INLINE int is_ordinary(double a)
{
    return FS_F64 ? a < FAR_FROM_HUGE && a > -FAR_FROM_HUGE : a - a == 0;
}

/* A row with its hard target as the pivot; 0 where that will not do. */
FS_INLINE int mix_by_target(const fs_rows *rows, const real *x, int64_t t, const coefficients *q,
                            sweep_plan *plan, mixed_row *row)
{
    plan->rule = PIVOT_INDEX;
    plan->index = row->pivot = t;
    row->logit = x[t];
    row->state = sweep(x, rows->n, plan);
    const wide gaps = q->weight_low ? sum_mixture(x, rows->n, x[t], q, 1).U
                                    : sum_gaps(x, rows->n, x[t], q->weight, q->unit);
    row->gaps = end_mul(q->base, gaps);
    row->scale = rows->weight_scale;
    row->total = sum_of_coefficients(rows, q, wide_of(class_weight(q, t), 0.0));
    return is_ordinary(gaps.high) && is_ordinary((double)x[t]) &&
           is_ordinary((double)row->state.max) && row->state.sum.high == row->state.sum.high;
}

/* sum_c q_c gap_c relative to the maximum, and T. own: the hard target's own share of A, or 0.
 * Where gaps or their sum overflow, though what they contribute may not, all is made smaller
 * first. */
FS_SHARED wide mixed_gaps(const fs_rows *rows, const real *x, real max, int64_t target, wide own,
                          const coefficients *q, wide *targets)
{
    double shrink = 1.0;
    wide gaps = {0.0, 0.0};
    for (int attempt = 0; attempt < 2; attempt++) {
        const mixture sums = mixture_of_row(rows, x, max, q, (real)shrink);
        gaps = end_mul(q->slope, sums.D);
        if (q->base.high != 0.0)
            gaps = end_add(gaps, end_mul(q->base, sums.U));
        if (own.high != 0.0) {
            const wide gap = two_sum((double)max * shrink, -((double)x[target] * shrink));
            gaps = end_add(gaps, end_mul(own, gap));
        }
        *targets = sums.T;
        if (gaps.high - gaps.high == 0)
            break;
        shrink = 0x1p-64;
    }
    return wide_scale(wide_scale(gaps, rows->weight_scale), 1.0 / shrink);
}

/* A row with its first largest logit as the pivot. */
FS_INLINE void mix_by_largest(const fs_rows *rows, const real *x, int64_t t, const coefficients *q,
                              sweep_plan *plan, mixed_row *row)
{
    wide targets, own = {0.0, 0.0};
    plan->rule = PIVOT_MAX;
    row->state = sweep_row(rows, x, plan);
    row->pivot = row->state.pivot_index < 0 ? 0 : row->state.pivot_index;
    row->logit = row->state.max;
    if (!rows->other)
        own = end_mul(q->slope, wide_of(class_weight(q, t), 0.0));
    row->gaps = mixed_gaps(rows, x, row->logit, t, own, q, &targets);
    row->scale = 1.0;
    if (!rows->other)
        targets = wide_of(class_weight(q, t), 0.0);
    row->total = sum_of_coefficients(rows, q, targets);
}

/* own: the row's extremes, if they are known. */
FS_INLINE void mix_row(const fs_rows *rows, int64_t i, const real *x, const coefficients *q,
                       const extremes *own, sweep_plan *plan, mixed_row *row)
{
    const int64_t t = rows->target[i];
    plan->known = own;
    if (goes_by_target(rows, i, q)) {
        if (mix_by_target(rows, x, t, q, plan, row))
            return;
        plan->known = 0;
    }
    mix_by_largest(rows, x, t, q, plan, row);
}

/* --- the gradient --- */

/* A row that is swept but not yet written: y_j = p_j P - (slope t_j + base) w_j. */
typedef struct {
    swept_row row;
    const real *soft, *weight, *weight_low;
    real slope, base, slope_low, base_low;
    int64_t pivot;
    real at_pivot;
} mixed_swept;

/* What p F_high, p being a term, lacks to the gradient. */
typedef struct {
    v_t slope, base, slope_low, base_low, factor_low;
    int soft, weighted, lossy;
} mixed_shares;

/* p F_low - (slope t + base) w: what is small is taken together first, the larger share of q
 * last, so that no rounding but that of the exponential, and the result's own, is of more than
 * q's size. */
FS_INLINE v_t mixed_rest(const mixed_shares *s, v_t term, v_t t, v_t w, v_t w_low)
{
    const v_t zero = v_set1(0);
    v_t q = s->base, q_low = s->base_low;
    if (s->weighted && !s->soft) { /* base w is rounded with the rest it is taken from */
        q_low = v_mul(s->base_low, w);
        if (s->lossy)
            q_low = v_fma(s->base, w_low, q_low);
        return v_fnma(s->base, w, v_fma(term, s->factor_low, v_sub(zero, q_low)));
    }
    if (s->weighted) {
        q = v_mul(s->base, w);
        q_low = v_fma(s->base_low, w, v_fma(s->base, w, v_sub(zero, q)));
    }
    if (s->lossy)
        q_low = v_fma(v_fma(s->slope, t, s->base), w_low, q_low);
    if (s->soft && s->weighted) { /* slope, which may be large, before w, which is 2 or less */
        const v_t part = v_mul(s->slope, t), lost = v_fma(s->slope, t, v_sub(zero, part));
        const v_t share = v_mul(part, w), sum = v_add(q, share), back = v_sub(sum, q);
        q_low = v_add(q_low, v_fma(part, w, v_sub(zero, share)));
        q_low = v_fma(v_fma(s->slope_low, t, lost), w, q_low);
        q_low = v_add(q_low, v_add(v_sub(q, v_sub(sum, back)), v_sub(share, back))); /* Knuth */
        q = sum;
    } else if (s->soft) {
        q_low = v_fma(s->slope_low, t, q_low);
    }
    const v_t rest = v_sub(v_fma(term, s->factor_low, v_sub(zero, q_low)), q);
    return s->soft && !s->weighted ? v_fnma(s->slope, t, rest) : rest;
}

/* `count` elements from j on. */
FS_INLINE void write_mixed_some(const mixed_swept *s, const exp_scale *scale, two_powers lift,
                                int plain, int64_t j, int64_t count)
{
    const v_t zero = v_set1(0), none = v_set1((real)-INFINITY);
    const mixed_shares shares = {v_set1(s->slope), v_set1(s->base), v_set1(s->slope_low),
                                 v_set1(s->base_low), v_set1(s->row.factor.low),
                                 s->soft != 0, s->weight != 0, s->weight_low != 0};
    v_t term;
    if (s->row.plan.out)
        term = load_some(s->row.plan.out + j, count, zero);
    else
        term = exp_scaled(v_sub(load_some(s->row.x + j, count, none), v_set1(s->row.plan.shift)),
                          scale);
    if (!plain)
        term = v_mul(v_mul(term, lift.a), lift.b);
    const v_t t = s->soft ? load_some(s->soft + j, count, zero) : zero;
    const v_t w = s->weight ? load_some(s->weight + j, count, zero) : zero;
    const v_t w_low = s->weight_low ? load_some(s->weight_low + j, count, zero) : zero;
    const v_t rest = mixed_rest(&shares, term, t, w, w_low);
    store_some(s->row.y + j, v_fma(term, v_set1(s->row.factor.high), rest), count);
}

/* The ends of a row, by one piece of code for all cases: lifting by 2^0 changes nothing. */
FS_SHARED void write_mixed_end(const mixed_swept *s, int64_t j, int64_t count)
{
    const exp_scale scale = exp_scale_for(s->row.K);
    write_mixed_some(s, &scale, powers_of_two(s->row.factor.lift), 0, j, count);
}

FS_INLINE void write_mixed_loop(const mixed_swept *s, int plain)
{
    const mixed_swept local = *s; /* in registers: stores to y might alias it */
    const two_powers lift = powers_of_two(local.row.factor.lift);
    const exp_scale scale = exp_scale_for(local.row.K);
    const int64_t n = local.row.n;
    int64_t j = unaligned_head(local.row.y, n);
    if (j > 0)
        write_mixed_end(s, 0, j);
    for (; j + V_LANES <= n; j += V_LANES)
        write_mixed_some(&local, &scale, lift, plain, j, V_LANES);
    if (j < n)
        write_mixed_end(s, j, n - j);
}

/* One loop for each of the usual cases: what is absent is known to the compiler. */
FS_SHARED void write_mixed(const mixed_swept *s)
{
    mixed_swept known = *s;
    const int plain = s->row.factor.lift == 0 && s->row.plan.out;
    if (plain && !s->soft) {
        known.soft = 0;
        if (s->weight) {
            write_mixed_loop(&known, 1);
        } else {
            known.weight = 0;
            write_mixed_loop(&known, 1);
        }
    } else if (plain && !s->weight) {
        known.weight = 0;
        write_mixed_loop(&known, 1);
    } else {
        write_mixed_loop(&known, 0);
    }
    if (s->pivot >= 0)
        s->row.y[s->pivot] = s->at_pivot;
    if (s->row.target >= 0)
        s->row.y[s->row.target] = s->row.at_target;
}

static void write_mixed_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    mixed_swept s = *(const mixed_swept *)job;
    (void)result;
    s.row.x += begin;
    s.row.y += begin;
    s.row.n = n;
    s.soft = from(s.soft, begin);
    s.weight = from(s.weight, begin);
    s.weight_low = from(s.weight_low, begin);
    s.pivot = place_in(s.pivot, begin, n);
    s.row.target = place_in(s.row.target, begin, n);
    write_mixed(&s);
}


/* q of one class; target: 1 for a hard target's own. */
FS_INLINE wide class_coefficient(const coefficients *q, int64_t c, double target)
{
    const double t = q->soft ? (double)q->soft[c] : target;
    const wide sum = wide_add(wide_mul(q->slope, wide_of(t, 0.0)), q->base);
    return wide_mul(sum, wide_of(class_weight(q, c), 0.0));
}

/* The gradient at one class, over f: p (A + 2 z lse) - q as p (A - q + 2 z lse) - q (1 - p), which
 * keeps its digits where p is nearly 1. */
FS_INLINE double class_gradient(const mixed_row *row, wide q_c, wide p, wide one_minus_p)
{
    if (!FS_F64) /* float64 is wide enough */
        return p.high * ((row->total.high - q_c.high) + row->z.high) - q_c.high * one_minus_p.high;
    const wide others = wide_add(wide_add(row->total, wide_minus(q_c)), row->z);
    return wide_value(wide_add(wide_mul(p, others), wide_minus(wide_mul(q_c, one_minus_p))));
}

/* At the pivot, whose term the sweep leaves out. */
FS_INLINE double pivot_gradient(const mixed_row *row, const coefficients *q, double target)
{
    const wide q_c = class_coefficient(q, row->pivot, target);
    return class_gradient(row, q_c, row->p, row->one_minus_p);
}

/* At a hard target that is not the pivot. */
FS_SHARED double target_gradient(const mixed_row *row, const coefficients *q, int64_t t, real x_t,
                                 real shift)
{
    const wide_exp e = exp_of_pivot(x_t, shift);
    const wide p = end_share(pivot_term(&e, row->state.K - row->all.d), row->all.sum);
    const wide others = end_add(wide_of(1.0, 0.0), wide_minus(p));
    return class_gradient(row, class_coefficient(q, t, 1.0), p, others);
}

/* factor 2^d for the terms: in the factor itself, unless it is too small for that. */
FS_INLINE row_factor whole_factor(wide factor, int64_t d)
{
    const wide folded = wide_scale(factor, power_of_two(d));
    const int fits = folded.high > SMALLEST_FACTOR || folded.high < -SMALLEST_FACTOR;
    return fits ? split_factor(folded, 0) : split_factor(factor, d);
}
