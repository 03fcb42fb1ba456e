"""fastsoftmax.scipy: the functions of scipy.special by name, signature and edge, and exact."""

import inspect
import math

import numpy as np
import pytest
from conftest import in_units_of, same_bits

import fastsoftmax
from fastsoftmax import scipy as ours

FAMILY = ["softmax", "log_softmax", "logsumexp"]


@pytest.fixture
def special():
    return pytest.importorskip("scipy.special")


def test_works_without_scipy():
    assert "scipy" not in vars(ours)


@pytest.mark.parametrize("name", FAMILY)
def test_signatures(name, special):
    theirs = inspect.signature(getattr(special, name)).parameters
    mine = inspect.signature(getattr(ours, name)).parameters
    assert [(k, p.default) for k, p in mine.items()] == [(k, p.default) for k, p in theirs.items()]


@pytest.mark.parametrize("axis", [None, 0, -1, 1, (0, 2), (-1, 0, 1)])
@pytest.mark.parametrize("name", FAMILY)
def test_same_bits_as_the_package(name, axis, dtype, rng):
    x = rng.normal(0, 5, (3, 4, 5)).astype(dtype)
    assert same_bits(getattr(ours, name)(x, axis=axis), getattr(fastsoftmax, name)(x, axis))


CASES = {
    "list": [1.0, 2.0, 5.0],
    "nested": [[1, 2], [3, 4]],
    "tuple": (0.5, 0.25),
    "scalar": 1.5,
    "0-d": np.array(2.0),
    "integers": np.array([1, 5, 7]),
    "float16": np.array([1, 2, 3], np.float16),
    "float32": np.linspace(-3, 3, 12, dtype=np.float32).reshape(3, 4),
    "big endian": np.arange(4, dtype=">f8"),
    "longdouble": np.arange(4, dtype=np.longdouble),
    "inf": np.array([1, np.inf, 2]),
    "two inf": np.array([np.inf, np.inf]),
    "nan": np.array([1, np.nan]),
    "-inf": np.array([-np.inf, -np.inf]),
    "some -inf": np.array([-np.inf, 1, 2]),
    "no rows": np.empty((0, 3)),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("name", FAMILY)
def test_against_scipy(name, case, special):
    x = CASES[case]
    if name == "log_softmax" and case == "inf":
        assert np.isnan(ours.log_softmax(x)).all()  # SciPy: NaN for the inf, -inf beside it
        return
    with np.errstate(all="ignore"):
        axis = 1 if case == "no rows" else None
        theirs = getattr(special, name)(x, axis=axis)
    mine = getattr(ours, name)(x, axis=axis)
    assert type(mine) is type(theirs)
    assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
    assert in_units_of(mine, theirs, np.maximum(1, np.abs(theirs))).max(initial=0) <= 4


def test_small_integers_are_float64(special):
    assert special.softmax(np.int8([1, 2])).dtype == np.float16
    assert ours.softmax(np.int8([1, 2])).dtype == np.float64


# --- logsumexp with factors ---

WEIGHTED = {
    "positive": ([1.0, 2.0, 3.0], [0.5, 1, 2]),
    "a zero": ([1.0, 2.0, 3.0], [0.5, 0, 2]),
    "zero beside inf": ([1.0, np.inf, np.nan], [0.5, 0, 0]),
    "all zero": ([1.0, 2.0], [0, 0]),
    "negative": ([1.0, 2.0], [1, -1]),
    "negative sum": ([1.0, 2.0], [-1, -1]),
    "inf": ([1.0, np.inf], [1, 1]),
    "minus inf": ([1.0, np.inf], [1, -1]),
    "inf of both signs": ([np.inf, np.inf], [1, -1]),
    "nan": ([np.nan, 1], [1, 1]),
    "nan factor": ([1.0, 1], [np.nan, 1]),
    "integers": ([1, 2], [2, 3]),
    "scalar factor": ([1.0, 2.0], 3.0),
    "scalar exponent": (1.0, [1.0, 2.0]),
    "both scalar": (1.0, 2.0),
    "mask": ([1.0, 2.0, 3.0], np.array([True, False, True])),
    "broadcast": (np.arange(6.0).reshape(2, 3), np.array([[1.0], [2.0]])),
    "float32": (np.float32([1, 2]), np.float32([1, 3])),
    "float32, number": (np.float32([1, 2]), 2.0),
    "float32, float64": (np.float32([1, 2]), np.array([1.0, 3.0])),
    "float32, integers": (np.float32([1, 2]), np.array([1, 3])),
    "integers, float32": (np.array([1, 2]), np.float32([1, 3])),
    "cancels": ([1.0, 1.0], [1, -1]),
    "-inf": ([-np.inf, -np.inf], [1, 2]),
}


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("case", WEIGHTED)
def test_factors_against_scipy(case, keepdims, special):
    a, b = WEIGHTED[case]
    for axis in (None, 0, -1):
        if axis is not None and np.ndim(a) == np.ndim(b) == 0:
            continue
        with np.errstate(all="ignore"):
            theirs = special.logsumexp(a, axis, b=b, keepdims=keepdims)
            logs, signs = special.logsumexp(a, axis, b=b, keepdims=keepdims, return_sign=True)
        mine = ours.logsumexp(a, axis, b=b, keepdims=keepdims)
        my_logs, my_signs = ours.logsumexp(a, axis, b=b, keepdims=keepdims, return_sign=True)
        assert type(mine) is type(theirs)
        assert mine.dtype == theirs.dtype == my_signs.dtype and mine.shape == theirs.shape
        assert in_units_of(mine, theirs, np.maximum(1, np.abs(theirs))).max() <= 8
        assert in_units_of(my_logs, logs, np.maximum(1, np.abs(logs))).max() <= 8
        assert np.array_equal(my_signs, signs, equal_nan=True)


def truth(a, b):
    """log|sum(b e^a)| of each row with mpmath."""
    mpmath = pytest.importorskip("mpmath")
    mp = mpmath.mp.clone()
    mp.dps = 60
    rows = [
        mp.fsum(mp.mpf(float(f)) * mp.exp(mp.mpf(float(x))) for x, f in zip(x, f, strict=True))
        for x, f in zip(a, b, strict=True)
    ]
    return np.array([mp.log(abs(total)) for total in rows], object), np.array(rows)


def ulps(result, exact, size):
    size = np.maximum(np.maximum(np.abs(exact.astype(float)), size), 1)
    errors = [abs(value - float(r)) for value, r in zip(exact, result, strict=True)]
    return np.array(errors, float) / np.spacing(size.astype(result.dtype))


FACTORS = {
    "uniform": lambda rng, n: rng.uniform(0.1, 1, n),
    "shares": lambda rng, n: np.full(n, 1 / n),
    "ones": lambda rng, n: np.ones(n),
    "many sizes": lambda rng, n: 10.0 ** rng.uniform(-30, 30, n),
    "sparse": lambda rng, n: rng.uniform(0, 1, n) * (rng.random(n) < 0.1) + (np.arange(n) == 3),
    "both signs": lambda rng, n: rng.uniform(0, 1, n) - 0.1,
}


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("factors", FACTORS)
@pytest.mark.parametrize("scale", [1e-8, 1, 30, 500, 1e4])
def test_factors_are_exact(factors, scale, dtype, rng):
    n = 60
    a = rng.normal(0, scale, (6, n)).astype(dtype)
    b = np.array([FACTORS[factors](rng, n) for _ in a]).astype(dtype)
    exact, totals = truth(a, b)
    # In ULP of the result, the exponents that count, or 1; of terms that cancel, of their size.
    counted = np.max(np.abs(np.where(b == 0, 0, a)), axis=1)
    cancelled = (truth(a, np.abs(b))[1] / np.abs(totals)).astype(float)
    result, signs = ours.logsumexp(a, 1, b=b, return_sign=True)
    assert result.dtype == dtype
    assert (ulps(result, exact, counted) <= (2 if dtype == np.float32 else 4) * cancelled).all()
    assert np.array_equal(signs, [math.copysign(1, total) for total in totals])


def test_factors_beyond_the_range_of_floats():
    a, b = np.array([[0.0, -800.0, 700.0]]), np.array([[1e-300, 1e300, 5e-324]])
    exact, _ = truth(a, b)
    result = ours.logsumexp(a, 1, b=b)
    assert ulps(result, exact, 800.0).max() <= 4
    exact = 800 + np.log(2) + 308 * np.log(10)
    assert abs(ours.logsumexp([800.0, 800.0], b=[1e308, 1e308]) - exact) <= 4 * np.spacing(exact)


def test_factors_along_axes(rng):
    a, b = rng.normal(0, 3, (4, 5, 6)), rng.uniform(0, 1, (5, 1))
    full = np.broadcast_to(b, a.shape)
    for axis in (0, 1, -1, (0, 2), None):
        result = ours.logsumexp(a, axis, b=b)
        direct = np.log(np.sum(full * np.exp(a), axis=axis))
        assert in_units_of(result, direct, 10.0).max() <= 4
        kept = ours.logsumexp(a, axis, b=b, keepdims=True)
        assert kept.shape == np.sum(a, axis=axis, keepdims=True).shape
        assert same_bits(np.ravel(kept), np.ravel(result))


def test_large_input_goes_by_pieces(rng):
    a, b = rng.normal(0, 3, (500, 1300)), rng.uniform(0, 1, (500, 1300))
    assert same_bits(ours.logsumexp(a, 1, b=b)[400:], ours.logsumexp(a[400:], 1, b=b[400:]))


def test_empty():
    assert ours.logsumexp([]) == -np.inf
    assert ours.logsumexp([], b=[], return_sign=True) == (-np.inf, 0)
    assert ours.logsumexp(np.empty((2, 0)), axis=1, b=np.empty((2, 0))).tolist() == [-np.inf] * 2
    assert ours.logsumexp(np.empty((0, 2)), axis=1, b=3.0).shape == (0,)


def test_half_precision_is_rounded_once(rng):
    a, b = rng.normal(0, 3, 30).astype(np.float16), rng.uniform(0, 1, 30).astype(np.float16)
    result = ours.logsumexp(a, b=b)
    assert result.dtype == np.float16
    assert result == np.float16(ours.logsumexp(a.astype(float), b=b.astype(float)))


@pytest.mark.parametrize("name", FAMILY)
def test_what_is_refused(name):
    function = getattr(ours, name)
    argument = "a" if name == "logsumexp" else "x"
    for bad in (np.ones(2, complex), [True, False], ["a"], np.ma.array([1.0]), np.array([None])):
        with pytest.raises(TypeError, match=f"^{argument}: "):
            function(bad)
    with pytest.raises(ValueError, match="axis"):
        function([1.0], axis=1)
    with pytest.raises(ValueError, match="axis"):
        function([[1.0]], axis=(0, 0))


def test_bad_factors_are_refused():
    with pytest.raises(TypeError, match="^b: "):
        ours.logsumexp([1.0], b=[1j])
    with pytest.raises(ValueError, match="^b: shape"):
        ours.logsumexp([1.0, 2.0], b=[1.0, 2.0, 3.0])
