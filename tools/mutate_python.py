#!/usr/bin/env python3
"""Change the Python wrapper in one place at a time and see whether the tests notice.

    python tools/mutate_python.py [--sample N] [--seed S] [--only TEXT] [--trust] [FILE...]

The mutants are those of cosmic-ray (pip install cosmic-ray) for _validate.py, _threads.py,
_memory.py and _api.py, a seeded sample of N of them, 60 unless told; each is made in a copy of the
package, which the quick tests then import. Prints the survivors with their difference and the share
killed. --only takes those whose difference holds TEXT; --trust leaves out the run unchanged.
"""

import argparse
import difflib
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from cosmic_ray.commands.init import _all_work_items
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator

from fastsoftmax import _backend

ROOT = Path(__file__).resolve().parent.parent
FILES = ["_validate.py", "_threads.py", "_memory.py", "_api.py"]
TESTS = ["test_validation.py", "test_edges.py", "test_contract.py", "test_threads_config.py",
         "test_cross_entropy.py", "test_regressions.py", "test_api.py", "test_backend.py",
         "test_scipy_names.py", "test_fuzz.py", "test_memory.py"]  # fmt: skip
# What takes time; and one instance of the kernels is enough for the wrapper.
SKIPPED = ["temporary", "gil", "threads_of_a_call", *_backend.core.isas()[1:]]


def mutants(path):
    """(difference, mutated code) of every mutant of a file that differs in more than its texts."""
    code = path.read_text()
    for item in _all_work_items([path], {}):
        for mutation in item.mutations:
            operator = get_operator(mutation.operator_name)(**mutation.operator_args)
            mutated = mutate_code(code, operator, mutation.occurrence)
            if mutated is None or mutated == code or same_but_for_annotations(code, mutated):
                continue
            lines = difflib.unified_diff(code.splitlines(), mutated.splitlines(), n=0, lineterm="")
            yield "\n".join(list(lines)[2:]), mutated


def same_but_for_annotations(code, mutated):
    """Whether only a decorator or comment has moved."""
    return re.sub(r"\s+", "", code) == re.sub(r"\s+", "", mutated)


def killed(name, mutated):
    """The first test that fails on the mutant, or None."""
    with tempfile.TemporaryDirectory() as folder:
        package = Path(folder, "fastsoftmax")
        shutil.copytree(ROOT / "src/fastsoftmax", package, symlinks=True)
        (package / name).write_text(mutated)
        chosen = ["-k", " and ".join(f"not {name}" for name in SKIPPED)]
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider",
                   *chosen, *(f"tests/{test}" for test in TESTS)]  # fmt: skip
        try:
            done = subprocess.run(
                command, cwd=ROOT, capture_output=True, text=True, timeout=600,
                env={**os.environ, "PYTHONPATH": folder, "PYTHONDONTWRITEBYTECODE": "1"},
            )  # fmt: skip
        except subprocess.TimeoutExpired:
            return "(time)"
    if done.returncode == 0:
        return None
    failed = re.search(r"^(?:FAILED|ERROR) (\S+)", done.stdout, re.M)
    return failed[1] if failed else "(import)"


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("files", nargs="*", default=FILES)
    parser.add_argument("--sample", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", default="")
    parser.add_argument("--trust", action="store_true", help="do not run the tests unchanged first")
    options = parser.parse_args()
    first = options.files[0]
    by = not options.trust and killed(first, (ROOT / "src/fastsoftmax" / first).read_text())
    if by:
        sys.exit(f"{by} fails without a mutation")
    everything = [(name, *mutant) for name in options.files
                  for mutant in mutants(ROOT / "src/fastsoftmax" / name)]  # fmt: skip
    everything = [mutant for mutant in everything if options.only in mutant[1]]
    chosen = random.Random(options.seed).sample(everything, min(options.sample, len(everything)))
    survivors = 0
    for name, difference, mutated in chosen:
        by = killed(name, mutated)
        survivors += by is None
        print(f"{'SURVIVED' if by is None else 'killed by ' + by}: {name}", flush=True)
        if by is None:
            print(difference, flush=True)
    print(f"{len(chosen) - survivors} of {len(chosen)} killed, of {len(everything)} mutants")


if __name__ == "__main__":
    main()
