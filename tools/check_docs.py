"""Runs every example of the documentation: docstrings, pages, and the README.

    python tools/check_docs.py        wants the extras "docs" and "examples" and fastsoftmax

What other libraries take part in is run only where they are installed, and named where it is left
out. docs/differences.md also wants the versions that it names: what they print is theirs to change.
(docs/interoperability.md is run section by section by tests/test_docs.py.)
"""

import doctest
import importlib
import importlib.util
import pkgutil
import re
import sys
import warnings
from pathlib import Path

import fastsoftmax

ROOT = Path(__file__).resolve().parent.parent
PEERS = {
    "differences.md": ("keras", "optax", "scipy", "torch"),
    "interoperability.md": ("dask", "jax", "numba", "torch"),
}


def docstrings():
    """Of every module that can be imported here: some are for peers that may be absent."""
    for found in pkgutil.iter_modules(fastsoftmax.__path__):
        if found.name.startswith("__"):
            continue
        try:
            module = importlib.import_module(f"fastsoftmax.{found.name}")
        except ImportError as error:
            print(f"left out: fastsoftmax.{found.name} ({error})")
            continue
        yield found.name, doctest.testmod(module)


def is_left_out(what, peers):
    absent = [name for name in peers if importlib.util.find_spec(name) is None]
    if absent:
        print(f"left out: {what} (wants {', '.join(absent)})")
    return bool(absent)


def pages():
    build = ROOT / "docs" / "_build"
    for page in sorted(ROOT.glob("docs/**/*.md")):
        if build in page.parents:
            continue
        if is_left_out(page.name, PEERS.get(page.name, ())):
            continue
        yield page.name, doctest.testfile(str(page), module_relative=False, encoding="utf-8")


def readme():
    """Its code has no prompts, as it is meant to be copied: it has to run from top to bottom."""
    names, blocks = {}, re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.S)
    names["x"] = [[0.0, 1.0]]  # of the reader
    for block in blocks:
        peers = re.findall(r"from fastsoftmax\.(dask|torch)", block)
        if is_left_out("a block of README.md", peers):
            continue
        exec(compile(block, "README.md", "exec"), names)
    fastsoftmax.set_num_threads(None)
    yield "README.md", doctest.TestResults(0, len(blocks))


def main():
    warnings.simplefilter("error")
    failed = run = 0
    for results in (docstrings(), pages(), readme()):
        for name, result in results:
            failed += result.failed
            run += result.attempted
            if result.failed:
                print(f"FAILED: {name}")
    print(f"check_docs: {run} examples, {failed} failed")
    sys.exit(failed != 0)


if __name__ == "__main__":
    main()
