/* Rows so long that nobody is to wait for their end (rows->pieces): a kernel goes through them as
 * through others, but has what it does done piece by piece by the driver, which runs the pieces on
 * all threads and may end the call between them. Nothing is then written any more, and what a sum
 * returns, zeros, is of no use to anyone. What comes of the pieces is joined in their order.
 */

_Static_assert(sizeof(row_state) <= sizeof(fs_piece), "a state fits");

FS_INLINE int each_piece(const fs_rows *rows, fs_piece_task *task, const void *job)
{
    return rows->pieces->each(rows->pieces->driver, task, job);
}

/* Where an element of the row stands in a piece, or NO_PIVOT. */
FS_INLINE int64_t place_in(int64_t index, int64_t begin, int64_t n)
{
    return index >= begin && index < begin + n ? index - begin : NO_PIVOT;
}

FS_SHARED row_state join_pieces(const fs_pieces *pieces)
{
    row_state state, next;
    memcpy(&state, &pieces->results[0], sizeof state);
    for (int64_t i = 1; i < pieces->count; i++) {
        memcpy(&next, &pieces->results[i], sizeof next);
        state = merge(&state, &next);
    }
    return state;
}

typedef struct {
    const real *x;
    const sweep_plan *plan;
} sweep_job;

static void sweep_of_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    const sweep_job *sweeps = job;
    const row_state state = sweep_piece(sweeps->x, begin, begin + n, sweeps->plan);
    memcpy(result, &state, sizeof state);
}

FS_SHARED row_state sweep_pieces(const fs_rows *rows, const real *x, sweep_plan *plan)
{
    const sweep_job job = {x, plan};
    row_state state = {0};
    do {
        plan->shift = shift_for(state.max);
        if (!each_piece(rows, sweep_of_piece, &job))
            return (row_state){0};
        state = join_pieces(rows->pieces);
    } while (plan->shift == 0 && shift_for(state.max) != 0);
    return state;
}

/* The state of a row; in pieces it has the bits of sweep(), but no terms are kept. */
FS_INLINE row_state sweep_row(const fs_rows *rows, const real *x, sweep_plan *plan)
{
    return rows->pieces ? sweep_pieces(rows, x, plan) : sweep(x, rows->n, plan);
}

static void max_of_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    const real max = block_max((const real *)job + begin, n);
    memcpy(result, &max, sizeof max);
}

FS_SHARED real max_of_pieces(const fs_rows *rows, const real *x)
{
    real max = (real)-INFINITY, next;
    if (!each_piece(rows, max_of_piece, x))
        return 0;
    for (int64_t i = 0; i < rows->pieces->count; i++) {
        memcpy(&next, &rows->pieces->results[i], sizeof next);
        max = next > max ? next : max;
    }
    return max;
}

FS_INLINE real max_of_row(const fs_rows *rows, const real *x)
{
    return rows->pieces ? max_of_pieces(rows, x) : block_max(x, rows->n);
}

FS_SHARED int any_nan(const real *x, int64_t n)
{
    int found = 0;
    for (int64_t j = 0; j < n; j++)
        found |= x[j] != x[j];
    return found;
}

static void nan_of_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    result->words[0] = any_nan((const real *)job + begin, n);
}

FS_SHARED int pieces_hold_nan(const fs_rows *rows, const real *x)
{
    int found = 0;
    if (!each_piece(rows, nan_of_piece, x))
        return 0;
    for (int64_t i = 0; i < rows->pieces->count; i++)
        found |= rows->pieces->results[i].words[0] != 0;
    return found;
}

/* Beside +inf a NaN does not show in the sum, which is NaN by then. */
FS_INLINE int row_holds_nan(const fs_rows *rows, const real *x)
{
    return rows->pieces ? pieces_hold_nan(rows, x) : any_nan(x, rows->n);
}
