/* The operations on rows of a few vectors (across.inc.h). Their ends are those of
 * cols_softmax.inc.h and cols_cross_entropy.inc.h. */

FS_INLINE void subtract_across(const across_group *g, v_t shifts)
{
    real shift[V_LANES], *at = g->tile;
    v_store(shift, shifts);
    FS_ROLLED
    for (int l = 0; l < V_LANES; l++)
        for (int64_t j = 0; j < g->pad; j += V_LANES, at += V_LANES)
            v_store(at, v_sub(v_load(at), v_set1(shift[l])));
}

/* Returns whether the logits have been shifted, which is seldom. */
FS_ONCE int sweep_across(const across_group *g, int keep, cols_state *state)
{
    cols_term_sums sums;
    cols_plan plan = {keep, 0, v_set1(0), v_set1(0), exp_scale_of(v_set1(0))};
    const uint32_t all = (uint32_t)((UINT64_C(1) << V_LANES) - 1);
    cols_begin(g->max, g->others, &plan, state);
    const int shifted = v_eq_bits(plan.shift, v_set1(0)) != all;
    if (shifted)
        subtract_across(g, plan.shift);
    sum_across(g, &plan.scale, keep, &sums);
    cols_end(&sums, g->n, state);
    return shifted;
}

/* Where results go past the caches they are first put over the tile, packed as they will lie in y
 * and as far from a vector's boundary. */
FS_INLINE int streams_across(const across_group *g)
{
    return g->rows->stream && g->rows->y_step == g->n;
}

FS_INLINE real *y_across(const across_group *g)
{
    return (real *)g->rows->y + g->first * g->rows->y_step;
}

FS_INLINE real *place_across(const across_group *g)
{
    real *y = y_across(g);
    return streams_across(g) ? g->tile - V_LANES + (uintptr_t)y / sizeof(real) % V_LANES : y;
}

FS_INLINE void stream_across(const across_group *g, const real *from)
{
    real *y = y_across(g);
    const int64_t length = g->count * g->n;
    int64_t j = unaligned_head(y, length);
    if (!streams_across(g))
        return;
    if (j > 0)
        v_store_part(y, v_load(from), j);
    for (; j + V_LANES <= length; j += V_LANES)
        v_stream(y + j, v_load(from + j));
    if (j < length)
        v_store_part(y + j, v_load(from + j), length - j);
}

/* What becomes of a row's terms or logits, as two numbers: a factor, or minus its logsumexp. */
typedef struct { real a[V_LANES], b[V_LANES]; } across_ends;

/* logs is known to the compiler. A row's last vector spills into the next, which is written after
 * it; of the last row it must not. target: of each row, what stands there, if given. */
FS_INLINE void write_across(const across_group *g, const across_ends *ends, int logs, const real *at_target)
{
    const int64_t n = g->n, pad = g->pad, step = g->rows->y_step, count = g->count;
    const real *tile = g->tile;
    real *to = place_across(g), *y = to;
    for (int64_t l = 0; l < count; l++, y += step, tile += pad) {
        const v_t a = v_set1(ends->a[l]), b = v_set1(ends->b[l]);
        for (int64_t j = 0; j < n; j += V_LANES) {
            const v_t x = v_load(tile + j);
            const v_t end = logs ? minus_logsumexp(x, a, b) : times_factor(x, a, b);
            if (n - j >= V_LANES || (step == n && l + 1 < count))
                v_store(y + j, end);
            else
                v_store_part(y + j, end, n - j);
        }
        if (at_target)
            y[(int64_t)g->target[l]] = at_target[l];
    }
    stream_across(g, to);
}

FS_ONCE void write_terms_across(const across_group *g, const across_ends *ends, const real *at_target)
{
    write_across(g, ends, 0, at_target);
}

static void softmax_across(const fs_rows *rows)
{
    across_group g = group_across(rows, 0);
    load_across(&g);
    while (has_group(&g)) {
        across_ends ends = {{0}, {0}};
        cols_state state;
        v_t high, low;
        sweep_across(&g, 1, &state);
        softmax_factors(&state, &high, &low);
        v_store(ends.a, high);
        v_store(ends.b, low);
        across_group next = group_across(rows, g.first + V_LANES);
        load_across(&next);
        write_terms_across(&g, &ends, 0);
        g = next;
    }
    if (rows->stream)
        v_stream_end();
}

