"""Draws what peers.py measured: python bench/plot.py FILE.json [--out docs/img]

From a sweep (peers.py --sweep): time per logit over the number of classes, ours beside the peers,
with the limit as a line. From any other run on several numbers of threads: what more threads give.
"""

import argparse
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
# An opaque card of its own: readable on a light page and on a dark one.
PAPER, INK, GRID = "#ffffff", "#222222", "#dddddd"
RC = {"figure.facecolor": PAPER, "axes.facecolor": PAPER, "savefig.facecolor": PAPER,
      "text.color": INK, "axes.labelcolor": INK, "xtick.color": INK, "ytick.color": INK,
      "axes.edgecolor": "#999999", "axes.spines.top": False, "axes.spines.right": False,
      "grid.color": GRID, "font.size": 9, "axes.titlesize": 10, "svg.hashsalt": "fastsoftmax",
      "svg.fonttype": "none"}  # letters instead of their outlines: a quarter of the size


def main(arguments=None):
    parser = argparse.ArgumentParser(prog="bench/plot.py",
                                     description=__doc__.partition("\n")[0])
    parser.add_argument("file", help="from peers.py --json")
    parser.add_argument("--out", metavar="FOLDER", default=".", help="default: this folder")
    parser.add_argument("--dtype", default="float32", choices=("float32", "float64"))
    parser.add_argument("--threads", type=int, help="of the sweep (default: the most there are)")
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
    with plt.rc_context(RC):
        if content["sweep"]:
            save(draw_sweep(rows, options, content), f"sweep-{options.dtype}", options.out)
        if len({row["threads"] for row in rows}) > 1:
            save(draw_threads(rows, options, content), f"threads-{options.dtype}", options.out)


def save(figure, name, folder):
    path = Path(folder, f"{name}.svg")
    figure.savefig(path, metadata={"Date": None})  # the same file from the same figures
    plt.close(figure)
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


def operations_of(rows):
    return list(dict.fromkeys(row["operation"] for row in rows))


def draw_sweep(rows, options, content):
    threads = options.threads or max(row["threads"] for row in rows)
    rows = [row for row in rows if row["threads"] == threads]
    if not rows:
        sys.exit(f"no rows on {threads} threads")
    operations = operations_of(rows)
    columns = min(3, len(operations))
    lines = -(-len(operations) // columns)
    figure, grid = plt.subplots(lines, columns, figsize=(3.5 * columns, 3.0 * lines + 0.6),
                                sharex=True, squeeze=False, layout="constrained")
    handles = {}
    for axes, operation in zip(grid.flat, operations, strict=False):
        found = [row for row in rows if row["operation"] == operation]
        handles.update(draw_operation(axes, sorted(found, key=lambda row: row["shape"][-1])))
        axes.set_title(operation)
    spare = list(grid.flat)[len(operations):]
    for axes in spare:
        axes.set_axis_off()
    for axes in grid[-1, :columns - len(spare)]:
        axes.set_xlabel("classes")
    for axes in grid.flat[columns - len(spare):columns] if lines > 1 else ():
        axes.set_xlabel("classes")
        axes.tick_params(labelbottom=True)
    for axes in grid[:, 0]:
        axes.set_ylabel("ns per logit")
    place_legend(figure, spare, handles)
    elements = rows[0]["shape"][0] * rows[0]["shape"][1]
    result = "out=" if options.mode == "out" else "fresh results"
    figure.suptitle(f"{options.dtype}, {elements:,} logits, {threads} threads, {result}, "
                    f"{content['machine']['cpu']}", fontsize=10)
    return figure


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
    axes.grid(True, which="major")
    axes.yaxis.set_major_locator(matplotlib.ticker.LogLocator(subs=(1, 2, 5), numticks=12))
    axes.yaxis.set_major_formatter(matplotlib.ticker.FuncFormatter(lambda y, _: f"{y:g}"))
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


def draw_threads(rows, options, content):
    """A line for each case, a dot for each operation: time on one thread over time on several."""
    one, most = min(row["threads"] for row in rows), max(row["threads"] for row in rows)
    times = {(row["case"], row["operation"], row["threads"]): row["us"]["ours"] for row in rows}
    cases, operations = list(dict.fromkeys(row["case"] for row in rows)), operations_of(rows)
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
    axes.set_xlim(left=0)
    axes.grid(True, axis="x")
    axes.set_axisbelow(True)
    axes.set_xlabel(f"time on {one} thread over time on {most}")
    axes.set_title(f"{options.dtype}, {content['machine']['cpu']}")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def spelled(case):
    lengths, _, axis = case.partition("@")
    text = " × ".join(f"{int(n):,}" for n in lengths.split("x"))
    return f"{text}, axis {axis}" if axis else text


if __name__ == "__main__":
    main()
