"""The losses under Keras's names: the formulas in 40 digits, the edges, and Keras itself."""

import math
import os
import subprocess
import sys
import tracemalloc
import warnings

import mpmath
import numpy as np
import pytest
from conftest import assert_exact, in_units_of, same_bits

import fastsoftmax
from fastsoftmax import testing
from fastsoftmax.keras import categorical_crossentropy, sparse_categorical_crossentropy

WIDE = np.longdouble
MP = mpmath.mp.clone()
MP.dps = 40


def clipped_losses(row, dtype):
    """-log(clip(row / sum(row), 1e-7, 1 - 1e-7)) with bounds in `dtype`, in 40 digits."""
    low, high = (MP.mpf(float(dtype.type(bound))) for bound in (1e-7, 1 - 1e-7))
    row = [MP.mpf(float(value)) for value in row]
    total = MP.fsum(row)
    return [-MP.log(min(max(value / total, low), high)) for value in row]


def soft_truth(t, y, smoothing=0.0):
    """The losses of probabilities `y` (samples, classes) and targets, in 40 digits."""
    a, classes = MP.mpf(smoothing), y.shape[1]
    truth = []
    for targets, row in zip(t, y, strict=True):
        q = [(1 - a) * MP.mpf(float(value)) + a / classes for value in targets]
        truth.append(MP.fdot(q, clipped_losses(row, y.dtype)))
    return np.array(truth)


def hard_truth(labels, y):
    return np.array([clipped_losses(r, y.dtype)[k] for k, r in zip(labels, y, strict=True)])


def logits_truth(q, x):
    """The same from logits, in long double: coefficients times -log_softmax."""
    x = np.asarray(x, WIDE)
    peak = x.max(axis=1, keepdims=True)
    lse = peak + np.log(np.sum(np.exp(x - peak), axis=1, keepdims=True))
    return np.sum(np.asarray(q, WIDE) * (lse - x), axis=1)


def probabilities(rng, samples, classes, scale, dtype):
    y = np.exp(rng.normal(0, scale, (samples, classes)))
    return (y / y.sum(axis=1, keepdims=True)).astype(dtype)


def assert_from_probabilities(result, truth):
    """Within the bounds of the losses; float32, being computed in float64, is rounded once."""
    assert_exact("cross_entropy", result, truth)
    if result.dtype == np.float32:
        assert testing.ulp_error(result, truth).max() <= 0.5 * (1 + 2.0**-20)


# --- against the formulas ---


@pytest.mark.parametrize("classes", [1, 2, 3, 7, 10, 33, 129, 1000])
@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0, 20.0])
def test_sparse_from_probabilities(classes, scale, dtype, rng):
    y = probabilities(rng, 6, classes, scale, dtype)
    labels = rng.integers(0, classes, 6)
    labels[0], labels[1], labels[2] = y[0].argmax(), y[1].argmax(), y[2].argmin()
    assert_from_probabilities(sparse_categorical_crossentropy(labels, y), hard_truth(labels, y))


@pytest.mark.parametrize("classes", [1, 2, 3, 10, 33, 300])
@pytest.mark.parametrize("scale", [0.1, 1.0, 4.0, 20.0])
@pytest.mark.parametrize("kind", ["soft", "one-hot"])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
def test_categorical_from_probabilities(smoothing, kind, scale, classes, dtype, rng):
    y = probabilities(rng, 5, classes, scale, dtype)
    t = probabilities(rng, 5, classes, 1.0, dtype)
    if kind == "one-hot":
        t = np.eye(classes, dtype=dtype)[y.argmax(axis=1)]
    result = categorical_crossentropy(t, y, label_smoothing=smoothing)
    assert_from_probabilities(result, soft_truth(t, y, smoothing))


@pytest.mark.parametrize("distance", [1e-2, 1e-4, 1e-5, 1e-6, 2e-7])
def test_a_share_near_one(distance, dtype):
    y = np.array([[1, distance / 3, 2 * distance / 3, 0]] * 2, dtype)
    y[1] *= dtype.type(1000)
    one_hot = np.array([[1, 0, 0, 0]] * 2, dtype)
    truth = hard_truth([0, 0], y)
    assert_from_probabilities(sparse_categorical_crossentropy([0, 0], y), truth)
    assert_from_probabilities(categorical_crossentropy(one_hot, y), truth)


