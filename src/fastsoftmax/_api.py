"""The public functions.

What stands here is the general way, whose arguments `_validate` brings into one form. The doors of
the core stand before it and let plain arrays with common options straight through to the kernels.
"""

import numpy as np

from ._backend import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX, core, engine
from ._validate import (
    LossCall,
    axes_last,
    check_out,
    many_axes,
    real_array,
    reduced_shape,
    rows,
    same_reals,
    store,
    thread_count,
    workspace,
)


@core.unary_door(SOFTMAX)
def softmax(x, axis=-1, *, out=None, threads=None):
    """Softmax, ``e**x / sum(e**x)``: positive numbers that sum to one along `axis`.

    Parameters
    ----------
    x : array_like
        Real numbers. float32, float64 and longdouble keep their dtype; integers are computed as
        float64, float16 and bfloat16 in float32 and rounded once.
    axis : int, tuple of ints or None, default -1
        The axis or axes to sum over; None for all.
    out : ndarray, optional
        Filled and returned. Of the shape of `x` and the dtype of the result; may be `x` itself.
        Its contents are unspecified if the call ends with KeyboardInterrupt or MemoryError.
    threads : int, optional
        At most this many threads for this call.

    Returns
    -------
    ndarray
        Of the shape of `x`. Rows that hold NaN or inf, or nothing but -inf, are NaN.

    Raises
    ------
    TypeError
        If `x` is not real numbers in host memory (bool, complex, object, masked, lazy, device
        arrays), or `out` has another dtype.
    ValueError
        If `axis` is out of bounds or repeated, or `out` has another shape or is read-only.

    References
    ----------
    .. [1] Dukhan and Ablavatski, "Two-pass softmax algorithm", arXiv:2001.04438.
    .. [2] Milakov and Gimelshein, "Online normalizer calculation for softmax", arXiv:1805.02867.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.softmax([2.0, 3.0, 5.0])
    array([0.04201007, 0.1141952 , 0.84379473])
    """
    return _family(SOFTMAX, x, axis, out, threads)


@core.unary_door(LOG_SOFTMAX)
def log_softmax(x, axis=-1, *, out=None, threads=None):
    """Logarithm of softmax, ``x - logsumexp(x)``, exact where it is near zero.

    Parameters, errors and references are those of `softmax`.

    Parameters
    ----------
    x : array_like
        Real numbers.
    axis : int, tuple of ints or None, default -1
        The axis or axes to sum over; None for all.
    out : ndarray, optional
        Filled and returned; may be `x` itself.
    threads : int, optional
        At most this many threads for this call.

    Returns
    -------
    ndarray
        Of the shape of `x`, at most 0.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.log_softmax([40.0, 0.0])
    array([-4.24835426e-18, -4.00000000e+01])
    """
    return _family(LOG_SOFTMAX, x, axis, out, threads)


@core.logsumexp_door
def logsumexp(x, axis=-1, *, keepdims=False, out=None, threads=None):
    """Logarithm of a sum of exponentials, ``log(sum(e**x))``.

    Errors and references are those of `softmax`.

    Parameters
    ----------
    x : array_like
        Real numbers.
    axis : int, tuple of ints or None, default -1
        The axis or axes to sum over; None for all.
    keepdims : bool, default False
        Keep the summed axes with length 1.
    out : ndarray, optional
        Filled and returned. Of the reduced shape and the dtype of the result.
    threads : int, optional
        At most this many threads for this call.

    Returns
    -------
    ndarray or scalar
        Of the shape of `x` without `axis`. -inf where there is nothing to sum.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.logsumexp([[0.0, 0.0], [1000.0, 1000.0]])
    array([6.93147181e-01, 1.00069315e+03])
    """
    result = _family(LOGSUMEXP, x, axis, out, threads, keepdims)
    return result if out is not None else result[()]


def _family(op, x, axis, out, threads, keepdims=False):
    """The general way of the three functions above."""
    x, dtype = real_array(x, "x")
    axes = many_axes(axis, x.ndim)
    threads = thread_count(threads)
    reduces = op == LOGSUMEXP
    shape = reduced_shape(x.shape, axes, keepdims) if reduces else x.shape
    if out is None:
        out = core.empty(shape, dtype) if reduces else core.empty_like(x, dtype)
        inputs = {}
    else:
        check_out(out, shape, dtype)
        inputs = {"apart": [x]} if reduces else {"in_place": [x]}
    y = workspace(out, x.dtype, memory=core, **inputs)
    x_rows, axis = rows(x, axes)
    if reduces and not axes:
        y_rows = y.reshape(-1)
    elif reduces:
        y_rows = y.squeeze(axes) if keepdims else y
    else:
        y_rows, _ = rows(y, axes)
    engine(x.dtype).unary(op, x_rows, y_rows, axis, threads)
    if op == SOFTMAX and x.ndim == 0 and np.isfinite(x):
        y_rows[...] = 1  # as promised; a kernel may be an ULP off where one class has it all
    _gather(out, y, y_rows, axes)
    return out


