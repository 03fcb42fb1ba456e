"""Memory that is not ours to touch, and memory that is not to be had, in C programs without Python.

tests/c/guard.c lays every array of every call directly behind or before a page that cannot be
touched; tests/c/no_memory.c lets every allocation of the kernels fail. Both replace functions when
they are linked, which takes a linker with --wrap.
"""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.skipif(
    sys.platform != "linux", reason="wants mprotect and a linker with --wrap"
)


def wrap(*functions):
    return "-Wl," + ",".join(f"--wrap={name}" for name in functions)


@pytest.fixture(scope="module")
def guard(kernels):
    return kernels.link("guard", wrap("fs_cpu_last_cache", "fs_dispatch"))


def test_c_program_touches_no_byte_outside(guard):
    """Every op, way of calling and instance at every length from 0 to 600."""
    halves = [
        subprocess.Popen([guard, "--part", part], stdout=subprocess.PIPE, text=True)
        for part in ("0", "1")
    ]
    for half in halves:
        output, _ = half.communicate()
        assert half.returncode == 0, output
        assert "scalar" in output


def test_c_program_that_touches_one_is_noticed(guard):
    done = subprocess.run([guard, "--spoil"], capture_output=True, text=True)
    assert done.returncode == 1 and "touched a byte outside" in done.stdout


def test_c_program_without_memory(kernels):
    program = kernels.link("no_memory", wrap("malloc", "free"))
    done = subprocess.run([program], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    points = dict(line.split(": ") for line in done.stdout.splitlines())
    # scratch for columns, pieces of a row on threads, class weights in every way
    for way in ("plain", "columns", "threads"):
        assert int(points[way].split()[0]) > 0
