"""`python -m fastsoftmax accuracy`: worst and mean error over distributions of logits.

Also the place where bench learns how far a result is from the truth.
"""

import time

import numpy as np

import fastsoftmax

from . import _bench_peers, _textbook, testing
from ._bench_table import Table, check_writable, clear_progress, progress, ulps, write_json

OPERATIONS = {"softmax": "softmax", "log_softmax": "log_softmax", "logsumexp": "logsumexp",
              "cross_entropy": "loss", "cross_entropy_with_grad": "gradient"}
LENGTHS = (2, 10, 100, 1000, 32_000, 128_256)
LOGITS = 30_000  # in each distribution and length, at least one row
SEED = 20_240_117


def dominant(rng, shape, dtype):
    """One logit far above the others: the confident prediction."""
    x = rng.normal(0, 1, shape)
    x[np.arange(shape[0]), rng.integers(shape[1], size=shape[0])] += 30
    return x


def underflowing(rng, shape, dtype):
    """Probabilities from just above the smallest normal number down to 2^-20 of it."""
    smallest = np.log(np.finfo(dtype).smallest_normal)
    x = rng.uniform(smallest - 14, smallest + 1, shape)
    x[np.arange(shape[0]), rng.integers(shape[1], size=shape[0])] = 0
    return x


DISTRIBUTIONS = {
    "N(0, 1)": lambda rng, shape, dtype: rng.normal(0, 1, shape),
    "N(0, 10)": lambda rng, shape, dtype: rng.normal(0, 10, shape),
    "uniform +-80": lambda rng, shape, dtype: rng.uniform(-80, 80, shape),
    "one dominant": dominant,
    "all equal": lambda rng, shape, dtype: np.tile(rng.normal(0, 10, (shape[0], 1)), shape[1]),
    "1e4 + N(0, 1)": lambda rng, shape, dtype: 1e4 + rng.normal(0, 1, shape),
    "underflowing": underflowing,
    "logsumexp ~ 0": lambda rng, shape, dtype: rng.normal(0, 1e-3, shape) - np.log(shape[-1]),
}


def call_ours(operation, x, targets, reduction="mean"):
    function = getattr(fastsoftmax, operation)
    return function(x, targets, reduction=reduction) if targets_in(operation) else function(x)


def call_textbook(operation, x, targets, reduction="mean"):
    function = getattr(_textbook, operation)
    return function(x, targets, reduction=reduction) if targets_in(operation) else function(x)


def targets_in(operation):
    return operation.startswith("cross_entropy")


def measurable(dtype):
    """Whether this machine has a floating-point type wider than `dtype` to tell the truth in."""
    return np.finfo(np.longdouble).nmant > np.finfo(dtype).nmant


def true_result(operation, x, targets, reduction="mean"):
    """What the operation should give, in higher precision; a tuple, as results are."""
    if not targets_in(operation):
        return (getattr(testing, operation)(x),)
    loss = testing.cross_entropy(x, targets)
    if reduction == "mean":
        loss = loss.mean()
    if operation == "cross_entropy":
        return (loss,)
    return loss, testing.gradient(x, targets) / (len(targets) if reduction == "mean" else 1)


def ulp_errors(operation, result, truth, x):
    """The errors of all entries, in units in the last place of x's type, as one flat array."""
    results = result if isinstance(result, tuple) else (result,)
    errors = [testing.ulp_error(np.asarray(part, x.dtype), exact)
              for part, exact in zip(results, truth, strict=True)]
    if operation == "logsumexp":  # in units of max(|result|, |max x|)
        exact, peak = np.abs(truth[0]).astype(x.dtype), np.abs(x.max(axis=-1))
        larger = np.spacing(exact) / np.spacing(np.maximum(exact, peak))
        errors = [np.where(errors[0] == 0, 0, errors[0] * larger)]
    return np.concatenate([np.ravel(part) for part in errors])


