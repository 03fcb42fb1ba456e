"""Arguments in, one normal form out: the only place that knows what callers may pass.

The kernels and the reference take float32, float64 or longdouble arrays that are native and
aligned, with any strides. Everything else is turned into that form here, or refused with an
error that names the argument, what came and what was expected. Nothing in this file writes to
an array of the caller except `store`, which runs last.
"""

import math
import operator

import numpy as np

FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)
# Keyed by character: longdouble and float64 are different types, yet equal on some systems.
_FLOATS = {"f": FLOAT32, "d": FLOAT64, "g": np.dtype(np.longdouble)}
REDUCTIONS = ("none", "mean", "sum")
_SLAB = 1 << 21  # elements that NumPy copies at a time: in between Ctrl-C is answered

_INSTEAD = {
    "b": "convert it to numbers first, for instance with .astype(np.float32)",
    "c": "pass its real part or its magnitude; these functions are defined for real numbers",
    "O": "convert it first, for instance with np.asarray(..., dtype=np.float64)",
    "U": "convert the strings first, for instance with .astype(np.float64)",
    "S": "convert the strings first, for instance with .astype(np.float64)",
}


def ndarray(x, name):
    """`x` as a plain `np.ndarray`, of whatever dtype, without touching a device or a graph."""
    if type(x) is np.ndarray:
        return x
    if isinstance(x, np.ma.MaskedArray):
        raise TypeError(
            f"{name}: masked arrays are not supported; fill the masked entries first "
            "(logits with x.filled(-np.inf), labels with the value of ignore_index)"
        )
    _refuse_lazy_or_device(x, name)
    try:
        return np.asarray(x)
    except (TypeError, ValueError, RuntimeError) as error:
        raise TypeError(
            f"{name}: expected an array of real numbers, got {type(x).__name__}, "
            f"which NumPy cannot read ({error})"
        ) from error


def _refuse_lazy_or_device(x, name):
    kind = f"{type(x).__module__}.{type(x).__qualname__}"
    graph = getattr(x, "__dask_graph__", None)
    if graph is not None and graph() is not None:
        raise TypeError(f"{name}: got the lazy array {kind}; call .compute() on it first")
    try:
        device = x.__dlpack_device__()[0]
    except (AttributeError, TypeError, ValueError, RuntimeError, BufferError):
        # No such protocol, or a tensor that refuses it; if it is no array, NumPy will say so.
        device = 1
    on_host = device in (1, 3)  # DLPack's kDLCPU and kDLCUDAHost (pinned host memory)
    if not on_host or (device == 1 and hasattr(x, "__cuda_array_interface__")):
        raise TypeError(
            f"{name}: got {kind} in the memory of a device; copy it to the host first "
            "(.cpu() in PyTorch, .get() in CuPy, jax.device_get in JAX)"
        )


def _is_half(dtype):
    # bfloat16 comes from ml_dtypes, which is never imported here: whoever passes one has it.
    return dtype.char == "e" or (
        dtype.name == "bfloat16" and dtype.type.__module__.startswith("ml_dtypes")
    )


def real_array(x, name):
    """Return the array to compute with and the dtype of a result of it."""
    a = ndarray(x, name)
    dtype = a.dtype
    if dtype.char in _FLOATS:
        compute = result = _FLOATS[dtype.char]
    elif dtype.kind in "iu":
        compute = result = FLOAT64
    elif _is_half(dtype):
        compute, result = FLOAT32, np.dtype(dtype.type)
    else:
        instead = _INSTEAD.get(dtype.kind, "convert it to float32 or float64 first")
        raise TypeError(f"{name}: expected real numbers, got dtype {dtype}; {instead}")
    if dtype != compute or not a.flags.aligned:
        a = cast(a, compute)
    return a, result


def same_reals(arrays, names):
    """Return arrays of one shape in one computing dtype, and the dtype of a result of them."""
    arrays, dtypes = zip(*map(real_array, arrays, names), strict=True)
    for a, name in zip(arrays[1:], names[1:], strict=True):
        if a.shape != arrays[0].shape:
            raise ValueError(f"{name}: expected shape {arrays[0].shape}, got {a.shape}")
    result, compute = dtypes[0], arrays[0].dtype
    for a, dtype in zip(arrays[1:], dtypes[1:], strict=True):
        result, compute = np.promote_types(result, dtype), np.promote_types(compute, a.dtype)
    return [a if a.dtype == compute else cast(a, compute) for a in arrays], result


