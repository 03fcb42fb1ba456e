"""Draws what peers.py measured: python bench/plot.py FILE.json [--out docs/_static]

From a sweep (peers.py --sweep): time_per_element.svg, time per logit over the number of classes,
ours beside the peers, with the limit as a line. From any other run: speedup.svg, each peer's time
over ours, case by case; and from one on several numbers of threads threads.svg, what more threads
give. Of float64, with --dtype float64, their names end in -float64.
"""

import argparse
import io
import json
import sys
from collections import namedtuple
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402 (after the choice of the backend)

# Okabe and Ito's colours, which the colour-blind tell apart; markers say the same once more.
Style = namedtuple("Style", "label color marker")
STYLES = {
    "ours": Style("fastsoftmax", "#D55E00", "o"),
    "onnxruntime": Style("ONNX Runtime", "#0072B2", "s"),
    "jax": Style("JAX", "#009E73", "^"),
    "torch": Style("PyTorch", "#CC79A7", "D"),
    "onednn": Style("oneDNN", "#56B4E9", "v"),
    "tensorflow": Style("TensorFlow", "#E69F00", "P"),
    "numba": Style("Numba", "#8C6D1F", "X"),
    "scipy": Style("SciPy", "#7A7A7A", "<"),
    "numpy": Style("NumPy", "#222222", ">"),
}
OPERATION_MARKERS = dict(zip(
    ("softmax", "log_softmax", "logsumexp", "cross_entropy", "cross_entropy_with_grad"),
    zip("os^Dv", ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E69F00"), strict=True),
    strict=True))
FARTHEST = 50  # times ours: the end of the axis
# An opaque card of its own, so that it is readable on a page of either kind; DARK gives the card
# the other colours where whoever looks at it prefers them.
PAPER, INK, GRID, EDGE, LOSS = "#ffffff", "#222222", "#dddddd", "#999999", "#f6e3e0"
DARK = {PAPER: "#16181a", INK: "#dcdcdc", GRID: "#34383c", EDGE: "#6a6f74", LOSS: "#3b2322",
        "#0072b2": "#3f9fe0", "#8c6d1f": "#b9974a", "#7a7a7a": "#9a9a9a"}
RC = {"figure.facecolor": PAPER, "axes.facecolor": PAPER, "savefig.facecolor": PAPER,
      "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
      "axes.edgecolor": EDGE, "axes.spines.top": False, "axes.spines.right": False,
      "grid.color": GRID, "font.size": 10, "axes.titlesize": 11, "svg.hashsalt": "fastsoftmax",
      "svg.fonttype": "none"}  # letters instead of their outlines: a quarter of the size


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
            and (row["mode"] == options.mode or row["operation"] == "cross_entropy")]
    if not rows:
        sys.exit(f"{options.file} has no {options.dtype} rows with mode {options.mode}")
    Path(options.out).mkdir(parents=True, exist_ok=True)
    kinds = {"time_per_element": draw_sweep} if content["sweep"] else {"speedup": draw_speedup}
    if len({row["threads"] for row in rows}) > 1 and not content["sweep"]:
        kinds["threads"] = draw_threads
    with plt.rc_context(RC):
        for name, draw in kinds.items():
            suffix = "" if options.dtype == "float32" else f"-{options.dtype}"
            save(draw(rows, options, content), Path(options.out, f"{name}{suffix}.svg"))


def save(figure, path):
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})  # the same from the same figures
    plt.close(figure)
    rules = "".join(f'[style*="{way}: {light}"] {{ {way}: {dark} !important }}\n'
                    for light, dark in DARK.items() for way in ("fill", "stroke"))
    style = f"<style>@media (prefers-color-scheme: dark) {{\n{rules}}}</style>\n</svg>"
    path.write_text(text.getvalue().replace("</svg>", style), encoding="utf-8")
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def at_most_threads(rows, options):
    threads = options.threads or max(row["threads"] for row in rows)
    rows = [row for row in rows if row["threads"] == threads]
    if not rows:
        sys.exit(f"no rows on {threads} threads")
    return rows, threads


def title(options, content, threads, *more):
    parts = [options.dtype, *more, f"{threads} thread{'s' * (threads > 1)}"]
    parts += ["out=" if options.mode == "out" else "fresh results", content["machine"]["cpu"]]
    return ", ".join(parts)


def distinct(rows, name):
    return list(dict.fromkeys(row[name] for row in rows))


def draw_sweep(rows, options, content):
    rows, threads = at_most_threads(rows, options)
    operations = distinct(rows, "operation")
    figure, grid, spare = panels(operations, 3.5, 3.0)
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
    place_legend(figure, spare, handles)
    elements = rows[0]["shape"][0] * rows[0]["shape"][1]
    figure.suptitle(title(options, content, threads, f"{elements:,} logits"), fontsize=10)
    return figure