def main(options):
    start = time.perf_counter()
    check_writable(options.json)
    dtypes = [options.dtype] if options.dtype else ["float32", "float64"]
    told = [dtype for dtype in dtypes if measurable(dtype)]
    for dtype in set(dtypes) - set(told):
        print(f"The long double of this platform is no wider than {dtype}: nothing to measure with")
    config = fastsoftmax.show_config("dicts")
    details, versions = [], {}
    for dtype in told:
        rows, versions = measure_all(np.dtype(dtype), options, config)
        details += rows
    print(f"\n{time.perf_counter() - start:.0f} s")
    if options.json:
        write_json(options.json, {"config": config, "numpy": np.__version__, "peers": versions,
                                  "errors": details})
    return 0 if told else 1


def measure_all(dtype, options, config):
    """Print the table of one dtype; its content by length, and the versions of the peers."""
    peers, versions = ({}, {})
    if options.peers or not options.quick:
        peers, versions = _bench_peers.installed(dtype, "none")
    competitors = {
        "ours": lambda op: lambda x, t: call_ours(op, x, t, "none"),
        "NumPy": lambda op: lambda x, t: call_textbook(op, x, t, "none"),
        **{name: peer_calls(calls) for name, calls in peers.items()},
    }
    lengths = LENGTHS[:-2] if options.quick else LENGTHS
    logits = LOGITS // 10 if options.quick else LOGITS
    print(f"\nError in units in the last place (ULP) of {dtype}, worst (mean) over rows of "
          f"{', '.join(map(str, lengths))}\nbackend {config['backend']}; logsumexp is measured in "
          "ULP of max(|result|, |max x|); subnormal results in subnormal spacing\n")
    table = Table(["operation", "logits", *(f"{name:>15}" for name in competitors)])
    table.head()
    details, total = [], len(OPERATIONS) * len(DISTRIBUTIONS)
    for operation, title in OPERATIONS.items():
        for distribution in DISTRIBUTIONS:
            done = len(details) // len(lengths)
            progress(f"[{done + 1}/{total}] {title}, {distribution}")
            found = [measure(operation, *rows_of(distribution, n, logits, dtype), competitors)
                     for n in lengths]
            details += [
                {"dtype": dtype.name, "operation": title, "logits": distribution, "n": n,
                 "ulp": errors}
                for n, errors in zip(lengths, found, strict=True)
            ]
            table.row([title, distribution, *summary(found, competitors)])
    clear_progress()
    return details, versions


def rows_of(distribution, n, logits, dtype):
    """The same logits and labels for every operation; every second label is the largest logit's."""
    rng = np.random.default_rng([SEED, n, list(DISTRIBUTIONS).index(distribution)])
    x = DISTRIBUTIONS[distribution](rng, (max(1, logits // n), n), dtype).astype(dtype)
    targets = rng.integers(n, size=len(x))
    targets[::2] = x.argmax(axis=1)[::2]
    return x, targets


def peer_calls(calls):
    def of(operation):
        prepare = calls.get(operation)
        return prepare and (lambda x, t: _bench_peers.as_arrays(prepare(x, t)()))
    return of


def measure(operation, x, targets, competitors):
    """{competitor: [worst, mean]} for one array of logits; of the gradient without the losses."""
    with np.errstate(all="ignore"):
        truth = true_result(operation, x, targets, "none")[-1:]
        errors = {}
        for name, of in competitors.items():
            call = of(operation)
            if call:
                result = call(x, targets)
                result = result[-1] if isinstance(result, tuple) else result
                found = ulp_errors(operation, result, truth, x)
                errors[name] = [float(found.max()), float(found.mean())]
    return errors


def summary(found, competitors):
    for name in competitors:
        errors = [row[name] for row in found if name in row]
        if errors:
            worst = max(worst for worst, _ in errors)
            mean = sum(mean for _, mean in errors) / len(errors)
            yield f"{ulps(worst)} ({ulps(mean)})"
        else:
            yield "-"
