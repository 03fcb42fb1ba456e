/* logsumexp(x) = max + log(1 + R), R = sum over the others of e^(x_j - max): the largest logit is
 * left out of the sum and log1p taken, as SciPy does, here in one sweep. */

/* log(1 + R) of a finished state whose pivot is the maximum. */
FS_SHARED wide log_ratio(const row_state *state, real shift)
{
    if (!FS_F64) {
        const double z = (double)shift - (double)state->max;
        const double rest = checked_sum(state).high;
        return wide_of(one_loss_short(rest, (double)state->K, z, one_exp_short(z)), 0.0);
    }
    const wide distance = two_sum((double)shift, -(double)state->max);
    const wide_exp e = exp_wide(distance); /* e^(shift - max): the pivot's reciprocal */
    return log1p_scaled(wide_mul(checked_sum(state), e.fraction),
                        state->K - HEADROOM + e.exponent);
}

/* In float32 the low part is far below what the result is rounded to. */
FS_INLINE double plus_ratio(double max, wide ratio)
{
    return FS_F64 ? plus_wide(max, ratio) : max + ratio.high;
}
