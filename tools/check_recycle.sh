#!/usr/bin/env bash
# csrc/recycle.c under sanitizers, with pages from mmap and, as on Windows, from malloc: runs
# tests/c/recycle_check.c in six threads, some of it with forks. Any finding ends it.
#
#   tools/check_recycle.sh        CC names the compiler
set -euo pipefail
cd "$(dirname "$0")/.."

read -ra cc <<<"${CC:-cc}" # it may be two words: ccache gcc
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

check() { # SANITIZERS ROUNDS FORKS FLAG...
    local sanitizers=$1 rounds=$2 forks=$3
    shift 3
    "${cc[@]}" -std=c11 -O1 -g -fno-omit-frame-pointer "-fsanitize=$sanitizers" \
        -fno-sanitize-recover=all -Wall -Wextra -Wpedantic -Werror -Icsrc "$@" \
        csrc/recycle.c csrc/pages.c tests/c/recycle_check.c -o "$folder/check" -pthread
    "$folder/check" "$rounds" "$forks"
    echo "check_recycle: $sanitizers, $rounds rounds, $forks forks${1:+, $1}: nothing found"
}

check address,undefined 1000 40
check address,undefined 1000 40 -DFS_NO_MMAP
check thread 60 0 # it marks every page that comes and goes: slow
check thread 60 0 -DFS_NO_MMAP
