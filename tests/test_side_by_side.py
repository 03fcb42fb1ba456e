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


@pytest.mark.parametrize("n", [*range(1, 36), 63, 64, 65, 100, 128, 200, 256])
def test_every_length_and_number_of_rows(n, dtype, isa, rng):
    for rows in (2, 3, 5, 8, 16, 17, 31, 33, 64):
        x = (rng.normal(size=(rows, n)) * rng.choice([1, 10, 80, 1e5], (rows, 1))).astype(dtype)
        labels = rng.integers(n, size=rows)
        labels[rng.integers(rows)] = -100
        check(x, labels)


@pytest.mark.parametrize("n", [1, 2, 3, 10, 17, 50, 100])
@pytest.mark.parametrize("special", SPECIALS)
def test_specials_in_every_lane_and_class(special, n, dtype, isa, rng):
    for j in range(n) if n < 20 else (0, 7, LANES, n - 1):  # of longer rows in some vectors
        x = np.tile(rng.normal(size=(1, n)), (2 * LANES + 3, 1)).astype(dtype)
        x += rng.normal(size=(len(x), 1)).astype(dtype)
        x[rng.permutation(len(x))[: LANES + j % 5], j] = special
        check(x, rng.integers(n, size=len(x)))


def test_nothing_beyond_the_rows_is_written(dtype, isa, rng):
    for n in (1, 2, 3, 5, 8, 10, 15, 16, 17, 33, 49, 64, 100):
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


# --- losses in which every class has a coefficient ---

OPTIONS = {
    "smoothing": {"label_smoothing": 0.1},
    "half": {"label_smoothing": 0.5},
    "much": {"label_smoothing": 0.9},
    "even": {"label_smoothing": 1.0},
    "weights": {"label_smoothing": 0.1, "weight": 0.3},
    "weights of many sizes": {"label_smoothing": 0.3, "weight": 3},
    "weights beyond float32": {"label_smoothing": 0.2, "weight": 60},
    "z": {"label_smoothing": 0.1, "weight": 1, "z_loss": 1e-3},
    "soft": {},
    "soft with smoothing": {"label_smoothing": 0.2, "z_loss": 1e-3},
    "soft with weights": {"weight": 3},
    "soft with both": {"label_smoothing": 0.5, "weight": 1, "z_loss": 1e-3},
    "soft, even": {"label_smoothing": 1.0, "weight": 0.3},
}
each_scheme = pytest.mark.parametrize("scheme", OPTIONS)
FACTORS = [1, -0.25, 0, 1e-9, 3e-25, 1e-80, 1e70]


def mixed_case(scheme, x, rng):
    """Targets, some ignored or near one-hot; options, with weights of 0 among them; factors."""
    rows, n = x.shape
    options = dict(OPTIONS[scheme])
    if "weight" in options:
        options["weight"] = 10.0 ** (options["weight"] * rng.uniform(-1, 1, n))
        options["weight"][rng.random(n) < 0.1] = 0
    factors = rng.choice(FACTORS, rows) * rng.random(rows)
    if not scheme.startswith("soft"):
        targets = np.where(rng.random(rows) < 0.1, -100, rng.integers(n, size=rows))
        return targets, options, factors
    targets = rng.random((rows, n)) ** 10.0 ** rng.uniform(0, 2, (rows, 1))
    targets[:, 0] += targets.sum(axis=1) == 0
    targets[rng.random((rows, n)) < 0.2] = 0
    return targets.astype(x.dtype), options, factors


def mixed(x, targets, options, factors, axis=-1, out=None):
    options = {"axis": axis, "reduction": "none", **options}
    alone = fastsoftmax.cross_entropy(x, targets, **options)
    loss, grad = fastsoftmax.cross_entropy_with_grad(
        x, targets, grad_output=factors, out=out, **options
    )
    return alone, loss, grad


def same_but_for_nan(got, wanted):
    for a, b in zip(got, wanted, strict=True):
        a, b = np.where(np.isnan(a), np.nan, a), np.where(np.isnan(b), np.nan, b)
        assert same_bits(np.ascontiguousarray(a), np.ascontiguousarray(b))


def strided(a):
    """The same numbers, neither rows nor classes side by side."""
    return np.repeat(np.repeat(a, 2, axis=0), 3, axis=1)[::2, ::3]


