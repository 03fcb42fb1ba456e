"""A long call answers signals: it ends where a handler raises, and goes on where none does.

Arrays whose rows are one row in memory make calls of a thousand gigabytes, which take minutes.
"""

import contextlib
import ctypes
import mmap
import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conftest import assert_exact, in_units_of, same_bits
from numpy.lib.stride_tricks import as_strided

import fastsoftmax as fs
from fastsoftmax import _validate, reference
from fastsoftmax._backend import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX, core

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that sends a signal"),
    pytest.mark.skipif(core.isas() == ["reference"], reason="NumPy answers between its functions"),
]

WIDE = np.longdouble
WORK = 1 << 38  # elements
LATE = 5.0  # seconds: not what is promised, but far below what the whole call takes


class Rung(Exception):
    pass


@contextlib.contextmanager
def alarm(handler, delay, interval=0.0):
    former = signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, delay, interval)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)


def ring(number, frame):
    raise Rung


def repeated(shape, dtype=np.float32, classes=-1):
    """An array of this shape whose rows, along the axis of the classes, are one."""
    n = shape[classes]
    row = np.linspace(-3, 3, n, dtype=dtype)
    strides = [0] * len(shape)
    strides[classes] = row.itemsize
    return as_strided(row, shape, strides)


def labels(shape):
    return np.broadcast_to(np.int64(1), shape)


def unary(op, shape, axis=-1, dtype=np.float32):
    x, y = repeated(shape, dtype, axis), repeated(shape, dtype, axis)
    return lambda threads: core.unary(op, x, y, axis % len(shape), threads)


