/* The second half of softmax and of every gradient: y = factor * e^x, the factor being
 * coefficient / sum held as two numbers, so that only the exponential's own rounding and the last
 * one remain. The exponentials come from y itself (kept by the sweep) or are computed again; both
 * give the same bits, since the powers of two between them are exact.
 */

typedef struct {
    real high, low;
    int64_t lift; /* y = (high + low) * term * 2^lift */
} row_factor;

/* Factors too small for float32's range (a tiny grad_output) keep their digits: the missing power
 * of two is applied to the terms. */
FS_INLINE row_factor split_factor(wide factor)
{
    row_factor split = {0, 0, 0};
    if (factor.high < SMALLEST_FACTOR && factor.high > -SMALLEST_FACTOR && factor.high != 0.0) {
        factor = wide_scale(factor, power_of_two(FACTOR_LIFT));
        split.lift = -FACTOR_LIFT;
    }
    split.high = (real)factor.high;
    split.low = (real)((factor.high - (double)split.high) + factor.low);
    if (!(split.high - split.high == 0))
        split.low = 0; /* NaN or inf */
    return split;
}

FS_INLINE v_t times_factor(v_t term, v_t high, v_t low)
{
    return v_fma(term, high, v_mul(term, low));
}

/* y *= factor * 2^d, in place; d <= 0 in two steps, because 2^d may be below the normal range. */
FS_INLINE void scale_terms(real *y, int64_t n, const row_factor *factor, int64_t d)
{
    const v_t high = v_set1(factor->high), low = v_set1(factor->low);
    const int64_t first = d < -EXPONENT_BIAS + 1 ? -EXPONENT_BIAS + 1 : d;
    const int64_t second = d - first < -EXPONENT_BIAS + 1 ? -EXPONENT_BIAS + 1 : d - first;
    const v_t a = v_set1((real)power_of_two(first)), b = v_set1((real)power_of_two(second));
    int64_t j = 0;
    if (d == 0)
        for (; j + V_LANES <= n; j += V_LANES)
            v_store(y + j, times_factor(v_load(y + j), high, low));
    for (; j + V_LANES <= n; j += V_LANES)
        v_store(y + j, times_factor(v_mul(v_mul(v_load(y + j), a), b), high, low));
    if (j < n) {
        const v_t term = v_mul(v_mul(v_load_part(y + j, n - j, v_set1(0)), a), b);
        v_store_part(y + j, times_factor(term, high, low), n - j);
    }
}

FS_INLINE void scale_kept(real *y, int64_t n, const row_factor *factor, const sweep_plan *plan,
                          int64_t K)
{
    for (int64_t at = 0; at < n; at += BLOCK)
        scale_terms(y + at, n - at < BLOCK ? n - at : BLOCK, factor,
                    plan->exponents[at / BLOCK] - K + factor->lift);
}

FS_INLINE void scale_again(const real *x, real *y, int64_t n, const row_factor *factor,
                           const sweep_plan *plan, int64_t K)
{
    const v_t high = v_set1(factor->high), low = v_set1(factor->low);
    const v_t shift = v_set1(plan->shift), lift = v_set1((real)power_of_two(factor->lift));
    const exp_scale scale = exp_scale_for(K);
    int64_t j = 0;
    for (; j + V_LANES <= n; j += V_LANES) {
        const v_t term = exp_scaled(v_sub(v_load(x + j), shift), &scale);
        v_store(y + j, times_factor(v_mul(term, lift), high, low));
    }
    if (j < n) {
        const v_t part = v_load_part(x + j, n - j, v_set1((real)-INFINITY));
        const v_t term = exp_scaled(v_sub(part, shift), &scale);
        v_store_part(y + j, times_factor(v_mul(term, lift), high, low), n - j);
    }
}

FS_SHARED void write_scaled(const real *x, real *y, int64_t n, wide factor, const sweep_plan *plan,
                            int64_t K)
{
    const row_factor split = split_factor(factor);
    if (plan->out)
        scale_kept(y, n, &split, plan, K);
    else
        scale_again(x, y, n, &split, plan, K);
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
