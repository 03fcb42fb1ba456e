"""The rows that losses with a coefficient for every class, and the backward ops, compute worst, on
every instruction set; and a short search, the same each time (tests/worst_mixtures.py)."""

from fractions import Fraction

import numpy as np
import pytest
import worst_mixtures
import worst_rows
from kernel_cases import SLOW_TRUTH
from mixed_cases import exact_sums, products

from fastsoftmax._backend import core

if core.current_isa() == "reference":
    pytest.skip("no compiled kernels", allow_module_level=True)
if SLOW_TRUTH:
    pytest.skip("needs a long double wider than double", allow_module_level=True)

ROWS = worst_mixtures.load_corpus()


def test_corpus_covers_everything():
    assert worst_mixtures.CORPUS.stat().st_size < 200_000
    assert {(row.op, row.dtype) for row in ROWS} == {
        (op, dtype) for op in worst_mixtures.OPS for dtype in worst_rows.DTYPES
    }


@pytest.mark.parametrize("op", worst_mixtures.OPS)
def test_corpus(op, dtype, isa):
    for row in ROWS:
        if (row.op, row.dtype) == (op, dtype.name):
            assert row.error() <= worst_mixtures.bound(row), row


def test_seeded_search():
    """Some seconds from nothing, always the same rows."""
    search = worst_mixtures.MixtureSearch(seed=20).run(rounds=300)
    assert search.rows > 40_000
    for (op, dtype, *_), rows in search.worst.items():
        for row in rows:
            assert row.ulp <= worst_mixtures.bound(row), row
            assert row.error() == row.ulp
        assert search.worst_of(op, dtype).ulp > 0.5  # it does find some


@pytest.mark.parametrize("n", [16, 65])
@pytest.mark.parametrize("weight", [None, 1.0, 1.5])
def test_gaps_rounded_alike(weight, n, isa):
    """Rows that a search does not meet: a label's gaps, just above a power of two, are all rounded
    up, and so would be the sums of two and of four of them in float32: 3.5 ULP."""
    unit = 2.0**-17
    x = np.repeat(-64 - unit * np.array([0, 0, 1, 0]), n // 4)
    x = np.append(x, 0)[:n] if n % 4 else x
    x[-1] = 0.5001 * unit
    label, weights = np.array([n - 1]), None if weight is None else np.full(n, weight)
    for near in 1 + np.linspace(-3e-6, 3e-6, 51):  # losses around 16
        smoothing = float(16 / 64 * n / (n - 1) * near)
        batch = worst_mixtures.Batch(x.astype(np.float32)[None], label, None, weights, smoothing)
        for error in worst_mixtures.errors_of(worst_mixtures.LABELS, batch).values():
            assert error[0] <= 1.6


def test_sums_of_the_truth(rng):
    """Where the terms cancel, too: the products of float64 are kept whole."""
    a, b = rng.normal(0, 1, (2, 3, 40))
    b = np.concatenate([b, -b], axis=1)
    a = np.concatenate([a, a * (1 + 2.0**-52)], axis=1)
    for row, total in enumerate(exact_sums(products(a, b))):
        exact = sum(Fraction(x) * Fraction(y) for x, y in zip(a[row], b[row], strict=True))
        assert abs(Fraction(float(total[0])) - exact) <= abs(exact) * Fraction(2) ** -52
