/* Gradients through the two functions, dy being the gradient of their result:
 *
 *   y = softmax(x):      dx = y (dy - sum(dy y))
 *   y = log_softmax(x):  dx = dy - e^y sum(dy)
 *
 * The sum is carried as in block.inc.h (products exact) and enters as two numbers. dx may be dy or
 * y: each element is read before it is written.
 */

/* sum(a b), or sum(a) where b is 0. */
FS_SHARED wide sum_products(const real *a, const real *b, int64_t n)
{
    const v_t one = v_set1(1);
    column_sums sums;
    columns_clear(&sums);
    for (int64_t j = 0; j < n; j += COLUMNS)
        for (int q = 0; q < VECTORS; q++) {
            const int64_t at = j + q * V_LANES, left = n - at;
            if (left >= V_LANES)
                v_acc_fma(&sums.part[q], v_load(a + at), b ? v_load(b + at) : one);
            else if (left > 0)
                v_acc_fma(&sums.part[q], v_load_part(a + at, left, v_set1(0)),
                          b ? v_load_part(b + at, left, v_set1(0)) : one);
        }
    return columns_total(&sums);
}

typedef struct { v_t high, low; } two_vectors;

FS_INLINE two_vectors split_wide(wide a)
{
    const real high = (real)a.high;
    const real low = high - high == 0 ? (real)((a.high - (double)high) + a.low) : 0;
    const two_vectors split = {v_set1(high), v_set1(low)};
    return split;
}

/* less: -sum(dy y). Where the two nearly cancel their sum is exact, so that dx keeps its digits. */
FS_INLINE v_t softmax_dx(v_t dy, v_t y, two_vectors less)
{
    return v_fma(y, v_add(dy, less.high), v_mul(y, less.low));
}

typedef struct { const real *a, *b; } products_job;

static void products_of_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    const products_job *of = job;
    const wide sum = sum_products(of->a + begin, from(of->b, begin), n);
    memcpy(result, &sum, sizeof sum);
}

FS_SHARED wide products_of_pieces(const fs_rows *rows, const products_job *job)
{
    wide sum = {0.0, 0.0}, next;
    if (!each_piece(rows, products_of_piece, job))
        return sum;
    for (int64_t i = 0; i < rows->pieces->count; i++) {
        memcpy(&next, &rows->pieces->results[i], sizeof next);
        sum = wide_add(sum, next);
    }
    return sum;
}

FS_INLINE wide products_of_row(const fs_rows *rows, const real *a, const real *b)
{
    const products_job job = {a, b};
    return rows->pieces ? products_of_pieces(rows, &job) : sum_products(a, b, rows->n);
}

/* A row of either function, once its sum is known. */
typedef struct {
    const real *dy, *y;
    real *dx;
    two_vectors sum;
    two_powers lift;
    exp_scale scale;
} backward_row;

FS_INLINE backward_row begin_backward(const fs_rows *rows, int64_t i)
{
    backward_row row;
    row.dy = (const real *)rows->x + i * rows->x_step;
    row.y = (const real *)rows->other + i * rows->other_step;
    row.dx = (real *)rows->y + i * rows->y_step;
    return row;
}

FS_INLINE void write_softmax_dx(const backward_row *row, int64_t begin, int64_t n)
{
    const real *dy = row->dy + begin, *y = row->y + begin;
    real *dx = row->dx + begin;
    const two_vectors sum = row->sum;
    const v_t zero = v_set1(0);
    int64_t j = 0;
    for (; j + V_LANES <= n; j += V_LANES)
        v_store(dx + j, softmax_dx(v_load(dy + j), v_load(y + j), sum));
    if (j < n) {
        const int64_t left = n - j;
        const v_t part = softmax_dx(v_load_part(dy + j, left, zero),
                                    v_load_part(y + j, left, zero), sum);
        v_store_part(dx + j, part, left);
    }
}

static void softmax_dx_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    const backward_row row = *(const backward_row *)job;
    (void)result;
    write_softmax_dx(&row, begin, n);
}

static void softmax_backward_rows(const fs_rows *rows)
{
    for (int64_t i = 0; i < rows->rows; i++) {
        backward_row row = begin_backward(rows, i);
        row.sum = split_wide(wide_minus(products_of_row(rows, row.dy, row.y)));
        if (rows->pieces)
            each_piece(rows, softmax_dx_piece, &row);
        else
            write_softmax_dx(&row, 0, rows->n);
    }
}

/* e^y comes as a term on the scale of K; the sum takes that scale up, or what of it fits. */
FS_INLINE v_t log_softmax_dx(v_t dy, v_t y, two_vectors sum, two_powers lift,
                             const exp_scale *scale)
{
    const v_t term = v_mul(v_mul(exp_scaled(y, scale), lift.a), lift.b);
    return v_fnma(term, sum.high, v_fnma(term, sum.low, dy));
}

FS_INLINE void write_log_softmax_dx(const backward_row *row, int64_t begin, int64_t n)
{
    const real *dy = row->dy + begin, *y = row->y + begin;
    real *dx = row->dx + begin;
    const two_vectors sum = row->sum;
    const two_powers lift = row->lift;
    const exp_scale scale = row->scale;
    const v_t zero = v_set1(0);
    int64_t j = 0;
    for (; j + V_LANES <= n; j += V_LANES)
        v_store(dx + j, log_softmax_dx(v_load(dy + j), v_load(y + j), sum, lift, &scale));
    if (j < n) {
        const int64_t left = n - j;
        const v_t part = log_softmax_dx(v_load_part(dy + j, left, zero),
                                        v_load_part(y + j, left, zero), sum, lift, &scale);
        v_store_part(dx + j, part, left);
    }
}

static void log_softmax_dx_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    const backward_row row = *(const backward_row *)job;
    (void)result;
    write_log_softmax_dx(&row, begin, n);
}

static void log_softmax_backward_rows(const fs_rows *rows)
{
    for (int64_t i = 0; i < rows->rows; i++) {
        backward_row row = begin_backward(rows, i);
        const int64_t K = binary_exponent(max_of_row(rows, row.y));
        const wide total = products_of_row(rows, row.dy, 0);
        const row_factor split = split_factor(total, K - HEADROOM);
        row.scale = exp_scale_for(K);
        row.sum.high = v_set1(split.high);
        row.sum.low = v_set1(split.low);
        row.lift = powers_of_two(split.lift);
        if (rows->pieces)
            each_piece(rows, log_softmax_dx_piece, &row);
        else
            write_log_softmax_dx(&row, 0, rows->n);
    }
}
