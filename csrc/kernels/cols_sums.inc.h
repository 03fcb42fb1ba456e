/* Rows side by side: the sum of their terms. Class j of a row goes to column j mod COLUMNS, and the
 * columns are joined by one tree, as in sums.inc.h. */

typedef struct { d_t sum[COLUMNS][D_PARTS], error[COLUMNS][D_PARTS]; } cols_sums;
#if FS_F64
typedef cols_sums cols_term_sums;
#define OF_COLUMN(sums, c) (sums)[c][0]
#else
typedef struct { v_t sum[COLUMNS], error[COLUMNS]; } cols_term_sums;
#define OF_COLUMN(sums, c) (sums)[c]
#endif

/* Less what a column started from, which is exact. */
FS_INLINE void column_done(const term_sums *column, int64_t c, cols_term_sums *sums)
{
    OF_COLUMN(sums->sum, c) = v_sub(column->sum, v_set1(ABOVE));
    OF_COLUMN(sums->error, c) = column->error;
}

typedef struct {
    int keep;  /* the terms take the logits' place; known to the compiler, as is has_pivot */
    int has_pivot;
    v_t pivot; /* a class of each row whose term is 0 */
    v_t shift;
    exp_scale scale;
} cols_plan;

/* Takes up the terms of classes j to j + count - 1 into as many columns; that of the pivot is 0.
 * count is known to the compiler, as is `only`: there are no others in these columns, which spares
 * what a column starts from. */
FS_INLINE void cols_terms(real *tile, int64_t j, int count, int only, const cols_plan *plan,
                          term_sums *column)
{
    const v_t pivot = v_sub(plan->pivot, v_set1((real)j)), above = v_set1(ABOVE);
    v_t x[4];
    exp_parts e[4];
    for (int i = 0; i < count; i++)
        x[i] = v_sub(v_load(tile + (j + i) * V_LANES), plan->shift);
    if (count == 4)
        exp_parted4(x, &plan->scale, e);
    else
        e[0] = exp_parted(x[0], &plan->scale);
    for (int i = 0; i < count; i++) {
        if (plan->has_pivot)
            e[i].power = v_select(v_eq(pivot, v_set1((real)i)), v_set1(0), e[i].power);
        const v_t term = exp_joined(e[i]);
        if (plan->keep)
            v_store(tile + (j + i) * V_LANES, term);
        if (only) {
            column[i].sum = v_sub(v_add(above, term), above);
            column[i].error = v_fma(e[i].w, e[i].power, v_sub(e[i].power, column[i].sum));
        } else {
            terms_add(&column[i], e[i], term);
        }
    }
}

FS_INLINE void clear_columns(term_sums *column, real start)
{
    for (int i = 0; i < 4; i++) {
        column[i].sum = v_set1(start);
        column[i].error = v_set1(0);
    }
}

/* One term to a column, four columns at a time. */
FS_INLINE void sum_few(real *tile, int64_t n, const cols_plan *plan, cols_term_sums *sums)
{
    for (int64_t c = 0; c < n; c += 4) {
        term_sums column[4];
        clear_columns(column, 0);
        if (c + 4 <= n)
            cols_terms(tile, c, 4, 1, plan, column);
        else
            for (int i = 0; c + i < n; i++)
                cols_terms(tile, c + i, 1, 1, plan, &column[i]);
        for (int i = 0; i < 4; i++) {
            OF_COLUMN(sums->sum, c + i) = column[i].sum;
            OF_COLUMN(sums->error, c + i) = column[i].error;
        }
    }
}

/* Four columns at a time, down the classes; then what is short of four. */
FS_INLINE void sum_cols(real *tile, int64_t n, const cols_plan *plan, cols_term_sums *sums)
{
    if (!FS_F64 && n <= COLUMNS) { /* in float64 for up to eight: 5%, and 15 KB */
        sum_few(tile, n, plan, sums);
        return;
    }
    for (int64_t c = 0; c < COLUMNS && c < n; c += 4) {
        term_sums column[4];
        int64_t j = c;
        clear_columns(column, ABOVE);
        for (; j + 4 <= n; j += COLUMNS)
            cols_terms(tile, j, 4, 0, plan, column);
        for (int i = 0; i < 4 && j + i < n; i++)
            cols_terms(tile, j + i, 1, 0, plan, &column[i]);
        for (int i = 0; i < 4; i++)
            column_done(&column[i], c + i, sums);
    }
}

