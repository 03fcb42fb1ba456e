"""Measure errors: units in the last place, and results in higher precision to compare with.

`ulp_error` counts; `softmax`, `log_softmax`, `logsumexp`, `cross_entropy` and `gradient` tell what
is to be computed. `python -m fastsoftmax accuracy` prints a table of both on your machine.

>>> import numpy as np, fastsoftmax
>>> from fastsoftmax import testing
>>> x = np.array([2, 3, 5], np.float32)
>>> bool(testing.ulp_error(fastsoftmax.softmax(x), testing.softmax(x)).max() <= 2.5)
True

The truth of float32 is computed in float64. That of float64 is computed in longdouble where it is
wider, and with mpmath (slow, and then needed) where it is not; `ulp_error` takes both.
"""

import numpy as np

from . import _validate as v
from . import reference

_DIGITS = 40  # of mpmath: float64 has 16, and what is subtracted is exact or never cancels


def ulp_error(result, truth):
    """Error in units in the last place of the dtype of `result`.

    Parameters
    ----------
    result : array_like
        Floating-point numbers as computed.
    truth : array_like
        The exact values, in the precision of `result` or more: an array of floating-point
        numbers, or of mpmath's.

    Returns
    -------
    ndarray
        ``|result - truth|`` over the spacing of numbers around the truth rounded to that dtype
        (never less than its smallest subnormal number). Equal infinities and two NaN count 0,
        one without the other inf.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsoftmax.testing import ulp_error
    >>> ulp_error(np.float32(1), 1 + 2.0**-24)
    array(0.5)
    """
    result, truth = np.asarray(result), np.asarray(truth)
    if truth.dtype != object:
        truth = truth.astype(np.promote_types(truth.dtype, np.float64))
    with np.errstate(all="ignore"):
        rounded = truth.astype(result.dtype)
        unit = _spacing(rounded)
        finite = np.isfinite(result) & np.isfinite(rounded)
        exact = np.where(finite, truth, 0) - np.where(finite, result, 0).astype(truth.dtype)
        error = np.asarray(np.abs(exact) / unit.astype(truth.dtype), np.float64)
        same = (result == rounded) | (np.isnan(result) & np.isnan(rounded))
    return np.where(finite, error, np.where(same, 0.0, np.inf))


def _spacing(x):
    """The distance to the next number of the dtype, away from 0 and below infinity."""
    bits, lowest = _format(x.dtype)
    wide = np.asarray(x, np.promote_types(x.dtype, np.float64))
    _, exponent = np.frexp(np.where(np.isfinite(wide), wide, 0))
    exponent = np.where(wide == 0, lowest, exponent - 1)
    return np.ldexp(np.ones_like(wide), np.maximum(exponent, lowest) - bits)


def _format(dtype):
    """Bits after the leading one, and the exponent of the smallest normal number."""
    if dtype.name == "bfloat16":
        return 7, -126
    info = np.finfo(dtype)
    return info.nmant, info.minexp


def softmax(x, axis=-1):
    """The softmax of `x` in higher precision.

    Parameters
    ----------
    x : array_like
        Real numbers of any dtype that `fastsoftmax.softmax` takes, taken as exact.
    axis : int, tuple of int or None
        The axes of the classes.

    Returns
    -------
    ndarray
        Of the shape of `x`: float64 for float32 and narrower; for float64 longdouble, or objects
        (of mpmath, which has to be installed) where that is no wider. Right to a hundredth of a
        unit in the last place of the dtype of `x` or better, and not rounded to that dtype.

    Examples
    --------
    >>> softmax(np.float32([2, 3, 5]))
    array([0.04201007, 0.1141952 , 0.84379473])
    """
    return _truth(x, axis, reference.softmax_wide, _mp_softmax)


def log_softmax(x, axis=-1):
    """The log-softmax of `x` in higher precision; arguments and result as for `softmax`.

    Examples
    --------
    >>> log_softmax(np.float32([20, 0]))
    array([-2.06115362e-09, -2.00000000e+01])
    """
    return _truth(x, axis, reference.log_softmax_wide, _mp_log_softmax)


