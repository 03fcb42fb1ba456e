"""softmax, log_softmax and logsumexp under the names and signatures of ``scipy.special``.

For anything NumPy can read; SciPy need not be installed. `axis` defaults to None, all elements, as
it does there. What is deliberately different from SciPy:

- Integers of every size are computed as float64 (SciPy computes int8 as float16); float16 is
  computed in float32 or float64 and rounded once.
- Complex and bool input is a TypeError.
- A row of log_softmax that holds inf is NaN throughout; SciPy has -inf beside the inf.
- Factors `b` that only their exponentials bring into the range of floats, or the reverse, give the
  sum, not inf or -inf.
"""

import math

import numpy as np

from . import _api
from . import _validate as v
from ._backend import SOFTMAX, engine
from ._online import empty_states, given_states

__all__ = ["log_softmax", "logsumexp", "softmax"]

_BLOCK = 2**18  # elements of weighted rows at a time: 2 MB of exponentials


def softmax(x, axis=None):
    """``exp(x) / sum(exp(x))``, as ``scipy.special.softmax``.

    Parameters
    ----------
    x : array_like
        Real numbers; dtypes as in `fastsoftmax.softmax`.
    axis : int or tuple of ints, optional
        The axis or axes to sum over; by default all.

    Returns
    -------
    ndarray or scalar
        Of the shape of `x`.

    Raises
    ------
    TypeError, ValueError
        As `fastsoftmax.softmax`.

    Examples
    --------
    >>> from fastsoftmax.scipy import softmax
    >>> softmax([[1, 2], [3, 4]]).round(4)
    array([[0.0321, 0.0871],
           [0.2369, 0.6439]])
    """
    return _scalar(_api.softmax(_real(x, "x"), axis))


def log_softmax(x, axis=None):
    """``log(softmax(x))``, as ``scipy.special.log_softmax``; arguments as for `softmax`.

    Examples
    --------
    >>> from fastsoftmax.scipy import log_softmax
    >>> log_softmax([40.0, 0.0])
    array([-4.24835426e-18, -4.00000000e+01])
    """
    return _scalar(_api.log_softmax(_real(x, "x"), axis))


def logsumexp(a, axis=None, b=None, keepdims=False, return_sign=False):
    """``log(sum(b * exp(a)))``, as ``scipy.special.logsumexp``.

    Parameters
    ----------
    a : array_like
        Real numbers.
    axis : int or tuple of ints, optional
        The axis or axes to sum over; by default all.
    b : array_like, optional
        Factors of the exponentials, broadcast with `a`; may be 0 or negative, or a mask. Where one
        is 0 the element of `a` counts nothing, even if it is inf or NaN.
    keepdims : bool, default False
        Keep the summed axes with length 1.
    return_sign : bool, default False
        Return the logarithm of the absolute value of the sum, and its sign.

    Returns
    -------
    result : ndarray or scalar
        NaN where the sum is negative, unless its sign is returned; -inf where it is 0.
    sign : ndarray or scalar
        1, 0 (also of no elements, where SciPy has -1), -1, or NaN where the result is; only with
        `return_sign`.

    Raises
    ------
    TypeError
        If `a` or `b` is not real numbers in host memory.
    ValueError
        If shapes do not broadcast, or `axis` is out of bounds or repeated.

    Notes
    -----
    The error of a weighted sum is below 2 units in the last place (float64: 4) of the largest of
    1, the result and the largest exponent that counts; terms of both signs may of course cancel.
    In float32 the sum is held in float64. Temporaries take a few MB, however large `a` is.

    Examples
    --------
    >>> from fastsoftmax.scipy import logsumexp
    >>> print(f"{logsumexp([1000, 1000], b=[3, -1]):.6f}")
    1000.693147
    >>> value, sign = logsumexp([1.0, 2.0], b=[1, -1], return_sign=True)
    >>> print(f"{value:.6f}", sign)
    1.541325 -1.0
    """
    if b is not None:
        a, b = _like_arrays(a, b)
    a = _real(a, "a")
    if a.ndim == 0 and keepdims:
        a = a[np.newaxis]  # as SciPy does
    if b is None:
        result = np.asarray(_api.logsumexp(a, axis, keepdims=bool(keepdims)))
        if not return_sign:
            return result[()]
        signs = np.where(np.isnan(result), np.nan, result > -np.inf).astype(result.dtype)
        return result[()], signs[()]
    b = _real(b, "b")
    dtype = np.promote_types(_dtype(a, "a"), _dtype(b, "b"))
    try:
        shape = np.broadcast_shapes(a.shape, b.shape)
    except ValueError:
        message = f"b: shape {b.shape} does not broadcast with that of a, {a.shape}"
        raise ValueError(message) from None
    result, signs = _weighted(np.broadcast_to(a, shape), np.broadcast_to(b, shape), axis)
    if not return_sign:
        result[signs < 0] = np.nan
    axes = v.many_axes(axis, len(shape))
    kept = v.reduced_shape(shape, axes, bool(keepdims))
    result = v.cast(result.reshape(kept), dtype)[()]
    return (result, v.cast(signs.reshape(kept), dtype)[()]) if return_sign else result


