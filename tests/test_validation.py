"""Every row of the contract's table "Arrays", and the errors: a test names the row it covers."""

import array

import numpy as np
import pytest
from conftest import same_bits

import fastsoftmax
from fastsoftmax import _validate, reference, testing

pytestmark = pytest.mark.usefixtures("isa")

FAMILY = ["softmax", "log_softmax", "logsumexp"]
VALUES = [[1.0, -2.0, 4.0], [0.0, 0.5, 3.0]]


def calls():
    """One call of every public function, as a function of its (first) array."""
    labels = [0, 2]
    return {
        "softmax": fastsoftmax.softmax,
        "log_softmax": fastsoftmax.log_softmax,
        "logsumexp": fastsoftmax.logsumexp,
        "softmax_backward": lambda x: fastsoftmax.softmax_backward(x, x),
        "log_softmax_backward": lambda x: fastsoftmax.log_softmax_backward(x, x),
        "cross_entropy": lambda x: fastsoftmax.cross_entropy(x, labels),
        "cross_entropy_with_grad": lambda x: fastsoftmax.cross_entropy_with_grad(x, labels)[1],
        "nll_loss": lambda x: fastsoftmax.nll_loss(x, labels),
    }


every_function = pytest.mark.parametrize("function", calls().values(), ids=calls())


def test_every_function_is_listed_here():
    assert list(calls()) == [op.name for op in reference.OPS]


# --- rows of the table ---


@every_function
def test_row_float32_float64_same_dtype_out(function, dtype):
    assert function(np.array(VALUES, dtype)).dtype == dtype


@pytest.mark.parametrize("integer", "bBhHiIlLqQ")
@every_function
def test_row_integers_computed_as_float64(function, integer):
    x = np.array([[1, 0, 4], [0, 5, 3]], integer)
    result = function(x)
    assert result.dtype == np.float64
    assert same_bits(result, function(x.astype(np.float64)))


def half_types():
    types = [np.float16]
    try:
        import ml_dtypes
    except ImportError:  # optional: without it there is no bfloat16 to test
        return types
    return [*types, ml_dtypes.bfloat16]


@pytest.mark.parametrize("half", half_types())
@every_function
def test_row_half_computed_in_float32_rounded_once(function, half):
    x = np.array(VALUES, half)
    result = function(x)
    assert result.dtype == half
    assert same_bits(result, function(x.astype(np.float32)).astype(half))


@pytest.mark.parametrize("half", half_types())
def test_row_half_out(half):
    x = np.array(VALUES, half)
    for op in ("softmax", "log_softmax"):
        function, out = getattr(fastsoftmax, op), x.copy()
        assert function(out, out=out) is out
        assert same_bits(out, function(x))


@every_function
def test_row_longdouble(function):
    x = np.array(VALUES, np.longdouble)
    result = function(x)
    assert result.dtype.char == "g"
    assert testing.ulp_error(result.astype(np.float64), function(np.array(VALUES))).max() <= 4


def test_row_longdouble_keeps_its_precision():
    third = np.longdouble(1) / 3
    y = fastsoftmax.softmax(np.array([0, 0, 0], np.longdouble))
    assert np.all(np.abs(y - third) <= np.spacing(third))
    loss, grad = fastsoftmax.cross_entropy_with_grad(np.zeros((1, 3), np.longdouble), [0])
    assert abs(loss - np.log(np.longdouble(3))) <= np.spacing(loss)
    assert grad.dtype.char == "g"


@every_function
def test_row_other_byte_order(function, dtype):
    x = np.array(VALUES, dtype)
    result = function(x.astype(dtype.newbyteorder()))
    assert result.dtype.isnative
    assert same_bits(result, function(x))


@every_function
def test_row_misaligned(function, dtype):
    x = np.array(VALUES, dtype)
    shifted = np.empty(x.nbytes + 1, np.uint8)[1:].view(dtype).reshape(x.shape)
    shifted[...] = x
    assert not shifted.flags.aligned
    assert same_bits(function(shifted), function(x))


def test_what_kernels_take_is_not_copied_and_aligned(dtype):
    x = np.array(VALUES, dtype)
    shifted = np.empty(x.nbytes + 1, np.uint8)[1:].view(dtype).reshape(x.shape)
    assert _validate.real_array(x, "x")[0] is x
    assert _validate.real_array(shifted, "x")[0].flags.aligned


