"""The softmax family and its backward functions: values, axes, memory layouts, out=."""

import inspect

import numpy as np
import pytest
from conftest import assert_exact, in_units_of, same_bits

import fastsoftmax
from fastsoftmax import reference, testing

pytestmark = pytest.mark.usefixtures("isa")

FAMILY = ["softmax", "log_softmax", "logsumexp"]
LENGTHS = [1, 2, 3, 4, 7, 8, 9, 15, 16, 17, 31, 33, 63, 64, 65, 100, 127, 129, 1000, 4097]
AXES = [0, 1, 2, 3, -1, -4, (0, 1), (1, 2), (2, 3), (0, 3), (3, 1), (-1, 0, 1), None, ()]


def check(op, x, axis=-1):
    result = getattr(fastsoftmax, op)(x, axis)
    truth = getattr(testing, op)(x, axis)
    scale = x.max(axis=axis, initial=-np.inf) if op == "logsumexp" else None
    assert_exact(op, result, truth, scale)


@pytest.mark.parametrize("op", [op.name for op in reference.OPS])
def test_reference_has_the_same_signature(op):
    public, slow = getattr(fastsoftmax, op), getattr(reference, op)
    assert inspect.signature(public) == inspect.signature(slow)


def test_everything_in_all_exists_and_is_documented():
    for name in fastsoftmax.__all__:
        assert getattr(fastsoftmax, name).__doc__


def test_known_case_float32():
    x = np.array([2, 3, 5], np.float32)
    published = np.array([0.04201007, 0.11419519, 0.8437947], np.float32)
    result = fastsoftmax.softmax(x)
    assert_exact("softmax", result, testing.softmax(x))
    # The published digits are themselves up to 0.8 ULP from the exact values.
    assert testing.ulp_error(result, published).max() <= 2


def test_known_case_integers():
    result = fastsoftmax.softmax(np.array([123, 456, 789]))
    assert str(result) == "[5.75274406e-290 2.39848787e-145 1.00000000e+000]"


@pytest.mark.parametrize("n", LENGTHS)
@pytest.mark.parametrize("op", FAMILY)
def test_lengths(op, n, dtype, rng):
    for scale in (1, 10, 80):
        check(op, rng.normal(0, scale, (5, n)).astype(dtype))


@pytest.mark.parametrize("n", [2, 17, 300])
@pytest.mark.parametrize("op", FAMILY)
@pytest.mark.parametrize("offset", [1e2, -1e4, 1e7, -1e12, 1e30])
def test_offsets(op, n, offset, dtype, rng):
    check(op, (rng.normal(0, 3, (4, n)) + offset).astype(dtype))


@pytest.mark.parametrize("op", FAMILY)
def test_dominant_logit_in_every_place(op, dtype):
    for n in (2, 5, 16, 33):
        check(op, np.eye(n, dtype=dtype) * 25)
        check(op, np.eye(n, dtype=dtype) * 100)


@pytest.mark.parametrize("op", FAMILY)
def test_results_at_the_edge_of_underflow(op, dtype, rng):
    lowest = np.log(float(np.finfo(dtype).smallest_subnormal))
    x = rng.uniform(lowest - 2, lowest + 20, (6, 50)).astype(dtype)
    x[:, 7] = 0
    check(op, x)


@pytest.mark.parametrize("op", FAMILY)
def test_equal_values(op, dtype):
    for n in (1, 3, 10, 64, 1000):
        check(op, np.full((2, n), -3.7, dtype))


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("op", FAMILY)
def test_axes(op, axis, dtype, rng):
    check(op, rng.normal(0, 5, (3, 4, 5, 6)).astype(dtype), axis)


@pytest.mark.parametrize("op", FAMILY)
def test_order_of_axes_does_not_change_a_bit(op, dtype, rng):
    x = rng.normal(0, 5, (7, 3, 11, 5)).astype(dtype)
    function = getattr(fastsoftmax, op)
    for axes in ((3, 1), (2, 0), (-1, 0, -2)):
        assert same_bits(function(x, axes), function(x, tuple(sorted(k % 4 for k in axes))))


@pytest.mark.parametrize("axis", AXES)
def test_logsumexp_keepdims(axis, dtype, rng):
    x = rng.normal(0, 5, (3, 4, 5, 6)).astype(dtype)
    kept = fastsoftmax.logsumexp(x, axis, keepdims=True)
    assert kept.shape == x.sum(axis=axis, keepdims=True).shape
    dropped = fastsoftmax.logsumexp(x, axis)
    assert same_bits(kept.reshape(dropped.shape), dropped)


def layouts(x):
    """The values of a 2-d array in every kind of memory layout."""
    rows, n = x.shape
    spaced = np.zeros((rows, 3 * n), x.dtype)
    spaced[:, 1::3] = x
    backwards = np.ascontiguousarray(x[::-1, ::-1])
    shifted = np.empty(x.nbytes + 1, np.uint8)[1:].view(x.dtype).reshape(x.shape)
    shifted[...] = x
    frozen = x.copy()
    frozen.flags.writeable = False
    return {
        "Fortran": np.asfortranarray(x),
        "step": spaced[:, 1::3],
        "negative": backwards[::-1, ::-1],
        "misaligned": shifted,
        "read-only": frozen,
        "other byte order": x.astype(x.dtype.newbyteorder()),
        "subclass": x.copy().view(np.memmap),
    }


@pytest.mark.parametrize("layout", layouts(np.zeros((2, 2))))
@pytest.mark.parametrize("op", FAMILY)
def test_layout_does_not_change_a_bit(op, layout, dtype, rng):
    function = getattr(fastsoftmax, op)
    for shape in ((1, 1), (4, 10), (3, 37), (2, 300)):
        x = rng.normal(0, 9, shape).astype(dtype)
        assert same_bits(function(layouts(x)[layout]), function(x))


