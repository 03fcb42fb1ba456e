#!/usr/bin/env bash
# No AVX code outside the AVX instances: the module has to load, and to choose, on any processor.
#
#   tools/check_baseline.sh BUILD_TEMP      the folder with the objects of an x86-64 build
#
# Looks into every object but csrc/isa/avx*: none may use a ymm or zmm register, a mask register
# or a VEX- or EVEX-encoded instruction (in objdump's spelling: a mnemonic that starts with v).
set -euo pipefail

folder=${1:?usage: tools/check_baseline.sh BUILD_TEMP}
mapfile -t objects < <(find "$folder" -name '*.o' ! -path '*/isa/avx*' | sort)
if [ "${#objects[@]}" -lt 3 ]; then
    echo "check_baseline: hardly any objects under $folder" >&2
    exit 1
fi

bad=0
for object in "${objects[@]}"; do
    # Of system instructions verr and verw start with v too; compiled C has none of them.
    found=$(objdump -d --no-show-raw-insn "$object" |
        awk -F'\t' '/^ *[0-9a-f]+:/ && ($2 ~ /^v[a-z]/ || $0 ~ /%[yz]mm|%k[0-7]/)')
    if [ -n "$found" ]; then
        bad=1
        echo "check_baseline: AVX code in $object:" >&2
        head -5 <<<"$found" >&2
    fi
done
[ "$bad" = 0 ] && echo "check_baseline: ${#objects[@]} baseline objects hold no AVX code"
exit "$bad"
