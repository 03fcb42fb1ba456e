"""A multi-class objective for XGBoost from two calls, beside the built-in one.

    pip install ".[examples]" && python examples/boosting.py

Boosting wants the gradient of the summed cross-entropy and a diagonal of its second derivative. On
the 1797 digits that scikit-learn ships, XGBoost is trained with its own multi:softprob and with the
objective below: the trees have to come out the same. The objective is also timed by itself beside
the usual NumPy code.
"""

import sys
import time

import numpy as np

import fastsoftmax

ROUNDS = 25
CLASSES = 10


def objective(margins, data):
    """What multi:softprob computes: p - y, and 2 p (1 - p) for the second derivative."""
    labels = data.get_label().astype(np.intp)
    p = fastsoftmax.softmax(margins)
    _, gradient = fastsoftmax.cross_entropy_with_grad(margins, labels, reduction="sum")
    return gradient, np.maximum(2 * p * (1 - p), np.float32(1e-16))


def usual(margins, labels):
    exponentials = np.exp(margins - margins.max(axis=1, keepdims=True))
    p = exponentials / exponentials.sum(axis=1, keepdims=True)
    gradient = p.copy()
    gradient[np.arange(len(labels)), labels] -= 1
    return gradient, np.maximum(2 * p * (1 - p), np.float32(1e-16))


def milliseconds(function, *arguments):
    """The best of twenty calls."""
    seconds = []
    for _ in range(20):
        start = time.perf_counter()
        function(*arguments)
        seconds.append(time.perf_counter() - start)
    return min(seconds) * 1e3


def main():
    try:
        import xgboost
        from sklearn.datasets import load_digits
    except ImportError:
        sys.exit('examples/boosting.py needs xgboost and scikit-learn: pip install ".[examples]"')
    digits = load_digits()
    order = np.random.default_rng(0).permutation(len(digits.data))
    train, test = order[:1400], order[1400:]
    data = xgboost.DMatrix(digits.data[train], digits.target[train])
    held_back = xgboost.DMatrix(digits.data[test])
    options = {"num_class": CLASSES, "max_depth": 4, "eta": 0.3, "base_score": 0.5, "seed": 0}

    builtin = xgboost.train({**options, "objective": "multi:softprob"}, data, ROUNDS)
    custom = xgboost.train({**options, "disable_default_eval_metric": True}, data, ROUNDS,
                           obj=objective)
    p_builtin = builtin.predict(held_back)
    p_custom = fastsoftmax.softmax(custom.predict(held_back, output_margin=True))
    right = [np.mean(p.argmax(axis=1) == digits.target[test]) for p in (p_custom, p_builtin)]
    apart = np.max(np.abs(p_custom - p_builtin))

    margins = np.random.default_rng(1).normal(0, 2, (200_000, CLASSES)).astype(np.float32)
    labels = np.arange(len(margins)) % CLASSES
    big = xgboost.DMatrix(np.zeros((len(margins), 1), np.float32), labels)
    fast, slow = milliseconds(objective, margins, big), milliseconds(usual, margins, labels)
    print(f"right on {len(test)} digits    {right[0]:.2%} (built-in {right[1]:.2%})")
    print(f"probabilities          largest difference {apart:.1e} after {ROUNDS} rounds")
    print(f"objective              {fast:.2f} ms for {len(margins):,} x {CLASSES}, the usual way "
          f"{slow:.2f} ms: {slow / fast:.1f} times faster")
    print(f"computed by            {fastsoftmax.show_config('dicts')['backend']}")

    assert right[0] > 0.9, "the model did not learn"
    assert apart < 1e-3, "the two models differ by more than rounding"


if __name__ == "__main__":
    main()
