#!/usr/bin/env python3
"""Change the C in one place at a time and see whether the tests notice.

    python tools/mutate_c.py [--sample N] [--seed S] [--trust] [FILE...]

The mutants are those of universalmutator (pip install universalmutator), N of each file by seed,
10 unless told; the files those of csrc that plan, copy, check labels and sum losses, and the
templates of blocks and tiles (as the best instruction set has them in float32). A mutant that does
not compile, or compiles to the same code, is none. The others face, until one notices:
tests/c/selftest.c (hashes), tests/c/no_memory.c, tests/c/guard.c (float32), and the quick tests of
Python on an extension linked anew. Prints the survivors, and the share killed.
"""

import argparse
import difflib
import os
import random
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import c_programs  # noqa: E402

ROOT = c_programs.ROOT
FILES = ["targets.c", "layout.c", "plan.c", "small.c", "losses.c", "range.c", "scratch.c",
         "kernels/extremes.inc.h", "kernels/block.inc.h",
         "kernels/tile.inc.h"]  # fmt: skip
WRAPS = {"selftest": [], "no_memory": ["malloc", "free"],
         "guard": ["fs_cpu_last_cache", "fs_dispatch"]}  # fmt: skip
ARGUMENTS = {"selftest": ["--bits"], "no_memory": [], "guard": ["--part", "0"]}
TESTS = ["test_edges.py", "test_validation.py", "test_regressions.py", "test_cross_entropy.py",
         "test_side_by_side.py", "test_fuzz.py"]  # fmt: skip
LIMIT = 300  # seconds a program may take: what loops for ever is noticed


class Tree:
    """csrc compiled as position-independent code, once as it is and then file by file."""

    def __init__(self, folder):
        self.folder = Path(folder)
        self.csrc = self.folder / "csrc"
        shutil.copytree(ROOT / "csrc", self.csrc)
        self.cc = c_programs.find_compiler()
        common, self.isas = c_programs.setup_tables()
        with open("/proc/cpuinfo") as file:
            flags = file.read().split()
        self.isa = next(i for i, f in (("avx512", "avx512vl"), ("avx2", "avx2")) if f in flags)
        self.flags = [*common, "-O1", "-w", "-fPIC", "-fopenmp", "-I", str(self.csrc),
                      f"-DFS_HAVE_{self.isa.upper()}=1"]  # fmt: skip
        self.objects = {}
        for source in [*self.csrc.glob("*.c"), *self.csrc.glob("isa/scalar_*.c"),
                       *self.csrc.glob(f"isa/{self.isa}_*.c")]:  # fmt: skip
            self.objects[source] = self.compile(source, self.folder / f"{source.stem}.o")
        for name in WRAPS:
            self.objects[name] = self.compile(ROOT / f"tests/c/{name}.c", self.folder / f"{name}.o")
        self.objects["core"] = self.cython()

    def compile(self, source, target):
        own = self.isas[self.isa]["unix"] if source.stem.startswith(self.isa) else []
        c_programs.run([*self.cc, *self.flags, *own, "-c", str(source), "-o", str(target)])
        return target

    def cython(self):
        import sysconfig

        import numpy

        source = self.folder / "_core.c"
        c_programs.run([sys.executable, "-m", "cython", "-3", "-X", "boundscheck=False", "-X",
                        "wraparound=False", str(ROOT / "src/fastsoftmax/_core.pyx"), "-o",
                        str(source)])  # fmt: skip
        target = self.folder / "_core.o"
        c_programs.run([*self.cc, *self.flags, "-I", sysconfig.get_paths()["include"], "-I",
                        numpy.get_include(), "-c", str(source), "-o", str(target)])  # fmt: skip
        return target

    def link(self, objects, target, *flags):
        names = ("core", *WRAPS)
        files = [str(o) for key, o in objects.items() if key not in names]
        c_programs.run([*self.cc, *files, *flags, "-fopenmp", "-pthread", "-lm", "-o", str(target)])
        return str(target)

    def passes(self, name, objects, folder):
        wrap = [f"-Wl,--wrap={function}" for function in WRAPS[name]]
        program = self.link(objects, folder / name, str(objects[name]), *wrap)
        return passes([program, *ARGUMENTS[name]])

    def judge(self, changed, folder):
        """What notices that some objects have changed, or None."""
        objects = {**self.objects, **changed}
        for name in ("no_memory", "selftest"):
            if not self.passes(name, objects, folder):
                return name
        package = folder / "fastsoftmax"
        shutil.copytree(ROOT / "src/fastsoftmax", package, ignore=shutil.ignore_patterns("_core*"))
        self.link(objects, package / "_core.so", "-shared", str(objects["core"]))
        for test in TESTS:
            command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                       str(ROOT / "tests" / test)]  # fmt: skip
            if not passes(command, PYTHONPATH=str(folder), FASTSOFTMAX_BACKEND="compiled"):
                return test
        return None if self.passes("guard", objects, folder) else "guard"


def passes(command, **environment):
    try:
        done = subprocess.run(command, capture_output=True, timeout=LIMIT, cwd=ROOT,
                              env={**os.environ, **environment})  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def mutants(tree, name):
    folder = tree.folder / "mutants" / name.replace("/", "_")
    folder.mkdir(parents=True)
    # as a .c file: universalmutator knows no headers
    source = folder / Path(name).name.replace(".inc.h", ".c")
    source.write_text((ROOT / "csrc" / name).read_text())
    c_programs.run(["mutate", str(source), "c", "--noCheck", "--mutantDir", str(folder)])
    return sorted(path for path in folder.glob("*.mutant.*.c"))


def code_of(path):
    return subprocess.run(["objcopy", "-O", "binary", "-j", ".text", str(path), "/dev/stdout"],
                          capture_output=True).stdout  # fmt: skip


def one(tree, name, mutant):
    """The difference, and what notices it: None for nobody, "" for what is no mutant."""
    original = tree.csrc / name
    text, changed = original.read_text(), mutant.read_text()
    difference = "\n".join(list(difflib.unified_diff(
        text.splitlines(), changed.splitlines(), n=0, lineterm=""))[2:])  # fmt: skip
    source = original if name.endswith(".c") else tree.csrc / f"isa/{tree.isa}_f32.c"
    with tempfile.TemporaryDirectory() as place:
        original.write_text(changed)
        try:
            target = tree.compile(source, Path(place) / "changed.o")
        except AssertionError:
            return difference, ""
        finally:
            original.write_text(text)
        if code_of(target) == code_of(tree.objects[source]):
            return difference, ""
        try:
            return difference, tree.judge({source: target}, Path(place))
        except AssertionError:
            return difference, ""  # it does not link


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", default=FILES)
    parser.add_argument("--sample", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--trust", action="store_true", help="do not run the tests unchanged first")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(folder)
        with tempfile.TemporaryDirectory() as place:
            by = not options.trust and tree.judge({}, Path(place))
        if by:
            sys.exit(f"{by} fails without a mutation")
        for name in options.files:
            everything = mutants(tree, name)
            random.Random(options.seed).shuffle(everything)
            dead = alive = 0
            for mutant in everything:
                if dead + alive == options.sample:
                    break
                difference, by = one(tree, name, mutant)
                if by == "":
                    continue
                dead, alive = dead + (by is not None), alive + (by is None)
                print(f"killed by {by}" if by else f"SURVIVED: {name}\n{difference}", flush=True)
            print(f"{name}: {dead} of {dead + alive} killed, of {len(everything)} mutants",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
