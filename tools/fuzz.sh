#!/usr/bin/env bash
# Fuzzing of the Python functions by atheris, with the C built by clang with libFuzzer's coverage,
# AddressSanitizer and UndefinedBehaviorSanitizer. Any finding ends it and leaves its input behind.
#
#   tools/fuzz.sh [SECONDS [ARGUMENT...]]     60 unless told; the arguments go to libFuzzer
#
# What is called and what must hold is tests/fuzzing.py. Wants an environment with the package's test
# extra; installs atheris into it where it is missing, and with apt-get (as root) clang. Inputs that
# reached new code are kept in build/fuzz/corpus for the next run.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:-60}
[ $# -eq 0 ] || shift
place=$PWD/build/fuzz
mkdir -p "$place/corpus"
python -c 'import atheris' 2>/dev/null || python -m pip install -q atheris
if ! command -v clang >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends clang libclang-rt-dev llvm >/dev/null
fi

# Without OpenMP, whose threads would make the coverage a matter of chance.
export ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1 UBSAN_OPTIONS=print_stacktrace=1
if [ ! -e "$place/built" ] || [ -n "$(find csrc src setup.py -newer "$place/built" -type f)" ]; then
    rm -rf "$place/site"
    cat >"$place/cc" <<'END'
#!/bin/sh
exec ${CCACHE:-} clang "$@" -O1 -g -fsanitize=fuzzer-no-link,address,undefined \
    -fno-sanitize-recover=all -fno-omit-frame-pointer
END
    chmod +x "$place/cc"
    CCACHE=$(command -v ccache || true) CC=$place/cc FASTSOFTMAX_OPENMP=0 \
        FASTSOFTMAX_DEBUG=1 FASTSOFTMAX_REQUIRE_EXTENSION=1 \
        python -m pip install -q --no-deps --target "$place/site" .
    touch "$place/built"
fi

export PYTHONPATH=$place/site FASTSOFTMAX_RECYCLE_BYTES=0 FASTSOFTMAX_BACKEND=compiled
runtime=$(python -c 'import atheris; print(atheris.path())')/asan_with_fuzzer.so
cd "$place"
LD_PRELOAD=$runtime exec python "$OLDPWD/tools/fuzz.py" -max_total_time="$seconds" -max_len=4096 \
    -len_control=0 -timeout=60 -print_final_stats=1 "$@" "$place/corpus"
