"""The rows that the kernels compute worst, found by tools/search_worst_rows.py: kept for ever, on
every instruction set; and a short search, the same each time."""

import numpy as np
import pytest
import worst_rows
from conftest import BOUNDS
from kernel_cases import SLOW_TRUTH

import fastsoftmax
from fastsoftmax import testing
from fastsoftmax._backend import core

if core.current_isa() == "reference":
    pytest.skip("no compiled kernels", allow_module_level=True)
if SLOW_TRUTH:
    pytest.skip("needs a long double wider than double", allow_module_level=True)

ROWS = worst_rows.load_corpus()


def test_corpus_covers_everything():
    assert worst_rows.CORPUS.stat().st_size < 200_000
    assert {(row.op, row.dtype) for row in ROWS} == {
        (op, dtype) for op in worst_rows.OPS for dtype in worst_rows.DTYPES
    }


@pytest.mark.parametrize("op", worst_rows.OPS)
def test_corpus(op, dtype, isa):
    rows = [row for row in ROWS if (row.op, row.dtype) == (op, dtype.name)]
    for row in rows:
        assert row.error() <= worst_rows.bound(row), row


# Pairs of the float32 exponentials that err most, in opposite directions; the last two results lie
# just above the smallest normal number. The sum of rounded terms made them 2.5 to 3.0 ULP.
DIRECTED = [
    [3.4978830814361572, 15.281402587890625],
    [-87.3014144897461, -0.6580117344856262],
    [-3.6373395614908155e-12] + 31 * [-29.080747604370117],
]


@pytest.mark.parametrize("row", DIRECTED)
def test_directed_rows(row, isa):
    x = np.float32([row])
    for label in (0, len(row) - 1):
        for op, error in worst_rows.row_errors(x, np.array([label])).items():
            assert error[0] <= BOUNDS[op][x.dtype], op


def test_seeded_search():
    """Some twenty seconds from nothing, always the same rows; found by chance and breeding."""
    search = worst_rows.Search(seed=20).run(rounds=300)
    assert search.rows > 80_000
    for dtype in worst_rows.DTYPES:
        for op in worst_rows.OPS:
            row = search.worst_of(op, dtype)
            assert row.ulp <= worst_rows.bound(row), row
            assert row.ulp > 0.5  # it does find some


@pytest.mark.parametrize("count", [1, 1000, 200_000])
def test_mean_of_many_samples(count, dtype, isa):
    """Summation adds nothing to the error: of many different losses, and of one loss many times."""
    rng = np.random.default_rng(count)
    x = rng.normal(0, 8, (count, 3)).astype(dtype)
    labels = rng.integers(3, size=count)
    truth = testing.cross_entropy(x, labels)
    bound = {"float32": 1, "float64": 2}[dtype.name]
    for reduction, exact in (("mean", truth.mean()), ("sum", truth.sum())):
        loss = fastsoftmax.cross_entropy(x, labels, reduction=reduction)
        assert testing.ulp_error(loss, exact) <= bound


def test_reduction_rounds_once(isa):
    """What adding and dividing do to the losses of samples: half an ULP and no more."""
    rng = np.random.default_rng(1)
    for count in (3, 7, 10, 49, 999, 5000):
        x = rng.normal(0, 8, (count, 3))
        labels = rng.integers(3, size=count)
        losses = fastsoftmax.cross_entropy(x, labels, reduction="none").astype(np.longdouble)
        for reduction, divisor in (("sum", 1), ("mean", count)):
            loss = fastsoftmax.cross_entropy(x, labels, reduction=reduction)
            assert testing.ulp_error(loss, losses.sum() / divisor) <= 0.5 + 2.0**-8


@pytest.mark.parametrize("count", [1, 1000])
def test_mean_of_the_worst_sample(count, dtype):
    """A mean of equal losses is no better than each of them."""
    row = max((row for row in ROWS if (row.op, row.dtype) == ("cross_entropy", dtype.name)),
              key=lambda row: row.ulp)  # fmt: skip
    x, labels = np.tile(row.x, (count, 1)), np.full(count, row.label)
    loss = fastsoftmax.cross_entropy(x, labels)
    bound = {"float32": 1, "float64": 2}[dtype.name]
    assert testing.ulp_error(loss, testing.cross_entropy(x[:1], labels[:1])[0]) <= bound
