"""The exponential and logarithms under the kernels: coefficients, and tests/c/exp_check.c in part.

All of float32, a minute an instance: tools/exhaustive_exp.sh
"""

import re
import subprocess

import mpmath as mp
import numpy as np
import pytest
from c_programs import ROOT, compiles, find_compiler, run, setup_tables

from fastsoftmax._backend import core

STRIDE = 1024


def constants(name):
    """The #define'd numbers of a header."""
    text = (ROOT / "csrc/math" / name).read_text()
    found = re.findall(r"#define (\w+) \(?(-?0x[0-9a-f.]+p[-+]\d+)f?\)?", text)
    return {name: mp.mpf(float.fromhex(value)) for name, value in found}


def published(name, function):
    """The relative error in bits that the comment beside a polynomial states."""
    text = (ROOT / "csrc/math" / name).read_text()
    return mp.mpf(re.search(rf"{function}.*relative error 2\^(-[\d.]+)", text)[1])


def assert_as_published(errors, bits):
    """Not above what is said (but for its rounding), and not far below it."""
    assert bits - 0.5 < mp.log(max(errors), 2) < bits + 0.1


@pytest.mark.parametrize(
    "header, prefix, terms, low, high, stated",
    [
        ("format_f32.h", "EXP_C", 4, 2 ** (-1 / 16), 2 ** (1 / 16), "format_f32.h"),
        ("finish_constants.h", "EXP_F64_C", 11, 0.75, 1.5, "format_f64.h"),
        ("finish_constants.h", "EXP_SHORT_C", 7, 2**-0.5, 2**0.5, "finish_constants.h"),
    ],
)
def test_exp_polynomial(header, prefix, terms, low, high, stated):
    """On its interval the polynomial is as near to e^r as the comment beside it says."""
    values = constants(header)
    with mp.workprec(200):
        low, high = mp.log(low) - mp.mpf("0.001"), mp.log(high) + mp.mpf("0.001")
        errors = []
        for i in range(4001):
            r = low + (high - low) * i / 4000
            q = mp.fsum(values[f"{prefix}{k}"] * r**k for k in range(2, terms + 1))
            errors.append(abs((1 + r + q) / mp.exp(r) - 1))
    assert_as_published(errors, published(stated, r"e\^r"))


@pytest.mark.parametrize("prefix, terms, formula", [
    ("LOG_Q", 8, r"/\* log\(1 \+ f\)"), ("LOG_SHORT_Q", 4, r"short: log\(1 \+ f\)"),
])  # fmt: skip
def test_log_polynomial(prefix, terms, formula):
    """t + t z Q(z), where 1 + f is between 2/3 and 3/2."""
    values = constants("finish_constants.h")
    with mp.workprec(200):
        errors = []
        low, high = mp.mpf(-1) / 3, mp.mpf(1) / 2
        for i in range(4001):
            f = low + (high - low) * i / 4000
            if f == 0:
                continue
            t = 2 * f / (2 + f)
            tail = mp.fsum(values[f"{prefix}{k}"] * t ** (2 * k + 2) for k in range(terms))
            errors.append(abs((t + t * tail) / mp.log1p(f) - 1))
    assert_as_published(errors, published("finish_constants.h", formula))


def test_ln2_in_two_parts():
    with mp.workprec(200):
        for header, steps, digits in (("format_f32.h", 8, 24), ("finish_constants.h", 1, 53)):
            values = {name.removesuffix("_F64"): value for name, value in constants(header).items()}
            rest = mp.log(2) / steps - values["LN2_HIGH"] - values["LN2_LOW"]
            assert abs(rest) < abs(values["LN2_LOW"]) * mp.mpf(2) ** -digits
            assert abs(values["LOG2_E"] * mp.log(2) / steps - 1) < mp.mpf(2) ** -digits
        rest = mp.log(2) - values["LN2_HEAD"] - values["LN2_REST"]
        assert abs(rest) < mp.mpf(2) ** -80
        assert int(values["LN2_HEAD"] * 2**33) == values["LN2_HEAD"] * 2**33  # 2^20 times: exact


@pytest.mark.parametrize("dtype", ["f32", "f64"])
@pytest.mark.parametrize("isa", [name for name in core.isas() if name != "reference"])
def test_exp_of_kernels(isa, dtype, tmp_path):
    """A 1024th of the exhaustive check; float64: of its samples."""
    compiler = find_compiler()
    if compiler is None:
        pytest.skip("no C compiler")
    if np.finfo(np.longdouble).nmant <= np.finfo(np.float64).nmant:
        pytest.skip("needs a long double wider than double")
    common, isas = setup_tables()
    flags = [*common, *(isas[isa]["unix"] if isa in isas else []), "-I", str(ROOT / "csrc"), "-O1"]
    if compiles(compiler, "int x;\n", "-fopenmp"):
        flags.append("-fopenmp")
    program = str(tmp_path / "exp_check")
    source = str(ROOT / "tests/c/exp_check.c")
    run([*compiler, *flags, f'-DINSTANCE="isa/{isa}_{dtype}.c"', source, "-o", program, "-lm"])
    done = subprocess.run([program, str(STRIDE)], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout
    assert f"exp float{dtype[1:]}" in done.stdout
