"""Calls of the public functions with anything that NumPy can make, and what must hold after each.

`calls()` is a strategy of Hypothesis: shapes of 0 to 6 dimensions, zero sizes among them, strides
that are negative, zero or of no use, every dtype and byte order, any axis, target, option and out,
right or wrong. `check(call)` makes the call and asserts what the contract promises:

- It returns, or raises TypeError, ValueError or IndexError with a message that opens with the name
  of an argument; the reference raises the very same.
- Nothing is written but out, and nothing at all where it raises.
- The result has the bits of a plain call: of contiguous, native, aligned copies, the last axis.
- It lies within the bound of the contract where that is a number of ULP of the result; otherwise
  within a few ULP of the terms that the formula adds up.

tests/test_fuzz.py runs it for some seconds; tools/fuzz.py for hours, led by coverage.
"""

import math
import re
from dataclasses import dataclass, field

import numpy as np
from hypothesis import strategies as st

import fastsoftmax
from fastsoftmax import reference, testing

WIDE = np.longdouble
FAMILY = ("softmax", "log_softmax", "logsumexp")
BACKWARD = ("softmax_backward", "log_softmax_backward")
LOSSES = ("cross_entropy", "cross_entropy_with_grad", "nll_loss")
ARGUMENTS = (
    "x|dy|y|logits|log_probs|axis|out|threads|targets|weight|sample_weight|ignore_index|"
    "label_smoothing|z_loss|reduction|normalizer|grad_output"
)
BOUNDS = {op.name: op.ulp for op in reference.OPS}

# Half of all is what the kernels take as it is; the others get there by way of a conversion.
REAL = ["f4", "f8"] * 5 + ["f2", "g", ">f4", ">f8", ">f2", "i1", "u2", ">i4", "u8"]
try:
    import ml_dtypes
except ImportError:  # optional: without it there is no bfloat16
    pass
else:
    REAL.append(ml_dtypes.bfloat16)
NOT_REAL = ["?", "c8", "O", "U3", "M8[s]"]
LABELS = ["i8"] * 4 + ["i1", "i2", "i4", "u1", "u2", "u4", "u8", ">i2", ">u4", ">i8"]


@dataclass
class Call:
    function: str
    arguments: list
    options: dict = field(default_factory=dict)
    memory: list = field(default_factory=list)  # every byte that the arrays are views of


# --- arrays ---


def spread(n, step):
    """How many elements an axis of length n takes up in memory."""
    return n * abs(step) if step else min(n, 1)


@st.composite
def laid_out(draw, values, memory, writable=False):
    """`values` as an array with strides of any kind; its memory is appended to `memory`."""
    values = np.asarray(values)
    ndim = values.ndim
    if draw(st.integers(0, 2)) == 0 or values.dtype.hasobject:
        order, steps, skip = range(ndim), [1] * ndim, 0
    else:
        order = draw(st.permutations(range(ndim)))
        kinds = [1, 1, -1, 2, -2, 3] if writable else [1, 1, -1, 2, -2, 3, 0]
        steps = [draw(st.sampled_from(kinds)) for _ in range(ndim)]
        skip = draw(st.sampled_from([0, 0, 0, 1]))
    if math.prod(map(spread, values.shape, steps)) > 1 << 18:  # 3**6 times the values, and copies
        steps = [(s > 0) - (s < 0) for s in steps]
    lengths = list(map(spread, values.shape, steps))
    block = np.empty([lengths[k] for k in order], values.dtype)
    if skip and not values.dtype.hasobject:
        raw = np.full(block.nbytes + 1, 0x5A, np.uint8)
        block = raw[1:].view(values.dtype).reshape(block.shape)
        memory.append(raw)
    else:
        block.fill(0)
        memory.append(block)
    view = block.transpose(np.argsort(order)) if ndim else block
    view = view[(..., *(slice(None, None, s or 1) for s in steps))]
    view[...] = values[tuple(slice(0, None if s else 1) for s in steps)]
    if 0 in steps:
        view = np.broadcast_to(view, values.shape)
    elif draw(st.integers(0, 3)) == 0 and not writable:
        view = view.view()
        view.flags.writeable = False
    return view


