/* softmax(x)_j = e^(x_j) / sum_i e^(x_i) */

/* The few numbers that a row ends in: float32 has no use for any wider than float64. */
FS_INLINE wide end_quotient(double a, wide b)
{
    return FS_F64 ? wide_quotient(a, b) : wide_of(a / b.high, 0.0);
}

FS_INLINE wide end_mul(wide a, wide b)
{
    return FS_F64 ? wide_mul(a, b) : wide_of(a.high * b.high, 0.0);
}

FS_INLINE wide end_add(wide a, wide b)
{
    return FS_F64 ? wide_add(a, b) : wide_of(a.high + b.high, 0.0);
}

FS_INLINE void end_softmax_row(const row_state *state, swept_row *row)
{
    row->K = state->K;
    row->factor = split_factor(end_quotient(1.0, checked_sum(state)), 0);
}

static void softmax_rows(const fs_rows *rows)
{
    late_rows scratch;
    waiting_row waits = {0};
    extremes next = extremes_of_row(rows, 0, PIVOT_NONE);
    for (int64_t i = 0; i < rows->rows; i++) {
        real *terms = scratch.terms[i & 1];
        swept_row row = begin_row(rows, i, 0);
        const extremes own = next;
        next = extremes_of_row(rows, i + 1, PIVOT_NONE);
        const row_state state = is_short(rows)
            ? sweep_and_write(rows, row.x, &own, terms, &waits, &row.plan.shift)
            : sweep_row(rows, row.x, &row.plan);
        end_softmax_row(&state, &row);
        if (is_short(rows))
            waits = to_be_written(terms, &row);
        else
            write_swept_row(rows, &row);
    }
    end_writing(rows, &waits);
}
