#!/usr/bin/env bash
# The AVX-512 instances on a machine that has AVX2 only: their intrinsics are compiled with SIMDe's
# definitions (tests/c/avx512_emulated/immintrin.h), and the C test program compares the hashes.
#
#   tools/test_avx512_emulated.sh [ARGUMENT...]        the arguments go to the test program
#
# Without any: --bits, half a minute. It shows that csrc/simd/avx512_*.h say what the other
# vocabularies say; not that a compiler translates AVX-512 rightly (tests/test_selftest.py does, on a
# machine with it), and nothing about speed. An intrinsic that SIMDe does not have stops the
# compiler ("target specific option mismatch"): define it in that header.
#
# Where SIMDe is missing, apt-get installs it (as root).
set -euo pipefail
cd "$(dirname "$0")/.."

if [ ! -e /usr/include/simde/x86/avx512.h ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends libsimde-dev >/dev/null
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cc=${CC:-gcc}
flags=(-std=c11 -O3 -ffp-contract=off -fno-math-errno -fno-tree-slp-vectorize -Wall -Wextra -Wpedantic -Werror -Wno-psabi
    -DFS_HAVE_AVX512=1 '-DFS_OPENMP_NOTE="found: -fopenmp"' -Icsrc)
emulation=(-mavx2 -mfma -isystem tests/c/avx512_emulated)

compile() { # OBJECT FLAG... SOURCE
    local object=$1
    shift
    $cc "${flags[@]}" "$@" -c -o "$folder/$object.o"
}

for source in csrc/*.c csrc/isa/scalar_*.c; do
    [ "$source" = csrc/cpu.c ] || compile "$(basename "$source")" -fopenmp "$source"
done
compile cpu tests/c/avx512_emulated/cpu.c
compile selftest tests/c/selftest.c
compile avx512_f32 "${emulation[@]}" csrc/isa/avx512_f32.c &
compile avx512_f64 "${emulation[@]}" csrc/isa/avx512_f64.c
wait "$!"
$cc -fopenmp -pthread "$folder"/*.o -o "$folder/selftest" -lm
OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} "$folder/selftest" "${@:---bits}"
