"""bench/peers.py from end to end, on one small case beside NumPy: what it prints and writes."""

import json
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastsoftmax

BENCH = Path(__file__).resolve().parent.parent / "bench"
MARKED = "before\n<!-- peers: begin -->\nold\n<!-- peers: end -->\nafter\n"


def peers(*arguments, script="peers.py"):
    command = [sys.executable, str(BENCH / script), *map(str, arguments)]
    path = os.pathsep.join(filter(None, [str(Path(fastsoftmax.__file__).parent.parent),
                                         os.environ.get("PYTHONPATH")]))
    return subprocess.run(command, capture_output=True, text=True, timeout=120,
                          env={**os.environ, "PYTHONPATH": path})


@pytest.fixture(scope="module")
def race(tmp_path_factory):
    folder = tmp_path_factory.mktemp("race")
    for name in ("doc.md", "readme.md"):
        (folder / name).write_text(MARKED)
    done = peers("--quick", "--case", "32x10", "16x2048", "--op", "softmax", "cross_entropy",
                 "--peers", "numpy", "--threads", 1, "--dtype", "float32", "--seconds", 0.001,
                 "--json", folder / "race.json", "--markdown", folder / "doc.md",
                 "--readme", folder / "readme.md")
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((folder / "race.json").read_text()), folder


def test_rows(race):
    _, content, _ = race
    assert [(row["case"], row["operation"], row["mode"]) for row in content["rows"]] == [
        (case, operation, mode) for case in ("32x10", "16x2048")
        for operation, mode in (("softmax", "fresh"), ("softmax", "out"),
                                ("cross_entropy", "fresh"))]
    for row in content["rows"]:
        assert set(row["us"]) == {"ours", "numpy"} and min(row["us"].values()) > 0
        assert row["absent"] == {} and row["best_peer"] == "numpy"
        assert math.isclose(row["ratio"], row["us"]["numpy"] / row["us"]["ours"], rel_tol=1e-12)
        assert (row["dtype"], row["threads"]) == ("float32", 1)


def test_limits(race):
    """np.exp beside a tiny call; memory and arithmetic beside a large one, with a compiler."""
    _, content, _ = race
    measured = content["limits"]
    assert measured["available"] or measured["reason"]
    for row in content["rows"]:
        names = set(row["measured"])
        if row["case"] == "32x10":
            assert names == {"np.exp"}
        elif measured["available"]:
            moved = {"read"} if row["operation"] == "cross_entropy" else {"copy"}
            assert moved | {"arithmetic"} <= names
        else:
            assert names == set()
        if names:
            assert row["limit"] in names and row["limit_us"] == row["measured"][row["limit"]]
            assert math.isclose(row["share"], row["limit_us"] / row["us"]["ours"], rel_tol=1e-12)


def test_summary(race):
    text, content, _ = race
    found = content["summary"]["float32, 1 thread"]
    ratios = sorted(row["ratio"] for row in content["rows"])
    product = 1
    for ratio in ratios:
        product *= ratio
    assert found["cases"] == 6 and found["behind"] == sum(ratio < 1 for ratio in ratios)
    assert math.isclose(found["geometric_mean"], product ** (1 / 6), rel_tol=1e-12)
    assert found["worst"]["ratio"] == ratios[0]
    assert "float32, 1 thread: 6 cases, geometric mean" in text
    assert content["machine"]["cpu"] and set(content["peers"]) == {"numpy"}
    assert -1 < content["others"] < 1000


def test_markdown_from_json(race):
    """The same tables from the JSON as from the run, between the marks and nowhere else."""
    _, _, folder = race
    text = (folder / "doc.md").read_text()
    assert text.startswith("before\n") and text.endswith("-->\nafter\n") and "old" not in text
    assert "| 16 x 2,048 |" in text
    (folder / "again.md").write_text(MARKED)
    done = peers("--from", folder / "race.json", "--markdown", folder / "again.md")
    assert done.returncode == 0, done.stderr
    assert (folder / "again.md").read_text() == text


