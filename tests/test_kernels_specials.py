"""Maxima, ties, NaN and infinities planted in every place of a row, on every instruction set."""

import numpy as np
import pytest
from conftest import assert_exact, same_bits
from kernel_cases import BLOCK, PIECE, SLOW_TRUTH, case_of
from test_kernels import check_family, check_losses

import fastsoftmax
from fastsoftmax._backend import core

if core.current_isa() == "reference":
    pytest.skip("no compiled kernels", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("isa")

INF, NAN = np.inf, np.nan
SHORT = list(range(1, 141))
BANDS = [SHORT[k : k + 35] for k in range(0, len(SHORT), 35)]


def places(n, dtype):
    """Every place of a short row; of a longer one those around the ends of vectors and blocks."""
    if n <= SHORT[-1]:
        return np.arange(n)
    block = BLOCK[dtype.name]
    if n > PIECE:
        return np.array([0, block - 1, block, PIECE - 1, PIECE, n - 1])
    edges = [0, 16, 32, 64, 128, block, block + 64, 2 * block, n // 2, n - n % 64, n]
    near = {edge + step for edge in edges for step in (-2, -1, 0, 1, 7)}
    return np.array(sorted(at for at in near if 0 <= at < n))


def long_lengths(dtype):
    block = BLOCK[dtype.name]
    return [block - 1, block, block + 1, 2 * block + 95, PIECE + 3]


def lengths(band, dtype, isa):
    """The short lengths of a band, and with the last the long ones."""
    if SLOW_TRUTH and dtype == np.float64:
        return band[::9]
    chosen = band[::3] if isa == "scalar" else band
    return [*chosen, *long_lengths(dtype)] if band is BANDS[-1] else chosen


each_band = pytest.mark.parametrize("band", BANDS, ids=lambda band: f"{band[0]}-{band[-1]}")


def results(x, labels):
    """What each function makes of the rows, by name; one entry a row."""
    loss, grad = fastsoftmax.cross_entropy_with_grad(x, labels, reduction="none")
    return {
        "softmax": fastsoftmax.softmax(x),
        "log_softmax": fastsoftmax.log_softmax(x),
        "logsumexp": fastsoftmax.logsumexp(x),
        "loss": fastsoftmax.cross_entropy(x, labels, reduction="none"),
        "loss beside the gradient": loss,
        "gradient": grad,
    }


@each_band
@pytest.mark.parametrize("height", [20, 2000])
def test_maximum_in_every_place(height, band, dtype, isa, rng):
    """A maximum overlooked would overflow (2000) or cost the digits of a loss near zero (20)."""
    for n in lengths(band, dtype, isa):
        at = places(n, dtype)
        x = rng.normal(0, 1, (len(at), n)).astype(dtype)
        x[np.arange(len(at)), at] = height
        case = case_of(x, at)
        check_family(case)
        check_losses(case)


@pytest.mark.parametrize("n", [2, 3, 8, 17, 33, 64, 65, 130, 2049, 4133])
def test_ties_in_every_pair_of_places(n, dtype, isa, rng):
    """The largest logit twice: one is left out of the sum, the other counted."""
    if SLOW_TRUTH and dtype == np.float64 and n > 33:
        pytest.skip("needs a long double wider than double")
    at = places(n, dtype)
    steps = range(1, n) if n < 40 else (1, 8, 16, 64, n // 2, n - 1)
    pairs = np.array([(i, i + step) for step in steps for i in at if i + step < n])
    pairs = pairs[:: 7 if isa == "scalar" and len(pairs) > 100 else 1]
    x = rng.normal(-40, 1, (len(pairs), n)).astype(dtype)
    for side in range(2):
        x[np.arange(len(pairs)), pairs[:, side]] = 3.5
    case = case_of(x, pairs[:, 1])
    check_family(case)
    check_losses(case)


@each_band
@pytest.mark.parametrize("special", [NAN, -NAN, INF])
def test_nan_and_inf_in_every_place(special, band, dtype, isa, rng):
    """They spoil their row, all of it, and no bit of the rows around it."""
    for n in lengths(band, dtype, isa):
        at = places(n, dtype)
        clean = rng.normal(0, 3, (2 * len(at), n)).astype(dtype)
        labels = rng.integers(n, size=len(clean))
        wanted = results(clean, labels)
        for first in (0, 1) if n <= SHORT[-1] else (0,):
            x = clean.copy()
            x[np.arange(first, len(x), 2), at] = special
            for name, got in results(x, labels).items():
                bad, others = got[first::2], got[1 - first :: 2]
                assert same_bits(others, wanted[name][1 - first :: 2]), (name, n)
                if name == "logsumexp" and special == INF:
                    assert np.all(bad == INF), (name, n)
                else:
                    assert np.isnan(bad).all(), (name, n)


@each_band
def test_minus_inf_in_every_place(band, dtype, isa, rng):
    """Exactly 0 and -inf there; the others have the bits that a logit with no weight leaves."""
    for n in lengths(band, dtype, isa):
        at = places(n, dtype)
        x = rng.normal(0, 3, (len(at), n)).astype(dtype)
        rows = np.arange(len(at))
        labels = (at + 1) % n
        x[rows, at] = -9000  # e^-9000 is 0
        if n == 1:
            x[:] = 0
        wanted = results(x, labels)
        x[rows, at] = -INF
        for name, got in results(x, labels).items():
            if n == 1:
                assert np.all(got == -INF) if name == "logsumexp" else np.isnan(got).all(), name
                continue
            if got.ndim == 2:
                assert np.all(got[rows, at] == (-INF if name == "log_softmax" else 0)), (name, n)
                wanted[name][rows, at] = got[rows, at]
            assert same_bits(got, wanted[name]), (name, n)


@pytest.mark.parametrize("n", [2, 16, 33, 100, 1025, 2049])
def test_label_on_minus_inf(n, dtype, isa, rng):
    """An impossible label costs inf, and its gradient is finite."""
    at = places(n, dtype)
    x = rng.normal(0, 3, (len(at), n)).astype(dtype)
    x[np.arange(len(at)), at] = -INF
    loss, grad = fastsoftmax.cross_entropy_with_grad(x, at, reduction="none")
    assert np.all(loss == INF)
    assert_exact("cross_entropy_with_grad", grad, case_of(x, at).gradient)
    assert np.all(grad[np.arange(len(at)), at] == -1)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_sum_of_losses_with_infinite_ones(reduction, dtype, isa, rng):
    """inf as long as none is NaN, wherever in the batch it stands; then NaN."""
    for rows in (1, 2, 300):
        for where in {0, rows // 2, rows - 1}:
            x = rng.normal(0, 3, (rows, 5)).astype(dtype)
            labels = np.zeros(rows, np.int64)
            x[where, 0] = -INF
            assert fastsoftmax.cross_entropy(x, labels, reduction=reduction) == INF
            loss, grad = fastsoftmax.cross_entropy_with_grad(x, labels, reduction=reduction)
            assert loss == INF and np.isfinite(grad).all()
            x[-1 - where, 1] = NAN
            assert np.isnan(fastsoftmax.cross_entropy(x, labels, reduction=reduction))


@pytest.mark.parametrize("n", [1, 2, 17, 64, 65, 2100])
def test_rows_of_nothing_else(n, dtype, isa):
    """Whole rows of one special value."""
    values = np.array([-INF, INF, NAN, -0.0, 0.0, np.finfo(dtype).max, -np.finfo(dtype).max], dtype)
    x = np.repeat(values[:, None], n, axis=1)
    got = results(x, np.zeros(len(x), np.int64))
    lse = got.pop("logsumexp")
    assert lse[0] == -INF and lse[1] == INF and np.isnan(lse[2])
    assert np.all(lse[5:] == values[5:])  # log n is far below their last digit
    for value in got.values():
        assert np.isnan(value[:3]).all()
    check_losses(case_of(x[3:], np.zeros(4, np.int64)))
    check_family(case_of(x[3:5], np.zeros(2, np.int64)))
    assert_exact("softmax", got["softmax"][5:], np.full((2, n), 1 / np.float64(n)))


@pytest.mark.parametrize("n", [1, 3, 33, 128, 2049])
def test_ignored_rows_are_not_read(n, dtype, isa, rng):
    """Loss and gradient exactly 0 whatever the logits are, the others untouched."""
    clean = rng.normal(0, 3, (40, n)).astype(dtype)
    labels = rng.integers(n, size=40)
    wanted = results(clean, labels)
    x, some = clean.copy(), labels.copy()
    x[::4], x[1::4] = NAN, INF
    some[::4] = some[1::4] = -100
    left = np.arange(40) % 4 > 1
    got = results(x, some)
    for name in ("loss", "loss beside the gradient", "gradient"):
        assert np.all(got[name][~left] == 0) and not np.signbit(got[name][~left]).any()
        assert same_bits(got[name][left], wanted[name][left])
