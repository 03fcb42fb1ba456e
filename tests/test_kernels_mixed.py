"""Losses with a coefficient for every class, and the backward ops, on every instruction set against
higher precision.

Their gradients are differences: errors count in ULP of the larger of the terms.
"""

import numpy as np
import pytest
from conftest import BOUNDS, assert_exact, in_units_of
from kernel_cases import BLOCK, DISTRIBUTIONS, PIECE, SLOW_TRUTH, labels_for, rows_of
from mixed_cases import (
    WIDE,
    coefficients,
    log_softmax_backward_truth,
    mixed_truth,
    softmax_backward_truth,
)

import fastsoftmax
from fastsoftmax import testing
from fastsoftmax._backend import core

if core.current_isa() == "reference":
    pytest.skip("no compiled kernels", allow_module_level=True)

pytestmark = [
    pytest.mark.usefixtures("isa"),
    pytest.mark.skipif(SLOW_TRUTH, reason="needs a long double wider than double"),
]

LENGTHS = [1, 2, 3, 8, 15, 16, 17, 31, 33, 63, 64, 65, 130, 300]


def lengths(dtype):
    block = BLOCK[dtype.name]
    return [*LENGTHS, block - 1, block, block + 1, 2 * block + 161]


def check(x, targets, **options):
    loss, grad, size = mixed_truth(x, targets, **options)
    result = fastsoftmax.cross_entropy(x, targets, reduction="none", **options)
    assert_exact("cross_entropy", result, loss)
    beside, got = fastsoftmax.cross_entropy_with_grad(x, targets, reduction="none", **options)
    assert_exact("cross_entropy", beside, loss)
    worst = in_units_of(got, grad, size).max()
    assert worst <= BOUNDS["cross_entropy_with_grad"][x.dtype], f"gradient: {worst:.3g} ULP"


def soft_targets(x, rng):
    """Rows that sum to one, from nearly even to nearly one-hot, half of them with zeros."""
    t = rng.random(x.shape) ** (10.0 ** rng.uniform(0, 2, (len(x), 1)))
    t[::2][rng.random(t[::2].shape) < 0.5] = 0
    t[:, 0] += t.sum(axis=1) == 0
    return (t / t.sum(axis=1, keepdims=True)).astype(x.dtype)


SCHEMES = {
    "smoothing": {"label_smoothing": 0.1},
    "half": {"label_smoothing": 0.5},
    "even": {"label_smoothing": 1.0},
    "weights": {"label_smoothing": 0.1, "weight": 1},
    "weights of many sizes": {"label_smoothing": 0.4, "weight": 3},
    "soft": {},
    "soft with weights": {"weight": 2},
    "soft with smoothing": {"label_smoothing": 0.2},
    "soft with both": {"label_smoothing": 0.7, "weight": 1},
}


def arguments(scheme, x, rng):
    options = dict(SCHEMES[scheme])
    if "weight" in options:
        options["weight"] = 10.0 ** (options["weight"] * rng.uniform(-1, 1, x.shape[1]))
    targets = soft_targets(x, rng) if scheme.startswith("soft") else labels_for(x, rng)
    return targets, options


@pytest.mark.parametrize("scheme", SCHEMES)
def test_mixed_losses_and_gradients(scheme, dtype, isa, rng):
    for n in lengths(dtype)[:: 3 if isa == "scalar" else 1]:
        x = rows_of([*DISTRIBUTIONS] * (1 if n > 300 else 3), n, dtype, rng)
        x = x[np.isfinite(x.max(axis=1))]  # nothing but -inf has no loss
        targets, options = arguments(scheme, x, rng)
        check(x, targets, **options)


@pytest.mark.parametrize("scheme", ["smoothing", "weights", "soft", "soft with both"])
@pytest.mark.parametrize("n", [PIECE + 161, 2 * PIECE + 1])
def test_mixed_of_long_rows(n, scheme, dtype, isa, rng):
    """Several pieces; the longer ones do not keep their terms, in either dtype."""
    x = rows_of(["N(0,10)", "dominant", "stairs"], n, dtype, rng)
    targets, options = arguments(scheme, x, rng)
    check(x, targets, **options)


@pytest.mark.parametrize("weighted", [False, True])
def test_nll_of_soft_targets(weighted, dtype, isa, rng):
    for n in [*LENGTHS, BLOCK[dtype.name] + 17]:
        x = rows_of(["N(0,1)", "N(0,10)", "dominant", "uniform +-80"] * 3, n, dtype, rng)
        log_p, t = fastsoftmax.log_softmax(x), soft_targets(x, rng)
        weight = 10.0 ** rng.uniform(-1, 1, n) if weighted else None
        exact = -t.astype(WIDE) * log_p * (1 if weight is None else weight.astype(WIDE))
        got = fastsoftmax.nll_loss(log_p, t, weight=weight, reduction="none")
        assert_exact("nll_loss", got, exact.sum(axis=1))


