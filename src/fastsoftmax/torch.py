"""softmax, log_softmax, logsumexp and cross_entropy for PyTorch's tensors on the CPU.

The signatures are those of ``torch.nn.functional`` (``torch.logsumexp`` for logsumexp). Tensors of
float32 and float64 are read and written where they lie; bfloat16 and float16 go through float32
and are rounded once. Everything is differentiable, twice too; under torch.compile each function is
one operator of ``torch.library``, and the graph has no break.

cross_entropy computes its gradient in the sweep that computes the loss and keeps it until
``backward``: where PyTorch's takes about nine sweeps and two exponentials an element, this takes
one of each, and one tensor of the logits' size.

Threads are those of the package (`fastsoftmax.set_num_threads`), not ``torch.set_num_threads``.
"""

import warnings

try:
    import torch
except ImportError as error:
    raise ImportError(
        f"fastsoftmax.torch needs PyTorch ({error}): pip install 'fastsoftmax[torch]'"
    ) from error

from torch import Tensor
from torch.nn import _reduction

from . import _torch_operators as operators

__all__ = ["CrossEntropyLoss", "cross_entropy", "log_softmax", "logsumexp", "softmax"]


def softmax(input, dim=None, _stacklevel=3, dtype=None):
    """Softmax along `dim`, as ``torch.nn.functional.softmax``.

    Parameters
    ----------
    input : torch.Tensor
        On the CPU, of float32, float64, bfloat16 or float16.
    dim : int
        Left out, PyTorch's choice with PyTorch's warning: 0 for 0, 1 or 3 dimensions, else 1.
    dtype : torch.dtype, optional
        Convert `input` first.

    Returns
    -------
    torch.Tensor

    Raises
    ------
    TypeError
        If `input` is not a dense tensor of real floating-point numbers on the CPU.
    IndexError
        If `dim` is out of bounds.

    Examples
    --------
    >>> import torch
    >>> from fastsoftmax.torch import softmax
    >>> softmax(torch.tensor([2.0, 3.0, 5.0]), dim=-1)
    tensor([0.0420, 0.1142, 0.8438])
    """
    x = _logits(input, dtype)
    return operators.softmax(x, [_one_dim(x, dim, "softmax", _stacklevel)])


def log_softmax(input, dim=None, _stacklevel=3, dtype=None):
    """Logarithm of the softmax, as ``torch.nn.functional.log_softmax``; see `softmax`."""
    x = _logits(input, dtype)
    return operators.log_softmax(x, [_one_dim(x, dim, "log_softmax", _stacklevel)])


def logsumexp(input, dim, keepdim=False):
    """Logarithm of the sum of exponentials, as ``torch.logsumexp`` without `out`.

    Parameters
    ----------
    input : torch.Tensor
        As in `softmax`; integers are converted to PyTorch's default dtype.
    dim : int or tuple of ints
        The dimensions to sum over; none of them means all, as in PyTorch.
    keepdim : bool, default False
        Keep them with length 1.

    Returns
    -------
    torch.Tensor
    """
    if isinstance(input, Tensor) and not input.is_floating_point() and not input.is_complex():
        input = input.to(torch.get_default_dtype())
    x = _logits(input, None)
    dims = [dim] if isinstance(dim, int) else list(dim)
    dims = sorted(_from_front(k, x.dim()) for k in dims) or list(range(x.dim()))
    if len(set(dims)) != len(dims):
        raise RuntimeError(f"dim: {dim} names a dimension more than once")
    return operators.logsumexp(x, dims, bool(keepdim))


