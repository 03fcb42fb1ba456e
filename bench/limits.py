"""What the machine gives at best, measured by limits.c: memory, and the arithmetic of our sweep.

The memory limit of a case is measured on its own arrays, in turns with the contestants: reading
the logits for what returns little, copying them (by whichever copy is faster) for what writes a
result of their size.

The arithmetic limit counts the floating-point operations that our kernels do on a vector of
logits (csrc/math/exp.inc.h and finish), F on the multipliers (FMA, multiplication) and A additions,
and divides them by what one core was measured to do: max(F / fma, (F + A) / best), where fma and
best are vectors a second of FMAs alone and of the better of FMAs alone and FMAs with additions.
Loads, stores, maxima, shuffles and table look-ups are left out, so no program reaches it, and
another algorithm may have another one.
"""

import ctypes
import functools
import os
import shlex
import shutil
import subprocess
import tempfile
import time
from collections import namedtuple
from pathlib import Path

SOURCE = Path(__file__).with_name("limits.c")
FLAGS = (("-march=native", "-fopenmp"), ("-fopenmp",), ("-march=native",), ())
READ, COPY, STREAM_COPY = range(3)
READERS = ("logsumexp", "cross_entropy")  # what returns little
ROUNDS, TRIES = 200_000, 15
CHAINS = 14  # as in limits.c

# Operations on a vector: (multipliers, additions) of the exponential, 4 additions for its sum, and
# what finishes it, a factor or a subtrahend of two numbers each.
EXPONENTIAL = {"float32": (8, 2), "float64": (15, 1)}
SUM = (0, 4)
FINISH = {"softmax": (2, 0), "cross_entropy_with_grad": (2, 0), "log_softmax": (0, 2)}

Helper = namedtuple("Helper", "library compiler fma best threads")


def build():
    """A Helper, and None; or None, and why there is none."""
    asked = shlex.split(os.environ.get("CC", ""))
    commands = [asked] if asked else [["cc"], ["gcc"], ["clang"]]
    why = "no C compiler found (cc, gcc, clang; CC names another)"
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        target = str(Path(folder, "limits.so"))
        for command in commands:
            if shutil.which(command[0]) is None:
                continue
            for flags in FLAGS:
                line = [*command, "-O3", *flags, "-shared", "-fPIC", str(SOURCE), "-o", target]
                done = subprocess.run(line, capture_output=True, text=True)
                if done.returncode == 0:
                    return _load(target, " ".join([*command, "-O3", *flags])), None
                why = done.stderr.strip().splitlines()[-1:] or [f"{command[0]} failed"]
                why = why[0]
    return None, why


def _load(path, compiler):
    library = ctypes.CDLL(path)
    library.limits_move.restype = library.limits_arithmetic.restype = ctypes.c_double
    library.limits_move.argtypes = [ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64,
                                    ctypes.c_int]
    library.limits_arithmetic.argtypes = [ctypes.c_int, ctypes.c_int64]
    fma, mixed = _rate(library, 0), _rate(library, 1)
    return Helper(library, compiler, fma, max(fma, mixed), bool(library.limits_has_threads()))


def _rate(library, mixed):
    """Operations on vectors a second, on one thread."""
    shortest = float("inf")
    for _ in range(TRIES):
        start = time.perf_counter()
        library.limits_arithmetic(mixed, ROUNDS)
        shortest = min(shortest, time.perf_counter() - start)
    return ROUNDS * CHAINS / shortest


def memory_calls(helper, operation, x, y, threads):
    """{name: call} of what the memory limit of a case is the fastest of."""
    if helper is None or (threads > 1 and not helper.threads):
        return {}
    kinds = {"read": READ} if operation in READERS else {"copy": COPY}
    if operation not in READERS and helper.library.limits_has_stream():
        kinds["stream copy"] = STREAM_COPY
    move, target = helper.library.limits_move, None if y is None else y.ctypes.data
    return {name: functools.partial(move, kind, target, x.ctypes.data, x.nbytes // 4, threads)
            for name, kind in kinds.items()}


def arithmetic_us(helper, operation, x, threads):
    """The least time of the arithmetic, in microseconds."""
    parts = (EXPONENTIAL[x.dtype.name], SUM, FINISH.get(operation, (0, 0)))
    multiplications, additions = (sum(column) for column in zip(*parts, strict=True))
    vectors = x.nbytes / helper.library.limits_vector_bytes()
    seconds = max(multiplications / helper.fma, (multiplications + additions) / helper.best)
    return vectors * seconds / threads * 1e6


def describe(helper, why):
    """What is known of the machine's limits, for the JSON."""
    if helper is None:
        return {"available": False, "reason": why}
    return {"available": True, "compiler": helper.compiler, "threads": helper.threads,
            "vector_bytes": helper.library.limits_vector_bytes(),
            "fma_vectors_per_second": helper.fma, "best_vectors_per_second": helper.best}
