/* The sums of mixture.inc.h with a row in each lane, a column after the other: its groups of four
 * and its single elements, in its order, so that a row has the same bits by either way. The pivot
 * is a logit of each row; class weights are one number a class. */

/* A group's logits, its soft targets where they count, and the classes' weights or 0. */
typedef struct {
    const real *x, *soft;
    const real *weight, *weight_low;
    int64_t n;
} cols_classes;

/* Of a tile, and of the classes' weights, what stands at a class of each lane: of few classes by
 * comparing, since scalar stores that vector loads have to wait for cost more. */
FS_ONCE v_t at_class(const real *tile, int64_t n, v_t class)
{
    v_t found = v_load(tile), at = v_set1(0);
    real lane[V_LANES];
    for (int64_t j = 0; n <= COLUMNS && j < n; j++) {
        found = v_select(v_eq(at, class), v_load(tile + j * V_LANES), found);
        at = v_add(at, v_set1(1));
    }
    if (n <= COLUMNS)
        return found;
    v_store(lane, class);
    FS_ROLLED
    for (int l = 0; l < V_LANES; l++)
        lane[l] = tile[(int64_t)lane[l] * V_LANES + l];
    return v_load(lane);
}

FS_ONCE v_t weight_at(const real *weight, int64_t n, v_t class)
{
    v_t found = v_set1(weight[0]), at = v_set1(0);
    real lane[V_LANES];
    for (int64_t j = 0; n <= COLUMNS && j < n; j++) {
        found = v_select(v_eq(at, class), v_set1(weight[j]), found);
        at = v_add(at, v_set1(1));
    }
    if (n <= COLUMNS)
        return found;
    v_store(lane, class);
    FS_ROLLED
    for (int l = 0; l < V_LANES; l++)
        lane[l] = weight[(int64_t)lane[l]];
    return v_load(lane);
}

FS_INLINE void store_wide(double *to, v_t a)
{
    d_t wide_a[D_PARTS];
    v_widen(a, wide_a);
    for (int p = 0; p < D_PARTS; p++)
        d_store(to + p * D_LANES, wide_a[p]);
}

/* As class_weight(), of a class in each lane. */
FS_SHARED void class_weights(const cols_classes *a, v_t class, double *weight)
{
    double low[V_LANES];
    store_wide(weight, a->weight ? weight_at(a->weight, a->n, class) : v_set1(1));
    if (!a->weight_low)
        return;
    store_wide(low, weight_at(a->weight_low, a->n, class));
    for (int p = 0; p < V_LANES; p += D_LANES)
        d_store(weight + p, d_add(d_load(weight + p), d_load(low + p)));
}

typedef struct { d_wide T[D_PARTS], D[D_PARTS], U[D_PARTS]; } cols_mixtures;

FS_INLINE void clear_mixtures(cols_mixtures *sums)
{
    const d_wide none = {d_set1(0.0), d_set1(0.0)};
    for (int p = 0; p < D_PARTS; p++)
        sums->T[p] = sums->D[p] = sums->U[p] = none;
}

FS_INLINE void store_column(const v_acc_t *column, int64_t c, cols_sums *sums)
{
    double sum[V_LANES], error[V_LANES];
    v_acc_store(column, sum, error);
    for (int p = 0; p < D_PARTS; p++) {
        sums->sum[c][p] = d_load(sum + p * D_LANES);
        if (FS_F64)
            sums->error[c][p] = d_load(error + p * D_LANES);
    }
}

/* Classes j, j + COLUMNS, ...: one column's share of a group. */
FS_INLINE void load_classes(const real *tile, int64_t j, v_t *a)
{
    for (int i = 0; i < 4; i++)
        a[i] = v_load(tile + (j + i * COLUMNS) * V_LANES);
}

FS_INLINE void load_weights(const real *weight, int64_t j, v_t *w)
{
    for (int i = 0; i < 4; i++)
        w[i] = v_set1(weight[j + i * COLUMNS]);
}

/* As sum_gaps(). weighted: known to the compiler. */
FS_INLINE void cols_gaps_loop(const cols_classes *a, v_t pivot, int weighted, d_wide *total)
{
    const int64_t n = a->n, whole = n - n % GROUP;
    cols_sums sums;
    for (int64_t c = 0; c < COLUMNS && c < n; c++) {
        v_acc_t column = v_acc_zero();
        for (int64_t j = c; j < whole; j += GROUP) {
            v_t x[4], w[4];
            load_classes(a->x, j, x);
            if (weighted)
                load_weights(a->weight, j, w);
            add_gaps(&column, x, weighted ? w : 0, pivot, v_set1(1));
        }
        for (int64_t j = whole + c; j < n; j += COLUMNS) {
            const v_t gap = v_sub(pivot, v_load(a->x + j * V_LANES));
            if (weighted)
                v_acc_fma(&column, gap, v_set1(a->weight[j]));
            else /* as times one */
                v_acc_add(&column, gap);
        }
        store_column(&column, c, &sums);
    }
    join_cols(&sums, n, total);
}

FS_SHARED void cols_gaps(const cols_classes *a, v_t pivot, d_wide *total)
{
    if (a->weight)
        cols_gaps_loop(a, pivot, 1, total);
    else
        cols_gaps_loop(a, pivot, 0, total);
}

/* As sum_soft(). */
FS_SHARED void cols_soft(const cols_classes *a, v_t pivot, cols_mixtures *total)
{
    const int64_t n = a->n, whole = n - n % GROUP;
    cols_sums T, D;
    for (int64_t c = 0; c < COLUMNS && c < n; c++) {
        v_acc_t column_T = v_acc_zero(), column_D = v_acc_zero();
        for (int64_t j = c; j < whole; j += GROUP) {
            v_t x[4], t[4];
            load_classes(a->x, j, x);
            load_classes(a->soft, j, t);
            add_soft(&column_T, &column_D, x, t, pivot);
        }
        for (int64_t j = whole + c; j < n; j += COLUMNS) {
            const v_t t = v_load(a->soft + j * V_LANES);
            v_acc_add(&column_T, t);
            v_acc_fma(&column_D, t, v_sub(pivot, v_load(a->x + j * V_LANES)));
        }
        store_column(&column_T, c, &T);
        store_column(&column_D, c, &D);
    }
    join_cols(&T, n, total->T);
    join_cols(&D, n, total->D);
}

/* As mixture_loop(). */
FS_SHARED void cols_mixture(const cols_classes *a, const mixture_terms *m, cols_mixtures *total)
{
    const mixture_terms terms = *m;
    const v_t zero = v_set1(0);
    cols_sums T, D, U;
    for (int64_t c = 0; c < COLUMNS && c < a->n; c++) {
        v_acc_t column_T = v_acc_zero(), column_D = column_T, column_U = column_T;
        for (int64_t j = c; j < a->n; j += COLUMNS) {
            const mixture_vector class = {
                v_load(a->x + j * V_LANES), terms.soft ? v_load(a->soft + j * V_LANES) : zero,
                v_set1(terms.weighted ? a->weight[j] : 1), terms.lossy ? v_set1(a->weight_low[j])
                                                                       : zero};
            add_mixture(&terms, &class, &column_T, &column_D, &column_U);
        }
        store_column(&column_T, c, &T);
        store_column(&column_D, c, &D);
        store_column(&column_U, c, &U);
    }
    if (terms.soft) {
        join_cols(&T, a->n, total->T);
        join_cols(&D, a->n, total->D);
    }
    if (terms.even)
        join_cols(&U, a->n, total->U);
}
