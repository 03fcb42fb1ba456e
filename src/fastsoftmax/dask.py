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

from . import _api
from . import _validate as v
from ._backend import LOG_SOFTMAX, SOFTMAX, engine
from ._online import STATE, given_states, join_states, log_sums, losses, states_of

__all__ = ["cross_entropy", "log_softmax", "logsumexp", "softmax"]

# A row's state, and the logit of its target once a block has brought it.
_TARGETED = np.dtype([("state", STATE), ("logit", "f8"), ("found", "?")])
# What a block adds to a reduced loss: two sums, each as two doubles.
_PART = np.dtype([(name, "f8") for name in ("loss", "loss_low", "divisor", "divisor_low")])


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
            _whole_logsumexp, kept, x, every, axes=axes, keepdims=keepdims, concatenate=True,
            adjust_chunks=dict.fromkeys(axes, 1) if keepdims else None,
            dtype=dtype, meta=np.empty((0,) * len(kept), dtype), token="logsumexp",
        )  # fmt: skip
    return da.reduction(
        x, _chunk_states, _finish_logsumexp, axes, keepdims, dtype, split_every, _combine_states,
        "logsumexp-states", meta=_meta(x, dtype, () if keepdims else axes),
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
    step = _whole_losses
    if not _is_whole(x, (axis,)):
        arrays[0] = _targeted(x, t, axis, samples)
        step = _split_losses
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
        step, every, *arrays, axis=axis, dtype=_PART, out_dtype=dtype, align_arrays=False,
        meta=np.empty((0,) * x.ndim, _PART), adjust_chunks=dict.fromkeys(every, 1),
        token="cross_entropy", **options,
    )  # fmt: skip
    return da.reduction(
        parts, _as_they_are, _Finish(reduction, normalizer, dtype), every, False, dtype,
        combine=_add_parts, name="cross_entropy-sum", meta=np.empty((), dtype),
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
            _whole, every, x, every, name_of=name, axes=axes, dtype=dtype, meta=_meta(x, dtype),
            token=name,
        )  # fmt: skip
    states = da.reduction(
        x, _chunk_states, _combine_states, axes, True, STATE, name=f"{name}-states",
        meta=_meta(x, STATE),
    )  # fmt: skip
    # The states have one block along the classes; each stands beside every block of its rows.
    return da.blockwise(
        _given, every, x, every, states, every, op=op, axes=axes, result=dtype, dtype=dtype,
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
        _chunk_targeted, every, x, every, labels, samples, begins, (axis,), axis=axis,
        dtype=_TARGETED, meta=_meta(x, _TARGETED), adjust_chunks={axis: 1}, align_arrays=False,
        token="cross_entropy-states",
    )  # fmt: skip
    return da.reduction(
        parts, _as_they_are, _combine_targeted, (axis,), True, _TARGETED,
        name="cross_entropy-states", meta=_meta(x, _TARGETED),
    )  # fmt: skip


# --- in the tasks ---


def _whole(block, name_of, axes):
    return getattr(_api, name_of)(block, axes, threads=1)


def _whole_logsumexp(block, axes, keepdims):
    return np.asarray(_api.logsumexp(block, axes, keepdims=keepdims, threads=1))


def _chunk_states(block, axis, keepdims, computing_meta=False):
    if computing_meta:  # da.reduction casts what it gets to the dtype of its result
        return block
    return states_of(v.real_array(block, "block")[0], axis, threads=1)


def _pieces(array, axis):
    """The elements along the axes one after the other, each with those axes of length 1."""
    for index in np.ndindex(*(array.shape[k] for k in axis)):
        at = [slice(None)] * array.ndim
        for k, i in zip(axis, index, strict=True):
            at[k] = slice(i, i + 1)
        yield array[tuple(at)]


def _combine_states(states, axis, keepdims):
    first, *others = _pieces(states, axis)
    joined = first.copy()
    for other in others:
        join_states(joined, other)
    return joined if keepdims else joined.squeeze(axis)


def _finish_logsumexp(states, axis, keepdims, dtype):
    return v.cast(log_sums(_combine_states(states, axis, keepdims)), dtype)


def _given(block, states, op, axes, result):
    x = v.real_array(block, "block")[0]
    out = np.empty(x.shape, x.dtype)
    given_states(op, x, states, axes, out, threads=1)
    return out if out.dtype == result else v.cast(out, result)


def _as_they_are(block, axis, keepdims, computing_meta=False):
    return np.empty(block.shape) if computing_meta else block


def _chunk_targeted(block, labels, begin, axis):
    x = v.real_array(block, "block")[0]
    result = np.zeros(v.reduced_shape(x.shape, (axis,), keepdims=True), _TARGETED)
    result["state"] = states_of(x, (axis,), threads=1)
    at = np.expand_dims(labels, axis)
    first = int(begin[0])
    here = (at >= first) & (at < first + x.shape[axis])
    if here.any():
        index = np.where(here, at, first).astype(np.int64) - first
        result["found"] = here
        result["logit"] = np.where(here, np.take_along_axis(x, index, axis), 0)
    return result


def _combine_targeted(parts, axis, keepdims):
    first, *others = _pieces(parts, axis)
    states = np.ascontiguousarray(first["state"])
    result = first.copy()
    for other in others:
        join_states(states, np.ascontiguousarray(other["state"]))
        result["logit"] += other["logit"]  # 0 wherever it is not found
        result["found"] |= other["found"]
    result["state"] = states
    return result if keepdims else result.squeeze(axis)