def logits_of(rng, shape, dtype, scale, specials):
    dtype = np.dtype(dtype)
    if dtype.kind in "iu":
        return np.asarray(rng.integers(0, 100, shape), dtype)
    if dtype.kind in "?cOUM":
        return np.asarray(np.ones(shape)).astype("i8" if dtype.kind == "M" else dtype).astype(dtype)
    x = np.asarray(rng.normal(0, 1, shape) * scale)
    for value in specials:
        if x.size:
            x.flat[rng.integers(x.size)] = value
    with np.errstate(all="ignore"):
        return x.astype(dtype)


@st.composite
def shapes(draw):
    ndim = draw(st.sampled_from([0, 1, 1, 2, 2, 2, 3, 3, 4, 5, 6]))
    lengths = [1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 6, 0]
    if ndim <= 2:
        lengths = [1, 2, 3, 7, 16, 17, 40, 1, 2, 3, 5, 0]
    shape = [draw(st.sampled_from(lengths)) for _ in range(ndim)]
    if ndim and draw(st.booleans()):
        longest = max(1, 3000 // max(1, math.prod(shape)))
        shape[draw(st.integers(0, ndim - 1))] = draw(st.integers(0, longest))
    return tuple(shape)


scales = st.sampled_from([0.1, 3.0, 3.0, 30.0, 300.0, 1e4, 1e30])
planted = st.lists(st.sampled_from([np.nan, np.inf, -np.inf, 0.0, -0.0, 88.0]), max_size=3)
seeds = st.integers(0, 2**32 - 1)
thread_counts = st.sampled_from([None] * 12 + [1, 1, 2, 2, 5, 5] + [2**31, 0, True, "2"])


def real_dtypes(draw):
    return draw(st.sampled_from(REAL * 6 + NOT_REAL))


@st.composite
def axes(draw, ndim, several):
    kind = draw(st.integers(0, 19))
    if kind < 6 and ndim:
        return -1
    if several and kind < 10:
        return draw(st.sampled_from([None, tuple(draw(st.permutations(range(ndim)))[: ndim // 2])]))
    if kind < 19:
        return draw(st.integers(-max(ndim, 1), max(ndim, 1) - 1))
    return draw(st.sampled_from([ndim, -ndim - 1, True, 1.0, "0", (0, 0), np.int8(0)]))


@st.composite
def outs(draw, x, shape, dtype, memory, rng):
    """An out that is right, wrong, or somewhere in the memory of `x`; perhaps x moved there too."""
    kind = draw(st.sampled_from(["none"] * 8 + ["apart"] * 6 + ["same"] * 4 + ["overlap"] * 8
                                + ["shape", "dtype", "read-only", "list"]))  # fmt: skip
    if kind == "none":
        return x, None
    filler = np.full(shape, 7, dtype)
    if kind == "same" or kind == "overlap":
        if x.dtype != dtype or x.shape != shape or x.dtype.hasobject:
            return x, None
        if kind == "same":
            values = x.copy()
            x = draw(laid_out(values, memory, writable=True))
            return x, x
        shift = draw(st.integers(0, x.size + 1))
        raw = np.zeros(2 * x.size + 2, dtype)
        memory.append(raw)
        x_flat, out = raw[: x.size], raw[shift : shift + x.size].reshape(shape)
        x_flat[...] = x.ravel()
        if x.ndim and draw(st.booleans()):  # from the other end, or transposed
            out = np.flip(out, draw(st.integers(0, x.ndim - 1)))
        elif x.ndim == 2 and draw(st.booleans()):
            out = raw[shift : shift + x.size].reshape(shape[::-1]).T
        return x_flat.reshape(shape), out
    if kind == "shape":
        filler = np.full((*shape, 2), 7, dtype)
    elif kind == "dtype":
        filler = np.full(shape, 7, "f4" if dtype != np.float32 else "f8")
    elif kind == "list":
        return x, [7.0]
    out = draw(laid_out(filler, memory, writable=True))
    if kind == "read-only":
        out.flags.writeable = False
    return x, out


def result_dtype(dtype):
    if dtype.kind in "iu":
        return np.dtype(np.float64)
    return dtype.newbyteorder("=")


# --- calls ---


@st.composite
def family_calls(draw):
    function, memory = draw(st.sampled_from(FAMILY)), []
    rng = np.random.default_rng(draw(seeds))
    shape, dtype = draw(shapes()), np.dtype(real_dtypes(draw))
    x = draw(laid_out(logits_of(rng, shape, dtype, draw(scales), draw(planted)), memory))
    options = {"axis": draw(axes(len(shape), True)), "threads": draw(thread_counts)}
    out_shape = shape
    if function == "logsumexp":
        options["keepdims"] = draw(st.booleans())
        try:
            chosen = reference.v.many_axes(options["axis"], len(shape))
            out_shape = reference.v.reduced_shape(shape, chosen, options["keepdims"])
        except (TypeError, ValueError, IndexError):
            pass
    x, out = draw(outs(x, out_shape, result_dtype(dtype), memory, rng))
    if out is not None:
        options["out"] = out
    return Call(function, [x], options, memory)


@st.composite
def backward_calls(draw):
    function, memory = draw(st.sampled_from(BACKWARD)), []
    rng = np.random.default_rng(draw(seeds))
    shape, dtype = draw(shapes()), np.dtype(draw(st.sampled_from(REAL)))
    y = np.asarray(rng.normal(0, 3, shape))
    chosen = draw(axes(len(shape), True))
    try:
        y = getattr(reference, function.removesuffix("_backward"))(y, chosen)
    except (TypeError, ValueError, IndexError):
        pass
    y_dtype = np.dtype(draw(st.sampled_from([dtype.str] * 3 * (dtype.kind == "f") + ["f4", "f8"])))
    dy = draw(laid_out(logits_of(rng, shape, dtype, 3.0, draw(planted)), memory))
    y = draw(laid_out(np.asarray(y, y_dtype), memory))
    if draw(st.integers(0, 29)) == 0:
        y = y[..., np.newaxis]
    wider = np.promote_types(result_dtype(dtype), result_dtype(y_dtype))
    dy, out = draw(outs(dy, shape, wider, memory, rng))
    options = {"axis": chosen, "threads": draw(thread_counts)}
    if out is not None:
        options["out"] = out
    return Call(function, [dy, y], options, memory)


def maybe(draw, options, name, strategy, one_in=3):
    if draw(st.integers(0, one_in - 1)) == 0:
        options[name] = draw(strategy)


def eighths(rng, shape):
    """Weights whose sums are exact, so that a divisor that cancels is 0 and nothing near it."""
    return np.asarray(rng.integers(0, 24, shape) / 8)


@st.composite
def targets_for(draw, x_shape, axis, memory, rng):
    samples, classes = list(x_shape), 1
    if x_shape:
        classes = samples.pop(axis)
    wrong = ["bad", "bad", "shape", "bool", "float"]
    kind = draw(st.sampled_from(["labels"] * 16 + ["soft"] * 8 + wrong))
    if kind == "soft":
        t = np.asarray(rng.random(x_shape) * (rng.random(x_shape) < 0.7))
        return draw(laid_out(t.astype(draw(st.sampled_from(["f4", "f8", "f2", ">f8"]))), memory))
    labels = np.asarray(rng.integers(0, max(classes, 1), samples))
    if labels.size and draw(st.booleans()):
        labels[rng.random(labels.shape) < 0.3] = -100
    if labels.size and kind == "bad":
        labels.flat[rng.integers(labels.size)] = draw(
            st.sampled_from([classes, -1, -classes, 127, 2**31, 2**62, -(2**63)])
        )
    if kind == "shape":
        return labels[..., np.newaxis]
    if kind in ("bool", "float"):
        return labels.astype(kind)
    dtype = np.dtype(draw(st.sampled_from(LABELS)))
    with np.errstate(all="ignore"):
        return draw(laid_out(labels.astype(dtype), memory))


@st.composite
def loss_calls(draw):
    function, memory = draw(st.sampled_from(LOSSES)), []
    rng = np.random.default_rng(draw(seeds))
    shape, dtype = draw(shapes()), np.dtype(real_dtypes(draw))
    x = logits_of(rng, shape, dtype, draw(scales), draw(planted))
    axis = draw(axes(len(shape), False))
    try:
        at = reference.v.one_axis(axis, len(shape))
    except (TypeError, ValueError, IndexError):
        at = -1
    x = draw(laid_out(x, memory))
    options = {"axis": axis}
    targets = draw(targets_for(shape, at, memory, rng))
    samples = shape[:at] + shape[at + 1 :] if at >= 0 else shape[:-1]
    classes = shape[at] if shape else 1
    factors = st.sampled_from([samples, samples, samples[-1:], (1,), ()] * 4 + [(*samples, 2)])
    maybe(draw, options, "reduction", st.sampled_from(["none", "sum", "mean"] * 6 + ["avg"]), 2)
    ignored = st.sampled_from([0, 1, -100, 255, -1, 2**40] * 3 + [2**63, 1.0])
    maybe(draw, options, "ignore_index", ignored)
    maybe(draw, options, "threads", thread_counts)
    if draw(st.integers(0, 2)) == 0:
        length = draw(st.sampled_from([classes] * 20 + [classes + 1]))
        dtype_w = draw(st.sampled_from(["f8", "f4", ">f8", "f2"]))
        options["weight"] = draw(laid_out(eighths(rng, length).astype(dtype_w), memory))
    if draw(st.integers(0, 2)) == 0:
        options["sample_weight"] = draw(laid_out(eighths(rng, draw(factors)), memory))
    if options.get("reduction", "mean") == "mean" or draw(st.integers(0, 19)) == 0:
        divisors = st.sampled_from([1.0, 7, 0.5, 0.0] * 4 + [np.nan, "2"])
        maybe(draw, options, "normalizer", divisors, 4)
    if function != "nll_loss":
        smoothings = st.sampled_from([0.0, 0.1, 0.5, 1.0] * 5 + [1.5, -0.1])
        maybe(draw, options, "label_smoothing", smoothings)
        maybe(draw, options, "z_loss", st.sampled_from([0.0, 1e-3, 1.0] * 6 + [np.inf, None]))
    if function == "cross_entropy_with_grad":
        if draw(st.integers(0, 2)) == 0:
            options["grad_output"] = draw(laid_out(eighths(rng, draw(factors)), memory))
        x, out = draw(outs(x, shape, result_dtype(dtype), memory, rng))
        if out is not None:
            options["out"] = out
    return Call(function, [x, targets], options, memory)


def calls():
    return st.one_of(family_calls(), backward_calls(), loss_calls())


# --- what must hold ---


def copied(value):
    """An argument apart from all others: contiguous, native, aligned."""
    if not isinstance(value, np.ndarray):
        return value
    if value.dtype.hasobject:
        return value.copy()
    return np.array(value, value.dtype.newbyteorder("="), order="C")


def attempt(module, call, arguments, options):
    try:
        return getattr(module, call.function)(*arguments, **options), None
    except (TypeError, ValueError, IndexError) as error:
        return None, error.with_traceback(None)  # frames that hold it would wait for gc, by the GB


def check(call):
    out = call.options.get("out")
    plain = [copied(a) for a in call.arguments]
    options = {k: copied(v) for k, v in call.options.items() if k != "out"}
    before = [m.tobytes() for m in call.memory]
    result, error = attempt(fastsoftmax, call, call.arguments, call.options)
    if error is not None:
        assert [m.tobytes() for m in call.memory] == before, "written, then raised"
        assert re.match(rf"({ARGUMENTS})(:|\[)", str(error)), f"names no argument: {error}"
    else:
        check_what_was_written(call, before, out, result)
    if "out" not in call.options or error is None:
        expected, reference_error = attempt(reference, call, plain, options)
        assert type(error) is type(reference_error), f"{error!r}, the reference {reference_error!r}"
        assert error is None or str(error) == str(reference_error)
        if error is None:
            check_result(call, result, expected, plain, options)


def check_what_was_written(call, before, out, result):
    returned = result[1] if isinstance(result, tuple) else result
    assert out is None or returned is out
    for memory, old in zip(call.memory, before, strict=True):
        if out is None or not np.shares_memory(memory, out):
            assert memory.tobytes() == old, "wrote to an input"
            continue
        # what lies between the elements of out is not written either
        now = np.frombuffer(memory.tobytes(), np.uint8)
        touched = np.zeros(memory.nbytes, bool)
        touched[bytes_of(out, memory)] = True
        assert np.array_equal(now[~touched], np.frombuffer(old, np.uint8)[~touched]), "beside out"


def bytes_of(view, memory):
    """The positions in `memory` of all bytes of `view`."""
    start = view.__array_interface__["data"][0] - memory.__array_interface__["data"][0]
    at = np.full((1,) * view.ndim, start)
    for k, (n, stride) in enumerate(zip(view.shape, view.strides, strict=True)):
        at = at + (np.arange(n) * stride).reshape([-1 if i == k else 1 for i in range(view.ndim)])
    return (at[..., np.newaxis] + np.arange(view.itemsize)).ravel()


def check_result(call, result, expected, plain, options):
    parts = result if isinstance(result, tuple) else (result,)
    wanted = expected if isinstance(expected, tuple) else (expected,)
    for part, want in zip(parts, wanted, strict=True):
        assert np.shape(part) == np.shape(want)
        assert np.asarray(part).dtype == np.asarray(want).dtype
    again = attempt(fastsoftmax, call, *along_last_axis(call, plain, options))[0]
    again = again if isinstance(again, tuple) else (again,)
    if call.function == "softmax" and np.ndim(plain[0]) == 0 and np.isfinite(parts[0]):
        again = (np.ones_like(parts[0]),)  # as promised, where a kernel may be an ULP off
    for part, other in zip(parts, again, strict=True):
        assert_same_values(np.asarray(part), np.asarray(back(call, part, other, plain, options)))
    x = plain[0]
    if np.asarray(parts[0]).dtype in (np.float32, np.float64):
        check_values(call, parts, x, plain, options)


def assert_same_values(a, b):
    """The same bits, but for those of NaN, which no one promises."""
    a, b = np.ascontiguousarray(a), np.ascontiguousarray(b)
    assert a.dtype == b.dtype and a.shape == b.shape
    a, b = a.ravel().astype(WIDE), b.ravel().astype(WIDE)
    same = ((a == b) & (np.signbit(a) == np.signbit(b))) | (np.isnan(a) & np.isnan(b))
    assert same.all(), f"{a[~same][:3]} here, {b[~same][:3]} from a plain call"


def class_axes(call, x, options):
    if call.function in LOSSES:
        return (options["axis"] % x.ndim,)
    return reference.v.many_axes(options["axis"], x.ndim)


def rows_of(a, axes):
    """The axes of the classes last, and one."""
    moved = reference.v.axes_last(a, axes)
    kept = moved.shape[: a.ndim - len(axes)]
    return np.ascontiguousarray(moved.reshape(*kept, math.prod(a.shape[k] for k in axes)))


def along_last_axis(call, plain, options):
    x = plain[0]
    axes = class_axes(call, x, options)
    options = {k: v for k, v in options.items() if k not in ("axis", "keepdims", "threads")}
    return [rows_of(a, axes) if a.shape == x.shape else a for a in plain], options


def back(call, part, other, plain, options):
    """The result of the plain call in the shape of `part`."""
    x = plain[0]
    if np.shape(part) != x.shape or np.shape(other) == np.shape(part) and x.ndim < 1:
        return np.reshape(other, np.shape(part))
    if call.function == "logsumexp" or np.shape(other)[-1:] == () and x.ndim:
        return np.reshape(other, np.shape(part))
    axes = class_axes(call, x, options)
    order = [k for k in range(x.ndim) if k not in axes] + list(axes)
    shape = [x.shape[k] for k in order]
    return np.reshape(other, shape).transpose(np.argsort(order))


# --- values ---


def check_values(call, parts, x, plain, options):
    if x.dtype.kind in "iu":  # computed as float64, not all of uint64 exactly
        x = x.astype(np.float64)
    if np.finfo(WIDE).nmant <= 52:
        return  # no higher precision that is quick
    if call.function in FAMILY:
        truth = getattr(testing, call.function)(x, options["axis"])
        truth, size = np.reshape(truth, np.shape(parts[0])), 0
        if call.function == "logsumexp":
            axes = class_axes(call, x, options)
            size = np.max(np.abs(x), axis=axes, initial=0).reshape(np.shape(parts[0]))
        within(parts[0], truth, size, BOUNDS[call.function][np.asarray(parts[0]).dtype.name])
    elif call.function in BACKWARD:
        check_backward(call, parts[0], x, plain[1], options)
    else:
        check_loss(call, parts, x, plain[1], options)


def check_backward(call, dx, dy, y, options):
    axes = class_axes(call, dy, options)
    dy, y = (a.astype(np.asarray(dx).dtype).astype(WIDE) for a in (dy, y))
    truth = getattr(reference, call.function)(dy, y, axes)
    with np.errstate(all="ignore"):
        if call.function == "softmax_backward":
            size = np.abs(y) * (np.abs(dy) + np.sum(np.abs(dy * y), axis=axes, keepdims=True))
        else:
            size = np.abs(dy) + np.exp(y) * np.sum(np.abs(dy), axis=axes, keepdims=True)
    within(dx, truth, size, 8)


def within(result, truth, size, bound):
    """At most `bound` ULP of the larger of the truth and `size`."""
    result, truth = np.asarray(result), np.asarray(truth, WIDE)
    with np.errstate(all="ignore"):
        magnitude = np.maximum(np.abs(truth), np.asarray(size, WIDE))
        limit = WIDE(np.finfo(result.dtype).max)
        step = testing._spacing(np.minimum(magnitude, limit).astype(result.dtype)).astype(WIDE)
        rounded = truth.astype(result.dtype)
        same = (result == rounded) | (np.isnan(result) & np.isnan(rounded)) | np.isinf(magnitude)
        near = np.abs(result.astype(WIDE) - truth) <= bound * step
        # a step below the largest number a result may be inf or not
        edge = magnitude > limit / 2
    wrong = ~(same | near | edge)
    assert not wrong.any(), f"{result[wrong][:3]}, the truth {truth[wrong][:3]}"


def check_loss(call, parts, x, targets, options):
    """Against the reference in longdouble, in ULP of the terms; see reference.loss_and_grad."""
    wide = {k: v.astype(WIDE) if k in ("weight", "sample_weight", "grad_output") else v
            for k, v in options.items()}  # fmt: skip
    t = targets if targets.dtype.kind in "iu" else targets.astype(x.dtype).astype(WIDE)
    truth = getattr(reference, call.function)(x.astype(WIDE), t, **wide)
    truth = truth if isinstance(truth, tuple) else (truth,)
    size = sizes(call, x, t, wide, len(parts))
    for part, exact, terms in zip(parts, truth, size, strict=True):
        within(part, exact, terms, 8)


def sizes(call, x, t, options, parts):
    """The sums of the absolute terms of the loss and of the gradient: no logit cancels another."""
    if x.size == 0:
        return (0,) * parts
    axis = options["axis"]
    classes = x.shape[axis]
    plain = {k: options[k] for k in ("ignore_index", "normalizer") if k in options}
    reduction = options.get("reduction", "mean")
    samples = x.shape[: axis % x.ndim] + x.shape[axis % x.ndim + 1 :]
    s = np.broadcast_to(options.get("sample_weight", WIDE(1)), samples)
    largest = np.max(np.abs(options.get("weight", np.ones(classes))), initial=0)
    moved = np.moveaxis(x.astype(WIDE), axis, -1)
    with np.errstate(all="ignore"):
        finite = np.where(np.isfinite(moved), moved, 0)
        spread = np.max(np.abs(finite), axis=-1) + np.log(WIDE(classes))
        q = 1 if t.dtype.kind in "iu" else np.sum(np.abs(np.moveaxis(t, axis, -1)), -1) + 1
        z = options.get("z_loss", 0.0)
        loss = s * (largest * q * 2 * spread + z * spread**2)
        step = s * (largest * q * 2 + 2 * z * spread)
        divisor = 1
        if reduction == "mean":
            divisor = plain.get("normalizer")
            if divisor is None:
                divisor = mean_divisor(t, s, options, samples)
        loss = loss if reduction == "none" else np.sum(loss) / abs(divisor)
        step = step / abs(divisor) * np.broadcast_to(
            np.abs(options.get("grad_output", WIDE(1))), samples)  # fmt: skip
    return (loss, np.broadcast_to(np.expand_dims(step, axis), x.shape))[:parts]


def mean_divisor(t, s, options, samples):
    if t.dtype.kind == "f":
        return WIDE(math.prod(samples))
    counted = np.asarray(t != options.get("ignore_index", -100))
    weight = options.get("weight")
    w = 1 if weight is None else weight[np.where(counted, t, 0).astype(np.intp)]
    return np.sum(np.where(counted, s * w, 0))
