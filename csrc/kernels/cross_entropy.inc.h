/* cross-entropy of a hard target t, and its gradient:
 *
 *   loss = log(1 + R),  R = sum over j != t of e^(x_j) / e^(x_t)
 *   dloss/dx_j = e^(x_j) / S,  S = (1 + R) e^(x_t);   at the target -R / (1 + R)
 *
 * The target is left out of the sum, so a confident loss keeps its digits: with logits [20, 0, 0]
 * and label 0 the loss is 4.1e-9 where 1 + R is already 1. A label is read once by the driver. */

typedef struct {
    double loss;
    wide rest;   /* sum over the others, times 2^(HEADROOM - K) */
    wide target; /* the target's own term on that scale */
} target_terms;

/* e^(shift - x_t) and its reciprocal: a long chain of operations, so it is begun before the sweep
 * and runs beside it; the rare row that turns out to need a shift has it done again. */
typedef struct {
    wide distance;
    wide_exp inverse;
    wide own;
} target_exp;

FS_INLINE target_exp exp_of_target(real x_t, real shift)
{
    target_exp e;
    e.distance = two_sum((double)shift, -(double)x_t);
    e.inverse = exp_wide(e.distance);
    e.own = wide_quotient(1.0, e.inverse.fraction);
    return e;
}

FS_INLINE target_terms split_target(const row_state *state, real x_t, const target_exp *target)
{
    target_terms terms;
    const wide distance = target->distance, own = target->own;
    const wide_exp e = target->inverse;
    const int64_t own_exponent = HEADROOM - state->K - e.exponent;
    const int bad = x_t == INFINITY || x_t != x_t;
    terms.rest = bad ? wide_of(NAN, 0.0) : checked_sum(state);
    terms.target = wide_of(scale_by_power(own.high, own_exponent),
                           scale_by_power(own.low, own_exponent));
    if (x_t - x_t != 0)
        terms.loss = bad || terms.rest.high != terms.rest.high ? NAN : INFINITY;
    else if (distance.high > 0x1p+30) /* the target is hopeless: R itself has left the range */
        terms.loss = distance.high + log_wide(terms.rest, state->K - HEADROOM);
    else
        terms.loss = log1p_scaled(wide_mul(terms.rest, e.fraction), -own_exponent);
    return terms;
}

/* The state of a row, and what its target makes of it. plan: where the terms are kept. */
FS_INLINE row_state sweep_target(const real *x, int64_t n, sweep_plan *plan, target_terms *terms)
{
    const real x_t = x[plan->index];
    target_exp e = exp_of_target(x_t, 0);
    const row_state state = sweep(x, n, plan);
    if (plan->shift != 0)
        e = exp_of_target(x_t, plan->shift);
    *terms = split_target(&state, x_t, &e);
    return state;
}

static void cross_entropy_rows(const fs_rows *rows)
{
    for (int64_t i = 0; i < rows->rows; i++) {
        sweep_plan plan = {PIVOT_INDEX, rows->target[i], 0, 0, 0};
        target_terms terms = {0};
        if (plan.index >= 0)
            sweep_target((const real *)rows->x + i * rows->x_step, rows->n, &plan, &terms);
        rows->value[i] = terms.loss;
    }
}

static void cross_entropy_grad_rows(const fs_rows *rows)
{
    for (int64_t i = 0; i < rows->rows; i++) {
        const real *x = (const real *)rows->x + i * rows->x_step;
        real *y = (real *)rows->y + i * rows->y_step;
        const int64_t t = rows->target[i];
        sweep_plan plan = {PIVOT_INDEX, t, 0, rows->keep ? y : 0, rows->exponents};
        target_terms terms = {0};
        if (t < 0) {
            fill(y, rows->n, 0);
        } else {
            const row_state state = sweep_target(x, rows->n, &plan, &terms);
            const wide factor = wide_quotient(rows->factor[i], wide_add(terms.rest, terms.target));
            write_scaled(x, y, rows->n, factor, &plan, state.K);
            const wide at_target = wide_mul(terms.rest, factor);
            y[t] = (real)(0.0 - (at_target.high + at_target.low));
        }
        rows->value[i] = terms.loss;
    }
}
