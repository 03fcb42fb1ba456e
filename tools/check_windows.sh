#!/usr/bin/env bash
# The C of the package as Windows sees it: cross-compiles csrc and the C test program with
# mingw-w64, with warnings as errors, and links it. MSVC itself compiles it in CI on Windows; this
# finds what is POSIX or GNU by accident (a missing header, a `long` taken for 64 bits) anywhere.
#
#   tools/check_windows.sh
#
# Where the cross-compiler is missing, apt-get installs it (as root).
set -euo pipefail
cd "$(dirname "$0")/.."

cc=x86_64-w64-mingw32-gcc
if ! command -v $cc >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends gcc-mingw-w64-x86-64 >/dev/null
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The flags of setup.py. -O1: half the time, and the code is compiled here, not run. Windows' gcc
# does not keep the stack aligned for 32-byte registers (GCC bug 54412), so there it stays at that.
flags=(-std=c11 -O1 -ffp-contract=off -fno-math-errno -Wall -Wextra -Wpedantic -Werror
    -D__USE_MINGW_ANSI_STDIO=1 -DFS_HAVE_AVX2=1 -DFS_HAVE_AVX512=1 -DFS_OPENMP_NOTE='""' -Icsrc)
avx2=(-mavx2 -mfma)
avx512=(-mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma)

compile() { # FLAG... -- SOURCE...
    local extra=() source
    while [ "$1" != -- ]; do extra+=("$1") && shift; done
    shift
    for source in "$@"; do
        "$cc" "${flags[@]}" "${extra[@]}" -c "$source" -o "$folder/${source//\//_}.o"
    done
}

compile -- csrc/*.c csrc/isa/scalar_*.c tests/c/selftest.c
compile "${avx2[@]}" -- csrc/isa/avx2_*.c
compile "${avx512[@]}" -- csrc/isa/avx512_*.c
"$cc" "$folder"/*.o -o "$folder/selftest.exe"
echo "check_windows: $(find "$folder" -name '*.o' | wc -l) objects compiled and linked"
