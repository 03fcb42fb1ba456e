/* log_softmax of rows one by one. A row is written beside the exponentials of one behind it, from
 * its logits, so only while both stay in the second-level cache. */

/* Rows of log_softmax whose logsumexps are known, and which are not yet written. */
typedef struct {
    int64_t row, end; /* the first of them, and the one behind the last */
    real high[V_LANES], low[V_LANES]; /* of minus the logsumexp of row i, at i mod V_LANES */
} finished_logs;

FS_INLINE late_row first_finished(const fs_rows *rows, const finished_logs *logs)
{
    const int64_t i = logs->row, l = i % V_LANES;
    const late_row late = {(const real *)rows->x + i * rows->x_step,
                           (real *)rows->y + i * rows->y_step, logs->high[l], logs->low[l], 0};
    return late;
}

FS_SHARED void write_finished(const fs_rows *rows, finished_logs *logs)
{
    for (; logs->row < logs->end; logs->row++) {
        const late_row late = first_finished(rows, logs);
        const logs_row row = {late.from, late.y, rows->n, 0, late.high, late.low, rows->stream};
        write_logs(&row);
    }
}

FS_SHARED void finish_logs(rows_aside *aside, int64_t end, finished_logs *logs)
{
    minus_logsumexps_of(aside, logs->high, logs->low);
    logs->row = end - aside->count;
    logs->end = end;
    aside->count = 0;
}

/* V_LANES rows are swept, then finished together, then written one by one beside the sweeps of the
 * next: they stay in the second-level cache meanwhile. */
static void log_softmax_short(const fs_rows *rows)
{
    const int apart = !BEGINS_AHEAD || rows->stream;
    rows_aside aside = {0};
    finished_logs logs = {0};
    rows_ahead ahead = first_rows_ahead(rows);
    for (int64_t i = 0; i < rows->rows; i++) {
        real shift;
        const extremes own = ahead.next;
        const int beside = logs.row < logs.end;
        late_row late = first_finished(rows, &logs);
        look_ahead(rows, i + 1, &ahead);
        const row_state state = sweep_short((const real *)rows->x + i * rows->x_step, rows->n, &own, 0,
                                            beside ? &late : 0, &shift);
        logs.row += beside;
        put_aside(&aside, i, &state, shift);
        if (aside.count < V_LANES && i + 1 < rows->rows)
            continue;
        write_finished(rows, &logs);
        finish_logs(&aside, i + 1, &logs);
        if (apart)
            write_finished(rows, &logs);
    }
    write_finished(rows, &logs);
    if (rows->stream)
        v_stream_end();
}

/* Rows are written one row late, if this one and the last stay in the second-level cache. */
#define LATE_LOGS_BLOCKS 32

static void log_softmax_long(const fs_rows *rows)
{
    const int late = !rows->stream && rows->n <= LATE_LOGS_BLOCKS * BLOCK;
    logs_row last = {0};
    for (int64_t i = 0; i < rows->rows; i++) {
        const real *x = (const real *)rows->x + i * rows->x_step;
        late_row before = {last.x, last.y, last.high, last.low, 0};
        sweep_plan plan = plan_for(PIVOT_MAX, 0);
        plan.late = late && i > 0 ? &before : 0;
        const row_state state = sweep_row(rows, x, &plan);
        last.written = before.written;
        if (late && i > 0)
            write_logs(&last);
        last = logs_to_write(x, (real *)rows->y + i * rows->y_step, rows->n, state.max,
                             log_ratio(&state, plan.shift));
        last.stream = rows->stream;
        if (!late)
            write_logs_row(rows, &last);
    }
    if (late && rows->rows > 0)
        write_logs(&last);
    if (rows->stream)
        v_stream_end();
}

static void log_softmax_rows(const fs_rows *rows)
{
    if (looks_ahead(rows))
        log_softmax_short(rows);
    else
        log_softmax_long(rows);
}
