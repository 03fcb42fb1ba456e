"""A row's bits are its own: the same in any batch, place, layout, and on any number of threads."""

import numpy as np
import pytest
from conftest import same_bits
from kernel_cases import BLOCK, DISTRIBUTIONS, KEEP, PIECE, rows_of

import fastsoftmax
from fastsoftmax._backend import core

if core.current_isa() == "reference":
    pytest.skip("no compiled kernels", allow_module_level=True)

VECTOR_ISAS = [name for name in core.isas() if name != "scalar"]
FAMILY = {
    "softmax": fastsoftmax.softmax,
    "log_softmax": fastsoftmax.log_softmax,
    "logsumexp": fastsoftmax.logsumexp,
}
each_function = pytest.mark.parametrize("name", FAMILY)
# Tails of vectors and groups, and rows of several blocks.
LENGTHS = [1, 2, 3, 7, 10, 16, 17, 31, 33, 64, 65, 100, 127, 200, 1025, 2048, 2049, 4200]


def rows_for(n, dtype, rng, rows=32):
    names = [name for name in DISTRIBUTIONS if name != "masked" or n > 1]
    return rows_of((names * rows)[:rows], n, dtype, rng)


def losses(x, labels, axis=-1, threads=None):
    """Everything unreduced that a loss gives for each row."""
    alone = fastsoftmax.cross_entropy(x, labels, axis=axis, reduction="none", threads=threads)
    loss, grad = fastsoftmax.cross_entropy_with_grad(
        x, labels, axis=axis, reduction="none", threads=threads
    )
    return alone, loss, grad


@pytest.mark.parametrize("n", LENGTHS)
def test_alone_or_in_any_batch_and_place(n, dtype, isa, rng):
    x = rows_for(n, dtype, rng)
    labels = rng.integers(n, size=len(x))
    order = rng.permutation(len(x))
    for function in FAMILY.values():
        whole = function(x)
        assert same_bits(np.stack([function(row) for row in x]), whole)
        assert same_bits(function(x[order]), whole[order])
        assert same_bits(function(x[5:8]), whole[5:8])
        assert same_bits(function(x.reshape(4, 8, n)).reshape(whole.shape), whole)
        assert same_bits(function(np.tile(x, (40, 1)))[-len(x) :], whole)  # not the small way in
    whole = losses(x, labels)
    for part in (slice(0, 1), slice(3, 4), slice(11, 19), slice(31, 32)):
        for got, wanted in zip(losses(x[part], labels[part]), whole, strict=True):
            assert same_bits(got, wanted[part])
    for got, wanted in zip(losses(x[order], labels[order]), whole, strict=True):
        assert same_bits(got, wanted[order])


