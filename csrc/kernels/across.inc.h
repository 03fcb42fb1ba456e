/* Rows of a few vectors, V_LANES of them at a time: as they lie, some in step, down their vectors.
 * What a row needs once (its largest logit, K, its sum, its factor) is done for all of them, a row
 * in each lane, as in cols.inc.h; only those few vectors are transposed, not the rows. For
 * instances whose vectors are as wide as the sums have columns (AVX2: slower up to 200 classes).
 *
 *   tile[lane * pad + j], pad being n up to whole vectors; -inf where a row has no class
 *
 * While the chain of operations from a group's sums to its factors is under way, the next group is
 * loaded into another tile. */

typedef struct {
    const fs_rows *rows;
    int64_t first, count; /* rows */
    int64_t n, pad;
    real *tile;           /* V_LANES elements are free before it */
    v_t max, others;      /* of each row: its largest logits, without the one that is left out */
    real target[V_LANES], logit[V_LANES]; /* that one's class, where there is one, and logit */
} across_group;

FS_INLINE int has_group(const across_group *g) { return g->count > 0; }

/* The group from row `first` on, in one of the two tiles; of no rows where there is none. */
FS_INLINE across_group group_across(const fs_rows *rows, int64_t first)
{
    const int64_t left = rows->rows - first, pad = (rows->n + V_LANES - 1) / V_LANES * V_LANES;
    const int64_t room = (pad + 2) * V_LANES;
    real *from = (real *)rows->tile + first / V_LANES % 2 * room;
    across_group g = {rows, first, left < V_LANES ? left : V_LANES, rows->n, pad, from, v_set1(0), v_set1(0),
                      {0}, {0}};
    g.tile += V_LANES + unaligned_head(from, V_LANES);
    return g;
}

/* One copy of it, in memory. */
FS_ONCE void transpose_all(v_t *a)
{
    v_t b[V_LANES];
    for (int i = 0; i < V_LANES; i++)
        b[i] = a[i];
    v_transpose(b);
    for (int i = 0; i < V_LANES; i++)
        a[i] = b[i];
}

FS_INLINE v_t max_of_all(v_t *a)
{
    for (int half = V_LANES / 2; half > 0; half /= 2)
        for (int i = 0; i < half; i++)
            a[i] = v_max(a[i + half], a[i]);
    return a[0];
}

FS_INLINE v_t lane_numbers(void)
{
    real lane[V_LANES];
    for (int l = 0; l < V_LANES; l++)
        lane[l] = (real)l;
    return v_load(lane);
}

/* A row's largest logits so far, lane by lane. */
typedef struct {
    v_t max, second, at; /* the next; where the first of the largest begins its vector */
} across_row;

/* How much is looked for. */
enum { MAX_ALONE, MAX_BUT_TARGET, MAX_AND_SECOND };

FS_INLINE void load_vector(v_t a, int64_t j, int what, v_t target, real *tile, across_row *row)
{
    if (what == MAX_BUT_TARGET)
        a = v_select(v_eq(target, v_set1((real)j)), v_set1((real)-INFINITY), a);
    v_store(tile + j, a);
    if (what == MAX_AND_SECOND) {
        row->at = v_select(v_lt(row->max, a), v_set1((real)j), row->at);
        row->second = v_max(v_min(row->max, a), row->second);
    }
    row->max = v_max(a, row->max);
}

/* `what` is known to the compiler. */
FS_INLINE across_row load_row(const real *x, int64_t n, int what, v_t target, real *tile)
{
    const v_t none = v_set1((real)-INFINITY);
    across_row row = {none, none, v_set1(0)};
    int64_t j = 0;
    for (; j + V_LANES <= n; j += V_LANES)
        load_vector(v_load(x + j), j, what, target, tile, &row);
    if (j < n)
        load_vector(v_load_part(x + j, n - j, none), j, what, target, tile, &row);
    return row;
}

/* The rows and their largest logits; lanes without a row are zeros. If one class of each is left
 * out, -inf in its place. */
FS_INLINE void load_rows(across_group *g, int what)
{
    const int64_t n = g->n, step = g->rows->x_step, pad = g->pad, count = g->count;
    const real *x = (const real *)g->rows->x + g->first * step;
    const v_t lanes = lane_numbers();
    real *tile = g->tile;
    v_t max[V_LANES];
    for (int64_t l = 0; l < count; l++, x += step, tile += pad)
        max[l] = load_row(x, n, what, v_sub(v_set1(g->target[l]), lanes), tile).max;
    for (int64_t l = count < 0 ? 0 : count; l < V_LANES; l++, tile += pad) {
        fill(tile, pad, 0);
        max[l] = v_set1(0);
    }
    transpose_all(max);
    g->max = g->others = max_of_all(max);
}

FS_ONCE void load_across(across_group *g) { load_rows(g, MAX_ALONE); }
FS_ONCE void load_across_but(across_group *g) { load_rows(g, MAX_BUT_TARGET); }

/* The rows, their largest logits, and the first class of each that has it. */
FS_ONCE void load_across_largest(across_group *g)
{
    const int64_t n = g->n, step = g->rows->x_step, pad = g->pad, count = g->count;
    const real *x = (const real *)g->rows->x + g->first * step;
    real *tile = g->tile;
    v_t max[V_LANES], second[V_LANES], at[V_LANES], lane = v_set1(0), index = v_set1((real)n);
    for (int64_t l = 0; l < count; l++, x += step, tile += pad) {
        const across_row row = load_row(x, n, MAX_AND_SECOND, v_set1(0), tile);
        max[l] = row.max;
        second[l] = row.second;
        at[l] = row.at;
    }
    for (int64_t l = count < 0 ? 0 : count; l < V_LANES; l++, tile += pad) {
        fill(tile, pad, 0);
        max[l] = second[l] = at[l] = v_set1(0);
    }
    transpose_all(max);
    transpose_all(second);
    transpose_all(at);
    v_t all[V_LANES];
    for (int i = 0; i < V_LANES; i++)
        all[i] = max[i];
    g->max = max_of_all(all);
    for (int i = 0; i < V_LANES; i++, lane = v_add(lane, v_set1(1))) {
        at[i] = v_add(at[i], lane);
        index = v_min(v_select(v_eq(max[i], g->max), at[i], index), index);
    }
    for (int i = 0; i < V_LANES; i++)
        max[i] = v_select(v_eq(at[i], index), second[i], max[i]);
    g->others = max_of_all(max);
    v_store(g->target, index);
}

