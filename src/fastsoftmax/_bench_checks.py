"""The checks of `python -m fastsoftmax`: every instance of the kernels against the reference.

What is compared with numbers is held to the bounds that the package promises (reference.OPS),
what has no number in it (NaN, infinities, errors) to the reference's outcome.
"""

import numpy as np

import fastsoftmax

from . import _backend, reference
from ._bench_accuracy import call_ours, measurable, true_result, ulp_errors
from ._bench_table import clear_progress, progress, ulps

SEED = 20_240_117
LENGTHS = (1, 2, 3, 10, 64, 65, 1000, 5003)
QUICK_LENGTHS = (2, 10, 65, 1000)
DTYPES = ("float32", "float64")
BOUNDS = {op.name: op.ulp for op in reference.OPS}
OPERATIONS = ("softmax", "log_softmax", "logsumexp", "cross_entropy", "cross_entropy_with_grad")

# Softmax of these is known; the digits are those that NumPy printed for other libraries.
KNOWN = (
    (np.array([2, 3, 5], np.float32), (0.04201007, 0.11419519, 0.8437947)),
    (np.array([123, 456, 789]), (5.75274406e-290, 2.39848787e-145, 1.00000000)),
)

inf, nan = np.inf, np.nan
SPECIAL = np.array([
    [nan, 1, 2, 3], [inf, 1, 2, 3], [inf, inf, 0, -inf], [-inf, -inf, -inf, -inf],
    [-inf, 1, 2, -inf], [nan, -inf, -inf, -inf], [nan, inf, 0, 0], [0, 0, 0, 0],
    [1e30, 1e30, -1e30, 0], [-1e-40, 1e-40, 0, -0.0], [88.8, -88.8, 0, 104], [20, 0, 0, 0],
])  # fmt: skip


def run(quick):
    """Print one line a check and return [{"name", "ok", "detail"}]."""
    checks = []
    for name, check in all_checks(QUICK_LENGTHS if quick else LENGTHS):
        progress(f"check {name}")
        with np.errstate(all="ignore"):
            ok, detail = check()
        checks.append({"name": name, "ok": ok, "detail": detail})
        clear_progress()
        print(f"check {'ok    ' if ok else 'FAILED'}  {name}: {detail}", flush=True)
    return checks


def all_checks(lengths):
    yield "known cases", known_cases
    for isa in _backend.core.isas():
        for dtype in DTYPES:
            yield f"{isa} {dtype}", lambda isa=isa, dtype=dtype: one_instance(isa, dtype, lengths)
    yield "labels out of range", bad_labels


def known_cases():
    """To one unit in the last digit printed, or in the last place where that is coarser."""
    texts = []
    for x, digits in KNOWN:
        found = fastsoftmax.softmax(x)
        texts.append(f"softmax({x.tolist()}) = {found}")
        known = np.array(digits, found.dtype)
        if not np.all(np.abs(found - known) <= np.maximum(1e-8 * known, np.spacing(known))):
            return False, f"{texts[-1]}, expected {known}"
    return True, ", ".join(texts)


def one_instance(isa, dtype, lengths):
    """Random and special rows, every operation, on one instance of the kernels."""
    core = _backend.core
    core.use_isa(isa)
    try:
        worst = dict.fromkeys(OPERATIONS, 0.0)
        for x, targets in random_rows(dtype, lengths) if measurable(dtype) else ():
            for name in OPERATIONS:
                found = call_ours(name, x, targets)
                errors = ulp_errors(name, found, true_result(name, x, targets), x)
                worst[name] = max(worst[name], float(errors.max()))
        wrong = [name for name in OPERATIONS if not same_on_special_rows(name, dtype)]
    finally:
        core.use_isa(None)
    beyond = [name for name in OPERATIONS if not worst[name] <= BOUNDS[name][dtype]]
    detail = "ULP " + ", ".join(f"{name} {ulps(error)}" for name, error in worst.items())
    if not measurable(dtype):
        detail = "special rows only, as no wider type is there to measure errors with"
    if beyond:
        detail += "; BEYOND ITS BOUND: " + ", ".join(beyond)
    if wrong:
        detail += "; WRONG ON SPECIAL ROWS: " + ", ".join(wrong)
    return not beyond and not wrong, detail


def random_rows(dtype, lengths):
    rng = np.random.default_rng(SEED)
    for n in lengths:
        for scale, offset in ((1, 0), (10, 0), (30, -50)):
            x = rng.normal(offset, scale, (17, n)).astype(dtype)
            yield x, rng.integers(n, size=17)


def same_on_special_rows(name, dtype):
    """NaN and infinities where the reference has them, and its numbers within the bound."""
    x = SPECIAL.astype(dtype)
    targets = np.arange(len(x)) % x.shape[1]
    targets[0] = -100  # ignored, and its row holds a NaN
    rows = [slice(i, i + 1) for i in range(len(x))]
    return all(same(name, x[row], targets[row]) for row in [*rows, slice(None)])


def same(name, x, targets):
    arguments = (x, targets) if name.startswith("cross") else (x,)
    found = as_tuple(getattr(fastsoftmax, name)(*arguments))
    expected = as_tuple(getattr(reference, name)(*arguments))
    for a, b in zip(found, expected, strict=True):
        if not np.array_equal(np.where(np.isfinite(a), 0, a), np.where(np.isfinite(b), 0, b),
                              equal_nan=True):
            return False
    # Both are rounded, so two results within the bound may be half a unit further apart.
    return bool(ulp_errors(name, found, expected, x).max() <= BOUNDS[name][x.dtype.name] + 0.5)


def as_tuple(result):
    return result if isinstance(result, tuple) else (result,)


def bad_labels():
    x = np.zeros((3, 4), np.float32)
    for label in (-1, 4, 2**40):
        try:
            fastsoftmax.cross_entropy(x, np.array([0, label, 1]))
        except IndexError as error:
            if str(label) not in str(error):
                return False, f"the error does not name the label {label}: {error}"
        else:
            return False, f"label {label} of 4 classes was accepted"
    return True, "an IndexError names the value and its position"
