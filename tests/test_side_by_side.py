"""Rows taken side by side have the bits that each has alone: every lane, class and way to lie."""

import numpy as np
import pytest
from conftest import same_bits

import fastsoftmax
from fastsoftmax._backend import core

if core.current_isa() == "reference":
    pytest.skip("no compiled kernels", allow_module_level=True)

LANES = 16  # of the widest instance; the narrower ones divide it
SPECIALS = [200.0, np.inf, np.nan, -np.inf, -3e4]


def everything(x, labels, axis=-1):
    """The results of every function that takes rows side by side, one row each."""
    options = {"axis": axis, "reduction": "none", "z_loss": 1e-3}
    loss, grad = fastsoftmax.cross_entropy_with_grad(x, labels, **options)
    return [
        fastsoftmax.softmax(x, axis), fastsoftmax.log_softmax(x, axis), grad,
        fastsoftmax.logsumexp(x, axis), fastsoftmax.cross_entropy(x, labels, **options), loss,
    ]  # fmt: skip


def one_by_one(x, labels):
    parts = [everything(x[i : i + 1], labels[i : i + 1]) for i in range(len(x))]
    return [np.concatenate(results) for results in zip(*parts, strict=True)]


def check(x, labels):
    wanted = one_by_one(x, labels)
    by_columns = everything(np.ascontiguousarray(x.T), labels, axis=0)
    by_columns = [a.T if a.ndim == 2 else a for a in by_columns]
    padded = np.full((len(x), x.shape[1] + 3), np.nan, x.dtype)[:, 1:-2]
    padded[:] = x
    for got in (everything(x, labels), by_columns, everything(padded, labels),
                everything(np.repeat(x, 2, axis=1)[:, ::2], labels)):  # fmt: skip
        for a, b in zip(got, wanted, strict=True):
            assert same_bits(np.where(np.isnan(a), np.nan, a), np.where(np.isnan(b), np.nan, b))


@pytest.mark.parametrize("n", [*range(1, 36), 63, 64, 65, 100, 127, 128])
def test_every_length_and_number_of_rows(n, dtype, isa, rng):
    for rows in (2, 3, 5, 8, 16, 17, 31, 33, 64):
        x = (rng.normal(size=(rows, n)) * rng.choice([1, 10, 80, 1e5], (rows, 1))).astype(dtype)
        labels = rng.integers(n, size=rows)
        labels[rng.integers(rows)] = -100
        check(x, labels)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 17])
@pytest.mark.parametrize("special", SPECIALS)
def test_specials_in_every_lane_and_class(special, n, dtype, isa, rng):
    for j in range(n):
        x = np.tile(rng.normal(size=(1, n)), (2 * LANES + 3, 1)).astype(dtype)
        x += rng.normal(size=(len(x), 1)).astype(dtype)
        x[rng.permutation(len(x))[: LANES + j % 5], j] = special
        check(x, rng.integers(n, size=len(x)))


def test_nothing_beyond_the_rows_is_written(dtype, isa, rng):
    for n in (1, 2, 3, 5, 8, 10, 15, 16, 17, 33):
        for rows in (2, 8, 16, 19, 40):
            held = np.full(rows * n + 2 * LANES, 7, dtype)
            out = held[LANES:-LANES].reshape(rows, n)
            x = rng.normal(size=(rows, n)).astype(dtype)
            fastsoftmax.softmax(x, out=out)
            assert same_bits(out, fastsoftmax.softmax(x))
            out[:] = x  # and in place
            fastsoftmax.log_softmax(out, out=out)
            assert same_bits(out, fastsoftmax.log_softmax(x))
            assert (held[:LANES] == 7).all() and (held[-LANES:] == 7).all()
