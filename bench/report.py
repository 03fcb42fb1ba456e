"""What peers.py prints and writes: the table, the summary, and both as Markdown."""

import math
from itertools import groupby

from fastsoftmax._bench_table import microseconds

BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"


def head():
    line = (f"{'operation':23}  {'case':16}  {'mode':5}  {'ours us':>9}  {'best peer':>11}  "
            f"{'us':>9}  {'times':>6}  {'limit':>11}  {'us':>9}  {'share':>5}")
    return f"{line}\n{'-' * len(line)}"


def line(row):
    best = row["best_peer"]
    peer = microseconds(row["us"][best]) if best else "-"
    limit = microseconds(row["limit_us"]) if row["limit"] else "-"
    return (f"{row['operation']:23}  {row['case']:16}  {row['mode']:5}  "
            f"{microseconds(row['us']['ours']):>9}  {best or '-':>11}  {peer:>9}  "
            f"{ratio(row['ratio']):>6}  {row['limit'] or '-':>11}  {limit:>9}  "
            f"{ratio(row['share']):>5}")


def ratio(value):
    return "-" if value is None else f"{value:.2f}" if value < 10 else f"{value:.1f}"


def summarise(rows):
    """Geometric mean, worst case and number behind, of all rows that had a peer."""
    raced = [row for row in rows if row["ratio"] is not None]
    if not raced:
        return {"cases": 0, "geometric_mean": None, "behind": 0, "worst": None}
    worst = min(raced, key=lambda row: row["ratio"])
    logs = [math.log(row["ratio"]) for row in raced]
    keys = ("operation", "case", "mode", "dtype", "threads", "best_peer", "ratio")
    return {"cases": len(raced), "geometric_mean": math.exp(sum(logs) / len(logs)),
            "behind": sum(row["ratio"] < 1 for row in raced),
            "worst": {key: worst[key] for key in keys}}


def summaries(rows):
    """[(title, summary)]: of each dtype and number of threads, and of all together."""
    found = [(title(key), summarise(group)) for key, group in by_setting(rows)]
    return found if len(found) < 2 else [*found, ("all", summarise(rows))]


def by_setting(rows):
    ordered = sorted(rows, key=setting)
    return [(key, list(group)) for key, group in groupby(ordered, key=setting)]


def setting(row):
    return row["dtype"], row["threads"]


def title(key):
    dtype, threads = key
    return f"{dtype}, {threads} thread{'s' if threads > 1 else ''}"


def summary_text(rows):
    lines = []
    for name, found in summaries(rows):
        if not found["cases"]:
            lines.append(f"{name}: no peer raced")
            continue
        worst = found["worst"]
        lines.append(
            f"{name}: {found['cases']} cases, geometric mean {ratio(found['geometric_mean'])}, "
            f"worst {ratio(worst['ratio'])} ({worst['operation']} {worst['case']} {worst['mode']}, "
            f"{worst['best_peer']}), behind in {found['behind']}")
    return "\n".join(lines)


def absent_text(rows):
    """Who did not race, and why: each reason once."""
    reasons = {}
    for row in rows:
        for name, why in row["absent"].items():
            reasons.setdefault((name, why[:120]), []).append(f"{row['operation']} {row['case']}")
    return "\n".join(f"not raced: {name}: {why} ({', '.join(dict.fromkeys(where))})"
                     for (name, why), where in reasons.items())


def markdown(content):
    """The tables of a run, as they stand in docs/performance.md."""
    machine = content["machine"]
    peers = ", ".join(f"{name} {version}" for name, version in content["peers"].items())
    parts = [f"Measured on {machine['cpu']} ({machine['cpus']} processors; kernels "
             f"{machine['isa']}), {machine['system']}, Python {machine['python']}. Peers: "
             f"{peers or 'none'}.", *(f"- {text}" for text in summary_text(content["rows"])
                                      .splitlines())]
    text = f"{parts[0]}\n\n" + "\n".join(parts[1:])
    for key, rows in by_setting(content["rows"]):
        for mode, name in (("out", "out="), ("fresh", "a fresh result each call")):
            chosen = [row for row in rows if row["mode"] == mode]
            if chosen:
                text += f"\n\n**{title(key)}, {name}**\n\n{markdown_table(chosen)}"
    return text


def markdown_table(rows):
    operations = list(dict.fromkeys(row["operation"] for row in rows))
    cells = {(row["case"], row["operation"]): cell(row) for row in rows}
    lines = [f"| | {' | '.join(operations)} |", "|---|" + "---:|" * len(operations)]
    for case in dict.fromkeys(row["case"] for row in rows):
        found = [cells.get((case, operation), "-") for operation in operations]
        lines.append(f"| {case.replace('x', ' x ').replace('@', ', axis ')} | "
                     f"{' | '.join(found)} |")
    return "\n".join(lines)


def cell(row):
    """The ratio, whose time it is over ours, and the share of the limit."""
    ahead = "-" if row["ratio"] is None else f"{ratio(row['ratio'])} {row['best_peer']}"
    if row["ratio"] is not None and row["ratio"] < 1:
        ahead = f"**{ahead}**"
    return ahead if row["share"] is None else f"{ahead}, {ratio(row['share'])}"


def has_marks(path):
    with open(path, encoding="utf-8") as file:
        text = file.read()
    return 0 <= text.find(BEGIN) < text.find(END)


def replace_between_marks(path, text):
    with open(path, encoding="utf-8") as file:
        before, _, rest = file.read().partition(BEGIN)
    after = rest.partition(END)[2]
    with open(path, "w", encoding="utf-8") as file:
        file.write(f"{before}{BEGIN}\n{text}\n{END}{after}")
