"""Softmax and cross-entropy as people write them in NumPy, in the array's own dtype.

This is what the benchmark calls "NumPy": subtract the maximum, exponentiate, sum. It is the usual
code, not the best: no argument is checked, x - max is rounded, a confident loss comes out as 0.
"""

import numpy as np


def softmax(x, axis=-1):
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


def log_softmax(x, axis=-1):
    shifted = x - x.max(axis=axis, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=axis, keepdims=True))


def logsumexp(x, axis=-1):
    m = x.max(axis=axis, keepdims=True)
    return np.squeeze(m, axis) + np.log(np.exp(x - m).sum(axis=axis))


def cross_entropy(logits, targets, reduction="mean"):
    """Loss of logits (samples, classes) for integer labels (samples,), each or their mean."""
    losses = -log_softmax(logits)[np.arange(len(targets)), targets]
    return losses.mean() if reduction == "mean" else losses


def cross_entropy_with_grad(logits, targets, reduction="mean"):
    """That loss and its gradient, with one exponential a logit."""
    samples = np.arange(len(targets))
    m = logits.max(axis=-1, keepdims=True)
    e = np.exp(logits - m)
    total = e.sum(axis=-1, keepdims=True)
    losses = np.log(total[:, 0]) + m[:, 0] - logits[samples, targets]
    grad = e / total
    grad[samples, targets] -= 1
    if reduction == "none":
        return losses, grad
    grad /= len(targets)
    return losses.mean(), grad
