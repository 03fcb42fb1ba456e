"""The search of worst_rows.py for losses in which every class has a coefficient (label smoothing,
class weights, soft targets) or which have a z-loss, and for the backward ops; and the corpus of
what it has found.

Beside its logits such a row has a second array of their length: soft targets, or the gradient that
a backward op takes in, whose "logits" are then the result y. Losses count in their own ULP,
gradients and what the backward ops return in those of the larger of the terms whose difference they
are (mixed_cases.py).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import worst_rows
from conftest import BOUNDS, in_units_of
from mixed_cases import (
    least_size,
    least_z_term,
    log_softmax_backward_truth,
    mixed_truth,
    softmax_backward_truth,
)

import fastsoftmax

CORPUS = Path(__file__).with_name("corpus") / "worst_mixtures.json"
LABELS, SOFT = ("smoothed_loss", "smoothed_gradient"), ("soft_loss", "soft_gradient")
Z_LOSS = ("z_loss", "z_loss_gradient")  # of labels and soft targets, smoothed or not
BACKWARD = ("softmax_backward", "log_softmax_backward")
OPS = (*LABELS, *SOFT, *Z_LOSS, *BACKWARD)
LONGEST_PATTERN = 32
ELEMENTS = 4000
# Soft targets and weights below these shares of the largest are none: products of the two that are
# subnormal in the dtype of the logits lose their digits (docs/accuracy.md).
LEAST_TARGET, LEAST_WEIGHT = 2.0**-60, 2.0**-30


@dataclass
class Mixture(worst_rows.Row):
    second: np.ndarray = None  # soft targets, or dy; none with labels
    weight: np.ndarray = None  # of the classes, or none
    smoothing: float = 0.0
    z_loss: float = 0.0

    @property
    def family(self):
        return next(ops for ops in (LABELS, SOFT, Z_LOSS, (self.op,)) if self.op in ops)

    def as_json(self):
        entry = {**super().as_json(), "smoothing": float(self.smoothing).hex()}
        if self.z_loss:
            entry["z_loss"] = float(self.z_loss).hex()
        for name in ("second", "weight"):
            if getattr(self, name) is not None:
                entry[name] = worst_rows.hexes(getattr(self, name))
        return entry

    @classmethod
    def from_json(cls, entry):
        extra = {name: float.fromhex(entry.pop(name, "0")) for name in ("smoothing", "z_loss")}
        for name, dtype in (("second", entry["dtype"]), ("weight", "float64")):
            values = entry.pop(name, None)
            if values:
                extra[name] = np.array([float.fromhex(v) for v in values]).astype(dtype)
        row = super().from_json(entry)
        vars(row).update(extra)
        return row

    def error(self):
        n = self.n
        second = None if self.second is None else np.resize(self.second, n)[None]
        weight = None if self.weight is None else np.resize(self.weight, n)
        batch = Batch(self.x[None], np.array([self.label]), second, weight, self.smoothing,
                      self.z_loss)  # fmt: skip
        return float(errors_of(self.family, batch)[self.op][0])

    def same(self, other):
        return super().same(other) and np.array_equal(self.second, other.second)

    def alike(self, other):
        return super().alike(other) and (
            self.second is None or np.sum(self.second != other.second) < min(2, self.n)
        )


@dataclass
class Batch:
    """Rows of one length that share weights, smoothing and the factor of a z-loss."""

    x: np.ndarray
    labels: np.ndarray
    second: np.ndarray
    weight: np.ndarray
    smoothing: float
    z_loss: float = 0.0


def errors_of(family, batch):
    """{op: the worst error in each row, in the units of its bound}."""
    if family[0] in BACKWARD:
        op = family[0]
        truth = {"softmax_backward": softmax_backward_truth,
                 "log_softmax_backward": log_softmax_backward_truth}[op]  # fmt: skip
        exact, size = truth(batch.second, batch.x)
        got = getattr(fastsoftmax, op)(batch.second, batch.x)
        return {op: in_units_of(got, exact, size).max(axis=1)}
    targets = batch.labels if batch.second is None else batch.second
    options = {"weight": batch.weight, "label_smoothing": batch.smoothing, "z_loss": batch.z_loss}
    exact, gradient, size = mixed_truth(batch.x, targets, **options)
    exact = np.where(abs(exact) > np.finfo(batch.x.dtype).max, np.inf, exact)
    loss, grad = fastsoftmax.cross_entropy_with_grad(batch.x, targets, reduction="none", **options)
    with np.errstate(over="ignore"):
        lse = np.nan_to_num(abs(fastsoftmax.logsumexp(batch.x)))
    z_factor = batch.z_loss * np.maximum(1.0, lse.astype(float))  # multiplies a subnormal p, too
    least = least_size(batch.x.dtype, batch.weight, z_factor)
    z_term = least_z_term(batch.x, targets, batch.z_loss)
    errors = (in_units_of(loss, exact, np.max([abs(exact), z_term, least], axis=0)),
              in_units_of(grad, gradient, np.maximum(size, least[:, None])).max(axis=1))
    return dict(zip(family, errors, strict=True))


def bound(row):
    op = "cross_entropy" if row.op.endswith("loss") else "cross_entropy_with_grad"
    return BOUNDS[op][np.dtype(row.dtype)]


def load_corpus():
    return worst_rows.load_corpus(CORPUS, Mixture)


def save_corpus(rows):
    worst_rows.save_corpus(rows, CORPUS)


# --- rows at random ---


def any_smoothing(rng):
    return float(rng.choice([0, 0.1, 0.5, 1, rng.random(), 10 ** rng.uniform(-9, 0)]))


def any_weight(rng, n):
    """Of one size or of many, a few of them 0; by chance none."""
    if rng.random() < 0.4:
        return None
    weight = 10.0 ** (rng.choice([0.3, 1, 3]) * rng.uniform(-1, 1, n))
    weight[rng.random(n) < rng.choice([0, 0.1])] = 0
    return weight if weight.any() else None


def any_z_loss(rng):
    return float(rng.choice([1e-4, 1e-3, 0.1, 0.5, 10 ** rng.uniform(-6, 1)]))


def at_lse(rng, x, n, z_loss):
    """Rows moved so that their logsumexp is where a z-loss is worst: near 0, where it has the
    fewest digits, at -1 / (2 z), where it cancels the gradient, or anywhere near."""
    places = [0, 0, -0.5 / z_loss, rng.normal(0, 1), rng.normal(0, 0.5 / z_loss)]
    lse = np.array([fastsoftmax.logsumexp(row) for row in longer(x, n)])
    with np.errstate(over="ignore"):
        moved = x - (lse - rng.choice(places, len(x)))[:, None]
    return np.where(np.isfinite(moved.max(axis=1))[:, None], moved, x).astype(x.dtype)


def soft_targets(rng, n):
    """From nearly even to nearly one-hot, some classes without a share; most sum to one."""
    t = rng.random(n) ** (10.0 ** rng.uniform(0, 2))
    t[rng.random(n) < rng.choice([0, 0.5])] = 0
    t[rng.integers(n)] += t.sum() == 0
    return t / (t.sum() if rng.random() < 0.8 else 1)


def incoming(rng, n):
    """Gradients of one size or of many, some with a large sum, some whose sum cancels."""
    dy = rng.normal(0, 1, n) * 10.0 ** (rng.choice([0, 1, 4]) * rng.uniform(-1, 1, n))
    dy += rng.choice([0, 0, 1, 1e3])
    if rng.random() < 0.2:
        dy[rng.integers(n)] -= dy.sum()
    return dy * 10.0 ** rng.uniform(-3, 3)


def moved(rng, values, count):
    """Copies of an array with a value or a few moved by some ULP, or taken from elsewhere in it;
    a third are left as they are."""
    rows = np.tile(values, (count, 1))
    few = rng.random(rows.shape) < rng.choice([1, 2, 4], (count, 1)) / rows.shape[1]
    few &= rng.random((count, 1)) < 0.67
    near = few & (rng.random(rows.shape) < 0.6)
    rows[near] += (np.spacing(rows) * rng.integers(-40, 41, rows.shape))[near].astype(rows.dtype)
    others = rng.choice(values, rows.shape) * rng.choice([1, 1, 2, 0.5], rows.shape)
    return np.where(few & ~near, others, rows).astype(values.dtype)


def longer(patterns, n):
    return np.array([np.resize(pattern, n) for pattern in patterns])


class MixtureSearch(worst_rows.Search):
    kept = {"2-3": 2, "4-16": 2, "17-64": 1, "65-300": 1, "blocks": 1}

    def round(self, dtype):
        rng = self.rng
        family = [LABELS, SOFT, Z_LOSS, *((op,) for op in BACKWARD)][rng.integers(5)]
        keys = [key for key in self.worst if key[0] in family and key[1] == dtype]
        if keys and rng.random() < 0.7:
            rows = self.worst[keys[rng.integers(len(keys))]]
            parent = rows[rng.integers(len(rows))]
            self.breed(family, dtype, parent, max(1, ELEMENTS // parent.n))
        else:
            n = worst_rows.any_length(rng, dtype)
            self.begin(family, dtype, n, max(1, ELEMENTS // n))

    def begin(self, family, dtype, n, count):
        rng, width, second = self.rng, min(n, LONGEST_PATTERN), None
        x = worst_rows.fresh(rng, dtype, n, count)[:, :width]
        x[~np.isfinite(x.max(axis=1))] = 0  # nothing but -inf has no loss
        if family[0] in BACKWARD:
            y = getattr(fastsoftmax, family[0].removesuffix("_backward"))(longer(x, n))
            x = y[:, :width]
        if family not in (LABELS, Z_LOSS) or (family == Z_LOSS and rng.random() < 0.2):
            make = incoming if family[0] in BACKWARD else soft_targets
            second = np.array([make(rng, width) for _ in range(count)]).astype(dtype)
        weight, smoothing, z_loss = None, 0.0, 0.0
        if family[0] not in BACKWARD:
            weight, smoothing = any_weight(rng, width), any_smoothing(rng)
        if family == Z_LOSS:
            z_loss, smoothing = any_z_loss(rng), rng.choice([0, 0, smoothing])
            x = at_lse(rng, x, n, z_loss) if rng.random() < 0.7 else x
        labels = rng.integers(n, size=count)
        labels[::3] = longer(x, n).argmax(axis=1)[::3]
        self.take(family, dtype, n, (x, second, weight), labels, (smoothing, z_loss))

    def breed(self, family, dtype, parent, count):
        rng, second, weight = self.rng, None, parent.weight
        x = worst_rows.bred(rng, dtype, [parent], count)
        x[~np.isfinite(x.max(axis=1))] = 0
        if family[0] in BACKWARD:  # results of the forward op
            x = abs(x) if family[0] == "softmax_backward" else np.minimum(x, 0)
        x[::3] = parent.pattern
        if parent.second is not None:
            second = moved(rng, parent.second, count)
            second = second if family[0] in BACKWARD else abs(second)
        if weight is not None and rng.random() < 0.5:
            weight = abs(moved(rng, weight, 1)[0])
        smoothing = parent.smoothing
        if family[0] not in BACKWARD and rng.random() < 0.3:
            smoothing = min(1.0, smoothing * rng.choice([0.5, 0.999, 1.001, 2]))
        labels = np.full(count, parent.label)
        labels[1::3] = rng.integers(parent.n, size=count)[1::3]
        z_loss = parent.z_loss * rng.choice([1, 1, 1, 0.5, 0.999, 1.001, 2])
        self.take(family, dtype, parent.n, (x, second, weight), labels, (smoothing, z_loss))

    def take(self, family, dtype, n, patterns, labels, factors):
        """Measures patterns of logits, second arrays and weights, and keeps the worst. factors:
        smoothing and z-loss."""
        x, second, weight = patterns
        if family[0] not in BACKWARD and second is not None:
            second = np.where(second < LEAST_TARGET, 0, second).astype(dtype)
        if weight is not None:
            weight = np.where(weight < LEAST_WEIGHT * weight.max(), 0, weight)
        self.rows += len(x)
        batch = Batch(longer(x, n), labels, None if second is None else longer(second, n),
                      None if weight is None else np.resize(weight, n), *factors)  # fmt: skip
        with np.errstate(all="ignore"):
            found = errors_of(family, batch)
        for op, errors in found.items():
            for k in np.argsort(errors)[-3:]:
                own = None if second is None else second[k].copy()
                self._take(Mixture(op, dtype, float(errors[k]), n, int(labels[k]), x[k].copy(),
                                   self.unfused and dtype == "float64", own, weight,
                                   *factors))  # fmt: skip