def _gather(out, y, y_rows, axes):
    """Bring results to `out` where they were computed elsewhere: merged axes, other dtype."""
    if out.size == 0:
        return
    if y_rows is not y and not np.may_share_memory(y_rows, y):
        store(axes_last(y, axes), y_rows.reshape(axes_last(y, axes).shape))
    if y is not out and not np.may_share_memory(y, out):
        store(out, y)


def softmax_backward(dy, y, axis=-1, *, out=None, threads=None):
    """Gradient through softmax: ``y * (dy - sum(dy * y))`` for ``y = softmax(x)``.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to `y`.
    y : array_like
        The softmax, of the shape of `dy`. The wider of the two dtypes is that of the result.
    axis : int, tuple of ints or None, default -1
        The axis or axes of the softmax.
    out : ndarray, optional
        Filled and returned; may be `dy` or `y`.
    threads : int, optional
        At most this many threads for this call.

    Returns
    -------
    ndarray
        Gradient with respect to the input of the softmax.

    Raises
    ------
    TypeError, ValueError
        As `softmax`; also if the shapes differ.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.softmax_backward([1.0, 0.0], [0.5, 0.5])
    array([ 0.25, -0.25])
    """
    return _backward(SOFTMAX, dy, y, axis, out, threads)


def log_softmax_backward(dy, y, axis=-1, *, out=None, threads=None):
    """Gradient through log_softmax: ``dy - e**y * sum(dy)`` for ``y = log_softmax(x)``.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to `y`.
    y : array_like
        The log-softmax, of the shape of `dy`. The wider of the two dtypes is that of the result.
    axis : int, tuple of ints or None, default -1
        The axis or axes of the softmax.
    out : ndarray, optional
        Filled and returned; may be `dy` or `y`.
    threads : int, optional
        At most this many threads for this call.

    Returns
    -------
    ndarray
        Gradient with respect to the input of log_softmax.

    Raises
    ------
    TypeError, ValueError
        As `softmax`; also if the shapes differ.

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> fastsoftmax.log_softmax_backward([1.0, 0.0], [-np.inf, 0.0])
    array([ 1., -1.])
    """
    return _backward(LOG_SOFTMAX, dy, y, axis, out, threads)


def _backward(op, dy, y, axis, out, threads):
    (dy, y), dtype = same_reals((dy, y), ("dy", "y"))
    axes = many_axes(axis, dy.ndim)
    threads = thread_count(threads)
    if out is None:
        out = core.empty_like(dy, dtype)
        inputs = []
    else:
        check_out(out, dy.shape, dtype)
        inputs = [dy, y]
    dx = workspace(out, dy.dtype, inputs, memory=core)
    dy_rows, axis = rows(dy, axes)
    y_rows, _ = rows(y, axes)
    dx_rows, _ = rows(dx, axes)
    engine(dy.dtype).backward(op, dy_rows, y_rows, dx_rows, axis, threads)
    _gather(out, dx, dx_rows, axes)
    return out


@core.loss_door
def cross_entropy(logits, targets, *, axis=-1, weight=None, sample_weight=None, ignore_index=-100,
                  label_smoothing=0.0, z_loss=0.0, reduction="mean", normalizer=None,
                  threads=None):  # fmt: skip
    """Cross-entropy between softmax(logits) and the targets, in nats.

    The loss of one sample with logits x, label t, C classes, class weights w (1 unless given),
    sample weight s (1 unless given) and smoothing a is::

        s * ((1 - a) * w[t] * l[t] + a / C * sum(w * l) + z_loss * logsumexp(x)**2)

    where ``l = -log_softmax(x)``. With soft targets t (probabilities, taken as they are) it is
    ``s * (sum(w * ((1 - a) * t + a / C) * l) + z_loss * logsumexp(x)**2)``. A coefficient of 0
    times an infinite l is 0. These are PyTorch's conventions, which has no s and no z_loss.

    Parameters
    ----------
    logits : array_like
        Unnormalised log-probabilities; dtypes as in `softmax`.
    targets : array_like
        Integers of any dtype: labels, of the shape of `logits` without `axis`. Floating: soft
        targets of the shape of `logits`, converted to its dtype.
    axis : int, default -1
        The axis of the classes; 1 for PyTorch's (N, C, d1, ...).
    weight : array_like, optional
        One factor a class.
    sample_weight : array_like, optional
        One factor a sample, broadcast to the shape of `logits` without `axis`.
    ignore_index : int, default -100
        Samples with this label are not read: loss 0, gradient 0, not counted. Without meaning
        for soft targets.
    label_smoothing : float, default 0.0
        From 0 to 1.
    z_loss : float, default 0.0
        Factor of the squared logsumexp, which keeps logits from drifting.
    reduction : {"mean", "sum", "none"}
        The mean divides by the sum of ``s * w[t]`` over counted samples (labels) or by their
        number (soft targets); it is NaN if that is 0.
    normalizer : float, optional
        Replaces the divisor of the mean, for instance when gradients are accumulated.
    threads : int, optional
        At most this many threads for this call.

    Returns
    -------
    scalar or ndarray
        Of the dtype of the logits (float64 for integers). For "none", the losses of the samples.

    Raises
    ------
    IndexError
        If a label is neither in [0, C) nor `ignore_index`; it names label and position.
    TypeError
        If an argument is of the wrong kind; labels must be integers, not bool or float.
    ValueError
        If a shape or an option is wrong, or there is no class.

    Notes
    -----
    The loss of a sample is within 2 ULP in float32 and 4 in float64, a mean or sum of unweighted
    ones within 1 and 2. The last figure is what has been observed with a margin; 2.06 is what the
    error analysis proves. A z-loss keeps these bounds for `z_loss` up to half of the coefficients
    of l together: 0.5 for a label without weights. The logsumexp of a larger one may have no digits
    where it is nearly 0.

    Examples
    --------
    >>> import fastsoftmax
    >>> logits = [[20.0, 0.0, 0.0], [0.0, 1.0, 2.0]]
    >>> fastsoftmax.cross_entropy(logits, [0, 2], reduction="none")
    array([4.12230724e-09, 4.07605964e-01])
    >>> print(f"{fastsoftmax.cross_entropy(logits, [0, -100]):.6g}")  # the second is ignored
    4.12231e-09
    """
    call = LossCall(
        logits, targets, axis, weight, sample_weight, ignore_index, label_smoothing, z_loss,
        reduction, normalizer, threads, memory=core,
    )  # fmt: skip
    return call.run(engine(call.x.dtype).cross_entropy)


