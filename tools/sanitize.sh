#!/usr/bin/env bash
# The C of the package under AddressSanitizer and UndefinedBehaviorSanitizer: builds csrc with
# tests/c/selftest.c and runs it over every instance of this machine. Any finding ends it.
#
#   tools/sanitize.sh [ARGUMENT...]     the arguments go to the test program; --bits without any
#
# Without OpenMP: gcc's sanitizers know too little of libgomp. CC names the compiler.
set -euo pipefail
cd "$(dirname "$0")/.."

read -ra cc <<<"${CC:-cc}" # it may be two words: ccache gcc
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
flags=(-std=c11 -O1 -g -ffp-contract=off -fno-math-errno -fno-omit-frame-pointer
    -fsanitize=address,undefined -fno-sanitize-recover=all
    -Wall -Wextra -Wpedantic '-DFS_OPENMP_NOTE="without"' -Icsrc)
instances=(scalar)
declare -A isa=([scalar]='')
case $("${cc[@]}" -dumpmachine) in
x86_64*)
    instances+=(avx2 avx512)
    isa[avx2]='-mavx2 -mfma'
    isa[avx512]='-mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma'
    flags+=(-DFS_HAVE_AVX2=1 -DFS_HAVE_AVX512=1)
    ;;
aarch64* | arm64*)
    instances+=(neon)
    isa[neon]=''
    flags+=(-DFS_HAVE_NEON=1)
    ;;
esac

for source in csrc/*.c tests/c/selftest.c; do
    "${cc[@]}" "${flags[@]}" -c "$source" -o "$folder/$(basename "$source").o"
done
for name in "${instances[@]}"; do
    for source in csrc/isa/"$name"_*.c; do
        # shellcheck disable=SC2086
        "${cc[@]}" "${flags[@]}" ${isa[$name]} -c "$source" -o "$folder/$(basename "$source").o"
    done
done
"${cc[@]}" "${flags[@]}" "$folder"/*.o -o "$folder/selftest" -lm -pthread
"$folder/selftest" "${@:---bits}"
