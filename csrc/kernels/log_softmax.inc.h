/* log_softmax(x)_j = (x_j - max) - log(1 + R), R as in logsumexp: the largest element's own value
 * is then -log(1 + R) to the last digit, however small. */

typedef struct {
    const real *x;
    real *y;
    int64_t n;
    real max;
    wide distance; /* log(1 + R) */
    int stream;
} logs_row;

FS_INLINE void write_logs_to(const logs_row *row, int stream)
{
    const real *x = row->x;
    real *y = row->y;
    const int64_t n = row->n;
    const real high = (real)row->distance.high;
    const double rest = (row->distance.high - (double)high) + row->distance.low;
    const real low = high - high == 0 ? (real)rest : 0;
    const v_t maxima = v_set1(row->max), highs = v_set1(high), lows = v_set1(low);
    int64_t j = unaligned_head(y, n);
    if (j > 0) {
        const v_t d = v_sub(v_load_part(x, j, maxima), maxima);
        v_store_part(y, v_sub(v_sub(d, highs), lows), j);
    }
    for (; j + V_LANES <= n; j += V_LANES) {
        const v_t d = v_sub(v_load(x + j), maxima);
        put(y + j, v_sub(v_sub(d, highs), lows), stream);
    }
    if (j < n) {
        const v_t d = v_sub(v_load_part(x + j, n - j, maxima), maxima);
        v_store_part(y + j, v_sub(v_sub(d, highs), lows), n - j);
    }
}

FS_SHARED void write_logs(const logs_row *row)
{
    if (row->stream)
        write_logs_to(row, 1);
    else
        write_logs_to(row, 0);
}

static void write_logs_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    logs_row row = *(const logs_row *)job;
    (void)result;
    row.x += begin;
    row.y += begin;
    row.n = n;
    write_logs(&row);
    if (row.stream)
        v_stream_end();
}

FS_INLINE void write_logs_row(const fs_rows *rows, const logs_row *row)
{
    if (rows->pieces)
        each_piece(rows, write_logs_piece, row);
    else
        write_logs(row);
}

/* Short rows are written one row late, as in scale.inc.h. */
static void log_softmax_rows(const fs_rows *rows)
{
    const int late = rows->n <= BLOCK;
    logs_row last = {0};
    for (int64_t i = 0; i < rows->rows; i++) {
        const real *x = (const real *)rows->x + i * rows->x_step;
        sweep_plan plan = {PIVOT_MAX, 0, 0, 0, 0, 0};
        const row_state state = sweep_row(rows, x, &plan);
        const logs_row row = {x, (real *)rows->y + i * rows->y_step, rows->n, state.max,
                              log_ratio(&state, plan.shift), rows->stream};
        if (!late)
            write_logs_row(rows, &row);
        else if (i > 0)
            write_logs(&last);
        last = row;
    }
    if (late && rows->rows > 0)
        write_logs(&last);
    if (rows->stream)
        v_stream_end();
}
