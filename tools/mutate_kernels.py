#!/usr/bin/env python3
"""Take single corrections out of the kernels and see which tests notice.

    python tools/mutate_kernels.py              some ten minutes: a table (docs/accuracy.md)
    python tools/mutate_kernels.py --quick      those of QUICK alone: some two minutes
    python tools/mutate_kernels.py NAME...

Each mutation is made in a copy of csrc, where tests/c/selftest.c and tests/c/exp_check.c are built
anew for the best instruction set of this machine; exp_check only where exponentials and logarithms
are concerned (math, simd). Exit status 1 if a mutation stays unseen, or no longer applies: then the
code it changes has moved, and it wants to be brought up to date. Values count as out of bounds by
the ULP that the contract promises (tests/c/calls.h).
"""

import argparse
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import c_programs  # noqa: E402

ROOT = c_programs.ROOT
EXP_STRIDE = "4096"
DTYPES = ("f32", "f64")

# What it means: [(file, a pattern found once or more, what takes its place)]
MUTATIONS = {
    "reduce x - max instead of x": [
        ("kernels/sweep.inc.h", r"return huge && (max - max == 0 \? max : 0;)",
         r"(void)huge; return \1"),
        ("kernels/cols.inc.h", r"v_select\(v_lt\(limit, max\), max, low\)",
         "v_select(v_lt(low, low), low, max)"),
    ],
    "the largest element in the sum: log(1 + R)": [
        ("math/finish_steps.inc.h", r"W\(sum_of_two\)\(gap, s->rest\.high\)",
         "W(pair)(W(sub)(W(add)(s->own.high, s->rest.high), P.high), W(set1)(0.0))"),
        ("math/finish_steps.inc.h", r"W\(add\)\(W\(sub\)\(s->own\.high, P\), s->rest\.high\)",
         "W(sub)(W(add)(s->own.high, s->rest.high), P)"),
    ],
    "the logarithm: its large terms without what they lose": [
        ("math/finish_steps.inc.h", r"low = W\(add\)\(first, rest\)", "low = ((void)first, rest)"),
    ],
    "the logarithm: its quotient in one number": [
        ("math/finish_steps.inc.h", r"W\(mul\)\(t, z\), q, t_low\)",
         "W(mul)(t, z), q, W(mul)(t_low, W(set1)(0.0)))"),
    ],
    "the float64 exponential without its leaning": [
        ("math/finish_constants.h", r"EXP_LEAN_F64 .*", "EXP_LEAN_F64 0.0"),
    ],
    "the float64 exponential: whole numbers with what stands after the point": [
        ("math/format_f64.h", r"return v_whole\(t\);", "return t;"),
    ],
    "no LN2_LOW": [
        ("math/exp.inc.h", r"r = v_fnma\(k, v_set1\(\(real\)LN2_LOW\), r\);", ""),
        ("math/exp.inc.h", r"r\[i\] = v_fnma\(k\[i\], v_set1\(\(real\)LN2_LOW\), r\[i\]\);", ";"),
    ],
    "no correction of the table of powers": [
        ("math/format_f32.h", r"\*r = v_add\(\*r, v_lookup\(exp_step_error, t\)\);", "(void)r;"),
    ],
    "a degree less in float32": [
        ("math/format_f32.h", r"v_fma\(v_set1\(EXP_C4\), r, v_set1\(EXP_C3\)\)", "v_set1(EXP_C3)"),
    ],
    "a degree less in float64": [
        ("math/format_f64.h", r"v_fma\(v_set1\(EXP_F64_C11\), r, v_set1\(EXP_F64_C10\)\)",
         "v_set1(EXP_F64_C10)"),
    ],
    "the sum without its error": [
        ("kernels/sums.inc.h", r"column->error = v_add\(column->error, .*;", ""),
    ],
    "the sum of the terms as they were rounded": [
        ("kernels/sums.inc.h", r"v_fma\(e\.w, e\.power, v_sub\(e\.power, u\)\)", "v_sub(t, u)"),
    ],
    "the factor without its low part": [
        ("kernels/block.inc.h", r"v_fma\(term, high, v_mul\(term, low\)\)",
         "((void)low, v_mul(term, high))"),
    ],
    "log_softmax: the distance without its low part": [
        ("kernels/block.inc.h", r"v_add\(v_add\(x, high\), low\)",
         "((void)low, v_add(x, high))"),
    ],
    "logsumexp: the logarithm without its low part": [
        ("kernels/logsumexp.inc.h", r"plus_wide\(max, ratio\)", "max + ratio.high"),
        ("kernels/cols_softmax.inc.h", r"d_plus_wide\(max, ratio\)", "d_add(max, ratio.high)"),
    ],
    "side by side: the pivot stays in the sum": [
        ("kernels/cols_sums.inc.h", r"v_select\(v_eq\(pivot, .*\), v_set1\(0\), (.*)\);", r"\1;"),
        ("kernels/cols_cross_entropy.inc.h", r"v_store\(tile \+ j \* V_LANES, other\);", ""),
        ("kernels/cols.inc.h", r"tile\[out->at\[l\]\] = \(real\)-INFINITY;", ""),
    ],
    "side by side: K from the pivot": [
        ("kernels/cols.inc.h", r"v_max\(v_select\(here, none, x\), max\)", "v_max(x, max)"),
        ("kernels/cols.inc.h", r"v_max\(v_min\(found\.max, x\), found\.others\)",
         "v_max(found.max, x)"),
        ("kernels/cols_cross_entropy.inc.h", r"v_max\(other, max\)", "v_max(x, max)"),
    ],
    "side by side: columns joined without what their sums lose": [
        ("kernels/cols_sums.inc.h", r"d_add\(error, pair\.low\)", "error"),
        ("kernels/cols_sums.inc.h", r"d_add\((d_add\(lost.*\)), pair\.low\)", r"\1"),
    ],
    "the tile: the last vector of a strip is read a lane short": [
        ("kernels/tile.inc.h", r"v_load_part\(x \+ l \* step \+ at, left,",
         "v_load_part(x + l * step + at, left - (left > 1),"),
    ],
    "the tile: odd rows beside whole vectors lose one": [
        ("kernels/tile.inc.h", r"v_load_part\(x \+ whole \* V_LANES, part,",
         "v_load_part(x + whole * V_LANES, part - 1,"),
    ],
    "mixed losses: a coefficient without its low part": [
        ("kernels/cross_entropy_mixed.inc.h", r"v_fma\(part, w, v_sub\(zero, share\)\)", "zero"),
    ],
    "mixed losses: the end in one number": [
        ("kernels/mixed_rows.inc.h", r"losses\.loss\[l\], losses\.low\[l\]",
         "losses.loss[l], 0.0"),
        ("kernels/cols_mixed.inc.h", r"const (d_wide distance = loss_of_targets\(.*\);)",
         r"\1 distance.low = d_set1(0.0);"),
    ],
    "mixed losses: class weights in the precision of the logits": [
        ("kernels/cross_entropy_mixed.inc.h", r"q->weight_low \? \(double\)q->weight_low\[c\]",
         "0 ? 0.0"),
        ("kernels/cols_mixture.inc.h", r"if \(!a->weight_low\)\n", "if (1)\n"),
    ],
    "softmax_backward: the sum without its low part": [
        ("kernels/backward.inc.h", r"v_mul\(y, less\.low\)", "v_set1(0)"),
    ],
    "a mean: its sum rounded before it is divided": [
        ("losses.c", r"fma\(-mean, divisor, total\.high\) \+ total\.low",
         "fma(-mean, divisor, total.high)"),
    ],
    "mixed losses side by side: the gaps of a class short": [
        ("kernels/cols_mixture.inc.h", r"j < n; j \+= COLUMNS\) \{\n( *const v_t gap)",
         r"j + 1 < n; j += COLUMNS) {\n\1"),
    ],
    "a row on several threads: its last piece is not joined": [
        ("kernels/pieces.inc.h", r"(int64_t i = 1; i) < pieces->count; i\+\+",
         r"\1 + 1 < pieces->count; i++"),
    ],
    "a row on several threads: the target's piece forgets where it is": [
        ("kernels/pieces.inc.h", r"index < begin \+ n \? index - begin",
         "index < begin + n ? NO_PIVOT"),
    ],
    "blocks joined without their powers of two": [
        ("kernels/sweep.inc.h", r"wide_scale\(b->sum, power_of_two\(.*\)\)\);", "b->sum);"),
    ],
    "results past the caches: the last vector is not written": [
        ("kernels/scale.inc.h", r"if \(j < n\)\n( *scale_part)", r"if (j < n && !stream)\n\1"),
    ],
    "cross-entropy: the target stays in the sum": [
        ("kernels/block.inc.h", r"lanes\[lane\] = 0;", "(void)lane;"),
    ],
    "gradient at the target as p - 1": [
        ("kernels/cross_entropy.inc.h", r"own = 0\.0 - ((?:scale_by_power|terms->rest).*);",
         r"own = (1.0 - \1) - 1.0;"),
        ("kernels/cols_cross_entropy.inc.h", r"d_sub\(d_set1\(0\.0\), (own_share\(.*\))\);",
         r"d_sub(d_sub(d_set1(1.0), \1), d_set1(1.0));"),
    ],
    "states: logsumexp without the logarithm's low part": [
        ("state.c", r"plus_wide\(max, distance\)", "max + distance.high"),
    ],
    "states joined: the smaller of the largest logits is lost": [
        ("state.c", r"sum = scaled_add\(sum, scaled_normal\(.*\)\);", "(void)e;"),
    ],
    "K from the pivot": [
        ("kernels/extremes.inc.h", r"if \(!\(x\[pivot\] < e\.max\)\)", "if (0)"),
        ("kernels/extremes.inc.h", r"larger\(largest\(&others\), second\), place", "max, place"),
    ],
    "a block longer by one group on one instruction set": [
        ("math/format_f32.h", r"#define BLOCK 2048", "#define BLOCK (V_LANES > 1 ? 2112 : 2048)"),
    ],
    "the masked load of one instruction set reads a lane too few": [
        ("simd/avx2_f32.h", r"_mm256_cmpgt_epi32\(_mm256_set1_epi32\(\(int\)count\)",
         "_mm256_cmpgt_epi32(_mm256_set1_epi32((int)count - (count > 6))"),
        ("simd/avx512_f32.h", r"_mm512_mask_loadu_ps\(rest, v_first_lanes\(count\)",
         "_mm512_mask_loadu_ps(rest, v_first_lanes(count - (count > 6))"),
    ],
}  # fmt: skip


