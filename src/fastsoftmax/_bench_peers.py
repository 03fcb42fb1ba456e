"""The libraries that `python -m fastsoftmax --peers` puts beside us, where they are installed.

Each peer is a function that takes (dtype, reduction) and returns {operation: prepare}, where
prepare(logits, targets, axis=-1) converts what it has to outside the clock and returns a call
without arguments; that call computes what ours does (the loss reduced by "mean" or "none") and
returns NumPy arrays or something that np.asarray takes. Losses take the class axis where the
library has it: axis 1, which is the last of two. Every library keeps the number of threads it
chooses by itself.
"""

import functools
import importlib
import importlib.util

import numpy as np

OPERATIONS = ("softmax", "log_softmax", "logsumexp", "cross_entropy", "cross_entropy_with_grad")


def scipy(dtype, reduction):
    special = importlib.import_module("scipy.special")

    def prepare(name):
        function = getattr(special, name)
        return lambda x, t, axis=-1: functools.partial(function, x, axis=axis)

    return {name: prepare(name) for name in OPERATIONS[:3]}


def torch(dtype, reduction):
    torch = importlib.import_module("torch")
    functional = torch.nn.functional

    def unary(function):
        return lambda x, t, axis=-1: functools.partial(function, torch.from_numpy(x), axis)

    def cross_entropy(x, t, axis=-1):
        return functools.partial(functional.cross_entropy, torch.from_numpy(x),
                                 torch.from_numpy(t), reduction=reduction)

    def with_grad(x, t, axis=-1):
        logits, targets = torch.from_numpy(x).requires_grad_(), torch.from_numpy(t)

        def call():
            loss = functional.cross_entropy(logits, targets, reduction=reduction)
            return loss.detach(), torch.autograd.grad(loss.sum(), logits)[0]
        return call

    return {
        "softmax": unary(torch.softmax),
        "log_softmax": unary(torch.log_softmax),
        "logsumexp": unary(torch.logsumexp),
        "cross_entropy": cross_entropy,
        "cross_entropy_with_grad": with_grad,
    }


def jax(dtype, reduction):
    jax = importlib.import_module("jax")
    if np.dtype(dtype).itemsize == 8:
        jax.config.update("jax_enable_x64", True)

    def loss(x, t, axis):
        at = jax.numpy.expand_dims(t, axis)
        picked = jax.numpy.take_along_axis(x, at, axis).squeeze(axis)
        losses = jax.nn.logsumexp(x, axis) - picked
        return losses.mean() if reduction == "mean" else losses

    def with_grad(x, t, axis):
        losses, pull = jax.vjp(lambda logits: loss(logits, t, axis), x)
        return losses, pull(jax.numpy.ones_like(losses))[0]

    def compiled(function, takes_targets):
        def prepare(x, t, axis=-1):
            jitted = jax.jit(functools.partial(function, axis=axis))
            arguments = [jax.device_put(a) for a in ((x, t) if takes_targets else (x,))]
            return lambda: jax.block_until_ready(jitted(*arguments))
        return prepare

    return {
        "softmax": compiled(jax.nn.softmax, False),
        "log_softmax": compiled(jax.nn.log_softmax, False),
        "logsumexp": compiled(jax.nn.logsumexp, False),
        "cross_entropy": compiled(loss, True),
        "cross_entropy_with_grad": compiled(with_grad, True),
    }


