#!/usr/bin/env bash
# Each test in four threads of Python at once (pytest-run-parallel), by the Python at hand.
#
#   tools/test_parallel.sh [ARGUMENT...]     the arguments go to pytest; without any: all files whose
#                                            tests may run beside themselves, some ten minutes
#
# Left out are tests of processes, signals, memory and time, which are the process's own. Wants an
# environment with the package and its test extra; installs the plugin where it is missing.
set -euo pipefail
cd "$(dirname "$0")/.."

python -c 'import pytest_run_parallel' 2>/dev/null || python -m pip install -q pytest-run-parallel
files=(edges validation api regressions reference same_bits cross_entropy online keras scipy_names
    side_by_side kernels kernels_mixed kernels_specials)
if [ $# -eq 0 ]; then
    set -- "${files[@]/%/.py}"
    set -- "${@/#/tests/test_}"
fi
exec python -m pytest -q -p no:cacheprovider --parallel-threads=4 \
    --deselect tests/test_keras.py::test_temporaries_do_not_grow_with_the_predictions "$@"
