#!/usr/bin/env python3
"""Change the C in one place at a time and see whether the tests notice.

    python tools/mutate_c.py [--sample N] [--seed S] [--quick] [--only TEXT] [--trust] [FILE...]

The mutants are those of universalmutator (pip install universalmutator), N of each file by seed,
10 unless told; the files those of csrc that plan, copy, check labels and sum losses, and the
templates of blocks and tiles (as the best instruction set has them in float32). A mutant that does
not compile, or compiles to the same code, is none. The others face, until one notices, the quickest
first: the tests of Python that call every function, on an extension linked anew; the C programs
no_memory and selftest (hashes); tests of threads, signals and memory; guard (float32). Only that
instruction set takes part. --quick stops after selftest: seconds for a mutant, not minutes, and
what is left is worth the whole. --only takes those whose difference holds TEXT. Prints the
survivors, and the share killed.
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
         "pieces.c", "driver.c", "kernels/extremes.inc.h", "kernels/block.inc.h",
         "kernels/sweep.inc.h", "kernels/scale.inc.h", "kernels/tile.inc.h"]  # fmt: skip
WRAPS = {"selftest": [], "no_memory": ["malloc", "free"],
         "guard": ["fs_cpu_last_cache", "fs_dispatch"]}  # fmt: skip
QUICK = ["test_edges.py", "test_api.py", "test_cross_entropy.py", "test_side_by_side.py",
         "test_validation.py"]  # fmt: skip
THOROUGH = ["test_regressions.py", "test_online.py", "test_fuzz.py", "test_memory.py",
            "test_same_bits.py"]  # fmt: skip
THREADS = ["test_threads.py", "test_interrupt.py"]
DRIVING = ["driver.c", "pieces.c", "scratch.c"]
KERNELS = ["test_kernels.py", "test_kernels_mixed.py", "test_kernels_specials.py"]
# A compiler's work on the tree as it is
SKIPPED = ["local_array"]
CPU, LIMIT = 100, 300  # seconds a program may compute and take: what loops for ever is noticed


class Tree:
    """csrc compiled as position-independent code, once as it is and then file by file."""

    def __init__(self, folder, quick=False):
        self.folder, self.quick = Path(folder), quick
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

    def program(self, name, objects, folder, *arguments):
        wrap = [f"-Wl,--wrap={function}" for function in WRAPS[name]]
        return passes([self.link(objects, folder / name, str(objects[name]), *wrap), *arguments])

    def tests(self, names, folder):
        others = [isa for isa in ("scalar", *self.isas) if isa != self.isa]
        chosen = " and ".join(f"not {name}" for name in [*others, *SKIPPED])
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                   "-k", chosen, *(str(ROOT / "tests" / name) for name in names)]  # fmt: skip
        return passes(command, PYTHONPATH=str(folder), FASTSOFTMAX_BACKEND="compiled")

    def judge(self, changed, folder, name=""):
        """What notices that some objects of a file have changed, or None."""
        objects = {**self.objects, **changed}
        package = folder / "fastsoftmax"
        shutil.copytree(ROOT / "src/fastsoftmax", package, ignore=shutil.ignore_patterns("_core*"))
        self.link(objects, package / "_core.so", "-shared", str(objects["core"]))
        own = KERNELS if name.startswith("kernels/") else THREADS if name in DRIVING else []
        steps = {
            "quick tests": lambda: self.tests(QUICK, folder),
            "no_memory": lambda: self.program("no_memory", objects, folder),
            "selftest": lambda: self.program("selftest", objects, folder, "--isa", self.isa),
            "thorough tests": lambda: self.tests(THOROUGH, folder),
            "its own tests": lambda: not own or self.tests(own, folder),
            "guard": lambda: self.program("guard", objects, folder, "--part", "0"),
        }
        if self.quick:
            steps = dict(list(steps.items())[:3])
        return next((name for name, step in steps.items() if not step()), None)


def passes(command, **environment):
    try:
        done = subprocess.run(["bash", "-c", f'ulimit -t {CPU}; exec "$@"', "", *command],
                              capture_output=True, timeout=LIMIT, cwd=ROOT,
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


def difference_of(name, mutant):
    old, new = (path.read_text().splitlines() for path in (ROOT / "csrc" / name, mutant))
    return "\n".join(list(difflib.unified_diff(old, new, n=0, lineterm=""))[2:])


def one(tree, name, mutant):
    """What notices the mutant: None for nobody, "" for what is none."""
    original = tree.csrc / name
    text, changed = original.read_text(), mutant.read_text()
    source = original if name.endswith(".c") else tree.csrc / f"isa/{tree.isa}_f32.c"
    with tempfile.TemporaryDirectory() as place:
        original.write_text(changed)
        try:
            target = tree.compile(source, Path(place) / "changed.o")
        except AssertionError:
            return ""
        finally:
            original.write_text(text)
        if code_of(target) == code_of(tree.objects[source]):
            return ""
        try:
            return tree.judge({source: target}, Path(place), name)
        except AssertionError:
            return ""  # it does not link


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", default=FILES)
    parser.add_argument("--sample", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--trust", action="store_true", help="do not run the tests unchanged first")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        tree = Tree(folder, options.quick)
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
                difference = difference_of(name, mutant)
                by = one(tree, name, mutant) if options.only in difference else ""
                if by == "":
                    continue
                dead, alive = dead + (by is not None), alive + (by is None)
                print(f"killed by {by}" if by else f"SURVIVED: {name}\n{difference}", flush=True)
            print(f"{name}: {dead} of {dead + alive} killed, of {len(everything)} mutants",
                  flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
