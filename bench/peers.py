"""Races ours beside every installed peer, and holds it against the machine's limits.

Every setting (dtype, number of threads) runs in a process of its own that may use that many
processors, the first ones that this one may use (taskset chooses others): so libraries that take
as many threads as there are processors race on as many as ours, and none meets another's settings.
"""

import argparse
import json
import multiprocessing
import os
import platform
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from glob import glob
from pathlib import Path

import cases
import libraries
import limits
import report
from race import race_case

import fastsoftmax
from fastsoftmax._bench_table import check_writable, write_json
from fastsoftmax._threads import allowed_cpus

SECONDS, QUICK_SECONDS = 2.0, 0.05


def parse(arguments=None):
    parser = argparse.ArgumentParser(prog="bench/peers.py", description=__doc__.partition("\n")[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="few and small cases, a moment each")
    add("--sweep", action="store_true",
        help=f"classes from 2 to {cases.SWEEP_ELEMENTS:,} for as many logits: for plot.py")
    add("--case", nargs="+", metavar="SHAPE", type=shape,
        help="such as 1024x1000, or 8x21x512x512@1 with the class axis (default: "
             f"{' '.join(cases.NAMES)})")
    add("--op", nargs="+", choices=libraries.OPERATIONS, default=list(libraries.OPERATIONS))
    add("--mode", nargs="+", choices=("fresh", "out"), default=["fresh", "out"],
        help="a fresh result each call, or out= (default: both)")
    add("--peers", nargs="*", choices=tuple(libraries.PEERS),
        help="default: all that are installed")
    add("--dtype", nargs="+", choices=("float32", "float64"), default=["float32", "float64"])
    add("--threads", nargs="+", type=int, default=sorted({1, min(2, allowed_cpus())}),
        help="numbers of threads (default: 1, and 2 where there are two processors)")
    add("--seconds", type=float, help=f"a race (default: {SECONDS}; {QUICK_SECONDS} with --quick)")
    add("--json", metavar="FILE", help="write everything measured to FILE")
    add("--markdown", metavar="FILE", help=f"replace what stands between {report.BEGIN} and "
                                           f"{report.END} in FILE by this run's tables")
    add("--readme", metavar="FILE", help="the same by one table, that of README.md")
    add("--from", metavar="FILE", nargs="+", dest="sources",
        help="race nothing: take the FILEs, from --json")
    options = parser.parse_args(arguments)
    check(parser, options)
    return options


def shape(text):
    try:
        case = cases.case_of(text)
        if min(case.shape) > 0 and -1 <= case.axis < len(case.shape):
            return case
    except ValueError:
        pass
    raise argparse.ArgumentTypeError(f"{text!r} is no shape like 1024x1000 or 8x21x64x64@1")


def check(parser, options):
    """Everything that would fail after the work, before it."""
    check_writable(options.json)
    for name in ("markdown", "readme"):
        path = getattr(options, name)
        if path and not (os.path.exists(path) and report.has_marks(path)):
            parser.error(f"--{name}: {path} lacks {report.BEGIN} and {report.END}")
    for threads in options.threads:
        if not 1 <= threads <= allowed_cpus():
            parser.error(f"--threads: {threads}, expected 1 to {allowed_cpus()}, the processors "
                         "that this process may use")
    missing = [name for name in options.peers or () if not libraries.is_installed(name)]
    if missing:
        parser.error(f"--peers: not installed: {', '.join(missing)}")


def main(arguments=None):
    options = parse(arguments)
    content = joined(options.sources) if options.sources else run(options)
    print(f"\n{report.summary_text(content['rows'])}")
    if options.json:
        write_json(options.json, {**content, "summary": dict(report.summaries(content["rows"]))})
    if options.markdown:
        report.replace_between_marks(options.markdown, report.markdown(content))
    if options.readme:
        report.replace_between_marks(options.readme, report.readme(content))


def joined(paths):
    """The first run, with the rows of all."""
    contents = [json.loads(Path(path).read_text(encoding="utf-8")) for path in paths]
    return {**contents[0], "rows": [row for content in contents for row in content["rows"]],
            "others": max(content["others"] for content in contents)}


def run(options):
    start, before = time.perf_counter(), others_seconds()
    names = [name for name in libraries.PEERS if libraries.is_installed(name)] \
        if options.peers is None else options.peers
    machine = describe_machine()
    print(f"fastsoftmax {fastsoftmax.__version__}, kernels {machine['isa']}, {machine['cpu']}, "
          f"{machine['cpus']} processors; peers: {', '.join(names) or 'none'}")
    rows, measured = [], {}
    for dtype in options.dtype:
        for threads in options.threads:
            found = in_own_process(race_setting, threads, options, dtype, threads, names)
            rows += found["rows"]
            measured = found["limits"]
    absent = report.absent_text(rows)
    print(f"\n{absent}\n" if absent else "", end="")
    seconds = time.perf_counter() - start
    others = (others_seconds() - before) / seconds
    print(f"\n{seconds:.0f} s in all"
          + f", {report.disturbance(others)}" * report.is_disturbed(others))
    return {"machine": machine, "limits": measured, "sweep": options.sweep, "rows": rows,
            "others": others,
            "peers": {name: libraries.version(name) for name in names}}


def others_seconds():
    """Processor time that other programs have taken since the system began; 0 if none tells."""
    try:
        with open("/proc/stat", encoding="utf-8") as file:
            ticks = [int(text) for text in file.readline().split()[1:9]]
    except OSError:
        return 0.0
    busy = sum(ticks) - ticks[3] - ticks[4]  # the idle ones
    return busy / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])  # ours, and our children's


