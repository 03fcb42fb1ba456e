"""softmax, log_softmax, logsumexp and cross_entropy of Dask arrays, lazy and chunk by chunk.

Where the classes of a row lie in one chunk, every block is a call of the package: the same bits as
in memory, one task a block. Where they are split, each block is reduced to the mergeable state of
its rows (`fastsoftmax.OnlineSoftmax` holds the same), the states are joined by a tree, and one more
step a block finishes: the bounds of the package then hold, though not its very bits.

Every task computes on one thread: it is the scheduler that runs them side by side.
"""

import math

import numpy as np

try:
    import dask.array as da
except ImportError as error:
    raise ImportError(
        f"fastsoftmax.dask needs Dask's arrays ({error}): pip install 'fastsoftmax[dask]'"
    ) from error

from . import _dask_tasks as tasks
from . import _validate as v
from ._backend import LOG_SOFTMAX, SOFTMAX
from ._online import STATE

__all__ = ["cross_entropy", "log_softmax", "logsumexp", "softmax"]


def softmax(x, axis=-1):
    """Softmax of a Dask array, lazily.

    Parameters
    ----------
    x : dask.array.Array
        Real numbers; dtypes as in `fastsoftmax.softmax`, but no longdouble where `axis` is split.
        Chunk sizes may be unknown.
    axis : int, tuple of ints or None, default -1
        The axis or axes to sum over; None for all.

    Returns
    -------
    dask.array.Array
        Of the shape and chunks of `x`.

    Raises
    ------
    TypeError
        If `x` is not a Dask array or not of real numbers.
    ValueError
        If `axis` is out of bounds or repeated.

    Examples
    --------
    >>> import dask.array as da
    >>> from fastsoftmax.dask import softmax
    >>> x = da.from_array([[1.0, 2.0, 3.0, 4.0]], chunks=(1, 2))
    >>> softmax(x).compute().round(4)
    array([[0.0321, 0.0871, 0.2369, 0.6439]])
    """
    return _family("softmax", SOFTMAX, x, axis)


def log_softmax(x, axis=-1):
    """Logarithm of the softmax of a Dask array, lazily; arguments as for `softmax`."""
    return _family("log_softmax", LOG_SOFTMAX, x, axis)


def logsumexp(x, axis=-1, *, keepdims=False, split_every=None):
    """Logarithm of the sum of exponentials of a Dask array, lazily.

    Parameters
    ----------
    x : dask.array.Array
        As for `softmax`, with the same errors.
    axis : int, tuple of ints or None, default -1
        The axis or axes to sum over; None for all.
    keepdims : bool, default False
        Keep the summed axes with length 1.
    split_every : int or dict, optional
        States that a task of the tree joins, as in Dask's own reductions.

    Returns
    -------
    dask.array.Array
        Of the shape of `x` without `axis`.
    """
    x, dtype, axes = _checked(x, axis)
    if _is_whole(x, axes):
        every = tuple(range(x.ndim))
        kept = every if keepdims else tuple(k for k in every if k not in axes)
        return da.blockwise(
            tasks.whole_logsumexp, kept, x, every, axes=axes, keepdims=keepdims, concatenate=True,
            adjust_chunks=dict.fromkeys(axes, 1) if keepdims else None,
            dtype=dtype, meta=np.empty((0,) * len(kept), dtype), token="logsumexp",
        )  # fmt: skip
    return da.reduction(
        x, tasks.chunk_states, tasks.finish_logsumexp, axes, keepdims, dtype, split_every,
        tasks.combine_states, "logsumexp-states", meta=_meta(x, dtype, () if keepdims else axes),
    )  # fmt: skip


