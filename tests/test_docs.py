"""The examples of docs/interoperability.md and of the modules, where their libraries are there."""

import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pytest

NOTE = Path(__file__).parent.parent / "docs" / "interoperability.md"
NEEDS = {
    "SciPy": (), "PyTorch": ("torch",), "Dask": ("dask.array",), "The mergeable state": (),
    "JAX": ("jax",), "Numba": ("numba",),
}  # fmt: skip


def sections():
    parts = re.split(r"^## (.*)$", NOTE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def run(test):
    failed, tried = doctest.DocTestRunner().run(test)
    assert tried and not failed


def test_every_section_is_known():
    assert list(sections()) == list(NEEDS)


@pytest.mark.filterwarnings("default")  # the libraries' own
@pytest.mark.parametrize("title", NEEDS)
def test_note(title):
    for name in NEEDS[title]:
        pytest.importorskip(name)
    test = doctest.DocTestParser().get_doctest(sections()[title], {"np": np}, title, str(NOTE), 0)
    run(test)


@pytest.mark.parametrize("name", ["_online", "scipy", "torch", "dask"])
def test_docstrings(name):
    if name in ("torch", "dask"):
        pytest.importorskip(f"{name}.array" if name == "dask" else name)
    module = importlib.import_module(f"fastsoftmax.{name}")
    tests = [test for test in doctest.DocTestFinder().find(module) if test.examples]
    assert tests
    for test in tests:
        run(test)
