/* One huge row on several threads: its pieces are reduced by themselves, their states merged in
 * order, as in sweep_blocks(), and the result is written piece by piece. The same bits as on one
 * thread, since the pieces depend on n alone. */

_Static_assert(sizeof(row_state) <= sizeof(fs_piece), "a state fits");
_Static_assert(sizeof(swept_row) <= 2 * sizeof(fs_piece), "an ending fits");
_Static_assert(sizeof(logs_row) <= 2 * sizeof(fs_piece), "an ending fits");

FS_INLINE int64_t piece_end(const fs_rows *rows, int64_t piece)
{
    const int64_t end = (piece + 1) * PIECE;
    return end < rows->n ? end : rows->n;
}

FS_SHARED void reduce_piece(const fs_rows *rows, fs_split_row *split, int64_t piece, pivot_rule rule)
{
    sweep_plan plan = plan_for(rule, rule == PIVOT_INDEX ? rows->target[0] : 0);
    plan.shift = (real)split->shift;
    if (rule == PIVOT_INDEX && plan.index < 0)
        return; /* not counted, not read */
    const row_state state = sweep_piece((const real *)rows->x, piece * PIECE,
                                        piece_end(rows, piece), &plan);
    memcpy(&split->states[piece], &state, sizeof state);
}

static void reduce_all(const fs_rows *rows, fs_split_row *split, int64_t piece)
{
    reduce_piece(rows, split, piece, PIVOT_NONE);
}

static void reduce_but_largest(const fs_rows *rows, fs_split_row *split, int64_t piece)
{
    reduce_piece(rows, split, piece, PIVOT_MAX);
}

static void reduce_but_target(const fs_rows *rows, fs_split_row *split, int64_t piece)
{
    reduce_piece(rows, split, piece, PIVOT_INDEX);
}

FS_SHARED row_state join_pieces(const fs_split_row *split)
{
    row_state state, next;
    memcpy(&state, &split->states[0], sizeof state);
    for (int64_t i = 1; i < split->pieces; i++) {
        memcpy(&next, &split->states[i], sizeof next);
        state = merge(&state, &next);
    }
    return state;
}

/* A row of huge logits has to be reduced once more, with its maximum subtracted. */
FS_INLINE int asks_for_shift(const row_state *state, fs_split_row *split)
{
    const double shift = (double)shift_for(state->max);
    if (split->shift != 0.0 || shift == 0.0)
        return 0;
    split->shift = shift;
    return 1;
}

FS_INLINE swept_row split_swept(const fs_rows *rows, const fs_split_row *split)
{
    swept_row row = {0};
    row.x = (const real *)rows->x;
    row.y = (real *)rows->y;
    row.n = rows->n;
    row.target = NO_PIVOT;
    row.stream = rows->stream;
    row.plan.shift = (real)split->shift;
    return row;
}

static int end_softmax(const fs_rows *rows, fs_split_row *split)
{
    const row_state state = join_pieces(split);
    if (asks_for_shift(&state, split))
        return 0;
    swept_row row = split_swept(rows, split);
    end_softmax_row(&state, &row);
    memcpy(split->ending, &row, sizeof row);
    return 1;
}

static int end_log_softmax(const fs_rows *rows, fs_split_row *split)
{
    const row_state state = join_pieces(split);
    if (asks_for_shift(&state, split))
        return 0;
    logs_row row = logs_to_write((const real *)rows->x, (real *)rows->y, rows->n, state.max,
                                 log_ratio(&state, (real)split->shift));
    row.stream = rows->stream;
    memcpy(split->ending, &row, sizeof row);
    return 1;
}

static int end_logsumexp(const fs_rows *rows, fs_split_row *split)
{
    const row_state state = join_pieces(split);
    if (asks_for_shift(&state, split))
        return 0;
    rows->value[0] = logsumexp_of((const real *)rows->x, rows->n, &state, (real)split->shift);
    return 1;
}

static int end_cross_entropy(const fs_rows *rows, fs_split_row *split)
{
    swept_row row = split_swept(rows, split);
    target_terms terms = {0};
    row.target = rows->target[0];
    if (row.target >= 0) {
        const row_state state = join_pieces(split);
        if (asks_for_shift(&state, split))
            return 0;
        const real x_t = row.x[row.target];
        const target_exp e = exp_of_target(x_t, row.plan.shift);
        end_target(&state, x_t, &e, row.plan.shift, rows->z_loss, &terms);
        if (rows->y)
            end_gradient(rows, 0, &state, &terms, &row);
    }
    if (row.target < 0)
        row.x = 0; /* not counted: zeros are written */
    rows->value[0] = terms.loss;
    rows->lse[0] = terms.lse;
    memcpy(split->ending, &row, sizeof row);
    return 1;
}

static void write_terms_piece(const fs_rows *rows, const fs_split_row *split, int64_t piece)
{
    const int64_t begin = piece * PIECE, end = piece_end(rows, piece);
    swept_row row;
    memcpy(&row, split->ending, sizeof row);
    const int inside = row.target >= begin && row.target < end;
    row.y += begin;
    row.n = end - begin;
    if (!row.x) {
        fill(row.y, row.n, 0);
        return;
    }
    row.x += begin;
    row.target = inside ? row.target - begin : NO_PIVOT;
    write_swept(&row);
    if (row.stream)
        v_stream_end();
}

static void write_logs_piece(const fs_rows *rows, const fs_split_row *split, int64_t piece)
{
    const int64_t begin = piece * PIECE;
    logs_row row;
    memcpy(&row, split->ending, sizeof row);
    row.x += begin;
    row.y += begin;
    row.n = piece_end(rows, piece) - begin;
    write_logs(&row);
    if (row.stream)
        v_stream_end();
}
