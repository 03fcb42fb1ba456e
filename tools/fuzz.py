"""The calls of tests/fuzzing.py led by coverage: what tools/fuzz.sh runs on instrumented C.

Its arguments are libFuzzer's. Every input is a sequence of choices from which Hypothesis makes a
call; a call that breaks the contract, or the sanitizers' word, ends the run with the input kept.
"""

import operator
import sys
from pathlib import Path

import atheris
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

with atheris.instrument_imports(include=["fastsoftmax"]):
    import fastsoftmax

from fuzzing import calls, check  # noqa: E402
from hypothesis import HealthCheck, given, settings  # noqa: E402

from fastsoftmax._backend import core  # noqa: E402


@settings(deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(call=calls())
def any_call(call):
    try:
        check(call)
    except BaseException:
        print(f"{core.current_isa()}: {call}", file=sys.stderr, flush=True)
        raise


COMPARE = operator.lt, operator.le, operator.eq, operator.ne, operator.gt, operator.ge


def spare_arrays():
    """Let instrumented comparisons of arrays go past atheris, which leaks the result (3.0).

    From the first input on: atheris.Fuzz puts its own function in place.
    """
    traced, shift = atheris._trace_cmp, atheris.instrument_bytecode.CMP_OP_SHIFT_AMOUNT

    def compare(left, right, op, *where):
        if isinstance(left, np.ndarray) or isinstance(right, np.ndarray):
            return COMPARE[op >> shift](left, right)
        return traced(left, right, op, *where)

    atheris._trace_cmp = compare


inputs = checked = 0


def one_input(data):
    """Every instance in turn, chosen by the first byte."""
    global inputs, checked
    if not inputs:
        spare_arrays()
    inputs += 1
    isas = core.isas()
    core.use_isa(isas[data[0] % len(isas)] if data else None)
    checked += any_call.hypothesis.fuzz_one_input(data[1:]) is not None
    if checked and checked % 10_000 == 0:
        print(f"{checked} calls checked", flush=True)


if __name__ == "__main__":
    print(f"fastsoftmax from {fastsoftmax.__file__}", flush=True)
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