@core.loss_and_grad_door
def cross_entropy_with_grad(logits, targets, *, axis=-1, weight=None, sample_weight=None,
                            ignore_index=-100, label_smoothing=0.0, z_loss=0.0, reduction="mean",
                            normalizer=None, threads=None, grad_output=None,
                            out=None):  # fmt: skip
    """Cross-entropy and its gradient with respect to the logits, in one sweep.

    With q the coefficients of l in the formula of `cross_entropy` (one a class, s included) and
    p = softmax(x), the gradient of one sample's loss is::

        p * sum(q) - q + 2 * s * z_loss * logsumexp(x) * p

    divided by the divisor of the mean where there is one.

    Parameters
    ----------
    logits, targets
        And all options: as in `cross_entropy`, which lists the errors too.
    grad_output : float or array_like, optional
        Multiplies the gradient (not the loss): one factor, or one a sample.
    out : ndarray, optional
        Receives the gradient. Of the shape and dtype of `logits`; may be `logits` itself.

    Returns
    -------
    loss : scalar or ndarray
        As `cross_entropy` returns it.
    grad : ndarray
        Gradient of that loss; with reduction "none", of the sum of the losses. Exactly 0 for
        ignored samples, and everywhere if the divisor of the mean is 0.

    Notes
    -----
    For labels without options the gradient is within 2.5 ULP in float32 and 4 in float64, at the
    target too, where it is minus the sum of the other probabilities. With options these are ULP of
    the largest of the terms whose sum it is; of a z-loss as `cross_entropy` has it.

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> loss, grad = fastsoftmax.cross_entropy_with_grad(np.array([[0.0, 0.0]]), [1])
    >>> print(f"{loss:.6f}", grad)
    0.693147 [[ 0.5 -0.5]]
    """
    call = LossCall(
        logits, targets, axis, weight, sample_weight, ignore_index, label_smoothing, z_loss,
        reduction, normalizer, threads, gradient=True, grad_output=grad_output, out=out,
        memory=core,
    )  # fmt: skip
    return call.run(engine(call.x.dtype).cross_entropy)


def nll_loss(log_probs, targets, *, axis=-1, weight=None, sample_weight=None, ignore_index=-100,
             reduction="mean", normalizer=None, threads=None):  # fmt: skip
    """Negative log-likelihood of the targets under given log-probabilities, in nats.

    The loss of one sample is ``-s * w[t] * log_probs[t]`` for a label t, and
    ``-s * sum(w * t * log_probs)`` for soft targets. ``nll_loss(log_softmax(x), t)`` is
    ``cross_entropy(x, t)``.

    Parameters
    ----------
    log_probs : array_like
        Log-probabilities, taken as they are; dtypes as in `softmax`.
    targets, axis, weight, sample_weight, ignore_index, reduction, normalizer, threads
        As in `cross_entropy`, which lists the errors too.

    Returns
    -------
    scalar or ndarray
        As `cross_entropy` returns it.

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> print(f"{fastsoftmax.nll_loss(np.log([[0.25, 0.75]]), [0]):.6f}")
    1.386294
    """
    call = LossCall(
        log_probs, targets, axis, weight, sample_weight, ignore_index, 0.0, 0.0, reduction,
        normalizer, threads, name="log_probs", memory=core,
    )  # fmt: skip
    return call.run(engine(call.x.dtype).nll)
