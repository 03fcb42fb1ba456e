"""Derive the polynomial coefficients of csrc/math: prints C constants and their error.

exp:  e^r = 1 + r + r^2 q(r), q minimising the largest relative error. float32: |r| <= ln(2)/16, a
      margin added; e^x = 2^(k/8) e^r, and a table holds 2^(j/8) as T_j (1 + d_j). float64: e^r in
      [3/4, 3/2], where r and e^r - 1 are rounded to 2^-54 and 2^-55 at worst, e^r taken as 1;
log:  log(1+f) = t + t z Q(z), t = 2f/(2+f), z = t^2, so that Q(z) = (2 atanh(t/2)/t - 1) / z,
      minimising the largest error relative to log(1+f), 1 + f in [2/3, 3/2].

Remez exchange in mpmath; the coefficients are then rounded to the target format one at a time,
lowest order first (it carries most weight), and the rest are fitted again around the rounded ones.

    python tools/derive_coefficients.py
"""

from __future__ import annotations

import mpmath as mp
import numpy as np

mp.mp.prec = 200

# Rounding x*log2(e) with an inexact constant widens the reduced range a little.
EXP_MARGIN = mp.mpf("0.001")
# f runs over [-1/3, 1/2]; z = (2 f / (2 + f))^2.
LOG_Z_MAX = mp.mpf("0.4") ** 2 * mp.mpf("1.001")


def remez(target, weight, basis, low, high, rounds=30):
    """Coefficients c minimising max |weight * (target - sum c_i basis_i)| on [low, high]."""
    count = len(basis)
    # Chebyshev's nodes, nudged off the middle, where the weight may vanish.
    angles = [mp.pi * (2 * i + mp.mpf("1.1")) / (2 * count + 2) for i in range(count + 1)]
    nodes = [(low + high) / 2 + (high - low) / 2 * mp.cos(a) for a in reversed(angles)]
    grid = [low + (high - low) * mp.mpf(i) / 1500 for i in range(1501)]
    basis_grid = [[b(x) for b in basis] for x in grid]
    weight_grid = [weight(x) for x in grid]
    target_grid = [target(x) for x in grid]
    coefficients = None
    for _ in range(rounds):
        rows, right = [], []
        for i, x in enumerate(nodes):
            rows.append([weight(x) * b(x) for b in basis] + [mp.mpf((-1) ** i)])
            right.append(weight(x) * target(x))
        solution = mp.lu_solve(mp.matrix(rows), mp.matrix(right))
        coefficients = [solution[i] for i in range(count)]
        errors = [
            w * (t - mp.fsum(c * v for c, v in zip(coefficients, values, strict=True)))
            for w, t, values in zip(weight_grid, target_grid, basis_grid, strict=True)
        ]
        extrema = _alternating_extrema(grid, errors)
        if len(extrema) < count + 1:
            break
        while len(extrema) > count + 1:  # drop the smaller end
            extrema.pop(0 if abs(extrema[0][1]) < abs(extrema[-1][1]) else -1)
        nodes = [x for x, _ in extrema]
        sizes = [abs(e) for _, e in extrema]
        if max(sizes) / min(sizes) < mp.mpf("1.01"):
            break
    return coefficients, max(abs(e) for e in errors)


def _alternating_extrema(grid, errors):
    """The largest error of each run of equal sign."""
    extrema = []
    for x, e in zip(grid, errors, strict=True):
        if e == 0:
            continue
        if extrema and (e > 0) == (extrema[-1][1] > 0):
            if abs(e) > abs(extrema[-1][1]):
                extrema[-1] = (x, e)
        else:
            extrema.append((x, e))
    return extrema


def fit_rounded(target, weight, powers, low, high, dtype):
    """Remez, round every coefficient to dtype, then walk single ULPs of float32 while that helps.

    (Fitting the rest anew around each rounded coefficient was tried: without the low powers the
    basis no longer alternates across zero, and the degree 11 fit fell from 2^-57 to 2^-46.)
    """
    basis = [lambda x, p=p: x**p for p in powers]
    coefficients, _ = remez(target, weight, basis, low, high)
    grid = [low + (high - low) * mp.mpf(i) / 600 for i in range(601)]
    table = np.array([[weight(x) * x**p for p in powers] for x in grid], dtype=object)
    goal = np.array([weight(x) * target(x) for x in grid], dtype=object)

    def error(values):
        return max(abs(e) for e in goal - table @ np.array(values, dtype=object))

    best = [_round_to(c, dtype) for c in coefficients]
    best_error = error(best)
    improved = dtype == np.float32  # in float64 rounding costs 2^-57 of a budget of 2^-53
    while improved:
        improved = False
        for position, step in ((p, s) for p in range(len(best)) for s in (-1, 1)):
            trial = list(best)
            trial[position] += step * mp.mpf(float(np.spacing(dtype(abs(trial[position])))))
            trial_error = error(trial)
            if trial_error < best_error:
                best, best_error, improved = trial, trial_error, True
    return best, best_error


