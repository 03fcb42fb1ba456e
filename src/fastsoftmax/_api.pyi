"""Types of the public functions: what comes out follows from what goes in.

A floating array keeps its dtype, integers and lists give float64; anything else NumPy can read
gives an array of unknown dtype. Where one dimension less may be none (`logsumexp` and losses of
single rows), the result is an array or, as in NumPy, a scalar that the checker cannot tell:
`_Reduced`.
"""

from collections.abc import Sequence
from typing import Any, Literal, SupportsIndex, TypeAlias, TypeVar, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

# Constrained, not bound: two arrays of different precision must not pass for one of a union.
_F = TypeVar("_F", np.float16, np.float32, np.float64, np.longdouble)
_Out = TypeVar("_Out", bound=NDArray[Any])

_Reduced: TypeAlias = NDArray[_F] | Any
_Float64: TypeAlias = (
    NDArray[np.integer[Any]]
    | Sequence[float]
    | Sequence[Sequence[float]]
    | Sequence[Sequence[Sequence[float]]]
)
_Axes: TypeAlias = SupportsIndex | tuple[SupportsIndex, ...] | None
_Threads: TypeAlias = SupportsIndex | None
_Real: TypeAlias = float | np.floating[Any] | np.integer[Any]
_Scalar: TypeAlias = Literal["mean", "sum"]
_None: TypeAlias = Literal["none"]

# --- the softmax family ---

@overload
def softmax(x: ArrayLike, axis: _Axes = -1, *, out: _Out, threads: _Threads = None) -> _Out: ...
@overload
def softmax(
    x: NDArray[_F], axis: _Axes = -1, *, out: None = None, threads: _Threads = None
) -> NDArray[_F]: ...
@overload
def softmax(
    x: _Float64, axis: _Axes = -1, *, out: None = None, threads: _Threads = None
) -> NDArray[np.float64]: ...
@overload
def softmax(
    x: ArrayLike, axis: _Axes = -1, *, out: None = None, threads: _Threads = None
) -> NDArray[Any]: ...

@overload
def log_softmax(x: ArrayLike, axis: _Axes = -1, *, out: _Out, threads: _Threads = None) -> _Out: ...
@overload
def log_softmax(
    x: NDArray[_F], axis: _Axes = -1, *, out: None = None, threads: _Threads = None
) -> NDArray[_F]: ...
@overload
def log_softmax(
    x: _Float64, axis: _Axes = -1, *, out: None = None, threads: _Threads = None
) -> NDArray[np.float64]: ...
@overload
def log_softmax(
    x: ArrayLike, axis: _Axes = -1, *, out: None = None, threads: _Threads = None
) -> NDArray[Any]: ...

@overload
def logsumexp(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    keepdims: bool = False,
    out: _Out,
    threads: _Threads = None,
) -> _Out: ...
@overload
def logsumexp(
    x: NDArray[_F],
    axis: _Axes = -1,
    *,
    keepdims: Literal[True],
    out: None = None,
    threads: _Threads = None,
) -> NDArray[_F]: ...
@overload
def logsumexp(
    x: NDArray[_F],
    axis: None,
    *,
    keepdims: Literal[False] = False,
    out: None = None,
    threads: _Threads = None,
) -> _F: ...
@overload
def logsumexp(
    x: NDArray[_F],
    axis: _Axes = -1,
    *,
    keepdims: bool = False,
    out: None = None,
    threads: _Threads = None,
) -> _Reduced[_F]: ...
@overload
def logsumexp(
    x: _Float64,
    axis: _Axes = -1,
    *,
    keepdims: bool = False,
    out: None = None,
    threads: _Threads = None,
) -> _Reduced[np.float64]: ...
@overload
def logsumexp(
    x: ArrayLike,
    axis: _Axes = -1,
    *,
    keepdims: bool = False,
    out: None = None,
    threads: _Threads = None,
) -> Any: ...

@overload
def softmax_backward(
    dy: ArrayLike, y: ArrayLike, axis: _Axes = -1, *, out: _Out, threads: _Threads = None
) -> _Out: ...
@overload
def softmax_backward(
    dy: NDArray[_F],
    y: NDArray[_F],
    axis: _Axes = -1,
    *,
    out: None = None,
    threads: _Threads = None,
) -> NDArray[_F]: ...
@overload
def softmax_backward(
    dy: _Float64,
    y: _Float64,
    axis: _Axes = -1,
    *,
    out: None = None,
    threads: _Threads = None,
) -> NDArray[np.float64]: ...
@overload
def softmax_backward(
    dy: ArrayLike, y: ArrayLike, axis: _Axes = -1, *, out: None = None, threads: _Threads = None
) -> NDArray[Any]: ...

