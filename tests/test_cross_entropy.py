"""The losses and their options: brute force in long double, properties."""

import numpy as np
import pytest
from conftest import BOUNDS, assert_exact, in_units_of, same_bits
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mixed_cases import WIDE, coefficients, mixed_truth

import fastsoftmax
from fastsoftmax import reference, testing

pytestmark = pytest.mark.usefixtures("isa")


def brute_losses(x, targets, weight=None, label_smoothing=0.0, z_loss=0.0):
    """As the documentation writes them, in long double."""
    q = coefficients(x, targets, weight, label_smoothing)
    lse = np.log(np.sum(np.exp(x), axis=1, keepdims=True))
    return np.sum(q * (lse - x), axis=1) + WIDE(z_loss) * lse[:, 0] ** 2


def options_of_a_sample(options):
    """Those that make the loss of a sample, whatever becomes of it then."""
    own = {name: options[name] for name in ("label_smoothing", "z_loss") if name in options}
    return {**own, "weight": np.array(options["weight"])} if "weight" in options else own


def truth_of(x, targets, options):
    """Loss, gradient, and the larger of the terms whose difference the gradient is."""
    soft, rows = targets.dtype.kind == "f", len(x)
    counted = np.full(rows, True) if soft else targets != options.get("ignore_index", -100)
    s = counted * np.broadcast_to(np.asarray(options.get("sample_weight", 1), WIDE), rows)
    loss, grad, size = mixed_truth(x, targets, **options_of_a_sample(options))
    loss, grad, size = loss * s, grad * s[:, None], size * s[:, None]
    divisor = rows
    if not soft:
        divisor = np.sum(np.asarray(options.get("weight", np.ones(x.shape[1])), WIDE)[targets] * s)
    divisor = options.get("normalizer", divisor)
    if options["reduction"] == "mean":
        return loss.sum() / divisor, grad / divisor, size / divisor
    return (loss.sum() if options["reduction"] == "sum" else loss), grad, size


CHOICES = {
    "plain": {},
    "weight": {"weight": [0.5, 2.0, 0.0, 1.25, 3.0]},
    "sample_weight": {"sample_weight": [1.0, 0.0, 0.5, 2.0, 4.0, 0.25]},
    "one sample_weight": {"sample_weight": 0.5},
    "smoothing": {"label_smoothing": 0.1},
    "all smooth": {"label_smoothing": 1.0},
    "z_loss": {"z_loss": 0.01},
    "ignore": {"ignore_index": 2},
    "weight and smoothing": {"weight": [0.5, 2.0, 0.0, 1.25, 3.0], "label_smoothing": 0.3},
    "all": {"weight": [0.5, 2.0, 1.0, 1.25, 3.0], "sample_weight": [1, 2, 0.5, 2, 4, 0.25],
            "label_smoothing": 0.2, "z_loss": 1e-3, "ignore_index": 1},
}  # fmt: skip


def targets_of(kind, dtype, rng):
    labels = np.array([0, 1, 2, 3, 4, 1])
    return {
        "labels": labels,
        "soft": rng.random((6, 5)).astype(dtype),
        "one-hot": np.eye(5, dtype=dtype)[labels],
    }[kind]


