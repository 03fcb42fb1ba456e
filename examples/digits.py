"""Multinomial logistic regression on real handwritten digits, in NumPy and fastsoftmax.

    pip install ".[examples]" && python examples/digits.py

Trains the same model twice, on the 1797 digits of 8 x 8 pixels that scikit-learn ships: once with
fastsoftmax.cross_entropy_with_grad, once with the textbook NumPy code for loss and gradient. The
two take turns, epoch by epoch, so that both see the same machine. At the end: the test accuracy,
how far the loss curves are apart, and the time that each spent in loss and gradient.
"""

import sys
import time

import numpy as np

import fastsoftmax

EPOCHS = 60
BATCH = 128
LEARNING_RATE = 0.5
MOMENTUM = 0.9
L2 = 1e-4
CLASSES = 10


def load():
    """Training and test digits; pixels scaled to [0, 1] with a column of ones for the bias."""
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        sys.exit("examples/digits.py needs scikit-learn for its data: pip install scikit-learn")
    digits = load_digits()
    x = np.column_stack([digits.data / 16, np.ones(len(digits.data))])
    order = np.random.default_rng(0).permutation(len(x))
    train, test = order[:1400], order[1400:]
    return x[train], digits.target[train], x[test], digits.target[test]


def textbook(logits, labels):
    """Mean cross-entropy and its gradient the way it is usually written."""
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    sums = exponentials.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(sums[:, 0]) - shifted[rows, labels])
    grad = exponentials / sums
    grad[rows, labels] -= 1
    return loss, grad / len(labels)


class Classifier:
    """A weight matrix, its momentum, and the function that gives loss and gradient."""

    def __init__(self, features, loss_and_grad):
        self.weights = np.zeros((features, CLASSES))
        self.velocity = np.zeros_like(self.weights)
        self.loss_and_grad = loss_and_grad
        self.losses = []
        self.seconds = 0.0

    def step(self, x, y):
        logits = x @ self.weights
        start = time.perf_counter()
        loss, grad = self.loss_and_grad(logits, y)
        self.seconds += time.perf_counter() - start
        self.velocity = MOMENTUM * self.velocity - LEARNING_RATE * (x.T @ grad + L2 * self.weights)
        self.weights += self.velocity
        self.losses.append(float(loss))

    def accuracy(self, x, y):
        return np.mean(np.argmax(x @ self.weights, axis=1) == y)


def train(models, x, y):
    """Every model sees the same batches in the same order."""
    rng = np.random.default_rng(1)
    for epoch in range(EPOCHS):
        order = rng.permutation(len(x))
        for model in models:
            for at in range(0, len(x), BATCH):
                batch = order[at : at + BATCH]
                model.step(x[batch], y[batch])
        if epoch % 10 == 9:
            recent = [np.mean(model.losses[-len(x) // BATCH :]) for model in models]
            print(f"epoch {epoch + 1:3}   loss {recent[0]:.15f}   textbook {recent[1]:.15f}")


def main():
    x, y, x_test, y_test = load()
    ours = Classifier(x.shape[1], fastsoftmax.cross_entropy_with_grad)
    usual = Classifier(x.shape[1], textbook)
    train([ours, usual], x, y)

    accuracy = ours.accuracy(x_test, y_test)
    a, b = np.array(ours.losses), np.array(usual.losses)
    worst = np.max(np.abs(a - b) / b)
    steps = len(a)
    other = usual.accuracy(x_test, y_test)
    print(f"\ntest accuracy          {accuracy:.2%} (textbook {other:.2%})")
    print(f"loss curves            {steps} steps, largest relative difference {worst:.1e} "
          f"({worst / np.finfo(float).eps:.0f} epsilons of float64)")
    print(f"loss and gradient      {ours.seconds / steps * 1e6:.1f} us a step, textbook "
          f"{usual.seconds / steps * 1e6:.1f} us: {usual.seconds / ours.seconds:.1f} times faster")
    print(f"computed by            {fastsoftmax.show_config('dicts')['backend']}")

    assert accuracy > 0.95, "the classifier did not learn"
    assert worst < 1e-10, "the loss curves differ by more than rounding"


if __name__ == "__main__":
    main()
