"""The functions of the package in plain NumPy: readable, slow, and right.

This is the oracle of the tests and what runs where the compiled kernels are absent. Everything is
computed in a wider type and rounded once: float32 in float64, float64 and longdouble in
longdouble. Where longdouble is no wider than float64 (Windows, Apple silicon), float64 results
are those of the formulas below in float64: the rounding of x - max then costs up to about
130 ULP for ordinary logits, and longdouble is always computed in its own precision.

With m = max x and R the sum of e^(x - m) over all entries but one of the largest,

    softmax     = e^(x - m) / (1 + R)
    log_softmax = (x - m) - log1p(R)
    logsumexp   = m + log1p(R)

Leaving one largest entry out keeps a loss near zero exact: it is R where 1 + R rounds to 1.
"""

import math
from collections import namedtuple

import numpy as np

from . import _validate as v

__all__ = [
    "cross_entropy",
    "cross_entropy_with_grad",
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "nll_loss",
    "softmax",
    "softmax_backward",
]

# What tests and benchmarks run over. `ulp` bounds the error by dtype, in units in the last place;
# logsumexp counts those of max(|result|, |max x|).
Op = namedtuple("Op", "name kind function ulp")


def wide_type(x):
    """The type to compute in."""
    return np.float64 if x.dtype.itemsize < 8 else np.longdouble


def wide(x):
    return x.astype(wide_type(x), order="C")  # sums then do not depend on strides


# --- the softmax family: wide arrays in, wide arrays out, axes a tuple ---


def _sum(a, axes):
    """The sum with its axes kept, in an order that does not depend on which axes they are."""
    if not axes:
        return a
    axes = tuple(k % a.ndim for k in axes)
    kept = [n for k, n in enumerate(a.shape) if k not in axes]
    last = np.moveaxis(a, axes, range(-len(axes), 0))
    rows = np.ascontiguousarray(last).reshape(*kept, math.prod(a.shape[k] for k in axes))
    return np.expand_dims(np.sum(rows, axis=-1), axes)


def _peak_and_rest(x, axes):
    """Return m, e^(x - m) and R; R is NaN where m is not finite, as the row then has no softmax."""
    m = np.max(x, axis=axes, keepdims=True, initial=-np.inf)
    is_peak = x == m
    e = np.where(is_peak, 1, np.exp(x - m))
    ties = np.sum(is_peak, axis=axes, keepdims=True) - 1
    rest = _sum(np.where(is_peak, 0, e), axes) + ties
    return m, e, np.where(np.isfinite(m), rest, np.nan)


def softmax_wide(x, axes):
    _, e, rest = _peak_and_rest(x, axes)
    return e / (1 + rest)


def log_softmax_wide(x, axes):
    m, _, rest = _peak_and_rest(x, axes)
    return (x - m) - np.log1p(rest)


def logsumexp_wide(x, axes):
    """Keeps the reduced axes."""
    m, _, rest = _peak_and_rest(x, axes)
    return np.where(np.isfinite(m), m + np.log1p(rest), m)


def softmax_backward_wide(dy, y, axes):
    return y * (dy - _sum(dy * y, axes))


def log_softmax_backward_wide(dy, y, axes):
    return dy - np.exp(y) * _sum(dy, axes)


def _run(function, arrays, names, axis, out, threads, keepdims=True):
    arrays, dtype = v.same_reals(arrays, names)
    axes = v.many_axes(axis, arrays[0].ndim)
    v.thread_count(threads)
    shape = arrays[0].shape
    if function is logsumexp_wide:
        shape = v.reduced_shape(shape, axes, keepdims)
    if out is not None:
        v.check_out(out, shape, dtype)
    with np.errstate(all="ignore"):
        result = function(*map(wide, arrays), axes).reshape(shape)
    if out is None:
        return v.cast(result, dtype)
    v.store(out, result)
    return out


def softmax(x, axis=-1, *, out=None, threads=None):
    """e^x / sum(e^x); see `fastsoftmax.softmax`."""
    return _run(softmax_wide, [x], "x", axis, out, threads)


def log_softmax(x, axis=-1, *, out=None, threads=None):
    """x - log(sum(e^x)); see `fastsoftmax.log_softmax`."""
    return _run(log_softmax_wide, [x], "x", axis, out, threads)


