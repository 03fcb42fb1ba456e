"""Every compiled function on every instruction set against higher precision, in ULP."""

import numpy as np
import pytest
from conftest import BOUNDS, assert_exact
from kernel_cases import (
    BLOCK,
    DISTRIBUTIONS,
    PIECE,
    SLOW_TRUTH,
    case_of,
    labels_for,
    mixed_case,
    rows_of,
)

import fastsoftmax
from fastsoftmax import testing
from fastsoftmax._backend import core

if core.current_isa() == "reference":
    pytest.skip("no compiled kernels", allow_module_level=True)

pytestmark = pytest.mark.usefixtures("isa")

SCALAR_LOSS = {"float32": 1, "float64": 2}  # a mean or sum over the batch
LENGTHS = range(1, 301)
BANDS = [LENGTHS[k : k + 50] for k in range(0, len(LENGTHS), 50)]


def check_family(case):
    x = case.x
    assert_exact("softmax", fastsoftmax.softmax(x), case.softmax)
    assert_exact("log_softmax", fastsoftmax.log_softmax(x), case.log_softmax)
    assert_exact("logsumexp", fastsoftmax.logsumexp(x), case.logsumexp, scale=x.max(axis=1))


def check_losses(case):
    x, labels = case.x, case.labels
    loss = fastsoftmax.cross_entropy(x, labels, reduction="none")
    assert_exact("cross_entropy", loss, case.loss)
    again, grad = fastsoftmax.cross_entropy_with_grad(x, labels, reduction="none")
    assert_exact("cross_entropy", again, case.loss)
    assert_exact("cross_entropy_with_grad", grad, case.gradient)


def check_scalar_losses(case):
    counted = case.counted
    x, labels = case.x[counted], case.labels[counted]
    total = case.loss[counted].sum()
    for reduction, truth in (("sum", total), ("mean", total / len(x))):
        divisor = 1 if reduction == "sum" else len(x)
        loss, grad = fastsoftmax.cross_entropy_with_grad(x, labels, reduction=reduction)
        assert_exact("cross_entropy_with_grad", grad, case.gradient[counted] / divisor)
        for value in (loss, fastsoftmax.cross_entropy(x, labels, reduction=reduction)):
            assert value.dtype == x.dtype
            error = testing.ulp_error(value, truth)
            assert error <= SCALAR_LOSS[x.dtype.name], f"{reduction}: {error:.3g} ULP"


def check(case):
    check_family(case)
    check_losses(case)
    check_scalar_losses(case)


@pytest.mark.parametrize("band", BANDS, ids=lambda band: f"{band[0]}-{band[-1]}")
def test_short_rows(band, dtype, isa):
    """Every length up to 300: every tail of a vector and of a group."""
    for n in band[:: 25 if SLOW_TRUTH and dtype == np.float64 else 1]:
        check(mixed_case(dtype.name, n, 1 if isa == "scalar" or SLOW_TRUTH else 3))


