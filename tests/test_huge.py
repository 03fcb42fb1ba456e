"""Rows and results beyond 2**31 elements, where a 32-bit index would wrap.

Zeros that were never written take no memory, so that sums over them can be run anywhere. What
writes such a result takes 9 GB, and is run on demand: FASTSOFTMAX_TEST_HUGE=1.
"""

import os

import numpy as np
import pytest

import fastsoftmax
from fastsoftmax._backend import core

MOST = 2**31
LENGTH = MOST + 1000

pytestmark = pytest.mark.skipif(
    not core.compiled_isas() or not os.path.exists("/proc/meminfo"),
    reason="wants the kernels, and memory that is not there until it is written",
)


def available():
    with open("/proc/meminfo") as file:
        line = next(line for line in file if line.startswith("MemAvailable"))
    return int(line.split()[1]) * 1024


def zeros_are_shared():
    """Whether huge pages that are only read are one and the same, as small ones always are."""
    try:
        with open("/sys/kernel/mm/transparent_hugepage/use_zero_page") as file:
            return file.read().strip() == "1"
    except OSError:
        return True


def untouched(shape, dtype):
    needed = 2**30 if zeros_are_shared() else 12 * 2**30
    if available() < needed:
        pytest.skip(f"wants {needed >> 30} GB of memory")
    try:
        return np.zeros(shape, dtype)
    except MemoryError:
        pytest.skip("this system grants no memory that it does not have")


def test_sum_over_more_than_2_31_elements():
    x = untouched(LENGTH, np.float32)
    x[-7], x[5] = 30, 3  # beyond 2**31, and before
    exact = float(np.log(np.exp(np.longdouble(30)) + np.exp(np.longdouble(3)) + (LENGTH - 2)))
    lse = fastsoftmax.logsumexp(x)
    assert abs(lse - exact) <= 2 * np.spacing(np.float32(30))
    loss = fastsoftmax.cross_entropy(x, LENGTH - 7, reduction="none")
    distance = (LENGTH - 2 + np.exp(np.longdouble(3))) / np.exp(np.longdouble(30))
    assert abs(loss - np.float32(np.log1p(distance))) <= 2 * np.spacing(loss)
    with pytest.raises(IndexError, match=f"label {LENGTH} is out of range"):
        fastsoftmax.cross_entropy(x, LENGTH)


@pytest.mark.skipif(
    os.environ.get("FASTSOFTMAX_TEST_HUGE", "") in ("", "0"),
    reason="takes 9 GB: FASTSOFTMAX_TEST_HUGE=1 runs it",
)
@pytest.mark.parametrize("shape", [(LENGTH,), (3, MOST // 3 + 500), (MOST // 8 + 9, 8)], ids=str)
def test_row_of_more_than_2_31_elements_in_place(shape):
    if available() < 12 * 2**30:
        pytest.skip(f"wants 12 GB of memory, {available() / 2**30:.1f} GB are available")
    x = np.zeros(shape, np.float32)
    n = shape[-1]
    rows = x.reshape(-1, n)
    rows[-1, -7] = 30
    if len(rows) == 1:
        rows[0, 5] = 3
    assert fastsoftmax.softmax(x, out=x) is x
    far, near = np.exp(np.longdouble(30)), np.exp(np.longdouble(3) if len(rows) == 1 else 0)
    total = far + near + (n - 2)
    for k, exact in ((-7, far / total), (5, near / total), (n - 1, 1 / total), (n // 2, 1 / total)):
        exact = np.float32(exact)
        assert abs(rows[-1, k] - exact) <= 2.5 * np.spacing(exact), (k, rows[-1, k], exact)
    if len(rows) > 1:
        for row in (0, len(rows) // 2, len(rows) - 2):
            one = np.float32(1 / n)
            for k in (0, n // 2, n - 1):
                assert abs(rows[row, k] - one) <= 2.5 * np.spacing(one)