def logsumexp(x, axis=-1, *, keepdims=False, out=None, threads=None):
    """log(sum(e^x)); see `fastsoftmax.logsumexp`."""
    result = _run(logsumexp_wide, [x], "x", axis, out, threads, keepdims)
    return result if out is not None else result[()]


def softmax_backward(dy, y, axis=-1, *, out=None, threads=None):
    """y * (dy - sum(dy * y)); see `fastsoftmax.softmax_backward`."""
    return _run(softmax_backward_wide, [dy, y], ("dy", "y"), axis, out, threads)


def log_softmax_backward(dy, y, axis=-1, *, out=None, threads=None):
    """dy - e^y * sum(dy); see `fastsoftmax.log_softmax_backward`."""
    return _run(log_softmax_backward_wide, [dy, y], ("dy", "y"), axis, out, threads)


# --- losses ---


def cross_entropy(logits, targets, *, axis=-1, weight=None, sample_weight=None, ignore_index=-100,
                  label_smoothing=0.0, z_loss=0.0, reduction="mean", normalizer=None,
                  threads=None):  # fmt: skip
    """Cross-entropy of softmax(logits); see `fastsoftmax.cross_entropy`."""
    return v.LossCall(
        logits, targets, axis, weight, sample_weight, ignore_index, label_smoothing, z_loss,
        reduction, normalizer, threads,
    ).run(loss_and_grad)  # fmt: skip


def cross_entropy_with_grad(logits, targets, *, axis=-1, weight=None, sample_weight=None,
                            ignore_index=-100, label_smoothing=0.0, z_loss=0.0, reduction="mean",
                            normalizer=None, threads=None, grad_output=None,
                            out=None):  # fmt: skip
    """The loss and its gradient; see `fastsoftmax.cross_entropy_with_grad`."""
    return v.LossCall(
        logits, targets, axis, weight, sample_weight, ignore_index, label_smoothing, z_loss,
        reduction, normalizer, threads, gradient=True, grad_output=grad_output, out=out,
    ).run(loss_and_grad)  # fmt: skip


def nll_loss(log_probs, targets, *, axis=-1, weight=None, sample_weight=None, ignore_index=-100,
             reduction="mean", normalizer=None, threads=None):  # fmt: skip
    """Loss from log-probabilities; see `fastsoftmax.nll_loss`."""
    return v.LossCall(
        log_probs, targets, axis, weight, sample_weight, ignore_index, 0.0, 0.0, reduction,
        normalizer, threads, name="log_probs",
    ).run(nll)  # fmt: skip


def loss_and_grad(x, axis, targets, *, loss, grad, reduction, ignore_index, weight, sample_weight,
                  label_smoothing, z_loss, normalizer, grad_output, threads):  # fmt: skip
    """Cross-entropy with the interface of `_core.cross_entropy`, which describes the arguments.

    With q_c the coefficient of class c (target times weights, smoothing mixed in), Q = sum q and
    s the sample's weight, loss = sum_c q_c * -log p_c + s * z_loss * logsumexp^2 and
    gradient_j = p_j * (Q - q_j) - q_j * (1 - p_j) + s * 2 * z_loss * logsumexp * p_j,
    where 1 - p_j of a largest entry is R / (1 + R): at a confident target nothing cancels.
    """
    x = np.moveaxis(x, axis, -1)
    counted, q, factor = _coefficients(x, axis, targets, ignore_index, weight, label_smoothing)
    x = wide(np.where(counted[..., np.newaxis], x, 0))  # ignored samples are not read
    s = np.ones_like(factor) if sample_weight is None else sample_weight
    with np.errstate(all="ignore"):
        q = q * s[..., np.newaxis]
        m, e, rest = _peak_and_rest(x, (-1,))
        losses = np.sum(_times(q, np.log1p(rest) - (x - m)), axis=-1)
        lse = m + np.log1p(rest)
        if z_loss:
            losses = losses + _times(s * z_loss, np.square(lse[..., 0]))
        value, divisor = _reduce(losses, counted, factor * s, targets, reduction, normalizer, loss)
        if grad is None:
            return value
        p = e / (1 + rest)
        q_others = np.sum(q, axis=-1, keepdims=True) - q
        g = p * q_others - q * np.where(x == m, rest / (1 + rest), 1 - p)
        if z_loss:
            g = g + 2 * z_loss * s[..., np.newaxis] * lse * p
        if grad_output is not None:
            g = g * np.asarray(grad_output)[..., np.newaxis]
        g = np.where(counted[..., np.newaxis] & (divisor != 0), g / divisor, 0)
        v.store(grad, np.moveaxis(g, -1, axis))
    return value


