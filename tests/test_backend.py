"""Choosing an engine at import, in fresh processes: fallback, environment, no side effects."""

import os
import subprocess
import sys

import pytest

from fastsoftmax._backend import ISAS, core

VARIABLES = ("BACKEND", "MAX_ISA", "NUM_THREADS")
# Imports that find no compiled module, as after an installation without a compiler.
HIDE = "import sys; sys.modules['fastsoftmax._core'] = None\n"
WORK = """
import numpy as np, fastsoftmax as fs
assert str(fs.softmax(np.array([123, 456, 789]))) == str(
    np.array([5.75274406e-290, 2.39848787e-145, 1.0]))
loss, grad = fs.cross_entropy_with_grad(np.array([[20, 0, 0]], np.float32), [0])
assert 4.12e-9 < loss < 4.13e-9 and grad[0, 0] < 0 and fs.logsumexp(np.zeros(1)) == 0
with fs.threads(2):
    assert fs.get_num_threads() == 2
"""
USED = "print(fs.show_config('dicts')['isa']['used'])"


def run(code, **environment):
    """Run code in a fresh interpreter; return its output and warnings, or raise."""
    clean = {k: v for k, v in os.environ.items() if not k.startswith("FASTSOFTMAX_")}
    clean |= {f"FASTSOFTMAX_{k}": v for k, v in environment.items() if k in VARIABLES}
    clean |= {k: v for k, v in environment.items() if k not in VARIABLES}
    done = subprocess.run(
        [sys.executable, "-W", "always", "-c", code],
        env=clean, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    if done.returncode:
        raise AssertionError(done.stderr)
    return done.stdout.strip(), done.stderr


def test_numpy_backend_is_silent():
    out, err = run(WORK + USED, BACKEND="numpy")
    assert (out, err) == ("reference", "")


def test_missing_extension_warns_once_and_works():
    out, err = run(HIDE + WORK + USED)
    assert out == "reference"
    assert err.count("RuntimeWarning") == 1
    assert "compiled kernels" in err and "FASTSOFTMAX_BACKEND=numpy" in err


def test_missing_extension_is_silent_if_asked_for():
    assert run(HIDE + WORK, BACKEND="numpy") == ("", "")


def test_missing_extension_raises_if_demanded():
    with pytest.raises(AssertionError, match="ImportError|ModuleNotFoundError"):
        run(HIDE + WORK, BACKEND="compiled")


def test_unknown_backend_warns():
    _, err = run(HIDE + WORK, BACKEND="fortran")
    assert "FASTSOFTMAX_BACKEND='fortran' is ignored" in err


@pytest.mark.parametrize("name", ISAS)
def test_known_max_isa_is_silent(name):
    backend = {} if core.compiled_isas() else {"BACKEND": "numpy"}
    _, err = run(WORK, MAX_ISA=name, **backend)
    assert err == ""


def test_max_isa_caps():
    backend = {} if core.compiled_isas() else {"BACKEND": "numpy"}
    used, _ = run(WORK + USED, MAX_ISA="scalar", **backend)
    assert used == ("scalar" if core.compiled_isas() else "reference")


def test_unknown_max_isa_warns_and_is_ignored():
    backend = {} if core.compiled_isas() else {"BACKEND": "numpy"}
    used, err = run(WORK + USED, MAX_ISA="mmx", **backend)
    assert err.count("RuntimeWarning") == 1 and "FASTSOFTMAX_MAX_ISA='mmx' is ignored" in err
    assert used == run(WORK + USED, **backend)[0]


THREADS = "import fastsoftmax as fs; print(fs.get_num_threads())"


@pytest.mark.parametrize("backend", ["numpy", "compiled"] if core.compiled_isas() else ["numpy"])
def test_num_threads_precedence(backend):
    assert run(THREADS, BACKEND=backend, NUM_THREADS="3", OMP_NUM_THREADS="2") == ("3", "")
    assert run(THREADS, BACKEND=backend, OMP_NUM_THREADS="2") == ("2", "")
    assert run(THREADS, BACKEND=backend, NUM_THREADS="1") == ("1", "")
    assert run(THREADS, BACKEND=backend, NUM_THREADS=str(2**31 - 1)) == (str(2**31 - 1), "")
    code = "import fastsoftmax as fs; fs.set_num_threads(5); print(fs.get_num_threads())"
    assert run(code, BACKEND=backend, NUM_THREADS="3") == ("5", "")
    code = "import fastsoftmax as fs; fs.set_num_threads(5); fs.set_num_threads(None)\n"
    code += "print(fs.get_num_threads())"
    assert run(code, BACKEND=backend, NUM_THREADS="3") == ("3", "")


@pytest.mark.parametrize("bad", ["0", "-1", "two", "1.5", str(2**31), "9" * 20])
def test_bad_num_threads_warns_and_is_ignored(bad):
    out, err = run(THREADS, BACKEND="numpy", NUM_THREADS=bad)
    assert err.count("RuntimeWarning") == 1 and f"{bad!r} is ignored" in err
    assert out == run(THREADS, BACKEND="numpy")[0]


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")
def test_import_starts_no_thread():
    code = "import os, numpy\nbefore = len(os.listdir('/proc/self/task'))\nimport fastsoftmax\n"
    code += "print(len(os.listdir('/proc/self/task')) - before)"
    backend = {} if core.compiled_isas() else {"BACKEND": "numpy"}
    assert run(code, **backend)[0] == "0"


def test_import_is_cheap():
    # What would make it slow; time itself is too noisy to test.
    code = "import sys, numpy\nbefore = set(sys.modules)\nimport fastsoftmax\n"
    code += "print(*(set(sys.modules) - before))"
    new = set(run(code, BACKEND="numpy")[0].split())
    heavy = {"dataclasses", "typing", "inspect", "pathlib", "contextlib", "subprocess", "mpmath"}
    assert not new & heavy
    assert "fastsoftmax.testing" not in new