def logsumexp(x, axis=-1):
    """The logsumexp of `x` in higher precision, without the summed axes; as for `softmax`.

    Examples
    --------
    >>> logsumexp(np.float32([[0, 0], [1000, 1000]]))
    array([6.93147181e-01, 1.00069315e+03])
    """
    x = np.asarray(x)
    axes = v.many_axes(axis, x.ndim)
    shape = v.reduced_shape(x.shape, axes, keepdims=False)
    full = _truth(x, axis, reference.logsumexp_wide, _mp_logsumexp)
    if not full.size:  # no row to take the result from
        return np.full(shape, -np.inf, full.dtype)
    index = tuple(slice(0, 1) if k in axes else slice(None) for k in range(x.ndim))
    return full[index].reshape(shape)


def cross_entropy(logits, targets, axis=-1):
    """The loss of each sample, for labels and no options, in higher precision.

    Parameters
    ----------
    logits : array_like
        As for `softmax`.
    targets : array_like of int
        The labels, of the shape of `logits` without `axis`.
    axis : int
        The axis of the classes.

    Returns
    -------
    ndarray
        Of the shape of `targets`.

    Examples
    --------
    >>> cross_entropy(np.float32([[20, 0, 0]]), [0])
    array([4.12230724e-09])
    """
    labels = np.expand_dims(np.asarray(targets), axis)
    return -np.take_along_axis(log_softmax(logits, axis), labels, axis).squeeze(axis)


def gradient(logits, targets, axis=-1):
    """The gradient of the sum of those losses, in higher precision, of the shape of `logits`.

    Examples
    --------
    >>> gradient(np.float32([[20, 0]]), [0])
    array([[-2.06115362e-09,  2.06115362e-09]])
    """
    # p at the target minus 1 is minus the sum of the others: nothing cancels.
    p = softmax(logits, axis)
    labels = np.expand_dims(np.asarray(targets), axis)
    own = np.take_along_axis(p, labels, axis)
    others = p.copy()
    np.put_along_axis(others, labels, 0, axis)
    at_target = 0 - np.sum(others, axis=axis, keepdims=True)
    np.put_along_axis(p, labels, np.where(np.isnan(own), own, at_target), axis)
    return p


def _truth(x, axis, function, mp_function):
    x, _ = v.real_array(x, "x")
    axes = v.many_axes(axis, x.ndim)
    wider = np.finfo(reference.wide_type(x)).nmant > np.finfo(x.dtype).nmant
    with np.errstate(all="ignore"):
        if wider:
            result = function(reference.wide(x), axes)
            return np.broadcast_to(result, x.shape).copy()
        return _by_rows(x, axes, function, mp_function)


def _by_rows(x, axes, function, mp_function):
    """Row by row with mpmath; where a row is not finite the plain formula is exact."""
    rows, axis = v.rows(x, axes)
    rows = np.moveaxis(rows, axis, -1)
    result = np.empty(rows.shape, object)
    for index in np.ndindex(rows.shape[:-1]):
        row = rows[index]
        finite = row.size and np.isfinite(row.max()) and not np.isnan(row).any()
        result[index] = mp_function(row) if finite else function(row, (-1,))
    result = np.moveaxis(result, -1, axis)
    if len(axes) == 1:
        return result
    moved = v.axes_last(x, axes)
    back = np.argsort([k for k in range(x.ndim) if k not in axes] + list(axes))
    return result.reshape(moved.shape).transpose(back)


def _mp_terms(row):
    """x - m, e^(x - m), and log of the sum of the latter, for a finite maximum m."""
    import mpmath

    context = mpmath.mp.clone()
    context.dps = _DIGITS
    shifted = [context.mpf(float(value)) - context.mpf(float(row.max())) for value in row]
    terms = [context.exp(value) for value in shifted]
    peak = int(np.argmax(row))  # left out of the sum, so that a tiny rest is not lost in it
    rest = context.fsum(terms[:peak] + terms[peak + 1 :])
    return context, shifted, terms, context.log1p(rest), rest


def _mp_softmax(row):
    _, _, terms, _, rest = _mp_terms(row)
    return [term / (1 + rest) for term in terms]


def _mp_log_softmax(row):
    _, shifted, _, log_total, _ = _mp_terms(row)
    return [value - log_total for value in shifted]


def _mp_logsumexp(row):
    context, _, _, log_total, _ = _mp_terms(row)
    return [context.mpf(float(row.max())) + log_total] * len(row)
