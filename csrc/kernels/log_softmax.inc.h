/* log_softmax(x)_j = x_j - (max + log(1 + R)), R as in logsumexp. What is subtracted is held as two
 * numbers, so that beside the largest element, where x_j - max cancels to 0, log(1 + R) stands with
 * all its digits, however small. (Before: (x_j - max) - log(1 + R), with one more subtraction.) */

typedef struct {
    const real *x;
    real *y;
    int64_t n, written;
    real high, low; /* of -(max + log(1 + R)) */
    int stream;
} logs_row;

FS_INLINE logs_row logs_to_write(const real *x, real *y, int64_t n, real max, wide log_ratio)
{
    logs_row row = {x, y, n, 0, 0, 0, 0};
    const wide minus = two_sum(-(double)max, -log_ratio.high);
    const double low = minus.low - log_ratio.low;
    row.high = (real)minus.high;
    if (row.high - row.high == 0)
        row.low = (real)((minus.high - (double)row.high) + low);
    return row;
}

FS_INLINE void write_logs_to(const logs_row *row, int stream)
{
    const v_t high = v_set1(row->high), low = v_set1(row->low), zero = v_set1(0);
    const real *x = row->x + row->written;
    real *y = row->y + row->written;
    const int64_t n = row->n - row->written;
    int64_t j = unaligned_head(y, n);
    if (j > 0)
        v_store_part(y, minus_logsumexp(v_load_part(x, j, zero), high, low), j);
    for (; j + V_LANES <= n; j += V_LANES)
        put(y + j, minus_logsumexp(v_load(x + j), high, low), stream);
    if (j < n)
        v_store_part(y + j, minus_logsumexp(v_load_part(x + j, n - j, zero), high, low), n - j);
}

FS_SHARED void write_logs(const logs_row *row)
{
    if (row->stream)
        write_logs_to(row, 1);
    else
        write_logs_to(row, 0);
}

static void write_logs_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    logs_row row = *(const logs_row *)job;
    (void)result;
    row.x += begin;
    row.y += begin;
    row.n = n;
    write_logs(&row);
    if (row.stream)
        v_stream_end();
}

FS_INLINE void write_logs_row(const fs_rows *rows, const logs_row *row)
{
    if (rows->pieces)
        each_piece(rows, write_logs_piece, row);
    else
        write_logs(row);
}
