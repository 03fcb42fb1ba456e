/* logsumexp and the loss of a hard target, with its gradient, of rows swept one by one. The way
 * from a row's sum to its logarithm is a chain of some eighty operations, and as long for a row as
 * for a vector of them: rows are put aside and finished V_LANES at a time, by the code that
 * finishes rows side by side. (AVX-512, n = 1000: 10% less than one by one.) */

typedef struct {
    int64_t count, row[V_LANES];
    real max[V_LANES], shift[V_LANES], K[V_LANES], logit[V_LANES]; /* of the target */
    double sum[V_LANES], low[V_LANES];
} rows_aside;

FS_INLINE void put_aside(rows_aside *aside, int64_t row, const row_state *state, real shift)
{
    const wide sum = checked_sum(state);
    const int64_t l = aside->count++;
    aside->row[l] = row;
    aside->max[l] = state->max;
    aside->shift[l] = shift;
    aside->K[l] = (real)state->K;
    aside->sum[l] = sum.high;
    aside->low[l] = sum.low;
}

#if V_LANES > 1
FS_INLINE cols_state state_of_rows(const rows_aside *aside)
{
    cols_state state;
    state.max = v_load(aside->max);
    state.shift = v_load(aside->shift);
    state.K = v_load(aside->K);
    for (int p = 0; p < D_PARTS; p++)
        state.sum[p] = d_wide_of(d_load(aside->sum + p * D_LANES), d_load(aside->low + p * D_LANES));
    return state;
}

FS_INLINE void logsumexps_of(const rows_aside *aside, double *value)
{
    const cols_state state = state_of_rows(aside);
    d_t max[D_PARTS];
    v_widen(state.max, max);
    for (int p = 0; p < D_PARTS; p++)
        d_store(value + p * D_LANES, cols_plus_ratio(max[p], cols_log_ratio(&state, p)));
}

FS_INLINE void losses_of(const rows_aside *aside, double z_loss, double *loss, double *z_term)
{
    const cols_state state = state_of_rows(aside);
    cols_group group;
    v_widen(v_load(aside->logit), group.wide_logit);
    for (int p = 0; p < D_PARTS; p++) {
        const d_t x_t = group.wide_logit[p];
        const cols_target t = split_targets(&state, &group, p, z_loss != 0.0);
        const d_wide own = loss_of_targets(&t, x_t);
        d_store(loss + p * D_LANES, own.high);
        if (z_loss != 0.0)
            d_store(z_term + p * D_LANES,
                    d_wide_value(z_squares(z_loss, lse_of_targets(&t, own, x_t))));
    }
}
#else
FS_INLINE row_state state_of_row(const rows_aside *aside)
{
    const row_state state = {aside->max[0], (int64_t)aside->K[0], {aside->sum[0], aside->low[0]},
                             {{0.0, 0.0}, 0}, NO_PIVOT};
    return state;
}

FS_INLINE void logsumexps_of(const rows_aside *aside, double *value)
{
    const row_state state = state_of_row(aside);
    *value = plus_ratio((double)state.max, log_ratio(&state, aside->shift[0]));
}

FS_INLINE void losses_of(const rows_aside *aside, double z_loss, double *loss, double *z_term)
{
    const row_state state = state_of_row(aside);
    const target_exp e = exp_of_target(aside->logit[0], aside->shift[0]);
    target_terms terms = split_target(&state, aside->logit[0], &e);
    end_target(&state, aside->logit[0], &e, aside->shift[0], z_loss, &terms);
    *loss = terms.loss;
    *z_term = wide_value(z_square(z_loss, terms.lse));
}
#endif

FS_SHARED void finish_logsumexps(const fs_rows *rows, rows_aside *aside)
{
    double value[V_LANES];
    logsumexps_of(aside, value);
    for (int64_t l = 0; l < aside->count; l++) {
        const int64_t i = aside->row[l];
        const real max = aside->max[l], *x = (const real *)rows->x + i * rows->x_step;
        rows->value[i] = value[l];
        if (max - max != 0)
            rows->value[i] = row_holds_nan(rows, x) ? NAN : (double)max;
    }
    aside->count = 0;
}

