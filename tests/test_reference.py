"""The oracle itself against mpmath's arithmetic, and the yardstick `testing.ulp_error`."""

import numpy as np
import pytest
from conftest import in_units_of

from fastsoftmax import _textbook, reference, testing

mpmath = pytest.importorskip("mpmath")


@pytest.fixture
def mp():
    context = mpmath.mp.clone()
    context.dps = 400  # the formulas below are naive and cancel
    return context


def adversarial_rows(dtype, rng):
    for scale in (1e-6, 1, 10, 80, 300):
        yield rng.normal(0, scale, 23).astype(dtype)
    yield np.array([20, 0, 0], dtype)
    yield np.array([0, 40, 40, -3], dtype)
    yield (rng.normal(0, 2, 30) + 1e6).astype(dtype)
    yield np.array([5], dtype)


def test_family_against_mpmath(mp, dtype, rng):
    for x in adversarial_rows(dtype, rng):
        terms = [mp.exp(mp.mpf(float(a))) for a in x]
        total = mp.fsum(terms)
        lse = mp.log(total)
        checks = {
            "softmax": np.array([t / total for t in terms], object),
            "log_softmax": np.array([mp.mpf(float(a)) - lse for a in x], object),
        }
        for name, truth in checks.items():
            result = getattr(reference, name)(x)
            assert testing.ulp_error(result, truth).max() <= 0.51
            assert testing.ulp_error(result, getattr(testing, name)(x)).max() <= 0.51
        size = max(abs(float(lse)), float(np.abs(x).max()))
        error = abs(mp.mpf(float(reference.logsumexp(x))) - lse) / np.spacing(dtype.type(size))
        assert error <= 0.51


def test_loss_and_gradient_against_mpmath(mp, dtype, rng):
    for x in adversarial_rows(dtype, rng):
        for label in range(min(len(x), 3)):
            target = mp.mpf(float(x[label]))
            rest = mp.fsum(mp.exp(mp.mpf(float(a)) - target) for k, a in enumerate(x) if k != label)
            loss, grad = reference.cross_entropy_with_grad(x[None], [label])
            exact = np.array(mp.log1p(rest), object)
            assert testing.ulp_error(loss, exact) <= 0.51
            exact = np.array(-rest / (1 + rest), object)
            assert testing.ulp_error(grad[0, label], exact) <= 0.51


def test_truth_by_mpmath_agrees_with_the_truth_by_longdouble(rng):
    # The path of systems whose longdouble is float64, where tests depend on it.
    x = rng.normal(0, 20, (3, 4, 5))
    x[0, 1, 2], x[1, 0, 0], x[2, 2] = np.nan, np.inf, -np.inf
    pairs = [
        (reference.softmax_wide, testing._mp_softmax),
        (reference.log_softmax_wide, testing._mp_log_softmax),
        (reference.logsumexp_wide, testing._mp_logsumexp),
    ]
    for wide, by_row in pairs:
        for axes in ((2,), (0, 2), (1,)):
            with np.errstate(all="ignore"):
                slow = testing._by_rows(x, axes, wide, by_row)
                fast = np.broadcast_to(wide(reference.wide(x), axes), x.shape)
            assert testing.ulp_error(fast.astype(np.float64), slow).max() <= 0.51


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_testing_losses(axis, dtype, rng):
    x = rng.normal(0, 5, (4, 4, 4)).astype(dtype)
    targets = rng.integers(0, 4, (4, 4))
    losses, grad = reference.cross_entropy_with_grad(x, targets, axis=axis, reduction="none")
    assert testing.ulp_error(losses, testing.cross_entropy(x, targets, axis)).max() <= 0.51
    assert testing.ulp_error(grad, testing.gradient(x, targets, axis)).max() <= 0.51


@pytest.mark.parametrize("type_", [np.float16, np.float32, np.float64])
def test_ulp_error_counts(type_):
    one, info = type_(1), np.finfo(type_)
    up, down = np.nextafter(one, type_(2)), np.nextafter(one, type_(0))
    assert testing.ulp_error(up, one) == 1
    assert testing.ulp_error(down, one) == 0.5  # the spacing below a power of two is half
    assert testing.ulp_error(one, one) == 0
    tiny = info.smallest_subnormal
    assert testing.ulp_error(type_(3) * tiny, tiny) == 2
    assert testing.ulp_error(type_(0), type_(5) * tiny) == 5
    assert testing.ulp_error(np.nextafter(info.max, one), info.max) == 1


def test_ulp_error_at_the_edges():
    result = np.array([np.inf, -np.inf, np.nan, np.inf, 1, np.nan, 1, np.inf], np.float32)
    truth = np.array([np.inf, -np.inf, np.nan, -np.inf, np.inf, 1, np.nan, 1e300])
    expected = [0, 0, 0, np.inf, np.inf, np.inf, np.inf, 0]
    assert np.array_equal(testing.ulp_error(result, truth), expected)


def test_ulp_error_bfloat16():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = np.array([1, 1 + 2**-7, 3], ml_dtypes.bfloat16)
    assert np.array_equal(testing.ulp_error(x, np.array([1, 1, 3.0])), [0, 1, 0])


def test_textbook_is_right_but_coarser(dtype, rng):
    x = rng.normal(0, 3, (50, 20)).astype(dtype)
    labels = rng.integers(0, 20, 50)
    for name in ("softmax", "log_softmax", "logsumexp"):
        truth = getattr(testing, name)(x)
        size = np.maximum(np.abs(truth), np.abs(x).max()) if name != "softmax" else truth
        result = getattr(_textbook, name)(x)
        assert result.dtype == dtype
        assert in_units_of(result, truth, size).max() < 100
    loss, grad = _textbook.cross_entropy_with_grad(x, labels)
    exact, exact_grad = reference.cross_entropy_with_grad(x, labels)
    assert testing.ulp_error(loss, exact) < 100
    assert testing.ulp_error(_textbook.cross_entropy(x, labels), exact) < 100
    assert in_units_of(grad, exact_grad, np.abs(exact_grad).max()).max() < 100


def test_confident_losses_are_not_zero():
    logits = np.array([[20, 0, 0]], np.float32)
    loss, grad = reference.cross_entropy_with_grad(logits, [0])
    assert loss == np.float32(4.1223075e-09)
    assert grad[0, 0] == np.float32(-4.1223074e-09)
    assert _textbook.cross_entropy(logits, np.array([0])) == 0
    loss = reference.cross_entropy([[40.0, 0, 0]], [0])
    assert testing.ulp_error(loss, 2 * np.exp(np.longdouble(-40))) <= 0.51


def test_in_units_of_tells_wrong_from_right():
    assert in_units_of(np.float64(1 + 2**-52), np.float64(1), np.float64(1)) == 1
    assert in_units_of(np.float64(np.inf), np.float64(1), np.float64(1)) == np.inf
    assert in_units_of(np.float64(np.nan), np.float64(np.nan), np.float64(np.nan)) == 0
