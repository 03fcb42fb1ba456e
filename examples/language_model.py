"""A language model's loss over a vocabulary of 32,768 tokens, on real text, in NumPy.

    pip install . && python examples/language_model.py

The text is what every Python brings: the sources of its standard library, cut into words, spaces
left out. The model is the smallest that has a language model's last layer: the embedding of the
previous token times an output matrix gives the logits of the next. It is trained twice from the
same start, once with fastsoftmax.cross_entropy_with_grad, which writes the gradient over the
logits, and once with the textbook NumPy code. At the end: the perplexity on text held back, how far
the loss curves are apart, and the time that each spent in loss and gradient.
"""

import re
import sysconfig
import time
from collections import Counter
from pathlib import Path

import numpy as np

import fastsoftmax

VOCABULARY = 32_768
WIDTH = 64
BATCH = 256
STEPS = 50
LEARNING_RATE = 200.0
TOKENS = 2_500_000
HELD_BACK = 4096


def tokens():
    """Words and signs of the standard library as numbers, most frequent first; 0 is any other."""
    folder = Path(sysconfig.get_paths()["stdlib"])
    words, pattern = [], re.compile(r"[A-Za-z_]+|\d|[^\w\s]")
    for path in sorted(folder.rglob("*.py")):
        if "site-packages" in path.parts:
            continue
        words += pattern.findall(path.read_text(encoding="utf-8", errors="ignore"))
        if len(words) >= TOKENS:
            break
    known = [word for word, _ in Counter(words).most_common(VOCABULARY - 1)]
    number = {word: k + 1 for k, word in enumerate(known)}
    return np.array([number.get(word, 0) for word in words], np.int32), len(known)


def textbook(logits, labels):
    """Mean cross-entropy and its gradient the way it is usually written."""
    rows = np.arange(len(labels))
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    sums = exponentials.sum(axis=1, keepdims=True)
    loss = np.mean(np.log(sums[:, 0]) - shifted[rows, labels])
    grad = exponentials / sums
    grad[rows, labels] -= 1
    return loss, grad / np.float32(len(labels))


def in_place(logits, labels):
    return fastsoftmax.cross_entropy_with_grad(logits, labels, out=logits)


class Model:
    """Logits of the next token: the embedding of this one times an output matrix."""

    def __init__(self, loss_and_grad):
        rng = np.random.default_rng(0)
        self.embedding = rng.normal(0, 0.1, (VOCABULARY, WIDTH)).astype(np.float32)
        self.output = np.zeros((WIDTH, VOCABULARY), np.float32)
        self.bias = np.zeros(VOCABULARY, np.float32)
        self.loss_and_grad = loss_and_grad
        self.losses, self.seconds = [], 0.0

    def logits(self, this):
        return self.embedding[this] @ self.output + self.bias

    def step(self, this, following, rate):
        logits, x = self.logits(this), self.embedding[this]
        start = time.perf_counter()
        loss, grad = self.loss_and_grad(logits, following)
        self.seconds += time.perf_counter() - start
        self.losses.append(float(loss))
        of_x = grad @ self.output.T
        self.output -= rate * 0.05 * (x.T @ grad)
        self.bias -= rate * 0.02 * grad.sum(axis=0)
        np.add.at(self.embedding, this, -rate * 0.05 * of_x)


def perplexity(model, this, following):
    """e to the mean loss, in pieces: only one piece of logits exists at a time."""
    total = 0.0
    for at in range(0, len(this), BATCH):
        part = slice(at, at + BATCH)
        total += fastsoftmax.cross_entropy(model.logits(this[part]), following[part],
                                           reduction="sum")
    return np.exp(total / len(this))


def main():
    text, known = tokens()
    print(f"{len(text):,} tokens of Python's standard library, {known:,} different ones known")
    train, held_back = text[:-HELD_BACK], text[-HELD_BACK:]
    ours, usual = Model(in_place), Model(textbook)
    before = perplexity(ours, held_back[:-1], held_back[1:])
    rng = np.random.default_rng(1)
    for step in range(STEPS):
        at = rng.integers(0, len(train) - 1, BATCH)
        for model in (ours, usual):
            model.step(train[at], train[at + 1], LEARNING_RATE)
        if step % 25 == 24:
            recent = [np.mean(model.losses[-25:]) for model in (ours, usual)]
            print(f"step {step + 1:3}   loss {recent[0]:.6f}   textbook {recent[1]:.6f}")

    after = perplexity(ours, held_back[:-1], held_back[1:])
    worst = np.max(np.abs(np.subtract(ours.losses, usual.losses)) / usual.losses)
    each = [model.seconds / STEPS * 1e3 for model in (ours, usual)]
    print(f"\nperplexity             {before:,.0f} before, {after:,.1f} after {STEPS} steps "
          f"(textbook {perplexity(usual, held_back[:-1], held_back[1:]):,.1f})")
    print(f"loss curves            largest relative difference {worst:.1e}")
    print(f"loss and gradient      {each[0]:.1f} ms a step of {BATCH} x {VOCABULARY:,}, textbook "
          f"{each[1]:.1f} ms: {each[1] / each[0]:.1f} times faster")
    print(f"computed by            {fastsoftmax.show_config('dicts')['backend']}")

    assert after < before / 10, "the model did not learn"
    assert worst < 1e-3, "the loss curves differ by more than rounding"


if __name__ == "__main__":
    main()