def cross_entropy(logits, targets, *, axis=-1, weight=None, sample_weight=None, ignore_index=-100,
                  label_smoothing=0.0, z_loss=0.0, reduction="mean", normalizer=None):  # fmt: skip
    """Cross-entropy of the softmax of a Dask array, lazily; the formula of the package.

    With the classes split over chunks, labels without smoothing go by the states of the blocks;
    soft targets and smoothing need all classes of a sample at once, and the class axis is first
    brought into one chunk.

    Parameters
    ----------
    logits : dask.array.Array
        As for `softmax`.
    targets : dask.array.Array or array_like
        Labels of an integer dtype or soft targets, as in `fastsoftmax.cross_entropy`; brought into
        the chunks of the logits.
    axis : int, default -1
        The axis of the classes. Its chunk sizes must be known where it is split.
    sample_weight : dask.array.Array or array_like, optional
        One factor a sample, broadcast to the shape of `logits` without `axis`.
    weight, ignore_index, label_smoothing, z_loss, reduction, normalizer
        As in `fastsoftmax.cross_entropy`, in memory.

    Returns
    -------
    dask.array.Array
        The loss, 0-d; for reduction "none" the losses of the samples.

    Raises
    ------
    TypeError, ValueError
        As `fastsoftmax.cross_entropy`, at once.
    IndexError
        If a label is out of range, when the loss is computed. The position that it names is
        counted within the block.
    """
    x, dtype, (axis,) = _checked(logits, v.integer(axis, "axis"), "logits")
    options = {
        "weight": weight, "ignore_index": ignore_index, "label_smoothing": label_smoothing,
        "z_loss": z_loss, "reduction": reduction, "normalizer": normalizer,
    }  # fmt: skip
    targets, soft = _check_loss(x, axis, targets, options)
    if (soft or label_smoothing) and not _is_whole(x, (axis,)):
        x = x.rechunk({axis: -1})
    every = tuple(range(x.ndim))
    samples = every[:axis] + every[axis + 1 :]
    t = _like_logits(targets, x, every if soft else samples, "targets")
    arrays = [x, every, t, every if soft else samples]
    step = tasks.whole_losses
    if not _is_whole(x, (axis,)):
        arrays[0] = _targeted(x, t, axis, samples)
        step = tasks.split_losses
    if sample_weight is not None:
        arrays += [_like_logits(sample_weight, x, samples, "sample_weight", soft=False), samples]
    options["classes"] = x.shape[axis]
    if reduction == "none":
        return da.blockwise(
            step, samples, *arrays, axis=axis, dtype=dtype, out_dtype=dtype, concatenate=True,
            meta=np.empty((0,) * len(samples), dtype), align_arrays=False, token="cross_entropy",
            **options,
        )  # fmt: skip
    parts = da.blockwise(
        step, every, *arrays, axis=axis, dtype=tasks.PART, out_dtype=dtype, align_arrays=False,
        meta=np.empty((0,) * x.ndim, tasks.PART), adjust_chunks=dict.fromkeys(every, 1),
        token="cross_entropy", **options,
    )  # fmt: skip
    return da.reduction(
        parts, tasks.as_they_are, tasks.Finish(reduction, normalizer, dtype), every, False, dtype,
        combine=tasks.add_parts, name="cross_entropy-sum", meta=np.empty((), dtype),
    )  # fmt: skip


# --- the graph ---


def _checked(x, axis, name="x"):
    """Return the array, the dtype of results, and the axes from the front."""
    if not isinstance(x, da.Array):
        raise TypeError(
            f"{name}: expected a dask.array.Array, got {type(x).__name__}; "
            "arrays in memory go to the functions of fastsoftmax itself"
        )
    compute, dtype = v.real_array(np.empty(0, x.dtype), name)
    axes = v.many_axes(axis, x.ndim)
    if compute.dtype.char == "g" and not _is_whole(x, axes):
        raise TypeError(
            f"{name}: longdouble is wider than the state of a block; "
            "rechunk the class axis into one chunk, or convert to float64"
        )
    return x, dtype, axes


def _is_whole(x, axes):
    return all(x.numblocks[k] == 1 for k in axes)


def _meta(x, dtype, without=()):
    return np.empty((0,) * (x.ndim - len(without)), dtype)


