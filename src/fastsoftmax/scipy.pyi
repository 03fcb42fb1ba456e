from typing import Any, Literal, TypeAlias, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ._api import _F, _Axes, _Float64, _Reduced

__all__ = ["log_softmax", "logsumexp", "softmax"]

_True: TypeAlias = Literal[True]
_False: TypeAlias = Literal[False]

# Of an array without dimensions comes a scalar, as in NumPy; its type does not tell.
@overload
def softmax(x: NDArray[_F], axis: _Axes = None) -> NDArray[_F]: ...
@overload
def softmax(x: _Float64, axis: _Axes = None) -> NDArray[np.float64]: ...
@overload
def softmax(x: ArrayLike, axis: _Axes = None) -> Any: ...

@overload
def log_softmax(x: NDArray[_F], axis: _Axes = None) -> NDArray[_F]: ...
@overload
def log_softmax(x: _Float64, axis: _Axes = None) -> NDArray[np.float64]: ...
@overload
def log_softmax(x: ArrayLike, axis: _Axes = None) -> Any: ...

# Over all elements: scalars.
@overload
def logsumexp(
    a: NDArray[_F],
    axis: None = None,
    b: NDArray[_F] | None = None,
    keepdims: _False = False,
    return_sign: _False = False,
) -> _F: ...
@overload
def logsumexp(
    a: _Float64,
    axis: None = None,
    b: _Float64 | None = None,
    keepdims: _False = False,
    return_sign: _False = False,
) -> np.float64: ...
@overload
def logsumexp(
    a: NDArray[_F],
    axis: None = None,
    b: NDArray[_F] | None = None,
    keepdims: _False = False,
    *,
    return_sign: _True,
) -> tuple[_F, _F]: ...

# Over some of the axes.
@overload
def logsumexp(
    a: NDArray[_F],
    axis: _Axes = None,
    b: NDArray[_F] | None = None,
    *,
    keepdims: _True,
    return_sign: _False = False,
) -> NDArray[_F]: ...
@overload
def logsumexp(
    a: NDArray[_F],
    axis: _Axes = None,
    b: NDArray[_F] | None = None,
    keepdims: bool = False,
    return_sign: _False = False,
) -> _Reduced[_F]: ...
@overload
def logsumexp(
    a: NDArray[_F],
    axis: _Axes = None,
    b: NDArray[_F] | None = None,
    keepdims: bool = False,
    *,
    return_sign: _True,
) -> tuple[_Reduced[_F], _Reduced[_F]]: ...

# Dtypes that differ, lists of factors, a flag that is a variable.
@overload
def logsumexp(
    a: ArrayLike,
    axis: _Axes = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    *,
    return_sign: _True,
) -> tuple[Any, Any]: ...
@overload
def logsumexp(
    a: ArrayLike,
    axis: _Axes = None,
    b: ArrayLike | None = None,
    keepdims: bool = False,
    return_sign: bool = False,
) -> Any: ...
