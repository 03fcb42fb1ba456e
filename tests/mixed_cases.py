"""The truth of losses with a coefficient for every class or a z-loss, and of the backward ops.

Their gradients are differences: with each comes the size of its larger term, in whose ULP its error
counts. Losses count in their own.

A z-loss has the error of the logsumexp, which is nearly 0 where the largest logit and the loss
cancel: there the lse of its terms counts as the loss of the target (of soft targets, of the largest
logit), but not as more than 1. Only where z is more than half of a row's coefficients together is
that ever the larger term.

Class weights multiply what has been rounded to the dtype, so that where that is subnormal its
spacing counts times the largest weight, and so it does for a subnormal logsumexp times 2 z: sizes
are never below that of the smallest normal number times these (`least_size`).
"""

import numpy as np

from fastsoftmax import testing

WIDE = np.longdouble


def coefficients(x, targets, weight, smoothing):
    """What multiplies -log p of each class, as the documentation has it."""
    classes = x.shape[1]
    t = np.arange(classes) == targets[:, None] if targets.dtype.kind == "i" else targets
    w = np.ones(classes) if weight is None else weight
    return w.astype(WIDE) * ((1 - WIDE(smoothing)) * t.astype(WIDE) + WIDE(smoothing) / classes)


def mixed_truth(x, targets, weight=None, label_smoothing=0.0, z_loss=0.0):
    """Losses, gradients p A - q (with a z-loss p (A + 2 z lse) - q), and the size of p A or q or of
    the gradient; at the target of labels without smoothing that of (1 - p) A."""
    q = coefficients(x, targets, weight, label_smoothing)
    log_p, p = testing.log_softmax(x).astype(WIDE), testing.softmax(x).astype(WIDE)
    lse = testing.logsumexp(x).astype(WIDE)
    largest = np.arange(len(x)), x.argmax(axis=1)
    others = 1 - p
    others[largest] = -testing.gradient(x, largest[1])[largest]
    with np.errstate(invalid="ignore"):
        loss = np.where(q == 0, 0, -q * log_p).sum(axis=1) + WIDE(z_loss) * lse**2
    total, z = q.sum(axis=1, keepdims=True), 2 * WIDE(z_loss) * lse[:, None]
    grad = p * (total - q + z) - q * others
    least = p * 2 * WIDE(z_loss) * least_lse(x, targets)[:, None]
    plain = targets.dtype.kind == "i" and label_smoothing == 0
    rest, own = (total - q, q * others) if plain else (total, q)
    terms = [p * rest, p * abs(rest + z), p * abs(z), least, own, abs(grad)]
    return loss, grad, np.max(terms, axis=0)


def least_lse(x, targets):
    """What |lse| counts as at least in the terms of a z-loss."""
    at = targets if targets.dtype.kind == "i" else x.argmax(axis=1)
    return np.minimum(1, -testing.log_softmax(x).astype(WIDE)[np.arange(len(x)), at])


def least_z_term(x, targets, z_loss):
    """The size of z lse^2 at least."""
    lse = abs(testing.logsumexp(x).astype(WIDE))
    return WIDE(z_loss) * lse * np.maximum(lse, least_lse(x, targets))


def least_size(dtype, weight, z_loss=0.0):
    weights = 0 if weight is None else weight.max()
    return np.finfo(dtype).tiny * np.maximum(max(1.0, weights), 2 * np.asarray(z_loss))


def exact_sums(terms):
    """Sums along the last axis to far below the last digit, also where they cancel (Neumaier)."""
    total = lost = np.zeros(terms.shape[0], WIDE)
    for k in range(terms.shape[1]):
        term = terms[:, k]
        new = total + term
        part = new - total
        lost = lost + ((total - (new - part)) + (term - part))
        total = new
    return (total + lost)[:, None]


def products(a, b):
    """Numbers of a wide type that sum to a * b exactly: halves of float64 have exact products."""
    if a.dtype == np.float32:
        return a.astype(WIDE) * b.astype(WIDE)
    parts = []
    for x in (a, b):
        high = x.astype(np.float32).astype(np.float64)
        parts.append((high.astype(WIDE), (x - high).astype(WIDE)))
    return np.concatenate([s * t for s in parts[0] for t in parts[1]], axis=1)


def softmax_backward_truth(dy, y):
    """y (dy - sum), and the size of y dy or y sum: sum = sum(dy y)."""
    wide, total = y.astype(WIDE), exact_sums(products(dy, y))
    exact = wide * (dy.astype(WIDE) - total)
    return exact, np.maximum(wide * np.maximum(abs(dy.astype(WIDE)), abs(total)), abs(exact))


def log_softmax_backward_truth(dy, y):
    """dy - e^y sum, and the size of dy or e^y sum: sum = sum(dy)."""
    second = np.exp(y.astype(WIDE)) * exact_sums(dy.astype(WIDE))
    exact = dy.astype(WIDE) - second
    return exact, np.max([abs(dy.astype(WIDE)), abs(second), abs(exact)], axis=0)