def onnxruntime(dtype, reduction, threads=0, fresh=False):
    """Inputs and output bound in advance: the fastest way ONNX Runtime offers. With `fresh` only
    the inputs are, and it allocates a result a call; `threads` 0 leaves the number to it."""
    runtime = importlib.import_module("onnxruntime")
    elem = {"float32": 1, "float64": 11}[np.dtype(dtype).name]
    options = runtime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4

    def without(x, axis):
        return tuple(np.delete(x.shape, axis))

    def bound(op, attributes, shape_of):
        def prepare(x, t, axis=-1):
            shape = shape_of(x, axis)
            model = onnx_model(op, elem, x.ndim, len(shape), **attributes(axis))
            session = runtime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
            return bind(session, x, t, shape)
        return prepare

    def bind(session, x, t, shape):
        binding = session.io_binding()
        out = None if fresh else np.zeros(shape, x.dtype)
        for name, array in (("x", x), ("t", t)):
            if name in {i.name for i in session.get_inputs()}:
                binding.bind_ortvalue_input(name, runtime.OrtValue.ortvalue_from_numpy(array))
        if fresh:
            binding.bind_output("y", "cpu")
        else:
            binding.bind_ortvalue_output("y", runtime.OrtValue.ortvalue_from_numpy(out))

        def call(alive=(x, t, out)):  # their memory is used, yet nobody else holds on to it
            session.run_with_iobinding(binding)
            return binding.get_outputs()[0] if fresh else alive[2]
        return call

    return {
        "softmax": bound("Softmax", lambda axis: {"axis": axis}, lambda x, axis: x.shape),
        "log_softmax": bound("LogSoftmax", lambda axis: {"axis": axis}, lambda x, axis: x.shape),
        "logsumexp": bound("ReduceLogSumExp", lambda axis: {"axes": [axis], "keepdims": 0},
                           without),
        "cross_entropy": bound("SoftmaxCrossEntropyLoss", lambda axis: {"reduction": reduction},
                               lambda x, axis: without(x, axis) if reduction == "none" else ()),
    }


def onnx_model(op, elem, rank, y_rank, **attributes):
    """The bytes of a model of one node, y = op(x) or op(x, t), written by hand: ONNX Runtime needs
    no other package then. x has rank dimensions, t one less. A message is (field number, value)
    pairs; see onnx.proto."""
    def message(*fields):
        return b"".join(field(number, value) for number, value in fields)

    def field(number, value):
        if isinstance(value, int):
            return varint(number << 3) + varint(value & (1 << 64) - 1)
        value = value.encode() if isinstance(value, str) else value
        return varint(number << 3 | 2) + varint(len(value)) + value

    def varint(value):
        head = b""
        while value > 127:
            head += bytes([value & 127 | 128])
            value >>= 7
        return head + bytes([value])

    def attribute(name, value):
        if isinstance(value, int):
            return message((1, name), (3, value), (20, 2))
        if isinstance(value, str):
            return message((1, name), (4, value), (20, 3))
        return message((1, name), *((8, v) for v in value), (20, 7))

    def tensor(name, elem, rank):
        shape = message(*((1, message((2, f"d{i}"))) for i in range(rank)))
        return message((1, name), (2, message((1, message((1, elem), (2, shape))))))

    loss = op == "SoftmaxCrossEntropyLoss"
    node = message((1, "x"), *([(1, "t")] if loss else []), (2, "y"), (4, op),
                   *((5, attribute(*item)) for item in attributes.items()))
    graph = message((1, node), (2, "g"), (11, tensor("x", elem, rank)),
                    *([(11, tensor("t", 7, rank - 1))] if loss else []),
                    (12, tensor("y", elem, y_rank)))
    return message((1, 8), (7, graph), (8, message((1, ""), (2, 13))))


def as_arrays(result):
    """What a peer's call returned, as a tuple of NumPy arrays."""
    parts = result if isinstance(result, tuple) else (result,)
    return tuple(part.numpy() if hasattr(part, "numpy") else np.asarray(part) for part in parts)


def installed(dtype, reduction="mean"):
    """{name: {operation: prepare}} of the peers that are installed, and {name: version}."""
    peers, versions = {}, {}
    for peer in (scipy, torch, onnxruntime, jax):
        name = peer.__name__
        if importlib.util.find_spec(name) is None:
            continue
        peers[name] = peer(dtype, reduction)
        versions[name] = getattr(importlib.import_module(name), "__version__", "?")
    return peers, versions
