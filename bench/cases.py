"""The shapes that are raced, and their arrays."""

from collections import namedtuple

import numpy as np

# `axis` is that of the classes; labels have the shape without it.
Case = namedtuple("Case", "name shape axis")


def case_of(name):
    """A case from its name: lengths joined by x, and @ the class axis where it is not the last."""
    lengths, _, axis = name.partition("@")
    return Case(name, tuple(int(length) for length in lengths.split("x")), int(axis or -1))


NAMES = ("1x10", "32x10", "100000x10", "1000000x2", "65536x100", "1024x1000", "64x32000",
         "32x128256", "512x128256", "1x4000000", "24576x512", "8x21x512x512@1")
QUICK = ("1x10", "1024x100", "1024x1000")
CASES = tuple(case_of(name) for name in NAMES)

SWEEP_ELEMENTS = 1 << 20  # 4 MiB of float32: beyond most second-level caches, within the last one
SWEEP = tuple(Case(f"{SWEEP_ELEMENTS >> k}x{1 << k}", (SWEEP_ELEMENTS >> k, 1 << k), -1)
              for k in range(1, 21))
QUICK_SWEEP = SWEEP[1::4]
SEED = 20_240_117
LINE = 64  # bytes of a cache line


def logits_and_targets(case, dtype):
    """N(0, 10) logits that begin on a cache line, and a label for each row."""
    rng = np.random.default_rng(SEED)
    x = aligned_empty(case.shape, dtype)
    rng.standard_normal(dtype=x.dtype, out=x)
    x *= 10
    labels = list(case.shape)
    classes = labels.pop(case.axis)
    return x, rng.integers(classes, size=labels)


def aligned_empty(shape, dtype):
    """An array that begins on a cache line, its memory touched: no page fault is left to a race."""
    dtype = np.dtype(dtype)
    size = int(np.prod(shape)) * dtype.itemsize
    memory = np.zeros(size + LINE, np.uint8)
    memory.fill(0)
    start = -memory.ctypes.data % LINE
    return memory[start:start + size].view(dtype).reshape(shape)