def _real(x, name):
    """As an array, refused here if it is not real, under the name that the caller knows."""
    x = v.ndarray(x, name)
    v.real_array(x[:0] if x.ndim else x, name)
    return x


def _scalar(result):
    return result if result.ndim else result[()]


def _like_arrays(a, b):
    """A number takes the dtype of the array beside it, as in NumPy 2; so does a mask."""
    if _is_number(b) and not _is_number(a):
        return a, np.asarray(b, _dtype(a, "a"))
    if _is_number(a) and not _is_number(b):
        return np.asarray(a, _dtype(b, "b")), b
    b = v.ndarray(b, "b")
    return a, b.astype(_dtype(a, "a")) if b.dtype.kind == "b" else b


def _is_number(x):
    return type(x) in (int, float)


def _dtype(x, name):
    x = _real(x, name)
    return v.real_array(x[:0] if x.ndim else x, name)[1]


# --- weighted sums ---


def _weighted(a, b, axis):
    """log|sum(b e^a)| and the sum's sign, in float64 or longdouble, in C order of the rows."""
    axes = v.many_axes(axis, a.ndim)
    a, b = (v.axes_last(k, axes) for k in (a, b))
    samples = a.shape[: a.ndim - len(axes)]
    n = math.prod(a.shape[len(samples) :])
    wide = np.promote_types(np.promote_types(a.dtype, b.dtype), np.float64)
    result, signs = np.empty(samples, wide), np.empty(samples, wide)
    with np.errstate(all="ignore"):
        for slab in v.slabs(samples, max(1, _BLOCK // max(n, 1))):
            part = result[slab].shape
            rows = [np.asarray(k[slab], wide).reshape(math.prod(part), n) for k in (a, b)]
            logs, sign = _weighted_rows(*rows)
            result[slab], signs[slab] = logs.reshape(part), sign.reshape(part)
    return result, signs


def _weighted_rows(a, b):
    """The same for rows (rows, n): top + log|sum(b e^(a - top))|, top being the largest a."""
    if a.shape[1] == 0:
        return np.full(len(a), -np.inf, a.dtype), np.zeros(len(a), a.dtype)
    a = np.where(b == 0, -np.inf, a)
    a, b = _tame(a, b)
    top = np.max(a, axis=1)
    total = np.empty_like(top)
    core = engine(a.dtype)
    core.nll(_exponentials(a, top), 1, b, loss=total, reduction="none", ignore_index=-1,
             weight=None, sample_weight=None, normalizer=None)  # fmt: skip
    np.negative(total, out=total)
    ordinary = np.isfinite(top) & np.isfinite(b).all(axis=1)
    total = np.where(ordinary, total, _limit(a, b))
    logs = np.log(np.abs(total))
    return np.where(ordinary, top + logs, logs), np.sign(total)


def _tame(a, b):
    """Factors so far apart that terms would leave the range of floats go into the exponents.

    Elsewhere they do not: the rounding of log(b) would cost digits.
    """
    size, top = np.abs(b), np.argmax(a, axis=1)
    at_top, largest = size[np.arange(len(a)), top], np.max(size, axis=1)
    wild = (largest > at_top * 2.0**900) | (at_top < 2.0**-400) | (largest > 2.0**900)
    wild = (wild & np.isfinite(largest))[:, np.newaxis]
    if not wild.any():
        return a, b
    return np.where(wild & (b != 0), a + np.log(size), a), np.where(wild, np.sign(b), b)


def _exponentials(a, top):
    """e^(a - top), the difference not rounded: a softmax beside whose largest there is nothing."""
    if a.dtype.char == "g":
        return np.exp(a - top[:, np.newaxis])
    states = empty_states(len(a))
    states["max"] = top
    result = np.empty_like(a)
    given_states(SOFTMAX, a, states, (1,), result)
    return result


def _limit(a, b):
    """The sum where something in it is not finite: inf, -inf or NaN; 0 where nothing counts."""
    factor = np.where(a == np.inf, np.inf, np.where(a == -np.inf, 0, np.where(a == a, 1, a)))
    return np.sum(np.where(b == 0, 0, b * factor), axis=1)
