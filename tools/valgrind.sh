#!/usr/bin/env bash
# The Python tests under valgrind's memcheck: reads of memory that nothing has written, which
# AddressSanitizer does not see. Exit status 9 if there is one.
#
#   tools/valgrind.sh [ARGUMENT...]     a C program over every op and way of calling; then, with
#                                       arguments, pytest with these: minutes, most of them imports
#
# The AVX2 and scalar instances, as they are shipped: valgrind 3.19 stops at AVX-512. For Python it
# wants an environment with the test extra and the package built in place (make build). Where
# valgrind is missing, apt-get installs it (as root).
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v valgrind >/dev/null; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends valgrind libc6-dbg >/dev/null
fi
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
flags=(-std=c11 -O3 -g -ffp-contract=off -fno-math-errno -fno-tree-slp-vectorize -fopenmp
    '-DFS_OPENMP_NOTE="found: -fopenmp"' -DFS_HAVE_AVX2=1 -Icsrc)
for isa in scalar avx2; do
    for source in csrc/isa/"$isa"_*.c; do
        own=()
        [ $isa = scalar ] || own=(-mavx2 -mfma)
        gcc "${flags[@]}" "${own[@]}" -c "$source" -o "$folder/$(basename "$source").o"
    done
done
gcc "${flags[@]}" csrc/*.c tests/c/race_check.c "$folder"/*.o -o "$folder/race_check" -lm -pthread
valgrind -q --error-exitcode=9 --leak-check=full --show-leak-kinds=definite \
    --errors-for-leak-kinds=definite \
    "$folder/race_check"
echo "valgrind: nothing found in C"
[ $# -gt 0 ] || exit 0

export FASTSOFTMAX_MAX_ISA=avx2 FASTSOFTMAX_BACKEND=compiled FASTSOFTMAX_RECYCLE_BYTES=0
export PYTHONMALLOC=malloc PYTHONPATH=$PWD/src${PYTHONPATH:+:$PYTHONPATH} OMP_NUM_THREADS=2
report=$folder/report.xml
status=0
valgrind -q --xml=yes --xml-file="$report" --child-silent-after-fork=yes \
    --error-limit=no --leak-check=no \
    python -m pytest -q --capture=sys -p no:cacheprovider "$@" || status=$?

# Python and the loader do things that valgrind does not like. What counts is an error with the
# extension anywhere on the stack, or that NumPy or the OpenMP runtime shows: of bytes it was given.
python - "$report" <<'END'
import re, sys
from xml.etree import ElementTree

root = ElementTree.parse(sys.argv[1]).getroot()
ours, others = [], 0
for error in root.iter("error"):
    if error.findtext("kind", "").startswith("Leak"):
        continue
    frames = [(frame.findtext("obj", ""), frame.findtext("fn", "?")) for frame in error.iter("frame")]
    first = next((obj for obj, _ in frames if not re.search(r"/libc\.|/vgpreload", obj)), "")
    if any("fastsoftmax" in obj for obj, _ in frames) or re.search("_multiarray|libgomp", first):
        ours.append((error.findtext("kind"), frames))
    else:
        others += 1
for kind, frames in ours:
    print(kind, *(f"    {fn}  {obj}" for obj, fn in frames[:12]), sep="\n")
print(f"valgrind: {len(ours)} errors in the extension, NumPy and OpenMP ({others} of Python's own)")
sys.exit(9 if ours else 0)
END
exit "$status"
