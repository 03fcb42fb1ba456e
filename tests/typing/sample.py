# pyright: strict, reportUnnecessaryTypeIgnoreComment=true
"""What type checkers have to make of the package: read by them, never run.

    mypy --strict tests/typing && pyright tests/typing

`assert_type` fails where a stub says something else. What a checker has to refuse is marked with
an ignore at the end: one that is not needed is an error too.
"""

from typing import Any, assert_type

import numpy as np
from numpy.typing import NDArray

import fastsoftmax
from fastsoftmax import keras, reference, scipy, testing

f2: NDArray[np.float16] = np.zeros((4, 3), np.float16)
f4: NDArray[np.float32] = np.zeros((4, 3), np.float32)
f8: NDArray[np.float64] = np.zeros((4, 3))
i8: NDArray[np.int64] = np.zeros((4, 3), np.int64)

labels: NDArray[np.uint8] = np.zeros(4, np.uint8)

# The dtype stays; integers and lists are float64.
assert_type(fastsoftmax.softmax(f2), NDArray[np.float16])
assert_type(fastsoftmax.softmax(f4), NDArray[np.float32])
assert_type(fastsoftmax.softmax(f8, axis=(0, 1)), NDArray[np.float64])
assert_type(fastsoftmax.softmax(f4, None, threads=np.int64(2)), NDArray[np.float32])
assert_type(fastsoftmax.softmax(i8), NDArray[np.float64])
assert_type(fastsoftmax.softmax([1, 2, 3]), NDArray[np.float64])
assert_type(fastsoftmax.log_softmax([[1.0, 2.0]], axis=0), NDArray[np.float64])
assert_type(fastsoftmax.log_softmax(f8, out=f8), NDArray[np.float64])
assert_type(fastsoftmax.softmax_backward(f4, f4), NDArray[np.float32])
assert_type(fastsoftmax.log_softmax_backward([1.0], [2.0]), NDArray[np.float64])

# One dimension less.
assert_type(fastsoftmax.logsumexp(f4, axis=None), np.float32)
assert_type(fastsoftmax.logsumexp(f4, keepdims=True), NDArray[np.float32])
assert_type(fastsoftmax.logsumexp(f4, 0), NDArray[np.float32] | Any)
assert_type(fastsoftmax.logsumexp(f4, 0, out=f4), NDArray[np.float32])
scores: NDArray[np.float32] = fastsoftmax.logsumexp(f4)
one: float = float(fastsoftmax.logsumexp([1.0, 2.0]))

# A loss is a scalar unless reduction is "none".
assert_type(fastsoftmax.cross_entropy(f4, labels), np.float32)
assert_type(fastsoftmax.cross_entropy(f4, labels, reduction="sum"), np.float32)
assert_type(fastsoftmax.cross_entropy(f4, labels, reduction="none"), NDArray[np.float32] | Any)
assert_type(fastsoftmax.cross_entropy([[0.0, 1.0]], [0]), np.float64)
assert_type(fastsoftmax.cross_entropy(i8, labels), np.float64)
assert_type(fastsoftmax.nll_loss(f8, f8, weight=[1, 2, 3]), np.float64)
losses: NDArray[np.float32] = fastsoftmax.cross_entropy(
    f4, labels, reduction="none", label_smoothing=np.float32(0.1)
)

# With its gradient: a pair.
assert_type(
    fastsoftmax.cross_entropy_with_grad(f4, labels, out=f4, grad_output=labels),
    tuple[np.float32, NDArray[np.float32]],
)
assert_type(
    fastsoftmax.cross_entropy_with_grad([[0.0, 1.0]], [0], normalizer=4),
    tuple[np.float64, NDArray[np.float64]],
)
each, grad = fastsoftmax.cross_entropy_with_grad(f8, labels, reduction="none", axis=1)
assert_type(grad, NDArray[np.float64])

# The mergeable state: its methods chain; which dtype comes out is known at run time.
state = fastsoftmax.OnlineSoftmax(axis=1).update(f4[:, :2]).update([[1.0]], threads=1)
assert_type(state.merge(fastsoftmax.OnlineSoftmax()), fastsoftmax.OnlineSoftmax)
assert_type(state.softmax(f4), NDArray[Any])
assert_type(state.log_softmax(f4, out=f4), NDArray[np.float32])
assert_type(state.shape, tuple[int, ...] | None)
totals: NDArray[np.float32] = state.logsumexp()

# Threads and configuration.
with fastsoftmax.threads(2) as context:
    assert_type(context, fastsoftmax.threads)
assert_type(fastsoftmax.get_num_threads(), int)
assert_type(fastsoftmax.show_config("dicts")["isa"]["detected"], list[str])
fastsoftmax.set_num_threads(None)
fastsoftmax.set_recycle_limit(None)
assert_type(fastsoftmax.get_recycle_limit(), int)
assert_type(fastsoftmax.release_memory(), int)
assert_type(fastsoftmax.show_config("dicts")["memory"]["idle"], int)
fastsoftmax.show_config()

# The other modules.
assert_type(reference.softmax(f4), NDArray[np.float32])
assert_type(testing.ulp_error(f4, testing.softmax(f4)), NDArray[np.float64])
assert_type(keras.categorical_crossentropy(f4, f4), NDArray[np.float32] | Any)
assert_type(fastsoftmax.__version__, str)
assert_type(scipy.softmax(f4), NDArray[np.float32])
assert_type(scipy.log_softmax([[1, 2], [3, 4]], axis=1), NDArray[np.float64])
assert_type(scipy.logsumexp(f4), np.float32)
assert_type(scipy.logsumexp([1.0, 2.0], b=[1, -1]), np.float64)
assert_type(scipy.logsumexp(f4, 1, f4), NDArray[np.float32] | Any)
assert_type(scipy.logsumexp(f4, 1, keepdims=True), NDArray[np.float32])
assert_type(scipy.logsumexp(f8, b=f8, return_sign=True), tuple[np.float64, np.float64])
value, sign = scipy.logsumexp(f4, axis=0, b=[1, 2, 3], return_sign=True)

# Refused, as they are at run time.
fastsoftmax.softmax(f4, axis=1.0)  # type: ignore[call-overload]
fastsoftmax.softmax(f4, out=[0.0])  # type: ignore[call-overload]
fastsoftmax.softmax(f4, threads="2")  # type: ignore[call-overload]
fastsoftmax.cross_entropy(f4)  # type: ignore[call-overload]
fastsoftmax.show_config("json")  # type: ignore[call-overload]
fastsoftmax.OnlineSoftmax(axis=1.0)  # type: ignore[arg-type]
state.merge(f4)  # type: ignore[arg-type]
scipy.softmax(f4, threads=1)  # type: ignore[call-overload]
