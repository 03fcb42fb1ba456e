/* cross-entropy of a hard target t, and its gradient:
 *
 *   loss = log(1 + R),  R = sum over j != t of e^(x_j) / e^(x_t)
 *   dloss/dx_j = e^(x_j) / S,  S = (1 + R) e^(x_t);   at the target -R / (1 + R)
 *
 * A z-loss z lse^2 adds p_j 2 z lse. The target is left out of the sum, so a confident loss keeps its digits: with logits [20, 0, 0]
 * and label 0 the loss is 4.1e-9 where 1 + R is already 1. A label is read once by the driver. */

typedef struct {
    double loss, loss_low; /* float32: without a low part */
    double lse, p; /* logsumexp and the target's probability: only where there is a z-loss */
    wide rest; /* sum over the others, times 2^(HEADROOM - K) */
    full_sum all;
} target_terms;

/* e^(shift - x_t) and its reciprocal: a long chain of operations, so it is begun before the sweep
 * and runs beside it; the rare row that turns out to need a shift has it done again. */
typedef struct {
    wide distance;
    wide_exp inverse;
    wide_exp own;
} target_exp;

FS_INLINE target_exp exp_of_target(real x_t, real shift)
{
    target_exp e;
    e.distance = two_sum((double)shift, -(double)x_t);
    if (FS_F64) {
        e.inverse = exp_wide(e.distance);
    } else {
        const one_exponential inverse = one_exp_short(e.distance.high);
        e.inverse.fraction = wide_of(inverse.fraction, 0.0);
        e.inverse.exponent = (int64_t)inverse.exponent;
    }
    e.own.fraction = end_quotient(1.0, e.inverse.fraction);
    e.own.exponent = -e.inverse.exponent;
    return e;
}

FS_INLINE wide loss_of_target(wide rest, int64_t K, const target_exp *target)
{
    const wide_exp e = target->inverse;
    if (!FS_F64) {
        const one_exponential inverse = {e.fraction.high, (double)e.exponent};
        return wide_of(one_loss_short(rest.high, (double)K, target->distance.high, inverse), 0.0);
    }
    if (target->distance.high > 0x1p+30) /* hopeless: R itself has left the range */
        return wide_of(target->distance.high + log_wide(rest, K - HEADROOM).high, 0.0);
    return log1p_scaled(wide_mul(rest, e.fraction), K - HEADROOM + e.exponent);
}

FS_INLINE target_terms split_target(const row_state *state, real x_t, const target_exp *target)
{
    target_terms terms;
    const int bad = x_t == INFINITY || x_t != x_t;
    terms.rest = bad ? wide_of(NAN, 0.0) : checked_sum(state);
    terms.all = sum_with_pivot(terms.rest, state->K, &target->own);
    if (!FS_F64)
        terms.all.sum.low = 0.0;
    wide loss = wide_of(bad || terms.rest.high != terms.rest.high ? NAN : INFINITY, 0.0);
    if (x_t - x_t == 0 && terms.rest.high == terms.rest.high)
        loss = loss_of_target(terms.rest, state->K, target);
    terms.loss = loss.high;
    terms.loss_low = loss.low;
    return terms;
}

/* log of the sum of a row that has a z-loss. */
FS_SHARED double lse_of(const full_sum *all, int64_t K, real shift)
{
    if (all->sum.high != all->sum.high)
        return NAN;
    if (!FS_F64)
        return (double)shift + one_log_scaled(all->sum.high, (double)(K - all->d - HEADROOM));
    return (double)shift + log_wide(all->sum, K - all->d - HEADROOM).high;
}

/* What its target makes of a row's state. */
FS_INLINE void end_target(const row_state *state, real x_t, const target_exp *e, real shift,
                          double z_loss, target_terms *terms)
{
    *terms = split_target(state, x_t, e);
    terms->lse = terms->p = 0.0;
    if (z_loss != 0.0) {
        terms->lse = lse_of(&terms->all, state->K, shift);
        terms->p = pivot_term(&e->own, state->K - terms->all.d).high / terms->all.sum.high;
    }
}

/* The state of a row, and what its target makes of it. plan: where the terms are kept. */
FS_INLINE row_state sweep_target(const real *x, int64_t n, double z_loss, sweep_plan *plan,
                                 target_terms *terms)
{
    const real x_t = x[plan->index];
    target_exp e = exp_of_target(x_t, 0);
    const row_state state = sweep(x, n, plan);
    if (plan->shift != 0)
        e = exp_of_target(x_t, plan->shift);
    end_target(&state, x_t, &e, plan->shift, z_loss, terms);
    return state;
}

static void cross_entropy_rows(const fs_rows *rows)
{
    for (int64_t i = 0; i < rows->rows; i++) {
        sweep_plan plan = {PIVOT_INDEX, rows->target[i], 0, 0, 0, 0};
        target_terms terms = {0};
        if (plan.index >= 0)
            sweep_target((const real *)rows->x + i * rows->x_step, rows->n, rows->z_loss, &plan,
                         &terms);
        rows->value[i] = terms.loss;
        rows->lse[i] = terms.lse;
    }
}

/* The factor of row i's gradient, and what stands at its target. */
FS_INLINE void end_gradient(const fs_rows *rows, int64_t i, const row_state *state,
                            const target_terms *terms, swept_row *row)
{
    const wide factor = end_quotient(rows->factor[i], terms->all.sum);
    double own;
    if (FS_F64) {
        const wide at_target = wide_mul(terms->rest, factor);
        own = 0.0 - scale_by_power(at_target.high + at_target.low, terms->all.d);
    } else {
        own = 0.0 - terms->rest.high * power_of_two(terms->all.d) * factor.high;
    }
    row->K = state->K;
    row->factor = split_factor(factor, terms->all.d);
    if (rows->z_loss != 0.0) {
        const double z = 2.0 * rows->z_loss * terms->lse * rows->z_factor[i];
        const wide with_z = end_quotient(rows->factor[i] + z, terms->all.sum);
        row->factor = split_factor(with_z, terms->all.d);
        own += z * terms->p;
    }
    row->at_target = (real)own;
}

/* Sweeps a row and finds its loss and gradient factor; a row that is not counted is all zeros. */
FS_INLINE swept_row grad_row(const fs_rows *rows, int64_t i, late_rows *late, swept_row *last)
{
    late_row before = late_row_of(last);
    swept_row row = begin_row(rows, i, late);
    target_terms terms = {0};
    row.target = rows->target[i];
    if (row.target < 0) {
        fill(row.y, row.n, 0);
    } else {
        row.plan.rule = PIVOT_INDEX;
        row.plan.index = row.target;
        row.plan.late =
            write_late(rows) && last->target >= 0 && goes_beside(last) ? &before : 0;
        const row_state state = sweep_target(row.x, row.n, rows->z_loss, &row.plan, &terms);
        last->written = before.written;
        end_gradient(rows, i, &state, &terms, &row);
    }
    rows->value[i] = terms.loss;
    rows->lse[i] = terms.lse;
    return row;
}

static void cross_entropy_grad_rows(const fs_rows *rows)
{
    late_rows late;
    swept_row last = {0};
    last.target = NO_PIVOT;
    for (int64_t i = 0; i < rows->rows; i++) {
        const swept_row row = grad_row(rows, i, &late, &last);
        const swept_row *ready = write_late(rows) ? &last : &row;
        if (ready->target >= 0)
            write_swept(ready);
        last = row;
    }
    if (write_late(rows) && last.target >= 0)
        write_swept(&last);
    if (rows->stream)
        v_stream_end();
}