@pytest.mark.parametrize("scheme", ["smoothing", "weights", "soft", "soft with both"])
def test_mixed_with_z_loss(scheme, dtype, isa, rng):
    for n in LENGTHS[:: 3 if isa == "scalar" else 1]:
        x = rows_of(["N(0,1)", "uniform +-80", "offset 1e4", "dominant"] * 5, n, dtype, rng)
        targets, options = arguments(scheme, x, rng)
        check(x, targets, z_loss=1e-3, **options)


@pytest.mark.parametrize("z_loss", [1e-3, 0.1, 0.5])
def test_z_loss_of_labels(z_loss, dtype, isa, rng):
    """Where the logsumexp is nearly 0, which a z-loss makes it, and where it cancels the gradient;
    targets from hopeless to so confident that their losses are smaller than that."""
    for n in LENGTHS[:: 3 if isa == "scalar" else 1]:
        x = rows_of(["N(0,1)", "N(0,10)", "uniform +-80", "dominant"] * 5, n, dtype, rng)
        labels = labels_for(x, rng)
        labels[::2] = x[::2].argmax(axis=1)
        lse = rng.choice([0, -0.5 / z_loss, 1, 1e-9], (len(x), 1))
        check(x, labels, z_loss=z_loss)
        check((x - fastsoftmax.logsumexp(x)[:, None] + lse).astype(dtype), labels, z_loss=z_loss)


def test_weighed_z_loss(dtype, isa, rng):
    """The z-loss of a sample counts times its weight and not times its class's; 0 times infinity
    is 0."""
    x, labels = rng.normal(0, 3, (60, 9)).astype(dtype), rng.integers(9, size=60)
    weight, sample = rng.uniform(0.5, 2, 9), rng.uniform(0.5, 2, 60)
    loss, _, _ = mixed_truth(x, labels, weight=weight, z_loss=0.1)
    got = fastsoftmax.cross_entropy(
        x, labels, weight=weight, sample_weight=sample, z_loss=0.1, reduction="none"
    )
    assert_exact("cross_entropy", got, loss * sample.astype(WIDE))
    most = np.array([[np.finfo(np.float64).max, 0.0]])
    for weight in (0.0, 1.0):
        options = {"sample_weight": [weight], "z_loss": 1, "reduction": "sum"}
        assert fastsoftmax.cross_entropy(most, [0], **options) == (np.inf if weight else 0)


@pytest.mark.parametrize("exponent", [-300, -60, 60, 300])
@pytest.mark.parametrize("scheme", ["weights", "soft with weights"])
def test_weights_of_any_unit(scheme, exponent, dtype, isa, rng):
    """A common power of two in all weights, far beyond float32's range, is only that."""
    x = rows_of(["N(0,10)"] * 6, 40, dtype, rng)
    targets, options = arguments(scheme, x, rng)
    weight = options.pop("weight")
    unit = 2.0**exponent
    expected = fastsoftmax.cross_entropy_with_grad(
        x, targets, weight=weight, normalizer=1, **options
    )
    got = fastsoftmax.cross_entropy_with_grad(
        x, targets, weight=weight * unit, normalizer=unit, **options
    )
    for a, b in zip(got, expected, strict=True):
        assert np.array_equal(a, b)


@pytest.mark.parametrize("smoothing", [0.3, 1.0])
@pytest.mark.parametrize("kind", ["labels", "soft", "log-probabilities"])
def test_gaps_beyond_the_largest_number(kind, smoothing, dtype, isa):
    """The difference of two logits overflows, a share of it does not."""
    most = np.finfo(dtype).max
    x = (np.array([[0.9, -0.9, 0], [-0.9, 0.9, 0.8], [0, 0, -1]]) * most).astype(dtype)
    t = np.array([[0.75, 0.0, 0.25], [0.125, 0.75, 0.125], [0, 0.875, 0.125]], dtype)
    wide = x.astype(WIDE)
    if kind == "log-probabilities":
        weight = np.array([0.5, 1, 4])
        loss = fastsoftmax.nll_loss(x / 2, t, weight=weight, reduction="none")
        assert_exact("nll_loss", loss, (-t * weight * wide / 2).sum(axis=1))
        return
    targets = t if kind == "soft" else np.array([0, 1, 0])
    loss = fastsoftmax.cross_entropy(x, targets, label_smoothing=smoothing, reduction="none")
    q = coefficients(x, targets, None, smoothing)
    # log of the number of largest logits is far below the last digit
    assert_exact("cross_entropy", loss, (q * (wide.max(axis=1, keepdims=True) - wide)).sum(axis=1))


