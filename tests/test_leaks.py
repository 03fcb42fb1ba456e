"""Nothing is left behind by calls, right or wrong: some seconds of tools/check_leaks.py."""

import subprocess
import sys

from c_programs import ROOT


def test_nothing_is_left_behind_by_a_hundred_thousand_calls():
    script = str(ROOT / "tools/check_leaks.py")
    done = subprocess.run(
        [sys.executable, script, "--calls", "100000"], capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
