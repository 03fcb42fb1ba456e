"""What the tasks of fastsoftmax.dask do: blocks in, blocks out, one thread each. No Dask here."""

import math
from fractions import Fraction

import numpy as np

from . import _api
from . import _validate as v
from ._backend import core, engine
from ._online import STATE, given_states, join_states, log_sums, losses, states_of

# A row's state, and the logit of its target once a block has brought it.
TARGETED = np.dtype([("state", STATE), ("logit", "f8"), ("found", "?")])
# What a block adds to a reduced loss: two sums, each as two doubles.
PART = np.dtype([(name, "f8") for name in ("loss", "loss_low", "divisor", "divisor_low")])


def whole(block, name_of, axes):
    return getattr(_api, name_of)(block, axes, threads=1)


def whole_logsumexp(block, axes, keepdims):
    return np.asarray(_api.logsumexp(block, axes, keepdims=keepdims, threads=1))


def chunk_states(block, axis, keepdims, computing_meta=False):
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


def combine_states(states, axis, keepdims):
    first, *others = _pieces(states, axis)
    joined = first.copy()
    for other in others:
        join_states(joined, other)
    return joined if keepdims else joined.squeeze(axis)


def finish_logsumexp(states, axis, keepdims, dtype):
    return v.cast(log_sums(combine_states(states, axis, keepdims)), dtype)


def given(block, states, op, axes, result):
    x = v.real_array(block, "block")[0]
    out = core.empty(x.shape, x.dtype)
    given_states(op, x, states, axes, out, threads=1)
    return out if out.dtype == result else v.cast(out, result)


def as_they_are(block, axis, keepdims, computing_meta=False):
    return np.empty(block.shape) if computing_meta else block


def chunk_targeted(block, labels, begin, axis):
    x = v.real_array(block, "block")[0]
    result = np.zeros(v.reduced_shape(x.shape, (axis,), keepdims=True), TARGETED)
    result["state"] = states_of(x, (axis,), threads=1)
    at = np.expand_dims(labels, axis)
    first = int(begin[0])
    here = (at >= first) & (at < first + x.shape[axis])
    if here.any():
        index = np.where(here, at, first).astype(np.int64) - first
        result["found"] = here
        result["logit"] = np.where(here, np.take_along_axis(x, index, axis), 0)
    return result


def combine_targeted(parts, axis, keepdims):
    first, *others = _pieces(parts, axis)
    states = np.ascontiguousarray(first["state"])
    result = first.copy()
    for other in others:
        join_states(states, np.ascontiguousarray(other["state"]))
        result["logit"] += other["logit"]  # 0 wherever it is not found
        result["found"] |= other["found"]
    result["state"] = states
    return result if keepdims else result.squeeze(axis)


def whole_losses(block, targets, sample_weight=None, *, axis, out_dtype, reduction, normalizer,
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


def split_losses(parts, labels, sample_weight=None, *, axis, out_dtype, reduction, normalizer,
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
    result = np.zeros((1,) * ndim, PART)
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


def add_parts(parts, axis, keepdims):
    result = np.zeros((1,) * parts.ndim, PART)
    for name in ("loss", "divisor"):
        numbers = np.concatenate([parts[name].ravel(), parts[f"{name}_low"].ravel()])
        result[name], result[f"{name}_low"] = _exact_sum(numbers)
    return result


class Finish:
    """The last step of a reduced loss."""

    def __init__(self, reduction, normalizer, dtype):
        self.options = reduction, normalizer, dtype

    def __call__(self, parts, axis, keepdims):
        reduction, normalizer, dtype = self.options
        total = add_parts(parts, axis, keepdims).ravel()
        if not total.size:
            return np.asarray(0, dtype)
        loss, low = float(total["loss"][0]), float(total["loss_low"][0])
        divisor = float(total["divisor"][0] + total["divisor_low"][0])
        if reduction == "mean":
            loss = _mean(loss, low, divisor if normalizer is None else float(normalizer))
        else:
            loss += low
        return v.cast(np.asarray(loss), dtype)


def _mean(high, low, divisor):
    """Return (high + low) / divisor rounded as mean_of() of csrc/losses.c does it."""
    if not divisor:
        return np.nan
    mean = high / divisor
    if not math.isfinite(mean):
        return mean
    rest = float(Fraction(high) - Fraction(mean) * Fraction(divisor))  # fma(-mean, divisor, high)
    return mean + (rest + low) / divisor
