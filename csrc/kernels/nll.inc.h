/* Negative log-likelihood of soft targets under given log-probabilities: -sum_c w_c t_c logp_c.
 * (For a label it is one number, which the driver picks out.) A coefficient of 0 times an infinite
 * log-probability is 0; NaN shows, whatever its coefficient. */

static void nll_soft_rows(const fs_rows *rows)
{
    coefficients q = row_coefficients(rows);
    for (int64_t i = 0; i < rows->rows; i++) {
        const real *x = (const real *)rows->x + i * rows->x_step;
        q.soft = soft_of_row(rows, i, &q);
        wide targets;
        const wide loss = mixed_gaps(rows, x, 0, 0, wide_of(0.0, 0.0), &q, &targets);
        rows->value[i] = row_holds_nan(rows, x) ? NAN : wide_value(loss); /* -x: the gap to 0 */
    }
}
