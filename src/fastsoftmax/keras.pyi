from typing import Any, SupportsIndex, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._api import _F, _Float64, _Real, _Reduced

__all__ = ["categorical_crossentropy", "sparse_categorical_crossentropy"]

@overload
def categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: NDArray[_F],
    from_logits: bool = False,
    label_smoothing: _Real = 0.0,
    axis: SupportsIndex = -1,
) -> _Reduced[_F]: ...
@overload
def categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: _Float64,
    from_logits: bool = False,
    label_smoothing: _Real = 0.0,
    axis: SupportsIndex = -1,
) -> _Reduced[np.float64]: ...
@overload
def categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    from_logits: bool = False,
    label_smoothing: _Real = 0.0,
    axis: SupportsIndex = -1,
) -> Any: ...
@overload
def sparse_categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: NDArray[_F],
    from_logits: bool = False,
    ignore_class: SupportsIndex | None = None,
    axis: SupportsIndex = -1,
) -> _Reduced[_F]: ...
@overload
def sparse_categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: _Float64,
    from_logits: bool = False,
    ignore_class: SupportsIndex | None = None,
    axis: SupportsIndex = -1,
) -> _Reduced[np.float64]: ...
@overload
def sparse_categorical_crossentropy(
    y_true: ArrayLike,
    y_pred: ArrayLike,
    from_logits: bool = False,
    ignore_class: SupportsIndex | None = None,
    axis: SupportsIndex = -1,
) -> Any: ...
