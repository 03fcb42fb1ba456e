"""Builds tests/c/selftest.c with the C compiler at hand and runs it: the kernels without Python.

Its hashes lock every result bit. After a change of the kernels' bits:

    python tests/test_selftest.py --update        # writes tests/c/hashes.h
"""

import ast
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
HASHES = ROOT / "tests/c/hashes.h"
MACHINES = {"AMD64": "x86_64", "arm64": "aarch64"}
OPS = ("softmax", "log_softmax", "logsumexp", "loss", "mean_loss", "sum_loss", "gradient",
       "mean_gradient", "weighted", "smoothed", "smoothed_grad", "soft", "soft_gradient",
       "softmax_back", "log_soft_back", "state", "joined_state", "softmax_given",
       "log_soft_given")  # fmt: skip


def setup_tables():
    """C_FLAGS, WERROR_FLAGS and ISAS as setup.py has them."""
    tables = {}
    for node in ast.parse((ROOT / "setup.py").read_text()).body:
        if isinstance(node, ast.Assign) and node.targets[0].id in ("C_FLAGS", "ISAS"):
            tables[node.targets[0].id] = ast.literal_eval(node.value)
    return tables["C_FLAGS"]["unix"], tables["ISAS"]


def find_compiler():
    """The command of a C compiler that works, or None. MSVC has other flags: not used here."""
    asked = shlex.split(os.environ.get("CC", ""))
    for command in [asked] if asked else [["cc"], ["gcc"], ["clang"]]:
        if shutil.which(command[0]) and compiles(command, "int main(void) { return 0; }\n"):
            return command
    return None


def compiles(compiler, code, *flags):
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "probe.c")
        source.write_text(code)
        command = [*compiler, *flags, "-c", str(source), "-o", f"{folder}/probe.o"]
        return subprocess.run(command, capture_output=True).returncode == 0


def build(compiler, folder):
    """Returns the program and the names of the instances that it holds."""
    common, isas = setup_tables()
    machine = MACHINES.get(platform.machine(), platform.machine())
    chosen = {
        name: isa["unix"]
        for name, isa in isas.items()
        if isa["arch"] == machine and compiles(compiler, isa["probe"], *isa["unix"])
    }
    openmp = ["-fopenmp"]
    with_openmp = "#include <omp.h>\nint main(void) { return omp_get_max_threads() < 1; }\n"
    if sys.platform == "darwin" or not compiles(compiler, with_openmp, *openmp):
        openmp = []
    common = [*common, "-I", str(ROOT / "csrc"), *(f"-DFS_HAVE_{n.upper()}=1" for n in chosen)]

    sources = dict.fromkeys((ROOT / "csrc").glob("*.c"), openmp)
    for name, flags in {"scalar": [], **chosen}.items():
        sources.update((path, flags) for path in (ROOT / "csrc/isa").glob(f"{name}_*.c"))
    sources[ROOT / "tests/c/selftest.c"] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]

    def compile_one(item):
        source, flags = item
        target = Path(folder, source.stem + ".o")
        run([*compiler, *common, *flags, "-c", str(source), "-o", str(target)])
        return str(target)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources.items()))
    program = str(Path(folder, "selftest"))
    run([*compiler, *objects, *openmp, "-pthread", "-lm", "-o", program])
    return program, ["scalar", *chosen]


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def selftest(tmp_path_factory):
    compiler = find_compiler()
    if compiler is None:
        pytest.skip("no C compiler")
    return build(compiler, tmp_path_factory.mktemp("selftest"))


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
        program, compiled = build(find_compiler(), folder)
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
