#!/usr/bin/env python3
"""Search for rows that the kernels compute worse than any known before (tests/worst_rows.py).

    python tools/search_worst_rows.py --seconds 1200 --keep

starts from the checked-in corpus, prints the worst error of each op and dtype, and with --keep
writes the rows found into the corpus, which the tests replay on every instruction set. Exit status
1 if a row is beyond the bound of its op.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

import worst_rows  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0, help="of the random rows (default: 0)")
    parser.add_argument("--keep", action="store_true", help="write what was found to the corpus")
    parser.add_argument("--isa", help="the instance to search on (default: the best)")
    options = parser.parse_args()
    if options.isa:
        worst_rows.fastsoftmax._backend.core.use_isa(options.isa)

    known = worst_rows.load_corpus() if worst_rows.CORPUS.exists() else []
    known = [row for row in known if row.n > 0]
    for row in known:  # as computed now, not as computed when it was found
        errors = worst_rows.row_errors(row.x[None], worst_rows.np.array([row.label]))
        row.ulp = float(errors[row.op][0])
    search = worst_rows.Search(options.seed, known).run(seconds=options.seconds)
    beyond = 0
    for dtype in worst_rows.DTYPES:
        for op in worst_rows.OPS:
            row = search.worst_of(op, dtype)
            over = row.ulp > worst_rows.bound(row)
            beyond += over
            print(f"{op:<24} {dtype}  {row.ulp:.3f} ULP of {worst_rows.bound(row)}, n = {row.n}"
                  f"{'  BEYOND ITS BOUND' if over else ''}")  # fmt: skip
    print(f"{search.rows} rows")
    if options.keep:
        worst_rows.save_corpus(search.corpus())
    return beyond > 0


if __name__ == "__main__":
    sys.exit(main())