def test_axes_that_lie_together_are_not_copied():
    large = np.zeros((3, 1 << 11, 1 << 9), np.float32)
    for a, axes in ((large, (1, 2)), (large[:, :, :1], (1, 2)), (large, (0, 1, 2))):
        assert np.shares_memory(_validate.rows(a, axes)[0], large)


def test_large_copies_are_made_bit_by_bit(monkeypatch):
    made, store = [], _validate.store
    monkeypatch.setattr(_validate, "store", lambda to, x: made.append(to.shape) or store(to, x))
    apart = np.zeros((3, 1 << 11, 1 << 9), np.float32).transpose(0, 2, 1)
    for a in apart, apart[:, :4]:
        assert _validate.rows(a, (1, 2))[0].shape == (3, a[0].size)
    assert made == [apart.shape]


class Lazy:
    def __dask_graph__(self):
        return {}


class InCuda:
    __cuda_array_interface__ = {}

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("the device was touched")


class OnDevice:
    def __dlpack_device__(self):
        return 2, 0  # DLPack's kDLCUDA

    def __array__(self, dtype=None, copy=None):
        raise AssertionError("the device was touched")


REFUSED = {
    "bool": (np.array([[True, False, True]] * 2), "astype"),
    "complex": (np.array(VALUES, complex), "real part"),
    "object": (np.array(VALUES, object), "dtype=np.float64"),
    "strings": (np.array(VALUES).astype(str), "convert the strings"),
    "bytes": (np.array(VALUES).astype("S"), "convert the strings"),
    "dates": (np.zeros((2, 3), "M8[s]"), "convert it"),
    "structured": (np.zeros((2, 3), "f4,f4"), "convert it"),
    "masked": (np.ma.masked_array(VALUES, np.zeros((2, 3))), "filled"),
    "lazy": (Lazy(), "compute()"),
    "device": (OnDevice(), "copy it to the host"),
    "device without DLPack": (InCuda(), "copy it to the host"),
    "None": (None, "dtype object"),
    "ragged": ([[1.0], [2.0, 3.0]], "cannot read"),
}
if len(half_types()) > 1:  # ml_dtypes is there: only its bfloat16 is taken
    import ml_dtypes

    for narrow in (ml_dtypes.float8_e5m2, ml_dtypes.float8_e4m3fn, ml_dtypes.int4):
        REFUSED[narrow.__name__] = (np.array(VALUES).astype(narrow), "convert it")


@pytest.mark.parametrize("kind", REFUSED)
@every_function
def test_row_refused_with_what_to_do_instead(function, kind):
    x, hint = REFUSED[kind]
    with pytest.raises(TypeError, match=r"^(x|dy|logits|log_probs): ") as caught:
        function(x)
    assert hint in str(caught.value)


def test_row_refused_real_dask_array():
    dask = pytest.importorskip("dask.array")
    with pytest.raises(TypeError, match=r"compute\(\)"):
        fastsoftmax.softmax(dask.zeros(4))


@every_function
def test_array_likes_are_read(function):
    expected = function(np.array(VALUES))
    assert same_bits(function(VALUES), expected)
    assert same_bits(function(tuple(map(tuple, VALUES))), expected)
    assert same_bits(function([array.array("d", row) for row in VALUES]), expected)
    assert same_bits(function(np.array(VALUES).view(np.recarray)), expected)


def test_matrix_is_read_as_an_array():
    m = np.array(VALUES).view(np.matrix)
    assert type(fastsoftmax.softmax(m)) is np.ndarray
    assert same_bits(fastsoftmax.logsumexp(m), fastsoftmax.logsumexp(np.array(VALUES)))


@pytest.mark.parametrize("op", ["softmax", "log_softmax"])
@pytest.mark.parametrize("shift", [-1, 1, 3])
def test_row_out_partial_overlap_is_computed_correctly(op, shift, dtype, rng):
    function = getattr(fastsoftmax, op)
    memory = rng.normal(0, 3, 100).astype(dtype)
    x = memory[10:90].reshape(8, 10)
    out = memory[10 + shift : 90 + shift].reshape(8, 10)
    expected = function(x.copy())
    assert function(x, out=out) is out
    assert same_bits(out, expected)