/* Columns joined by halves; those that a short row does not have are zero. */
FS_SHARED void join_cols(cols_sums *sums, int64_t n, d_wide *total)
{
    const int64_t present = n < COLUMNS ? n : COLUMNS;
    for (int64_t half = COLUMNS / 2; half > 0; half /= 2)
        for (int64_t i = 0; i < half && i + half < present; i++)
            for (int p = 0; p < D_PARTS; p++) {
#if FS_F64
                const d_wide pair = d_two_sum(sums->sum[i][p], sums->sum[i + half][p]);
                const d_t error = d_add(sums->error[i][p], sums->error[i + half][p]);
                sums->sum[i][p] = pair.high;
                sums->error[i][p] = d_add(error, pair.low);
#else
                sums->sum[i][p] = d_add(sums->sum[i][p], sums->sum[i + half][p]);
#endif
            }
    for (int p = 0; p < D_PARTS; p++) {
        total[p] = d_wide_of(sums->sum[0][p], d_set1(0.0));
        if (FS_F64) { /* of inf or NaN the errors are NaN */
            const d_t error = d_if_finite(total[p].high, sums->error[0][p], d_set1(0.0));
            total[p] = d_wide_add(total[p], d_wide_of(error, d_set1(0.0)));
        }
    }
}

/* Terms of at most 1.5 * 2^HEADROOM are whole multiples of ABOVE's last digit and of so few digits
 * that five have an exact sum: the same as with what it has lost, or in float64. */
#define EXACT_TERMS 5

/* A step of the tree while sums are exact; all arguments are known to the compiler. */
FS_INLINE void join_exactly(v_t *sum, v_t *error, int half, int columns, int left)
{
    for (int i = 0; i < half && i + half < columns; i++) {
        if (!FS_F64 || half >= left)
            error[i] = v_add(error[i], error[i + half]);
        if (half >= left)
            sum[i] = v_add(sum[i], sum[i + half]);
    }
}

/* The others, in pairs of float64, or in float64. */
FS_INLINE void join_rest(d_t (*sum)[D_PARTS], v_t *lost, int half, int left)
{
    for (int i = 0; i < half && half < left; i++)
        for (int p = 0; p < D_PARTS; p++) {
#if FS_F64
            const d_wide pair = d_two_sum(sum[i][p], sum[i + half][p]);
            sum[i][p] = pair.high;
            lost[i] = d_add(d_add(lost[i], lost[i + half]), pair.low);
#else
            (void)lost;
            sum[i][p] = d_add(sum[i][p], sum[i + half][p]);
#endif
        }
}

/* The tree as in join_cols(), of a number of columns that the compiler knows: those of a row of
 * more than columns - 4 classes. As long as more than `left` columns are left, sums are exact. */
FS_INLINE void join_known(cols_term_sums *sums, int columns, int left, d_wide *total)
{
    v_t *sum = &OF_COLUMN(sums->sum, 0), *error = &OF_COLUMN(sums->error, 0);
    d_t rest[COLUMNS][D_PARTS], lost[D_PARTS];
    join_exactly(sum, error, 8, columns, left);
    join_exactly(sum, error, 4, columns, left);
    join_exactly(sum, error, 2, columns, left);
    join_exactly(sum, error, 1, columns, left);
    for (int i = 0; i < left; i++)
        v_widen(sum[i], rest[i]);
    join_rest(rest, error, 8, left);
    join_rest(rest, error, 4, left);
    join_rest(rest, error, 2, left);
    join_rest(rest, error, 1, left);
    v_widen(error[0], lost);
    for (int p = 0; p < D_PARTS; p++) /* of NaN, or what will be, what is lost means nothing */
        total[p] = FS_F64 ? d_fast_two_sum(rest[0][p], lost[p])
                          : d_wide_of(d_add(rest[0][p], lost[p]), d_set1(0.0));
}

/* float32's errors are joined by themselves, as in terms_total(). */
FS_INLINE void join_terms(cols_term_sums *sums, int64_t n, d_wide *total)
{
    if (n <= 4)
        join_known(sums, 4, 1, total);
    else if (n <= 8)
        join_known(sums, 8, 2, total);
    else if (n <= 2 * EXACT_TERMS)
        join_known(sums, FS_F64 ? COLUMNS : 12, 2, total);
    else if (!FS_F64 && n <= 12)
        join_known(sums, 12, 4, total);
    else if (!FS_F64 && n <= COLUMNS)
        join_known(sums, COLUMNS, 4, total);
    else
        join_known(sums, COLUMNS, COLUMNS, total);
}

/* Of losses in float64. */
static void add_values(const double *value, int64_t count, double *high, double *low)
{
    d_wide sum[FS_SUMS / D_LANES];
    for (int k = 0; k < FS_SUMS / D_LANES; k++)
        sum[k] = d_wide_of(d_load(high + k * D_LANES), d_load(low + k * D_LANES));
    for (int64_t i = 0; i < count; i += FS_SUMS)
        for (int k = 0; k < FS_SUMS / D_LANES; k++) {
            const d_wide next = d_two_sum(sum[k].high, d_load(value + i + k * D_LANES));
            sum[k] = d_wide_of(next.high, d_add(sum[k].low, next.low));
        }
    for (int k = 0; k < FS_SUMS / D_LANES; k++) {
        d_store(high + k * D_LANES, sum[k].high);
        d_store(low + k * D_LANES, sum[k].low);
    }
}
