"""What the figures of plot.py have in common: colours, panels, a legend, and how they are saved."""

import io
from collections import namedtuple

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


def draw_line(axes, name, points):
    """The line of a library, ours above the others; what the legend shows of it."""
    style, ours = STYLES[name], name == "ours"
    return axes.plot(*zip(*points, strict=True), color=style.color, marker=style.marker,
                     markersize=5 if ours else 3.5, linewidth=2.2 if ours else 1.1,
                     markevery=1 if ours else max(1, len(points) // 6), zorder=3 if ours else 2)[0]


def draw_bound(axes, points):
    """A dashed line: what cannot be passed."""
    return axes.plot(*zip(*points, strict=True), color=INK, linestyle=(0, (4, 3)), linewidth=1.1,
                     zorder=1)[0]


def plain_ticks(axis, steps):
    """1, 2, 5, 10 instead of powers, and nothing between."""
    axis.set_major_locator(matplotlib.ticker.LogLocator(subs=steps, numticks=12))
    axis.set_major_formatter("{x:g}")
    axis.set_minor_locator(matplotlib.ticker.NullLocator())


def place_legend(figure, spare, handles):
    """In the order of STYLES, the rest last: in the empty panel if there is one, else below."""
    order = [style.label for style in STYLES.values()]
    labels = sorted(handles, key=lambda label: order.index(label) if label in order else 99)
    chosen = [handles[label] for label in labels]
    if spare:
        spare[0].legend(chosen, labels, loc="center", frameon=False)
    else:
        figure.legend(chosen, labels, loc="outside lower center", ncols=5, frameon=False)


def save(figure, path):
    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None})  # the same from the same figures
    plt.close(figure)
    rules = "".join(f'[style*="{way}: {light}"] {{ {way}: {dark} !important }}\n'
                    for light, dark in DARK.items() for way in ("fill", "stroke"))
    style = f"<style>@media (prefers-color-scheme: dark) {{\n{rules}}}</style>\n</svg>"
    path.write_text(text.getvalue().replace("</svg>", style), encoding="utf-8")
    print(f"{path}: {path.stat().st_size / 1000:.0f} kB")
