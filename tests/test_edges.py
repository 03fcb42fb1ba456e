"""Every row of the contract's table "Edges": a test names the row it covers."""

import numpy as np
import pytest
from conftest import assert_exact, same_bits

import fastsoftmax
from fastsoftmax import reference

pytestmark = pytest.mark.usefixtures("isa")

INF, NAN = np.inf, np.nan
LENGTHS = [1, 2, 5, 16, 33, 100, 1000]


def rows_with(special, n, dtype, rng):
    """A batch in which row k holds `special` at place k, and the clean rows between."""
    x = rng.normal(0, 3, (2 * n, n)).astype(dtype)
    x[np.arange(0, 2 * n, 2), np.arange(n)] = special
    return x


@pytest.mark.parametrize("n", LENGTHS[:-1])
@pytest.mark.parametrize("special", [NAN, -NAN, INF])
def test_row_nan_or_inf_spoils_its_row_only(special, n, dtype, rng):
    x = rows_with(special, n, dtype, rng)
    for function in (fastsoftmax.softmax, fastsoftmax.log_softmax):
        for axis, array in ((-1, x), (0, np.ascontiguousarray(x.T))):
            y = function(array, axis)
            y = y if axis else y.T
            assert np.isnan(y[::2]).all()
            assert same_bits(y[1::2], function(x[1::2]))
    lse = fastsoftmax.logsumexp(x)
    assert np.all(lse[::2] == INF) if special == INF else np.isnan(lse[::2]).all()
    assert same_bits(lse[1::2], fastsoftmax.logsumexp(x[1::2]))


def test_row_nan_beats_inf(dtype):
    for row in ([INF, NAN, 0], [NAN, INF, 0], [-INF, NAN, INF], [-INF, NAN, -INF]):
        assert np.isnan(fastsoftmax.logsumexp(np.array(row, dtype)))
        assert np.isnan(fastsoftmax.softmax(np.array(row, dtype))).all()


@pytest.mark.parametrize("n", LENGTHS)
def test_row_all_minus_inf(n, dtype):
    x = np.full((3, n), -INF, dtype)
    assert np.isnan(fastsoftmax.softmax(x)).all()
    assert np.isnan(fastsoftmax.log_softmax(x)).all()
    assert np.all(fastsoftmax.logsumexp(x) == -INF)


@pytest.mark.parametrize("n", LENGTHS)
def test_row_some_minus_inf_change_nothing_for_the_others(n, dtype, rng):
    x = rng.normal(0, 3, n).astype(dtype)
    padded = np.concatenate([x, np.full(n + 3, -INF, dtype)])
    assert same_bits(fastsoftmax.softmax(padded)[:n], fastsoftmax.softmax(x))
    assert same_bits(fastsoftmax.log_softmax(padded)[:n], fastsoftmax.log_softmax(x))
    assert same_bits(fastsoftmax.logsumexp(padded), fastsoftmax.logsumexp(x))
    assert np.all(fastsoftmax.softmax(padded)[n:] == 0)
    assert np.all(fastsoftmax.log_softmax(padded)[n:] == -INF)


def test_row_minus_inf_in_front(dtype):
    p = fastsoftmax.softmax(np.array([-INF, -INF, 1, -INF, 1], dtype))
    assert np.array_equal(p[[0, 1, 3]], [0, 0, 0]) and p[2] == p[4]
    assert_exact("softmax", p, np.array([0, 0, 0.5, 0, 0.5]))


def test_row_no_classes(dtype):
    x = np.zeros((3, 0), dtype)
    assert fastsoftmax.softmax(x).shape == fastsoftmax.log_softmax(x).shape == (3, 0)
    assert np.array_equal(fastsoftmax.logsumexp(x), [-INF] * 3)
    assert fastsoftmax.logsumexp(x, None) == -INF
    assert fastsoftmax.softmax_backward(x, x).shape == (3, 0)
    with pytest.raises(ValueError, match="^logits: expected at least one class"):
        fastsoftmax.cross_entropy(x, [0, 0, 0])


def test_row_no_samples(dtype):
    x = np.zeros((0, 3), dtype)
    assert fastsoftmax.softmax(x).shape == (0, 3)
    assert fastsoftmax.logsumexp(x).shape == (0,)
    for targets in (np.zeros(0, int), np.zeros((0, 3), dtype), []):
        losses, grad = fastsoftmax.cross_entropy_with_grad(x, targets, reduction="none")
        assert losses.shape == (0,) and grad.shape == (0, 3)
        assert losses.dtype == grad.dtype == dtype
        total = fastsoftmax.cross_entropy(x, targets, reduction="sum")
        assert total == 0 and total.dtype == dtype
        mean = fastsoftmax.cross_entropy(x, targets)
        assert np.isnan(mean) and mean.dtype == dtype
        assert np.isnan(fastsoftmax.nll_loss(x, targets))


