"""pytest-benchmark over every operation, shape, dtype and number of threads: `pytest bench`.

For watching one of ours while working on it (`-k "softmax and 1024x1000"`, `--benchmark-save`,
`--benchmark-compare`); who is faster than whom is what peers.py is for.
"""

import functools
import inspect

import numpy as np
import pytest
from cases import CASES, aligned_empty, logits_and_targets

import fastsoftmax
from fastsoftmax import reference
from fastsoftmax._threads import allowed_cpus

KINDS = {op.name: op.kind for op in reference.OPS}
THREADS = sorted({1, allowed_cpus()})


@functools.lru_cache(maxsize=1)
def inputs(case, dtype):
    return logits_and_targets(case, dtype)


def call_of(operation, case, dtype, threads):
    """The call to be timed, into an existing array where the operation writes one."""
    x, t = inputs(case, dtype)
    function = getattr(fastsoftmax, operation)
    options = {"axis": case.axis, "threads": threads}
    if "out" in inspect.signature(function).parameters:
        options["out"] = aligned_empty(t.shape if operation == "logsumexp" else x.shape, dtype)
    if KINDS[operation] == "family":
        return functools.partial(function, x, **options)
    if KINDS[operation] == "loss":
        return functools.partial(function, x, t, **options)
    y = getattr(fastsoftmax, operation.removesuffix("_backward"))(x, axis=case.axis)
    return functools.partial(function, x, y, **options)  # x serves as dy


# The case is the outermost loop, so that its arrays are made once a dtype.
@pytest.mark.benchmark(min_rounds=3, max_time=0.3, warmup=False)
@pytest.mark.parametrize("threads", THREADS)
@pytest.mark.parametrize("operation", [op.name for op in reference.OPS])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_speed(benchmark, case, dtype, operation, threads):
    call = call_of(operation, case, np.dtype(dtype), threads)
    benchmark.group = f"{operation} {dtype} {case.name}"
    call()
    benchmark(call)
