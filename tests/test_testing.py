"""The yardstick itself: fastsoftmax.testing against mpmath, and its examples."""

import doctest

import mpmath as mp
import numpy as np
import pytest
from kernel_cases import DISTRIBUTIONS, SLOW_TRUTH, rows_of

from fastsoftmax import testing


def test_examples():
    failed, tried = doctest.testmod(testing)
    assert tried >= 11 and failed == 0


def test_ulp_error_counts_from_the_truth():
    one = np.float32(1)
    above, below = np.nextafter(one, np.float32(2)), np.nextafter(one, np.float32(0))
    assert testing.ulp_error(above, 1.0) == 1 and testing.ulp_error(below, 1.0) == 0.5
    assert testing.ulp_error(one, float(below)) == 1  # spacing just below 1
    tiny = np.float32(2.0**-149)
    assert testing.ulp_error(tiny, 0.0) == 1 and testing.ulp_error(np.float32(0), 2.0**-151) == 0.25
    assert testing.ulp_error(np.float32(np.inf), 1e30) == np.inf
    assert testing.ulp_error(np.float32(np.inf), 1e39) == 0  # rounds to it
    assert testing.ulp_error(np.float64(np.nan), np.nan) == 0
    assert testing.ulp_error(np.float64(np.nan), 1.0) == np.inf
    big = np.finfo(np.float32).max
    assert testing.ulp_error(np.nextafter(big, np.float32(0)), float(big)) == 1


def exact(x, label):
    """(softmax, log_softmax, logsumexp, loss, gradient) of one row, in 800 digits."""
    with mp.workdps(800):
        values = [mp.mpf(float(v)) for v in x]
        e = [mp.exp(v) for v in values]
        total = mp.fsum(e)
        lse = mp.log(total)
        p = [v / total for v in e]
        others = mp.fsum(v for i, v in enumerate(e) if i != label)
        gradient = [-others / total if i == label else v for i, v in enumerate(p)]
        return p, [v - lse for v in values], lse, lse - values[label], gradient


def distance(truth, wanted, dtype, size=0):
    """In ULP of dtype, computed exactly; of those of `size` where that is larger."""
    truth = np.asarray(truth)
    with mp.workdps(800):
        unit = mp.mpf(float(np.spacing(dtype.type(max(abs(float(wanted)), size)))))
        value = truth[()]
        if isinstance(value, np.floating):
            value = np.format_float_scientific(value, unique=False, precision=30)
        return abs(mp.mpf(value) - wanted) / unit


@pytest.mark.parametrize("name", ["N(0,10)", "dominant", "near zero", "subnormal", "offset 1e4"])
def test_truth_is_true(name, dtype, rng):
    """To a hundredth of an ULP of the dtype that it is the truth of."""
    assert name in DISTRIBUTIONS
    for n in (2, 3, 9):
        x = rows_of([name] * 3, n, dtype, rng)
        labels = np.array([x[0].argmax(), x[1].argmin(), 0])
        found = (testing.softmax(x), testing.log_softmax(x), testing.logsumexp(x),
                 testing.cross_entropy(x, labels), testing.gradient(x, labels))  # fmt: skip
        for i in range(3):
            p, logs, lse, loss, gradient = exact(x[i], labels[i])
            for j in range(n):
                assert distance(found[0][i, j], p[j], dtype) < 0.01
                assert distance(found[1][i, j], logs[j], dtype) < 0.01
                assert distance(found[4][i, j], gradient[j], dtype) < 0.01
            assert distance(found[2][i], lse, dtype, abs(float(x[i].max()))) < 0.01
            assert distance(found[3][i], loss, dtype) < 0.01


@pytest.mark.skipif(SLOW_TRUTH, reason="compares with a long double wider than double")
def test_truth_by_mpmath_is_the_same(rng, monkeypatch):
    """Where long double is no wider, mpmath tells it."""
    x = rows_of(["N(0,10)", "dominant", "masked"], 5, np.dtype("float64"), rng)
    wanted = testing.softmax(x), testing.logsumexp(x), testing.log_softmax(x)
    monkeypatch.setattr(testing.reference, "wide_type", lambda x: np.float64)
    for function, truth in zip((testing.softmax, testing.logsumexp, testing.log_softmax), wanted,
                               strict=True):  # fmt: skip
        other = function(x)
        assert other.dtype == object
        assert testing.ulp_error(np.asarray(truth, float), other).max() <= 0.51