def test_row_out_partial_overlap_transposed(dtype, rng):
    x = rng.normal(0, 3, (9, 9)).astype(dtype)
    expected = fastsoftmax.softmax(x.copy())
    fastsoftmax.softmax(x, out=x.T)
    assert same_bits(x.T, expected)


def test_row_out_partial_overlap_logsumexp_and_backward(dtype, rng):
    x = rng.normal(0, 3, (9, 9)).astype(dtype)
    expected = fastsoftmax.logsumexp(x.copy())
    fastsoftmax.logsumexp(x, out=x[:, 4])
    assert same_bits(x[:, 4], expected)
    memory = rng.random(50).astype(dtype)
    dy, y, out = (memory[k : k + 30].reshape(3, 10) for k in (0, 20, 10))
    expected = fastsoftmax.softmax_backward(dy.copy(), y.copy())
    fastsoftmax.softmax_backward(dy, y, out=out)
    assert same_bits(out, expected)


def test_row_out_overlapping_targets_and_weights(rng):
    logits = rng.normal(0, 3, (4, 5))
    soft = rng.random((4, 5))
    expected = fastsoftmax.cross_entropy_with_grad(logits, soft.copy())
    loss, grad = fastsoftmax.cross_entropy_with_grad(logits, soft, out=soft)
    assert grad is soft
    assert same_bits(loss, expected[0]) and same_bits(grad, expected[1])
    out = rng.random((4, 5))
    expected = fastsoftmax.cross_entropy_with_grad(logits, [0, 1, 2, 3], weight=out[0].copy())
    result = fastsoftmax.cross_entropy_with_grad(logits, [0, 1, 2, 3], weight=out[0], out=out)
    assert same_bits(result[0], expected[0]) and same_bits(out, expected[1])


def test_out_misaligned(dtype, rng):
    x = rng.normal(0, 3, (3, 8)).astype(dtype)
    out = np.empty(x.nbytes + 1, np.uint8)[1:].view(dtype).reshape(x.shape)
    assert fastsoftmax.softmax(x, out=out) is out
    assert same_bits(out, fastsoftmax.softmax(x))


WRONG_OUT = {
    "shape": (np.zeros((3, 3)), ValueError, "expected shape"),
    "transposed shape": (np.zeros((3, 2)), ValueError, "expected shape"),
    "dtype": (np.zeros((2, 3), np.float32), TypeError, "expected dtype float64"),
    "byte order": (np.zeros((2, 3), np.dtype(float).newbyteorder()), TypeError, "expected dtype"),
    "list": ([[0.0] * 3] * 2, TypeError, "expected a NumPy array"),
    "masked": (np.ma.zeros((2, 3)), TypeError, "expected a NumPy array"),
    "read-only": (np.broadcast_to(0.0, (2, 3)), ValueError, "read-only"),
    "one element": (
        np.lib.stride_tricks.as_strided(np.zeros(1), (2, 3), (0, 0)),
        ValueError,
        "share memory",
    ),
}


@pytest.mark.parametrize("what", WRONG_OUT)
def test_row_out_wrong_nothing_written(what):
    out, error, message = WRONG_OUT[what]
    with pytest.raises(error, match=f"^out: .*{message}"):
        fastsoftmax.softmax(np.array(VALUES), out=out)
    with pytest.raises(error, match=f"^out: .*{message}"):
        fastsoftmax.cross_entropy_with_grad(np.array(VALUES), [0, 1], out=out)
    assert not np.any(np.asarray(out))


# --- axis, threads, and the options of the losses ---


@pytest.mark.parametrize(
    ("axis", "error"),
    [(2, ValueError), (-3, IndexError), ((0, 0), ValueError), ((0, -2), ValueError),
     (0.0, TypeError), (True, TypeError), ("0", TypeError), ([0], TypeError),
     ((0, 5), ValueError)],
)  # fmt: skip
@pytest.mark.parametrize("op", FAMILY)
def test_bad_axis(op, axis, error):
    with pytest.raises(error, match="^axis: "):
        getattr(fastsoftmax, op)(np.array(VALUES), axis)


