"""The mergeable state: softmax and cross-entropy of rows that are seen a block at a time.

A state is four doubles a row (csrc/math/state.h): the largest logit, and the sum of e^x over all
others as two doubles and a binary exponent. Joining two of them is exact but for the exponential
of the smaller of the two largest logits, so that neither the split nor the order of the blocks
costs digits; a logsumexp in the dtype of the logits would lose one of them at every step.
"""

import numpy as np

from . import _validate as v
from ._backend import LOG_SOFTMAX, SOFTMAX, core

# One element a row, so that arrays of states have the shape of a reduced array.
STATE = np.dtype([("max", "f8"), ("exponent", "f8"), ("high", "f8"), ("low", "f8")])


# --- arrays of states: what OnlineSoftmax and fastsoftmax.dask are made of ---


def empty_states(shape):
    """States of rows of which nothing has been seen."""
    states = np.zeros(shape, STATE)
    states["max"] = -np.inf
    return states


def states_of(x, axes, threads=0):
    """The state of each row of `x` (float32 or float64), with the reduced axes kept."""
    kept = v.reduced_shape(x.shape, axes, keepdims=True)
    x_rows, axis = v.rows(x, axes)
    states = empty_states(x_rows.shape[:axis] + x_rows.shape[axis + 1 :])
    if x.size:
        core.state(x_rows, _numbers(states), axis, threads)
    return states.reshape(kept)


def join_states(a, b):
    """The states of the elements of both; `a` is overwritten and returned."""
    core.join_states(_numbers(a), _numbers(np.ascontiguousarray(b)))
    return a


def given_states(op, x, states, axes, out, threads=0):
    """Write softmax or log_softmax of the blocks `x` of the rows that `states` stand for."""
    if not x.size:
        return
    x_rows, axis = v.rows(x, axes)
    y_rows, _ = v.rows(out, axes)
    shape = x_rows.shape[:axis] + x_rows.shape[axis + 1 :]
    core.given(op, x_rows, _numbers(np.ascontiguousarray(states.reshape(shape))), y_rows, axis,
               threads)  # fmt: skip
    if not np.may_share_memory(y_rows, out):
        v.store(v.axes_last(out, axes), y_rows.reshape(v.axes_last(out, axes).shape))


def log_sums(states):
    """logsumexp of each row, in float64."""
    result = np.empty(states.shape, np.float64)  # named: by default NumPy 2.4 loses a reference
    core.state_end(_numbers(np.ascontiguousarray(states)), None, result)
    return result


def losses(states, target_logits):
    """logsumexp - target, in float64; NaN where the target or the largest logit has no loss."""
    x = np.ascontiguousarray(target_logits, np.float64).reshape(states.shape)
    result = np.empty(states.shape, np.float64)
    core.state_end(_numbers(np.ascontiguousarray(states)), x, result)
    return result


def _numbers(states):
    """The four doubles of contiguous states along a last axis of their own."""
    return states.reshape(states.shape + (1,)).view(np.float64)


