"""Defects that were found once, each with the call that showed it."""

import os
import shutil

import numpy as np
import pytest
from c_programs import ROOT, compiles, run

import fastsoftmax
from fastsoftmax import testing


def test_nan_shows_beside_a_hopeless_target(dtype, isa):
    x = np.array([[-3e9, 0, np.nan]], dtype)
    assert np.isnan(fastsoftmax.cross_entropy(x, [0]))
    assert np.isnan(fastsoftmax.cross_entropy(x, [0], weight=[0, 1, 1], reduction="sum"))


@pytest.mark.parametrize("shape", [(3, 0), (0, 5), (0, 0)])
def test_out_may_be_empty(shape, dtype, isa):
    out = np.empty(shape, dtype)
    assert fastsoftmax.softmax(np.empty(shape, dtype), out=out) is out
    assert fastsoftmax.log_softmax(out, out=out) is out


def test_one_hot_gradient_keeps_its_digits(dtype, isa):
    gap = 20 if dtype == np.float32 else 40
    x = np.array([[gap, 0, 0], [0, gap, 1]], dtype)
    truth = testing.gradient(x, [0, 1])
    one_hot = np.eye(3, dtype=dtype)[[0, 1]]
    _, grad = fastsoftmax.cross_entropy_with_grad(x, one_hot, reduction="sum")
    assert testing.ulp_error(grad, truth).max() <= (2.5 if dtype == np.float32 else 4)


@pytest.mark.parametrize("options", [{"sample_weight": [0, 0]}, {"normalizer": 0.0},
                                     {"sample_weight": [0, 0], "label_smoothing": 0.1}])
def test_no_divisor_no_gradient(options, dtype, isa):
    x = np.array([[1, 2, np.nan], [1, 2, 3]], dtype)
    loss, grad = fastsoftmax.cross_entropy_with_grad(x, [0, 1], **options)
    assert np.isnan(loss) and np.array_equal(grad, np.zeros_like(x))


def test_backward_of_tiny_gradients(dtype, isa):
    y = fastsoftmax.log_softmax(np.array([[1, 2, 3]], dtype))
    dy = np.array([[3.25, 1.75, 2.875]], dtype)
    tiny = dtype.type(2.0**-100 if dtype == np.float32 else 2.0**-900)
    expected = fastsoftmax.log_softmax_backward(dy, y) * tiny  # a power of two: exact
    assert np.array_equal(fastsoftmax.log_softmax_backward(dy * tiny, y), expected)


@pytest.mark.parametrize("name", ["z_loss", "normalizer", "label_smoothing"])
def test_option_beyond_float64(name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        fastsoftmax.cross_entropy(np.zeros((2, 3)), [0, 1], **{name: 10**400})


def test_every_element_a_row_of_as_many_dimensions_as_numpy_has():
    most = 64 if np.lib.NumpyVersion(np.__version__) >= "2.0.0" else 32
    x = np.zeros((1,) * (most - 1) + (2,))
    assert np.array_equal(fastsoftmax.softmax(x, axis=()), np.ones_like(x))
    assert np.array_equal(fastsoftmax.log_softmax(x, axis=()), x)
    assert fastsoftmax.logsumexp(x + 3, axis=()).shape == x.shape
    assert not fastsoftmax.softmax_backward(x, x, axis=()).any()


def test_infinite_gap_of_a_weight_that_float32_cannot_hold(dtype, isa):
    x = np.array([[0, 1, -np.inf]], dtype)
    t = np.array([[0.5, 0.25, 0.25]], dtype)
    for w in (0.1, 0.7, 1 / 3):
        options = {"weight": [1.0, 2.0, w]}
        assert fastsoftmax.cross_entropy(x, t, **options) == np.inf
        assert fastsoftmax.cross_entropy(x, [0], label_smoothing=1.0, **options) == np.inf


def test_no_address_beyond_a_local_array(tmp_path):
    """One was formed on the way to an element, and never read: gcc does not look at that."""
    clang = ["clang", "-fsanitize=undefined", "-fno-sanitize-recover=all"]
    if "LD_PRELOAD" in os.environ or not shutil.which("clang"):
        pytest.skip("no clang, or a sanitizer that is preloaded")
    if not compiles(clang, "int main(void) { return 0; }"):
        pytest.skip("clang has no sanitizers here")
    sources = [*(ROOT / "csrc").glob("*.c"), *(ROOT / "csrc/isa").glob("scalar_*.c"),
               ROOT / "tests/c/bounds.c"]  # fmt: skip
    program = f"{tmp_path}/bounds"
    run([*clang, "-std=c11", "-O1", "-ffp-contract=off", '-DFS_OPENMP_NOTE="without"',
         f"-I{ROOT / 'csrc'}", *map(str, sources), "-pthread", "-lm", "-o", program])  # fmt: skip
    run([program])