def _whole_losses(block, targets, sample_weight=None, *, axis, out_dtype, reduction, normalizer,
                  classes, **options):  # fmt: skip
    """The losses of a block, or what it adds to a reduced loss."""
    # float64 losses are summed here, with all their digits; sums of others are float64 already.
    block = v.real_array(block, "logits")[0] if reduction != "none" else block
    ask = "none" if reduction == "none" or block.dtype.itemsize >= 8 else "sum"
    call = v.LossCall(
        block, targets, axis, options["weight"], sample_weight, options["ignore_index"],
        options["label_smoothing"], options["z_loss"], ask, None, 1,
    )  # fmt: skip
    try:
        if reduction == "none":
            return np.asarray(call.run(engine(call.x.dtype).cross_entropy))
        total = engine(call.x.dtype).cross_entropy(
            call.x, call.axis, call.targets, loss=call.loss, grad=None, **call.options
        )
    except IndexError as error:
        raise _in_a_block(error) from None
    terms = np.asarray(total if call.loss is None else call.loss)
    if call.targets.dtype.kind not in "iu":
        return _part(terms, np.ones(targets.size // targets.shape[axis]), block.ndim)
    counted = call.targets != options["ignore_index"]
    factors = _factors(call.targets, counted, options["weight"], sample_weight)
    return _part(terms, np.where(counted, factors, 0), block.ndim)


def _split_losses(parts, labels, sample_weight=None, *, axis, out_dtype, reduction, normalizer,
                  classes, **options):  # fmt: skip
    """The same from states and the logits of the targets."""
    parts = parts.squeeze(axis)
    weight, ignored = options["weight"], options["ignore_index"]
    counted = labels != ignored
    if (counted & ~parts["found"]).any():
        _refuse_label(labels, counted & ~parts["found"], classes)
    states = np.ascontiguousarray(parts["state"])
    with np.errstate(all="ignore"):
        loss = losses(states, parts["logit"])
        factor = _factors(labels, counted, weight, sample_weight)
        silent = (factor == 0) & ~np.isnan(loss)
        loss = np.where(silent, 0, factor * loss)
        if options["z_loss"]:
            s = _factors(labels, counted, None, sample_weight)
            loss = loss + s * options["z_loss"] * np.square(log_sums(states))
        loss = np.where(counted, loss, 0)
    if reduction == "none":
        return v.cast(loss, out_dtype)
    return _part(loss, np.where(counted, factor, 0), parts.ndim + 1)


def _factors(labels, counted, weight, sample_weight):
    """Class weight times sample weight of each sample."""
    factor = np.ones(labels.shape) if sample_weight is None else v.cast(sample_weight, np.float64)
    if weight is None:
        return factor
    return factor * np.asarray(weight, np.float64)[np.where(counted, labels, 0).astype(np.intp)]


def _refuse_label(labels, bad, classes):
    position = tuple(int(k) for k in np.argwhere(bad)[0])
    where = ", ".join(map(str, position)) or "()"
    raise _in_a_block(
        IndexError(
            f"targets[{where}]: label {labels[position]} is out of range: "
            f"expected 0 <= label < {classes}, or ignore_index"
        )
    )


def _in_a_block(error):
    return IndexError(f"{error} (position counted within a block of the Dask array)")


def _part(terms, factors, ndim):
    """What a block adds to the loss and to the divisor of its mean."""
    result = np.zeros((1,) * ndim, _PART)
    result["loss"], result["loss_low"] = _exact_sum(terms)
    result["divisor"], result["divisor_low"] = _exact_sum(factors)
    return result


def _exact_sum(terms):
    """The sum of many numbers as two doubles, by halves (Knuth's two-sum)."""
    high = np.ravel(terms)
    low = 0.0
    with np.errstate(all="ignore"):
        while high.size > 1:
            a, b = high[: high.size // 2], high[high.size // 2 : high.size // 2 * 2]
            total = a + b
            part = total - a
            low += np.sum((a - (total - part)) + (b - part))
            high = np.append(total, high[-1:]) if high.size % 2 else total
    total = float(high[0]) if high.size else 0.0
    return total, low if math.isfinite(total) else 0.0


def _add_parts(parts, axis, keepdims):
    result = np.zeros((1,) * parts.ndim, _PART)
    for name in ("loss", "divisor"):
        numbers = np.concatenate([parts[name].ravel(), parts[f"{name}_low"].ravel()])
        result[name], result[f"{name}_low"] = _exact_sum(numbers)
    return result


class _Finish:
    """The last step of a reduced loss."""

    def __init__(self, reduction, normalizer, dtype):
        self.options = reduction, normalizer, dtype

    def __call__(self, parts, axis, keepdims):
        reduction, normalizer, dtype = self.options
        total = _add_parts(parts, axis, keepdims).ravel()
        if not total.size:
            return np.asarray(0, dtype)
        loss = total["loss"][0] + total["loss_low"][0]
        divisor = total["divisor"][0] + total["divisor_low"][0]
        if reduction == "mean":
            divisor = divisor if normalizer is None else normalizer
            loss = loss / divisor if divisor else np.nan
        return v.cast(np.asarray(loss), dtype)