class OnlineSoftmax:
    """Softmax, logsumexp and cross-entropy of rows whose classes come in blocks.

    For logits that never lie in one array: a memory map read piece by piece, a vocabulary sharded
    over processes, chunks of a product of matrices. Feed every block once (`update`), in any
    order; join what others have fed (`merge`); then ask. It pickles, 32 bytes a row.

    Parameters
    ----------
    axis : int, tuple of ints or None, default -1
        The axis or axes of the classes in every block, as in `fastsoftmax.softmax`.

    Notes
    -----
    Results keep the bounds of the one-shot functions whatever the split and the order, though not
    their very bits. What is held is the largest logit of each row and the sum of the other
    exponentials as two doubles and an exponent. ``update`` and ``merge`` on one object are not
    meant for several threads at once; give each thread its own and merge them.

    References
    ----------
    .. [1] M. Milakov, N. Gimelshein, "Online normalizer calculation for softmax",
           arXiv:1805.02867.

    Examples
    --------
    >>> import numpy as np
    >>> from fastsoftmax import OnlineSoftmax, softmax
    >>> x = np.array([[2.0, 3.0, 5.0, 1.0]])
    >>> state = OnlineSoftmax().update(x[:, :2]).update(x[:, 2:])
    >>> state.softmax(x[:, 2:])
    array([[0.83095266, 0.01521943]])
    >>> softmax(x)[:, 2:]
    array([[0.83095266, 0.01521943]])
    >>> print(state.logsumexp().round(6), state.cross_entropy(x[:, 2]).round(6))
    [5.185182] [0.185182]
    """

    def __init__(self, axis=-1):
        if axis is not None:
            axis = (
                tuple(v.integer(k, "axis") for k in axis) if isinstance(axis, tuple)
                else v.integer(axis, "axis")
            )  # fmt: skip
        self._axis = axis
        self._states = None
        self._dtype = None

    @property
    def axis(self):
        """The axis or axes of the classes."""
        return self._axis

    @property
    def shape(self):
        """The shape of the batch, classes left out; None before the first block."""
        return None if self._states is None else self._states.shape

    @property
    def dtype(self):
        """The dtype of results: the widest of the blocks so far; None before the first."""
        return self._dtype

    def __repr__(self):
        return f"OnlineSoftmax(axis={self._axis}), shape={self.shape}, dtype={self._dtype}"

    def update(self, block, *, threads=None):
        """Take in a block of classes.

        Parameters
        ----------
        block : array_like
            Logits, of any number of classes, none included; the other axes as in the blocks
            before. Dtypes as in `fastsoftmax.softmax`, but no longdouble. A float32 block counts
            with the precision of float32, also where others are float64.
        threads : int, optional
            At most this many threads for this call.

        Returns
        -------
        OnlineSoftmax
            Itself.

        Raises
        ------
        TypeError
            If the block is not real numbers in host memory.
        ValueError
            If its shape without the class axis is not that of the blocks before.
        """
        x, dtype, axes = self._block(block)
        shape = self._check_shape(v.reduced_shape(x.shape, axes, keepdims=False))
        states = states_of(x, axes, v.thread_count(threads)).reshape(shape)
        self._take(states, dtype)
        return self

    def merge(self, other):
        """Take in all that `other` has taken in; it stays as it is.

        Parameters
        ----------
        other : OnlineSoftmax
            Of other classes of the same rows. Merging one and the same block twice counts it
            twice.

        Returns
        -------
        OnlineSoftmax
            Itself.
        """
        if not isinstance(other, OnlineSoftmax):
            raise TypeError(f"other: expected an OnlineSoftmax, got {type(other).__name__}")
        if other._states is not None:
            self._check_shape(other._states.shape, "other")
            self._take(other._states.copy(), other._dtype)
        return self

    def logsumexp(self):
        """Logarithm of the sum of all exponentials so far, one number a row.

        Returns
        -------
        ndarray or scalar
            In nats; -inf for rows without a class.
        """
        return self._result(log_sums(self._seen()))

    def softmax(self, block, *, out=None, threads=None):
        """The part of the softmax that belongs to a block, once all blocks are in.

        Parameters
        ----------
        block : array_like
            Logits, as they went in. A row with a logit above all that have been taken in is NaN:
            the state does not stand for it.
        out : ndarray, optional
            Filled and returned. Of the shape of `block` and the dtype of the result; may be
            `block` itself.
        threads : int, optional
            At most this many threads for this call.

        Returns
        -------
        ndarray
            Of the shape of `block`.
        """
        return self._given(SOFTMAX, block, out, threads)

    def log_softmax(self, block, *, out=None, threads=None):
        """The part of log_softmax that belongs to a block; arguments as for `softmax`."""
        return self._given(LOG_SOFTMAX, block, out, threads)

    def cross_entropy(self, target_logits):
        """The loss of each row whose target has the given logit: ``logsumexp - target``.

        Parameters
        ----------
        target_logits : array_like
            The logit of each row's target, picked out of whichever block holds it, as it went in.

        Returns
        -------
        ndarray or scalar
            In nats, one a row, not reduced; near 0 it keeps its digits. NaN for a target above
            all logits that have been taken in.
        """
        states = self._seen()
        x, dtype = v.real_array(target_logits, "target_logits")
        if x.shape != states.shape:
            raise ValueError(
                f"target_logits: expected one a row, shape {states.shape}, got {x.shape}"
            )
        with np.errstate(invalid="ignore"):
            covered = x <= states["max"]
        return self._result(np.where(covered, losses(states, x), np.nan), dtype)

    # --- within ---

    def _block(self, block):
        x, dtype = v.real_array(block, "block")
        if x.dtype.char == "g":
            raise TypeError("block: longdouble is wider than the state; convert it to float64")
        return x, dtype, v.many_axes(self._axis, x.ndim)

    def _check_shape(self, shape, name="block"):
        if self._states is not None and shape != self._states.shape:
            raise ValueError(
                f"{name}: expected {self._states.shape} without the class axis, got {shape}"
            )
        return shape

    def _take(self, states, dtype):
        first = self._states is None
        self._states = states if first else join_states(states, self._states)
        self._dtype = dtype if first else np.promote_types(self._dtype, dtype)

    def _seen(self):
        if self._states is None:
            raise ValueError("OnlineSoftmax: no block has been taken in yet; call update first")
        return self._states

    def _result(self, values, dtype=None):
        dtype = self._dtype if dtype is None else np.promote_types(self._dtype, dtype)
        return v.cast(np.asarray(values), dtype)[()]

    def _given(self, op, block, out, threads):
        states = self._seen()
        x, dtype, axes = self._block(block)
        dtype = np.promote_types(self._dtype, dtype)
        self._check_shape(v.reduced_shape(x.shape, axes, keepdims=False))
        threads = v.thread_count(threads)
        compute = np.promote_types(x.dtype, np.float64 if dtype.itemsize == 8 else np.float32)
        x = x if x.dtype == compute else v.cast(x, compute)
        if out is None:
            out = core.empty_like(x, dtype)
        else:
            v.check_out(out, x.shape, dtype)
        y = v.workspace(out, compute, [x], memory=core)
        given_states(op, x, states, axes, y, threads)
        if y.size and not np.may_share_memory(y, out):
            v.store(out, y)
        return out
