/* Sums over a row's classes for the losses in which every class has a coefficient:
 *
 *   T = sum_c t_c w_c,  D = sum_c t_c w_c gap_c,  U = sum_c w_c gap_c,  gap_c = pivot - x_c
 *
 * with soft targets t and class weights w. The factors that all classes share (smoothing, the
 * weights' common power of two) come in afterwards, in float64. Products are exact and summed as
 * sums.inc.h has it, so that little but the gap's rounding remains.
 */

/* q_c = (slope t_c + base) w_c weight_scale, without the hard target's own share. */
typedef struct {
    const real *soft, *weight; /* 0: none, or all one */
    const real *weight_low;    /* 0, or what float32 has lost of the weights */
    real unit;                 /* 1, which the compiler does not know */
    wide slope, base;          /* base 0: the classes have no share of the smoothing */
} coefficients;

FS_INLINE const real *soft_of_row(const fs_rows *rows, int64_t i, const coefficients *q)
{
    if (!rows->other || q->slope.high == 0.0) /* 0 times an infinite gap is 0 */
        return 0;
    return (const real *)rows->other + i * rows->other_step;
}

/* Those of the first row, which share all but the targets with the others. */
FS_INLINE coefficients row_coefficients(const fs_rows *rows)
{
    coefficients q = {0, (const real *)rows->class_weight, (const real *)rows->class_weight_low,
                      (real)(rows->n > 0),
                      two_sum(1.0, -rows->smoothing),
                      wide_quotient(rows->smoothing, wide_of((double)rows->n, 0.0))};
    q.soft = soft_of_row(rows, 0, &q);
    return q;
}

/* All of a vector, or its first lanes and rest. */
FS_INLINE v_t load_some(const real *p, int64_t count, v_t rest)
{
    return count >= V_LANES ? v_load(p) : v_load_part(p, count, rest);
}

FS_INLINE void store_some(real *p, v_t a, int64_t count)
{
    if (count >= V_LANES)
        v_store(p, a);
    else
        v_store_part(p, a, count);
}

/* --- U alone, relative to a finite pivot: what a hard target needs --- */

/* Four vectors of a group of whole vectors. w: their class weights, or 0. float64 has room for
 * adding them pairwise as they are: a rounding more, or two. one: 1, which the compiler must not
 * know: gaps are then for the multipliers, since the adders have enough to do. (AVX-512: a fifth
 * less.) */
FS_INLINE void add_gaps(v_acc_t *sum, const v_t *x, const v_t *w, v_t pivot, v_t one)
{
    v_t gap[4], pair[2];
    for (int i = 0; i < 4; i++)
        gap[i] = v_fnma(one, x[i], pivot);
    for (int i = 0; !FS_F64 && i < 4; i++)
        v_acc_fma(sum, gap[i], w ? w[i] : one);
    if (!FS_F64)
        return;
    for (int i = 0; i < 2; i++)
        pair[i] = w ? v_fma(w[i + 2], gap[i + 2], v_mul(w[i], gap[i])) : v_add(gap[i], gap[i + 2]);
    if (w) { /* that have been rounded as products, too */
        v_acc_add(sum, pair[0]);
        v_acc_add(sum, pair[1]);
    } else {
        v_acc_add(sum, v_add(pair[0], pair[1]));
    }
}

FS_INLINE void load_group(const real *p, v_t *a)
{
    for (int i = 0; i < 4; i++)
        a[i] = v_load(p + i * COLUMNS);
}

FS_INLINE wide gaps_loop(const real *x, int64_t n, real pivot, const real *weight, real unit)
{
    const v_t pivots = v_set1(pivot), one = v_set1(unit), zero = v_set1(0);
    const int64_t whole = n - n % GROUP;
    column_sums sums;
    columns_clear(&sums);
    for (int64_t j = 0; j < whole; j += GROUP)
        for (int v = 0; v < VECTORS; v++) {
            v_t a[4], w[4];
            load_group(x + j + v * V_LANES, a);
            if (weight)
                load_group(weight + j + v * V_LANES, w);
            add_gaps(&sums.part[v], a, weight ? w : 0, pivots, one);
        }
    for (int64_t j = whole; j < n; j += COLUMNS)
        for (int v = 0; v < VECTORS; v++) {
            const int64_t at = j + v * V_LANES, left = n - at;
            if (left > 0)
                v_acc_fma(&sums.part[v], v_sub(pivots, load_some(x + at, left, pivots)),
                          weight ? load_some(weight + at, left, zero) : one);
        }
    return columns_total(&sums);
}