def _family(name, op, x, axis):
    x, dtype, axes = _checked(x, axis)
    every = tuple(range(x.ndim))
    if _is_whole(x, axes):
        return da.blockwise(
            tasks.whole, every, x, every, name_of=name, axes=axes, dtype=dtype,
            meta=_meta(x, dtype), token=name,
        )  # fmt: skip
    states = da.reduction(
        x, tasks.chunk_states, tasks.combine_states, axes, True, STATE, name=f"{name}-states",
        meta=_meta(x, STATE),
    )  # fmt: skip
    # The states have one block along the classes; each stands beside every block of its rows.
    return da.blockwise(
        tasks.given, every, x, every, states, every, op=op, axes=axes, result=dtype, dtype=dtype,
        meta=_meta(x, dtype), align_arrays=False, token=name,
    )  # fmt: skip


def _check_loss(x, axis, targets, options):
    """Raise for whatever is wrong with a loss before a graph is built; tell whether it is soft."""
    if not isinstance(targets, da.Array):
        targets = v.ndarray(targets, "targets")
    soft = targets.dtype.kind not in "iub"
    classes = x.shape[axis]
    if math.isnan(classes) and not _is_whole(x, (axis,)):
        raise ValueError(
            "logits: the class axis is split into chunks of unknown sizes, so labels cannot be "
            "found in them; call compute_chunk_sizes() on the logits first"
        )
    if math.isnan(classes):
        classes = 1 if options["weight"] is None else np.size(options["weight"])
    shape = x.shape if soft else x.shape[:axis] + x.shape[axis + 1 :]
    if len(targets.shape) != len(shape) or any(
        a != b for a, b in zip(targets.shape, shape, strict=True) if not math.isnan(a + b)
    ):
        hint = "; labels must be integers" if soft and targets.ndim < x.ndim else ""
        raise ValueError(f"targets: expected shape {shape}, got {targets.shape}{hint}")
    # The package's own checks, on no samples.
    none = np.empty((0, classes) if soft else 0, targets.dtype)
    v.LossCall(
        np.empty((0, classes), x.dtype), none, -1, options["weight"], None,
        options["ignore_index"], options["label_smoothing"], options["z_loss"],
        options["reduction"], options["normalizer"], None,
    )  # fmt: skip
    return targets, soft


def _like_logits(array, x, dims, name, soft=True):
    """An array over some dimensions of the logits, in their chunks."""
    chunks = tuple(x.chunks[k] for k in dims)
    shape = tuple(x.shape[k] for k in dims)
    unknown = any(math.isnan(n) for n in shape)
    if isinstance(array, da.Array):
        if not soft and array.shape != shape and not unknown:
            array = da.broadcast_to(array, shape)
        blocks = tuple(len(c) for c in chunks)
        if array.numblocks == blocks and (unknown or array.chunks == chunks):
            return array
        if unknown or any(math.isnan(n) for n in array.shape):
            raise ValueError(
                f"{name}: chunk sizes are unknown, and the number of blocks {array.numblocks} is "
                f"not that of the logits, {blocks}; call compute_chunk_sizes() first"
            )
        return array.rechunk(chunks)
    if unknown:
        raise ValueError(
            f"{name}: the chunk sizes of the logits are unknown; pass a Dask array of the same "
            "chunks, or call compute_chunk_sizes() on the logits first"
        )
    if not soft:
        array, _ = v.real_array(array, name)
        try:
            array = np.broadcast_to(array, shape)
        except ValueError:
            message = f"{name}: shape {array.shape} does not broadcast to the samples' {shape}"
            raise ValueError(message) from None
    return da.from_array(array, chunks=chunks)


def _targeted(x, labels, axis, samples):
    """The state of each row with the logit of its target; the class axis of length 1."""
    every = tuple(range(x.ndim))
    begins = np.cumsum((0,) + x.chunks[axis][:-1])
    begins = da.from_array(begins, chunks=1)  # a block each
    parts = da.blockwise(
        tasks.chunk_targeted, every, x, every, labels, samples, begins, (axis,), axis=axis,
        dtype=tasks.TARGETED, meta=_meta(x, tasks.TARGETED), adjust_chunks={axis: 1},
        align_arrays=False, token="cross_entropy-states",
    )  # fmt: skip
    return da.reduction(
        parts, tasks.as_they_are, tasks.combine_targeted, (axis,), True, tasks.TARGETED,
        name="cross_entropy-states", meta=_meta(x, tasks.TARGETED),
    )  # fmt: skip
