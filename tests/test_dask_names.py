"""fastsoftmax.dask: lazy arrays, classes whole or split, threads and processes."""

import os
import subprocess
import sys

import numpy as np
import pytest
from conftest import assert_exact, same_bits

import fastsoftmax
from fastsoftmax import testing
from fastsoftmax._backend import core

dask = pytest.importorskip("dask")
da = pytest.importorskip("dask.array")
ours = pytest.importorskip("fastsoftmax.dask")

FAMILY = ["softmax", "log_softmax", "logsumexp"]


@pytest.fixture(autouse=True, params=["threads", "synchronous"])
def scheduler(request):
    with dask.config.set(scheduler=request.param, num_workers=3):
        yield request.param


def numbers(rng, dtype, *shape):
    return rng.normal(0, 8, shape).astype(dtype)


# --- the family ---


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), None, ()])
@pytest.mark.parametrize("name", FAMILY)
def test_whole_classes_give_the_same_bits(name, axis, dtype, rng):
    x = numbers(rng, dtype, 6, 7, 8)
    axes = fastsoftmax._validate.many_axes(axis, 3)
    chunks = tuple(n if k in axes else 4 for k, n in enumerate(x.shape))
    lazy = getattr(ours, name)(da.from_array(x, chunks=chunks), axis)
    once = np.asarray(getattr(fastsoftmax, name)(x, axis))
    assert lazy.dtype == once.dtype and lazy.shape == once.shape
    assert same_bits(lazy.compute(), once)


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), None])
@pytest.mark.parametrize("chunks", [1, 3, (2, (3, 0, 4), 5)])
@pytest.mark.parametrize("name", FAMILY)
def test_split_classes_keep_the_bounds(name, chunks, axis, dtype, rng):
    x = numbers(rng, dtype, 4, 7, 6)
    lazy = getattr(ours, name)(da.from_array(x, chunks=chunks), axis)
    result = lazy.compute()
    assert lazy.dtype == result.dtype == dtype and lazy.shape == result.shape
    if name != "logsumexp":
        assert lazy.chunks == da.from_array(x, chunks=chunks).chunks
    scale = x.max(axis=axis) if name == "logsumexp" else None
    assert_exact(name, np.asarray(result), getattr(testing, name)(x, axis), scale)


@pytest.mark.parametrize("chunks", [(2, 9), (2, 4)])
@pytest.mark.parametrize("split_every", [None, 2, {1: 3}])
def test_logsumexp_options(chunks, split_every, rng):
    x = numbers(rng, np.float64, 4, 9)
    lazy = da.from_array(x, chunks=chunks)
    kept = ours.logsumexp(lazy, 1, keepdims=True, split_every=split_every)
    assert kept.shape == kept.compute().shape == (4, 1)
    assert_exact("logsumexp", kept.compute()[:, 0], testing.logsumexp(x), x.max(axis=1))


@pytest.mark.parametrize("chunks", [(2, 9), (2, 4)])
@pytest.mark.parametrize("type_", [np.int32, np.float16, np.float32])
def test_dtypes(type_, chunks, rng):
    x = rng.integers(-5, 5, (4, 9)).astype(type_)
    lazy = ours.softmax(da.from_array(x, chunks=chunks))
    once = fastsoftmax.softmax(x)
    assert lazy.dtype == lazy.compute().dtype == once.dtype
    assert testing.ulp_error(lazy.compute(), testing.softmax(x)).max() <= 4


def test_specials():
    inf, nan = np.inf, np.nan
    x = np.array([[0, inf, 1], [0, nan, 1], [-inf] * 3, [1, -inf, 2]])
    for chunks in ((2, 3), (2, 1)):
        lazy = da.from_array(x, chunks=chunks)
        p = ours.softmax(lazy).compute()
        assert np.isnan(p[:3]).all() and p[3, 1] == 0
        assert np.array_equal(ours.logsumexp(lazy).compute()[:3], [inf, nan, -inf], equal_nan=True)


def unknown(x, chunks, axis):
    """The array with chunk sizes along an axis that Dask does not know."""
    lazy = da.from_array(x, chunks=chunks)
    mask = lazy.sum(axis=1 - axis) > -np.inf
    return lazy[mask] if axis == 0 else lazy[:, mask]


@pytest.mark.parametrize("axis", [0, 1])
@pytest.mark.parametrize("chunks", [(2, 9), (2, 4), (4, 9)])
def test_unknown_chunk_sizes(chunks, axis, rng):
    x = numbers(rng, np.float64, 4, 9)
    for name in FAMILY:
        for of in (0, 1):
            lazy = getattr(ours, name)(unknown(x, chunks, axis), of)
            scale = x.max(axis=of) if name == "logsumexp" else None
            assert_exact(name, lazy.compute(), getattr(testing, name)(x, of), scale)


def test_inside_a_graph(rng):
    x = da.random.default_rng(0).normal(size=(20, 30), chunks=(5, 10)).persist()
    p = ours.softmax(x * 3 - 1, 0)
    assert testing.ulp_error(p.sum(axis=0).compute(), np.ones(30)).max() <= 20
    assert_exact("softmax", p.compute(), testing.softmax(x.compute() * 3 - 1, 0))


