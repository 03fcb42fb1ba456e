#!/usr/bin/env bash
# The NEON instances on a machine without NEON: cross-compiles csrc and the C test program for
# aarch64, OpenMP included, and runs it under qemu.
#
#   tools/test_neon.sh [ARGUMENT...]        the arguments go to the test program
#
# Without any: --bits, a minute and a half. The hashes are those of x86-64, where the same program
# measures the values too; to have them measured here again, --full (twice as long).
#
# Where the cross-compiler or qemu is missing, apt-get installs it (as root).
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v aarch64-linux-gnu-gcc >/dev/null || ! command -v qemu-aarch64-static >/dev/null ||
    [ ! -e /usr/aarch64-linux-gnu/include/stdio.h ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends \
        gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static >/dev/null
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# The flags of setup.py; strict, as everywhere in CI.
flags=(-std=c11 -O3 -ffp-contract=off -fno-math-errno -fno-tree-slp-vectorize -fvisibility=hidden
    -Wall -Wextra -Wpedantic -Werror -DFS_HAVE_NEON=1 '-DFS_OPENMP_NOTE="found: -fopenmp"' -Icsrc)
aarch64-linux-gnu-gcc "${flags[@]}" -fopenmp -pthread \
    csrc/*.c csrc/isa/scalar_*.c csrc/isa/neon_*.c tests/c/selftest.c -o "$folder/selftest" -lm

OMP_NUM_THREADS=${OMP_NUM_THREADS:-2} \
    qemu-aarch64-static -L /usr/aarch64-linux-gnu "$folder/selftest" "${@:---bits}"
