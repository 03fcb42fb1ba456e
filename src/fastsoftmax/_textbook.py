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


def cross_entropy(logits, targets):
    """Mean loss of logits (samples, classes) for integer labels (samples,)."""
    return -log_softmax(logits)[np.arange(len(targets)), targets].mean()


def cross_entropy_with_grad(logits, targets):
    """The mean loss and its gradient, with one exponential a logit."""
    samples = np.arange(len(targets))
    m = logits.max(axis=-1, keepdims=True)
    e = np.exp(logits - m)
    total = e.sum(axis=-1, keepdims=True)
    loss = (np.log(total[:, 0]) + m[:, 0] - logits[samples, targets]).mean()
    grad = e / total
    grad[samples, targets] -= 1
    grad /= len(targets)
    return loss, grad