def cast(a, dtype):
    """A copy in another dtype, without warnings for what becomes inf or NaN."""
    if a.size > _SLAB:
        copy = np.empty_like(a, dtype)
        store(copy, a)
        return copy
    with np.errstate(all="ignore"):
        return a.astype(dtype)


def store(destination, values):
    """Write results, rounding them once if the destination is narrower."""
    with np.errstate(all="ignore"):
        if destination.size <= _SLAB:
            np.copyto(destination, values, casting="unsafe")
            return
        order = sorted(range(destination.ndim), key=lambda k: -abs(destination.strides[k]))
        values = np.broadcast_to(values, destination.shape).transpose(order)
        destination = destination.transpose(order)
        for slab in slabs(destination.shape, _SLAB):
            np.copyto(destination[slab], values[slab], casting="unsafe")


def integer(value, name):
    """An int from anything that is an integer; bool is a flag, not a number."""
    if isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected an integer, got {value!r}")
    try:
        return operator.index(value)
    except TypeError:
        message = f"{name}: expected an integer, got {type(value).__name__}"
        raise TypeError(message) from None


def count(value, name):
    """A number of threads: at least 1, and small enough for the kernels' int."""
    n = integer(value, name)
    if not 1 <= n < 2**31:
        raise ValueError(f"{name}: expected at least 1 thread, got {n}")
    return n


def thread_count(threads):
    return 0 if threads is None else count(threads, "threads")


