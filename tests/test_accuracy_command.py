"""`python -m fastsoftmax accuracy` tells of every op and distribution; ours is within bounds."""

import json

import numpy as np
import pytest
from conftest import BOUNDS
from kernel_cases import SLOW_TRUTH

from fastsoftmax import __main__, _bench_accuracy
from fastsoftmax._backend import core

if core.current_isa() == "reference":
    pytest.skip("no compiled kernels", allow_module_level=True)


@pytest.mark.skipif(SLOW_TRUTH, reason="needs a long double wider than double")
def test_accuracy(tmp_path, capsys):
    path = tmp_path / "accuracy.json"
    assert __main__.main(["accuracy", "--quick", "--json", str(path)]) == 0
    printed = capsys.readouterr().out
    rows = json.loads(path.read_text())["errors"]
    names = {title: op for op, title in _bench_accuracy.OPERATIONS.items()}
    lengths = _bench_accuracy.LENGTHS[:-2]
    assert len(rows) == 2 * len(names) * len(_bench_accuracy.DISTRIBUTIONS) * len(lengths)
    for row in rows:
        worst, mean = row["ulp"]["ours"]
        assert 0 <= mean <= worst <= BOUNDS[names[row["operation"]]][np.dtype(row["dtype"])]
        assert row["operation"] in printed and row["logits"] in printed
    naive = [row["ulp"]["NumPy"][0] for row in rows if row["operation"] == "loss"]
    assert max(naive) > 1e6  # it can tell the difference