@overload
def log_softmax_backward(
    dy: ArrayLike, y: ArrayLike, axis: _Axes = -1, *, out: _Out, threads: _Threads = None
) -> _Out: ...
@overload
def log_softmax_backward(
    dy: NDArray[_F],
    y: NDArray[_F],
    axis: _Axes = -1,
    *,
    out: None = None,
    threads: _Threads = None,
) -> NDArray[_F]: ...
@overload
def log_softmax_backward(
    dy: _Float64,
    y: _Float64,
    axis: _Axes = -1,
    *,
    out: None = None,
    threads: _Threads = None,
) -> NDArray[np.float64]: ...
@overload
def log_softmax_backward(
    dy: ArrayLike, y: ArrayLike, axis: _Axes = -1, *, out: None = None, threads: _Threads = None
) -> NDArray[Any]: ...

# --- losses ---

@overload
def cross_entropy(
    logits: NDArray[_F],
    targets: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    label_smoothing: _Real = 0.0,
    z_loss: _Real = 0.0,
    reduction: _Scalar = "mean",
    normalizer: _Real | None = None,
    threads: _Threads = None,
) -> _F: ...
@overload
def cross_entropy(
    logits: NDArray[_F],
    targets: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    label_smoothing: _Real = 0.0,
    z_loss: _Real = 0.0,
    reduction: _None,
    normalizer: _Real | None = None,
    threads: _Threads = None,
) -> _Reduced[_F]: ...
@overload
def cross_entropy(
    logits: _Float64,
    targets: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    label_smoothing: _Real = 0.0,
    z_loss: _Real = 0.0,
    reduction: _Scalar = "mean",
    normalizer: _Real | None = None,
    threads: _Threads = None,
) -> np.float64: ...
@overload
def cross_entropy(
    logits: _Float64,
    targets: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    label_smoothing: _Real = 0.0,
    z_loss: _Real = 0.0,
    reduction: _None,
    normalizer: _Real | None = None,
    threads: _Threads = None,
) -> _Reduced[np.float64]: ...
@overload
def cross_entropy(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    label_smoothing: _Real = 0.0,
    z_loss: _Real = 0.0,
    reduction: str = "mean",
    normalizer: _Real | None = None,
    threads: _Threads = None,
) -> Any: ...

@overload
def cross_entropy_with_grad(
    logits: NDArray[_F],
    targets: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    label_smoothing: _Real = 0.0,
    z_loss: _Real = 0.0,
    reduction: _Scalar = "mean",
    normalizer: _Real | None = None,
    threads: _Threads = None,
    grad_output: ArrayLike | None = None,
    out: NDArray[_F] | None = None,
) -> tuple[_F, NDArray[_F]]: ...
@overload
def cross_entropy_with_grad(
    logits: NDArray[_F],
    targets: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    label_smoothing: _Real = 0.0,
    z_loss: _Real = 0.0,
    reduction: _None,
    normalizer: _Real | None = None,
    threads: _Threads = None,
    grad_output: ArrayLike | None = None,
    out: NDArray[_F] | None = None,
) -> tuple[_Reduced[_F], NDArray[_F]]: ...
@overload
def cross_entropy_with_grad(
    logits: _Float64,
    targets: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    label_smoothing: _Real = 0.0,
    z_loss: _Real = 0.0,
    reduction: _Scalar = "mean",
    normalizer: _Real | None = None,
    threads: _Threads = None,
    grad_output: ArrayLike | None = None,
    out: NDArray[np.float64] | None = None,
) -> tuple[np.float64, NDArray[np.float64]]: ...
@overload
def cross_entropy_with_grad(
    logits: _Float64,
    targets: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    label_smoothing: _Real = 0.0,
    z_loss: _Real = 0.0,
    reduction: _None,
    normalizer: _Real | None = None,
    threads: _Threads = None,
    grad_output: ArrayLike | None = None,
    out: NDArray[np.float64] | None = None,
) -> tuple[_Reduced[np.float64], NDArray[np.float64]]: ...
@overload
def cross_entropy_with_grad(
    logits: ArrayLike,
    targets: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    label_smoothing: _Real = 0.0,
    z_loss: _Real = 0.0,
    reduction: str = "mean",
    normalizer: _Real | None = None,
    threads: _Threads = None,
    grad_output: ArrayLike | None = None,
    out: NDArray[Any] | None = None,
) -> tuple[Any, NDArray[Any]]: ...

@overload
def nll_loss(
    log_probs: NDArray[_F],
    targets: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    reduction: _Scalar = "mean",
    normalizer: _Real | None = None,
    threads: _Threads = None,
) -> _F: ...
@overload
def nll_loss(
    log_probs: NDArray[_F],
    targets: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    reduction: _None,
    normalizer: _Real | None = None,
    threads: _Threads = None,
) -> _Reduced[_F]: ...
@overload
def nll_loss(
    log_probs: _Float64,
    targets: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    reduction: _Scalar = "mean",
    normalizer: _Real | None = None,
    threads: _Threads = None,
) -> np.float64: ...
@overload
def nll_loss(
    log_probs: _Float64,
    targets: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    reduction: _None,
    normalizer: _Real | None = None,
    threads: _Threads = None,
) -> _Reduced[np.float64]: ...
@overload
def nll_loss(
    log_probs: ArrayLike,
    targets: ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    reduction: str = "mean",
    normalizer: _Real | None = None,
    threads: _Threads = None,
) -> Any: ...