def test_probabilities_zero_and_one(dtype):
    low, high = (WIDE(dtype.type(bound)) for bound in (1e-7, 1 - 1e-7))
    y = np.array([[0, 1, 0], [1, 0, 0]], dtype)
    truth = np.array([-np.log1p(high - 1), -np.log(low)])
    assert_from_probabilities(sparse_categorical_crossentropy([1, 1], y), truth)
    one_hot = np.array([[0, 1, 0]] * 2, dtype)
    assert_from_probabilities(categorical_crossentropy(one_hot, y), truth)
    # Every term counts, so the sum of the three losses.
    everything = np.sum([2 * truth[1] + truth[0]])
    result = categorical_crossentropy(np.ones((2, 3), dtype), y)
    assert_from_probabilities(result, np.array([everything, everything]))


def test_shares_outside_zero_to_one_are_clipped(dtype):
    y = np.array([[3, -1, -1], [-3, 1, 1], [4, 3, -6]], dtype)  # each sums to one, or to minus one
    y[1] = [-3, 2, 2]
    truth = hard_truth([0, 0, 1], y)
    assert_from_probabilities(sparse_categorical_crossentropy([0, 0, 1], y), truth)
    t = np.array([[0.5, 0.25, 0.25]] * 3, dtype)
    assert_from_probabilities(categorical_crossentropy(t, y), soft_truth(t, y))


def test_huge_and_tiny_predictions(dtype):
    for exponent in (np.finfo(dtype).maxexp - 2, np.finfo(dtype).minexp + 4):
        y = np.ldexp(np.array([[1, 0.5, 0.25]], dtype), exponent)
        truth = hard_truth([1], y)
        assert_from_probabilities(sparse_categorical_crossentropy([1], y), truth)
        one_hot = np.array([[0, 1, 0]], dtype)
        assert_from_probabilities(categorical_crossentropy(one_hot, y), truth)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])
@pytest.mark.parametrize("classes", [1, 2, 10, 100])
def test_categorical_from_logits(classes, smoothing, dtype, rng):
    x = rng.normal(0, 3, (5, classes)).astype(dtype)
    t = probabilities(rng, 5, classes, 1.0, dtype)
    q = (1 - WIDE(smoothing)) * t.astype(WIDE) + WIDE(smoothing) / classes
    result = categorical_crossentropy(t, x, from_logits=True, label_smoothing=smoothing)
    assert_exact("cross_entropy", result, logits_truth(q, x))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("ignore_class", [None, 2, -1, 255])
@pytest.mark.parametrize("classes", [3, 10, 100])
def test_sparse_from_logits(classes, ignore_class, dtype, rng):
    x = rng.normal(0, 3, (6, classes)).astype(dtype)
    labels = np.array([0, 1, 2, 1, 2, 0])
    if ignore_class is not None:
        labels[3] = ignore_class
    counted = labels != ignore_class
    q = np.eye(classes)[np.where(counted, labels, 0)] * counted[:, np.newaxis]
    result = sparse_categorical_crossentropy(labels, x, from_logits=True, ignore_class=ignore_class)
    assert_exact("cross_entropy", result, logits_truth(q, x))
    assert not result[~counted].any()


def test_from_logits_keeps_small_losses():
    x = np.array([[20, 0, 0]], np.float32)
    loss = sparse_categorical_crossentropy([0], x, from_logits=True)
    assert f"{loss[0]:.4e}" == "4.1223e-09"


# --- arguments ---


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("axis", [0, 1, 2, 3, -2, -4])
def test_axis(axis, from_logits, dtype, rng):
    y = np.exp(rng.normal(0, 2, (3, 4, 5, 6))).astype(dtype)
    t = rng.random(y.shape).astype(dtype)
    labels = rng.integers(-1, y.shape[axis], np.delete(y.shape, axis))
    last, t_last = (np.ascontiguousarray(np.moveaxis(a, axis, -1)) for a in (y, t))
    for a in (y, np.asfortranarray(y), np.repeat(y, 2, axis=2)[:, :, ::2]):
        options = {"from_logits": from_logits, "label_smoothing": 0.25}
        result = categorical_crossentropy(t, a, axis=axis, **options)
        assert same_bits(result, categorical_crossentropy(t_last, last, **options))
        options = {"from_logits": from_logits, "ignore_class": -1}
        result = sparse_categorical_crossentropy(labels, a, axis=axis, **options)
        assert same_bits(result, sparse_categorical_crossentropy(labels, last, **options))
        kept = np.expand_dims(labels, axis)
        assert same_bits(sparse_categorical_crossentropy(kept, a, axis=axis, **options), result)


