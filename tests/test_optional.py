"""No optional dependency is imported unasked, and its absence is explained."""

import subprocess
import sys

import pytest

PEERS = ("torch", "dask", "scipy", "jax", "numba", "keras", "zarr", "distributed")


def run(program):
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, timeout=100
    )


def test_the_package_imports_none_of_them():
    program = f"""
import sys
import fastsoftmax, fastsoftmax.scipy, fastsoftmax.keras
found = [name for name in {PEERS!r} if name in sys.modules]
assert not found, found
assert not hasattr(fastsoftmax, "torch") and not hasattr(fastsoftmax, "dask")
"""
    done = run(program)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module, peer", [("torch", "torch"), ("dask", "dask"), ("dask", "dask.array")]
)
def test_absence_is_explained(module, peer):
    program = f"""
import sys
sys.modules[{peer!r}] = None  # as if it were not installed
try:
    import fastsoftmax.{module}
except ImportError as error:
    print(error)
"""
    done = run(program)
    assert f"fastsoftmax.{module} needs" in done.stdout, done.stderr
    assert f"pip install 'fastsoftmax[{module}]'" in done.stdout