@pytest.mark.parametrize("op", FAMILY)
def test_zero_strides(op, dtype, rng):
    function = getattr(fastsoftmax, op)
    x = rng.normal(0, 9, (1, 19)).astype(dtype)
    assert same_bits(function(np.broadcast_to(x, (6, 19))), function(np.repeat(x, 6, axis=0)))
    column = x.T
    assert same_bits(
        function(np.broadcast_to(column, (19, 5))), function(np.repeat(column, 5, axis=1))
    )


@pytest.mark.parametrize("op", FAMILY)
def test_a_row_depends_on_itself_alone(op, dtype, rng):
    function = getattr(fastsoftmax, op)
    for n in (2, 10, 33, 700):
        x = rng.normal(0, 9, (20, n)).astype(dtype)
        together = function(x)
        for k in (0, 7, 19):
            assert same_bits(together[k], function(x[k : k + 1])[0])
            assert same_bits(together[k], function(x[k]))


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("op", FAMILY)
def test_out_is_filled_and_returned(op, axis, dtype, rng):
    function = getattr(fastsoftmax, op)
    x = rng.normal(0, 5, (3, 4, 5, 6)).astype(dtype)
    fresh = np.asarray(function(x, axis))
    for order in "CF":
        out = np.full_like(fresh, 7, order=order)
        assert function(x, axis, out=out) is out
        assert same_bits(out, fresh)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
def test_out_may_be_the_input(op, axis, dtype, rng):
    function = getattr(fastsoftmax, op)
    x = rng.normal(0, 5, (3, 4, 5, 6)).astype(dtype)
    fresh = function(x, axis)
    assert function(x, axis, out=x) is x
    assert same_bits(x, fresh)


@pytest.mark.parametrize("op", FAMILY)
def test_input_is_left_alone(op, dtype, rng):
    x = rng.normal(0, 5, (3, 40)).astype(dtype)
    before = x.copy()
    for axis in (0, 1, None):
        getattr(fastsoftmax, op)(x, axis)
    assert same_bits(x, before)


def test_logsumexp_of_a_vector_is_a_scalar(dtype):
    for keywords in ({}, {"axis": 0}, {"axis": None}, {"threads": 1}):
        result = fastsoftmax.logsumexp(np.zeros(4, dtype), **keywords)
        assert type(result) is dtype.type
    assert fastsoftmax.logsumexp(np.zeros(4, dtype), keepdims=True).shape == (1,)


@pytest.mark.parametrize("op", FAMILY)
def test_threads_do_not_change_a_bit(op, dtype, rng):
    x = rng.normal(0, 9, (300, 1000)).astype(dtype)
    function = getattr(fastsoftmax, op)
    alone = function(x, threads=1)
    for threads in (2, 3, 8):
        assert same_bits(function(x, threads=threads), alone)


BACKWARD = {
    "softmax_backward": (fastsoftmax.softmax, reference.softmax_backward_wide),
    "log_softmax_backward": (fastsoftmax.log_softmax, reference.log_softmax_backward_wide),
}


@pytest.mark.parametrize("axis", [-1, 0, (0, 2), None])
@pytest.mark.parametrize("op", BACKWARD)
def test_backward(op, axis, dtype, rng):
    forward, formula = BACKWARD[op]
    y = forward(rng.normal(0, 3, (4, 5, 6)).astype(dtype), axis)
    dy = rng.normal(0, 1, y.shape).astype(dtype)
    axes = {-1: (2,), 0: (0,), None: (0, 1, 2)}.get(axis, axis)
    truth = formula(reference.wide(dy), reference.wide(y), axes)
    # The formula subtracts: count in ULP of what it subtracts.
    p = y if op == "softmax_backward" else np.exp(y)
    weights = p if op == "softmax_backward" else np.ones_like(p)
    terms = p * np.abs(dy) + p * np.sum(np.abs(dy) * weights, axis=axes, keepdims=True)
    size = np.maximum(terms, np.abs(dy) * (1 if op == "log_softmax_backward" else 0))
    result = getattr(fastsoftmax, op)(dy, y, axis)
    assert result.dtype == dtype
    assert in_units_of(result, truth, size).max() <= 4


@pytest.mark.parametrize("op", BACKWARD)
def test_backward_in_place(op, dtype, rng):
    function = getattr(fastsoftmax, op)
    dy, y = rng.random((2, 6, 7)).astype(dtype)
    fresh = function(dy, y)
    for place in (0, 1):
        arrays = [dy.copy(), y.copy()]
        assert function(*arrays, out=arrays[place]) is arrays[place]
        assert same_bits(arrays[place], fresh)


@pytest.mark.parametrize("op", BACKWARD)
def test_backward_takes_the_wider_dtype(op):
    function = getattr(fastsoftmax, op)
    single, double = np.ones((2, 3), np.float32), np.ones((2, 3))
    assert function(single, double).dtype == function(double, single).dtype == np.float64
    assert function(single.astype(np.float16), single).dtype == np.float32
    assert function(single.astype(np.float16), single.astype(np.float16)).dtype == np.float16


@pytest.mark.parametrize("op", FAMILY)
def test_rows_of_lying_apart_classes_too_long_to_gather_several(op, dtype, rng):
    x = rng.normal(0, 3, (2, 140_002)).astype(dtype)[:, ::2]
    function = getattr(fastsoftmax, op)
    assert same_bits(function(x, threads=1), function(x.copy(), threads=1))
