#!/usr/bin/env bash
# The C of the package on systems that a Linux machine can stand in for: csrc and the C test program,
# on every instance of this machine, without OpenMP.
#
#   tools/test_systems.sh musl|windows [ARGUMENT...]    the arguments go to the test program
#
# musl: another C library, by musl-gcc. windows: its calling convention and 32-bit `long`, compiled
# by clang (Windows' gcc does not keep the stack aligned for AVX: GCC bug 54412), run by Wine. There
# fma is taken from ucrtbase.dll, as MSVC takes it: that of mingw-w64 does not round correctly, and
# states that are joined (csrc/state.c, compiled for the baseline) would differ in their last bits.
#
# What is missing apt-get installs (as root): for Windows some 700 MB.
set -euo pipefail
cd "$(dirname "$0")/.."

wine=/usr/lib/wine
system=${1:?musl or windows}
shift
case $system in
musl) cc=(musl-gcc) packages=(musl-tools) needs=(/usr/bin/musl-gcc) ;;
windows)
    cc=(clang --target=x86_64-w64-mingw32 -D__USE_MINGW_ANSI_STDIO=1)
    packages=(clang lld wine64 gcc-mingw-w64-x86-64)
    needs=(/usr/bin/clang /usr/bin/ld.lld "$wine/wine64" /usr/bin/x86_64-w64-mingw32-dlltool)
    ;;
*) echo "$system: expected musl or windows" >&2 && exit 2 ;;
esac
for file in "${needs[@]}"; do
    [ -x "$file" ] && continue
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq
    apt-get install -y -qq --no-install-recommends "${packages[@]}" >/dev/null
    break
done

folder=$(mktemp -d)
export WINEPREFIX=$folder/wine WINEDEBUG=-all
trap '[ ! -d "$WINEPREFIX" ] || $wine/wineserver -k -w || true; rm -rf "$folder"' EXIT

# The flags of setup.py; -O2 compiles in half the time.
flags=(-std=c11 -O2 -ffp-contract=off -fno-math-errno -fno-tree-slp-vectorize -Wall -Wextra
    -Wpedantic -Werror -DFS_HAVE_AVX2=1 -DFS_HAVE_AVX512=1 -DFS_OPENMP_NOTE='""' -Icsrc)
avx2=(-mavx2 -mfma)
avx512=(-mavx512f -mavx512dq -mavx512bw -mavx512vl -mfma -mprefer-vector-width=512)

compile() { # FLAG... -- SOURCE...
    local extra=() source
    while [ "$1" != -- ]; do extra+=("$1") && shift; done
    shift
    for source in "$@"; do
        "${cc[@]}" "${flags[@]}" "${extra[@]}" -c "$source" -o "$folder/${source//\//_}.o"
    done
}

compile -- csrc/*.c csrc/isa/scalar_*.c tests/c/selftest.c
compile "${avx2[@]}" -- csrc/isa/avx2_*.c
compile "${avx512[@]}" -- csrc/isa/avx512_*.c

if [ "$system" = musl ]; then
    musl-gcc -static "$folder"/*.o -o "$folder/selftest"
    "$folder/selftest" "$@"
else
    printf 'LIBRARY ucrtbase.dll\nEXPORTS\nfma\n' >"$folder/fma.def"
    x86_64-w64-mingw32-dlltool -d "$folder/fma.def" -l "$folder/libfma.a"
    "${cc[@]}" -fuse-ld=lld "$folder"/*.o "$folder/libfma.a" \
        -L"$(dirname "$(x86_64-w64-mingw32-gcc -print-libgcc-file-name)")" -o "$folder/selftest.exe"
    $wine/wine64 wineboot -i >/dev/null 2>&1
    $wine/wine64 "$folder/selftest.exe" "$@"
fi