static void log_softmax_across(const fs_rows *rows)
{
    across_group g = group_across(rows, 0);
    load_across_largest(&g);
    while (has_group(&g)) {
        across_ends ends;
        cols_state state;
        real logit[V_LANES];
        v_t high, low;
        take_across(&g, logit);
        const int shifted = sweep_across(&g, 0, &state);
        minus_logsumexps(&state, &high, &low);
        v_store(ends.a, high);
        v_store(ends.b, low);
        if (shifted)
            load_across_largest(&g);
        else
            put_across(&g, logit);
        across_group next = group_across(rows, g.first + V_LANES);
        load_across_largest(&next);
        write_across(&g, &ends, 1, 0);
        g = next;
    }
    if (rows->stream)
        v_stream_end();
}

static void logsumexp_across(const fs_rows *rows)
{
    const tile_map map = {(rows->rows + V_LANES - 1) / V_LANES, 1};
    across_group g = group_across(rows, 0);
    load_across_largest(&g);
    while (has_group(&g)) {
        cols_state state;
        real logit[V_LANES];
        take_across(&g, logit);
        sweep_across(&g, 0, &state);
        across_group next = group_across(rows, g.first + V_LANES);
        load_across_largest(&next);
        end_logsumexp_group(rows, &map, g.first / V_LANES, &state);
        g = next;
    }
}

/* The logits of the targets; -inf stands in their place already. */
FS_INLINE v_t logits_across(const across_group *g)
{
    const real *x = (const real *)g->rows->x + g->first * g->rows->x_step;
    real logit[V_LANES] = {0};
    FS_ROLLED
    for (int64_t l = 0; l < g->count; l++, x += g->rows->x_step)
        logit[l] = x[(int64_t)g->target[l]];
    return v_load(logit);
}

FS_ONCE across_group targets_across(const fs_rows *rows, int64_t first, const tile_targets *targets)
{
    across_group g = group_across(rows, first);
    if (!has_group(&g))
        return g;
    v_store(g.target, v_max(v_load(targets->target + first), v_set1(0)));
    load_across_but(&g);
    const v_t logit = logits_across(&g);
    v_store(g.logit, logit);
    g.max = v_max(logit, g.others);
    return g;
}

/* What small factors have lifted, and rows that are not counted. */
FS_ONCE void lift_across(const across_group *g, const cols_group *group, across_ends *ends,
                           real *at_target)
{
    FS_ROLLED
    for (int l = 0; l < V_LANES; l++) {
        const v_t first = v_set1(group->lift[0][l]), second = v_set1(group->lift[1][l]);
        const int counted = group->all_counted || group->counted[l];
        real *at = g->tile + l * g->pad;
        if (!counted)
            ends->a[l] = ends->b[l] = at_target[l] = 0;
        for (int64_t j = 0; j < g->pad; j += V_LANES)
            v_store(at + j, counted ? v_mul(v_mul(v_load(at + j), first), second) : v_set1(0));
    }
}

FS_INLINE void write_grad_across(const across_group *g, cols_group *group)
{
    const v_t one = v_set1(1), first = v_load(group->lift[0]), second = v_load(group->lift[1]);
    const uint32_t all = (uint32_t)((UINT64_C(1) << V_LANES) - 1);
    across_ends ends = {{0}, {0}};
    v_store(ends.a, v_load(group->high));
    v_store(ends.b, v_load(group->low));
    if (!group->all_counted || (v_eq_bits(first, one) & v_eq_bits(second, one)) != all)
        lift_across(g, group, &ends, group->at_target);
    write_terms_across(g, &ends, group->at_target);
}

FS_ONCE void cross_entropy_groups(const fs_rows *rows, int grad)
{
    const tile_map map = {(rows->rows + V_LANES - 1) / V_LANES, 1};
    tile_targets targets;
    load_targets(rows, &map, &targets);
    across_group g = targets_across(rows, 0, &targets);
    while (has_group(&g)) {
        const int64_t number = g.first / V_LANES;
        cols_group group;
        cols_state state;
        begin_plain(rows, &map, number, grad, &targets, &group);
        v_widen(v_load(g.logit), group.wide_logit);
        sweep_across(&g, grad, &state);
        finish_group(&state, rows->z_loss, grad, &group);
        const across_group next = targets_across(rows, g.first + V_LANES, &targets);
        take_losses(rows, &map, number, &group);
        if (grad)
            write_grad_across(&g, &group);
        g = next;
    }
    if (grad && rows->stream)
        v_stream_end();
}

static void cross_entropy_across(const fs_rows *rows) { cross_entropy_groups(rows, 0); }
static void cross_entropy_grad_across(const fs_rows *rows) { cross_entropy_groups(rows, 1); }