@pytest.mark.parametrize("kind", ["labels", "soft"])
@pytest.mark.parametrize("choice", CHOICES)
def test_truth_is_the_derivative(choice, kind, rng):
    """The gradients that the kernels are held to, by differences of the losses: a quotient whose
    rounding and truncation are of one size."""
    x, targets = rng.normal(0, 3, (6, 5)), targets_of(kind, np.float64, rng)
    options = options_of_a_sample(CHOICES[choice])
    step = WIDE(2) ** -(np.finfo(WIDE).nmant // 5)
    grad = np.zeros(x.shape, WIDE)
    for c in range(5):
        ends = [brute_losses(x + k * step * np.eye(5)[c], targets, **options)
                for k in (1, -1, 2, -2)]  # fmt: skip
        grad[:, c] = (8 * (ends[0] - ends[1]) - (ends[2] - ends[3])) / (12 * step)
    losses, exact, _ = mixed_truth(x, targets, **options)
    brute = brute_losses(x.astype(WIDE), targets, **options)
    terms = np.abs(x).max(axis=1) * coefficients(x, targets, options.get("weight"), 0).sum(axis=1)
    terms = np.maximum(terms, brute)  # what a loss is a difference of, as differences see it
    assert in_units_of(losses.astype(WIDE), brute, terms).max() <= 8
    assert in_units_of(grad, exact, terms[:, None]).max() <= 8 / step


@pytest.mark.parametrize("reduction", ["none", "mean", "sum", "normalizer"])
@pytest.mark.parametrize("kind", ["labels", "soft", "one-hot"])
@pytest.mark.parametrize("choice", CHOICES)
def test_options_against_brute_force(choice, kind, reduction, dtype, rng):
    """p * sum(q) - q subtracts where every class has a coefficient: in ULP of the larger term."""
    x = rng.normal(0, 3, (6, 5)).astype(dtype)
    targets = targets_of(kind, dtype, rng)
    options = {**CHOICES[choice], "reduction": reduction}
    if reduction == "normalizer":
        options.update(reduction="mean", normalizer=7.5)
    loss, grad, size = truth_of(x, targets, options)
    result, result_grad = fastsoftmax.cross_entropy_with_grad(x, targets, **options)
    assert_exact("cross_entropy", result, loss)
    assert same_bits(fastsoftmax.cross_entropy(x, targets, **options), result)
    worst = in_units_of(result_grad, grad, np.maximum(abs(grad), size)).max()
    assert worst <= BOUNDS["cross_entropy_with_grad"][dtype]


@pytest.mark.parametrize("power", [-300, 300])
def test_class_weights_of_any_size(power, dtype, isa, rng):
    """Float32 has no 2^300, but the mean does not depend on what weights are measured in."""
    x, labels = rng.normal(0, 3, (6, 5)).astype(dtype), np.array([0, 1, 2, 3, 4, 1])
    weight = np.array([0.5, 2.0, 0.0, 1.25, 3.0])
    for targets in (labels, np.eye(5, dtype=dtype)[labels]):
        means = [
            fastsoftmax.cross_entropy(x, targets, weight=np.ldexp(weight, k), label_smoothing=0.1,
                                      normalizer=np.ldexp(8.0, k)) for k in (0, power)
        ]  # fmt: skip
        assert same_bits(*means)


@pytest.mark.parametrize("factor", [2.0**59, -(2.0**61), 2.0**100, -(2.0**127)])
def test_tiny_probabilities_count_beside_a_huge_grad_output(factor, dtype):
    x = np.array([[0, -69, -20, -1]], dtype)
    _, grad = fastsoftmax.cross_entropy_with_grad(x, [0], grad_output=factor)
    truth = testing.gradient(x, [0]) * factor
    assert testing.ulp_error(grad, truth).max() <= BOUNDS["cross_entropy_with_grad"][dtype]


@pytest.mark.parametrize(
    ("z", "weight", "factor"),
    [(2.0**61, 1, 1), (2.0**125, 1, 1), (2.0**-9, 2.0**-150, 2.0**70), (0, 2.0**-110, 2.0**110)],
)
def test_tiny_probabilities_count_beside_a_huge_z_loss(z, weight, factor, dtype):
    x = np.array([[0, -69, -20, -1]], dtype)
    _, grad = fastsoftmax.cross_entropy_with_grad(
        x, [0], z_loss=z, weight=[weight] * 4, grad_output=factor, reduction="sum"
    )
    truth = mixed_truth(x, np.array([0]), weight=np.full(4, weight), z_loss=z)[1] * factor
    assert testing.ulp_error(grad, truth).max() <= 8


@pytest.mark.parametrize("rows", [1, 2, 9, 300])
def test_the_mean_of_huge_losses_does_not_overflow(rows):
    half = np.finfo(float).max / 2
    x = np.repeat([[0.0, -half]], rows, axis=0)
    assert fastsoftmax.cross_entropy(x, np.ones(rows, int)) == half


@pytest.mark.parametrize("threads", [1, 2])
def test_a_row_in_pieces_in_place_apart_and_with_a_huge_factor(threads, rng):
    x = rng.normal(0, 3, (1, 4_500_000)).astype(np.float32)
    wanted = fastsoftmax.softmax(x, threads=1)
    apart = np.repeat(x, 2, axis=1)[:, ::2]
    assert same_bits(fastsoftmax.softmax(apart, out=apart, threads=threads), wanted)
    options = {"threads": threads, "out": apart}
    grad = fastsoftmax.cross_entropy_with_grad(x, [7])[1]
    huge = fastsoftmax.cross_entropy_with_grad(x, [7], grad_output=2.0**100, **options)[1]
    assert same_bits(huge, grad * np.float32(2.0**100))
    assert same_bits(fastsoftmax.softmax(x, out=x, threads=threads), wanted)


@pytest.mark.parametrize("factor", [np.inf, -np.inf])
def test_an_infinite_grad_output_keeps_its_sign(factor, dtype):
    _, grad = fastsoftmax.cross_entropy_with_grad(
        np.array([[0, 1, -3]], dtype), [1], grad_output=factor
    )
    assert grad.tolist() == [[factor, -factor, factor]]


@pytest.mark.parametrize("index", [126, 255, 2**63 - 1, -(2**63)])
def test_ignore_index_of_any_64_bits(index, dtype):
    x = np.array([[0, 1, -3], [2, 0, 5]], dtype)
    loss = fastsoftmax.cross_entropy(x, [1, index], ignore_index=index)
    assert same_bits(loss, fastsoftmax.cross_entropy(x[:1], [1]))


@pytest.mark.parametrize("grad_output", [2.0, -0.5, 0.0, [1, 2, 3, 0.5, 0, -1.0]])
@pytest.mark.parametrize("reduction", ["none", "mean", "sum"])
def test_grad_output_multiplies_the_gradient_only(reduction, grad_output, dtype, rng):
    x = rng.normal(0, 3, (6, 5)).astype(dtype)
    labels = np.array([0, 1, -100, 3, 4, 1])
    plain = fastsoftmax.cross_entropy_with_grad(x, labels, reduction=reduction)
    loss, grad = fastsoftmax.cross_entropy_with_grad(
        x, labels, reduction=reduction, grad_output=grad_output
    )
    factor = np.broadcast_to(np.asarray(grad_output, WIDE), 6)[:, None]
    wide = reference.cross_entropy_with_grad(x.astype(WIDE), labels, reduction=reduction)[1]
    assert same_bits(loss, plain[0])
    assert_exact("cross_entropy_with_grad", grad, wide * factor)
    assert not grad[2].any()


@pytest.mark.parametrize("n", [1, 2, 3, 7, 16, 17, 33, 64, 65, 300, 1000, 5000])
def test_hard_labels_to_the_last_place(n, dtype, rng):
    for scale in (0.1, 3, 30):
        x = rng.normal(0, scale, (7, n)).astype(dtype)
        labels = rng.integers(0, n, 7)
        labels[0], labels[1] = np.argmax(x[0]), np.argmin(x[1])
        losses, grad = fastsoftmax.cross_entropy_with_grad(x, labels, reduction="none")
        assert_exact("cross_entropy", losses, testing.cross_entropy(x, labels))
        assert_exact("cross_entropy_with_grad", grad, testing.gradient(x, labels))
        assert same_bits(fastsoftmax.cross_entropy(x, labels, reduction="none"), losses)


@pytest.mark.parametrize("others", [1, 2, 9, 40, 1000])
@pytest.mark.parametrize("margin", [5, 15, 20, 40, 80, 100, 600, 720])
def test_near_zero(margin, others, dtype):
    for place in (0, others // 2, others):
        x = np.zeros((1, others + 1), dtype)
        x[0, place] = margin
        loss, grad = fastsoftmax.cross_entropy_with_grad(x, [place])
        assert_exact("cross_entropy", loss, testing.cross_entropy(x, [place])[0])
        assert_exact("cross_entropy_with_grad", grad, testing.gradient(x, [place]))


def test_near_zero_known_case():
    logits = np.array([[20, 0, 0]], np.float32)
    loss, grad = fastsoftmax.cross_entropy_with_grad(logits, [0])
    truth = testing.cross_entropy(logits, [0])[0]
    assert_exact("cross_entropy", loss, truth)
    assert f"{loss:.4e}" == "4.1223e-09" and f"{grad[0, 0]:.4e}" == "-4.1223e-09"


@pytest.mark.parametrize("integer", "bBhHiIlLqQ")
def test_every_integer_dtype(integer, dtype, rng):
    x = rng.normal(0, 3, (20, 12)).astype(dtype)
    labels = rng.integers(0, 12, 20)
    expected = fastsoftmax.cross_entropy_with_grad(x, labels)
    for targets in (
        labels.astype(integer),
        labels.astype(np.dtype(integer).newbyteorder()),
        np.repeat(labels, 2).astype(integer)[::2],
        labels[::-1].astype(integer)[::-1],
    ):
        loss, grad = fastsoftmax.cross_entropy_with_grad(x, targets)
        assert same_bits(loss, expected[0]) and same_bits(grad, expected[1])


@pytest.mark.parametrize("axis", [0, 1, 2, 3, -1, -3])
@pytest.mark.parametrize("kind", ["labels", "soft"])
def test_axis(axis, kind, dtype, rng):
    x = rng.normal(0, 3, (3, 4, 5, 6)).astype(dtype)
    classes = x.shape[axis]
    targets = rng.random(x.shape).astype(dtype)
    if kind == "labels":
        targets = rng.integers(-1, classes, np.delete(x.shape, axis))
    last = np.ascontiguousarray(np.moveaxis(x, axis, -1))
    moved = targets if kind == "labels" else np.moveaxis(targets, axis, -1)
    options = {"ignore_index": -1, "weight": rng.random(classes), "label_smoothing": 0.1}
    for reduction in ("none", "sum", "mean"):
        options["reduction"] = reduction
        loss, grad = fastsoftmax.cross_entropy_with_grad(x, targets, axis=axis, **options)
        expected = fastsoftmax.cross_entropy_with_grad(last, moved, **options)
        assert same_bits(loss, expected[0])
        assert same_bits(np.moveaxis(grad, axis, -1), expected[1])
        assert same_bits(fastsoftmax.cross_entropy(x, targets, axis=axis, **options), loss)


def test_one_sample_without_a_batch(dtype):
    x = np.array([1, 2, 3], dtype)
    for reduction in ("none", "mean", "sum"):
        loss, grad = fastsoftmax.cross_entropy_with_grad(x, 1, reduction=reduction)
        assert type(loss) is dtype.type and grad.shape == (3,)
        assert_exact("cross_entropy", loss, testing.cross_entropy(x, 1))


@pytest.mark.parametrize("kind", ["labels", "soft"])
def test_gradient_in_place(kind, dtype, rng):
    for shape, axis in (((30, 7), -1), ((4, 300), 1), ((3, 5, 6), 1), ((8, 9), 0)):
        x = rng.normal(0, 3, shape).astype(dtype)
        targets = rng.random(shape).astype(dtype)
        if kind == "labels":
            targets = rng.integers(0, shape[axis], np.delete(shape, axis))
        loss, grad = fastsoftmax.cross_entropy_with_grad(x, targets, axis=axis)
        out = x.copy()
        result = fastsoftmax.cross_entropy_with_grad(out, targets, axis=axis, out=out)
        assert result[1] is out
        assert same_bits(result[0], loss) and same_bits(out, grad)
        shifted = np.concatenate([x.ravel(), x.ravel()[:1]])
        shifted[1:] = x.ravel()
        result = fastsoftmax.cross_entropy_with_grad(
            shifted[1:].reshape(shape), targets, axis=axis, out=shifted[:-1].reshape(shape)
        )
        assert same_bits(result[1], grad)


def test_soft_targets_of_another_dtype_are_converted(dtype, rng):
    x = rng.normal(0, 3, (4, 5)).astype(dtype)
    t = rng.random((4, 5)).astype(np.float16)
    expected = fastsoftmax.cross_entropy(x, t.astype(dtype))
    for other in (np.float16, np.float32, np.float64, np.longdouble, dtype.newbyteorder()):
        assert same_bits(fastsoftmax.cross_entropy(x, t.astype(other)), expected)


def test_threads_do_not_change_a_bit(dtype, rng):
    x = rng.normal(0, 3, (600, 500)).astype(dtype)
    labels = rng.integers(0, 500, 600)
    for options in ({}, {"label_smoothing": 0.1, "weight": rng.random(500), "z_loss": 0.1}):
        alone = fastsoftmax.cross_entropy_with_grad(x, labels, threads=1, **options)
        for threads in (2, 5):
            loss, grad = fastsoftmax.cross_entropy_with_grad(x, labels, threads=threads, **options)
            assert same_bits(loss, alone[0]) and same_bits(grad, alone[1])


def test_mean_of_many(dtype, rng):
    x = rng.normal(0, 3, (5000, 10)).astype(dtype)
    labels = rng.integers(0, 10, 5000)
    truth = testing.cross_entropy(x, labels).sum() / 5000
    assert testing.ulp_error(fastsoftmax.cross_entropy(x, labels), truth) <= 2


# --- properties ---

problems = st.tuples(
    st.integers(1, 9), st.integers(1, 40), st.sampled_from([0.1, 3.0, 30.0]), st.integers(0, 2**32)
)
quick = settings(
    max_examples=25, deadline=None, derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)  # fmt: skip


def make(problem, dtype):
    samples, classes, scale, seed = problem
    rng = np.random.default_rng(seed)
    x = rng.normal(0, scale, (samples, classes)).astype(dtype)
    return x, rng.integers(0, classes, samples), rng


def losses_of(x, targets, **options):
    return fastsoftmax.cross_entropy(x, targets, reduction="none", **options)


def assert_close(a, b, size, ulp=16):
    size = np.maximum(np.abs(np.asarray(b, np.float64)), size)
    assert in_units_of(a, np.asarray(b, np.float64), size).max(initial=0) <= ulp


@quick
@given(problem=problems)
def test_property_permutation_of_classes(problem, dtype):
    x, labels, rng = make(problem, dtype)
    order = rng.permutation(x.shape[1])
    place = np.argsort(order)
    _, grad = fastsoftmax.cross_entropy_with_grad(x, labels, reduction="sum")
    _, moved = fastsoftmax.cross_entropy_with_grad(x[:, order], place[labels], reduction="sum")
    assert_close(losses_of(x[:, order], place[labels]), losses_of(x, labels), 0)
    assert_close(moved[:, place], grad, 0)


@quick
@given(problem=problems, shift=st.integers(-1000, 1000))
def test_property_shift_of_logits(problem, shift, dtype):
    x, labels, _ = make(problem, dtype)
    x = np.round(x * 16) / 16  # so that the shift is exact
    assert_close(losses_of(x + dtype.type(shift), labels), losses_of(x, labels), 0)


@quick
@given(problem=problems)
def test_property_one_hot_is_hard(problem, dtype):
    x, labels, rng = make(problem, dtype)
    one_hot = np.eye(x.shape[1], dtype=dtype)[labels]
    weight = rng.random(x.shape[1])
    for options in ({}, {"weight": weight}, {"z_loss": 0.1}):
        hard = fastsoftmax.cross_entropy_with_grad(x, labels, reduction="sum", **options)
        soft = fastsoftmax.cross_entropy_with_grad(x, one_hot, reduction="sum", **options)
        assert_close(soft[0], hard[0], 0)
        largest = options.get("weight", np.ones(x.shape[1]))[labels, None]
        assert_close(soft[1], hard[1], np.maximum(np.abs(hard[1]).max(axis=1)[:, None], largest))


@quick
@given(problem=problems, smoothing=st.sampled_from([0.0, 0.05, 0.5, 1.0]))
def test_property_smoothing_is_a_mixture_of_targets(problem, smoothing, dtype):
    x, labels, _ = make(problem, dtype)
    classes = x.shape[1]
    mixed = ((1 - smoothing) * np.eye(classes)[labels] + smoothing / classes).astype(dtype)
    smooth = losses_of(x, labels, label_smoothing=smoothing)
    # Rounding the mixture to the dtype moves the loss by half an ULP of its largest term.
    assert_close(losses_of(x, mixed), smooth, np.ptp(x, axis=1) + 1)


@quick
@given(problem=problems)
def test_property_weights_of_one_are_none(problem, dtype):
    x, labels, _ = make(problem, dtype)
    ones = {"weight": np.ones(x.shape[1]), "sample_weight": np.ones(len(x))}
    for reduction in ("none", "mean", "sum"):
        plain = fastsoftmax.cross_entropy_with_grad(x, labels, reduction=reduction)
        weighted = fastsoftmax.cross_entropy_with_grad(x, labels, reduction=reduction, **ones)
        assert_close(weighted[0], plain[0], 0, ulp=4)
        assert_close(weighted[1], plain[1], 0, ulp=4)


@quick
@given(problem=problems)
def test_property_sum_is_the_sum_of_none(problem, dtype):
    x, labels, _ = make(problem, dtype)
    losses = losses_of(x, labels)
    total = fastsoftmax.cross_entropy(x, labels, reduction="sum")
    assert_close(total, losses.astype(np.float64).sum(), 0)
    mean = fastsoftmax.cross_entropy(x, labels, reduction="mean")
    assert_close(mean, losses.astype(np.float64).sum() / len(x), 0)


@quick
@given(problem=problems)
def test_property_gradient_sums_to_zero(problem, dtype):
    x, labels, _ = make(problem, dtype)
    _, grad = fastsoftmax.cross_entropy_with_grad(x, labels, reduction="sum")
    sums = grad.astype(np.float64).sum(axis=1)
    assert_close(sums.astype(dtype), np.zeros(len(x)), np.abs(grad).sum(axis=1), ulp=4)


@quick
@given(problem=problems)
def test_property_nll_of_log_softmax(problem, dtype):
    x, labels, rng = make(problem, dtype)
    options = {"weight": rng.random(x.shape[1]), "sample_weight": rng.random(len(x))}
    log_probs = fastsoftmax.log_softmax(x)
    for reduction in ("none", "mean", "sum"):
        assert_close(
            fastsoftmax.nll_loss(log_probs, labels, reduction=reduction, **options),
            fastsoftmax.cross_entropy(x, labels, reduction=reduction, **options),
            0,
        )


def test_nll_reads_only_the_targets(dtype):
    log_probs = np.array([[np.nan, -1], [-2, np.inf]], dtype)
    assert fastsoftmax.nll_loss(log_probs, [1, 0]) == 1.5
    assert fastsoftmax.nll_loss(log_probs, [1, 0], weight=[1, 3]) == (3 + 2) / 4


def test_nll_soft_targets(dtype):
    log_probs = np.array([[-1, -2], [-3, -4]], dtype)
    t = np.array([[0.5, 0.5], [1, 0]], dtype)
    assert np.array_equal(fastsoftmax.nll_loss(log_probs, t, reduction="none"), [1.5, 3])