@pytest.mark.parametrize("axis", [-1, 0, None, ()])
def test_row_0d(axis, dtype):
    x = np.array(-7.25, dtype)
    assert fastsoftmax.softmax(x, axis) == 1 and fastsoftmax.softmax(x, axis).shape == ()
    for value in np.linspace(-90, 90, 101, dtype=dtype):  # a kernel may be an ULP off for some
        assert fastsoftmax.softmax(np.array(value), axis) == 1
    assert fastsoftmax.log_softmax(x, axis) == 0
    assert fastsoftmax.logsumexp(x, axis) == x
    assert fastsoftmax.logsumexp(x, axis, keepdims=True).shape == ()
    out = np.empty((), dtype)
    assert fastsoftmax.softmax(x, axis, out=out) is out and out == 1


def test_row_0d_logits_have_no_classes():
    with pytest.raises(ValueError, match="^logits: "):
        fastsoftmax.cross_entropy(1.0, 0)


@pytest.mark.parametrize("integer", "bBhHiIlLqQ")
@pytest.mark.parametrize("label", [5, 100, -1, -2, -101, 2**31, 2**40, 2**63 - 1, -(2**63), 2**63])
def test_row_label_outside(label, integer, dtype):
    info = np.iinfo(integer)
    label = min(max(label, info.min), info.max)
    if label in range(5):  # -1 of an unsigned type: take what a cast would wrap it to
        label = info.max
    logits = np.zeros((4, 5), dtype)
    targets = np.array([0, 4, label, 1], integer)
    for function in (fastsoftmax.cross_entropy, fastsoftmax.nll_loss, reference.cross_entropy):
        for reduction in ("mean", "none"):
            with pytest.raises(IndexError, match=rf"^targets\[2\]: label {label} "):
                function(logits, targets, reduction=reduction)
    out = np.full_like(logits, 7)
    with pytest.raises(IndexError, match=rf"^targets\[2\]: label {label} "):
        fastsoftmax.cross_entropy_with_grad(logits, targets, out=out)
    assert np.all(out == 7)


def test_row_label_outside_names_its_position_in_many_dimensions(dtype):
    targets = np.zeros((2, 4, 6), int)
    targets[1, 3, 5] = 3
    with pytest.raises(IndexError, match=r"^targets\[1, 3, 5\]: label 3 "):
        fastsoftmax.cross_entropy(np.zeros((2, 3, 4, 6), dtype), targets, axis=1)


def test_row_label_outside_without_a_batch(dtype):
    with pytest.raises(IndexError, match=r"^targets\[\(\)\]: label 3 "):
        fastsoftmax.cross_entropy(np.zeros(3, dtype), 3)


@pytest.mark.parametrize("integer", "bhiq")
def test_row_label_outside_may_be_ignored(integer, dtype):
    targets = np.array([1, -7], integer)
    loss = fastsoftmax.cross_entropy(np.zeros((2, 4), dtype), targets, ignore_index=-7)
    assert same_bits(loss, fastsoftmax.cross_entropy(np.zeros((1, 4), dtype), targets[:1]))
    with pytest.raises(IndexError, match=r"^targets\[1\]: label -7 "):
        fastsoftmax.cross_entropy(np.zeros((2, 4), dtype), targets)


@pytest.mark.parametrize(
    ("targets", "error", "hint"),
    [
        (np.array([True, False]), TypeError, "bool"),
        (np.array([0.0, 1.0]), TypeError, r"integers.*astype\(np.intp\)"),
        (np.array([0.0, 1.0], np.float16), TypeError, "integers"),
        (np.array([[0], [1]]), ValueError, r"targets\[\.\.\., 0\]"),
        (np.array([[0, 1, 0], [1, 0, 0]]), ValueError, "one-hot"),
        (np.array([0, 1, 2]), ValueError, "expected labels of shape"),
        (np.zeros((2, 4)), ValueError, "expected probabilities of the shape"),
        (np.array(["a", "b"]), TypeError, "strings"),
        (np.array([0, 1], object), TypeError, "object"),
        (np.array([0, 1j]), TypeError, "dtype complex"),
        (np.ma.masked_array([0, 1], [False, True]), TypeError, "ignore_index"),
        (None, TypeError, "object"),
    ],
)
def test_row_labels_of_the_wrong_kind(targets, error, hint):
    for function in (fastsoftmax.cross_entropy, fastsoftmax.nll_loss):
        with pytest.raises(error, match=f"^targets: .*{hint}"):
            function(np.zeros((2, 3)), targets)