# Sums are exact far below an ULP, so that the order of joining their columns has no effect: shown
# by its changing no bit but of float32's states, which hold the sum itself, a float64, and of one
# loss of soft targets that lies in the middle between two float32.
BY_ORDER = {"state float32", "joined_state float32", "soft_nll float32"}
HARMLESS = {
    "columns joined in another order by one instruction set": [
        ("kernels/sums.inc.h", r"sum\[i\] \+= sum\[i \+ half\];",
         "if (V_LANES > 1) sum[i] = sum[2 * i] + sum[2 * i + 1]; else sum[i] += sum[i + half];"),
    ],
    "(none)": [],
}  # fmt: skip


QUICK = [
    "(none)",
    "reduce x - max instead of x",
    "the largest element in the sum: log(1 + R)",
    "the sum without its error",
    "gradient at the target as p - 1",
    "K from the pivot",
    "results past the caches: the last vector is not written",
]


def mutate(csrc, changes):
    for name, pattern, replacement in changes:
        path = csrc / name
        text, count = re.subn(pattern, replacement, path.read_text())
        if count == 0:
            raise LookupError(f"{name}: nothing like {pattern}")
        path.write_text(text)


class Builder:
    """Compiles in one folder, what is as it was before only once."""

    def __init__(self, folder, isa):
        self.folder = folder
        self.compiler = c_programs.find_compiler()
        common, table = c_programs.setup_tables()
        self.flags = [*common, "-O1", "-w", "-pthread", "-fopenmp", "-I", f"{folder}/csrc"]
        self.isa = isa or "scalar"
        self.own = table[isa]["unix"] if isa else []
        if isa:
            self.flags.append(f"-DFS_HAVE_{isa.upper()}=1")

    def compile(self, source, *flags):
        """The object of a source, named by what the preprocessor makes of it."""
        command = [*self.compiler, *self.flags, *flags, str(source)]
        text = subprocess.run([*command, "-E", "-P"], capture_output=True, check=True).stdout
        target = self.folder / f"{source.stem}.{hashlib.sha256(text).hexdigest()[:16]}.o"
        if not target.exists():
            c_programs.run([*command, "-c", "-o", str(target)])
        return str(target)

    def build(self, with_exp):
        """selftest and, if asked for, exp_check of either dtype, from csrc."""
        folder = self.folder
        jobs = [(source,) for source in
                (*(folder / "csrc").glob("*.c"), folder / "tests/c/selftest.c",
                 *(folder / "csrc/isa").glob("scalar_*.c"))]  # fmt: skip
        if self.isa != "scalar":
            jobs += [(p, *self.own) for p in (folder / "csrc/isa").glob(f"{self.isa}_*.c")]
        checks = [(folder / "tests/c/exp_check.c", *self.own, f'-DINSTANCE="isa/{self.isa}_{d}.c"')
                  for d in DTYPES if with_exp]  # fmt: skip
        with ThreadPoolExecutor(2) as pool:
            objects = list(pool.map(lambda job: self.compile(*job), jobs + checks))
        self.link(objects[: len(jobs)], "selftest")
        for dtype, check in zip(DTYPES, objects[len(jobs) :], strict=False):
            self.link([check], f"exp_{dtype}")

    def link(self, objects, name):
        c_programs.run([*self.compiler, *objects, "-fopenmp", "-pthread", "-lm", "-o",
                        f"{self.folder}/{name}"])  # fmt: skip


