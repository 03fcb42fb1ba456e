"""What the front door prints with: a table that grows row by row, and a progress line."""

import json
import os
import sys


class Table:
    """Prints each row the moment it is there. The first columns are text, the rest numbers."""

    def __init__(self, columns, text_columns=2):
        self.columns = columns
        self.text = text_columns
        widths = [23, 13][:text_columns]
        self.widths = widths + [max(len(name), 9) for name in columns[text_columns:]]

    def head(self):
        self._print(self.columns)
        print("-" * (sum(self.widths) + 2 * (len(self.widths) - 1)), flush=True)

    def row(self, cells):
        clear_progress()
        self._print(cells)

    def _print(self, cells):
        padded = [
            cell.ljust(width) if i < self.text else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(cells, self.widths, strict=True))
        ]
        print("  ".join(padded).rstrip(), flush=True)


def progress(what):
    """One line that overwrites itself; nothing where the output is not looked at live."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{what} ...", end="", file=sys.stderr, flush=True)


def clear_progress():
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr, flush=True)


def microseconds(us):
    return f"{us:.2f}" if us < 10 else f"{us:.1f}" if us < 100 else f"{us:,.0f}"


def ulps(error):
    """2.31, 68, 1e+07, ">1e15" where not a digit is right, and "-" where nobody can tell."""
    if error is None:
        return "-"
    if error > 1e15:
        return ">1e15"
    return f"{error:.2f}" if error < 10 else f"{error:.0f}" if error < 1e5 else f"{error:.0e}"


def write_json(path, content):
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1, default=str)
        file.write("\n")
    print(f"\nwritten to {path}")


def check_writable(path):
    """Find out that FILE cannot be written before the work, not after it."""
    if path and not os.access(os.path.dirname(os.path.abspath(path)), os.W_OK):
        sys.exit(f"python -m fastsoftmax: error: cannot write {path}")