@pytest.mark.parametrize("axis", [None, (0,), 1.0, 2])
def test_losses_take_one_axis(axis):
    with pytest.raises((TypeError, ValueError), match="^axis: "):
        fastsoftmax.cross_entropy(np.array(VALUES), [0, 1], axis=axis)


@pytest.mark.parametrize(
    ("threads", "error"),
    [(0, ValueError), (-1, ValueError), (2**31, ValueError), (1.0, TypeError),
     (True, TypeError), ("2", TypeError)],
)  # fmt: skip
@pytest.mark.parametrize("op", FAMILY)
def test_bad_threads(op, threads, error):
    with pytest.raises(error, match="^threads: "):
        getattr(fastsoftmax, op)(np.array(VALUES), threads=threads)


BAD_OPTIONS = {
    "weight": [([1.0, 2.0], ValueError), ([[1.0] * 3], ValueError), ("abc", TypeError),
               (1.0, ValueError), ([True] * 3, TypeError)],
    "sample_weight": [([1.0] * 3, ValueError), ([1j, 1], TypeError)],
    "ignore_index": [(1.0, TypeError), (None, TypeError), (True, TypeError),
                     (2**63, ValueError), (-(2**64), ValueError)],
    "label_smoothing": [(-0.1, ValueError), (1.1, ValueError), (np.nan, ValueError),
                        ("0.1", TypeError), (True, TypeError), ([0.1], TypeError)],
    "z_loss": [(np.nan, ValueError), (np.inf, ValueError), (None, TypeError)],
    "reduction": [("average", ValueError), (None, ValueError), (1, ValueError),
                  (["mean"], ValueError)],
    "normalizer": [(np.nan, ValueError), ("2", TypeError), ([2.0], TypeError)],
    "threads": [(0, ValueError), (1.5, TypeError)],
}  # fmt: skip


@pytest.mark.parametrize("option", BAD_OPTIONS)
def test_bad_options_name_the_argument_and_write_nothing(option):
    logits = np.array(VALUES)
    for value, error in BAD_OPTIONS[option]:
        out = np.full_like(logits, 7)
        with pytest.raises(error, match=f"^{option}: "):
            fastsoftmax.cross_entropy(logits, [0, 1], **{option: value})
        with pytest.raises(error, match=f"^{option}: "):
            fastsoftmax.cross_entropy_with_grad(logits, [0, 1], out=out, **{option: value})
        assert np.all(out == 7)


@pytest.mark.parametrize("index", [2**63, -(2**63) - 1, 2**64])
@pytest.mark.parametrize("integer", ["i8", "u8", "i4", "u1"])
def test_ignore_index_beyond_64_bits_on_plain_arrays_too(index, integer, dtype):
    logits, labels = np.array(VALUES, dtype), np.array([0, 1], integer)
    for function in (fastsoftmax.cross_entropy, fastsoftmax.cross_entropy_with_grad):
        with pytest.raises(ValueError, match="^ignore_index: "):
            function(logits, labels, ignore_index=index)


def test_normalizer_belongs_to_the_mean():
    for reduction in ("sum", "none"):
        with pytest.raises(ValueError, match="^normalizer: "):
            fastsoftmax.cross_entropy(VALUES, [0, 1], normalizer=2.0, reduction=reduction)


def test_backward_shapes_must_agree():
    with pytest.raises(ValueError, match="^y: expected shape"):
        fastsoftmax.softmax_backward(np.zeros((2, 3)), np.zeros((2, 4)))


def test_warnings_are_not_raised_even_if_asked_for(dtype):
    x = np.array([[np.nan, 1, 2], [np.inf, 0, 1], [-np.inf] * 3, [1e38, -1e38, 0]], dtype)
    with np.errstate(all="raise"):
        for function in (fastsoftmax.softmax, fastsoftmax.log_softmax, fastsoftmax.logsumexp):
            function(x)
            function(x, 0)
            function(x[:3].astype(np.float16), None)
        fastsoftmax.cross_entropy_with_grad(x, [0, 1, 2, 0])
        huge = np.array([[3e38, -3e38]] * 2, np.float32)
        assert fastsoftmax.cross_entropy(huge, [1, 1], reduction="sum") == np.inf
