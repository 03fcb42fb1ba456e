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

FS_SHARED target_terms split_target(const row_state *state, real x_t, real shift)
{
    target_terms terms;
    const wide distance = two_sum((double)shift, -(double)x_t);
    const wide_exp e = exp_wide(distance);
    const wide own = wide_quotient(1.0, e.fraction);
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

FS_INLINE row_state sweep_but_target(const real *x, int64_t n, int64_t target, sweep_plan *plan,
                                     real *x_t)
{
    const sweep_plan wanted = {PIVOT_INDEX, target, 0, plan->out, plan->exponents};
    *x_t = x[target];
    *plan = wanted;
    return sweep(x, n, plan);
}

static void cross_entropy_rows(const fs_rows *rows)
{
    for (int64_t i = 0; i < rows->rows; i++) {
        sweep_plan plan = {PIVOT_INDEX, 0, 0, 0, 0};
        real x_t;
        rows->value[i] = 0.0;
        if (rows->target[i] < 0)
            continue;
        const row_state state = sweep_but_target((const real *)rows->x + i * rows->x_step, rows->n,
                                                 rows->target[i], &plan, &x_t);
        rows->value[i] = split_target(&state, x_t, plan.shift).loss;
    }
}

static void cross_entropy_grad_rows(const fs_rows *rows)
{
    for (int64_t i = 0; i < rows->rows; i++) {
        const real *x = (const real *)rows->x + i * rows->x_step;
        real *y = (real *)rows->y + i * rows->y_step;
        const int64_t t = rows->target[i];
        sweep_plan plan = {PIVOT_INDEX, 0, 0, rows->keep ? y : 0, rows->exponents};
        real x_t;
        rows->value[i] = 0.0;
        if (t < 0) {
            fill(y, rows->n, 0);
            continue;
        }
        const row_state state = sweep_but_target(x, rows->n, t, &plan, &x_t);
        const target_terms terms = split_target(&state, x_t, plan.shift);
        const wide factor = wide_quotient(rows->factor[i], wide_add(terms.rest, terms.target));
        rows->value[i] = terms.loss;
        write_scaled(x, y, rows->n, factor, &plan, state.K);
        const wide at_target = wide_mul(terms.rest, factor);
        y[t] = (real)(0.0 - (at_target.high + at_target.low));
    }
}
