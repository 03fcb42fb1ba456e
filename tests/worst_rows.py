"""A search for the rows that the kernels compute worst, and the corpus of those it has found.

A row is kept as a pattern that is repeated up to its length, so that long rows stay small on disk.
The search draws rows from the distributions of kernel_cases and others of its own, keeps the worst
of each op, dtype and band of lengths, and breeds from them: the error of a logit's exponential
depends on that logit alone, so what makes one row bad makes others bad too.

    python tools/search_worst_rows.py --seconds 1200 --keep
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from conftest import BOUNDS, in_units_of
from kernel_cases import BLOCK, DISTRIBUTIONS, case_of

import fastsoftmax
from fastsoftmax import testing

CORPUS = Path(__file__).with_name("corpus") / "worst_rows.json"
OPS = ("softmax", "log_softmax", "logsumexp", "cross_entropy", "cross_entropy_with_grad")
DTYPES = ("float32", "float64")
LONGEST_PATTERN = 64
# Rows of each band of lengths that the corpus keeps.
KEPT = {"2-3": 4, "4-16": 3, "17-64": 2, "65-300": 2, "blocks": 1}
POPULATION = 12
ELEMENTS = 6000  # logits a round: fewer rows where they are long


@dataclass
class Row:
    op: str
    dtype: str
    ulp: float
    n: int
    label: int
    pattern: np.ndarray
    unfused: bool = False  # bad without FMA in float64: on the scalar instance of x86-64

    @property
    def x(self):
        return np.resize(self.pattern, self.n)

    def as_json(self):
        entry = {"op": self.op, "dtype": self.dtype, "ulp": round(self.ulp, 3), "n": self.n,
                 "label": self.label, "pattern": hexes(self.pattern)}  # fmt: skip
        return {**entry, "unfused": True} if self.unfused else entry

    @classmethod
    def from_json(cls, entry):
        pattern = np.array([float.fromhex(value) for value in entry.pop("pattern")])
        return cls(**entry, pattern=pattern.astype(entry["dtype"]))

    def error(self):
        """As computed now, not as computed when it was found."""
        return float(row_errors(self.x[None], np.array([self.label]))[self.op][0])

    def same(self, other):
        return self.pattern.tobytes() == other.pattern.tobytes()

    def alike(self, other):
        """Whether it differs in one logit at most."""
        return self.n == other.n and np.sum(self.pattern != other.pattern) < min(2, self.n)


def hexes(values):
    return [float(value).hex() for value in values]


def load_corpus(path=CORPUS, kind=Row):
    return [kind.from_json(entry) for entry in json.loads(path.read_text())]


def save_corpus(rows, path=CORPUS):
    """One row a line: a diff shows which are new."""
    lines = ",\n".join(json.dumps(row.as_json()) for row in rows)
    path.parent.mkdir(exist_ok=True)
    path.write_text(f"[\n{lines}\n]\n")


def row_errors(x, labels):
    """{op: the worst error in each row of x, in the units of its bound}."""
    case = case_of(x, labels)
    loss, grad = fastsoftmax.cross_entropy_with_grad(x, labels, reduction="none")
    lse, peak = fastsoftmax.logsumexp(x), np.abs(x.max(axis=1))
    size = np.maximum(np.abs(np.asarray(case.logsumexp, np.float64)), peak)
    with np.errstate(all="ignore"):
        return {
            "softmax": testing.ulp_error(fastsoftmax.softmax(x), case.softmax).max(axis=1),
            "log_softmax": testing.ulp_error(fastsoftmax.log_softmax(x), case.log_softmax)
            .max(axis=1),
            "logsumexp": in_units_of(lse, case.logsumexp, size),
            "cross_entropy": testing.ulp_error(loss, case.loss),
            "cross_entropy_with_grad": testing.ulp_error(grad, case.gradient).max(axis=1),
        }  # fmt: skip


def bound(row):
    return BOUNDS[row.op][np.dtype(row.dtype)]


def band_of(n):
    for last, name in ((3, "2-3"), (16, "4-16"), (64, "17-64"), (300, "65-300")):
        if n <= last:
            return name
    return "blocks"


# --- rows at random ---


def any_length(rng, dtype):
    block = BLOCK[dtype]
    lengths = {
        "2-3": [1, 2, 2, 2, 3],
        "4-16": range(4, 17),
        "17-64": range(17, 65),
        "65-300": range(65, 301),
        "blocks": [block - 1, block, block + 1, block + 17, 2 * block, 2 * block + 33],
    }
    weights = [0.4, 0.25, 0.2, 0.12, 0.03]
    return int(rng.choice(lengths[rng.choice(list(lengths), p=weights)]))


def underflowing(rng, n, single):
    """Results just above the smallest normal number, where the low part of a factor is lost."""
    x = rng.uniform(-88.5, -80, n) if single else rng.uniform(-709.5, -700, n)
    x[rng.integers(n)] = rng.normal(0, 1)
    return x + rng.uniform(-60, 60)


def extremes(rng, n, single):
    """Infinities, subnormal logits, ties and huge ones in one row."""
    tiny = 1e-42 if single else 1e-310
    values = [-np.inf, 0.0, -0.0, tiny, -tiny, -1e30, 1e4, *rng.normal(0, 5, 4)]
    return rng.choice(values, n)


def scaled(rng, n, single):
    """Any scale and any offset up to 1e30."""
    x = rng.normal(0, 10 ** rng.uniform(-4, 2.5), n)
    return x + rng.choice([-1, 1]) * 10 ** rng.uniform(-3, 30) * rng.choice([0, 0, 1])


def tied(rng, n, single):
    return rng.choice(rng.normal(0, 5, 3), n)


def tiled(rng, n, single):
    """A few close values over a wide offset: the sum's errors add up instead of cancelling."""
    return rng.choice(rng.normal(rng.uniform(-80, 80), 0.3, 4), n)


