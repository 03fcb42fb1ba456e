"""One race: who computes what we compute takes turns with us, and the shortest time of each stays.

Contestants take turns so that a busy moment of the machine hits all alike. Before each turn there
is a rest until the last one's threads have stopped to spin for more work, and a call that is not
timed, which warms the caches. Whoever is far behind the leader leaves after the first rounds.
"""

import functools
import time

import libraries
import limits
import numpy as np
from cases import aligned_empty, logits_and_targets

from fastsoftmax._bench import SAMPLE, Contestant, sample

MIN_ROUNDS = 3
HOPELESS = {1: 5, 3: 3}  # {rounds: who takes more times the best peer's time leaves then}
TURN = 0.01  # seconds, at least one sample
REST = 0.01  # seconds, repeated until the process keeps still in it: systems count in ticks of 4 ms
BUSY = 0.2  # of REST
LONGEST_REST = 0.5
LIMIT = "limit: "
YARDSTICK = "np.exp"
TINY = 1000  # logits: the cost of a call, which np.exp has as well, is all there is
PIECE = 1 << 20  # entries compared at a time: no temporaries of the size of the largest case
SMALL = 16_384  # logits: below, no limit of memory or arithmetic says anything
LONG = 0.1  # seconds: after the first round, no call before such a one to warm the caches
COMPARED = 8  # PIECEs of a result, spread over it


def race_case(case, wanted, dtype, threads, entrants, helper, seconds):
    """Yield a row for each (operation, mode) that is wanted.

    entrants: {name: {mode: {operation: prepare}}}, "ours" among them.
    """
    x, t = logits_and_targets(case, dtype)
    large, small = aligned_empty(x.shape, dtype), aligned_empty(t.shape, dtype)
    for operation, mode in wanted:
        y = small if operation == "logsumexp" else large
        contestants, absent = line_up(operation, mode, entrants, x, t, case.axis, y)
        names = [contestant.name for contestant in contestants]
        contestants += measures(operation, mode, helper, x, y, threads)
        us = race(contestants, seconds)
        yield {"operation": operation, "mode": mode, "case": case.name, "shape": case.shape,
               "axis": case.axis, "dtype": str(dtype), "threads": threads,
               "us": {name: us[name] for name in names}, "absent": absent,
               **standing(us, names), **share(us, helper, operation, x, threads)}


def line_up(operation, mode, entrants, x, t, axis, y):
    """The contestants whose results agree with ours, and {name: why not} of the others."""
    contestants, absent, expected = [], {}, None
    for name, modes in entrants.items():
        calls = modes[mode]
        if mode == "out" and name != "ours" and operation in libraries.OURS_ALONE_HAS_OUT:
            calls = modes["fresh"]
        if operation not in calls:
            continue
        try:
            call = calls[operation](x, t, axis, y)
            result = libraries.arrays(call())
        except Exception as error:  # whatever a library says that it cannot do
            if name == "ours":
                raise
            absent[name] = f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"
            continue
        if expected is None:
            expected = tuple(np.array(part) for part in result)  # y is written by others as well
        wrong = disagreement(result, expected)
        if wrong:
            absent[name] = wrong
        else:
            contestants.append(Contestant(name, call, 0))
    return contestants, absent


def disagreement(found, expected):
    """What is wrong with a result, or None: half of the digits have to agree, counted from the
    largest entry. (That is a check of what is computed; accuracy has a command of its own.)"""
    for part, wanted in zip(found, expected, strict=True):
        if part.shape != wanted.shape:
            return f"computes something else: shape {part.shape} for {wanted.shape}"
        scale = max(float(wanted.max()), -float(wanted.min()))
        part, flat = part.reshape(-1), wanted.reshape(-1)
        step = max(PIECE, flat.size // COMPARED)
        off = max(float(np.abs(part[at:at + PIECE] - flat[at:at + PIECE]).max())
                  for at in range(0, flat.size, step))
        if not off <= np.sqrt(np.finfo(wanted.dtype).eps) * scale:
            return f"computes something else: off by {off:.3g} where the largest is {scale:.3g}"
    return None


def measures(operation, mode, helper, x, y, threads):
    """What the times are held against."""
    if x.size <= TINY:
        like = y if mode == "out" and y.shape == x.shape else None
        return [Contestant(YARDSTICK, functools.partial(np.exp, x, like), 0)]
    if x.size < SMALL:
        return []
    calls = limits.memory_calls(helper, operation, x, y, threads)
    return [Contestant(LIMIT + name, call, 0) for name, call in calls.items()]


def race(contestants, seconds):
    """{name: shortest time of a call in microseconds}."""
    best = {contestant.name: float("inf") for contestant in contestants}
    deadline = time.perf_counter() + seconds
    rounds = 0
    while rounds < MIN_ROUNDS or time.perf_counter() < deadline:
        for contestant in contestants:
            rest()
            so_far = best[contestant.name]
            best[contestant.name] = min(so_far, turn(contestant, so_far))
        rounds += 1
        if rounds in HOPELESS:
            contestants = still_racing(contestants, best, HOPELESS[rounds])
    return {name: seconds * 1e6 for name, seconds in best.items()}


def turn(contestant, so_far):
    """The shortest time of a call in seconds."""
    start = time.perf_counter()
    if LONG < so_far < float("inf"):
        contestant.call()
        return time.perf_counter() - start
    repeat, shortest = max(1, round(SAMPLE / so_far)), float("inf")
    while True:
        shortest = min(shortest, sample(contestant, repeat))
        if time.perf_counter() > start + TURN:
            return shortest


def rest():
    """Wait for idle threads to sleep: libgomp's spin for 13 ms after a call, ONNX Runtime's for 45
    (on a Zen 3), and take a processor from the next contestant."""
    deadline = time.perf_counter() + LONGEST_REST
    while time.perf_counter() < deadline:
        before = time.process_time()  # of all threads
        time.sleep(REST)
        if time.process_time() - before < BUSY * REST:
            return


def still_racing(contestants, best, hopeless):
    peers = [c.name for c in contestants if is_peer(c.name)]
    leader = min((best[name] for name in peers), default=0)
    return [c for c in contestants if not is_peer(c.name) or best[c.name] <= hopeless * leader]


def is_peer(name):
    return name not in ("ours", YARDSTICK) and not name.startswith(LIMIT)


def standing(us, names):
    """The best peer, and its time over ours: below 1 we are behind."""
    peers = {name: us[name] for name in names if name != "ours"}
    if not peers:
        return {"best_peer": None, "ratio": None}
    best = min(peers, key=peers.get)
    return {"best_peer": best, "ratio": peers[best] / us["ours"]}


def share(us, helper, operation, x, threads):
    """The limit's time over ours. The limit is the larger of memory's and arithmetic's."""
    times = {name.removeprefix(LIMIT): time for name, time in us.items()
             if name.startswith(LIMIT) or name == YARDSTICK}
    if not times:
        return {"measured": {}, "limit": None, "limit_us": None, "share": None}
    limit = min(times, key=times.get)
    limit_us = times[limit]
    if limit != YARDSTICK:
        times["arithmetic"] = limits.arithmetic_us(helper, operation, x, threads)
        if times["arithmetic"] > limit_us:
            limit, limit_us = "arithmetic", times["arithmetic"]
    return {"measured": times, "limit": limit, "limit_us": limit_us,
            "share": limit_us / us["ours"]}