def judge(folder, isa, with_exp):
    """What the tests say: the worst values that are out of bounds, exponentials that are, whether a
    way of calling changes bits, and whose hashes are wrong."""
    # threads that wait at work would be at the compiler's expense
    out = subprocess.run([f"{folder}/selftest", "--isa", isa], capture_output=True, text=True,
                         env={**os.environ, "OMP_WAIT_POLICY": "passive"}).stdout  # fmt: skip
    table = (folder / "tests/c/calls.h").read_text()
    bounds = re.findall(r'{"(\w+)", FS_\w+, FS_\w+, {([\d.]+), ([\d.]+)}', table)
    bounds = {(op, f"float{bits}"): float(ulp) for op, single, double in bounds
              for bits, ulp in ((32, single), (64, double))}  # fmt: skip
    worst = {}
    line = r"^\w+ +(\w+) (\w+) +[0-9a-f]{16} +([\d.infa]+) ULP"
    for dtype, op, ulp in re.findall(line, out, re.M):
        if not float(ulp) <= bounds[op, dtype]:
            worst[f"{op} {dtype}"] = max(float(ulp), worst.get(f"{op} {dtype}", 0))
    values = [f"{what} {ulp:.3g}" for what, ulp in sorted(worst.items(), key=lambda w: -w[1])]
    ways = len(re.findall(r"^FAILED .*: (?!value)\w[\w ]* at", out, re.M))
    exps = [subprocess.run([f"{folder}/exp_{dtype}", EXP_STRIDE], capture_output=True, text=True)
            for dtype in DTYPES if with_exp]  # fmt: skip
    exps = [re.search(r"^(.*?)  .*worst (\S+)", line) for done in exps
            for line in done.stdout.splitlines() if "OUT OF BOUNDS" in line]  # fmt: skip
    exps = [f"{found[1].strip()} {found[2]}" for found in exps]
    wrong = re.findall(r"^\w+ +(\w+) (\w+) .*WRONG BITS", out, re.M)
    return values, exps, ways, [f"{op} {dtype}" for dtype, op in wrong]


