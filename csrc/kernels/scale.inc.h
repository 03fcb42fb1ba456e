/* The second half of softmax and of every gradient: y = factor * e^x, the factor being
 * coefficient / sum held as two numbers, so that only the exponential's own rounding and the last
 * one remain. The exponentials come from y itself (kept by the sweep) or are computed again; both
 * give the same bits, since the powers of two between them are exact.
 */

typedef struct {
    real high, low;
    int64_t lift; /* y = (high + low) * term * 2^lift, lift <= 0 */
} row_factor;

/* Factors too small for float32's range (a tiny grad_output) keep their digits: the missing power
 * of two is applied to the terms. */
FS_INLINE row_factor split_factor(wide factor, int64_t d)
{
    row_factor split = {0, 0, d};
    if (factor.high < SMALLEST_FACTOR && factor.high > -SMALLEST_FACTOR && factor.high != 0.0) {
        factor = wide_scale(factor, power_of_two(FACTOR_LIFT));
        split.lift = d - FACTOR_LIFT;
    }
    split.high = (real)factor.high;
    split.low = (real)((factor.high - (double)split.high) + factor.low);
    if (!(split.high - split.high == 0))
        split.low = 0; /* NaN or inf */
    return split;
}

/* 2^d in two factors: d <= 0 may lie below the exponents of real. */
typedef struct { v_t a, b; } two_powers;

FS_INLINE two_powers powers_of_two(int64_t d)
{
    const int64_t lowest = 1 - EXPONENT_BIAS;
    const int64_t first = d < lowest ? lowest : d, rest = d - first < lowest ? lowest : d - first;
    const two_powers p = {v_set1((real)power_of_two(first)), v_set1((real)power_of_two(rest))};
    return p;
}

FS_INLINE void scale_part(const real *term, real *y, int64_t count, two_powers p, v_t high, v_t low)
{
    const v_t t = v_mul(v_mul(v_load_part(term, count, v_set1(0)), p.a), p.b);
    v_store_part(y, times_factor(t, high, low), count);
}

/* Elements before y is aligned to a vector: stores that straddle cache lines cost double. */
FS_INLINE int64_t unaligned_head(const real *y, int64_t n)
{
    const int64_t over = (int64_t)((uintptr_t)y / sizeof(real) % V_LANES);
    const int64_t head = over ? V_LANES - over : 0;
    return head < n ? head : n;
}

/* A whole vector of the result. What is larger than the caches goes past them: an ordinary store
 * reads the line first. stream is known to the compiler, y aligned to a vector. */
FS_INLINE void put(real *y, v_t a, int stream)
{
    if (stream)
        v_stream(y, a);
    else
        v_store(y, a);
}

/* y = factor * term * 2^d; y may be term. */
FS_INLINE void scale_terms(const real *term, real *y, int64_t n, const row_factor *factor, int64_t d,
                           int stream)
{
    const v_t high = v_set1(factor->high), low = v_set1(factor->low);
    const two_powers p = powers_of_two(d);
    int64_t j = unaligned_head(y, n);
    if (j > 0)
        scale_part(term, y, j, p, high, low);
    if (d == 0)
        for (; j + V_LANES <= n; j += V_LANES)
            put(y + j, times_factor(v_load(term + j), high, low), stream);
    for (; j + V_LANES <= n; j += V_LANES)
        put(y + j, times_factor(v_mul(v_mul(v_load(term + j), p.a), p.b), high, low), stream);
    if (j < n)
        scale_part(term + j, y + j, n - j, p, high, low);
}

FS_INLINE void scale_kept(const real *term, real *y, int64_t n, const row_factor *factor,
                          const sweep_plan *plan, int64_t K, int stream)
{
    for (int64_t at = 0; at < n; at += BLOCK)
        scale_terms(term + at, y + at, n - at < BLOCK ? n - at : BLOCK, factor,
                    plan->exponents[at / BLOCK] - K + factor->lift, stream);
}

typedef struct {
    v_t high, low, shift;
    two_powers lift;
    exp_scale scale;
} again_plan;

FS_INLINE v_t scaled_again(v_t x, const again_plan *p)
{
    const v_t term = exp_scaled(v_sub(x, p->shift), &p->scale);
    return times_factor(v_mul(v_mul(term, p->lift.a), p->lift.b), p->high, p->low);
}

