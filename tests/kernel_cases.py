"""Rows for the tests of the kernels: distributions, labels, and the results in higher precision."""

from dataclasses import dataclass
from functools import cache

import numpy as np

from fastsoftmax import reference, testing

# Without a wider long double the truth comes from mpmath: a thousand times slower, so less of it.
SLOW_TRUTH = np.finfo(reference.wide_type(np.empty(0))).nmant <= np.finfo(np.float64).nmant

# Elements a group, a block and a piece of a row (csrc/math/format_*.h, csrc/kernels/sweep.inc.h).
GROUP = {"float32": 64, "float64": 32}
BLOCK = {"float32": 2048, "float64": 1024}
PIECE = 65536
# Rows up to this many elements keep their exponentials in the output (plan.c, KEEP_BYTES).
KEEP = {"float32": 1 << 20, "float64": 1 << 19}


def dominant(rng, n, single):
    """A confident prediction: the loss of its label is near zero."""
    x = rng.normal(0, 1, n)
    x[rng.integers(n)] += 20 if single else 40
    return x


def wide_offset(rng, n, single):
    """Around +-1e30 neighbours differ by more than any exponential survives: ties and zeros."""
    steps = rng.integers(-2, 1, n) * (2.0**-22 if single else 2.0**-51)
    return rng.choice([-1e30, 1e30]) * (1 + steps)


def offset_1e6(rng, n, single, sign=1):
    return sign * 1e6 + rng.normal(0, 3, n)


def mixed_sizes(rng, n, single):
    """Logits of every magnitude, subnormal ones among them."""
    return rng.choice([-1, 1], n) * 10.0 ** rng.uniform(-44 if single else -320, 2.5, n)


def subnormal(rng, n, single):
    """Results around and below the smallest normal number, some of them below the smallest."""
    x = rng.uniform(*((-105, -86) if single else (-746, -707)), n)
    x[rng.integers(n)] = 0
    return x


def tiny_tail(rng, n, single):
    """All but one too small to show in softmax, but not in the sum of many: subnormal losses."""
    x = rng.uniform(*((-109, -103.9) if single else (-750, -745)), n)
    x[rng.integers(n)] = 0
    return x


def near_zero(rng, n, single):
    """logsumexp cancels to nearly zero."""
    return rng.normal(0, 1e-3, n) - np.log(n)


def stairs(rng, n, single):
    """The maximum moves from block to block, up or down."""
    steps = np.arange(n) // 700 * rng.choice([-41.5, 41.5])
    return steps + rng.normal(0, 1, n)


def masked(rng, n, single):
    return np.where(rng.random(n) < 0.3, -np.inf, rng.normal(0, 1, n))


DISTRIBUTIONS = {
    "N(0,1)": lambda rng, n, single: rng.normal(0, 1, n),
    "N(0,10)": lambda rng, n, single: rng.normal(0, 10, n),
    "uniform +-80": lambda rng, n, single: rng.uniform(-80, 80, n),
    "uniform +-3000": lambda rng, n, single: rng.uniform(-3000, 3000, n),
    "dominant": dominant,
    "equal": lambda rng, n, single: np.full(n, rng.normal(0, 50)),
    "offset 1e4": lambda rng, n, single: rng.normal(1e4, 5, n),
    "offset 1e6": offset_1e6,
    "offset -1e6": lambda rng, n, single: offset_1e6(rng, n, single, -1),
    "offset 1e30": wide_offset,
    "mixed sizes": mixed_sizes,
    "subnormal": subnormal,
    "tiny tail": tiny_tail,
    "near zero": near_zero,
    "stairs": stairs,
    "masked": masked,
}


@dataclass
class Case:
    """Rows of one length, labels, and the truth of every op."""

    x: np.ndarray
    labels: np.ndarray
    softmax: np.ndarray
    log_softmax: np.ndarray
    logsumexp: np.ndarray
    loss: np.ndarray
    gradient: np.ndarray

    @property
    def counted(self):
        """Samples whose loss is finite."""
        return np.isfinite(np.asarray(self.loss, np.float64))


def labels_for(x, rng):
    """In turn any label, the largest logit's and the smallest one's."""
    labels = rng.integers(x.shape[1], size=len(x))
    labels[1::3] = x.argmax(axis=1)[1::3]
    labels[2::3] = x.argmin(axis=1)[2::3]
    return labels


def case_of(x, labels):
    p = testing.softmax(x)
    return Case(
        x=x,
        labels=labels,
        softmax=p,
        log_softmax=testing.log_softmax(x),
        logsumexp=testing.logsumexp(x),
        loss=testing.cross_entropy(x, labels),
        gradient=np.where(p == p, testing.gradient(x, labels), np.nan),
    )


def rows_of(names, n, dtype, rng):
    single = np.dtype(dtype) == np.float32
    return np.array([DISTRIBUTIONS[name](rng, n, single) for name in names]).astype(dtype)


@cache
def mixed_case(dtype, n, repeats):
    """Rows of every distribution (with repeats < 1: of that share of them)."""
    rng = np.random.default_rng([n, len(dtype)])
    names = list(DISTRIBUTIONS) * max(1, int(repeats))
    if repeats < 1:
        names = list(rng.permutation(names)[: max(1, round(repeats * len(names)))])
    x = rows_of(names, n, dtype, rng)
    return case_of(x, labels_for(x, rng))
