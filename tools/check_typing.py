"""The stubs hold: type checkers agree with tests/typing, and stubtest with the functions.

    python tools/check_typing.py        wants the extra "typing" and an importable fastsoftmax

stubtest is given every module that has a stub, so a new .pyi is checked from its first day; those
of PyTorch and Dask only where these are installed, since it compares a stub with what is imported.
"""

import importlib
import importlib.util
import subprocess
import sys
from pathlib import Path

PEERS = ("dask", "torch")


def modules_with_stubs():
    package = Path(importlib.util.find_spec("fastsoftmax").origin).parent
    for stub in sorted(package.glob("*.pyi")):
        name = f"fastsoftmax.{stub.stem}"
        try:
            importlib.import_module(name)
        except ImportError as error:
            if stub.stem not in PEERS:
                raise
            print(f"left out: {name} ({error})", flush=True)
        else:
            yield name


def main():
    commands = [
        ["mypy"],
        ["pyright"],
        ["mypy.stubtest", *modules_with_stubs()],
    ]
    failed = [
        command[0]
        for command in commands
        if subprocess.run([sys.executable, "-m", *command]).returncode
    ]
    if failed:
        sys.exit(f"check_typing: failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