def one(name, changes, builder):
    folder = builder.folder
    for part in ("csrc", "tests/c"):
        shutil.rmtree(folder / part, ignore_errors=True)
        shutil.copytree(ROOT / part, folder / part)
    mutate(folder / "csrc", changes)
    with_exp = not changes or any(file.startswith(("math/", "simd/")) for file, *_ in changes)
    builder.build(with_exp)
    values, exps, ways, wrong = judge(folder, builder.isa, with_exp)
    seen = "; ".join(values[:2]) + (f"; {len(values) - 2} more" if len(values) > 2 else "")
    print(f"| {name} | {seen or '-'} | {'; '.join(exps) or '-'} | "
          f"{'differ' if ways else '-'} | {len(wrong)} |", flush=True)  # fmt: skip
    return values or exps or ways or not set(wrong) <= (BY_ORDER if name in HARMLESS else set())


def main():
    everything = {**HARMLESS, **MUTATIONS}
    parser = argparse.ArgumentParser(
        description=__doc__, epilog="NAMEs:\n  " + "\n  ".join(everything),
        formatter_class=argparse.RawDescriptionHelpFormatter)  # fmt: skip
    parser.add_argument("names", nargs="*", metavar="NAME", help="of a mutation; all without any")
    parser.add_argument("--quick", action="store_true", help="a handful")
    options = parser.parse_args()
    names = options.names or (QUICK if options.quick else everything)
    unknown = [name for name in names if name not in everything]
    if unknown:
        parser.error(f"no such mutation: {', '.join(unknown)}")
    with open("/proc/cpuinfo") as file:
        flags = file.read().split()
    best = next((isa for isa, flag in (("avx512", "avx512vl"), ("avx2", "avx2")) if flag in flags),
                None)  # fmt: skip
    print("| mutation | ULP out of bounds | exp_check, ULP | ways of calling | hashes |")
    print("|---|---|---|---|---|")
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        builder = Builder(Path(folder), best)
        for name in names:
            try:
                seen = one(name, everything[name], builder)
            except LookupError as error:
                print(f"| {name} | DOES NOT APPLY: {error} | | | |")
                wrong.append(name)
                continue
            if bool(seen) != (name in MUTATIONS):
                wrong.append(name)
    if wrong:
        print(f"NOT AS EXPECTED: {', '.join(wrong)}")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
