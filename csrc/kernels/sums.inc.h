/* Sums over a row whose bits are the same on every instruction set.
 *
 * Element j of a group of 4 COLUMNS goes to column j mod COLUMNS; a column is added up in order,
 * and the columns are joined by one tree. AVX-512 holds the columns in one vector, AVX2 in two,
 * NEON in four. What is lost in rounding is carried along, so a sum is exact to far below an ULP.
 */

#define GROUP (4 * COLUMNS)
#define VECTORS (COLUMNS / V_LANES) /* of one column set: 1 (AVX-512) to 16 (scalar) */

/* Column i takes up column i + half. For float32 a plain float64 sum is as good as exact. */
FS_INLINE void fold_columns(double *sum, double *error, int half)
{
    for (int i = 0; i < half; i++) {
#if FS_F64
        const wide pair = two_sum(sum[i], sum[i + half]);
        sum[i] = pair.high;
        error[i] = (error[i] + error[i + half]) + pair.low;
#else
        (void)error;
        sum[i] += sum[i + half];
#endif
    }
}

/* Joins the columns' sums and rounding errors by halves; constant halves, so that it is
 * unrolled. */
FS_INLINE wide join_columns(double *sum, double *error)
{
#if !FS_F64
    for (int i = 0; i < COLUMNS; i++)
        sum[i] += error[i];
    fold_columns(sum, error, 8);
#endif
    fold_columns(sum, error, 4);
    fold_columns(sum, error, 2);
    fold_columns(sum, error, 1);
    if (!FS_F64 || !(sum[0] - sum[0] == 0)) /* of inf or NaN the errors are NaN */
        return wide_of(sum[0], 0.0);
    return wide_add(wide_of(sum[0], 0.0), wide_of(error[0], 0.0));
}

/* --- terms of any size: float32 is widened, float64 uses TwoSum (v_acc_*) --- */

typedef struct { v_acc_t part[VECTORS]; } column_sums;

FS_INLINE void columns_clear(column_sums *sums)
{
    for (int q = 0; q < VECTORS; q++)
        sums->part[q] = v_acc_zero();
}

FS_INLINE wide columns_total(const column_sums *sums)
{
    double sum[COLUMNS], error[COLUMNS] = {0};
    for (int q = 0; q < VECTORS; q++)
        v_acc_store(&sums->part[q], sum + q * V_LANES, error + q * V_LANES);
    return join_columns(sum, error);
}

/* --- exponentials on the scale of their maximum: at most 1.5 * 2^HEADROOM, and one near it ---
 *
 * A column starts at ABOVE, larger than any term: sum + t takes up u = (sum + t) - sum exactly, and
 * t - u is what it loses (Dekker's Fast2Sum), four additions in all and nothing widened. What a
 * column adds up in `error` is below 2^-20 of a term of the maximum's size, so that plain additions
 * do for it. */

#define ABOVE ((real)(HEADROOM_POWER * 4.0))

typedef struct { v_t sum, error; } term_sums;

/* Takes up e, whose rounded value is t: what is added is e itself, so that the sum has none of its
 * terms' last roundings (they would be another 1/2 ULP of every result). u: what the sum took. */
FS_INLINE void terms_add(term_sums *column, exp_parts e, v_t t)
{
    const v_t sum = v_add(column->sum, t), u = v_sub(sum, column->sum);
    column->error = v_add(column->error, v_fma(e.w, e.power, v_sub(e.power, u)));
    column->sum = sum;
}

FS_INLINE void terms_clear(term_sums *columns)
{
    for (int q = 0; q < VECTORS; q++) {
        columns[q].sum = v_set1(ABOVE);
        columns[q].error = v_set1(0);
    }
}

/* What float32 has lost is so small that float32 holds it: joined by itself, a vector in lanes. */
FS_INLINE void fold_errors(real *error, int half)
{
    for (int i = 0; i < half; i++)
        error[i] += error[i + half];
}

FS_INLINE wide terms_total(const term_sums *columns)
{
    real sum[COLUMNS], error[COLUMNS];
    double sums[COLUMNS];
    for (int q = 0; q < VECTORS; q++) {
        v_store(sum + q * V_LANES, columns[q].sum);
        v_store(error + q * V_LANES, columns[q].error);
    }
    for (int i = 0; i < COLUMNS; i++)
        sums[i] = (double)sum[i] - (double)ABOVE; /* exact */
#if FS_F64
    return join_columns(sums, error);
#else
    fold_errors(error, 8);
    fold_errors(error, 4);
    fold_errors(error, 2);
    fold_columns(sums, 0, 8);
    fold_columns(sums, 0, 4);
    fold_columns(sums, 0, 2);
    return wide_of((sums[0] + sums[1]) + (double)(error[0] + error[1]), 0.0);
#endif
}
