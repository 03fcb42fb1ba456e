"""A long call answers signals: it ends where a handler raises, and goes on where none does.

Arrays whose rows are one row in memory make calls of a thousand gigabytes, which take minutes.
"""

import contextlib
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest
from conftest import same_bits
from numpy.lib.stride_tricks import as_strided

import fastsoftmax as fs
from fastsoftmax import _validate
from fastsoftmax._backend import LOG_SOFTMAX, LOGSUMEXP, SOFTMAX, core

pytestmark = [
    pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="no timer that sends a signal"),
    pytest.mark.skipif(core.isas() == ["reference"], reason="NumPy answers between its functions"),
]

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
import time, numpy as np, fastsoftmax as fs
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


# --- rows that go in pieces so that they can be interrupted ---


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
    for scale in (1.0, 1e-80):
        expected = fs.cross_entropy_with_grad(plain[None], [n - 3], grad_output=scale)
        loss, _ = fs.cross_entropy_with_grad(x[None], [n - 3], grad_output=scale, out=grad[None])
        assert same_bits(loss, expected[0]) and same_bits(grad[None], expected[1])
