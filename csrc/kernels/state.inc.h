/* A row reduced to a state on its own (math/state.h), and what softmax and log_softmax of a block
 * are where such a state stands for the whole row: with max and R from the state,
 *
 *   softmax_j = e^(x_j) / ((1 + R) e^max),  log_softmax_j = (x_j - max) - log(1 + R)
 *
 * A row with a logit above the state's max is not part of what the state stands for: NaN. */

static void state_rows(const fs_rows *rows)
{
    for (int64_t i = 0; i < rows->rows; i++) {
        const real *x = (const real *)rows->x + i * rows->x_step;
        double *out = rows->state + i * STATE_NUMBERS;
        sweep_plan plan = plan_for(PIVOT_MAX, 0);
        const row_state state = sweep_row(rows, x, &plan);
        const double max = (double)state.max;
        scaled sum = scaled_of(wide_of(0.0, 0.0), 0);
        if (max - max != 0) {
            state_put(out, row_holds_nan(rows, x) ? NAN : max, sum);
        } else {
            sum = scaled_shift(scaled_of(state.sum, state.K - HEADROOM), (double)plan.shift,
                               state_origin(max));
            state_put(out, state.sum.high != state.sum.high ? NAN : max, sum);
        }
    }
}

/* 1 + R, or NaN for a row that the state does not cover. */
FS_INLINE wide given_total(const fs_rows *rows, const double *state, const real *x)
{
    const scaled rest = state_rest(state);
    if (rest.fraction.high != rest.fraction.high || (double)max_of_row(rows, x) > state[0])
        return wide_of(NAN, 0.0);
    return wide_add(wide_of(1.0, 0.0),
                    wide_scale(rest.fraction, power_of_two(rest.exponent)));
}

static void write_given_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    const swept_row *row = job;
    (void)result;
    scale_again(row->x + begin, row->y + begin, n, &row->factor, row->plan.shift, row->K, 0);
}

static void softmax_given_rows(const fs_rows *rows)
{
    for (int64_t i = 0; i < rows->rows; i++) {
        swept_row row = {0};
        const real *x = (const real *)rows->x + i * rows->x_step;
        const double *state = rows->state + i * STATE_NUMBERS;
        const wide total = given_total(rows, state, x);
        const real shift = shift_for((real)state[0]);
        const int64_t K = binary_exponent((real)state[0] - shift);
        const wide_exp e = exp_wide(two_sum((double)shift, -state[0]));
        wide factor = total;
        if (total.high == total.high)
            factor = wide_scale(wide_mul(wide_quotient(1.0, total), e.fraction),
                                power_of_two(e.exponent + K - HEADROOM));
        row.x = x;
        row.y = (real *)rows->y + i * rows->y_step;
        row.K = K;
        row.plan.shift = shift;
        row.factor = split_factor(factor, 0);
        if (rows->pieces)
            each_piece(rows, write_given_piece, &row);
        else
            write_given_piece(&row, 0, rows->n, 0);
    }
}


static void log_softmax_given_rows(const fs_rows *rows)
{
    for (int64_t i = 0; i < rows->rows; i++) {
        const double *state = rows->state + i * STATE_NUMBERS;
        const real *x = (const real *)rows->x + i * rows->x_step;
        const wide total = given_total(rows, state, x);
        const logs_row row =
            logs_to_write(x, (real *)rows->y + i * rows->y_step, rows->n, (real)state[0],
                          total.high == total.high ? state_distance(state) : total);
        write_logs_row(rows, &row);
    }
}