/* Not finite where a gap overflows or a logit is not finite. */
FS_ONCE wide sum_gaps(const real *x, int64_t n, real pivot, const real *weight, real unit)
{
    return weight ? gaps_loop(x, n, pivot, weight, unit) : gaps_loop(x, n, pivot, 0, unit);
}

typedef struct { wide T, D, U; } mixture;

/* --- T and D of soft targets alone, relative to a finite pivot --- */

/* As add_gaps(); t: their targets. */
FS_INLINE void add_soft(v_acc_t *T, v_acc_t *D, const v_t *x, const v_t *t, v_t pivot)
{
    v_t gap[4];
    for (int i = 0; i < 4; i++)
        gap[i] = v_sub(pivot, x[i]);
    if (FS_F64) {
        for (int i = 0; i < 4; i += 2) {
            v_acc_add(T, v_add(t[i], t[i + 1]));
            v_acc_add(D, v_fma(t[i + 1], gap[i + 1], v_mul(t[i], gap[i])));
        }
        return;
    }
    for (int i = 0; i < 4; i++) {
        v_acc_add(T, t[i]);
        v_acc_fma(D, t[i], gap[i]);
    }
}

/* D is not finite where a gap is not, even if its target is 0. */
FS_SHARED mixture sum_soft(const real *x, int64_t n, real pivot, const real *soft)
{
    const v_t pivots = v_set1(pivot);
    const int64_t whole = n - n % GROUP;
    column_sums T, D;
    columns_clear(&T);
    columns_clear(&D);
    for (int64_t j = 0; j < whole; j += GROUP)
        for (int v = 0; v < VECTORS; v++) {
            v_t a[4], t[4];
            load_group(x + j + v * V_LANES, a);
            load_group(soft + j + v * V_LANES, t);
            add_soft(&T.part[v], &D.part[v], a, t, pivots);
        }
    for (int64_t j = whole; j < n; j += COLUMNS)
        for (int v = 0; v < VECTORS; v++) {
            const int64_t at = j + v * V_LANES, left = n - at;
            if (left <= 0)
                continue;
            const v_t t = load_some(soft + at, left, v_set1(0));
            v_acc_add(&T.part[v], t);
            v_acc_fma(&D.part[v], t, v_sub(pivots, load_some(x + at, left, pivots)));
        }
    const mixture sums = {columns_total(&T), columns_total(&D), {0.0, 0.0}};
    return sums;
}

/* --- any mixture --- */

typedef struct {
    v_t pivot, shrink;   /* gaps are shrink * pivot - shrink * x */
    int weighted, lossy; /* whether there are class weights; whether float32 has lost of them */
    int soft, even;      /* which are wanted: T and D; U */
} mixture_terms;

/* A vector of logits and what goes with them. */
typedef struct { v_t x, t, w, w_low; } mixture_vector;

/* A coefficient of 0 silences its gap. */
FS_INLINE void add_mixture(const mixture_terms *m, const mixture_vector *a, v_acc_t *T, v_acc_t *D,
                           v_acc_t *U)
{
    const v_t zero = v_set1(0);
    const v_t gap = v_sub(v_mul(m->pivot, m->shrink), v_mul(a->x, m->shrink));
    const v_t most = v_set1((real)power_of_two(EXPONENT_BIAS));
    const v_t bounded = v_min(gap, most); /* infinite times a low part might be of another sign */
    if (m->soft) {
        const v_t q_j = m->weighted ? v_mul(a->t, a->w) : a->t;
        v_acc_add(T, q_j);
        v_acc_fma(D, q_j, v_where_nonzero(q_j, gap));
        if (m->weighted) {
            const v_t low = v_fma(a->t, a->w_low, v_fma(a->t, a->w, v_sub(zero, q_j)));
            v_acc_add(T, low);
            v_acc_fma(D, low, v_where_nonzero(low, bounded));
        }
    }
    if (m->even) {
        v_acc_fma(U, a->w, v_where_nonzero(a->w, gap));
        if (m->lossy)
            v_acc_fma(U, a->w_low, v_where_nonzero(a->w_low, bounded));
    }
}