def in_own_process(function, processors, *arguments):
    """The result of a call in a new process, which may use so many processors."""
    mine = os.sched_getaffinity(0) if hasattr(os, "sched_setaffinity") else None
    if mine:
        os.sched_setaffinity(0, sorted(mine)[:processors])
    try:
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, context) as pool:
            return pool.submit(function, *arguments).result()
    finally:
        if mine:
            os.sched_setaffinity(0, mine)


def race_setting(options, dtype, threads, names):
    """All cases in one dtype, on so many threads."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")  # TensorFlow talks a lot at import
    entrants = {"ours": libraries.ours(dtype, threads)}
    entrants.update((name, libraries.PEERS[name](dtype, threads)) for name in names)
    helper, why = limits.build()
    cap = fastsoftmax.show_config("dicts")["isa"]["cap"]  # FASTSOFTMAX_MAX_ISA
    print(f"\n{report.title((dtype, threads, cap))}"
          + (f"; no limits: {why}" if helper is None else "") + f"\n\n{report.head()}", flush=True)
    wanted = [(operation, mode) for operation in libraries.OPERATIONS if operation in options.op
              for mode in libraries.MODES[operation] if mode in options.mode]
    seconds = options.seconds or (QUICK_SECONDS if options.quick else SECONDS)
    rows = []
    for case in chosen_cases(options):
        for row in race_case(case, wanted, dtype, threads, entrants, helper, seconds):
            print(report.line(row), flush=True)
            rows.append({**row, "cap": cap})
    return {"rows": rows, "limits": limits.describe(helper, why)}


def chosen_cases(options):
    if options.case:
        return options.case
    if options.sweep:
        return cases.QUICK_SWEEP if options.quick else cases.SWEEP
    return [cases.case_of(name) for name in cases.QUICK] if options.quick else cases.CASES


def describe_machine():
    config = fastsoftmax.show_config("dicts")
    system = " ".join(platform.platform(terse=True).split("-")[:2])  # Linux 6.12, not its build
    return {"cpu": cpu_name(), "cpus": allowed_cpus(), "caches": caches(),
            "machine": platform.machine(), "system": system,
            "python": platform.python_version(), "isa": config["isa"]["used"],
            "backend": config["backend"], "version": fastsoftmax.__version__}


def cpu_name():
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or platform.machine()


def caches():
    """{"L1 Data": "32K", ...} of the first processor, where the system tells."""
    found = {}
    for folder in sorted(glob("/sys/devices/system/cpu/cpu0/cache/index*")):
        values = []
        for name in ("level", "type", "size"):
            with open(f"{folder}/{name}", encoding="utf-8") as file:
                values.append(file.read().strip())
        found[f"L{values[0]} {values[1]}"] = values[2]
    return found


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
