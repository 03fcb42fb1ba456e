/* logsumexp(x) = max + log(1 + R), R = sum over the others of e^(x_j - max): the largest logit is
 * left out of the sum and log1p taken, as SciPy does, here in one sweep. */

/* e^(pivot - shift), the pivot being the target or the maximum: a long chain of operations, so it is
 * begun before the sweep and runs beside it; the rare row that turns out to need a shift has it
 * done again. */
typedef struct {
    wide_exp own;
    double more; /* what the pivot lies below LEAST_DISTANCE */
} target_exp;

FS_INLINE target_exp exp_of_target(real pivot, real shift)
{
    const double z = (double)pivot - (double)shift, bounded = one_max(z, LEAST_DISTANCE);
    target_exp e = {{{0.0, 0.0}, 0}, bounded - z};
    if (FS_F64) {
        e.own = exp_wide(wide_of(bounded, 0.0));
    } else {
        const one_exponential own = one_exp_short(one_min(bounded, -LEAST_DISTANCE));
        e.own.fraction = own.fraction;
        e.own.exponent = (int64_t)own.exponent;
    }
    return e;
}

/* log(1 + R), R being the sum of the others over the target's own. */
FS_INLINE wide loss_of_target(wide rest, int64_t K, const target_exp *e)
{
    const one_exponential own = {e->own.fraction, (double)e->own.exponent};
    const one_shares s = one_shares_of(rest, (double)K, own, HEADROOM, LOSS_LIFT);
    wide loss = FS_F64 ? one_loss_wide(&s) : wide_of(one_loss_short(&s), 0.0);
    loss.high += e->more;
    return loss;
}

/* The same of a finished state whose pivot is the maximum. */
FS_SHARED wide log_ratio(const row_state *state, real shift)
{
    const target_exp e = exp_of_target(state->max, shift);
    return loss_of_target(checked_sum(state), state->K, &e);
}

/* In float32 the low part is far below what the result is rounded to. */
FS_INLINE double plus_ratio(double max, wide ratio)
{
    return FS_F64 ? plus_wide(max, ratio) : max + ratio.high;
}