@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
@pytest.mark.parametrize("n", [2, 3, 16, 40, 300])
def test_row_ignored_sample_is_not_read(n, reduction, dtype, rng):
    x = rng.normal(0, 3, (6, n)).astype(dtype)
    targets = np.array([0, -100, 1, -100, 1, -100])
    x[1], x[3, 0], x[5] = NAN, INF, -INF
    options = {"reduction": reduction, "label_smoothing": 0.1, "z_loss": 0.01}
    for chosen in ({"reduction": reduction}, options):
        loss, grad = fastsoftmax.cross_entropy_with_grad(x, targets, **chosen)
        expected = fastsoftmax.cross_entropy_with_grad(x[::2], targets[::2], **chosen)
        assert np.array_equal(grad[1::2], np.zeros((3, n)))
        assert same_bits(grad[::2], expected[1])
        if reduction == "none":
            assert np.array_equal(loss[1::2], np.zeros(3))
            assert same_bits(loss[::2], expected[0])
        else:
            assert same_bits(loss, expected[0])
        assert same_bits(loss, fastsoftmax.cross_entropy(x, targets, **chosen))
    assert np.isfinite(fastsoftmax.nll_loss(x, targets, reduction=reduction)).all()


NOTHING_COUNTS = {
    "every sample ignored": {"targets": [-100, -100]},
    "weights of zero": {"targets": [0, 1], "weight": [0, 0, 1]},
    "weights that cancel": {"targets": [0, 1], "weight": [1, -1, 1]},
    "sample weights of zero": {"targets": [0, 1], "sample_weight": [0, 0]},
}


@pytest.mark.parametrize("why", NOTHING_COUNTS)
def test_row_nothing_counts(why, dtype):
    x = np.array([[1, 2, 3], [1, 2, 3]], dtype)
    loss, grad = fastsoftmax.cross_entropy_with_grad(x, **NOTHING_COUNTS[why])
    assert np.isnan(loss) and not grad.any()
    assert np.isnan(fastsoftmax.cross_entropy(x, **NOTHING_COUNTS[why]))
    assert np.isnan(fastsoftmax.nll_loss(x, **NOTHING_COUNTS[why]))
    if why != "weights that cancel":
        total = fastsoftmax.cross_entropy_with_grad(x, **NOTHING_COUNTS[why], reduction="sum")
        assert total[0] == 0 and not total[1].any()


def test_row_nothing_counts_but_a_normalizer(dtype):
    x = np.zeros((2, 3), dtype)
    loss, grad = fastsoftmax.cross_entropy_with_grad(x, [-100, -100], normalizer=8)
    assert loss == 0 and not grad.any()
    loss, grad = fastsoftmax.cross_entropy_with_grad(x, [0, 1], normalizer=0)
    assert np.isnan(loss) and not grad.any()


def test_row_zero_times_infinity(dtype):
    x = np.array([[0, -INF, 0], [0, 0, -INF]], dtype)
    half = np.array([[0.5, 0, 0.5], [0.5, 0.5, 0]], dtype)
    loss, grad = fastsoftmax.cross_entropy_with_grad(x, half, reduction="none")
    assert np.all(np.abs(loss - np.log(2)) < 2 * np.spacing(dtype.type(1)))
    assert np.array_equal(grad, np.zeros((2, 3)))
    for zero in ({"weight": [1, 0, 1]}, {"sample_weight": [0, 1]}):
        losses, grad = fastsoftmax.cross_entropy_with_grad(x, [1, 0], reduction="none", **zero)
        assert losses[0] == 0 and np.isfinite(grad).all()
    for reduction in ("mean", "sum", "none"):
        assert fastsoftmax.cross_entropy(x[:1], [1], reduction=reduction) == INF
    assert fastsoftmax.nll_loss(x[:1], [1], weight=[1, 0, 1], reduction="sum") == 0
    assert fastsoftmax.nll_loss(x, half, reduction="sum") == 0


def test_row_zero_times_nan_still_shows(dtype):
    x = np.array([[0, NAN, 0]], dtype)
    t = np.array([[0.5, 0, 0.5]], dtype)
    assert np.isnan(fastsoftmax.cross_entropy(x, t))
    assert np.isnan(fastsoftmax.cross_entropy(x, [1], sample_weight=[0], reduction="sum"))
    assert np.isnan(fastsoftmax.cross_entropy(x, [1], weight=[0, 0, 0], reduction="sum"))


def test_row_smoothing_meets_infinity(dtype):
    # With smoothing every class has a coefficient, so a logit of -inf costs infinitely much.
    x = np.array([[0, -INF, 0]], dtype)
    assert fastsoftmax.cross_entropy(x, [0], label_smoothing=0.1) == INF
    silent = fastsoftmax.cross_entropy(x, [0], label_smoothing=0.1, weight=[1, 0, 1])
    assert np.isfinite(silent)


def test_row_soft_targets_are_taken_as_they_are(dtype):
    x = np.zeros((1, 4), dtype)
    t = np.array([[1, 2, 0, 3]], dtype)
    loss, grad = fastsoftmax.cross_entropy_with_grad(x, t, reduction="sum")
    assert np.array_equal(grad, 0.25 * 6 - t)
    assert abs(loss - 6 * np.log(4)) <= 2 * np.spacing(loss)


def test_row_memory_error_leaves_nothing_behind():
    # Too large for any address space, though the input takes no memory at all.
    x = np.broadcast_to(np.float64(1), (2**24, 2**24))
    with pytest.raises(MemoryError):
        fastsoftmax.softmax(x)