# --- factors of the gradient ---


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}, {"z_loss": 0.01}])
@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("exponent", [-140, -61, 61, 90, 120])
def test_grad_output_of_any_size(exponent, axis, options, dtype, isa, rng):
    """A power of two changes no digit of what stays in range; beyond is 0 or inf, not NaN."""
    x = rng.normal(0, 3, (6, 40) if axis else (40, 6)).astype(dtype)
    labels = rng.integers(6, size=6)
    factor = np.ldexp(1.0, exponent)
    options = {"axis": axis, "reduction": "sum", **options}
    _, plain = fastsoftmax.cross_entropy_with_grad(x, labels, **options)
    _, grad = fastsoftmax.cross_entropy_with_grad(x, labels, grad_output=factor, **options)
    exact = plain.astype(np.float64) * factor
    assert testing.ulp_error(grad, exact).max() <= (1 if exponent < -100 else 0)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}])
@pytest.mark.parametrize("exponent", [-1000, -140, -61, 61, 120, 900])
def test_class_weights_of_any_size(exponent, options, dtype, isa, rng):
    """As those of samples, which grad_output multiplies too."""
    x, labels = rng.normal(0, 3, (40, 6)).astype(dtype), rng.integers(6, size=40)
    weight = rng.uniform(1, 2, 6).astype(np.float32)
    options = {"reduction": "sum", **options}
    _, plain = fastsoftmax.cross_entropy_with_grad(x, labels, weight=weight, **options)
    weight = np.ldexp(weight.astype(np.float64), exponent)
    _, grad = fastsoftmax.cross_entropy_with_grad(x, labels, weight=weight, **options)
    exact = plain.astype(WIDE) * WIDE(2) ** exponent
    lost = exponent < (-100 if dtype == np.float32 else -900)  # subnormal results
    assert testing.ulp_error(grad, exact).max() <= (1 if lost else 0)


@pytest.mark.parametrize("options", [{}, {"label_smoothing": 0.1}])
@pytest.mark.parametrize("factor", [np.inf, -np.inf, 1e300, -1e300])
def test_grad_output_beyond_all_bounds(factor, options, isa):
    x = np.array([[1, 2, 3], [3, -80, 0.5]], np.float32)
    labels = [0, 2]
    options = {"reduction": "sum", **options}
    _, plain = fastsoftmax.cross_entropy_with_grad(x, labels, **options)
    _, grad = fastsoftmax.cross_entropy_with_grad(x, labels, grad_output=factor, **options)
    assert np.array_equal(grad, np.sign(plain) * np.copysign(np.inf, factor))
    factors = [factor, 1.0]
    _, grad = fastsoftmax.cross_entropy_with_grad(x, labels, grad_output=factors, **options)
    assert np.array_equal(grad[0], np.sign(plain[0]) * np.copysign(np.inf, factor))
    assert np.array_equal(grad[1], plain[1])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_mean_of_losses_whose_sum_overflows(reduction, isa):
    rows = 300
    x = np.zeros((rows, 3))
    x[:, 0] = np.linspace(1e308, 1.7e308, rows)
    x[5] = 0
    for options in ({}, {"label_smoothing": 0.25}):
        losses = fastsoftmax.cross_entropy(x, np.ones(rows, int), reduction="none", **options)
        loss = fastsoftmax.cross_entropy(x, np.ones(rows, int), reduction=reduction, **options)
        if reduction == "sum":
            assert loss == np.inf
        else:
            assert testing.ulp_error(loss, losses.astype(WIDE).sum() / rows) <= 1


# --- the backward ops ---


def backward_rows(n, dtype, rng):
    """Incoming gradients of many sizes and the results they belong to."""
    x = rows_of([name for name in DISTRIBUTIONS if name != "masked"] * 2, n, dtype, rng)
    dy = rng.normal(0, 1, x.shape) * 10.0 ** rng.uniform(-3, 3, (len(x), 1))
    dy[::3] += 1e3  # a sum that is far larger than its terms' differences
    return dy.astype(dtype), x


@pytest.mark.parametrize("op", ["softmax_backward", "log_softmax_backward"])
def test_backward(op, dtype, isa, rng):
    for n in [*lengths(dtype)[:: 3 if isa == "scalar" else 1], PIECE + 161]:
        dy, x = backward_rows(n, dtype, rng)
        if op == "softmax_backward":
            y = fastsoftmax.softmax(x)
            exact, size = softmax_backward_truth(dy, y)
        else:
            y = fastsoftmax.log_softmax(x)
            exact, size = log_softmax_backward_truth(dy, y)
        got = getattr(fastsoftmax, op)(dy, y)
        worst = in_units_of(got, exact, size).max()
        assert worst <= BOUNDS["cross_entropy_with_grad"][dtype], f"{op}: {worst:.3g} ULP"