def check_mixed(x, targets, options, factors):
    rows = [slice(i, i + 1) for i in range(len(x))]
    alone = [mixed(x[row], targets[row], options, factors[row]) for row in rows]
    wanted = [np.concatenate(parts) for parts in zip(*alone, strict=True)]
    place = x.copy()
    same_but_for_nan(mixed(place, targets, options, factors, out=place), wanted)
    layouts = [(x, targets), (np.asfortranarray(x), targets), (strided(x), targets)]
    if targets.ndim == 2:
        columns = np.asfortranarray(targets)
        layouts += [(x, columns), (np.asfortranarray(x), columns), (strided(x), columns),
                    (np.asfortranarray(x), strided(targets))]  # fmt: skip
    for logits, t in layouts:
        same_but_for_nan(mixed(logits, t, options, factors), wanted)
    got = mixed(x.T.copy(), targets.T.copy(), options, factors, axis=0)
    same_but_for_nan((*got[:2], got[2].T), wanted)


@each_scheme
def test_mixed_of_every_length(scheme, dtype, isa, rng):
    lengths = [*range(1, 20), 31, 32, 33, 47, 63, 64, 65, 97, 127, 128, 129, 255, 256, 257]
    for n in lengths[:: 4 if isa == "scalar" else 1]:
        rows = int(rng.choice([2, 8, 15, 16, 19, 33]))
        x = rng.normal(size=(rows, n)) * rng.choice([1, 10, 80, 1e5], (rows, 1))
        check_mixed(x.astype(dtype), *mixed_case(scheme, x.astype(dtype), rng))


@each_scheme
@pytest.mark.parametrize("special", [*SPECIALS, "huge", "tie"])
def test_mixed_specials_in_every_lane_and_class(special, scheme, dtype, isa, rng):
    """Beside rows that hold none: lanes do not meddle with each other."""
    value = {"huge": 0.9 * np.finfo(dtype).max, "tie": 1.5}.get(special, special)
    for n in (1, 2, 5, 17) if isa == "scalar" else (1, 2, 3, 10, 17):
        for j in range(n) if n < 10 else (0, 3, n - 1):
            x = np.tile(rng.normal(size=(1, n)), (LANES + 5, 1)).astype(dtype)
            x += rng.normal(size=(len(x), 1)).astype(dtype)
            planted = rng.permutation(len(x))[: LANES // 2 + j % 5]
            x[planted, j] = value
            if special == "tie":
                x[planted] = np.minimum(x[planted], x[planted, j : j + 1])
            if special == "huge":
                x[planted, -1] = -value
            check_mixed(x, *mixed_case(scheme, x, rng))


@pytest.mark.parametrize("special", [np.nan, np.inf, -np.inf, -1.0, 1e30])
def test_specials_among_the_soft_targets(special, dtype, isa, rng):
    for scheme in ("soft", "soft with weights", "soft with both"):
        for n in (2, 10, 33):
            x = rng.normal(size=(LANES + 3, n)).astype(dtype)
            targets, options, factors = mixed_case(scheme, x, rng)
            targets[rng.random(targets.shape) < 0.1] = special
            check_mixed(x, targets, options, factors)


def test_mixed_along_an_axis_that_is_not_the_last(dtype, isa, rng):
    """Blocks of classes that are longer than what goes side by side contiguous."""
    for n, spots in ((200, 7), (1000, 3)):
        x = rng.normal(0, 5, (2, n, spots)).astype(dtype)
        rows = x.transpose(0, 2, 1).reshape(-1, n).copy()
        for scheme in ("smoothing", "weights of many sizes", "soft with both"):
            targets, options, _ = mixed_case(scheme, rows, rng)
            _, loss, grad = mixed(rows, targets, options, None)
            t = targets.reshape(2, spots, *targets.shape[1:])
            if t.ndim == 3:
                t = t.transpose(0, 2, 1).copy()
            _, loss_2, grad_2 = mixed(x, t, options, None, axis=1)
            same_but_for_nan((loss_2.reshape(-1), grad_2.transpose(0, 2, 1).reshape(-1, n)),
                             (loss, grad))  # fmt: skip