def nll(x, axis, targets, *, loss, reduction, ignore_index, weight, sample_weight, normalizer, **_):
    """-log_probs at the target, or weighted by soft targets; the interface of loss_and_grad."""
    x = np.moveaxis(x, axis, -1)
    counted, q, factor = _coefficients(x, axis, targets, ignore_index, weight, 0.0)
    if targets.dtype.kind in "iu":  # only the targets' entries are looked at
        at = np.where(counted, targets, 0).astype(np.intp)[..., np.newaxis]
        x, q = np.take_along_axis(x, at, -1), np.take_along_axis(q, at, -1)
    s = np.ones_like(factor) if sample_weight is None else sample_weight
    with np.errstate(all="ignore"):
        losses = np.sum(_times(q * s[..., np.newaxis], -wide(x)), axis=-1)
        return _reduce(losses, counted, factor * s, targets, reduction, normalizer, loss)[0]


def _coefficients(x, axis, targets, ignore_index, weight, smoothing):
    """Return which samples count, the coefficients (samples..., classes), the mean's factors."""
    classes, real = x.shape[-1], wide_type(x)
    w = np.ones(classes, real) if weight is None else weight.astype(real)
    smoothing = real(smoothing)
    if targets.dtype.kind in "iu":
        check_labels(targets, classes, ignore_index)
        counted = np.asarray(targets != ignore_index)
        at = np.where(counted, targets, 0).astype(np.intp)
        q = np.where(np.arange(classes) == at[..., np.newaxis], w, 0) * (1 - smoothing)
        factor = w[at]
    else:
        counted = np.ones(x.shape[:-1], bool)
        q = w * wide(np.moveaxis(targets, axis, -1)) * (1 - smoothing)
        factor = np.ones(counted.shape, real)
    if smoothing:
        q = q + w * (smoothing / classes)
    return counted, q, factor


def check_labels(targets, classes, ignore_index):
    """Raise IndexError for the first label that is neither a class nor ignored."""
    bad = ((targets < 0) | (targets >= classes)) & (targets != ignore_index)
    if np.any(bad):
        position = tuple(np.argwhere(bad)[0])
        where = ", ".join(map(str, position)) or "()"
        raise IndexError(
            f"targets[{where}]: label {targets[position]} is out of range: "
            f"expected 0 <= label < {classes}, or ignore_index"
        )


def _times(coefficient, value):
    """The product in which a coefficient of 0 silences an infinity, but not a NaN."""
    silent = (coefficient == 0) & ~np.isnan(value)
    return np.where(silent, 0, coefficient * value)


def _reduce(losses, counted, factors, targets, reduction, normalizer, loss):
    """Return the reduced loss (None if `loss` was filled instead) and the divisor of a mean."""
    losses = np.where(counted, losses, 0)
    if reduction == "none":
        v.store(loss, losses)
        return None, 1
    total = np.sum(losses)
    if reduction == "sum":
        return total, 1
    if normalizer is not None:
        divisor = normalizer
    elif targets.dtype.kind in "iu":
        divisor = np.sum(np.where(counted, factors, 0))
    else:
        divisor = losses.size
    return (total / divisor if divisor else np.nan), divisor


# --- states of rows (see _online.py): max, exponent, high, low along a last axis of their own ---

_LN2_HEAD = float.fromhex("0x1.62e42feep-1")  # times an integer below 2^21 it is exact
_LN2_REST = np.longdouble("1.908214929270587816144265680755001343603e-10")


def state(x, states, axis, threads):
    """The state of each row of `x`; the interface of `_core.state`."""
    x = wide(np.moveaxis(x, axis, -1))
    with np.errstate(all="ignore"):
        m, _, rest = _peak_and_rest(x, (-1,))
        m, rest = m[..., 0].astype(np.float64), rest[..., 0].astype(np.longdouble)
        fraction, exponent = _exp_scaled(m - _origin(m))
        _put(states, m, rest * fraction, exponent)


