"""The libraries that `python -m fastsoftmax --peers` puts beside us, where they are installed.

Each peer is a function that takes (dtype, reduction) and returns {operation: prepare}, where
prepare(logits, targets) converts what it has to outside the clock and returns a call without
arguments; that call computes what ours does (last axis, the loss reduced by "mean" or "none") and
returns NumPy arrays or something that np.asarray takes. Every library keeps the number of threads
it chooses by itself.
"""

import importlib
import importlib.util

import numpy as np

OPERATIONS = ("softmax", "log_softmax", "logsumexp", "cross_entropy", "cross_entropy_with_grad")


def scipy(dtype, reduction):
    special = importlib.import_module("scipy.special")

    def prepare(name):
        function = getattr(special, name)
        return lambda x, t: lambda: function(x, axis=-1)

    return {name: prepare(name) for name in OPERATIONS[:3]}


def torch(dtype, reduction):
    torch = importlib.import_module("torch")
    functional = torch.nn.functional

    def unary(function):
        def prepare(x, t):
            logits = torch.from_numpy(x)

            def call():
                with torch.inference_mode():
                    return function(logits, -1)
            return call
        return prepare

    def cross_entropy(x, t):
        logits, targets = torch.from_numpy(x), torch.from_numpy(t)

        def call():
            with torch.inference_mode():
                return functional.cross_entropy(logits, targets, reduction=reduction)
        return call

    def with_grad(x, t):
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

    def loss(x, t):
        picked = jax.numpy.take_along_axis(x, t[:, None], axis=-1)[:, 0]
        losses = jax.nn.logsumexp(x, axis=-1) - picked
        return losses.mean() if reduction == "mean" else losses

    def with_grad(x, t):
        losses, pull = jax.vjp(lambda logits: loss(logits, t), x)
        return losses, pull(jax.numpy.ones_like(losses))[0]

    def compiled(function, takes_targets):
        function = jax.jit(function)

        def prepare(x, t):
            arguments = [jax.device_put(a) for a in ((x, t) if takes_targets else (x,))]
            return lambda: jax.block_until_ready(function(*arguments))
        return prepare

    return {
        "softmax": compiled(jax.nn.softmax, False),
        "log_softmax": compiled(jax.nn.log_softmax, False),
        "logsumexp": compiled(lambda x: jax.nn.logsumexp(x, axis=-1), False),
        "cross_entropy": compiled(loss, True),
        "cross_entropy_with_grad": compiled(with_grad, True),
    }


def onnxruntime(dtype, reduction):
    runtime = importlib.import_module("onnxruntime")
    elem = {"float32": 1, "float64": 11}[np.dtype(dtype).name]

    def bound(model, rank):
        """Inputs and output bound in advance: the fastest way ONNX Runtime offers."""
        def prepare(x, t):
            session = runtime.InferenceSession(
                model, runtime.SessionOptions(), providers=["CPUExecutionProvider"])
            binding = session.io_binding()
            out = np.empty(x.shape if rank == 2 else x.shape[:1] if rank == 1 else (), x.dtype)
            for name, array in (("x", x), ("t", t)):
                if name in {i.name for i in session.get_inputs()}:
                    binding.bind_ortvalue_input(name, runtime.OrtValue.ortvalue_from_numpy(array))
            binding.bind_ortvalue_output("y", runtime.OrtValue.ortvalue_from_numpy(out))

            def call(alive=(x, t, out)):  # their memory is used, yet nobody else holds on to it
                session.run_with_iobinding(binding)
                return alive[2]
            return call
        return prepare

    return {
        "softmax": bound(onnx_model("Softmax", elem, 2, axis=-1), 2),
        "log_softmax": bound(onnx_model("LogSoftmax", elem, 2, axis=-1), 2),
        "logsumexp": bound(onnx_model("ReduceLogSumExp", elem, 1, axes=[-1], keepdims=0), 1),
        "cross_entropy": bound(
            onnx_model("SoftmaxCrossEntropyLoss", elem, int(reduction == "none"),
                       reduction=reduction), int(reduction == "none")),
    }


def onnx_model(op, elem, rank, **attributes):
    """The bytes of a model of one node, y = op(x) or op(x, t), written by hand: ONNX Runtime needs
    no other package then. A message is (field number, value) pairs; see onnx.proto."""
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
    graph = message((1, node), (2, "g"), (11, tensor("x", elem, 2)),
                    *([(11, tensor("t", 7, 1))] if loss else []), (12, tensor("y", elem, rank)))
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
