"""Fixtures and yardsticks. Errors are counted in units in the last place, never absolutely."""

import threading

import numpy as np
import pytest
from c_programs import build_kernels, find_compiler

from fastsoftmax import reference, testing
from fastsoftmax._backend import core

BOUNDS = {op.name: {np.dtype(k): n for k, n in op.ulp.items()} for op in reference.OPS}


@pytest.fixture(params=core.isas())
def isa(request):
    """Runs the test on every compiled instance that this machine can run, or on the reference."""
    core.use_isa(request.param)
    yield request.param
    core.use_isa(None)


@pytest.fixture(params=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


class Generator(threading.local):
    """The same numbers for each thread that runs a test (pytest-run-parallel)."""

    def __init__(self):
        self.own = np.random.default_rng(20240229)

    def __getattr__(self, name):
        return getattr(self.own, name)


@pytest.fixture
def rng():
    return Generator()


@pytest.fixture(scope="session")
def kernels(tmp_path_factory):
    """csrc compiled once, for every program of tests/c."""
    compiler = find_compiler()
    if compiler is None:
        pytest.skip("no C compiler")
    return build_kernels(compiler, tmp_path_factory.mktemp("kernels"))


def assert_exact(op, result, truth, scale=None):
    """`result` keeps the bound of `op`; with `scale`, counted in ULP of max(|truth|, |scale|)."""
    result = np.asarray(result)
    errors = testing.ulp_error(result, truth)
    if scale is not None:
        magnitude = np.maximum(np.abs(np.asarray(truth, np.float64)), np.abs(scale))
        errors = in_units_of(result, truth, magnitude)
    worst = errors.max(initial=0)
    assert worst <= BOUNDS[op][result.dtype], f"{op}: {worst:.3g} ULP"


def in_units_of(result, truth, magnitude):
    """Error in ULP of a magnitude: for sums that cancel, that of their terms."""
    result = np.asarray(result)
    at = np.asarray(magnitude).astype(result.dtype)
    step = np.spacing(np.where(np.isfinite(at), at, at.dtype.type(1)))
    wide = np.promote_types(np.asarray(truth).dtype, np.float64)
    with np.errstate(invalid="ignore"):
        errors = np.abs(result.astype(wide) - truth) / step
    same = (result == truth) | (np.isnan(result) & np.isnan(truth))
    return np.where(same, 0, np.where(np.isnan(errors), np.inf, errors))


def same_bits(a, b):
    a, b = np.asarray(a), np.asarray(b)
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()
