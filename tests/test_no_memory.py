"""Allocations fail one by one, in Python: no_memory.py, in a process with a malloc of its own.

tests/c/no_memory.c does the same to the kernels alone, and looks at what was written.
"""

import os
import re
import subprocess
import sys

import pytest
from c_programs import ROOT, find_compiler
from c_programs import run as compile_with

from fastsoftmax._backend import core

pytestmark = [
    pytest.mark.skipif(
        sys.platform != "linux" or not hasattr(os, "confstr"), reason="wants glibc and LD_PRELOAD"
    ),
    pytest.mark.skipif(not core.compiled_isas(), reason="of what the kernels ask for"),
    pytest.mark.skipif("LD_PRELOAD" in os.environ, reason="another malloc is preloaded"),
]


@pytest.fixture(scope="module")
def failing_malloc(tmp_path_factory):
    compiler = find_compiler()
    if compiler is None or "CS_GNU_LIBC_VERSION" not in os.confstr_names:
        pytest.skip("no C compiler, or no glibc")
    library = tmp_path_factory.mktemp("malloc") / "failing_malloc.so"
    source = str(ROOT / "tests/c/failing_malloc.c")
    compile_with([*compiler, "-std=c11", "-shared", "-fPIC", "-O1", "-Wall", "-Wextra", "-Werror",
                  source, "-o", str(library), "-ldl"])  # fmt: skip
    return library


@pytest.mark.parametrize("of", ["every object", "arrays and scratch"])
def test_every_allocation_fails_once(of, failing_malloc):
    environment = {**os.environ, "LD_PRELOAD": str(failing_malloc)}
    environment.pop("PYTHONMALLOC", None)
    if of == "every object":
        environment["PYTHONMALLOC"] = "malloc"
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests/no_memory.py")],
        capture_output=True, text=True, env=environment, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    failed = [int(n) for n in re.findall(r"MemoryError (\d+) times", done.stdout)]
    assert sum(failed) > (500 if of == "every object" else 20), done.stdout
