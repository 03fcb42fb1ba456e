#!/usr/bin/env bash
# The exponential of every instance that runs here against long double: for float32 at every number
# that the kernels reduce, for float64 at samples and hard cases; the logarithms too.
#
#   tools/exhaustive_exp.sh [STRIDE [ISA...]]     STRIDE 1024: a second an instance instead of a minute
#
# ISAs: scalar, avx2, avx512 (each where the processor has it); emulated (AVX-512 with SIMDe, where
# that is installed) and neon (under qemu, which takes a STRIDE of some hundreds) only where named.
set -euo pipefail
cd "$(dirname "$0")/.."

stride=${1:-1}
shift || true
isas=("$@")
if [ ${#isas[@]} -eq 0 ]; then
    isas=(scalar)
    ! grep -qw avx2 /proc/cpuinfo || isas+=(avx2)
    ! grep -qw avx512vl /proc/cpuinfo || isas+=(avx512)
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
flags=(-std=c11 -O3 -ffp-contract=off -fno-math-errno -fno-tree-slp-vectorize -fopenmp -Wall -Wextra -Wpedantic -Werror
    -Wno-psabi -Icsrc)
status=0
for isa in "${isas[@]}"; do
    read -ra cc <<<"${CC:-gcc}"
    run=() instance=$isa own=()
    case $isa in
    avx2) own=(-mavx2 -mfma) ;;
    avx512) own=(-mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma) ;;
    emulated) instance=avx512 own=(-mavx2 -mfma -isystem tests/c/avx512_emulated) ;;
    neon) cc=(aarch64-linux-gnu-gcc) run=(qemu-aarch64-static -L /usr/aarch64-linux-gnu) ;;
    esac
    for dtype in f32 f64; do
        "${cc[@]}" "${flags[@]}" "${own[@]}" -DINSTANCE="\"isa/${instance}_$dtype.c\"" \
            tests/c/exp_check.c -o "$folder/check" -lm
        "${run[@]}" "$folder/check" "$stride" | sed "s/^/$(printf %-9s "$isa")/" || status=1
    done
done
exit $status
