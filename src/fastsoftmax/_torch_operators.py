"""The operators of fastsoftmax.torch: the kernels on the memory of tensors, their derivatives and
batches, and how PyTorch is told of them.

(One file, though a long one: derivatives are made of operators, and operators of derivatives.)
"""

import numpy as np
import torch
from torch import Tensor

from . import _api

HALVES = (torch.bfloat16, torch.float16)

# --- the kernels, on the memory of tensors ---


def _array(x):
    """The tensor's memory as an array; half precision widened."""
    x = x.detach().resolve_neg()
    return (x.float() if x.dtype in HALVES else x).numpy()


def _tensor(array, like):
    """An array as a tensor, of the same memory unless it is half precision."""
    result = torch.from_numpy(array) if array.ndim else torch.tensor(array[()])
    return result.to(like.dtype) if like.dtype in HALVES else result


def _filled(function, like, *arrays, axes):
    """The result of a function in a tensor laid out as torch.empty_like has it."""
    if like.is_contiguous() and axes == [like.dim() - 1] and len(arrays) == 1:
        return _tensor(function(*arrays), like)  # the package's shortest way gives the same
    wide = torch.empty_like(like, dtype=torch.float32 if like.dtype in HALVES else None)
    function(*arrays, tuple(axes) if like.dim() else (), out=wide.numpy())
    return wide.to(like.dtype)


def _run_softmax(x, dims):
    return _filled(_api.softmax, x, _array(x), axes=dims)


def _run_log_softmax(x, dims):
    return _filled(_api.log_softmax, x, _array(x), axes=dims)


def _run_softmax_backward(dy, y, dims):
    return _filled(_api.softmax_backward, y, _array(dy), _array(y), axes=dims)


def _run_log_softmax_backward(dy, y, dims):
    return _filled(_api.log_softmax_backward, y, _array(dy), _array(y), axes=dims)


def _run_logsumexp(x, dims, keepdim):
    axes = tuple(dims) if x.dim() else ()
    return _tensor(np.asarray(_api.logsumexp(_array(x), axes, keepdims=keepdim)), x)


def _loss_arguments(x, target, weight, ignore_index, reduction, smoothing):
    options = {
        "axis": _class_dim(x), "weight": None if weight is None else _array(weight),
        "ignore_index": ignore_index, "reduction": reduction, "label_smoothing": smoothing,
    }  # fmt: skip
    return (_array(x), _array(target)), options


def _run_loss(*arguments):
    arrays, options = _loss_arguments(*arguments)
    return _tensor(np.asarray(_api.cross_entropy(*arrays, **options)), arguments[0])


def _run_loss_with_grad(*arguments):
    x = arguments[0]
    arrays, options = _loss_arguments(*arguments)
    wide = torch.empty_like(x, dtype=torch.float32 if x.dtype in HALVES else None)
    loss, _ = _api.cross_entropy_with_grad(*arrays, **options, out=wide.numpy())
    return _tensor(np.asarray(loss), x), wide.to(x.dtype)


def _run_loss_backward(g, kept, x, target, weight, ignore_index, reduction, smoothing):
    return kept * (g.unsqueeze(_class_dim(x)) if reduction == "none" else g)


def _class_dim(x):
    return 1 if x.dim() > 1 else 0


# --- their derivatives ---


def _save_result(ctx, inputs, output):
    ctx.dims = inputs[1]
    ctx.save_for_backward(output)


def _softmax_vjp(ctx, g):
    return softmax_backward(g, ctx.saved_tensors[0], ctx.dims), None


def _log_softmax_vjp(ctx, g):
    return log_softmax_backward(g, ctx.saved_tensors[0], ctx.dims), None


def _save_inputs(ctx, inputs, output):
    ctx.rest = [k for k in inputs if not isinstance(k, Tensor)]
    ctx.save_for_backward(*(k for k in inputs if isinstance(k, Tensor)))


def _softmax_backward_vjp(ctx, v):
    dy, y = ctx.saved_tensors
    (dims,) = ctx.rest
    mean = (dy * y).sum(dims, keepdim=True) if y.dim() else dy * y
    other = (v * y).sum(dims, keepdim=True) if y.dim() else v * y
    return softmax_backward(v, y, dims), v * (dy - mean) - dy * other, None


def _log_softmax_backward_vjp(ctx, v):
    dy, y = ctx.saved_tensors
    (dims,) = ctx.rest
    p = y.exp()
    total = dy.sum(dims, keepdim=True) if y.dim() else dy
    weighted = (v * p).sum(dims, keepdim=True) if y.dim() else v * p
    return v - weighted, -v * p * total, None


def _logsumexp_vjp(ctx, g):
    (x,) = ctx.saved_tensors
    dims, keepdim = ctx.rest
    for dim in () if keepdim else dims:
        g = g.unsqueeze(dim)
    return g * softmax(x, dims), None, None


