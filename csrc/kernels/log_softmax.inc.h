/* log_softmax(x)_j = (x_j - max) - log(1 + R), R as in logsumexp: the largest element's own value
 * is then -log(1 + R) to the last digit, however small. */

FS_INLINE void write_logs(const real *x, real *y, int64_t n, real max, double distance)
{
    const real high = (real)distance;
    const real low = high - high == 0 ? (real)(distance - (double)high) : 0;
    const v_t maxima = v_set1(max), highs = v_set1(high), lows = v_set1(low);
    int64_t j = 0;
    for (; j + V_LANES <= n; j += V_LANES) {
        const v_t d = v_sub(v_load(x + j), maxima);
        v_store(y + j, v_sub(v_sub(d, highs), lows));
    }
    if (j < n) {
        const v_t d = v_sub(v_load_part(x + j, n - j, maxima), maxima);
        v_store_part(y + j, v_sub(v_sub(d, highs), lows), n - j);
    }
}

static void log_softmax_rows(const fs_rows *rows)
{
    for (int64_t i = 0; i < rows->rows; i++) {
        const real *x = (const real *)rows->x + i * rows->x_step;
        real *y = (real *)rows->y + i * rows->y_step;
        sweep_plan plan = {PIVOT_MAX, 0, 0, 0, 0};
        const row_state state = sweep(x, rows->n, &plan);
        write_logs(x, y, rows->n, state.max, log_ratio(&state, plan.shift));
    }
}