def boundaries(dtype):
    block = BLOCK[dtype]
    ends = [block, 2 * block, 3 * block, 16 * block]
    near = [at + step for at in ends for step in (-1, 0, 1, 17)]
    return [*near, block + 64, block + 161, 2 * block + block // 2 + 5]


@pytest.mark.parametrize("dtype, n", [(d, n) for d in BLOCK for n in boundaries(d)])
@pytest.mark.skipif(SLOW_TRUTH, reason="needs a long double wider than double")
def test_block_boundaries(dtype, n, isa):
    check(mixed_case(dtype, n, 1))


LONG = [PIECE - 1, PIECE, PIECE + 1, PIECE + 2048 + 77, 2 * PIECE, 2 * PIECE + 1, 128256]


@pytest.mark.parametrize("n", LONG)
@pytest.mark.skipif(SLOW_TRUTH, reason="needs a long double wider than double")
def test_pieces_and_vocabularies(n, dtype, isa):
    check(mixed_case(dtype.name, n, 0.25))


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_distribution(name, dtype, isa, rng):
    """Many rows of each distribution, and their mean and sum."""
    count = 100 if isa == "scalar" or SLOW_TRUTH else 400
    for n in (1, 2, 3, 10, 33, 65):
        x = rows_of([name] * count, n, dtype, rng)
        check(case_of(x, labels_for(x, rng)))


@pytest.mark.parametrize("label", ["any", "right"])
@pytest.mark.parametrize("rows", [1, 2, 3, 64, 129, 1000, 5000])
def test_scalar_loss_of_batches(rows, label, dtype, isa, rng):
    """Losses from 1e-20 to 1e3 in one sum; with the largest logit as label all are near zero."""
    if SLOW_TRUTH and dtype == np.float64:
        rows = min(rows, 129)
    x = (rng.normal(0, 1, (rows, 10)) * 10 ** rng.uniform(-2, 2, (rows, 1))).astype(dtype)
    labels = rng.integers(10, size=rows) if label == "any" else x.argmax(axis=1)
    check_scalar_losses(case_of(x, labels))


def test_loss_near_zero(dtype, isa):
    """Each smaller than one ULP of 1 and exact nevertheless; subnormal ones too."""
    steps = np.arange(10.0, 105.0 if dtype == np.float32 else 746.0, 0.37)
    for n in (2, 3, 20, 70):
        x = np.zeros((len(steps), n), dtype)
        x[:, n // 2] = steps
        case = case_of(x, np.full(len(x), n // 2))
        assert np.all(case.loss[:-5] > 0)
        check(case)


def test_target_far_below(dtype, isa):
    """Losses up to the largest number; the gradient at the target stays exactly -1."""
    top = float(np.finfo(dtype).max) / 1e3  # the sum of all is finite
    for n in (2, 50):
        depth = np.concatenate([np.arange(80, 800, 7.3), np.geomspace(1e3, top, 50)])
        x = np.zeros((len(depth), n), dtype)
        x[:, 1] = -depth
        labels = np.ones(len(x), np.int64)
        check(case_of(x, labels))
        _, grad = fastsoftmax.cross_entropy_with_grad(x, labels, reduction="sum")
        assert np.all(grad[-40:, 1] == -1)


@pytest.mark.skipif(SLOW_TRUTH, reason="needs a long double wider than double")
def test_tail_in_other_blocks(dtype, isa):
    """The largest logit in one block, what remains of the sum in others: no block's is lost."""
    n, low = 3 * BLOCK[dtype.name] + 5, -103.9 if dtype == np.float32 else -745.0
    for depth in (low + 20, low, low - 3, low - 5):
        x = np.full((6, n), depth, dtype)
        where = [0, 1, BLOCK[dtype.name] - 1, BLOCK[dtype.name], n // 2, n - 1]
        x[np.arange(6), where] = 0
        case = case_of(x, np.array(where))
        check_family(case)
        check_losses(case)


@pytest.mark.skipif(SLOW_TRUTH, reason="needs a long double wider than double")
def test_scalar_loss_of_one_sample(dtype, isa, rng):
    """A mean over one sample is no better than that sample's loss: that has to be good enough."""
    n, offset, depth = (2, 0, 40) if dtype == np.float32 else (3, 1e6, 120)
    x = offset - rng.uniform(1, depth, (20000, n))
    x[:, 0] = offset
    x = x.astype(dtype)
    labels = np.zeros(len(x), np.int64)
    truth = testing.cross_entropy(x, labels)
    losses = fastsoftmax.cross_entropy(x, labels, reduction="none")
    worst = int(testing.ulp_error(losses, truth).argmax())
    loss = fastsoftmax.cross_entropy(x[worst : worst + 1], labels[:1])
    assert testing.ulp_error(loss, truth[worst]) <= SCALAR_LOSS[dtype.name]


def test_no_classes_and_no_rows(dtype, isa):
    for shape in ((3, 0), (0, 5), (0, 0), (2, 0, 4)):
        x = np.empty(shape, dtype)
        assert fastsoftmax.softmax(x).shape == shape
        assert fastsoftmax.log_softmax(x).shape == shape
        lse = fastsoftmax.logsumexp(x)
        assert lse.shape == shape[:-1] and np.all(lse == -np.inf)
    with pytest.raises(ValueError):
        fastsoftmax.cross_entropy(np.empty((3, 0), dtype), np.zeros(3, int))
    assert fastsoftmax.cross_entropy(np.empty((0, 5), dtype), np.zeros(0, int)[:0]).dtype == dtype


def test_bounds_are_those_of_the_contract():
    """The yardstick itself: as promised, whatever the code says elsewhere."""
    wanted = {"softmax": (2.5, 4), "log_softmax": (2, 4), "logsumexp": (2, 4),
              "cross_entropy": (2, 4), "cross_entropy_with_grad": (2.5, 4)}  # fmt: skip
    for op, (single, double) in wanted.items():
        assert BOUNDS[op] == {np.dtype("float32"): single, np.dtype("float64"): double}
