#!/usr/bin/env bash
# The tests on CPython without the GIL:  tools/test_free_threaded.sh [FOLDER]
#
# By python3.14t or python3.13t where one is installed. No package of Debian has one: the source of
# Debian's python3.13 is then built with --disable-gil into FOLDER (kept for the next time), some ten
# minutes on two processors. That wants Debian, apt-get as root, gcc and make; the machine's own
# packages stay as they are, but for the headers that Python is built with. Elsewhere it says so, and
# nothing is tested.
set -euo pipefail
cd "$(dirname "$0")/.."
tree=$PWD
folder=${1:-$tree/build/free-threaded}
mkdir -p "$folder" && folder=$(cd "$folder" && pwd)

fetch_source() {
    mkdir -p apt/lists/partial apt/archives/partial
    touch apt/status
    echo "deb-src [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg]" \
        "http://deb.debian.org/debian trixie main" >apt/sources.list
    local options=(-o Dir::State="$PWD/apt" -o Dir::State::status="$PWD/apt/status"
        -o Dir::Cache="$PWD/apt" -o Dir::Etc::sourcelist="$PWD/apt/sources.list"
        -o Dir::Etc::sourceparts=/dev/null)
    apt-get "${options[@]}" -qq update
    apt-get "${options[@]}" -qq source --download-only python3.13
    tar -xf python3.13_*.orig.tar.xz
}

build_python() {
    cd "$folder"
    apt-get install -y -qq --no-install-recommends libssl-dev libffi-dev zlib1g-dev >/dev/null
    fetch_source
    cd Python-3.13.*/
    ./configure -q --disable-gil --disable-test-modules --prefix="$folder/python"
    make -s -j"$(nproc)" && make -s install
}

find_python() {
    local python
    for python in python3.14t python3.13t "$folder/python/bin/python3.13t"; do
        "$python" -c 'import sys; sys.exit(sys._is_gil_enabled())' 2>/dev/null && command -v "$python" && return
    done
    if ! command -v apt-get >/dev/null || [ "$(id -u)" != 0 ]; then
        echo "test_free_threaded: SKIPPED: no free-threaded Python, and no Debian to build one on" >&2
        exit 0
    fi
    (build_python) >"$folder/build.log" 2>&1 || { tail -20 "$folder/build.log" >&2; exit 1; }
    echo "$folder/python/bin/python3.13t"
}

python=$(find_python)
[ -n "$python" ] || exit 0
[ -d "$folder/venv" ] || "$python" -m venv "$folder/venv"
# hypothesis: the last without a part in Rust, which has no wheel for this interpreter
"$folder/venv/bin/pip" install -q --only-binary numpy "setuptools>=77" "cython>=3.1" numpy \
    "pytest>=8" pytest-benchmark "hypothesis<6.140" mpmath threadpoolctl pytest-run-parallel
rm -rf "$folder/tree"
mkdir "$folder/tree"
git ls-files -z --cached --others --exclude-standard | tar -c --null -T - | tar -x -C "$folder/tree"
cd "$folder/tree"
FASTSOFTMAX_REQUIRE_EXTENSION=1 "$folder/venv/bin/python" setup.py -q build_ext --inplace
export PYTHONPATH=$folder/tree/src
"$folder/venv/bin/python" -c '
import sys, fastsoftmax._core
assert not sys._is_gil_enabled(), "importing the module switched the GIL on"
print("test_free_threaded: the GIL stays off after import")'
"$folder/venv/bin/python" -m pytest -q tests/test_threads.py tests/test_interrupt.py \
    tests/test_memory.py tests/test_threads_config.py
PATH=$folder/venv/bin:$PATH tools/test_parallel.sh # each test in four threads at once
