"""Draws what peers.py measured: python bench/plot.py FILE.json [--out docs/_static]

From a sweep (peers.py --sweep): time_per_element.svg, time per logit over the number of classes,
ours beside the peers, with the limit as a line. From any other run: speedup.svg, each peer's time
over ours, case by case; and from one on several numbers of threads threads.svg, what more threads
give us and the peers. Of float64, with --dtype float64, their names end in -float64.
"""

import argparse
import json
import math
import statistics
import sys
from pathlib import Path

import figures
import matplotlib
from figures import LOSS, RC, STYLES

FARTHEST = 50  # times ours: the end of the axis
LARGE = 1_000_000  # logits, from which threads are told apart


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="bench/plot.py", description=__doc__.partition("\n")[0])
    parser.add_argument("file", help="from peers.py --json")
    parser.add_argument("--out", metavar="FOLDER", default="docs/_static",
                        help="default: docs/_static")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--threads", type=int, help="default: the most that were raced")
    parser.add_argument("--mode", default="out", choices=("fresh", "out"),
                        help="out= (default) or a fresh result; cross_entropy has fresh alone")
    options = parser.parse_args(arguments)
    with open(options.file, encoding="utf-8") as file:
        content = json.load(file)
    rows = [row for row in content["rows"] if row["dtype"] == options.dtype
            and row["cap"] == content["rows"][0]["cap"]
            and (row["mode"] == options.mode or row["operation"] == "cross_entropy")]
    if not rows:
        sys.exit(f"{options.file} has no {options.dtype} rows with mode {options.mode}")
    Path(options.out).mkdir(parents=True, exist_ok=True)
    kinds = {"time_per_element": draw_sweep} if content["sweep"] else {"speedup": draw_speedup}
    if len({row["threads"] for row in large(rows)}) > 1 and not content["sweep"]:
        kinds["threads"] = draw_threads
    with figures.plt.rc_context(RC):
        for name, draw in kinds.items():
            suffix = "" if options.dtype == "float32" else f"-{options.dtype}"
            figures.save(draw(rows, options, content), Path(options.out, f"{name}{suffix}.svg"))


def large(rows):
    return [row for row in rows if math.prod(row["shape"]) >= LARGE]


def at_most_threads(rows, options):
    threads = options.threads or max(row["threads"] for row in rows)
    rows = [row for row in rows if row["threads"] == threads]
    if not rows:
        sys.exit(f"no rows on {threads} threads")
    return rows, threads


def title(options, content, threads=None, *more):
    parts = [options.dtype, *more]
    parts += [f"{threads} thread{'s' * (threads > 1)}"] if threads else []
    parts += ["out=" if options.mode == "out" else "fresh results", content["machine"]["cpu"]]
    return ", ".join(parts)


def distinct(rows, name):
    return list(dict.fromkeys(row[name] for row in rows))


def draw_sweep(rows, options, content):
    rows, threads = at_most_threads(rows, options)
    operations = distinct(rows, "operation")
    figure, grid, spare = figures.panels(operations, 3.5, 3.0)
    handles = {}
    for axes, operation in zip(grid.flat, operations, strict=False):
        found = [row for row in rows if row["operation"] == operation]
        handles.update(draw_operation(axes, sorted(found, key=lambda row: row["shape"][-1])))
        axes.set_title(operation)
    for axes in grid.flat[max(0, len(operations) - grid.shape[1]):len(operations)]:  # the lowest
        axes.set_xlabel("classes")
        axes.tick_params(labelbottom=True)
    for axes in grid[:, 0]:
        axes.set_ylabel("ns per logit")
    figures.place_legend(figure, spare, handles)
    elements = rows[0]["shape"][0] * rows[0]["shape"][1]
    figure.suptitle(title(options, content, threads, f"{elements:,} logits"), fontsize=10)
    return figure


def draw_operation(axes, rows):
    """Lines of all who raced, ours last and above; {label: handle} for the legend."""
    handles = {}
    for name, style in reversed(STYLES.items()):
        points = [(row["shape"][-1], per_logit(row, row["us"][name]))
                  for row in rows if name in row["us"]]
        if points:
            handles[style.label] = figures.draw_line(axes, name, points)
    limits = [(row["shape"][-1], per_logit(row, row["limit_us"])) for row in rows if row["limit"]]
    if limits:
        handles["limit"] = figures.draw_bound(axes, limits)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.grid(True)
    figures.plain_ticks(axes.yaxis, (1, 2, 5))
    exponents = [n.bit_length() - 1 for n in sorted({row["shape"][-1] for row in rows})]
    shown = [2**k for k in exponents if len(exponents) < 7 or k % 4 == 0]
    axes.set_xticks(shown, [short(n) for n in shown])
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    return handles


