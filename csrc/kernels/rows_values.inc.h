/* logsumexp and the loss of a hard target, with its gradient, of rows swept one by one. The way
 * from a row's sum to its logarithm is a chain of some eighty operations, and as long for a row as
 * for a vector of them: rows are put aside and finished V_LANES at a time, by the code that
 * finishes rows side by side. (AVX-512, n = 1000: 10% less than one by one.) */

typedef struct {
    int64_t count, row[V_LANES];
    real max[V_LANES], shift[V_LANES], K[V_LANES], logit[V_LANES]; /* of the target */
    double sum[V_LANES], low[V_LANES];
} rows_aside;

/* What they come to. */
typedef struct {
    double loss[V_LANES], low[V_LANES], z[V_LANES], z_low[V_LANES]; /* z lse^2, where it is wanted */
} losses_aside;

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

/* log(1 + R), and the largest logits. */
FS_SHARED void log_ratios_of(const rows_aside *aside, d_wide *ratio, d_t *max)
{
    const cols_state state = state_of_rows(aside);
    v_widen(state.max, max);
    for (int p = 0; p < D_PARTS; p++)
        ratio[p] = cols_log_ratio(&state, p);
}

FS_INLINE void logsumexps_of(const rows_aside *aside, double *value)
{
    d_wide ratio[D_PARTS];
    d_t max[D_PARTS];
    log_ratios_of(aside, ratio, max);
    for (int p = 0; p < D_PARTS; p++)
        d_store(value + p * D_LANES, cols_plus_ratio(max[p], ratio[p]));
}

FS_INLINE void minus_logsumexps_of(const rows_aside *aside, real *high, real *low)
{
    d_wide ratio[D_PARTS];
    d_t max[D_PARTS];
    v_t first, second;
    log_ratios_of(aside, ratio, max);
    split_minus_logsumexps(ratio, max, &first, &second);
    v_store(high, first);
    v_store(low, second);
}