@pytest.mark.parametrize("from_logits", [False, True])
def test_a_sample_does_not_depend_on_its_batch(from_logits, dtype, rng):
    # More samples than a block holds, and rows longer than one.
    for samples, classes in ((5000, 7), (3, 40_000), (70, 300)):
        y = rng.random((samples, classes)).astype(dtype)
        labels = rng.integers(0, classes, samples)
        t = rng.random((samples, classes)).astype(dtype)
        hard = sparse_categorical_crossentropy(labels, y, from_logits=from_logits)
        soft = categorical_crossentropy(t, y, from_logits=from_logits)
        for k in (0, samples // 2, samples - 1):
            alone = sparse_categorical_crossentropy(labels[k], y[k], from_logits=from_logits)
            assert alone.dtype == dtype and np.ndim(alone) == 0
            assert same_bits(alone, hard[k])
            assert same_bits(categorical_crossentropy(t[k], y[k], from_logits), soft[k])


def test_label_dtypes(dtype, rng):
    y = rng.random((8, 5)).astype(dtype)
    labels = rng.integers(0, 5, 8)
    expected = sparse_categorical_crossentropy(labels, y)
    for integer in "bBhHiIlLqQ":
        for t in (labels.astype(integer), labels.astype(np.dtype(integer).newbyteorder())):
            assert same_bits(sparse_categorical_crossentropy(t, y), expected)
    assert same_bits(sparse_categorical_crossentropy(labels.tolist(), y), expected)


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("integer", [np.uint8, np.int16, np.int64, np.uint64])
def test_ignore_class(integer, from_logits, dtype, rng):
    y = rng.random((2, 3, 4)).astype(dtype)
    labels = rng.integers(0, 4, (2, 3)).astype(integer)
    labels[0, 1] = 3
    for ignored in (3, 100):  # a class, and none
        t = labels.copy()
        t[0, 1] = ignored
        broken = y.copy()
        broken[t == ignored] = np.nan  # ignored samples are not looked at
        result = sparse_categorical_crossentropy(t, broken, from_logits, ignore_class=ignored)
        expected = sparse_categorical_crossentropy(labels, y, from_logits)
        assert same_bits(result, np.where(t == ignored, dtype.type(0), expected))


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("label", [5, -1, -100, 2**40, -(2**63)])
def test_a_label_out_of_range(label, from_logits):
    labels = np.zeros((2, 3), np.int64)
    labels[1, 2] = label
    y = np.ones((2, 3, 5))
    with pytest.raises(IndexError, match=rf"y_true\[1, 2\]: label {label} is out of range"):
        sparse_categorical_crossentropy(labels, y, from_logits)
    with pytest.raises(IndexError, match=rf"label {label} "):
        sparse_categorical_crossentropy(labels, y, from_logits, ignore_class=7)
    result = sparse_categorical_crossentropy(labels, y, from_logits, ignore_class=label)
    assert result[1, 2] == 0 and np.count_nonzero(result) == 5


def test_a_large_unsigned_label_does_not_wrap():
    labels = np.array([0, 2**64 - 1], np.uint64)
    with pytest.raises(IndexError, match=f"label {2**64 - 1} "):
        sparse_categorical_crossentropy(labels, np.ones((2, 3)), ignore_class=-1)


@pytest.mark.parametrize("half", ["float16", "bfloat16"])
def test_half_precision_is_rounded_once(half, rng):
    dtype = np.dtype(half if half == "float16" else pytest.importorskip("ml_dtypes").bfloat16)
    y = probabilities(rng, 40, 10, 2.0, dtype)
    labels = rng.integers(0, 10, 40)
    t = probabilities(rng, 40, 10, 1.0, dtype)
    y[0], y[1] = np.eye(10)[labels[:2]]
    y[1] = np.roll(y[1], 1)  # shares of 1 and of 0: clipped at bounds in half precision
    hard, soft = sparse_categorical_crossentropy(labels, y), categorical_crossentropy(t, y)
    assert hard.dtype == dtype and soft.dtype == dtype
    assert hard[0] == 0
    nearly_half = 0.5 * (1 + 2.0**-30)
    assert testing.ulp_error(hard, hard_truth(labels, y).astype(float)).max() <= nearly_half
    assert testing.ulp_error(soft, soft_truth(t, y).astype(float)).max() <= nearly_half
    x = rng.normal(0, 3, (40, 10)).astype(dtype)
    result = sparse_categorical_crossentropy(labels, x, from_logits=True)
    assert result.dtype == dtype
    truth = logits_truth(np.eye(10)[labels], x.astype(WIDE))
    assert testing.ulp_error(result, truth).max() <= 0.5 * (1 + 2.0**-11)


def test_longdouble_stays(rng):
    y = probabilities(rng, 6, 10, 2.0, WIDE)
    labels = rng.integers(0, 10, 6)
    one_hot = np.eye(10, dtype=WIDE)[labels]
    truth = -np.log(y[np.arange(6), labels] / y.sum(axis=1))
    for result in (
        sparse_categorical_crossentropy(labels, y),
        categorical_crossentropy(one_hot, y),
    ):
        assert result.dtype == WIDE
        assert (np.abs(result - truth) / np.spacing(np.maximum(truth, 1))).max() <= 4


@pytest.mark.parametrize("from_logits", [False, True])
def test_integers_are_float64(from_logits):
    y, t = [[1, 2, 5], [3, 3, 2]], [[0, 0, 1], [0, 1, 0]]
    result = categorical_crossentropy(t, y, from_logits)
    assert result.dtype == np.float64
    assert same_bits(result, categorical_crossentropy(np.float64(t), np.float64(y), from_logits))
    labels = np.array([2, 1])
    expected = sparse_categorical_crossentropy(labels, np.float64(y), from_logits)
    assert same_bits(sparse_categorical_crossentropy(labels, y, from_logits), expected)


@pytest.mark.parametrize("from_logits", [False, True])
def test_not_finite(from_logits, dtype):
    y = np.array([[1, np.nan, 1], [1, np.inf, 1], [1, 1, 2]], dtype)
    for labels in ([0, 1, 2], [1, 0, 2]):
        results = (
            sparse_categorical_crossentropy(labels, y, from_logits),
            categorical_crossentropy(np.eye(3)[labels], y, from_logits),
        )
        for result in results:
            assert np.array_equal(np.isnan(result), [True, True, False])


def test_nothing_to_share_out(dtype):
    y = np.zeros((2, 2), dtype)
    assert np.isnan(sparse_categorical_crossentropy([0, 0], y)).all()
    assert np.isnan(categorical_crossentropy(np.ones_like(y), y)).all()


def test_zero_times_an_infinite_logarithm_is_zero(dtype):
    x = np.array([[0, -np.inf, 0]], dtype)
    loss = categorical_crossentropy([[0.5, 0.0, 0.5]], x, from_logits=True)
    assert_exact("cross_entropy", loss, np.array([np.log(WIDE(2))]))
    assert categorical_crossentropy([[0, 1, 0]], x, from_logits=True)[0] == np.inf


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("shape", [(0, 3), (2, 0, 3), (0, 0, 3)])
def test_empty_batches(shape, from_logits, dtype):
    y = np.empty(shape, dtype)
    for result in (
        categorical_crossentropy(y, y, from_logits),
        sparse_categorical_crossentropy(np.empty(shape[:-1], int), y, from_logits),
        sparse_categorical_crossentropy(np.empty(shape[:-1] + (1,), int), y, from_logits),
    ):
        assert result.shape == shape[:-1] and result.dtype == dtype
    assert sparse_categorical_crossentropy([], np.empty((0, 3), dtype), from_logits).shape == (0,)


def test_one_class_costs_nearly_nothing(dtype):
    truth = -np.log1p(WIDE(dtype.type(1 - 1e-7)) - 1)
    y = np.ones((3, 1), dtype)
    expected = np.full(3, truth)
    assert_exact("cross_entropy", sparse_categorical_crossentropy([0] * 3, y), expected)
    assert_exact("cross_entropy", sparse_categorical_crossentropy([[0]] * 3, y), expected)
    assert_exact("cross_entropy", categorical_crossentropy(y, y), expected)


Y = np.full((2, 3), 1 / 3)


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize(
    "t, y, options, error, message",
    [
        (Y, Y, {"label_smoothing": 1.5}, ValueError, "label_smoothing: expected 0 to 1, got 1.5"),
        (Y, Y, {"label_smoothing": -0.1}, ValueError, "label_smoothing: expected 0 to 1, got -0.1"),
        (Y, Y, {"label_smoothing": True}, TypeError, "label_smoothing: .* got bool"),
        (Y, Y, {"axis": 2}, ValueError, "axis: 2 is out of bounds"),
        (Y, Y, {"axis": True}, TypeError, "axis: expected an integer, got True"),
        (Y[:, :2], Y, {}, ValueError, r"y_true: .* of y_pred, \(2, 3\), got \(2, 2\)"),
        ([0, 1], Y, {}, ValueError, "y_true: .* use sparse_categorical_crossentropy"),
        (Y > 0, Y, {}, TypeError, "y_true: .* got dtype bool"),
        (Y, Y > 0, {}, TypeError, "y_pred: .* got dtype bool"),
        (Y, Y * 1j, {}, TypeError, "y_pred: .* got dtype complex128"),
        (Y, np.ma.array(Y), {}, TypeError, "y_pred: masked"),
        (1.0, 1.0, {}, ValueError, "y_pred: .* 0-d"),
        (Y[:, :0], Y[:, :0], {}, ValueError, r"y_pred: .* one class, got shape \(2, 0\)"),
    ],
)
def test_refused_by_categorical(t, y, options, error, message, from_logits):
    with pytest.raises(error, match=message):
        categorical_crossentropy(t, y, from_logits, **options)


@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize(
    "t, y, options, error, message",
    [
        ([0.0, 1.0], Y, {}, TypeError, "y_true: labels must be integers, got dtype float64"),
        ([True, False], Y, {}, TypeError, "y_true: labels must be integers, got dtype bool"),
        ([0, 1, 2], Y, {}, ValueError, r"y_true: .* shape \(2,\) .* got \(3,\)"),
        ([[0, 1]], Y, {}, ValueError, r"y_true: .* got \(1, 2\)"),
        (np.eye(2, 3, dtype=int), Y, {}, ValueError, "one-hot rows use categorical_crossentropy"),
        (np.ma.array([0, 1]), Y, {}, TypeError, "y_true: masked"),
        ([0, 1], Y, {"ignore_class": 1.0}, TypeError, "ignore_class: .* got float"),
        ([0, 1], Y, {"ignore_class": 2**63}, ValueError, "ignore_class: .* 64-bit"),
        ([0, 1], Y, {"axis": -3}, ValueError, "axis: -3 is out of bounds"),
        (0, 1.0, {}, ValueError, "y_pred: .* 0-d"),
        ([0, 1], Y[:, :0], {}, ValueError, "y_pred: .* one class"),
    ],
)
def test_refused_by_sparse(t, y, options, error, message, from_logits):
    with pytest.raises(error, match=message):
        sparse_categorical_crossentropy(t, y, from_logits, **options)


@pytest.mark.parametrize("value", [0.1, 1, None, "no"])
def test_a_smoothing_does_not_pass_for_from_logits(value):
    with pytest.raises(TypeError, match="from_logits: expected True or False"):
        categorical_crossentropy(Y, Y, value)
    with pytest.raises(TypeError, match="from_logits: expected True or False"):
        sparse_categorical_crossentropy([0, 1], Y, value)


def test_arguments_are_not_written_to(dtype, rng):
    y, t = rng.random((2, 50, 9)).astype(dtype)
    labels = rng.integers(0, 9, 50)
    copies = y.copy(), t.copy(), labels.copy()
    for a in (y, t, labels):
        a.flags.writeable = False
    categorical_crossentropy(t, y, label_smoothing=0.1)
    sparse_categorical_crossentropy(labels, y, ignore_class=3)
    assert all(map(np.array_equal, (y, t, labels), copies))


def test_temporaries_do_not_grow_with_the_predictions(rng):
    y = rng.random((4000, 500)).astype(np.float32)
    labels = rng.integers(0, 500, 4000)
    for call in (
        lambda: sparse_categorical_crossentropy(labels, y),
        lambda: categorical_crossentropy(y, y, label_smoothing=0.1),
        lambda: categorical_crossentropy(y.T, y.T, axis=0),
    ):
        tracemalloc.start()
        call()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < y.nbytes / 8


def test_not_imported_with_the_package():
    code = "import sys, fastsoftmax; sys.exit('fastsoftmax.keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0
    code = "import sys, fastsoftmax.keras; sys.exit('keras' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


# --- against Keras, on the backend that KERAS_BACKEND names ---


@pytest.fixture(scope="module")
def keras(tmp_path_factory):
    os.environ.setdefault("KERAS_BACKEND", "numpy")
    os.environ.setdefault("KERAS_HOME", str(tmp_path_factory.mktemp("keras")))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pytest.importorskip("keras", exc_type=ImportError)


def of_keras(keras, name, t, y, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        t, y = keras.ops.convert_to_tensor(t), keras.ops.convert_to_tensor(y)
        return keras.ops.convert_to_numpy(getattr(keras.losses, name)(t, y, **options))


def assert_agrees(result, theirs):
    """As far as shares rounded to float32 allow: in ULP of the loss, or of 1 below it."""
    assert result.shape == theirs.shape and result.dtype == theirs.dtype
    errors = in_units_of(theirs, result.astype(float), np.maximum(np.abs(result), 1))
    assert errors.max(initial=0) <= 8


# What every backend computes alike; torch alone has channels first for the sparse form.
@pytest.mark.parametrize("from_logits", [False, True])
@pytest.mark.parametrize("scale", [0.5, 3.0, 30.0])
@pytest.mark.parametrize("shape", [(64, 10), (5, 6, 7), (8, 300)])
def test_keras_agrees(shape, scale, from_logits, keras, rng):
    y = rng.normal(0, scale, shape).astype(np.float32)
    if not from_logits:
        y = fastsoftmax.softmax(y)
    labels = rng.integers(0, shape[-1], shape[:-1]).astype(np.int32)
    t = fastsoftmax.softmax(rng.normal(0, 1, shape).astype(np.float32))
    one_hot = np.eye(shape[-1], dtype=np.float32)[labels]
    for targets in (t, one_hot):
        for smoothing in (0.0, 0.1, 1.0):
            options = {"from_logits": from_logits, "label_smoothing": smoothing}
            theirs = of_keras(keras, "categorical_crossentropy", targets, y, **options)
            assert_agrees(categorical_crossentropy(targets, y, **options), theirs)
    for targets in (labels, labels[..., np.newaxis]):
        for ignored in (None, 2):
            options = {"from_logits": from_logits, "ignore_class": ignored}
            theirs = of_keras(keras, "sparse_categorical_crossentropy", targets, y, **options)
            assert_agrees(sparse_categorical_crossentropy(targets, y, **options), theirs)


@pytest.mark.parametrize("from_logits", [False, True])
def test_keras_agrees_on_axis(from_logits, keras, rng):
    y = np.exp(rng.normal(0, 1, (4, 5, 5))).astype(np.float32)
    t = rng.random(y.shape).astype(np.float32)
    options = {"from_logits": from_logits, "axis": 1, "label_smoothing": 0.1}
    theirs = of_keras(keras, "categorical_crossentropy", t, y, **options)
    assert_agrees(categorical_crossentropy(t, y, **options), theirs)


def test_keras_agrees_on_zero_and_one(keras):
    y = np.array([[0, 1, 0], [0.5, 0, 0.5], [2, 1, 1]], np.float32)
    labels = np.array([1, 1, 0], np.int32)
    theirs = of_keras(keras, "sparse_categorical_crossentropy", labels, y)
    assert_agrees(sparse_categorical_crossentropy(labels, y), theirs)
    one_hot = np.eye(3, dtype=np.float32)[labels]
    theirs = of_keras(keras, "categorical_crossentropy", one_hot, y)
    assert_agrees(categorical_crossentropy(one_hot, y), theirs)


def test_keras_smooths_by_the_last_axis(keras):
    # The one place where the numbers differ on purpose: 0.3 / 3 here, 0.3 / 2 in Keras.
    y = np.full((1, 3, 2), 1 / 3, np.float32)
    t = np.zeros_like(y)
    t[:, 0] = 1
    options = {"axis": 1, "label_smoothing": 0.3}
    ours = categorical_crossentropy(t, y, **options)
    theirs = of_keras(keras, "categorical_crossentropy", t, y, **options)
    log3 = math.log(3)
    assert_agrees(ours, np.full((1, 2), log3, np.float32))
    assert_agrees(theirs, np.full((1, 2), (0.7 + 3 * 0.15) * log3, np.float32))
