/* States of rows joined and finished: a few dozen flops a row, the same on every machine. */
#include "fastsoftmax.h"
#include "math/state.h"

/* The larger max stays left out of the sum, the other returns to it. */
static void join(double *a, const double *b)
{
    const double *kept = b[0] > a[0] ? b : a, *other = b[0] > a[0] ? a : b;
    const double max = kept[0], origin = state_origin(max);
    if (a[0] != a[0] || b[0] != b[0]) {
        state_put(a, NAN, scaled_of(wide_of(0.0, 0.0), 0));
        return;
    }
    scaled sum = state_sum(kept);
    if (max - max == 0 && other[0] > -INFINITY) {
        const wide_exp e = exp_wide(two_sum(other[0], -origin));
        sum = scaled_add(sum, scaled_shift(state_sum(other), state_origin(other[0]), origin));
        sum = scaled_add(sum, scaled_normal(scaled_of(e.fraction, e.exponent)));
    }
    state_put(a, max, sum);
}

void fs_state_join(double *a, const double *b, int64_t rows)
{
    for (int64_t i = 0; i < rows; i++)
        join(a + i * STATE_NUMBERS, b + i * STATE_NUMBERS);
}

/* (max - x) + log(1 + R): of one sign where the state covers x, so that nothing cancels. */
static double loss_of(double max, double x, wide distance)
{
    if (max - max != 0 || x != x || x == INFINITY)
        return NAN;
    return x == -INFINITY ? INFINITY : wide_value(wide_add(two_sum(max, -x), distance));
}

void fs_state_end(const double *states, const double *x, double *result, int64_t rows)
{
    for (int64_t i = 0; i < rows; i++) {
        const double *state = states + i * STATE_NUMBERS, max = state[0];
        const wide distance = state_distance(state);
        if (x)
            result[i] = loss_of(max, x[i], distance);
        else
            result[i] = max - max == 0 ? plus_wide(max, distance) : max;
    }
}
