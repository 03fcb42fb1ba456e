"""What races: ours and the peers, those of `python -m fastsoftmax --peers` and some more.

A library is a function of (dtype, threads) that returns {mode: {operation: prepare}}, with two
modes: "fresh", a new result each call, and "out", a result written into an existing array.
prepare(x, targets, axis, y) converts what it has to outside the clock and returns a call without
arguments; y is the array to write into, of the result's shape, and belongs to all who race.
"""

import functools
import importlib
import importlib.util

import numpy as np

import fastsoftmax
from fastsoftmax import _bench_peers, _textbook

OPERATIONS = _bench_peers.OPERATIONS
UNARY = OPERATIONS[:3]
# cross_entropy returns one number: there is nothing to write into.
MODES = {operation: ("fresh",) if operation == "cross_entropy" else ("fresh", "out")
         for operation in OPERATIONS}
# No library writes a loss's gradient into an array of the caller: there all race as they are.
OURS_ALONE_HAS_OUT = ("cross_entropy_with_grad",)


def ours(dtype, threads):
    def fresh(operation):
        def prepare(x, t, axis, y):
            arguments = (x,) if operation in UNARY else (x, t)
            return functools.partial(getattr(fastsoftmax, operation), *arguments, **along(axis))
        return prepare

    def out(operation):
        def prepare(x, t, axis, y):
            return functools.partial(getattr(fastsoftmax, operation), x, out=y, **along(axis))
        return prepare

    def in_place(x, t, axis, y):
        """The gradient takes the place of the logits: from the second call on, of other logits."""
        np.copyto(y, x)
        return functools.partial(fastsoftmax.cross_entropy_with_grad, y, t, out=y, **along(axis))

    fastsoftmax.set_num_threads(threads)
    return {"fresh": {operation: fresh(operation) for operation in OPERATIONS},
            "out": {**{operation: out(operation) for operation in UNARY},
                    "cross_entropy_with_grad": in_place}}


def along(axis):
    """Left out where it is the default, as anybody would."""
    return {} if axis == -1 else {"axis": axis}


def numpy(dtype, threads):
    """The textbook's code; with out=, its temporaries live in y as far as they can."""
    def fresh(operation):
        def prepare(x, t, axis, y):
            if operation in UNARY:
                return functools.partial(getattr(_textbook, operation), x, axis)
            function = getattr(_textbook if x.ndim == 2 else AnyAxis, operation)
            return functools.partial(function, x, t, **({} if x.ndim == 2 else {"axis": axis}))
        return prepare

    def softmax(x, t, axis, y):
        def call():
            np.subtract(x, x.max(axis=axis, keepdims=True), out=y)
            np.exp(y, out=y)
            return np.divide(y, y.sum(axis=axis, keepdims=True), out=y)
        return call

    def log_softmax(x, t, axis, y):
        def call():
            np.subtract(x, x.max(axis=axis, keepdims=True), out=y)
            return np.subtract(y, np.log(np.exp(y).sum(axis=axis, keepdims=True)), out=y)
        return call

    return {"fresh": {operation: fresh(operation) for operation in OPERATIONS},
            "out": {"softmax": softmax, "log_softmax": log_softmax}}


class AnyAxis:
    """The textbook's losses for a class axis that is not the last of two."""

    @staticmethod
    def cross_entropy(x, t, axis):
        log_p = _textbook.log_softmax(x, axis)
        return -np.take_along_axis(log_p, np.expand_dims(t, axis), axis).mean()

    @staticmethod
    def cross_entropy_with_grad(x, t, axis):
        at = np.expand_dims(t, axis)
        m = x.max(axis=axis, keepdims=True)
        e = np.exp(x - m)
        total = e.sum(axis=axis, keepdims=True)
        loss = (np.log(total) + m - np.take_along_axis(x, at, axis)).mean()
        grad = e / total
        np.put_along_axis(grad, at, np.take_along_axis(grad, at, axis) - 1, axis)
        grad /= t.size
        return loss, grad


def adapted(calls):
    """The calls of _bench_peers, which know of no array to write into."""
    return {operation: lambda x, t, axis, y, prepare=prepare: prepare(x, t, axis)
            for operation, prepare in calls.items()}


