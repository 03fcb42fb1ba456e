"""The stubs hold: type checkers agree with tests/typing, and stubtest with the functions.

    python tools/check_typing.py        wants the extra "typing" and an importable fastsoftmax

stubtest is given every module that has a stub, so a new .pyi is checked from its first day.
"""

import importlib.util
import subprocess
import sys
from pathlib import Path


def modules_with_stubs():
    package = Path(importlib.util.find_spec("fastsoftmax").origin).parent
    return [f"fastsoftmax.{stub.stem}" for stub in sorted(package.glob("*.pyi"))]


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