def test_several_settings(race):
    """One file's tables open, the others' folded; "all" is on the best instruction set alone."""
    _, content, folder = race
    rows = [{**row, "threads": k, "cap": cap, "ratio": ratio}
            for k, cap, ratio in ((2, None, 4.0), (1, "avx2", 0.25)) for row in content["rows"]]
    capped = {**content, "rows": rows, "others": 0.25 + abs(content["others"])}
    (folder / "more.json").write_text(json.dumps(capped))
    (folder / "both.md").write_text(MARKED)
    done = peers("--from", folder / "race.json", folder / "more.json",
                 "--markdown", folder / "both.md", "--json", folder / "both.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((folder / "both.json").read_text())["summary"]
    assert list(found) == ["float32, 1 thread", "float32, 2 threads",
                           "float32, 1 thread, ours at most avx2", "all"]
    assert [part["cases"] for part in found.values()] == [6, 6, 6, 12]
    assert math.isclose(found["float32, 1 thread, ours at most avx2"]["geometric_mean"], 0.25)
    text = (folder / "both.md").read_text()
    assert "| float32, 2 threads | 6 | 4.00 | 0 | 4.00: softmax, 32 x 10, fresh (numpy) |" in text
    assert text.index("**float32, 1 thread, out=**") < text.index("<details>")
    others = json.loads((folder / "both.json").read_text())["others"]
    assert others >= 0.25 and f"other programs kept {others:.2f} processors busy" in text
    assert text.count("<details>") == text.count("</details>") == 2
    assert text.count("**float32, 2 threads, a fresh result each call**") == 1


def test_readme(race):
    """Over NumPy's time, and over the best of the others' where there were any; "-" for no race."""
    _, content, folder = race
    text = (folder / "readme.md").read_text(encoding="utf-8")
    assert text.startswith("before\n") and "| | 1×10 | 100,000×10 |" in text
    rows = [{**row, "case": "1x10", "us": us, "mode": "fresh"} for row, us in zip(
        content["rows"][:2], ({"ours": 2, "numpy": 46.2, "torch": 1, "jax": 3},
                              {"ours": 4, "numpy": 4}), strict=True)]
    rows[1]["operation"] = "logsumexp"
    (folder / "few.json").write_text(json.dumps({**content, "rows": rows}))
    done = peers("--from", folder / "few.json", "--readme", folder / "readme.md")
    assert done.returncode == 0, done.stderr
    text = (folder / "readme.md").read_text(encoding="utf-8")
    assert "| softmax | 23 · **0.50** | - |" in text and "| logsumexp | 1.0 | - |" in text


def test_plots(race):
    """The same file from the same figures; what holds no row is an error."""
    pytest.importorskip("matplotlib")
    _, content, folder = race
    (folder / "sweep.json").write_text(json.dumps({**content, "sweep": True}))
    (folder / "threads.json").write_text(json.dumps({**content, "rows": [
        {**row, "shape": [1000, 1000], "threads": k}
        for k in (1, 2, 4) for row in content["rows"]]}))
    for source, names in (("race", ["speedup"]), ("sweep", ["time_per_element"]),
                          ("threads", ["speedup", "threads"])):
        once, again = (folder / f"{source}-{k}" for k in (1, 2))
        for out in (once, again):
            done = peers(folder / f"{source}.json", "--out", out, script="plot.py")
            assert done.returncode == 0, done.stderr
        assert sorted(path.name for path in once.iterdir()) == [f"{name}.svg" for name in names]
        for path in once.iterdir():
            text = path.read_text()
            assert ">softmax</text>" in text and ">cross_entropy</text>" in text
            assert "prefers-color-scheme: dark" in text
            assert (again / path.name).read_text() == text
    done = peers(folder / "race.json", "--dtype", "float64", script="plot.py")
    assert done.returncode != 0 and "has no float64 rows" in done.stderr


@pytest.mark.parametrize("arguments, message", [
    (["--threads", "0"], "--threads: 0"),
    (["--case", "12y7"], "'12y7' is no shape"),
    (["--markdown", "no/such/file.md"], "no/such/file.md lacks"),
    (["--readme", "no/such/file.md"], "no/such/file.md lacks"),
])
def test_bad_options(arguments, message):
    """An error that names the option, before anything is raced."""
    done = peers(*arguments)
    assert done.returncode == 2 and message in done.stderr and done.stdout == ""