def _save_loss(ctx, inputs, output):
    ctx.set_materialize_grads(False)  # the second result is for backward, not for others
    x, target, weight, *ctx.rest = inputs
    ctx.save_for_backward(x, target, weight, output[1])


def _loss_vjp(ctx, g, _):
    nothing = (None,) * 6
    if g is None:
        return nothing
    x, target, weight, kept = ctx.saved_tensors
    if torch.is_grad_enabled():  # a graph of the gradient is wanted
        dx = loss_backward(g, kept, x, target, weight, *ctx.rest)
    else:
        dx = kept if _is_one(g) else _run_loss_backward(g, kept, x, target, weight, *ctx.rest)
    dt = None
    if ctx.needs_input_grad[1]:
        dt = -_share(g, x, weight, *ctx.rest[1:]) * log_softmax(x, [_class_dim(x)])
    return dx, dt, *nothing[2:]


def _is_one(g):
    """Whether the gradient can be handed on as it is; under a transform nobody knows."""
    if torch.compiler.is_compiling() or type(g) is not Tensor or g.dim():
        return False
    try:
        return g.item() == 1
    except RuntimeError:
        return False


def _share(g, x, weight, reduction, smoothing):
    """g w_c (1 - smoothing) over the divisor, for soft targets."""
    dim = _class_dim(x)
    g = g.unsqueeze(dim) if reduction == "none" else g
    if weight is not None:
        g = g * weight.reshape([-1 if k == dim else 1 for k in range(x.dim())])
    return g * ((1 - smoothing) / (x.numel() // x.shape[dim] if reduction == "mean" else 1))


def _save_loss_backward(ctx, inputs, output):
    g, kept, x, target, weight, *ctx.rest = inputs
    ctx.save_for_backward(g, kept, x, target, weight)


def _loss_backward_vjp(ctx, v):
    """The gradient is (Q p - q) g over the divisor; p = softmax(x) alone depends on x."""
    g, kept, x, target, weight = ctx.saved_tensors
    ignore_index, reduction, smoothing = ctx.rest
    dim = _class_dim(x)
    along = [dim] if reduction == "none" else list(range(x.dim()))
    p = softmax(x, [dim])
    wide = g.unsqueeze(dim) if reduction == "none" else g
    total = _coefficients(x, target, weight, ignore_index, reduction, smoothing)
    dx = wide * total * softmax_backward(v, p, [dim])
    dt = None
    if ctx.needs_input_grad[3]:
        dt = _share(g, x, weight, reduction, smoothing) * ((v * p).sum(dim, keepdim=True) - v)
    return (v * kept).sum(along), None, torch.where(total == 0, 0, dx), dt, *(None,) * 4


def _coefficients(x, target, weight, ignore_index, reduction, smoothing):
    """Q of each sample over the divisor, with the class axis of length 1."""
    dim = _class_dim(x)
    classes = x.shape[dim]
    w = x.new_ones(classes) if weight is None else weight.to(x.dtype)
    if target.is_floating_point():
        shape = [-1 if k == dim else 1 for k in range(x.dim())]
        q = (w.reshape(shape) * ((1 - smoothing) * target + smoothing / classes))
        divisor = x.numel() // classes
        return q.sum(dim, keepdim=True) / (divisor if reduction == "mean" else 1)
    counted = target != ignore_index
    own = torch.where(counted, w[torch.where(counted, target, 0).long()], 0)
    total = torch.where(counted, (1 - smoothing) * own + smoothing / classes * w.sum(), 0)
    divisor = own.sum() if reduction == "mean" else 1
    return total.unsqueeze(dim) / divisor


# --- their batches, for torch.vmap ---


def _batch_first(x, at, size):
    return x.unsqueeze(0).expand(size, *x.shape) if at is None else x.movedim(at, 0)


def _vmap(operator, tensors):
    """The rule of an operator with that many tensors in front: dims move by one."""

    def rule(info, in_dims, *inputs):
        first = [
            _batch_first(x, at, info.batch_size)
            for x, at in zip(inputs[:tensors], in_dims, strict=False)
        ]
        dims, *rest = inputs[tensors:]
        if first[0].dim() > 1:
            return operator()(*first, [k + 1 for k in dims], *rest), 0
        result = operator()(*(x.unsqueeze(-1) for x in first), [1], *rest)
        return result.reshape(info.batch_size), 0

    return rule


def _no_vmap(info, in_dims, *inputs):
    raise NotImplementedError(
        "fastsoftmax.torch.cross_entropy has no rule for torch.vmap; give it the whole batch, "
        "with reduction='none' for a loss a sample"
    )


# --- operators ---


# Whether a transform of torch.func is at work; without that answer, assume it.
_is_transformed = getattr(torch._C, "_are_functorch_transforms_active", lambda: True)


class _Operator:
    """A function as tensors see it, with one set of rules and four ways to it.

    What is traced, faked or on no device goes by an operator of torch.library; tensors under a
    transform of torch.func by an autograd.Function in the form which that wants; a plain tensor
    that needs a gradient by one in the older form, ten times as fast; others straight through.
    """

    def __init__(self, name, schema, run, fake, save=None, vjp=None, vmap=_no_vmap):
        torch.library.define(f"fastsoftmax::{name}", schema)
        torch.library.impl(f"fastsoftmax::{name}", "cpu")(run)
        torch.library.register_fake(f"fastsoftmax::{name}", fake)
        torch.library.register_vmap(f"fastsoftmax::{name}", vmap)
        if vjp is not None:
            torch.library.register_autograd(f"fastsoftmax::{name}", vjp, setup_context=save)
        self.traced = getattr(torch.ops.fastsoftmax, name).default
        self.run = run
        save = save or _save_nothing

        def run_and_save(ctx, *arguments):
            output = run(*arguments)
            save(ctx, arguments, output)
            return output

        backward = {"backward": vjp or _no_derivative}
        self.plain = _function(name, forward=run_and_save, **backward)
        self.transformed = _function(name, forward=run, setup_context=save, vmap=vmap, **backward)

    def __call__(self, *arguments):
        tensors = [k for k in arguments if isinstance(k, Tensor)]
        if torch.compiler.is_compiling() or not all(map(_is_plain, tensors)):
            return self.traced(*arguments)
        if _is_transformed():
            return self.transformed.apply(*arguments)
        if torch.is_grad_enabled() and any(k.requires_grad for k in tensors):
            return self.plain.apply(*arguments)
        return self.run(*arguments)


def _is_plain(x):
    return type(x) in (Tensor, torch.nn.Parameter) and x.device.type == "cpu"


def _function(name, **rules):
    rules = {key: staticmethod(rule) for key, rule in rules.items()}
    return type(name, (torch.autograd.Function,), rules)


def _save_nothing(ctx, inputs, output):
    pass


def _no_derivative(ctx, *grads):
    raise NotImplementedError("fastsoftmax.torch: this loss was computed without its gradient")


def _like_first(x, *rest):
    return torch.empty_like(x)


def _like_second(dy, y, dims):
    return torch.empty_like(y)


def _reduced(x, dims, keepdim):
    dims = dims if x.dim() else []
    kept = [1 if k in dims else n for k, n in enumerate(x.shape) if keepdim or k not in dims]
    return x.new_empty(kept)


def _like_loss(x, target, weight, ignore_index, reduction, smoothing):
    dim = _class_dim(x)
    return x.new_empty(x.shape[:dim] + x.shape[dim + 1 :] if reduction == "none" else ())


def _like_loss_and_grad(x, *rest):
    return _like_loss(x, *rest), torch.empty_like(x)


_LOSS = "Tensor x, Tensor target, Tensor? weight, int ignore_index, str reduction, float smoothing"

softmax = _Operator(
    "softmax", "(Tensor x, int[] dims) -> Tensor", _run_softmax, _like_first,
    _save_result, _softmax_vjp, _vmap(lambda: softmax, 1),
)  # fmt: skip
log_softmax = _Operator(
    "log_softmax", "(Tensor x, int[] dims) -> Tensor", _run_log_softmax, _like_first,
    _save_result, _log_softmax_vjp, _vmap(lambda: log_softmax, 1),
)  # fmt: skip
logsumexp = _Operator(
    "logsumexp", "(Tensor x, int[] dims, bool keepdim) -> Tensor", _run_logsumexp, _reduced,
    _save_inputs, _logsumexp_vjp, _vmap(lambda: logsumexp, 1),
)  # fmt: skip
softmax_backward = _Operator(
    "softmax_backward", "(Tensor dy, Tensor y, int[] dims) -> Tensor", _run_softmax_backward,
    _like_second, _save_inputs, _softmax_backward_vjp, _vmap(lambda: softmax_backward, 2),
)  # fmt: skip
log_softmax_backward = _Operator(
    "log_softmax_backward", "(Tensor dy, Tensor y, int[] dims) -> Tensor",
    _run_log_softmax_backward, _like_second, _save_inputs, _log_softmax_backward_vjp,
    _vmap(lambda: log_softmax_backward, 2),
)  # fmt: skip
loss = _Operator("cross_entropy", f"({_LOSS}) -> Tensor", _run_loss, _like_loss)
loss_with_grad = _Operator(
    "cross_entropy_with_grad", f"({_LOSS}) -> (Tensor, Tensor)", _run_loss_with_grad,
    _like_loss_and_grad, _save_loss, _loss_vjp,
)  # fmt: skip
loss_backward = _Operator(
    "cross_entropy_backward", f"(Tensor g, Tensor kept, {_LOSS}) -> Tensor", _run_loss_backward,
    lambda g, kept, *rest: torch.empty_like(kept), _save_loss_backward, _loss_backward_vjp,
)  # fmt: skip