def per_logit(row, us):
    return us * 1e3 / (row["shape"][0] * row["shape"][1])


def short(n):
    return f"{n >> 20}Mi" if n >= 1 << 20 else f"{n >> 10}Ki" if n >= 1 << 10 else str(n)


def draw_speedup(rows, options, content):
    """A panel for each operation, a line for each case: where each peer's time is, in ours."""
    rows, threads = at_most_threads(rows, options)
    cases, operations = distinct(rows, "case"), distinct(rows, "operation")
    figure, grid, spare = figures.panels(operations, 3.6, 0.24 * len(cases) + 0.8, sharey=True)
    ratios = [us / row["us"]["ours"] for row in rows for us in row["us"].values()]
    handles, least, most = {}, min(*ratios, 1) / 1.3, min(max(ratios) * 1.3, FARTHEST)
    for axes, operation in zip(grid.flat, operations, strict=False):
        found = {row["case"]: row["us"] for row in rows if row["operation"] == operation}
        for name, style in reversed(STYLES.items()):
            points = [(min(found[case][name] / found[case]["ours"], most), i)
                      for i, case in enumerate(cases) if name in found.get(case, ())]
            if points and name != "ours":
                handles[style.label] = axes.plot(
                    *zip(*points, strict=True), style.marker, color=style.color, markersize=5.5,
                    zorder=3, clip_on=False)[0]
        axes.set(xscale="log", xlim=(least, most), title=operation)
        axes.axvline(1, color=STYLES["ours"].color, linewidth=1.6, zorder=2)
        axes.axvspan(least, 1, color=LOSS, linewidth=0, zorder=0)
        axes.xaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5), numticks=12))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.xaxis.set_minor_formatter("")
        axes.tick_params(which="both", labelbottom=True, length=0, labelsize=9)
        axes.grid(True, linewidth=0.7)
    grid[0, 0].set_yticks(range(len(cases)), [spelled(case) for case in cases])
    grid[0, 0].set_ylim(len(cases) - 0.5, -0.5)
    figures.place_legend(figure, spare, handles)
    figure.supxlabel("time over fastsoftmax's: to the left of 1 we are behind" + (
        f"; at the edge: {FARTHEST} or more" if max(ratios) > FARTHEST else ""), fontsize=10)
    figure.suptitle(title(options, content, threads), fontsize=10)
    return figure


def draw_threads(rows, options, content):
    """A panel for each operation, a line for each library: the geometric mean over the larger
    cases of its time on one thread over that on several. Ours case by case behind it."""
    rows = large(rows)
    operations, threads = distinct(rows, "operation"), sorted({row["threads"] for row in rows})
    figure, grid, spare = figures.panels(operations, 3.5, 3.0, sharey=True)
    handles = {}
    for axes, operation in zip(grid.flat, operations, strict=False):
        gains = gains_by_library([row for row in rows if row["operation"] == operation], threads)
        for line in gains.get("ours", ()):
            axes.plot(threads, line, color=STYLES["ours"].color, linewidth=0.8, alpha=0.35)
        for name, style in reversed(STYLES.items()):
            if name in gains:
                means = map(statistics.geometric_mean, zip(*gains[name], strict=True))
                points = list(zip(threads, means, strict=True))
                handles[style.label] = figures.draw_line(axes, name, points)
        perfect = [(count, count / threads[0]) for count in threads]
        handles["all that threads can give"] = figures.draw_bound(axes, perfect)
        axes.set(xscale="log", yscale="log", title=operation)
        axes.grid(True)
        axes.tick_params(labelbottom=True)
        axes.set_xticks(threads, threads)
        axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
        figures.plain_ticks(axes.yaxis, (1, 1.5, 2, 3, 5, 7))
    figures.place_legend(figure, spare, handles)
    figure.supylabel(f"speed-up over {threads[0]} thread{'s' * (threads[0] > 1)}", fontsize=10)
    figure.supxlabel(f"threads; means over the cases of {LARGE:,} logits and more; "
                     "thin: each of ours", fontsize=10)
    figure.suptitle(title(options, content), fontsize=10)
    return figure


def gains_by_library(rows, threads):
    """{library: [speed-ups over threads[0], of each case that it ran on every number of them]}."""
    times, gains = {}, {}
    for row in rows:
        for name, us in row["us"].items():
            times.setdefault((name, row["case"]), {})[row["threads"]] = us
    for (name, _), found in times.items():
        if set(found) == set(threads):
            gains.setdefault(name, []).append([found[threads[0]] / found[k] for k in threads])
    return gains


def spelled(case):
    lengths, _, axis = case.partition("@")
    text = " × ".join(f"{int(n):,}" for n in lengths.split("x"))
    return f"{text}, axis {axis}" if axis else text


if __name__ == "__main__":
    main()