def join_states(a, b):
    """Turn each state of `a` into that of the elements of both."""
    with np.errstate(all="ignore"):
        later = b[..., :1] > a[..., :1]
        kept, other = np.where(later, b, a), np.where(later, a, b)
        m, origin = kept[..., 0], _origin(kept[..., 0])
        shift, e = _exp_scaled(_origin(other[..., 0]) - origin)
        parts = [
            (_held(kept), kept[..., 1]),
            (_held(other) * shift, other[..., 1] + e),
            _exp_scaled(other[..., 0] - origin),  # no longer the largest: back to the sum
        ]
        top = np.max([np.where(part > 0, e, -np.inf) for part, e in parts], axis=0)
        top = np.where(np.isfinite(top), top, 0)
        total = sum(_scale(part, e - top) for part, e in parts)
        _put(a, np.where(np.isnan(other[..., 0]), np.nan, m), total, top)


def given(op, x, states, y, axis, threads):
    """softmax or log_softmax (op 0, 1) of blocks of the rows that the states stand for."""
    x = wide(np.moveaxis(x, axis, -1))
    with np.errstate(all="ignore"):
        m = states[..., :1]
        rest = _rest(states)[..., np.newaxis].astype(x.dtype)
        rest = np.where(np.max(x, axis=-1, keepdims=True) > m, np.nan, rest)
        result = (x - m) - np.log1p(rest) if op else np.exp(x - m) / (1 + rest)
    v.store(np.moveaxis(y, axis, -1), result)


def state_end(states, x, out):
    """logsumexp of each state, less its x if there is one."""
    with np.errstate(all="ignore"):
        m = states[..., 0].astype(np.longdouble)
        distance = np.log1p(_rest(states))
        if x is None:
            out[...] = np.where(np.isfinite(m), m + distance, m)
        else:
            out[...] = np.where(x == np.inf, np.nan, (m - x) + distance)


def _rest(states):
    """R; NaN where there is no finite maximum."""
    m = states[..., 0]
    fraction, exponent = _exp_scaled(_origin(m) - m)
    rest = _scale(_held(states) * fraction, exponent + states[..., 1])
    return np.where(np.isfinite(m), rest, np.nan)


def _held(states):
    return states[..., 2].astype(np.longdouble) + states[..., 3]


def _origin(m):
    """What is subtracted from the logits of a state: 0, save where they are huge."""
    huge = (np.abs(m) > 2.0**20) & np.isfinite(m)
    return np.where(huge, 1024 * np.rint(m / 1024), 0)


def _exp_scaled(z):
    """e^z as fraction and binary exponent; the fraction of e^-inf is 0."""
    z = np.clip(z, -(2.0**30), 2.0**30).astype(np.longdouble)
    k = np.rint(z * np.longdouble(1 / math.log(2)))
    e = np.exp((z - k * _LN2_HEAD) - k * _LN2_REST)
    return np.where(z > -(2.0**30), e, 0), k.astype(np.float64)


def _scale(a, exponent):
    return np.ldexp(a, np.clip(exponent, -(2**20), 2**20).astype(np.int32))


def _put(states, m, total, exponent):
    """Normalise the sums and write the states; without a finite maximum the sum means nothing."""
    fraction, e = np.frexp(np.where(np.isfinite(m) & (total > 0), total, 0))
    high = fraction.astype(np.float64)
    states[..., 0] = m
    states[..., 1] = np.where(high > 0, exponent + e, 0)
    states[..., 2] = high
    states[..., 3] = (fraction - high).astype(np.float64)


OPS = (
    Op("softmax", "family", softmax, {"float32": 2.5, "float64": 4}),
    Op("log_softmax", "family", log_softmax, {"float32": 2, "float64": 4}),
    Op("logsumexp", "family", logsumexp, {"float32": 2, "float64": 4}),
    Op("softmax_backward", "backward", softmax_backward, {}),
    Op("log_softmax_backward", "backward", log_softmax_backward, {}),
    Op("cross_entropy", "loss", cross_entropy, {"float32": 2, "float64": 4}),
    Op("cross_entropy_with_grad", "loss", cross_entropy_with_grad, {"float32": 2.5, "float64": 4}),
    Op("nll_loss", "loss", nll_loss, {"float32": 2, "float64": 4}),
)