def panels(operations, width, height, **shared):
    """(figure, grid of axes, those left over), a panel for each operation."""
    columns = min(3, len(operations))
    lines = -(-len(operations) // columns)
    figure, grid = plt.subplots(lines, columns, sharex=True, squeeze=False, layout="constrained",
                                figsize=(width * columns, height * lines + 0.6), **shared)
    spare = list(grid.flat)[len(operations):]
    for axes in spare:
        axes.set_axis_off()
    return figure, grid, spare


def draw_operation(axes, rows):
    """Lines of all who raced, ours last and above; {label: handle} for the legend."""
    handles = {}
    for name, style in reversed(STYLES.items()):
        points = [(row["shape"][-1], per_logit(row, row["us"][name]))
                  for row in rows if name in row["us"]]
        if points:
            ours = name == "ours"
            handles[style.label] = axes.plot(
                *zip(*points, strict=True), color=style.color, marker=style.marker,
                markersize=5 if ours else 3.5, linewidth=2.2 if ours else 1.1,
                markevery=1 if ours else max(1, len(points) // 6), zorder=3 if ours else 2)[0]
    limits = [(row["shape"][-1], per_logit(row, row["limit_us"])) for row in rows if row["limit"]]
    if limits:
        handles["limit"] = axes.plot(*zip(*limits, strict=True), color=INK, linestyle=(0, (4, 3)),
                                     linewidth=1.1, zorder=1)[0]
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.grid(True)
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5), numticks=12))
    axes.yaxis.set_major_formatter("{x:g}")
    axes.yaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    exponents = [n.bit_length() - 1 for n in sorted({row["shape"][-1] for row in rows})]
    shown = [2**k for k in exponents if len(exponents) < 7 or k % 4 == 0]
    axes.set_xticks(shown, [short(n) for n in shown])
    axes.xaxis.set_minor_locator(matplotlib.ticker.NullLocator())
    return handles


def per_logit(row, us):
    return us * 1e3 / (row["shape"][0] * row["shape"][1])


def short(n):
    return f"{n >> 20}Mi" if n >= 1 << 20 else f"{n >> 10}Ki" if n >= 1 << 10 else str(n)


def place_legend(figure, spare, handles):
    """In the order of STYLES, the limit last: in the empty panel if there is one, else below."""
    labels = [style.label for style in STYLES.values() if style.label in handles]
    labels += ["limit"] if "limit" in handles else []
    chosen = [handles[label] for label in labels]
    if spare:
        spare[0].legend(chosen, labels, loc="center", frameon=False)
    else:
        figure.legend(chosen, labels, loc="outside lower center", ncols=5, frameon=False)


def draw_speedup(rows, options, content):
    """A panel for each operation, a line for each case: where each peer's time is, in ours."""
    rows, threads = at_most_threads(rows, options)
    cases, operations = distinct(rows, "case"), distinct(rows, "operation")
    figure, grid, spare = panels(operations, 3.6, 0.24 * len(cases) + 0.8, sharey=True)
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
    place_legend(figure, spare, handles)
    figure.supxlabel("time over fastsoftmax's: to the left of 1 we are behind" + (
        f"; at the edge: {FARTHEST} or more" if max(ratios) > FARTHEST else ""), fontsize=10)
    figure.suptitle(title(options, content, threads), fontsize=10)
    return figure


def draw_threads(rows, options, content):
    """A line for each case, a dot for each operation: time on one thread over time on several."""
    one, most = min(row["threads"] for row in rows), max(row["threads"] for row in rows)
    times = {(row["case"], row["operation"], row["threads"]): row["us"]["ours"] for row in rows}
    cases, operations = distinct(rows, "case"), distinct(rows, "operation")
    figure, axes = plt.subplots(figsize=(7, 0.34 * len(cases) + 1.6), layout="constrained")
    for k, operation in enumerate(operations):
        marker, color = OPERATION_MARKERS[operation]
        points = [(times[case, operation, one] / times[case, operation, most], i + 0.13 * (k - 2))
                  for i, case in enumerate(cases)
                  if {(case, operation, one), (case, operation, most)} <= set(times)]
        axes.plot(*zip(*points, strict=True), marker, color=color, markersize=5, label=operation)
    for i in range(1, len(cases)):
        axes.axhline(i - 0.5, color=GRID, linewidth=0.5)
    axes.axvline(1, color=INK, linewidth=0.8)
    axes.axvline(most / one, color=INK, linewidth=1, linestyle=(0, (4, 3)))
    axes.set_yticks(range(len(cases)), [spelled(case) for case in cases])
    axes.invert_yaxis()
    axes.grid(True, axis="x")
    axes.set(xlim=(0, None), xlabel=f"time on {one} thread over time on {most}",
             title=f"{options.dtype}, {content['machine']['cpu']}")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def spelled(case):
    lengths, _, axis = case.partition("@")
    text = " × ".join(f"{int(n):,}" for n in lengths.split("x"))
    return f"{text}, axis {axis}" if axis else text


if __name__ == "__main__":
    main()
