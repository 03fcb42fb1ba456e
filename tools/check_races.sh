#!/usr/bin/env bash
# Data races: csrc with OpenMP under ThreadSanitizer, several threads calling at once, each with
# threads of its own (tests/c/race_check.c). Any finding ends it.
#
#   tools/check_races.sh         two minutes
#
# clang, its OpenMP and Archer, which tells ThreadSanitizer what that runtime's barriers order; gcc's
# reports false races, since libgomp tells it nothing. Where they are missing, apt-get installs them
# (as root). csrc/recycle.c is tools/check_recycle.sh's.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v clang >/dev/null || [ -z "$(find /usr/lib/llvm-*/lib -name libarcher.so 2>/dev/null)" ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends clang libclang-rt-dev libomp-dev llvm >/dev/null
fi

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
flags=(-std=c11 -O1 -g -ffp-contract=off -fno-math-errno -fsanitize=thread -fopenmp
    -Wall -Wextra -Wpedantic -Werror '-DFS_OPENMP_NOTE="found: -fopenmp"' -Icsrc)
declare -A isa=([scalar]='')
if [ "$(uname -m)" = x86_64 ]; then
    isa[avx2]='-mavx2 -mfma'
    isa[avx512]='-mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma'
    flags+=(-DFS_HAVE_AVX2=1 -DFS_HAVE_AVX512=1)
else
    isa[neon]=''
    flags+=(-DFS_HAVE_NEON=1)
fi
jobs_of() {
    local source name
    for source in csrc/*.c tests/c/race_check.c; do
        echo "clang ${flags[*]@Q} -c $source -o $folder/$(basename "$source").o"
    done
    for name in "${!isa[@]}"; do
        for source in csrc/isa/"$name"_*.c; do
            echo "clang ${flags[*]@Q} ${isa[$name]} -c $source -o $folder/$(basename "$source").o"
        done
    done
}
jobs_of | tr '\n' '\0' | xargs -0 -P "$(nproc)" -I{} bash -c '{}'
clang -fsanitize=thread -fopenmp "$folder"/*.o -o "$folder/race_check" -lm -pthread

export OMP_NUM_THREADS=3 ARCHER_OPTIONS=${ARCHER_OPTIONS:-verbose=1}
export TSAN_OPTIONS=halt_on_error=1:ignore_noninstrumented_modules=1
"$folder/race_check"
echo "check_races: nothing found"