def number(value, name):
    """A finite float from a real scalar."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value[()]
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{name}: expected a real number, got {type(value).__name__}")
    try:
        result = float(value)
    except OverflowError:
        raise ValueError(f"{name}: expected a number within float64's range") from None
    if not math.isfinite(result):
        raise ValueError(f"{name}: expected a finite number, got {value}")
    return result


def one_axis(axis, ndim, name="axis"):
    """`axis` counted from the front."""
    k = integer(axis, name)
    if not -ndim <= k < ndim:
        raise np.exceptions.AxisError(f"{name}: {k} is out of bounds for {ndim} dimension(s)")
    return k % ndim


def many_axes(axis, ndim):
    """`axis` (int, tuple or None) as a sorted tuple counted from the front."""
    if axis is None:
        return tuple(range(ndim))
    if ndim == 0 and not isinstance(axis, tuple):
        one_axis(axis, 1)  # the only row of a 0-d array has the axes 0 and -1
        return ()
    axes = axis if isinstance(axis, tuple) else (axis,)
    axes = sorted(one_axis(k, ndim) for k in axes)
    if len(set(axes)) != len(axes):
        raise ValueError(f"axis: {axis} names an axis more than once")
    return tuple(axes)


def reduced_shape(shape, axes, keepdims):
    """The shape left when `axes` are summed over."""
    if keepdims:
        return tuple(1 if k in axes else n for k, n in enumerate(shape))
    return tuple(n for k, n in enumerate(shape) if k not in axes)


def rows(a, axes):
    """View `a` with `axes` as one axis (copied only if strides forbid); return it and its axis."""
    if len(axes) == 1:
        return a, axes[0]
    if not axes:  # every element is a row of its own; an array may have no dimension to spare
        return a.reshape(-1, 1), 1
    moved = axes_last(a, axes)
    kept = a.ndim - len(axes)
    shape = moved.shape[:kept] + (math.prod(moved.shape[kept:]),)
    if a.size > _SLAB and not _are_one(moved.shape[kept:], moved.strides[kept:]):
        copy = np.empty(moved.shape, a.dtype)
        store(copy, moved)
        moved = copy
    return moved.reshape(shape), kept


def _are_one(shape, strides):
    """Whether these axes can be merged without a copy."""
    axes = [(n, stride) for n, stride in zip(shape, strides, strict=True) if n > 1]
    return all(a[1] == b[0] * b[1] for a, b in zip(axes, axes[1:], strict=False))


def axes_last(a, axes):
    return a.transpose([k for k in range(a.ndim) if k not in axes] + list(axes))


def slabs(samples, limit):
    """Indices that together cover an array of this shape, each at most `limit` elements."""
    if not samples:
        yield ()
        return
    inner = math.prod(samples[1:])
    if inner <= limit:
        step = limit // max(inner, 1)
        yield from ((slice(k, k + step),) for k in range(0, samples[0], step))
    else:
        for k in range(samples[0]):
            yield from ((k, *rest) for rest in slabs(samples[1:], limit))


def check_out(out, shape, dtype):
    """Raise unless results of this shape and dtype can be written to `out`."""
    if not isinstance(out, np.ndarray) or isinstance(out, np.ma.MaskedArray):
        raise TypeError(f"out: expected a NumPy array, got {type(out).__name__}")
    if out.dtype != dtype or out.dtype.char != dtype.char:
        raise TypeError(f"out: expected dtype {dtype}, got {out.dtype}")
    if out.shape != shape:
        raise ValueError(f"out: expected shape {shape}, got {out.shape}")
    if not out.flags.writeable:
        raise ValueError("out: expected a writable array, got a read-only one")
    strided = zip(out.strides, out.shape, strict=True)
    if out.size and any(stride == 0 and n > 1 for stride, n in strided):
        raise ValueError("out: its elements share memory (an axis has stride 0)")


def workspace(result, compute, in_place=(), apart=(), memory=np):
    """The array to compute into: `result` itself, or a scratch where that would be wrong.

    The inputs `in_place` may lie exactly where the result goes; any other overlap, with them or
    with the arrays `apart`, needs the scratch, as do half precision and misalignment. With an array
    made for the result no input can overlap, and none need be given. `memory` has NumPy's `empty`
    and `empty_like`, or those of a core.
    """
    if (
        result.dtype.char == compute.char
        and result.flags.aligned
        and all(not _overlap(result, a) or _identical(result, a) for a in in_place)
        and not any(_overlap(result, a) for a in apart)
    ):
        return result if type(result) is np.ndarray else result.view(np.ndarray)
    return memory.empty(result.shape, compute)


def _identical(a, b):
    # Asked of arrays that overlap alone: NumPy crashes in __array_interface__ without memory.
    return a is b or (
        a.shape == b.shape
        and a.strides == b.strides
        and a.__array_interface__["data"][0] == b.__array_interface__["data"][0]
    )


def _overlap(a, b):
    # A little work to tell interleaved views apart; where that is not enough, say yes.
    try:
        return np.may_share_memory(a, b, max_work=1000)
    except RuntimeError:  # NumPy had no memory to find out
        return True


class LossCall:
    """The checked arguments of one loss, in the form that the engines take.

    An engine is `_core.cross_entropy` or one of `reference`'s with the same signature; `memory` as
    in `workspace`.
    """

    def __init__(self, logits, targets, axis, weight, sample_weight, ignore_index,
                 label_smoothing, z_loss, reduction, normalizer, threads,
                 *, name="logits", gradient=False, grad_output=None, out=None,
                 memory=np):  # fmt: skip
        self.x, self.dtype = real_array(logits, name)
        self.axis = _class_axis(self.x, axis, name)
        samples = self.x.shape[: self.axis] + self.x.shape[self.axis + 1 :]
        if not (isinstance(reduction, str) and reduction in REDUCTIONS):
            raise ValueError(f"reduction: expected one of {REDUCTIONS}, got {reduction!r}")
        smoothing = number(label_smoothing, "label_smoothing")
        if not 0 <= smoothing <= 1:
            raise ValueError(f"label_smoothing: expected 0 to 1, got {smoothing}")
        if normalizer is not None and reduction != "mean":
            raise ValueError(f"normalizer: divides a mean; reduction is {reduction!r}")
        self.targets = _targets(targets, self.x, samples, name)
        self.options = {
            "reduction": reduction,
            "ignore_index": _ignore_index(ignore_index),
            "weight": self._weight(weight),
            "sample_weight": self._factors(sample_weight, samples, "sample_weight"),
            "label_smoothing": smoothing,
            "z_loss": number(z_loss, "z_loss"),
            "normalizer": None if normalizer is None else number(normalizer, "normalizer"),
            "grad_output": self._factors(grad_output, samples, "grad_output", scalar=True),
            "threads": thread_count(threads),
        }
        self.result = self.grad = None
        if gradient:
            self._place_gradient(out, memory)
        self.loss = memory.empty(samples, self.x.dtype) if reduction == "none" else None

    def _weight(self, weight):
        if weight is None:
            return None
        classes = self.x.shape[self.axis]
        w = self._wide(weight, "weight")
        if w.shape != (classes,):
            raise ValueError(f"weight: expected shape ({classes},), got {w.shape}")
        return np.ascontiguousarray(w)

    def _factors(self, value, samples, name, scalar=False):
        if value is None:
            return None
        w = self._wide(value, name)
        if scalar and w.ndim == 0:
            return float(w)
        try:
            return np.broadcast_to(w, samples)
        except ValueError:
            message = f"{name}: shape {w.shape} does not broadcast to the samples' {samples}"
            raise ValueError(message) from None

    def _wide(self, value, name):
        # Factors are float64 whatever the logits are; longdouble stays longdouble.
        a, _ = real_array(value, name)
        wide = self.x.dtype if self.x.dtype.char == "g" else FLOAT64
        return a if a.dtype.char == wide.char else cast(a, wide)

    def _place_gradient(self, out, memory):
        in_place, apart = [], []
        if out is None:
            out = memory.empty_like(self.x, self.dtype)
        else:
            check_out(out, self.x.shape, self.dtype)
            factors = [v for v in self.options.values() if isinstance(v, np.ndarray)]
            in_place, apart = [self.x], [self.targets, *factors]
        self.result = out
        self.grad = workspace(out, self.x.dtype, in_place, apart, memory)

    def run(self, engine):
        """Return the loss, or the loss and its gradient."""
        value = engine(
            self.x, self.axis, self.targets, loss=self.loss, grad=self.grad, **self.options
        )
        value = self.loss if self.loss is not None else np.asarray(value)
        loss = (value if value.dtype == self.dtype else cast(value, self.dtype))[()]
        if self.result is None:
            return loss
        if not np.may_share_memory(self.grad, self.result):
            store(self.result, self.grad)
        return loss, self.result


def _class_axis(x, axis, name):
    if x.ndim == 0:
        raise ValueError(f"{name}: expected at least one dimension, the classes; got a 0-d array")
    axis = one_axis(axis, x.ndim)
    if x.shape[axis] == 0:
        raise ValueError(f"{name}: expected at least one class, got shape {x.shape}, axis {axis}")
    return axis


def _ignore_index(value):
    index = integer(value, "ignore_index")
    if not -(2**63) <= index < 2**63:
        raise ValueError(f"ignore_index: expected a 64-bit integer, got {index}")
    return index


def _targets(targets, x, samples, name):
    """Labels (native, aligned integers) or probabilities in the dtype of the logits."""
    t = ndarray(targets, "targets")
    if t.size == 0 and not isinstance(targets, np.ndarray):
        t = t.astype(np.intp)  # an empty list has no dtype of its own
    if t.dtype.kind in "iu":
        _check_label_shape(t, x, samples, name)
        native = t.dtype.newbyteorder("=")
        return t if t.dtype == native and t.flags.aligned else cast(t, native)
    if t.dtype.kind == "b":
        raise TypeError(
            "targets: expected class indices or probabilities, got dtype bool; "
            "use .astype(np.intp) for labels, .astype(np.float32) for one-hot rows"
        )
    t, _ = real_array(t, "targets")
    if t.shape == x.shape:
        return t if t.dtype.char == x.dtype.char else cast(t, x.dtype)
    if t.shape == samples:
        raise TypeError(
            f"targets: labels must be integers, got dtype {t.dtype}; use .astype(np.intp)"
        )
    raise ValueError(
        f"targets: expected probabilities of the shape of {name}, {x.shape}, got {t.shape}"
    )


def _check_label_shape(t, x, samples, name):
    if t.shape == samples:
        return
    hint = ""
    if t.shape == samples + (1,):
        hint = "; drop the last axis with targets[..., 0]"
    elif t.shape == x.shape:
        hint = "; for probabilities or one-hot rows pass a floating dtype"
    raise ValueError(
        f"targets: expected labels of shape {samples} ({name} without its class axis), "
        f"got {t.shape}{hint}"
    )
