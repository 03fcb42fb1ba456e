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
    late_rows late;
    swept_row last = {0};
    extremes next = extremes_of_row(rows, 0, PIVOT_NONE);
    for (int64_t i = 0; i < rows->rows; i++) {
        swept_row row = begin_row(rows, i, &late);
        const extremes own = next;
        row.plan.known = &own;
        next = extremes_of_row(rows, i + 1, PIVOT_NONE);
        late_row before = late_row_of(&last);
        row.plan.late = write_late(rows) && goes_beside(&last) ? &before : 0;
        const row_state state = sweep_row(rows, row.x, &row.plan);
        last.written = before.written;
        end_softmax_row(&state, &row);
        if (!write_late(rows))
            write_swept_row(rows, &row);
        else if (i > 0)
            write_swept(&last);
        last = row;
    }
    if (write_late(rows) && rows->rows > 0)
        write_swept(&last);
    if (rows->stream)
        v_stream_end();
}