SHAPES = [(5000, 10), (1000, 129), (64, 2049), (3, PIECE + 77), (7, 40000), (1, 200_000)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_any_number_of_threads(shape, dtype, isa, rng):
    x = rng.normal(0, 10, shape).astype(dtype)
    labels = rng.integers(shape[1], size=shape[0])
    one = [function(x, threads=1) for function in FAMILY.values()]
    one_loss = losses(x, labels, threads=1)
    for threads in (2, 3, 7):
        for function, wanted in zip(FAMILY.values(), one, strict=True):
            assert same_bits(function(x, threads=threads), wanted)
        for got, wanted in zip(losses(x, labels, threads=threads), one_loss, strict=True):
            assert same_bits(got, wanted)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("rows", [2, 40, 300, 1000, 5000, 30011])
def test_scalar_loss_on_any_number_of_threads(rows, reduction, dtype, isa, rng):
    """Summed in an order that the shape alone decides."""
    x = (rng.normal(0, 1, (rows, 33)) * 10 ** rng.uniform(-3, 2, (rows, 1))).astype(dtype)
    labels = rng.integers(33, size=rows)
    options = {"reduction": reduction, "sample_weight": rng.random(rows).astype(dtype)}
    loss, grad = fastsoftmax.cross_entropy_with_grad(x, labels, threads=1, **options)
    assert same_bits(fastsoftmax.cross_entropy(x, labels, threads=1, **options), loss)
    for threads in (2, 3, 5, 16):
        again, grad_again = fastsoftmax.cross_entropy_with_grad(
            x, labels, threads=threads, **options
        )
        assert same_bits(again, loss) and same_bits(grad_again, grad)
        assert same_bits(fastsoftmax.cross_entropy(x, labels, threads=threads, **options), loss)


def misaligned(x, offset):
    """A copy of x that begins `offset` bytes after the begin of a cache line."""
    raw = np.zeros(x.nbytes + 128, np.uint8)
    begin = -raw.ctypes.data % 64 + offset
    copy = raw[begin : begin + x.nbytes].view(x.dtype).reshape(x.shape)
    copy[...] = x
    return copy


@pytest.mark.parametrize("n", [5, 16, 33, 100, 2049])
def test_any_alignment(n, dtype, isa, rng):
    x = rows_for(n, dtype, rng, 8)
    labels = rng.integers(n, size=len(x))
    wanted = [function(x) for function in FAMILY.values()], losses(x, labels)
    # of the elements, and (odd offsets) not even that
    for offset in [k * dtype.itemsize for k in range(0, 64 // dtype.itemsize, 3)] + [1, 3]:
        moved = misaligned(x, offset)
        for k, function in enumerate(FAMILY.values()):
            assert same_bits(function(moved), wanted[0][k])
        for got, want in zip(losses(moved, labels), wanted[1], strict=True):
            assert same_bits(got, want)
        out = misaligned(x, offset) if offset % dtype.itemsize == 0 else np.empty_like(x)
        assert same_bits(fastsoftmax.softmax(moved, out=out), wanted[0][0])


VIEWS = {
    "every second class": lambda x: np.repeat(x, 2, axis=1)[:, ::2],
    "rows reversed": lambda x: x[::-1].copy()[::-1],
    "classes reversed": lambda x: x[:, ::-1].copy()[:, ::-1],
    "every third row": lambda x: np.repeat(x, 3, axis=0)[::3],
    "Fortran order": np.asfortranarray,
    "columns of a wider array": lambda x: np.pad(x, ((0, 0), (3, 4)))[:, 3:-4],
    "transposed of three": lambda x: x.reshape(4, -1, x.shape[1]).transpose(2, 1, 0).copy()
    .transpose(2, 1, 0).reshape(x.shape),
    "read-only": lambda x: np.broadcast_to(x, x.shape),
}  # fmt: skip


@pytest.mark.parametrize("n", [1, 2, 10, 33, 129, 2049])
@pytest.mark.parametrize("view", VIEWS)
def test_any_strides(view, n, dtype, isa, rng):
    x = rows_for(n, dtype, rng)
    labels = rng.integers(n, size=len(x))
    strided = VIEWS[view](x)
    assert np.array_equal(strided, x)
    for function in FAMILY.values():
        wanted = function(x)
        assert same_bits(function(strided), wanted)
        out = VIEWS[view](np.zeros_like(x)) if wanted.ndim == 2 else np.zeros(2 * len(x), dtype)
        out = out[::2] if wanted.ndim == 1 else out
        if out.flags.writeable:
            assert function(strided, out=out) is out
            assert same_bits(out, wanted)
    for got, wanted in zip(losses(strided, labels), losses(x, labels), strict=True):
        assert same_bits(got, wanted)


@each_function
def test_broadcast_rows(name, dtype, isa, rng):
    """Strides of 0: along the batch, and along the classes."""
    function = FAMILY[name]
    for n in (1, 3, 33, 300):
        row = rng.normal(0, 5, n).astype(dtype)
        same = function(np.broadcast_to(row, (200, n)))
        assert same_bits(same, np.stack([function(row)] * 200))
        column = rng.normal(0, 5, (50, 1)).astype(dtype)
        wanted = function(np.repeat(column, n, axis=1))
        assert same_bits(function(np.broadcast_to(column, (50, n))), wanted)


@pytest.mark.parametrize("n", [1, 2, 10, 33, 64, 300, 2049])
def test_any_axis(n, dtype, isa, rng):
    rows = rows_for(n, dtype, rng)
    labels = rng.integers(n, size=(4, 8))
    wide = rows.reshape(4, 8, n)
    for axis in (0, 1, 2, -2):
        x = np.ascontiguousarray(np.moveaxis(wide, -1, axis))
        for function in FAMILY.values():
            wanted = function(wide)
            if wanted.ndim == 3:
                wanted = np.moveaxis(wanted, -1, axis)
            assert same_bits(function(x, axis=axis), wanted)
        loss_a, loss_b, grad = losses(wide, labels)
        wanted = loss_a, loss_b, np.moveaxis(grad, -1, axis)
        for got, want in zip(losses(x, labels, axis=axis), wanted, strict=True):
            assert same_bits(got, want)


def in_place_lengths(dtype):
    block, keep = BLOCK[dtype.name], KEEP[dtype.name]
    return [3, 33, block, block + 1, 3 * block + 9, keep, keep + 1, PIECE + 70, 2 * PIECE + 3]


@pytest.mark.parametrize("at", range(len(in_place_lengths(np.dtype("float32")))))
def test_in_place_or_not(at, dtype, isa, rng):
    """Also where the terms of one block overwrite logits while others are still to be read."""
    n = in_place_lengths(dtype)[at]
    names = ["N(0,10)", "stairs", "offset 1e6", "offset 1e30"]
    x = rows_of(names, n, dtype, rng)
    labels = rng.integers(n, size=len(x))
    for name in ("softmax", "log_softmax"):
        wanted = FAMILY[name](x)
        for place in (x.copy(), np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
            assert FAMILY[name](place, out=place) is place
            assert same_bits(np.ascontiguousarray(place), wanted)
    loss, grad = fastsoftmax.cross_entropy_with_grad(x, labels)
    for place in (x.copy(), np.asfortranarray(x)):
        loss_in_place, _ = fastsoftmax.cross_entropy_with_grad(place, labels, out=place)
        assert same_bits(loss_in_place, loss)
        assert same_bits(np.ascontiguousarray(place), grad)


@pytest.mark.parametrize("n", [*LENGTHS, PIECE - 1, PIECE])
def test_padding_with_minus_inf(n, dtype, isa, rng):
    """Classes that cannot occur change nothing, whichever path the longer row takes."""
    rows = 16 if n < 10_000 else 2
    x = rows_for(n, dtype, rng, rows)
    labels = rng.integers(n, size=len(x))
    block = BLOCK[dtype.name]
    alone, loss, grad = losses(x, labels)
    for more in (1, 5, 16, 64, 100, block, PIECE) if rows == 16 else (1, 2 * PIECE):
        padded = np.pad(x, ((0, 0), (0, more)), constant_values=-np.inf)
        for name, function in FAMILY.items():
            wanted, got = function(x), function(padded)
            if name != "logsumexp":
                assert np.all(got[:, n:] == (0 if name == "softmax" else -np.inf))
                got = got[:, :n]
            bad = np.isnan(wanted)
            assert same_bits(np.where(bad, 0, got), np.where(bad, 0, wanted)), (name, more)
        got = losses(padded, labels)
        assert same_bits(got[0], alone) and same_bits(got[1], loss), more
        assert same_bits(got[2][:, :n], grad) and np.all(got[2][:, n:] == 0), more


@pytest.mark.skipif(len(VECTOR_ISAS) < 2, reason="needs two vector instruction sets")
@pytest.mark.parametrize("n", [*LENGTHS, 130, 255, 1023, 3 * 2048 + 77, PIECE, PIECE + 2115])
def test_same_on_every_vector_instruction_set(n, dtype, rng):
    """Across machines this is the job of tests/c/selftest.c and its hashes."""
    x = rows_for(n, dtype, rng, 48 if n < 10_000 else 5)
    labels = rng.integers(n, size=len(x))
    results = []
    try:
        for name in VECTOR_ISAS:
            core.use_isa(name)
            reduced = fastsoftmax.cross_entropy_with_grad(x, labels)
            family = [function(x) for function in FAMILY.values()]
            results.append([*family, *losses(x, labels), *reduced])
    finally:
        core.use_isa(None)
    for other in results[1:]:
        for got, wanted in zip(other, results[0], strict=True):
            assert same_bits(got, wanted)