def balanced(rng, n, single):
    """logsumexp of n - 1 ties and a maximum just below 0: the logarithm's ULP count double."""
    x = np.full(n, rng.uniform(*((-85, -1) if single else (-700, -1))))
    x[0] = -0.5 * np.exp(x[-1]) * (n - 1) * rng.uniform(0.99, 1.01)
    return x


OWN = [underflowing, extremes, scaled, tied, tiled, balanced]
SOURCES = [*DISTRIBUTIONS.values(), *OWN, underflowing, scaled, balanced]  # some twice as often


def fresh(rng, dtype, n, count):
    """Patterns of one length from one source or another."""
    width = min(n, LONGEST_PATTERN)
    rows = [SOURCES[rng.integers(len(SOURCES))](rng, width, dtype == "float32")
            for _ in range(count)]  # fmt: skip
    limit = float(np.finfo(dtype).max) / 4
    return np.clip(np.array(rows), -np.inf, limit).astype(dtype)


# --- rows bred from bad ones ---


def bred(rng, dtype, parents, count):
    """Children of rows of one length: a logit or a few moved by some ULP, taken from another bad
    row, or all of them moved together."""
    genes = np.concatenate([parent.pattern for parent in parents])
    children = np.array([parents[i].pattern for i in rng.integers(len(parents), size=count)])
    kind = rng.random(children.shape)
    few = rng.random(children.shape) < rng.choice([1, 2, 4], (count, 1)) / children.shape[1]
    ties = rng.random((count, 1)) < 0.3  # all that are equal move together
    together = ties & (children == children[np.arange(count), rng.integers(
        children.shape[1], size=count)][:, None])  # fmt: skip
    few = np.where(ties, together, few)
    kind = np.where(ties, rng.random((count, 1)), kind)
    near = few & (kind < 0.6)
    steps = np.spacing(np.where(np.isfinite(children), children, 0)) * rng.integers(
        -40, 41, children.shape)  # fmt: skip
    steps = np.where(ties, np.take_along_axis(steps, together.argmax(axis=1)[:, None], 1), steps)
    children = np.where(near, children + steps.astype(dtype), children)
    others = np.where(ties, rng.choice(genes, (count, 1)), rng.choice(genes, children.shape))
    children = np.where(few & ~near, others, children)
    shift = rng.choice([0.0, 0.0, 0.0, 2.0**-10, 2.0**-3, 1.0, 16.0], (count, 1))
    return (children + shift * rng.integers(-3, 4, (count, 1))).astype(dtype)


class Search:
    """The worst rows so far, by (op, dtype, band, unfused)."""

    kept = KEPT

    def __init__(self, seed, known=(), unfused=False):
        self.rng = np.random.default_rng(seed)
        self.worst = {}
        self.unfused = unfused  # float32 has the same bits everywhere
        self.rows = 0
        for row in known:
            self._take(row)

    def run(self, rounds=None, seconds=None):
        end = time.monotonic() + (seconds or np.inf)
        done = 0
        while (rounds is None or done < rounds) and time.monotonic() < end:
            self.round(self.rng.choice(DTYPES))
            done += 1
        return self

    def round(self, dtype):
        rng, parents = self.rng, []
        if self.worst and rng.random() < 0.7:
            keys = [key for key in self.worst if key[1] == dtype]
            rows = self.worst[keys[rng.integers(len(keys))]] if keys else []
            n = rows[rng.integers(len(rows))].n if rows else 0
            parents = [row for row in rows if row.n == n]
        n = parents[0].n if parents else any_length(rng, dtype)
        count = max(1, ELEMENTS // n)
        patterns = bred(rng, dtype, parents, count) if parents else fresh(rng, dtype, n, count)
        x = np.resize(patterns[0], (count, n))
        for k, pattern in enumerate(patterns):
            x[k] = np.resize(pattern, n)
        labels = rng.integers(n, size=count)
        labels[::3] = x.argmax(axis=1)[::3]
        if parents:
            labels[1::3] = parents[0].label
        self.measure(dtype, x, labels, patterns)

    def measure(self, dtype, x, labels, patterns):
        self.rows += len(x)
        unfused = self.unfused and dtype == "float64"
        for op, errors in row_errors(x, labels).items():
            for k in np.argsort(errors)[-3:]:
                self._take(Row(op, dtype, float(errors[k]), x.shape[1], int(labels[k]),
                               patterns[k].copy(), unfused))  # fmt: skip

    def _take(self, row):
        rows = self.worst.setdefault((row.op, row.dtype, band_of(row.n), row.unfused), [])
        if any(row.same(other) for other in rows):
            return
        rows.append(row)
        rows.sort(key=lambda other: -other.ulp)
        del rows[POPULATION:]

    def corpus(self):
        """The worst of each kind, not those that differ from a worse one in one logit only."""
        kept = []
        for (_, _, band, _), rows in sorted(self.worst.items()):
            chosen = []
            for row in rows:
                if len(chosen) < self.kept[band] and not any(map(row.alike, chosen)):
                    chosen.append(row)
            kept += chosen
        return kept

    def worst_of(self, op, dtype, unfused=False):
        """None, where nothing is known."""
        rows = [rows[0] for key, rows in self.worst.items()
                if (*key[:2], key[3]) == (op, dtype, unfused)]  # fmt: skip
        return max(rows, key=lambda row: row.ulp, default=None)
