from collections.abc import Mapping
from typing import SupportsIndex

import dask.array as da
from numpy.typing import ArrayLike

from ._api import _Axes, _Real

__all__ = ["cross_entropy", "log_softmax", "logsumexp", "softmax"]

# Where Dask is not installed its arrays are Any to a checker.
def softmax(x: da.Array, axis: _Axes = -1) -> da.Array: ...
def log_softmax(x: da.Array, axis: _Axes = -1) -> da.Array: ...
def logsumexp(
    x: da.Array,
    axis: _Axes = -1,
    *,
    keepdims: bool = False,
    split_every: int | Mapping[int, int] | None = None,
) -> da.Array: ...
def cross_entropy(
    logits: da.Array,
    targets: da.Array | ArrayLike,
    *,
    axis: SupportsIndex = -1,
    weight: ArrayLike | None = None,
    sample_weight: da.Array | ArrayLike | None = None,
    ignore_index: SupportsIndex = -100,
    label_smoothing: _Real = 0.0,
    z_loss: _Real = 0.0,
    reduction: str = "mean",
    normalizer: _Real | None = None,
) -> da.Array: ...