def scipy(dtype, threads):
    return {"fresh": adapted(_bench_peers.scipy(dtype, "mean")), "out": {}}


def torch(dtype, threads):
    import torch

    def out(function):
        return lambda x, t, axis, y: functools.partial(
            function, torch.from_numpy(x), axis, out=torch.from_numpy(y))

    torch.set_num_threads(threads)
    return {"fresh": adapted(_bench_peers.torch(dtype, "mean")),
            "out": {operation: out(getattr(torch, operation)) for operation in UNARY}}


def onednn(dtype, threads):
    """By way of torch, in oneDNN's own tensors: it has softmax, in float32."""
    import torch

    def softmax(x, t, axis, y):
        return functools.partial(torch.softmax, torch.from_numpy(x).to_mkldnn(), axis % x.ndim)

    torch.set_num_threads(threads)
    if np.dtype(dtype) != np.float32 or not torch.backends.mkldnn.is_available():
        return {"fresh": {}, "out": {}}
    return {"fresh": {"softmax": softmax}, "out": {}}


def onnxruntime(dtype, threads):
    fresh = _bench_peers.onnxruntime(dtype, "mean", threads, fresh=True)
    bound = _bench_peers.onnxruntime(dtype, "mean", threads)
    return {"fresh": adapted(fresh), "out": adapted({name: bound[name] for name in UNARY})}


def jax(dtype, threads):
    """Its pool has a thread for each processor that the process may use: see peers.py."""
    return {"fresh": adapted(_bench_peers.jax(dtype, "mean")), "out": {}}


def tensorflow(dtype, threads):
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(threads)

    def loss(x, t, axis):
        last = x if axis == -1 else tf.experimental.numpy.moveaxis(x, axis, -1)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=t, logits=last)
        return tf.reduce_mean(losses)

    def with_grad(x, t, axis):
        with tf.GradientTape() as tape:
            tape.watch(x)
            value = loss(x, t, axis)
        return value, tape.gradient(value, x)

    def unary(function):
        return lambda x, t, axis, y: functools.partial(
            tf.function(functools.partial(function, axis=axis)), tf.constant(x))

    def binary(function):
        return lambda x, t, axis, y: functools.partial(
            tf.function(functools.partial(function, axis=axis)), tf.constant(x), tf.constant(t))

    return {"fresh": {"softmax": unary(tf.nn.softmax), "log_softmax": unary(tf.nn.log_softmax),
                      "logsumexp": unary(tf.reduce_logsumexp), "cross_entropy": binary(loss),
                      "cross_entropy_with_grad": binary(with_grad)}, "out": {}}


def numba(dtype, threads):
    import numba as nb
    import numba_rows

    def fresh(operation):
        def prepare(x, t, axis, y):
            need_rows(x)
            return functools.partial(getattr(numba_rows, operation), x,
                                     *(() if operation in UNARY else (t,)))
        return prepare

    def out(operation):
        def prepare(x, t, axis, y):
            need_rows(x)
            return functools.partial(getattr(numba_rows, f"{operation}_into"), x, y)
        return prepare

    def need_rows(x):
        if x.ndim != 2:
            raise NotImplementedError("written for rows")

    nb.set_num_threads(threads)
    return {"fresh": {operation: fresh(operation) for operation in OPERATIONS},
            "out": {operation: out(operation) for operation in UNARY}}


PEERS = {peer.__name__: peer
         for peer in (numpy, scipy, torch, onednn, onnxruntime, jax, tensorflow, numba)}
MODULES = {"onednn": "torch"}


def is_installed(name):
    return importlib.util.find_spec(MODULES.get(name, name)) is not None


def version(name):
    return getattr(importlib.import_module(MODULES.get(name, name)), "__version__", "?")


def arrays(result):
    """What a call returned, as a tuple of NumPy arrays; oneDNN's own tensors too."""
    parts = result if isinstance(result, tuple) else (result,)
    parts = tuple(p.to_dense() if getattr(p, "is_mkldnn", False) else p for p in parts)
    return _bench_peers.as_arrays(parts)
