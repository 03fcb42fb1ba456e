/* softmax(x)_j = e^(x_j) / sum_i e^(x_i) */

static void softmax_rows(const fs_rows *rows)
{
    for (int64_t i = 0; i < rows->rows; i++) {
        const real *x = (const real *)rows->x + i * rows->x_step;
        real *y = (real *)rows->y + i * rows->y_step;
        sweep_plan plan = {PIVOT_NONE, 0, 0, rows->keep ? y : 0, rows->exponents};
        const row_state state = sweep(x, rows->n, &plan);
        const wide factor = wide_quotient(1.0, checked_sum(&state));
        write_scaled(x, y, rows->n, factor, &plan, state.K);
    }
}