static void logsumexp_rows(const fs_rows *rows)
{
    rows_aside aside = {0};
    extremes next = extremes_of_row(rows, 0, PIVOT_MAX);
    for (int64_t i = 0; i < rows->rows; i++) {
        const extremes own = next;
        sweep_plan plan = plan_for(PIVOT_MAX, 0);
        plan.known = &own;
        next = extremes_of_row(rows, i + 1, PIVOT_MAX);
        const row_state state =
            sweep_row(rows, (const real *)rows->x + i * rows->x_step, &plan);
        put_aside(&aside, i, &state, plan.shift);
        if (aside.count == V_LANES || i + 1 == rows->rows)
            finish_logsumexps(rows, &aside);
    }
}

FS_SHARED void finish_losses(const fs_rows *rows, rows_aside *aside)
{
    double loss[V_LANES], z_term[V_LANES] = {0};
    if (aside->count == 0)
        return;
    losses_of(aside, rows->z_loss, loss, z_term);
    for (int64_t l = 0; l < aside->count; l++) {
        rows->value[aside->row[l]] = loss[l];
        rows->z_term[aside->row[l]] = z_term[l];
    }
    aside->count = 0;
}

FS_INLINE void put_loss_aside(const fs_rows *rows, rows_aside *aside, int64_t row,
                              const row_state *state, real shift, real x_t)
{
    aside->logit[aside->count] = x_t;
    put_aside(aside, row, state, shift);
    if (aside->count == V_LANES)
        finish_losses(rows, aside);
}

static void cross_entropy_rows(const fs_rows *rows)
{
    rows_aside aside = {0};
    extremes next = extremes_of_row(rows, 0, PIVOT_INDEX);
    for (int64_t i = 0; i < rows->rows; i++) {
        const real *x = (const real *)rows->x + i * rows->x_step;
        const extremes own = next;
        sweep_plan plan = plan_for(PIVOT_INDEX, rows->target[i]);
        plan.known = &own;
        next = extremes_of_row(rows, i + 1, PIVOT_INDEX);
        rows->value[i] = rows->z_term[i] = 0.0;
        if (plan.index < 0) /* not counted */
            continue;
        const row_state state = sweep_row(rows, x, &plan);
        put_loss_aside(rows, &aside, i, &state, plan.shift, x[plan.index]);
    }
    finish_losses(rows, &aside);
}

/* Sweeps a row and finds its gradient's factor; a row that is not counted is all zeros. */
FS_INLINE swept_row grad_row(const fs_rows *rows, int64_t i, const extremes *own, late_rows *late,
                             swept_row *last, rows_aside *aside)
{
    late_row before = late_row_of(last);
    swept_row row = begin_row(rows, i, late);
    rows->value[i] = rows->z_term[i] = 0.0;
    row.target = rows->target[i];
    if (row.target < 0) {
        write_zeros(rows, row.y);
        return row;
    }
    const real x_t = row.x[row.target]; /* y may be x */
    row.plan.rule = PIVOT_INDEX;
    row.plan.index = row.target;
    row.plan.known = own;
    row.plan.late = write_late(rows) && last->target >= 0 && goes_beside(last) ? &before : 0;
    target_exp e = exp_of_target(x_t, 0);
    const row_state state = sweep_row(rows, row.x, &row.plan);
    if (row.plan.shift != 0)
        e = exp_of_target(x_t, row.plan.shift);
    last->written = before.written;
    target_terms terms = split_target(&state, x_t, &e);
    if (rows->z_loss != 0.0)
        end_target(&state, x_t, &e, row.plan.shift, rows->z_loss, &terms);
    end_gradient(rows, i, &state, &terms, &e, &row);
    put_loss_aside(rows, aside, i, &state, row.plan.shift, x_t);
    return row;
}

static void cross_entropy_grad_rows(const fs_rows *rows)
{
    late_rows late;
    rows_aside aside = {0};
    swept_row last = {0};
    last.target = NO_PIVOT;
    extremes next = extremes_of_row(rows, 0, PIVOT_INDEX);
    for (int64_t i = 0; i < rows->rows; i++) {
        const extremes own = next;
        next = extremes_of_row(rows, i + 1, PIVOT_INDEX);
        const swept_row row = grad_row(rows, i, &own, &late, &last, &aside);
        const swept_row *ready = write_late(rows) ? &last : &row;
        if (ready->target >= 0)
            write_swept_row(rows, ready);
        last = row;
    }
    finish_losses(rows, &aside);
    if (write_late(rows) && last.target >= 0)
        write_swept(&last);
    if (rows->stream)
        v_stream_end();
}
