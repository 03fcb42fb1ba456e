"""What a fresh result costs beside one written with out=, and what memory the process then holds.

    python bench/fresh.py                            three shapes, all threads
    python bench/fresh.py --case 512x128256 --threads 2

Loops take turns, and the shortest time of a call in each is kept: `softmax(x, out=y)`; a loop that
keeps its result until the next is there (`y = softmax(x)`), and one that drops it, with recycled
memory and with NumPy's own. The last column is the most that the process held beyond what it held
before the recycled loops, in results.
"""

import argparse
import time

import numpy as np
from cases import aligned_empty, case_of, logits_and_targets
from race import rest

import fastsoftmax as fs

CASES = ("1024x1000", "4096x8000", "512x128256")
LIMIT = 1 << 30
TURNS = 5
TURN = 0.3  # seconds


def loops(x, y):
    """{name: (limit of recycling, call)}."""
    held = [None]

    def keep():
        held[0] = fs.softmax(x)

    def drop():
        held[0] = None
        fs.softmax(x)

    return {
        "out=": (0, lambda: fs.softmax(x, out=y)),
        "recycled, kept": (LIMIT, keep),
        "recycled, dropped": (LIMIT, drop),
        "NumPy's, kept": (0, keep),
        "NumPy's, dropped": (0, drop),
    }


def turn(call):
    """The shortest time of a call, and the most memory held after one."""
    call(), call()
    shortest, most, end = float("inf"), 0, time.perf_counter() + TURN
    while time.perf_counter() < end:
        start = time.perf_counter()
        call()
        shortest = min(shortest, time.perf_counter() - start)
        most = max(most, resident())
    return shortest, most


def resident():
    """Bytes that the process holds; 0 where no /proc tells."""
    try:
        with open("/proc/self/smaps_rollup") as file:
            return next(int(line.split()[1]) for line in file if line.startswith("Rss")) << 10
    except OSError:
        return 0


def measure(name, dtype):
    x, _ = logits_and_targets(case_of(name), dtype)
    y = aligned_empty(x.shape, dtype)
    best, most = {}, 0
    before = resident()
    for _ in range(TURNS):
        for loop, (limit, call) in loops(x, y).items():
            fs.set_recycle_limit(limit)
            rest()
            seconds, held = turn(call)
            best[loop] = min(best.get(loop, seconds), seconds)
            most = max(most, held - before) if limit else most
            fs.release_memory()
    return best, most / y.nbytes if before else float("nan")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--case", action="append", help="lengths joined by x (may be repeated)")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--threads", type=int)
    options = parser.parse_args()
    fs.set_num_threads(options.threads)
    for name in options.case or CASES:
        best, held = measure(name, np.dtype(options.dtype))
        out = best.pop("out=")
        ratios = ", ".join(f"{loop} {seconds / out:.2f}" for loop, seconds in best.items())
        print(f"{name} {options.dtype}, {fs.get_num_threads()} threads: out= {out * 1e3:.3f} ms; "
              f"times that: {ratios}; held: {held:.1f} results", flush=True)


if __name__ == "__main__":
    main()