def cross_entropy(input, target, weight=None, size_average=None, ignore_index=-100, reduce=None,
                  reduction="mean", label_smoothing=0.0):  # fmt: skip
    """Cross-entropy of logits and targets, as ``torch.nn.functional.cross_entropy``.

    Loss and gradient are computed in one sweep where a gradient will be wanted; `backward` then
    only multiplies it. Differences from PyTorch are those of docs/differences.md: ignored samples
    are not read, 0 times an infinite log-probability is 0, small losses keep their digits.

    Parameters
    ----------
    input : torch.Tensor
        Logits of shape (C,), (N, C) or (N, C, d1, ...), as in `softmax`.
    target : torch.Tensor
        Labels of an integer dtype, of that shape without C; or probabilities of that shape.
    weight : torch.Tensor, optional
        One factor a class. Not differentiable.
    size_average, reduce : bool, optional
        Deprecated, with PyTorch's meaning and PyTorch's warning.
    ignore_index : int, default -100
        Samples with this label do not count; only for labels.
    reduction : {"mean", "sum", "none"}
    label_smoothing : float, default 0.0

    Returns
    -------
    torch.Tensor

    Raises
    ------
    IndexError
        If a label is neither in [0, C) nor `ignore_index`.
    TypeError, ValueError
        As `fastsoftmax.cross_entropy`, or if a tensor is not on the CPU.
    NotImplementedError
        If `weight` requires a gradient, or under ``torch.vmap``.

    Examples
    --------
    >>> import torch
    >>> from fastsoftmax.torch import cross_entropy
    >>> x = torch.tensor([[20.0, 0.0, 0.0]], requires_grad=True)
    >>> loss = cross_entropy(x, torch.tensor([0]))
    >>> loss.backward()
    >>> print(f"{loss.item():.3e} {x.grad[0, 0].item():.3e}")
    4.122e-09 -4.122e-09
    """
    if size_average is not None or reduce is not None:
        reduction = _reduction.legacy_get_string(size_average, reduce)
    x = _logits(input, None)
    _on_cpu(target, "target")
    soft = target.is_floating_point()
    if soft and ignore_index >= 0:
        raise ValueError("ignore_index: has no meaning for probabilities as targets")
    if weight is not None:
        _on_cpu(weight, "weight")
        if weight.requires_grad and torch.is_grad_enabled():
            raise NotImplementedError("weight: no gradient with respect to class weights")
    arguments = (x, target, weight, ignore_index, reduction, float(label_smoothing))
    if torch.is_grad_enabled() and (x.requires_grad or target.requires_grad):
        return operators.loss_with_grad(*arguments)[0]
    return operators.loss(*arguments)


class CrossEntropyLoss(torch.nn.CrossEntropyLoss):
    """``torch.nn.CrossEntropyLoss`` on `cross_entropy`: the same arguments, buffers and state."""

    def forward(self, input, target):
        return cross_entropy(
            input, target, weight=self.weight, ignore_index=self.ignore_index,
            reduction=self.reduction, label_smoothing=self.label_smoothing,
        )  # fmt: skip


# --- arguments ---


def _on_cpu(x, name):
    if not isinstance(x, Tensor):
        raise TypeError(f"{name}: expected a torch.Tensor, got {type(x).__name__}")
    if x.device.type not in ("cpu", "meta"):
        raise TypeError(
            f"{name}: got a tensor on {x.device}; fastsoftmax computes on the CPU: copy it with "
            ".cpu(), or use torch.nn.functional there"
        )
    if x.layout != torch.strided:
        raise TypeError(f"{name}: expected a dense tensor, got {x.layout}; use .to_dense()")


def _logits(x, dtype):
    _on_cpu(x, "input")
    if dtype is not None:
        x = x.to(dtype)
    if x.dtype not in (torch.float32, torch.float64, *operators.HALVES):
        raise TypeError(
            f"input: expected float32, float64, bfloat16 or float16, got {x.dtype}; "
            "convert it with .float(), or name a dtype"
        )
    return x


def _from_front(dim, ndim):
    if isinstance(dim, bool) or not isinstance(dim, int):
        raise TypeError(f"dim: expected an integer, got {type(dim).__name__}")
    n = max(ndim, 1)
    if not -n <= dim < n:
        raise IndexError(f"dim: {dim} is out of range: expected {-n} <= dim < {n}")
    return dim % n


def _one_dim(x, dim, name, stacklevel):
    if dim is None:
        message = f"Implicit dimension choice for {name} has been deprecated; name dim"
        warnings.warn(message, stacklevel=stacklevel)
        dim = 0 if x.dim() in (0, 1, 3) else 1
    return _from_front(dim, x.dim())
