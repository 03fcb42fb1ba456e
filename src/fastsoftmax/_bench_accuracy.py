"""`python -m fastsoftmax accuracy`: worst and mean error over distributions of logits.

Also the place where bench learns how far a result is from the truth.
"""

import time

import numpy as np

import fastsoftmax

from . import _bench_peers, _textbook, testing
from ._bench_table import Table, check_writable, clear_progress, progress, ulps, write_json

OPERATIONS = _bench_peers.OPERATIONS
LENGTHS = (2, 10, 100, 1000, 32_000)
LOGITS = 60_000  # in each distribution and length
SEED = 20_240_117


def dominant(rng, shape):
    """One logit far above the others: the confident prediction."""
    x = rng.normal(0, 1, shape)
    x[np.arange(shape[0]), rng.integers(shape[1], size=shape[0])] += 30
    return x


DISTRIBUTIONS = {
    "N(0, 1)": lambda rng, shape: rng.normal(0, 1, shape),
    "N(0, 10)": lambda rng, shape: rng.normal(0, 10, shape),
    "uniform +-80": lambda rng, shape: rng.uniform(-80, 80, shape),
    "one dominant": dominant,
    "all equal": lambda rng, shape: np.repeat(rng.normal(0, 10, (shape[0], 1)), shape[1], axis=1),
    "1e4 + N(0, 1)": lambda rng, shape: 1e4 + rng.normal(0, 1, shape),
}


def call_ours(operation, x, targets):
    function = getattr(fastsoftmax, operation)
    return function(x, targets) if operation.startswith("cross") else function(x)


def call_textbook(operation, x, targets):
    function = getattr(_textbook, operation)
    return function(x, targets) if operation.startswith("cross") else function(x)


def measurable(dtype):
    """Whether this machine has a floating-point type wider than `dtype` to tell the truth in."""
    return np.finfo(np.longdouble).nmant > np.finfo(dtype).nmant


def true_result(operation, x, targets):
    """What the operation should give, in higher precision; a tuple, as results are."""
    if operation == "cross_entropy":
        return (testing.cross_entropy(x, targets).mean(),)
    if operation == "cross_entropy_with_grad":
        loss = testing.cross_entropy(x, targets).mean()
        return loss, testing.gradient(x, targets) / len(targets)
    return (getattr(testing, operation)(x),)


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
    dtype = np.dtype(options.dtype)
    if not measurable(dtype):
        print(f"The long double of this platform is no wider than {dtype}: nothing to measure with")
        return 1
    rng = np.random.default_rng(SEED)
    peers, versions = _bench_peers.installed(dtype) if options.peers else ({}, {})
    competitors = {
        "ours": lambda op: lambda x, t: call_ours(op, x, t),
        "NumPy": lambda op: lambda x, t: call_textbook(op, x, t),
        **{name: peer_calls(calls) for name, calls in peers.items()},
    }
    lengths = LENGTHS[:-1] if options.quick else LENGTHS
    logits = LOGITS // 10 if options.quick else LOGITS

    config = fastsoftmax.show_config("dicts")
    print(f"Error in units in the last place (ULP) of {dtype}, worst (mean) over rows of "
          f"{', '.join(map(str, lengths))}\nbackend {config['backend']}; logsumexp is measured in "
          "ULP of max(|result|, |max x|); subnormal results in subnormal spacing\n")
    table = Table(["operation", "logits", *(f"{name:>15}" for name in competitors)])
    details = []
    table.head()
    total = len(OPERATIONS) * len(DISTRIBUTIONS)
    for operation in OPERATIONS:
        for distribution, draw in DISTRIBUTIONS.items():
            done = len(details) // len(lengths)
            progress(f"[{done + 1}/{total}] {operation}, {distribution}")
            found = [
                measure(operation, draw(rng, (max(1, logits // n), n)).astype(dtype), rng,
                        competitors)
                for n in lengths
            ]
            details += [
                {"operation": operation, "logits": distribution, "n": n, "ulp": errors}
                for n, errors in zip(lengths, found, strict=True)
            ]
            table.row([operation, distribution, *summary(found, competitors)])
    clear_progress()
    print(f"\n{time.perf_counter() - start:.0f} s")
    if options.json:
        write_json(options.json, {"config": config, "dtype": dtype.name, "peers": versions,
                                  "errors": details})
    return 0


def peer_calls(calls):
    def of(operation):
        prepare = calls.get(operation)
        return prepare and (lambda x, t: _bench_peers.as_arrays(prepare(x, t)()))
    return of


def measure(operation, x, rng, competitors):
    """{competitor: [worst, mean]} for one array of logits."""
    targets = rng.integers(x.shape[1], size=len(x))
    with np.errstate(all="ignore"):
        truth = true_result(operation, x, targets)
        errors = {}
        for name, of in competitors.items():
            call = of(operation)
            if call:
                found = ulp_errors(operation, call(x, targets), truth, x)
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
