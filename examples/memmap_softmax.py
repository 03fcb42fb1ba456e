"""Softmax of a file that does not fit into the memory that the process is allowed.

    python examples/memmap_softmax.py

Writes 800 MB of logits, 400,000 classes of 512 samples, class by class. Then limits its own address
space to 200 MiB above what Python, NumPy and fastsoftmax occupy, shows that the file cannot be read
any more, and computes the softmax of every sample all the same: one pass over windows of the file
for the mergeable state, one that writes. At the end: the largest error of a few samples.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import fastsoftmax
from fastsoftmax import testing

CLASSES, SAMPLES, WINDOW = 400_000, 512, 10_000
ALLOWED = 200 * 2**20


def windows(path, mode):
    """The file as maps of WINDOW classes each, of which one at a time is held."""
    for first in range(0, CLASSES, WINDOW):
        yield np.memmap(path, np.float32, mode, first * SAMPLES * 4, (WINDOW, SAMPLES))


def write_logits(path):
    rng = np.random.default_rng(0)
    with open(path, "wb") as file:
        for _ in range(0, CLASSES, WINDOW):
            (rng.standard_normal((WINDOW, SAMPLES), np.float32) * 4).tofile(file)


def limit_memory():
    """Allow this process ALLOWED bytes of address space more than it has."""
    try:
        import resource

        occupied = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except (ImportError, OSError):
        sys.exit("examples/memmap_softmax.py limits its memory as Linux does; not possible here")
    resource.setrlimit(resource.RLIMIT_AS, (occupied + ALLOWED,) * 2)


def softmax_of_file(source, target):
    state = fastsoftmax.OnlineSoftmax(axis=0)
    for logits in windows(source, "r"):
        state.update(logits)
    with open(target, "wb") as file:
        file.truncate(Path(source).stat().st_size)
    for logits, result in zip(windows(source, "r"), windows(target, "r+"), strict=True):
        state.softmax(logits, out=result)
    return state


def column(path, k):
    return np.concatenate([np.array(window[:, k]) for window in windows(path, "r")])


def main():
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder) / "logits", Path(folder) / "softmax"
        write_logits(source)
        fastsoftmax.softmax(np.zeros((100, 10000)))  # its threads are started before the limit
        limit_memory()
        size = source.stat().st_size
        print(f"the file               {size / 1e6:.0f} MB, allowed {ALLOWED / 1e6:.0f} MB more")
        try:
            np.fromfile(source, np.float32)
            raise AssertionError("the limit does not hold")
        except MemoryError:
            print("read as a whole        MemoryError")
        start = time.perf_counter()
        state = softmax_of_file(source, target)
        print(f"softmax, by windows    {time.perf_counter() - start:.1f} s")

        worst = 0.0
        for k in (0, 100, SAMPLES - 1):
            x, p = column(source, k), column(target, k)
            worst = max(worst, testing.ulp_error(p, testing.softmax(x)).max())
            assert abs(state.logsumexp()[k] - testing.logsumexp(x)) < 2 * np.spacing(x.max())
        print(f"largest error          {worst:.2f} ULP")
        assert worst <= 2.5, "the softmax is off by more than its bound"


if __name__ == "__main__":
    main()
