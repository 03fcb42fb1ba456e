/* Rows of one block, one by one. Such a row takes some hundreds of cycles, and what surrounds its
 * exponentials counts:
 *
 * - Its largest logits are found while a row before it is under way: the way from the logits to
 *   their maximum, and from there to its place, is a long chain of operations, which then runs
 *   beside exponentials (2 to 3%).
 * - A row before it is written beside its exponentials (6 to 15%).
 * - Little is copied from structure to structure (7% of softmax).
 */

FS_INLINE int is_short(const fs_rows *rows) { return rows->n <= BLOCK; }

/* The state of a row; its terms are left in `terms`, scratch of a whole block, where that is given.
 * A row before is written meanwhile where `late` is given. */
FS_ONCE row_state sweep_short(const real *x, int64_t n, const extremes *e, real *terms,
                              late_row *late, real *shift)
{
    *shift = shift_for(e->max);
    const row_state state = block_state(x, n, e, *shift, terms, late);
    if (late)
        write_late_end(terms ? LATE_TERMS : LATE_LOGS, late, n);
    return state;
}

/* A row whose terms wait in scratch to be written. */
typedef struct {
    late_row late; /* y is 0 where no row waits */
    int64_t lift, target;
    real at_target;
} waiting_row;

FS_INLINE waiting_row to_be_written(const real *terms, const swept_row *row)
{
    const waiting_row waits = {{terms, row->y, row->factor.high, row->factor.low, 0},
                               row->factor.lift, row->target, row->at_target};
    return waits;
}

FS_SHARED void write_waiting(const waiting_row *waits, int64_t n, int stream)
{
    int64_t scale = 0;
    swept_row row = {0};
    row.y = waits->late.y;
    row.n = n;
    row.plan.out = (real *)(uintptr_t)waits->late.from; /* only read */
    row.plan.exponents = &scale;
    row.factor = (row_factor){waits->late.high, waits->late.low, waits->lift};
    row.target = waits->target;
    row.at_target = waits->at_target;
    row.stream = stream;
    write_swept(&row);
}

/* Sweeps a row whose terms are wanted, and writes the one that waits. */
FS_INLINE row_state sweep_and_write(const fs_rows *rows, const real *x, const extremes *e, real *terms,
                                    waiting_row *waits, real *shift)
{
    const int waiting = waits->late.y != 0;
    const int beside = BEGINS_AHEAD && waiting && !rows->stream && waits->lift == 0;
    const row_state state = sweep_short(x, rows->n, e, terms, beside ? &waits->late : 0, shift);
    if (beside && waits->target >= 0)
        waits->late.y[waits->target] = waits->at_target;
    else if (!beside && waiting)
        write_waiting(waits, rows->n, rows->stream);
    return state;
}

FS_INLINE void end_writing(const fs_rows *rows, const waiting_row *waits)
{
    if (waits->late.y)
        write_waiting(waits, rows->n, rows->stream);
    if (rows->stream)
        v_stream_end();
}

/* --- the largest logit left out: its place is found in two steps --- */

typedef struct {
    extremes next;     /* of the row after this one */
    lane_maxima lanes; /* of the row after that */
    real max;
} rows_ahead;

/* One row alone has nothing to run beside. */
FS_INLINE int looks_ahead(const fs_rows *rows) { return is_short(rows) && rows->rows > 1; }

/* What is known of row i and row i + 1, when row i - 1 is about to be swept. */
FS_SHARED void look_ahead(const fs_rows *rows, int64_t i, rows_ahead *ahead)
{
    const real *x = (const real *)rows->x + i * rows->x_step;
    if (!looks_ahead(rows))
        return;
    if (i < rows->rows)
        ahead->next = extremes_of_maxima(x, rows->n, &ahead->lanes, ahead->max);
    if (i + 1 < rows->rows)
        ahead->max = lanes_and_max(x + rows->x_step, rows->n, &ahead->lanes);
}

FS_INLINE rows_ahead first_rows_ahead(const fs_rows *rows)
{
    rows_ahead ahead = {0};
    if (looks_ahead(rows))
        ahead.max = lanes_and_max((const real *)rows->x, rows->n, &ahead.lanes);
    look_ahead(rows, 0, &ahead);
    return ahead;
}
