"""Every allocation of a call fails once: run by test_no_memory.py with failing_malloc.c preloaded.

What must follow is MemoryError and nothing else, or a whole result where the allocation can be done
without; and the next call is right. With PYTHONMALLOC=malloc it is every object of
Python, one by one; NumPy and Python themselves then lose some, so that only without it, when memory
for arrays and for the kernels fails, nothing may be kept of a call that failed.
"""

import array
import ctypes
import gc
import os

import numpy as np

import fastsoftmax

preloaded = ctypes.CDLL(None)
preloaded.fm_blocks.restype = preloaded.fm_disarm.restype = ctypes.c_long
preloaded.fm_arm.argtypes = [ctypes.c_long]
EVERY_OBJECT = os.environ.get("PYTHONMALLOC") == "malloc"
REPEATS = 2 if EVERY_OBJECT else 12  # enough to fill the free lists of NumPy

# Where single objects fail, NumPy crashes in __array_interface__.
NOT_OURS = ("log_softmax, overlapping",)
# NumPy turns MemoryError into this, and CPython loses an exception of Python code while it looks
# for memory for a traceback.
LOST = ("numpy", "without exception set", "without setting an exception")


def calls():
    """Not those that are NumPy's alone (longdouble): it raises SystemError in its ufuncs."""
    rng = np.random.default_rng(0)
    x = rng.normal(0, 3, (6, 40))
    single, half = x.astype(np.float32), x.astype(np.float16)
    large = rng.normal(0, 3, (600, 300))  # a result that is recycled
    labels, many = rng.integers(40, size=6), rng.integers(300, size=600)
    soft = rng.random((6, 40))
    options = {"weight": rng.random(40), "sample_weight": rng.random(6), "label_smoothing": 0.1}
    fs = fastsoftmax
    return {
        "softmax": lambda: fs.softmax(x),
        "softmax, float32": lambda: fs.softmax(single),
        "softmax, large": lambda: fs.softmax(large),
        "softmax, integers": lambda: fs.softmax(labels),
        "softmax, half": lambda: fs.softmax(half),
        "softmax, axis 0": lambda: fs.softmax(large, 0),
        "softmax, strided": lambda: fs.softmax(large[:, ::2]),
        "log_softmax, several axes": lambda: fs.log_softmax(large.reshape(20, 30, 300), (0, 2)),
        "log_softmax, overlapping": lambda: overlapping(large),
        "logsumexp": lambda: fs.logsumexp(x),
        "logsumexp, keepdims": lambda: fs.logsumexp(single, 0, keepdims=True),
        "logsumexp, all": lambda: fs.logsumexp(x, None),
        "softmax_backward": lambda: fs.softmax_backward(x, soft),
        "log_softmax_backward": lambda: fs.log_softmax_backward(x, soft, axis=0),
        "cross_entropy": lambda: fs.cross_entropy(x, labels),
        "cross_entropy, none": lambda: fs.cross_entropy(x, labels, reduction="none"),
        "cross_entropy, options": lambda: fs.cross_entropy(x, labels, **options),
        "cross_entropy, soft": lambda: fs.cross_entropy(x, soft, z_loss=0.1),
        "cross_entropy, lists": lambda: fs.cross_entropy([[1.0, 2.0]], [1]),
        "gradient": lambda: fs.cross_entropy_with_grad(x, labels)[1],
        "gradient, large": lambda: fs.cross_entropy_with_grad(large, many)[1],
        "gradient, options": lambda: fs.cross_entropy_with_grad(single, labels, **options)[1],
        "gradient, axis 0": lambda: fs.cross_entropy_with_grad(large.T, many, axis=0)[1],
        "nll_loss": lambda: fs.nll_loss(x, labels),
        "a bad label": lambda: refused(fs.cross_entropy, x, [0, 0, 0, 0, 0, 40]),
        "a bad option": lambda: refused(fs.cross_entropy, x, labels, reduction="avg"),
        "states": lambda: joined(x).softmax(x),
    }  # fmt: skip


def overlapping(values):
    x = values.copy()
    return fastsoftmax.log_softmax(x[1:], out=x[:-1])


def joined(x):
    both = fastsoftmax.OnlineSoftmax()
    for block in (x, x):
        other = fastsoftmax.OnlineSoftmax()
        other.update(block)
        both.merge(other)
    return both


def refused(function, *arguments, **options):
    try:
        function(*arguments, **options)
    except (IndexError, ValueError):
        return 0.0
    raise AssertionError("was not refused")


def attempt(call, number):
    """(the result or None where there was no memory, how many allocations were asked for)."""
    result = None
    try:
        preloaded.fm_arm(number)
        result = call()
    except MemoryError:
        pass
    except SystemError as error:
        if not EVERY_OBJECT or not any(words in str(error) for words in LOST):
            raise
    return result, preloaded.fm_disarm()


def check(name, call):
    expected = np.asarray(call()).tobytes()
    number = failed = 0
    blocks = array.array("q", [0] * REPEATS)  # of no objects: they would count
    while True:
        number += 1
        for repeat in range(REPEATS):
            result, asked = attempt(call, number)
            if result is not None:
                assert np.asarray(result).tobytes() == expected, f"{name}: allocation {number}"
            without = result is None
            del result
            EVERY_OBJECT or gc.collect()
            blocks[repeat] = preloaded.fm_blocks()
        if asked < number:
            break
        kept = f"{name}, allocation {number}: kept {list(blocks)}"
        assert EVERY_OBJECT or blocks[-1] <= blocks[-3], kept
        failed += without
        assert np.asarray(call()).tobytes() == expected, f"{name}: the next call"
    print(f"{name}: {number - 1} allocations, MemoryError {failed} times")
    assert failed or not EVERY_OBJECT, name


if __name__ == "__main__":
    for name, call in calls().items():
        if EVERY_OBJECT and name in NOT_OURS:
            continue
        check(name, call)
