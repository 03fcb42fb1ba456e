"""What peers.py prints and writes: the table, the summary, and both as Markdown.

A setting is a dtype, a number of threads, and a bound on our instruction set if there was one.
"""

import math

from fastsoftmax._bench_table import microseconds

BEGIN, END = "<!-- peers: begin -->", "<!-- peers: end -->"
SHORT = {"onnxruntime": "ort", "tensorflow": "tf"}  # in the cells of wide tables
README_CASES = ("1x10", "100000x10", "65536x100", "1024x1000", "64x32000", "32x128256")


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
    """[(title, summary)]: of each setting, and of all on the machine's best instruction set."""
    found = [(title(key), summarise(group)) for key, group in by_setting(rows).items()]
    best = [row for row in rows if not row["cap"]]
    return found if len({setting(row) for row in best}) < 2 else [*found, ("all", summarise(best))]


def by_setting(rows):
    """{setting: its rows}, in the order they were raced in."""
    groups = {}
    for row in rows:
        groups.setdefault(setting(row), []).append(row)
    return groups


def setting(row):
    return row["dtype"], row["threads"], row["cap"]


def title(key):
    dtype, threads, cap = key
    text = f"{dtype}, {threads} thread{'s' if threads > 1 else ''}"
    return f"{text}, ours at most {cap}" if cap else text


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
    """The tables of a run, as they stand in docs/performance.md: the first setting's open, the
    others' folded."""
    parts = [f"Measured on {description(content)}.", summary_table(content["rows"])]
    for number, (key, rows) in enumerate(by_setting(content["rows"]).items()):
        tables = []
        for mode, name in (("out", "out="), ("fresh", "a fresh result each call")):
            chosen = [row for row in rows if row["mode"] == mode]
            if chosen:
                tables += [f"**{title(key)}, {name}**", markdown_table(chosen)]
        if number:
            tables = [f"<details>\n<summary>{title(key)}: every case</summary>", *tables,
                      "</details>"]
        parts += tables
    return "\n\n".join(parts)


def description(content):
    machine = content["machine"]
    peers = ", ".join(f"{name} {version}" for name, version in content["peers"].items())
    text = (f"{machine['cpu']} ({machine['cpus']} processors; kernels {machine['isa']}), "
            f"{machine['system']}, Python {machine['python']}; peers: {peers or 'none'}")
    disturbed = is_disturbed(content["others"])
    return f"{text}; **{disturbance(content['others'])}**" if disturbed else text


def is_disturbed(others):
    return others > 0.1


def disturbance(others):
    return f"while other programs kept {others:.2f} processors busy"


def summary_table(rows):
    lines = ["| | cases | geometric mean | behind in | worst |", "|---|---:|---:|---:|---|"]
    for name, found in summaries(rows):
        if found["cases"]:
            worst = found["worst"]
            lines.append(
                f"| {name} | {found['cases']} | {ratio(found['geometric_mean'])} | "
                f"{found['behind']} | {ratio(worst['ratio'])}: {worst['operation']}, "
                f"{spelled(worst['case'])}, {worst['mode']} ({worst['best_peer']}) |")
    return "\n".join(lines)


def readme(content):
    """The table of README.md: fresh results of the first setting, over NumPy's textbook code and
    over the best of the others."""
    rows = next(iter(by_setting(content["rows"]).values()))
    cells = {(row["operation"], row["case"]): readme_cell(row["us"])
             for row in rows if row["mode"] == "fresh" and row["case"] in README_CASES}
    names = [spelled(case).replace(" x ", "×") for case in README_CASES]
    lines = [f"| | {' | '.join(names)} |",
             "|---|" + "---:|" * len(README_CASES)]
    for operation in dict.fromkeys(operation for operation, _ in cells):
        found = [cells.get((operation, case), "-") for case in README_CASES]
        lines.append(f"| {operation} | {' | '.join(found)} |")
    return "\n".join(lines) + f"\n\n{description(content)}."


def readme_cell(us):
    others = [time for name, time in us.items() if name not in ("ours", "numpy")]
    rivals = ([us["numpy"]] if "numpy" in us else []) + ([min(others)] if others else [])
    return " · ".join(short_ratio(time / us["ours"]) for time in rivals)


def short_ratio(value):
    text = f"{value:.0f}" if value >= 9.95 else f"{value:.1f}" if value >= 1 else f"{value:.2f}"
    return text if value >= 1 else f"**{text}**"


def spelled(case):
    """1,024 x 1,000, and 8 x 21 x 64 x 64, axis 1."""
    lengths, _, axis = case.partition("@")
    text = " x ".join(f"{int(length):,}" for length in lengths.split("x"))
    return f"{text}, axis {axis}" if axis else text


def markdown_table(rows):
    operations = list(dict.fromkeys(row["operation"] for row in rows))
    cells = {(row["case"], row["operation"]): cell(row) for row in rows}
    lines = [f"| | {' | '.join(operations)} |", "|---|" + "---:|" * len(operations)]
    for case in dict.fromkeys(row["case"] for row in rows):
        found = [cells.get((case, operation), "-") for operation in operations]
        lines.append(f"| {spelled(case)} | {' | '.join(found)} |")
    return "\n".join(lines)


def cell(row):
    """The ratio, whose time it is over ours, and the share of the limit."""
    best = SHORT.get(row["best_peer"], row["best_peer"])
    ahead = "-" if row["ratio"] is None else f"{ratio(row['ratio'])} {best}"
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
