"""`python -m fastsoftmax`: is it right on this machine, and how fast?

Says what it runs on, checks the kernels, then races three contestants for each operation and
shape: textbook NumPy, ours on one thread, ours on all. They take turns, so that a busy moment of
the machine hits all alike, and the shortest time of each is kept. The errors are those of the
very results that were timed, against the reference in extended precision.
"""

import contextlib
import functools
import platform
import time
from collections import namedtuple

import numpy as np

import fastsoftmax

from . import _bench_checks, _bench_peers
from ._bench_accuracy import call_ours, call_textbook, measurable, true_result, ulp_errors
from ._bench_table import (
    Table,
    check_writable,
    clear_progress,
    microseconds,
    progress,
    ulps,
    write_json,
)

SHAPES = ((1, 10), (32, 10), (10_000, 10), (1024, 100), (1024, 1000), (64, 32_000))
QUICK_SHAPES = ((1, 10), (32, 10), (1024, 100), (64, 1000))
SECONDS = 0.4  # for the race of one operation and shape, without peers
QUICK_SECONDS = 0.06
MIN_ROUNDS = 3
SAMPLE = 300e-6  # calls shorter than this are timed several at a time
SEED = 20_240_117

# `threads` is the limit during the call, 0 for none; `call` takes no argument.
Contestant = namedtuple("Contestant", "name call threads")


def main(options):
    start = time.perf_counter()
    check_writable(options.json)
    config = fastsoftmax.show_config("dicts")
    introduce(config)
    checks = _bench_checks.run(quick=options.quick)

    peers, versions = _bench_peers.installed(options.dtype) if options.peers else ({}, {})
    rows = race_all(options, peers)
    print(f"\nspeed-up: NumPy's time over ours on {threads_text()}; times: the shortest of "
          "interleaved rounds;\nerrors: the worst of all entries; "
          f"{time.perf_counter() - start:.0f} s in all")
    if options.json:
        write_json(options.json, {"config": config, "platform": platform.platform(),
                                  "numpy": np.__version__, "peers": versions, "checks": checks,
                                  "rows": rows})
    failed = [check for check in checks if not check["ok"]]
    if failed:
        print(f"\nFAILED: {len(failed)} of {len(checks)} checks, see above")
        return 1
    return 0


def introduce(config):
    isa, system = config["isa"], config["system"]
    print(f"fastsoftmax {config['version']}, NumPy {system['numpy']}, Python {system['python']}, "
          f"{system['machine']}")
    if config["backend"] != "compiled":
        print(f"NO COMPILED KERNELS ({config['reason']}):\nwhat follows is the NumPy reference, "
              "which is made to be right, not fast.")
        return
    print(f"kernels {isa['used']} (this processor runs {', '.join(isa['detected'])}), "
          f"OpenMP {config['openmp'] or 'none'}, {threads_text()}")


def race_all(options, peers):
    """Print the table row by row and return its content."""
    ours = ["1 thread us"] if compiled() else ["reference us"]
    if several_threads():
        ours.append(f"{threads_text()} us")
    table = Table(["operation", options.dtype, "NumPy us", *ours, "speed-up", "NumPy ULP",
                   "our ULP", *(f"{name} us" for name in peers)])
    print()
    table.head()
    shapes = QUICK_SHAPES if options.quick else SHAPES
    seconds = (QUICK_SECONDS if options.quick else SECONDS) * (1 + len(peers) / 3)
    todo = [(operation, shape) for operation in _bench_peers.OPERATIONS for shape in shapes]
    rows = []
    for done, (operation, shape) in enumerate(todo):
        progress(f"[{done + 1}/{len(todo)}] {operation} {shape[0]:,} x {shape[1]:,}")
        row = race_one(operation, shape, options.dtype, peers, seconds)
        rows.append(row)
        us = row["us"]
        table.row([
            operation, f"{shape[0]:,} x {shape[1]:,}", microseconds(us["numpy"]),
            microseconds(us["one"]), *([microseconds(us["all"])] if "all" in us else []),
            f"{row['speedup']:.1f}x", ulps(row["ulp_numpy"]), ulps(row["ulp"]),
            *(microseconds(us[name]) if name in us else "-" for name in peers),
        ])
    clear_progress()
    return rows


def race_one(operation, shape, dtype, peers, seconds):
    """Times in microseconds and worst errors for one row of the table."""
    rng = np.random.default_rng(SEED)
    x = rng.normal(0, 10, shape).astype(dtype)
    targets = rng.integers(shape[1], size=shape[0])
    textbook = functools.partial(call_textbook, operation, x, targets)
    ours = functools.partial(call_ours, operation, x, targets)
    contestants = [Contestant("numpy", textbook, 0), Contestant("one", ours, 1)]
    if several_threads():
        contestants.append(Contestant("all", ours, 0))
    for name, calls in peers.items():
        if operation in calls:
            contestants.append(Contestant(name, calls[operation](x, targets), 0))

    us = race(contestants, seconds)
    worst = {"ulp_numpy": None, "ulp": None}
    if measurable(x.dtype):
        truth = true_result(operation, x, targets)
        for name, call in (("ulp_numpy", textbook), ("ulp", ours)):
            worst[name] = float(ulp_errors(operation, call(), truth, x).max())
    best = us.get("all", us["one"])
    return {"operation": operation, "shape": shape, "dtype": dtype, "us": us,
            "speedup": us["numpy"] / best, **worst}


def race(contestants, seconds):
    """{name: shortest time of a call in microseconds}."""
    repeats = [max(1, round(SAMPLE / sample(contestant, 1))) for contestant in contestants]
    best = [float("inf")] * len(contestants)
    deadline = time.perf_counter() + seconds
    rounds = 0
    while rounds < MIN_ROUNDS or time.perf_counter() < deadline:
        for i, contestant in enumerate(contestants):
            best[i] = min(best[i], sample(contestant, repeats[i]))
        rounds += 1
    return {contestant.name: t * 1e6 for contestant, t in zip(contestants, best, strict=True)}


def sample(contestant, repeat):
    """Mean time of `repeat` calls in a row, after one that warms the caches."""
    call = contestant.call
    limit = fastsoftmax.threads(contestant.threads) if contestant.threads else None
    with limit or contextlib.nullcontext():
        call()
        start = time.perf_counter()
        for _ in range(repeat):
            call()
        return (time.perf_counter() - start) / repeat


def compiled():
    return fastsoftmax.show_config("dicts")["backend"] == "compiled"


def several_threads():
    """Whether "all threads" says more than "one thread"; the reference has only one."""
    return compiled() and fastsoftmax.get_num_threads() > 1


def threads_text():
    count = fastsoftmax.get_num_threads() if compiled() else 1
    return "one thread" if count == 1 else f"{count} threads"
