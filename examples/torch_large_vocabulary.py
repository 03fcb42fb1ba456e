"""A model with 32,000 classes on the CPU: PyTorch's cross-entropy, and this package's.

    pip install ".[torch]" && python examples/torch_large_vocabulary.py

Trains the same small language model twice, to predict the next word of Python's own library from
the four before it: once with torch.nn.functional.cross_entropy, once with fastsoftmax.torch's. The
two take turns, batch by batch, so that both see the same machine. At the end: how far the learning
curves are apart (training makes the difference of a last digit of float32 grow), and the time that
each spent in the loss, forward and backward.
"""

import re
import sys
import sysconfig
import time
from collections import Counter
from pathlib import Path

try:
    import torch
except ImportError:
    sys.exit("examples/torch_large_vocabulary.py needs PyTorch: pip install torch")

import fastsoftmax.torch

CLASSES, WIDTH, CONTEXT, BATCH, STEPS = 32_000, 64, 4, 128, 60


def words():
    """The modules of the standard library as one sequence of words, numbered by frequency."""
    files = sorted(Path(sysconfig.get_path("stdlib")).glob("*.py"))
    text = "\n".join(file.read_text(encoding="utf-8", errors="ignore") for file in files)
    found = re.findall(r"\w+|[^\w\s]", text)
    number = {word: k for k, (word, _) in enumerate(Counter(found).most_common(CLASSES - 1))}
    return torch.tensor([number.get(word, CLASSES - 1) for word in found])


class Model(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.words = torch.nn.Embedding(CLASSES, WIDTH)
        self.mix = torch.nn.Linear(CONTEXT * WIDTH, WIDTH)
        self.out = torch.nn.Linear(WIDTH, CLASSES)

    def forward(self, context):
        return self.out(torch.tanh(self.mix(self.words(context).flatten(1))))


class Trainee:
    """A model, its optimiser, its loss function, and the seconds that went there."""

    def __init__(self, cross_entropy):
        torch.manual_seed(0)
        self.model = Model()
        self.optimiser = torch.optim.SGD(self.model.parameters(), lr=1.0, momentum=0.9)
        self.cross_entropy = cross_entropy
        self.losses, self.seconds = [], []

    def step(self, context, target):
        logits = self.model(context)
        leaf = logits.detach().requires_grad_()
        start = time.perf_counter()
        loss = self.cross_entropy(leaf, target)
        loss.backward()
        self.seconds.append(time.perf_counter() - start)
        self.optimiser.zero_grad()
        logits.backward(leaf.grad)
        self.optimiser.step()
        self.losses.append(loss.item())


def main():
    sequence = words()
    order = torch.Generator().manual_seed(1)
    ours = Trainee(fastsoftmax.torch.cross_entropy)
    theirs = Trainee(torch.nn.functional.cross_entropy)
    for step in range(STEPS):
        at = torch.randint(CONTEXT, len(sequence), (BATCH,), generator=order)
        context = torch.stack([sequence[at - k] for k in range(CONTEXT, 0, -1)], dim=1)
        for trainee in (ours, theirs):
            trainee.step(context, sequence[at])
        if step % 10 == 9:
            mean = [sum(t.losses[-10:]) / 10 for t in (ours, theirs)]
            print(f"step {step + 1:3}   loss {mean[0]:.6f}   torch's {mean[1]:.6f}")

    apart = max(abs(a - b) / b for a, b in zip(ours.losses, theirs.losses, strict=True))
    best = [min(t.seconds) * 1e3 for t in (ours, theirs)]
    total = [sum(t.seconds) for t in (ours, theirs)]
    print(f"\nlearning curves        {STEPS} steps, largest relative difference {apart:.1e}")
    print(f"loss and its gradient  {best[0]:.1f} ms at best, torch {best[1]:.1f} ms")
    print(f"in all                 {total[0]:.2f} s, torch {total[1]:.2f} s: "
          f"{total[1] / total[0]:.1f} times faster")
    assert ours.losses[-1] < 0.8 * ours.losses[0], "the model did not learn"
    assert apart < 1e-3, "the learning curves differ by more than rounding"


if __name__ == "__main__":
    main()
