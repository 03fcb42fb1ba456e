"""The kernels leave the processor's floating-point settings alone, and do not depend on subnormal
numbers being flushed by anyone."""

import ctypes
import ctypes.util
import platform
import sys

import numpy as np
import pytest
from conftest import same_bits

import fastsoftmax
from fastsoftmax import testing
from fastsoftmax._backend import core

if core.current_isa() == "reference":
    pytest.skip("no compiled kernels", allow_module_level=True)

UPWARD = {"x86_64": 0x800, "AMD64": 0x800, "aarch64": 0x400000, "arm64": 0x400000}
GLIBC_X86 = platform.machine() == "x86_64" and platform.libc_ver()[0] == "glibc"
FLUSH = 0x8040  # of MXCSR: flush to zero, denormals are zero
FLAGS = 0x3F  # the sticky exception flags, which any operation may raise


@pytest.fixture
def libm():
    name = ctypes.util.find_library("m")
    if name is None or sys.platform == "win32":
        pytest.skip("no C library with fesetround")
    return ctypes.CDLL(name)


def everything(dtype, threads=None):
    """Every op once, some results of which are subnormal."""
    edge = np.log(np.finfo(dtype).smallest_normal)
    rng = np.random.default_rng(5)
    x = rng.uniform(edge - 10, edge + 1, (300, 70)).astype(dtype)
    x[np.arange(300), rng.integers(70, size=300)] = 0
    labels = rng.integers(70, size=300)
    p, logs = fastsoftmax.softmax(x, threads=threads), fastsoftmax.log_softmax(x, threads=threads)
    return [
        p, logs, fastsoftmax.logsumexp(x, threads=threads),
        fastsoftmax.softmax_backward(x, p, threads=threads),
        fastsoftmax.log_softmax_backward(x, logs, threads=threads),
        fastsoftmax.cross_entropy(x, labels, reduction="none", threads=threads),
        *fastsoftmax.cross_entropy_with_grad(x, labels, label_smoothing=0.1, threads=threads),
        *fastsoftmax.cross_entropy_with_grad(x, x.argmax(axis=1), threads=threads),
    ]  # fmt: skip


@pytest.mark.parametrize("threads", [1, 2])
def test_rounding_mode_stays(libm, isa, dtype, threads):
    """Also one that the caller has chosen."""
    nearest = libm.fegetround()
    upward = UPWARD.get(platform.machine())
    everything(dtype, threads)
    assert libm.fegetround() == nearest
    if upward is None:
        return
    assert libm.fesetround(upward) == 0
    try:
        everything(dtype, threads)
        after = libm.fegetround()
    finally:
        libm.fesetround(nearest)
    assert after == upward


def mxcsr(libm, change=None):
    """The register as it is; with `change`, set to what change(value) gives."""
    environment = (ctypes.c_uint32 * 8)()  # glibc's fenv_t: the x87 state, then MXCSR
    assert libm.fegetenv(ctypes.byref(environment)) == 0
    value = environment[7]
    if change:
        environment[7] = change(value)
        assert libm.fesetenv(ctypes.byref(environment)) == 0
    return value


@pytest.mark.skipif(not GLIBC_X86, reason="reads MXCSR from the fenv_t of glibc on x86-64")
@pytest.mark.parametrize("threads", [1, 2])
def test_mxcsr_stays(libm, isa, dtype, threads):
    """Neither set nor cleared: a caller who flushes subnormal numbers goes on doing so."""
    before = mxcsr(libm)
    assert before & FLUSH == 0
    everything(dtype, threads)
    assert mxcsr(libm) & ~FLAGS == before & ~FLAGS
    mxcsr(libm, lambda value: value | FLUSH)
    try:
        everything(dtype, threads)
        flushing = mxcsr(libm)
    finally:
        mxcsr(libm, lambda value: value & ~FLUSH)
    assert flushing & FLUSH == FLUSH
    assert mxcsr(libm) & FLUSH == 0


def test_subnormal_results_are_kept(isa, dtype):
    """Every one from the smallest normal number down, on one thread as on several."""
    smallest = np.finfo(dtype).smallest_normal
    for one, two in zip(everything(dtype, 1), everything(dtype, 2), strict=True):
        assert same_bits(one, two)
    edge = float(np.log(smallest))
    depth = np.linspace(edge, edge - (15 if dtype == np.float32 else 35), 500)
    x = np.stack([depth, np.zeros(500)], axis=1).astype(dtype)
    truth = testing.softmax(x)
    p = fastsoftmax.softmax(x)
    assert np.all(p[1:, 0] < smallest) and np.all(p[:, 0] > 0)
    assert testing.ulp_error(p, truth)[1:].max() <= 1.51
    _, grad = fastsoftmax.cross_entropy_with_grad(x, np.ones(500, int), reduction="sum")
    assert testing.ulp_error(grad, testing.gradient(x, np.ones(500, int)))[1:].max() <= 1.51
