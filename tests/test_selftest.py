"""Builds tests/c/selftest.c with the C compiler at hand and runs it: the kernels without Python.

Its hashes lock every result bit. After a change of the kernels' bits:

    python tests/test_selftest.py --update        # writes tests/c/hashes.h
"""

import subprocess
import sys
import tempfile

import pytest
from c_programs import ROOT, build_kernels, find_compiler

HASHES = ROOT / "tests/c/hashes.h"
OPS = ("softmax", "log_softmax", "logsumexp", "loss", "mean_loss", "sum_loss", "gradient",
       "mean_gradient", "weighted", "smoothed", "smoothed_grad", "soft", "soft_gradient",
       "z_loss", "even_smoothed", "fine_weights", "soft_alone", "soft_fine", "nll", "soft_nll",
       "softmax_back", "log_soft_back", "state", "joined_state", "softmax_given",
       "log_soft_given")  # fmt: skip


@pytest.fixture(scope="module")
def selftest(kernels):
    return kernels.link("selftest"), kernels.instances


def test_bits_and_values(selftest):
    """Every instance gives the checked-in bits, within the bounds, whichever way it is called."""
    program, compiled = selftest
    done = subprocess.run([program], capture_output=True, text=True)
    print(done.stdout)  # shown where the test fails
    assert done.returncode == 0, done.stdout + done.stderr
    lines = {tuple(line.split()[:3]) for line in done.stdout.splitlines()}
    try:
        from fastsoftmax import _core

        compiled = [name for name in compiled if name in ["scalar", *_core.isas()]]
    except ImportError:
        compiled = ["scalar"]
    for name in compiled:
        for dtype in ("float32", "float64"):
            for op in OPS:
                assert (name, dtype, op) in lines


def test_a_wrong_bit_is_noticed(selftest):
    program, _ = selftest
    done = subprocess.run([program, "--spoil", "--bits"], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stdout.count("WRONG BITS") >= len(OPS)


def update():
    """Write the hashes of the best instance of this machine."""
    head, _, rest = HASHES.read_text().partition("expected[] = {\n")
    tail = rest[rest.index("    {0, 0, 0},") :]
    with tempfile.TemporaryDirectory() as folder:
        kernels = build_kernels(find_compiler(), folder)
        program, compiled = kernels.link("selftest"), kernels.instances
        if compiled == ["scalar"]:
            sys.exit("no vector instruction set here to take the hashes from")
        table = subprocess.run([program, "--print"], capture_output=True, text=True)
    if table.returncode:
        print("Some values are out of bounds: see a plain run.", file=sys.stderr)
    HASHES.write_text(f"{head}expected[] = {{\n{table.stdout}{tail}")
    return table.returncode


if __name__ == "__main__":
    if sys.argv[1:] != ["--update"]:
        sys.exit(__doc__)
    sys.exit(update())
