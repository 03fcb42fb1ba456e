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

/* Takes up the terms of classes j to j + count - 1, count being known to the compiler, into as many
 * columns; that of the pivot is 0. */
FS_INLINE void cols_terms(real *tile, int64_t j, int count, const cols_plan *plan,
                          term_sums *column)
{
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
            e[i].power = v_select(v_eq(plan->pivot, v_set1((real)(j + i))), v_set1(0), e[i].power);
        const v_t term = exp_joined(e[i]);
        if (plan->keep)
            v_store(tile + (j + i) * V_LANES, term);
        terms_add(&column[i], e[i], term);
    }
}

FS_INLINE void clear_columns(term_sums *column)
{
    for (int i = 0; i < 4; i++) {
        column[i].sum = v_set1(ABOVE);
        column[i].error = v_set1(0);
    }
}

/* Four columns at a time, down the classes; then what is short of four. */
FS_INLINE void sum_cols(real *tile, int64_t n, const cols_plan *plan, cols_term_sums *sums)
{
    for (int64_t c = 0; c < COLUMNS && c < n; c += 4) {
        term_sums column[4];
        int64_t j = c;
        clear_columns(column);
        for (; j + 4 <= n; j += COLUMNS)
            cols_terms(tile, j, 4, plan, column);
        for (int i = 0; i < 4 && j + i < n; i++)
            cols_terms(tile, j + i, 1, plan, &column[i]);
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

#if !FS_F64
/* Terms, one to a column, are whole multiples of ABOVE's last digit and so few digits that four of
 * them have an exact sum in float32: the same as in float64. */
FS_INLINE void join_exactly(v_t *sum, int64_t present, int64_t last)
{
    for (int64_t half = COLUMNS / 2; half >= last; half /= 2)
        for (int64_t i = 0; i < half && i + half < present; i++)
            sum[i] = v_add(sum[i], sum[i + half]);
}

FS_INLINE void join_wide(const v_t *sum, int64_t present, d_t *total)
{
    d_t wide_sum[COLUMNS][D_PARTS];
    for (int64_t i = 0; i < present; i++)
        v_widen(sum[i], wide_sum[i]);
    for (int64_t half = COLUMNS / 2; half > 0; half /= 2)
        for (int64_t i = 0; i < half && i + half < present; i++)
            for (int p = 0; p < D_PARTS; p++)
                wide_sum[i][p] = d_add(wide_sum[i][p], wide_sum[i + half][p]);
    for (int p = 0; p < D_PARTS; p++)
        total[p] = wide_sum[0][p];
}
#endif

/* float32's errors are joined by themselves, as in terms_total(). */
FS_INLINE void join_terms(cols_term_sums *sums, int64_t n, d_wide *total)
{
#if FS_F64
    join_cols(sums, n, total);
#else
    const int64_t present = n < COLUMNS ? n : COLUMNS;
    d_t sum[D_PARTS], error[D_PARTS];
    for (int64_t half = COLUMNS / 2; half > 0; half /= 2)
        for (int64_t i = 0; i < half && i + half < present; i++)
            sums->error[i] = v_add(sums->error[i], sums->error[i + half]);
    if (n <= 4) {
        join_exactly(sums->sum, present, 1);
        v_widen(sums->sum[0], sum);
    } else if (n <= COLUMNS) {
        join_exactly(sums->sum, present, 4);
        join_wide(sums->sum, 4, sum);
    } else {
        join_wide(sums->sum, COLUMNS, sum);
    }
    v_widen(sums->error[0], error);
    for (int p = 0; p < D_PARTS; p++)
        total[p] = d_wide_of(d_add(sum[p], error[p]), d_set1(0.0));
#endif
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