def test_each_task_computes_on_one_thread(monkeypatch):
    asked = []
    real = fastsoftmax._api.softmax
    monkeypatch.setattr(
        fastsoftmax._api, "softmax",
        lambda *rest, threads=None: asked.append(threads) or real(*rest, threads=threads),
    )  # fmt: skip
    ours.softmax(da.zeros((8, 10), chunks=(2, 10))).compute()
    assert set(asked) == {1}


def test_what_is_refused():
    x = da.zeros((4, 6), chunks=(2, 3))
    with pytest.raises(TypeError, match=r"^x: expected a dask.array.Array, got ndarray"):
        ours.softmax(np.zeros((4, 6)))
    with pytest.raises(TypeError, match="^x: expected real numbers"):
        ours.softmax(x.astype(complex))
    with pytest.raises(TypeError, match="longdouble"):
        ours.softmax(x.astype(np.longdouble))
    with pytest.raises(ValueError, match="axis"):
        ours.softmax(x, 2)
    with pytest.raises(TypeError, match="axis"):
        ours.cross_entropy(x, np.zeros(4, int), axis=None)


# --- task counts ---


COUNT = """
import dask, dask.array as da, scipy.special, fastsoftmax.dask

def tasks(lazy):
    (optimized,) = dask.optimize(lazy)
    return len(dict(optimized.__dask_graph__()))

for chunks in ((50, 1000), (50, 100), (500, 10)):
    x = da.zeros((500, 1000), chunks=chunks)
    for name in ("softmax", "log_softmax", "logsumexp"):
        ours, theirs = getattr(fastsoftmax.dask, name), getattr(scipy.special, name)
        print(name, chunks, tasks(ours(x, axis=-1)), tasks(theirs(x, axis=-1)))
"""


def test_no_more_tasks_than_scipy():
    pytest.importorskip("scipy", "1.17")  # earlier ones do not take Dask's arrays
    done = subprocess.run(
        [sys.executable, "-c", COUNT], capture_output=True, text=True, timeout=100,
        env={**os.environ, "SCIPY_ARRAY_API": "1"},
    )  # fmt: skip
    counts = [line.split()[-2:] for line in done.stdout.splitlines()]
    assert len(counts) == 9, done.stderr
    assert all(int(ours) <= int(theirs) for ours, theirs in counts), done.stdout


# --- cross_entropy ---

OPTIONS = {
    "plain": {},
    "weight": {"weight": np.linspace(0.5, 2, 11)},
    "zero weight": {"weight": np.r_[0.0, np.ones(10)]},
    "ignored": {"ignore_index": 3},
    "z-loss": {"z_loss": 0.1},
    "smoothing": {"label_smoothing": 0.1},
    "sample_weight": {"sample_weight": np.linspace(0, 1, 24).reshape(8, 3)},
    "broadcast": {"sample_weight": np.array([1.0, 2, 3])},
}


@pytest.mark.skipif(core.current_isa() == "reference", reason="the bits are those of the kernels")
@pytest.mark.parametrize("reduction", ["none", "sum", "mean"])
@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("soft", [False, True])
def test_whole_losses_give_the_same_bits(options, soft, reduction, dtype, rng):
    x = numbers(rng, dtype, 8, 11, 3)
    t = rng.random(x.shape).astype(dtype) if soft else rng.integers(0, 11, (8, 3))
    options = {**OPTIONS[options], "reduction": reduction, "axis": 1}
    once = fastsoftmax.cross_entropy(x, t, **options)
    x = da.from_array(x, chunks=(3, 11, 2))
    for targets in (t, da.from_array(t, chunks=2)):
        lazy = ours.cross_entropy(x, targets, **options)
        assert lazy.shape == np.shape(once) and lazy.dtype == dtype
        assert same_bits(lazy.compute(), once)


@pytest.mark.parametrize("options", OPTIONS)
@pytest.mark.parametrize("soft", [False, True])
def test_split_losses_keep_the_bounds(options, soft, dtype, rng):
    x = numbers(rng, dtype, 8, 11, 3)
    t = rng.random(x.shape).astype(dtype) if soft else rng.integers(0, 11, (8, 3))
    options = {**OPTIONS[options], "axis": 1}
    lazy = da.from_array(x, chunks=(3, 4, 2))
    bound = 2 if dtype == np.float32 else 4
    exact = fastsoftmax.reference.cross_entropy(x, t, **options, reduction="none")
    result = ours.cross_entropy(lazy, t, **options, reduction="none")
    assert testing.ulp_error(result.compute(), exact).max() <= 2 * bound  # the reference rounds too
    for reduction in ("sum", "mean"):
        exact = fastsoftmax.reference.cross_entropy(x, t, **options, reduction=reduction)
        result = ours.cross_entropy(lazy, t, **options, reduction=reduction)
        assert result.shape == () and result.dtype == dtype
        assert testing.ulp_error(result.compute(), exact) <= 2 * bound