def long_rows(op, n=1 << 22, step=1, dtype=np.float32):
    x = np.zeros(n * step, dtype)[::step]
    y = np.zeros(() if op == LOGSUMEXP else n * step, dtype)
    y = y if op == LOGSUMEXP else y[::step]
    x, y = (as_strided(a, (WORK // n,) + a.shape, (0,) + a.strides) for a in (x, y))
    return lambda threads: core.unary(op, x, y, 1, threads)


def loss(n, dtype=np.float32, gradient=False, soft=False, **options):
    x = repeated((WORK // n, n), dtype)
    t = x if soft else labels(WORK // n)
    options = {"reduction": "sum", "grad": x if gradient else None} | options
    return lambda threads: core.cross_entropy(x, 1, t, threads=threads, **options)


def backward(shape, axis=-1):
    dy, y, dx = (repeated(shape, np.float32, axis) for _ in range(3))
    return lambda threads: core.backward(LOG_SOFTMAX, dy, y, dx, axis % len(shape), threads)


def given(n):
    x, y = repeated((WORK // n, n)), repeated((WORK // n, n))
    states = as_strided(np.zeros(4), (WORK // n, 4), (0, 8))
    return lambda threads: core.given(SOFTMAX, x, states, y, 1, threads)


def state(n):
    x, states = repeated((WORK // n, n)), as_strided(np.zeros(4), (WORK // n, 4), (0, 8))
    return lambda threads: core.state(x, states, 1, threads)


WAYS = {
    "softmax": unary(SOFTMAX, (WORK >> 10, 1 << 10)),
    "log_softmax, float64": unary(LOG_SOFTMAX, (WORK >> 16, 1 << 16), dtype=np.float64),
    "side by side": unary(SOFTMAX, (WORK >> 2, 1 << 2)),
    "classes apart": unary(LOG_SOFTMAX, (WORK >> 12, 1 << 6, 1 << 6), 1),
    "a row in pieces": long_rows(SOFTMAX),
    "a row in pieces, float64": long_rows(LOG_SOFTMAX, dtype=np.float64),
    "a row in pieces, reduced": long_rows(LOGSUMEXP),
    "a row in pieces, copied": long_rows(SOFTMAX, step=3),
    "copied rows": long_rows(LOG_SOFTMAX, 1 << 16, 2),
    "cross_entropy": loss(1 << 10),
    "labels, to be checked": loss(2),
    "weights, to be added up": loss(2, reduction="mean", weight=np.ones(2)),
    "gradient": loss(1 << 12, gradient=True),
    "gradient out of range": loss(1 << 12, gradient=True, grad_output=1e-80),
    "smoothed": loss(1 << 10, np.float64, label_smoothing=0.1),
    "soft targets": loss(1 << 10, gradient=True, soft=True),
    "nll_loss": loss(1 << 10, soft=True, nll=True),
    "backward": backward((WORK >> 10, 1 << 10)),
    "backward, copied": backward((WORK >> 16, 1 << 12, 1 << 4), 1),
    "state": state(1 << 12),
    "given": given(1 << 12),
}


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("way", WAYS)
def test_a_handler_that_raises_ends_the_call(way, threads):
    began = time.perf_counter()
    with alarm(ring, 0.05), pytest.raises(Rung):
        WAYS[way](threads)
    assert time.perf_counter() - began < LATE
    x = np.random.default_rng(0).normal(size=(300, 700))  # and all is as before
    with fs.threads(1):
        assert same_bits(fs.softmax(x, threads=2), fs.softmax(x))


def test_on_every_instance(isa):
    with alarm(ring, 0.05), pytest.raises(Rung):
        WAYS["softmax"](2)


def summed(rows, threads=1):
    return fs.cross_entropy(repeated((rows, 1 << 10)), labels(rows), reduction="sum",
                            threads=threads)  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
def test_a_handler_that_returns_lets_the_call_finish(threads):
    rows, rung = 1 << 18, []
    while True:  # however fast the machine
        began = time.perf_counter()
        expected = summed(rows, threads)
        if time.perf_counter() - began > 0.25:
            break
        rows *= 2

    def handler(number, frame):  # computes itself, too
        rung.append(float(fs.logsumexp(np.zeros((64, 4096)), threads=2)[0]))

    with alarm(handler, 0.02, 0.02):
        result = summed(rows, threads)
    assert same_bits(result, expected)
    assert len(rung) >= 3 and set(rung) == {np.log(4096.0)}


def test_nothing_is_asked_outside_the_main_thread():
    """There it is the others who handle signals, as they do during any call into C."""
    result = []
    other = threading.Thread(target=lambda: result.append(summed(1 << 20)))
    other.start()
    with alarm(ring, 0.01), pytest.raises(Rung):
        time.sleep(LATE)
    while other.is_alive():
        time.sleep(0.01)
    assert same_bits(result[0], summed(1 << 20))


INTERRUPTED = """
import signal, numpy as np, fastsoftmax as fs
signal.signal(signal.SIGINT, signal.default_int_handler)  # shells ignore it in the background
x = np.broadcast_to(np.zeros(1024, np.float32), (1 << 28, 1024))
t = np.broadcast_to(np.int8(0), 1 << 28)
print("ready", flush=True)
try:
    fs.cross_entropy(x, t)
except KeyboardInterrupt:
    print("interrupted", flush=True)
assert (fs.softmax(np.zeros((500, 640)), threads=2) == np.float64(1) / 640).all()
print("done", flush=True)
"""


def test_control_c_in_a_call_over_a_terabyte():
    with subprocess.Popen([sys.executable, "-c", INTERRUPTED], stdout=subprocess.PIPE,
                          text=True) as process:  # fmt: skip
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        sent = time.perf_counter()
        assert process.stdout.readline() == "interrupted\n"
        took = time.perf_counter() - sent
        assert process.stdout.read() == "done\n" and process.wait() == 0
    assert took < LATE


# --- what NumPy converts and copies ---

COPIED = {
    "float16": lambda x: fs.softmax(x.astype(np.float16)),
    "integers": lambda x: fs.log_softmax((x * 8).astype(np.int16)),
    "byte order": lambda x: fs.softmax(x.astype(x.dtype.newbyteorder())),
    "Fortran order, float16": lambda x: fs.softmax(np.asfortranarray(x.astype(np.float16))),
    "axes to merge": lambda x: fs.softmax(x.reshape(6, -1, 50).swapaxes(0, 1), axis=(1, 2)),
    "all axes": lambda x: fs.logsumexp(x.T, axis=None),
    "no copy": lambda x: fs.softmax(x.reshape(-1, 5, 10), axis=(1, 2)),
    "labels": lambda x: fs.cross_entropy(x, (np.arange(len(x)) % 50).astype(">i4")),
    "overlap": lambda x: fs.softmax(x[:-1], out=x.copy()[1:]),
}


@pytest.mark.parametrize("way", COPIED)
def test_copies_in_slabs_are_the_same(way, rng, monkeypatch):
    x = rng.normal(size=(300, 50)).astype(np.float32)
    expected = COPIED[way](x)
    monkeypatch.setattr(_validate, "_SLAB", 64)
    result = COPIED[way](x)
    assert same_bits(result, expected)
    assert np.asarray(result).strides == np.asarray(expected).strides


def test_copies_can_be_interrupted():
    x, y = repeated((1 << 30, 1 << 6), np.float16), repeated((1 << 30, 1 << 6))
    began = time.perf_counter()
    with alarm(ring, 0.05), pytest.raises(Rung):
        _validate.store(y, x)
    assert time.perf_counter() - began < LATE


# --- one row that takes long goes in pieces, and is interrupted between them ---

SHORT = 1 << 25  # bytes that are there
ENDLESS = 1 << 33  # elements of a row


@contextlib.contextmanager
def endless(count):
    """A row of ENDLESS elements, so many times: the same memory, mapped over and over."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int,
                          ctypes.c_int, ctypes.c_long]  # fmt: skip
    libc.munmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
    size, failed, maps, rows = 4 * ENDLESS, ctypes.c_void_p(-1).value, [], []
    nothing = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000  # without a reserve
    try:
        for _ in range(count):
            place = libc.mmap(None, size, 0, nothing, -1, 0)
            if place == failed:
                pytest.skip("this system grants no addresses that it has no memory for")
            maps.append(place)
            file = os.memfd_create("row")
            os.ftruncate(file, SHORT)
            for at in range(place, place + size, SHORT):
                got = libc.mmap(at, SHORT, mmap.PROT_READ | mmap.PROT_WRITE,
                                mmap.MAP_SHARED | 0x10, file, 0)  # fmt: skip
                assert got == at
            os.close(file)
            row = np.frombuffer((ctypes.c_char * size).from_address(place), np.float32)
            row[: SHORT // 4] = np.linspace(-3, 3, SHORT // 4)
            rows.append(row[None])
        yield rows
    finally:
        for place in maps:
            libc.munmap(place, size)


def one_loss(x, other=None, nll=False, grad=None, **options):
    targets = np.array([3]) if other is None else other
    return lambda threads: core.cross_entropy(x, 1, targets, reduction="sum", grad=grad, nll=nll,
                                              threads=threads, **options)  # fmt: skip


def one_state(x):
    return np.array([[4.0, 3.0, 0.5, 0.0]])


ONE_ROW = {
    "softmax": lambda x, y: lambda k: core.unary(SOFTMAX, x, y, 1, k),
    "log_softmax": lambda x, y: lambda k: core.unary(LOG_SOFTMAX, x, y, 1, k),
    "logsumexp": lambda x, y: lambda k: core.unary(LOGSUMEXP, x, np.empty(1, x.dtype), 1, k),
    "cross_entropy": lambda x, y: one_loss(x),
    "gradient": lambda x, y: one_loss(x, grad=y, z_loss=1e-3),
    "smoothed": lambda x, y: one_loss(x, label_smoothing=0.1),
    "smoothed gradient": lambda x, y: one_loss(x, label_smoothing=0.1, grad=y),
    "soft gradient": lambda x, y: one_loss(x, x, grad=y),
    "ignored, smoothed": lambda x, y: one_loss(x, label_smoothing=0.1, grad=y, ignore_index=3),
    "nll_loss": lambda x, y: one_loss(x, x, nll=True),
    "softmax_backward": lambda x, y: lambda k: core.backward(SOFTMAX, x, x, y, 1, k),
    "log_softmax_backward": lambda x, y: lambda k: core.backward(LOG_SOFTMAX, x, x, y, 1, k),
    "state": lambda x, y: lambda k: core.state(x, one_state(x), 1, k),
    "softmax, given": lambda x, y: lambda k: core.given(SOFTMAX, x, one_state(x), y, 1, k),
    "log_softmax, given": lambda x, y: lambda k: core.given(LOG_SOFTMAX, x, one_state(x), y, 1, k),
}


@pytest.mark.skipif(not hasattr(os, "memfd_create"), reason="maps memory as Linux does")
def test_one_row_is_not_waited_for():
    """Half a minute's row, whole calls more: none of them is finished first."""
    with endless(2) as (x, y):
        for threads in (1, 2):
            for way in ONE_ROW:
                began = time.perf_counter()
                with alarm(ring, 0.03), pytest.raises(Rung):
                    ONE_ROW[way](x, y)(threads)
                assert time.perf_counter() - began < LATE, way


@pytest.fixture(scope="module")
def long_row():
    rng = np.random.default_rng(5)
    x = rng.normal(size=(1, (1 << 23) + 77)).astype(np.float32)
    return x, fs.softmax(x)


WHOLE = {
    "strided": lambda x, p: fs.softmax(np.asfortranarray(np.concatenate([x, x]))[:1]),
    "gradient out of range": lambda x, p: fs.cross_entropy_with_grad(x, [7], grad_output=1e-80),
    "weighted": lambda x, p: fs.cross_entropy_with_grad(
        x, [7], label_smoothing=0.1, weight=np.linspace(1, 2, x.shape[1])),
    "soft, out of order": lambda x, p: fs.cross_entropy_with_grad(x[:, ::-1], p[:, ::-1]),
    "huge logits": lambda x, p: fs.log_softmax(x * 1e7),
    "backward": lambda x, p: fs.log_softmax_backward(x, p),
    "ends of states": lambda x, p: fs.OnlineSoftmax().update(x).log_softmax(x),
}  # fmt: skip


@pytest.mark.parametrize("way", WHOLE)
def test_wherever_it_is_ended_the_next_call_is_right(way, long_row):
    """Ended at the first question, at the second, and so on."""
    expected = WHOLE[way](*long_row)
    left = []

    def handler(number, frame):
        if left and left.pop() == 0:
            raise Rung

    for questions in range(4):
        left[:] = range(questions + 1)
        with alarm(handler, 0.002, 0.002), contextlib.suppress(Rung):
            WHOLE[way](*long_row)
            break  # it was through before that
    result = WHOLE[way](*long_row)
    results, wanted = (a if isinstance(a, tuple) else (a,) for a in (result, expected))
    assert all(same_bits(a, b) for a, b in zip(results, wanted, strict=True))


def test_long_rows_have_the_same_bits_however_they_lie(rng):
    n = (1 << 22) + 77
    wide = np.zeros((2 * n, 1), np.float32)
    x = wide[::2, 0]
    x[...] = rng.normal(size=n)
    plain, grad = x.copy(), np.zeros_like(wide)[::2, 0]
    for function in (fs.softmax, fs.log_softmax, fs.logsumexp):
        expected = function(plain, threads=2)
        assert same_bits(function(plain, threads=1), expected)
        assert same_bits(function(x, threads=1), expected)
        assert same_bits(function(x, threads=2), expected)
    for function in (fs.softmax_backward, fs.log_softmax_backward):
        expected = function(plain, plain, threads=2)
        assert same_bits(function(plain, x, threads=1), expected)
        assert same_bits(function(np.stack([x, x]), np.stack([x, x]), threads=2)[1], expected)
    for options in ({}, {"grad_output": 1e-80}, {"label_smoothing": 0.1, "z_loss": 1e-3}):
        expected = fs.cross_entropy_with_grad(plain[None], [n - 3], threads=1, **options)
        loss, _ = fs.cross_entropy_with_grad(x[None], [n - 3], out=grad[None], **options)
        assert same_bits(loss, expected[0]) and same_bits(grad[None], expected[1])


LOSSES = {
    "smoothed": lambda fs, x, p: fs.cross_entropy_with_grad(
        x, [5], label_smoothing=0.1, z_loss=0.1),
    "soft": lambda fs, x, p: fs.cross_entropy_with_grad(x, p),
    "nll_loss": lambda fs, x, p: (fs.nll_loss(x, p),),
}  # fmt: skip


@pytest.mark.parametrize("way", LOSSES)
def test_long_rows_keep_the_bounds(way, rng):
    x = rng.normal(0, 3, (1, (1 << 22) + 77)).astype(np.float32)
    p = fs.softmax(x[:, ::-1])
    loss, *grad = LOSSES[way](fs, x, p)
    exact, *exact_grad = LOSSES[way](reference, x.astype(WIDE), p.astype(WIDE))
    name = "nll_loss" if way == "nll_loss" else "cross_entropy"
    assert_exact(name, loss, exact, np.abs(x).max() if name == "nll_loss" else None)
    q = p if way == "soft" else 0.1 / x.size
    for a, b in zip(grad, exact_grad, strict=True):  # p * sum(q) - q: in ULP of the larger
        assert in_units_of(a, b, np.maximum(np.abs(b + q), q)).max() <= 2.5


@pytest.mark.parametrize("function", ["softmax_backward", "log_softmax_backward"])
def test_gradients_through_long_rows_are_right(function, rng):
    x = rng.normal(0, 3, (1, (1 << 22) + 77)).astype(np.float32)
    y = fs.softmax(x) if function == "softmax_backward" else fs.log_softmax(x)
    dy = rng.normal(size=x.shape).astype(np.float32)
    exact = getattr(reference, function)(dy.astype(WIDE), y.astype(WIDE))
    result = getattr(fs, function)(dy, y)
    terms = np.abs(y * dy) if function == "softmax_backward" else np.abs(dy)
    assert in_units_of(result, exact, np.maximum(np.abs(exact), terms)).max() <= 2.5
