/* logsumexp(x) = max + log(1 + R), R = sum over the others of e^(x_j - max): the largest logit is
 * left out of the sum and log1p taken, as SciPy does, here in one sweep. */

/* log(1 + R) of a finished state whose pivot is the maximum. */
FS_INLINE double log_ratio(const row_state *state, real shift)
{
    const wide distance = two_sum((double)shift, -(double)state->max);
    const wide_exp e = exp_wide(distance); /* e^(shift - max): the pivot's reciprocal */
    return log1p_scaled(wide_mul(checked_sum(state), e.fraction),
                        state->K - HEADROOM + e.exponent);
}

static void logsumexp_rows(const fs_rows *rows)
{
    for (int64_t i = 0; i < rows->rows; i++) {
        const real *x = (const real *)rows->x + i * rows->x_step;
        sweep_plan plan = {PIVOT_MAX, 0, 0, 0, 0};
        const row_state state = sweep(x, rows->n, &plan);
        if (state.max - state.max == 0)
            rows->value[i] = (double)state.max + log_ratio(&state, plan.shift);
        else /* -inf; +inf; or nothing but NaN, which the sum has seen */
            rows->value[i] = state.sum.high == state.sum.high ? (double)state.max : NAN;
    }
}
