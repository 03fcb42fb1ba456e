#!/usr/bin/env python3
"""Search for rows that the kernels compute worse than any known before.

    python tools/search_worst_rows.py --seconds 1200 --keep

starts from the checked-in corpora, prints the worst error of each op and dtype, and with --keep
writes the rows found into them; the tests replay them on every instruction set. Half of the time
goes to softmax, its logarithm, logsumexp and the loss of labels (tests/worst_rows.py), half to
losses with smoothing, weights or soft targets and to the backward ops (tests/worst_mixtures.py).
Exit status 1 if a row is beyond the bound of its op.
"""

import argparse
import platform
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import worst_mixtures  # noqa: E402
import worst_rows  # noqa: E402

KINDS = {
    "rows": (worst_rows, worst_rows.Search),
    "mixtures": (worst_mixtures, worst_mixtures.MixtureSearch),
}


def show(search, ops, bound):
    """How many rows are beyond their bound."""
    for unfused, dtype in ((False, "float32"), (False, "float64"), (True, "float64")):
        for op in ops:
            row = search.worst_of(op, dtype, unfused)
            if row:
                print(f"{op:<24} {dtype}{' without FMA' if unfused else ''}  {row.ulp:.3f} ULP of "
                      f"{bound(row)}, n = {row.n}")  # fmt: skip
    beyond = [row for rows in search.worst.values() for row in rows if row.ulp > bound(row)]
    for row in beyond:
        print(f"BEYOND ITS BOUND of {bound(row)}: {row}")
    print(f"{search.rows} rows")
    return len(beyond)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the random rows (default: 0)")
    parser.add_argument("--keep", action="store_true", help="write what was found to the corpora")
    parser.add_argument("--isa", help="the instance to search on (default: the best)")
    parser.add_argument("--only", choices=KINDS, help="one of the two searches")
    options = parser.parse_args()
    core = worst_rows.fastsoftmax._backend.core
    unfused = options.isa == "scalar" and platform.machine().lower() in ("x86_64", "amd64")

    kinds = [options.only] if options.only else list(KINDS)
    beyond = 0
    for module, kind in (KINDS[name] for name in kinds):
        known = module.load_corpus() if module.CORPUS.exists() else []
        for row in known:  # as computed now, not as computed when it was found
            core.use_isa("scalar" if row.unfused else None)
            row.ulp = row.error()
        core.use_isa(options.isa)
        search = kind(options.seed, known, unfused).run(seconds=options.seconds / len(kinds))
        beyond += show(search, module.OPS, module.bound)
        if options.keep:
            module.save_corpus(search.corpus())
    return beyond > 0


if __name__ == "__main__":
    sys.exit(main())
