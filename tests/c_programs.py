"""Builds the C programs of tests/c with the C compiler at hand, csrc as setup.py would build it."""

import ast
import os
import platform
import shlex
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MACHINES = {"AMD64": "x86_64", "arm64": "aarch64"}
STRICT = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"]


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


@dataclass
class Kernels:
    """csrc compiled: what the programs of tests/c are linked with."""

    compiler: list
    folder: str
    flags: list  # of all C, without those of an instruction set
    openmp: list
    objects: list
    instances: list

    def link(self, name, *flags):
        """The program made of tests/c/`name`.c."""
        program = str(Path(self.folder, name))
        source = str(ROOT / f"tests/c/{name}.c")
        run([*self.compiler, *self.flags, *STRICT, source, *self.objects, *self.openmp, *flags,
             "-pthread", "-lm", "-o", program])  # fmt: skip
        return program


def build_kernels(compiler, folder):
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

    def compile_one(item):
        source, flags = item
        target = Path(folder, source.stem + ".o")
        run([*compiler, *common, *flags, "-c", str(source), "-o", str(target)])
        return str(target)

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        objects = list(pool.map(compile_one, sources.items()))
    return Kernels(compiler, str(folder), common, openmp, objects, ["scalar", *chosen])


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, f"{shlex.join(command)}\n{done.stdout}{done.stderr}"
    return done.stdout
