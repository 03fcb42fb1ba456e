#!/usr/bin/env bash
# The Python tests on an extension built with AddressSanitizer and UndefinedBehaviorSanitizer. Any
# finding ends them.
#
#   tools/sanitize_python.sh [ARGUMENT...]     the arguments go to pytest; without any: all of tests/
#
# Wants an environment with the package's test extra, on Linux, and gcc. The extension is built into
# build/sanitized when a source is newer. Every instance of the machine is run by the fixture `isa`;
# FASTSOFTMAX_MAX_ISA says which one takes the tests without it.
set -euo pipefail
cd "$(dirname "$0")/.."

export UBSAN_OPTIONS=print_stacktrace=1
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 # Python leaks; a test asks for 2**51
place=$PWD/build/sanitized

if [ ! -e "$place/built" ] || [ -n "$(find csrc src setup.py -newer "$place/built" -type f)" ]; then
    rm -rf "$place"
    mkdir -p "$place"
    # A wrapper, since the last word counts: -O3 takes minutes and moves what a report points at.
    cat >"$place/cc" <<'END'
#!/bin/sh
exec ${CCACHE:-} gcc "$@" -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all \
    -fno-omit-frame-pointer
END
    chmod +x "$place/cc"
    CCACHE=$(command -v ccache || true) CC=$place/cc \
        FASTSOFTMAX_DEBUG=1 FASTSOFTMAX_REQUIRE_EXTENSION=1 \
        python -m pip install -q --no-deps --target "$place/site" .
    touch "$place/built"
fi

# Results are taken from malloc, whose borders AddressSanitizer knows: the memory that is recycled is
# tools/check_recycle.sh's, and test_memory.py, which counts it, is left out. So is what compiles or
# starts programs of its own, and what measures time.
export PYTHONPATH=$place/site FASTSOFTMAX_RECYCLE_BYTES=0 FASTSOFTMAX_BACKEND=compiled
export LD_PRELOAD
LD_PRELOAD=$(gcc -print-file-name=libasan.so)
[ $# -gt 0 ] || set -- tests
exec python -m pytest -q --capture=sys -p no:cacheprovider --ignore=tests/test_memory.py \
    --ignore=tests/test_selftest.py --ignore=tests/test_guard_pages.py --ignore=tests/test_exp.py \
    --ignore=tests/test_backend.py --ignore=tests/test_bench.py --ignore=tests/test_huge.py "$@"
