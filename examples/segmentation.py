"""A segmentation-shaped loss on real photographs: logits (N, C, H, W), classes on axis 1.

    pip install ".[examples]" && python examples/segmentation.py

The two photographs that scikit-learn ships are cut into regions of 12 colours; the model, one
weight matrix at every pixel, has to find the region from a blurred and noisy copy. The frame of
each picture carries the label 255, "not annotated", as in the usual data sets, and is ignored. The
model is trained twice, with fastsoftmax.cross_entropy_with_grad(axis=1) and with the usual NumPy
code, in turns. At the end: the share of right pixels, how far the loss curves are apart, and the
time that each spent in loss and gradient.
"""

import sys
import time

import numpy as np

import fastsoftmax

CLASSES, STEPS, FRAME, IGNORED = 12, 20, 16, 255
LEARNING_RATE = 20.0


def load():
    """Features (N, F, H, W) and labels (N, H, W)."""
    try:
        from sklearn.cluster import KMeans
        from sklearn.datasets import load_sample_images
        images = np.stack(load_sample_images().images)
    except ImportError:
        sys.exit("examples/segmentation.py needs scikit-learn and Pillow: see [examples]")
    pixels = images.reshape(-1, 3) / np.float32(255)
    colours = KMeans(CLASSES, n_init=1, random_state=0).fit(pixels[::97])
    labels = colours.predict(pixels).reshape(images.shape[:3]).astype(np.uint8)
    for edge in (np.s_[:, :FRAME], np.s_[:, -FRAME:], np.s_[:, :, :FRAME], np.s_[:, :, -FRAME:]):
        labels[edge] = IGNORED

    seen = np.moveaxis(pixels.reshape(images.shape), -1, 1)
    seen = seen + np.random.default_rng(0).normal(0, 0.05, seen.shape).astype(np.float32)
    blurred = sum(np.roll(seen, (i, j), (2, 3)) for i in (-1, 0, 1) for j in (-1, 0, 1)) / 9
    centred = blurred - 0.5
    squares = centred[:, [0, 0, 0, 1, 1, 2]] * centred[:, [0, 1, 2, 1, 2, 2]]
    ones = np.ones_like(blurred[:, :1])
    return np.concatenate([centred, 2 * squares, ones], axis=1, dtype=np.float32), labels


def usual(logits, labels):
    """Mean cross-entropy over the annotated pixels and its gradient, as it is usually written."""
    counted = labels != IGNORED
    at = np.where(counted, labels, 0)[:, np.newaxis].astype(np.intp)
    shifted = logits - logits.max(axis=1, keepdims=True)
    exponentials = np.exp(shifted)
    sums = exponentials.sum(axis=1, keepdims=True)
    losses = np.log(sums) - np.take_along_axis(shifted, at, axis=1)
    grad = exponentials / sums
    np.put_along_axis(grad, at, np.take_along_axis(grad, at, axis=1) - 1, axis=1)
    grad *= counted[:, np.newaxis]
    count = np.float32(counted.sum())
    return losses[:, 0][counted].sum(dtype=np.float64) / count, grad / count


def ours(logits, labels):
    return fastsoftmax.cross_entropy_with_grad(
        logits, labels, axis=1, ignore_index=IGNORED, out=logits
    )


class PixelClassifier:
    def __init__(self, features, loss_and_grad):
        self.weights = np.zeros((CLASSES, features), np.float32)
        self.loss_and_grad = loss_and_grad
        self.losses, self.seconds = [], 0.0

    def logits(self, x):
        return np.einsum("cf,nfhw->nchw", self.weights, x, optimize=True)

    def step(self, x, y):
        logits = np.ascontiguousarray(self.logits(x))
        start = time.perf_counter()
        loss, grad = self.loss_and_grad(logits, y)
        self.seconds += time.perf_counter() - start
        self.losses.append(float(loss))
        self.weights -= LEARNING_RATE * np.einsum("nchw,nfhw->cf", grad, x, optimize=True)


def main():
    x, y = load()
    models = [PixelClassifier(x.shape[1], function) for function in (ours, usual)]
    for _ in range(STEPS):
        for model in models:
            model.step(x, y)
    counted = y != IGNORED
    right = [np.mean(model.logits(x).argmax(axis=1)[counted] == y[counted]) for model in models]
    a, b = (np.array(model.losses) for model in models)
    worst, (fast, slow) = np.max(np.abs(a - b) / b), (m.seconds / STEPS * 1e3 for m in models)
    shape = " x ".join(map(str, (len(x), CLASSES, *x.shape[2:])))
    print(f"logits                 {shape}, {np.mean(~counted):.0%} of the pixels ignored")
    print(f"loss                   {a[0]:.4f} to {a[-1]:.4f} in {STEPS} steps")
    print(f"right pixels           {right[0]:.2%} (the usual way {right[1]:.2%})")
    print(f"loss curves            largest relative difference {worst:.1e}")
    print(f"loss and gradient      {fast:.1f} ms a step, the usual way {slow:.1f} ms: "
          f"{slow / fast:.1f} times faster")
    print(f"computed by            {fastsoftmax.show_config('dicts')['backend']}")

    assert a[-1] < a[0] / 1.5, "the classifier did not learn"
    assert worst < 1e-4, "the loss curves differ by more than rounding"


if __name__ == "__main__":
    main()