FS_SHARED void losses_of(const rows_aside *aside, double z_loss, losses_aside *losses)
{
    const cols_state state = state_of_rows(aside);
    cols_group group;
    v_widen(v_load(aside->logit), group.wide_logit);
    for (int p = 0; p < D_PARTS; p++) {
        const d_t x_t = group.wide_logit[p];
        const cols_target t = split_targets(&state, &group, p, z_loss != 0.0);
        const d_wide loss = loss_of_targets(&t);
        d_wide z = d_wide_of(d_set1(0.0), d_set1(0.0));
        if (z_loss != 0.0)
            z = z_squares(z_loss, lse_of_targets(&t, loss, x_t));
        d_store(losses->loss + p * D_LANES, loss.high);
        d_store(losses->low + p * D_LANES, loss.low);
        d_store(losses->z + p * D_LANES, z.high);
        d_store(losses->z_low + p * D_LANES, z.low);
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

FS_INLINE void minus_logsumexps_of(const rows_aside *aside, real *high, real *low)
{
    const row_state state = state_of_row(aside);
    const logs_row row = logs_to_write(0, 0, 0, state.max, log_ratio(&state, aside->shift[0]));
    *high = row.high;
    *low = row.low;
}

FS_SHARED void losses_of(const rows_aside *aside, double z_loss, losses_aside *losses)
{
    const row_state state = state_of_row(aside);
    const target_exp e = exp_of_target(aside->logit[0], aside->shift[0]);
    target_terms terms = split_target(&state, aside->logit[0], &e);
    end_target(&state, aside->logit[0], &e, aside->shift[0], z_loss, &terms);
    const wide z = z_loss != 0.0 ? z_square(z_loss, terms.lse) : wide_of(0.0, 0.0);
    losses->loss[0] = terms.loss;
    losses->low[0] = terms.loss_low;
    losses->z[0] = z.high;
    losses->z_low[0] = z.low;
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
    rows_ahead ahead = first_rows_ahead(rows);
    for (int64_t i = 0; i < rows->rows; i++) {
        const real *x = (const real *)rows->x + i * rows->x_step;
        const extremes own = ahead.next;
        sweep_plan plan = plan_for(PIVOT_MAX, 0);
        look_ahead(rows, i + 1, &ahead);
        const row_state state = looks_ahead(rows) ? sweep_short(x, rows->n, &own, 0, 0, &plan.shift)
                                                  : sweep_row(rows, x, &plan);
        put_aside(&aside, i, &state, plan.shift);
        if (aside.count == V_LANES || i + 1 == rows->rows)
            finish_logsumexps(rows, &aside);
    }
}

FS_SHARED void finish_losses(const fs_rows *rows, rows_aside *aside)
{
    losses_aside losses;
    if (aside->count == 0)
        return;
    losses_of(aside, rows->z_loss, &losses);
    FS_ROLLED
    for (int64_t l = 0; l < aside->count; l++) {
        rows->value[aside->row[l]] = losses.loss[l];
        rows->z_term[aside->row[l]] = wide_value(wide_of(losses.z[l], losses.z_low[l]));
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
        next = extremes_of_row(rows, i + 1, PIVOT_INDEX);
        rows->value[i] = rows->z_term[i] = 0.0;
        if (plan.index < 0) /* not counted */
            continue;
        const row_state state = is_short(rows) ? sweep_short(x, rows->n, &own, 0, 0, &plan.shift)
                                               : sweep_row(rows, x, &plan);
        put_loss_aside(rows, &aside, i, &state, plan.shift, x[plan.index]);
    }
    finish_losses(rows, &aside);
}

/* Of a row that is swept: the loss is put aside, the gradient made ready to be written.
 * e: exp_of_target(x_t, 0). */
FS_INLINE void end_grad_row(const fs_rows *rows, int64_t i, const row_state *state, real x_t,
                            const target_exp *e, real shift, swept_row *row, rows_aside *aside)
{
    const target_exp shifted = shift != 0 ? exp_of_target(x_t, shift) : *e;
    target_terms terms = split_target(state, x_t, &shifted);
    if (rows->z_loss != 0.0)
        end_target(state, x_t, &shifted, shift, rows->z_loss, &terms);
    end_gradient(rows, i, state, &terms, &shifted, row);
    put_loss_aside(rows, aside, i, state, shift, x_t);
}

/* The gradient of a counted row is written, or waits; its loss is put aside. */
FS_INLINE void grad_row(const fs_rows *rows, int64_t i, const extremes *own, real *terms,
                        waiting_row *waits, rows_aside *aside)
{
    swept_row row = begin_row(rows, i, 0);
    row.target = row.plan.index = rows->target[i];
    row.plan.rule = PIVOT_INDEX;
    const real x_t = row.x[row.target]; /* y may be x */
    const target_exp e = exp_of_target(x_t, 0);
    const row_state state = is_short(rows)
        ? sweep_and_write(rows, row.x, own, terms, waits, &row.plan.shift)
        : sweep_row(rows, row.x, &row.plan);
    end_grad_row(rows, i, &state, x_t, &e, row.plan.shift, &row, aside);
    if (is_short(rows))
        *waits = to_be_written(terms, &row);
    else
        write_swept_row(rows, &row);
}

static void cross_entropy_grad_rows(const fs_rows *rows)
{
    late_rows scratch;
    waiting_row waits = {0};
    rows_aside aside = {0};
    int turn = 0;
    extremes next = extremes_of_row(rows, 0, PIVOT_INDEX);
    for (int64_t i = 0; i < rows->rows; i++) {
        const extremes own = next;
        next = extremes_of_row(rows, i + 1, PIVOT_INDEX);
        rows->value[i] = rows->z_term[i] = 0.0;
        if (rows->target[i] >= 0)
            grad_row(rows, i, &own, scratch.terms[turn ^= 1], &waits, &aside);
        else /* not counted */
            write_zeros(rows, (real *)rows->y + i * rows->y_step);
    }
    finish_losses(rows, &aside);
    end_writing(rows, &waits);
}