def test_split_losses_against_the_truth(dtype, rng):
    x = numbers(rng, dtype, 30, 40)
    x[:10, 7] += 30  # confident: losses near zero
    t = np.where(np.arange(30) < 10, 7, np.arange(30))
    for chunks in ((7, 6), (30, 1), (4, (1, 20, 19))):
        result = ours.cross_entropy(da.from_array(x, chunks=chunks), t, reduction="none")
        assert_exact("cross_entropy", result.compute(), testing.cross_entropy(x, t))


@pytest.mark.parametrize("chunks", [(2, 5), (2, 2)])
def test_edges_of_losses(chunks):
    x = np.zeros((4, 5))
    x[1] = np.nan
    lazy = da.from_array(x, chunks=chunks)
    ignored = np.array([0, -100, 1, 2])
    assert same_bits(ours.cross_entropy(lazy, ignored), fastsoftmax.cross_entropy(x, ignored))
    nothing = np.full(4, -100)
    assert np.isnan(ours.cross_entropy(lazy, nothing).compute())
    assert ours.cross_entropy(lazy, nothing, reduction="sum").compute() == 0
    assert ours.cross_entropy(lazy, ignored, normalizer=2).compute() == 1.5 * np.log(5)
    one = da.from_array(x[0], chunks=chunks[1])
    assert ours.cross_entropy(one, np.array(2)).compute() == fastsoftmax.cross_entropy(x[0], 2)
    empty = da.zeros((0, 5), chunks=(2, chunks[1]))
    assert ours.cross_entropy(empty, np.zeros(0, int), reduction="sum").compute() == 0
    assert np.isnan(ours.cross_entropy(empty, np.zeros(0, int)).compute())


@pytest.mark.parametrize("chunks", [(2, 5), (2, 2)])
def test_bad_labels_are_found(chunks):
    lazy = da.zeros((4, 5), chunks=chunks)
    for bad in (5, -1):
        loss = ours.cross_entropy(lazy, np.array([0, 1, 2, bad]))
        message = rf"targets\[1\]: label {bad} .* 0 <= label < 5.*block"
        with pytest.raises(IndexError, match=message):
            loss.compute()


def test_losses_of_unknown_chunk_sizes(rng):
    x = numbers(rng, np.float64, 4, 9)
    t = rng.integers(0, 9, 4)
    lazy = unknown(x, (2, 9), 0)
    labels = da.from_array(t, chunks=2)[da.from_array(x, chunks=(2, 9)).sum(axis=1) > -np.inf]
    assert same_bits(ours.cross_entropy(lazy, labels).compute(), fastsoftmax.cross_entropy(x, t))
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        ours.cross_entropy(lazy, t)
    with pytest.raises(ValueError, match="class axis.*compute_chunk_sizes"):
        ours.cross_entropy(unknown(x, (2, 4), 1), t)


def test_losses_refused_at_once():
    x = da.zeros((4, 5), chunks=(2, 5))
    t = np.zeros(4, int)
    for error, options in (
        (ValueError, {"reduction": "average"}),
        (ValueError, {"label_smoothing": 2}),
        (ValueError, {"weight": np.ones(4)}),
        (ValueError, {"sample_weight": np.ones(3)}),
        (TypeError, {"z_loss": "much"}),
    ):
        (name,) = options
        with pytest.raises(error, match=f"^{name}"):
            ours.cross_entropy(x, t, **options)
    with pytest.raises(ValueError, match="^targets"):
        ours.cross_entropy(x, np.zeros(5, int))
    with pytest.raises(TypeError, match="^targets"):
        ours.cross_entropy(x, np.zeros(4, bool))
    with pytest.raises(ValueError, match="^targets.*labels must be integers"):
        ours.cross_entropy(x, np.zeros(4))


# --- arrays beyond memory, progress ---


def test_memory_map_with_a_progress_bar(tmp_path, rng, capsys):
    from dask.diagnostics import ProgressBar

    file = np.memmap(tmp_path / "x", np.float32, "w+", shape=(64, 5000))
    file[...] = rng.normal(0, 5, file.shape)
    lazy = da.from_array(np.memmap(tmp_path / "x", np.float32, "r", shape=file.shape), (16, 1000))
    with ProgressBar():
        result = ours.logsumexp(lazy).compute()
    assert "100% Completed" in capsys.readouterr().out
    assert_exact("logsumexp", result, testing.logsumexp(np.asarray(file)), file.max(axis=1))


def test_zarr_to_zarr(tmp_path, rng):
    pytest.importorskip("zarr")
    x = rng.normal(0, 5, (64, 500)).astype(np.float32)
    da.from_array(x, chunks=(16, 100)).to_zarr(str(tmp_path / "x.zarr"))
    ours.softmax(da.from_zarr(str(tmp_path / "x.zarr"))).to_zarr(str(tmp_path / "y.zarr"))
    result = da.from_zarr(str(tmp_path / "y.zarr")).compute()
    assert_exact("softmax", result, testing.softmax(x))
