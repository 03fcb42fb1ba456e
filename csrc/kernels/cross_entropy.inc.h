/* cross-entropy of a hard target t, and its gradient:
 *
 *   loss = log(1 + R),  R = sum over j != t of e^(x_j) / e^(x_t)
 *   dloss/dx_j = e^(x_j) / S,  S = (1 + R) e^(x_t);   at the target -R / (1 + R)
 *
 * A z-loss z lse^2 adds p_j 2 z lse. The target is left out of the sum, so a confident loss keeps
 * its digits: with logits [20, 0, 0] and label 0 the loss is 4.1e-9 where 1 + R is already 1. A
 * label is read once by the driver. */

typedef struct {
    double loss, loss_low; /* float32: without a low part */
    wide lse; /* logsumexp: only where there is a z-loss; float32: likewise */
    wide rest; /* sum over the others, times 2^(HEADROOM - K) */
    full_sum all;
} target_terms;

FS_INLINE target_terms split_target(const row_state *state, real x_t, const target_exp *target)
{
    target_terms terms = {0};
    const int bad = x_t == INFINITY || x_t != x_t;
    terms.rest = bad ? wide_of(NAN, 0.0) : checked_sum(state);
    terms.all = sum_with_pivot(terms.rest, state->K, &target->own);
    if (!FS_F64)
        terms.all.sum.low = 0.0;
    return terms;
}

/* logsumexp of a row that has a z-loss. The log of the sum is as far off as the sum is, however
 * small it is itself; where the loss is small, the target's logit and the loss have its digits. */
FS_INLINE wide lse_of(const full_sum *all, int64_t K, real shift, real x_t, wide loss)
{
    const int64_t e = K - all->d - HEADROOM;
    if (loss.high < 1.0)
        return end_add(wide_of((double)x_t, 0.0), loss);
    if (all->sum.high != all->sum.high)
        return wide_of(NAN, 0.0);
    return end_add(wide_of((double)shift, 0.0),
                   FS_F64 ? log_wide(all->sum, e)
                          : wide_of(one_log_scaled(all->sum.high, (double)e), 0.0));
}

/* z lse^2 */
FS_INLINE wide z_square(double z_loss, wide lse)
{
    return end_mul(end_mul(wide_of(z_loss, 0.0), lse), lse);
}

/* The loss, and what a z-loss needs, of terms that split_target() has made. */
FS_SHARED void end_target(const row_state *state, real x_t, const target_exp *e, real shift,
                          double z_loss, target_terms *terms)
{
    const wide loss = loss_of_target(terms->rest, state->K, e);
    terms->loss = loss.high;
    terms->loss_low = loss.low;
    if (z_loss != 0.0)
        terms->lse = lse_of(&terms->all, state->K, shift, x_t, loss);
}

/* What a z-loss makes of row i's factor and of what stands at its target. */
FS_SHARED void add_z_loss(const fs_rows *rows, int64_t i, const row_state *state,
                          const target_terms *terms, const target_exp *e, swept_row *row)
{
    const wide inverse = end_quotient(1.0, terms->all.sum), f = wide_of(rows->factor[i], 0.0);
    const wide z = end_mul(end_mul(wide_of(2.0 * rows->z_loss, 0.0), terms->lse),
                           wide_of(rows->z_factor[i], 0.0));
    const wide lost = end_mul(end_mul(terms->rest, inverse), f);
    const wide own = wide_of(scale_by_power(lost.high, terms->all.d),
                             lost.low * power_of_two(terms->all.d));
    const wide p = end_mul(pivot_term(&e->own, state->K - terms->all.d), inverse);
    row->at_target = (real)(wide_value(end_add(end_mul(p, z), wide_minus(own))) + 0.0);
    row->factor = split_factor(end_mul(end_add(f, z), inverse), terms->all.d);
}

/* The factor of row i's gradient, and what stands at its target. */
FS_INLINE void end_gradient(const fs_rows *rows, int64_t i, const row_state *state,
                            const target_terms *terms, const target_exp *e, swept_row *row)
{
    const wide factor = end_quotient(rows->factor[i], terms->all.sum);
    double own;
    if (FS_F64) {
        const wide at_target = wide_mul(terms->rest, factor);
        own = 0.0 - scale_by_power(at_target.high + at_target.low, terms->all.d);
    } else {
        own = 0.0 - terms->rest.high * power_of_two(terms->all.d) * factor.high;
    }
    row->K = state->K;
    row->factor = split_factor(factor, terms->all.d);
    row->at_target = (real)own;
    if (rows->z_loss != 0.0)
        add_z_loss(rows, i, state, terms, e, row);
}