FS_INLINE void scale_again(const real *x, real *y, int64_t n, const row_factor *factor, real shift,
                           int64_t K, int stream)
{
    const v_t none = v_set1((real)-INFINITY);
    const again_plan p = {v_set1(factor->high), v_set1(factor->low), v_set1(shift),
                          powers_of_two(factor->lift), exp_scale_for(K)};
    int64_t j = unaligned_head(y, n);
    if (j > 0)
        v_store_part(y, scaled_again(v_load_part(x, j, none), &p), j);
    for (; j + V_LANES <= n; j += V_LANES)
        put(y + j, scaled_again(v_load(x + j), &p), stream);
    if (j < n)
        v_store_part(y + j, scaled_again(v_load_part(x + j, n - j, none), &p), n - j);
}

/* A row that is swept but not yet written. Short rows are written one row late: the long chain of
 * operations from a row's sum to its factor then runs beside the next row's exponentials. Their
 * terms wait in scratch, so that y is written once. */
typedef struct {
    const real *x;
    real *y;
    int64_t n, K;
    sweep_plan plan;
    row_factor factor;
    int64_t target; /* the element that is given, or NO_PIVOT */
    real at_target;
    int stream;
} swept_row;

/* Elements begin to end - 1 of a row, to y and on. Of a row of several blocks that keeps its terms,
 * begin is 0: each block has a scale of its own. */
FS_SHARED void write_part(const swept_row *row, int64_t begin, int64_t end, real *y, int stream)
{
    const sweep_plan *plan = &row->plan;
    const row_factor *factor = &row->factor;
    const int64_t n = end - begin;
    if (plan->out)
        scale_kept(plan->out + begin, y, n, factor, plan, row->K, stream);
    else
        scale_again(row->x + begin, y, n, factor, plan->shift, row->K, stream);
}

/* The result at the target goes past the caches within its vector: a store of its own would have
 * the line read again from memory, which takes longer than the row (n = 1000: 570 to 330 ns). */
FS_INLINE void stream_with_target(const swept_row *row)
{
    FS_ALIGNED real own[V_LANES];
    const int64_t lane = (int64_t)((uintptr_t)(row->y + row->target) / sizeof(real) % V_LANES);
    const int64_t begin = row->target - lane, end = begin + V_LANES;
    write_part(row, 0, begin, row->y, 1);
    write_part(row, begin, end, own, 0);
    own[lane] = row->at_target;
    v_stream(row->y + begin, v_load(own));
    write_part(row, end, row->n, row->y + end, 1);
}

FS_SHARED void write_swept(const swept_row *row)
{
    if (row->stream && row->target >= V_LANES && row->target + V_LANES <= row->n) {
        stream_with_target(row);
        return;
    }
    write_part(row, 0, row->n, row->y, row->stream);
    if (row->target >= 0)
        row->y[row->target] = row->at_target;
}

static void write_swept_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    swept_row row = *(const swept_row *)job;
    (void)result;
    row.x += begin;
    row.y += begin;
    row.n = n;
    row.target = place_in(row.target, begin, n);
    write_swept(&row);
    if (row.stream)
        v_stream_end();
}

FS_INLINE void write_swept_row(const fs_rows *rows, const swept_row *row)
{
    if (rows->pieces)
        each_piece(rows, write_swept_piece, row);
    else
        write_swept(row);
}

FS_INLINE int write_late(const fs_rows *rows) { return rows->keep && rows->n <= BLOCK; }

typedef struct { FS_ALIGNED real terms[2][BLOCK]; } late_rows; /* of this row and the last */

/* Row i of softmax or of a gradient, ready to be swept. */
FS_INLINE swept_row begin_row(const fs_rows *rows, int64_t i, late_rows *late)
{
    swept_row row = {0};
    row.x = (const real *)rows->x + i * rows->x_step;
    row.y = (real *)rows->y + i * rows->y_step;
    row.n = rows->n;
    row.target = NO_PIVOT;
    row.stream = rows->stream;
    row.plan.exponents = rows->exponents;
    row.plan.out = rows->keep ? row.y : 0;
    if (late && write_late(rows)) {
        row.plan.exponents += i & 1;
        row.plan.out = late->terms[i & 1];
    }
    return row;
}

FS_INLINE void fill(real *y, int64_t n, real value)
{
    const v_t values = v_set1(value);
    int64_t j = 0;
    for (; j + V_LANES <= n; j += V_LANES)
        v_store(y + j, values);
    for (; j < n; j++)
        y[j] = value;
}

static void fill_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    (void)result;
    fill((real *)(uintptr_t)job + begin, n, 0);
}

/* What a row that is not counted has for a gradient. */
FS_INLINE void write_zeros(const fs_rows *rows, real *y)
{
    if (rows->pieces)
        each_piece(rows, fill_piece, y);
    else
        fill(y, rows->n, 0);
}