/* One vector of classes from j on, `left` of them there. */
FS_INLINE mixture_vector load_mixture(const mixture_terms *m, const coefficients *q, const real *x,
                                      int64_t j, int64_t left)
{
    const v_t zero = v_set1(0);
    mixture_vector a = {load_some(x + j, left, m->pivot), zero, v_set1(1), zero};
    if (m->soft)
        a.t = load_some(q->soft + j, left, zero);
    if (m->weighted)
        a.w = load_some(q->weight + j, left, zero);
    if (m->lossy)
        a.w_low = load_some(q->weight_low + j, left, zero);
    return a;
}

FS_INLINE mixture_terms terms_of_mixture(v_t pivot, real shrink, const coefficients *q)
{
    const mixture_terms m = {pivot,        v_set1(shrink), q->weight != 0, q->weight_low != 0,
                             q->soft != 0, q->base.high != 0.0};
    return m;
}

FS_INLINE mixture mixture_loop(const mixture_terms *m, const real *x, const coefficients *q,
                               int64_t n)
{
    const mixture_terms terms = *m;
    const wide none = {0.0, 0.0};
    column_sums T, D, U;
    columns_clear(&T);
    columns_clear(&D);
    columns_clear(&U);
    for (int64_t j = 0; j < n; j += COLUMNS)
        for (int v = 0; v < VECTORS && j + v * V_LANES < n; v++) {
            const int64_t at = j + v * V_LANES;
            const mixture_vector a = load_mixture(&terms, q, x, at, n - at);
            add_mixture(&terms, &a, &T.part[v], &D.part[v], &U.part[v]);
        }
    const mixture sums = {terms.soft ? columns_total(&T) : none,
                          terms.soft ? columns_total(&D) : none,
                          terms.even ? columns_total(&U) : none};
    return sums;
}

/* T, D, and U where it counts. D and U are times shrink, a power of two. */
FS_SHARED mixture sum_mixture(const real *x, int64_t n, real pivot, const coefficients *q,
                              real shrink)
{
    const mixture_terms m = terms_of_mixture(v_set1(pivot), shrink, q);
    if (q->soft && !q->weight && shrink == 1) {
        mixture sums = sum_soft(x, n, pivot, q->soft);
        if (m.even)
            sums.U = sum_gaps(x, n, pivot, 0, shrink);
        if ((sums.D.high - sums.D.high) + (sums.U.high - sums.U.high) == 0)
            return sums;
    }
    return mixture_loop(&m, x, q, n);
}

/* --- of a row that may be long --- */

typedef struct {
    const real *x;
    const coefficients *q;
    real pivot, shrink;
} mixture_job;

FS_INLINE const real *from(const real *p, int64_t begin) { return p ? p + begin : 0; }

static void mixture_of_piece(const void *job, int64_t begin, int64_t n, fs_piece *result)
{
    const mixture_job *of = job;
    coefficients q = *of->q;
    q.soft = from(q.soft, begin);
    q.weight = from(q.weight, begin);
    q.weight_low = from(q.weight_low, begin);
    const mixture sums = sum_mixture(of->x + begin, n, of->pivot, &q, of->shrink);
    memcpy(result, &sums, sizeof sums);
}

FS_SHARED mixture mixture_of_pieces(const fs_rows *rows, const mixture_job *job)
{
    mixture sums = {{0.0, 0.0}, {0.0, 0.0}, {0.0, 0.0}}, next;
    if (!each_piece(rows, mixture_of_piece, job))
        return sums;
    for (int64_t i = 0; i < rows->pieces->count; i++) {
        memcpy(&next, &rows->pieces->results[i], sizeof next);
        sums.T = wide_add(sums.T, next.T);
        sums.D = wide_add(sums.D, next.D);
        sums.U = wide_add(sums.U, next.U);
    }
    return sums;
}

FS_INLINE mixture mixture_of_row(const fs_rows *rows, const real *x, real pivot,
                                 const coefficients *q, real shrink)
{
    const mixture_job job = {x, q, pivot, shrink};
    return rows->pieces ? mixture_of_pieces(rows, &job)
                        : sum_mixture(x, rows->n, pivot, q, shrink);
}