def _round_to(value, dtype):
    """The nearest number of dtype, as an mpf (through the nearest double when that is narrower)."""
    bits = np.finfo(dtype).nmant + 1
    with mp.workprec(bits):
        return +value


def exp_polynomial(degree, dtype, low, high):
    """q of e^r = 1 + r + r^2 q(r), whose coefficients belong to r^2 ... r^degree."""

    def target(r):
        if r == 0:
            return mp.mpf(1) / 2
        return (mp.exp(r) - 1 - r) / r**2

    def weight(r):
        return r**2 / mp.exp(r) if r != 0 else mp.mpf(0)

    low, high = low - EXP_MARGIN, high + EXP_MARGIN
    return fit_rounded(target, weight, list(range(degree - 1)), low, high, dtype)


def log_polynomial(degree, dtype):
    """Q of the log arrangement above, in powers of z."""

    def target(z):
        if z == 0:
            return mp.mpf(1) / 12
        t = mp.sqrt(z)
        return (2 * mp.atanh(t / 2) / t - 1) / z

    def weight(z):  # the term t*z*Q(z) relative to log(1+f) = 2 atanh(t/2)
        if z == 0:
            return mp.mpf(0)
        t = mp.sqrt(z)
        return t * z / (2 * mp.atanh(t / 2))

    return fit_rounded(target, weight, list(range(degree + 1)), mp.mpf(0), LOG_Z_MAX, dtype)


def split_ln2(dtype, steps):
    """ln 2 / steps = high + low, each rounded to dtype."""
    high = _round_to(mp.log(2) / steps, dtype)
    low = _round_to(mp.log(2) / steps - high, dtype)
    return high, low


def show(name, value, dtype):
    """A C constant: hexadecimal for the compiler, decimal for the reader."""
    number = float(value)
    suffix = "f" if dtype == np.float32 else ""
    print(f"#define {name:<16} ({number.hex()}{suffix})  /* {mp.nstr(value, 12)} */")


def show_table(steps):
    """2^(j/steps) = T_j (1 + d_j) in float32. T_j is given as the bits that, added to the biased
    exponent and j shifted left together, make the power (see simd/README.md, v_power)."""
    for j in range(steps):
        exact = mp.mpf(2) ** (mp.mpf(j) / steps)
        rounded = np.float32(float(exact))
        bits = int(rounded.view(np.uint32)) - (127 << 23) - (j << 20)
        error = np.float32(float(exact / mp.mpf(float(rounded)) - 1))
        print(f"T_{j} bits {bits % 2**32:#010x}  d_{j} {float(error).hex()}f")


def main():
    half = mp.log(2) / 16
    for dtype, tag, degree, steps, low, high in (
        (np.float32, "F32", 4, 8, -half, half),
        (np.float64, "F64", 11, 1, mp.log(3) - mp.log(4), mp.log(3) - mp.log(2)),
    ):
        coefficients, error = exp_polynomial(degree, dtype, low, high)
        print(f"\n/* e^r, degree {degree}: relative error 2^{mp.nstr(mp.log(error, 2), 5)} */")
        for i, c in enumerate(coefficients):
            show(f"EXP_{tag}_C{i + 2}", c, dtype)
        high, low = split_ln2(dtype, steps)
        show(f"LN2_HI_{tag}", high, dtype)
        show(f"LN2_LO_{tag}", low, dtype)
        show(f"LOG2_E_{tag}", _round_to(steps / mp.log(2), dtype), dtype)
    lean = mp.floor((1.5 - mp.log(3, 2)) * 2**28 + 2) / 2**28
    show("EXP_LEAN_F64", lean, np.float64)
    show_table(8)
    coefficients, error = log_polynomial(7, np.float64)
    print(f"\n/* log(1+f): relative error 2^{mp.nstr(mp.log(error, 2), 5)} */")
    for i, c in enumerate(coefficients):
        show(f"LOG_Q{i}", c, np.float64)
    coefficients, error = exp_polynomial(7, np.float64, -mp.log(2) / 2, mp.log(2) / 2)
    print(f"\n/* float32's ends: e^r, relative error 2^{mp.nstr(mp.log(error, 2), 5)} */")
    for i, c in enumerate(coefficients):
        show(f"EXP_SHORT_C{i + 2}", c, np.float64)
    coefficients, error = log_polynomial(3, np.float64)
    print(f"\n/* float32's ends: log(1+f), relative error 2^{mp.nstr(mp.log(error, 2), 5)} */")
    for i, c in enumerate(coefficients):
        show(f"LOG_SHORT_Q{i}", c, np.float64)


if __name__ == "__main__":
    main()