/* The logits of the classes that are left out change places with -inf. */
FS_INLINE void take_across(const across_group *g, real *logit)
{
    FS_ROLLED
    for (int l = 0; l < V_LANES; l++) {
        real *at = g->tile + l * g->pad + (int64_t)g->target[l];
        logit[l] = *at;
        *at = (real)-INFINITY;
    }
}

FS_INLINE void put_across(const across_group *g, const real *logit)
{
    FS_ROLLED
    for (int l = 0; l < V_LANES; l++)
        g->tile[l * g->pad + (int64_t)g->target[l]] = logit[l];
}

/* --- the sums --- */

/* What the exponentials of a row need. */
typedef struct { real rounder[V_LANES], turner[V_LANES], lowest[V_LANES]; } across_scales;

FS_INLINE void step_scales(const across_scales *s, int64_t l, exp_scale *scale)
{
    for (int i = 0; i < 4; i++) {
        scale[i].rounder = v_set1(s->rounder[l + i]);
        scale[i].turner = v_set1(s->turner[l + i]);
        scale[i].lowest = v_set1(s->lowest[l + i]);
    }
}

FS_INLINE exp_begun begin_step(const real *at, int64_t pad, const exp_scale *scale)
{
    v_t x[4];
    for (int i = 0; i < 4; i++)
        x[i] = v_load(at + i * pad);
    return exp_begin4_each(x, scale, 1);
}

/* Of logits and results, four rows from an address on. */
typedef struct { uintptr_t x, x_step, y, y_step; } across_fetch;

/* Summing touches no memory but the tile, loading and writing wait for nothing else: so the rows
 * two groups ahead and the place of this group's results are fetched meanwhile. By number: there
 * need not be a row. */
FS_INLINE across_fetch begin_fetch(const across_group *g)
{
    const fs_rows *rows = g->rows;
    const uintptr_t x_step = (uintptr_t)rows->x_step * sizeof(real);
    const uintptr_t y_step = (uintptr_t)(rows->y ? rows->y_step : rows->x_step) * sizeof(real);
    const uintptr_t y = (uintptr_t)(rows->y && !rows->stream ? rows->y : rows->x);
    const across_fetch fetch = {(uintptr_t)rows->x + (uintptr_t)(g->first + 2 * V_LANES) * x_step, x_step,
                                y + (uintptr_t)g->first * y_step, y_step};
    return fetch;
}

FS_INLINE void fetch_step(const across_fetch *f, int64_t j)
{
    for (int i = 0; i < 4; i++) {
        FS_PREFETCH(f->x + (uintptr_t)i * f->x_step + (uintptr_t)j * sizeof(real));
        FS_PREFETCH(f->y + (uintptr_t)i * f->y_step + (uintptr_t)j * sizeof(real));
    }
}

FS_INLINE void end_step(exp_begun begun, real *at, int64_t pad, int keep, term_sums *column)
{
    exp_parts e[4];
    exp_end4(begun, e);
    for (int i = 0; i < 4; i++) {
        const v_t term = exp_joined(e[i]);
        if (keep)
            v_store(at + i * pad, term);
        terms_add(&column[i], e[i], term);
    }
}

/* The sums of all rows' terms, which take the logits' place if they are kept. Four rows in step; a
 * step is begun beside the end of the last, as in groups_loop(). */
FS_ONCE void sum_across(const across_group *g, const exp_scale *lanes, int keep,
                          cols_term_sums *sums)
{
    const int64_t pad = g->pad;
    across_fetch fetch = begin_fetch(g);
    real *at = g->tile;
    across_scales s;
    exp_scale scale[4];
    v_store(s.rounder, lanes->rounder);
    v_store(s.turner, lanes->turner);
    v_store(s.lowest, lanes->lowest);
    step_scales(&s, 0, scale);
    exp_begun begun = begin_step(at, pad, scale);
    for (int64_t l = 0; l < V_LANES; l += 4, at += 4 * pad) {
        const int64_t next = l + 4 < V_LANES ? l + 4 : 0; /* after the last: for nobody */
        int64_t j = 0;
        term_sums column[4];
        clear_columns(column, ABOVE);
        for (; j + COLUMNS < pad; j += COLUMNS) {
            const exp_begun now = begun;
            fetch_step(&fetch, j);
            begun = begin_step(at + j + COLUMNS, pad, scale);
            end_step(now, at + j, pad, keep, column);
        }
        const exp_begun now = begun;
        fetch_step(&fetch, j);
        fetch.x += 4 * fetch.x_step;
        fetch.y += 4 * fetch.y_step;
        step_scales(&s, next, scale);
        begun = begin_step(g->tile + next * pad, pad, scale);
        end_step(now, at + j, pad, keep, column);
        for (int i = 0; i < 4; i++)
            column_done(&column[i], l + i, sums);
    }
    transpose_all(&OF_COLUMN(sums->sum, 0));
    transpose_all(&OF_COLUMN(sums->error, 0));
}
