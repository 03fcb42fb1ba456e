#!/usr/bin/env python3
"""Calls every function over and over, right and wrong, and sees whether anything is left behind.

    python tools/check_leaks.py [--calls N]      a million unless told: two minutes

Counted after a tenth of the calls, in the middle and at the end: blocks of Python's allocator,
bytes of malloc where the C library tells, resident memory, and references to what calls share. Exit
status 1 if any of them has grown both times: what grows once is a cache.
"""

import argparse
import ctypes
import gc
import os
import sys

import numpy as np

import fastsoftmax as fs
import fastsoftmax.keras
import fastsoftmax.scipy


def calls():
    rng = np.random.default_rng(0)
    x = rng.normal(0, 3, (6, 20))
    single, half, wide = x.astype("f4"), x.astype("f2"), x.astype("g")
    swapped, strided = x.astype(x.dtype.newbyteorder()), np.repeat(x, 2, 1)[:, ::2]
    labels, soft = rng.integers(20, size=6), rng.random((6, 20))
    bad, ignored = labels.copy(), labels.copy()
    bad[3], ignored[2] = 20, -100
    out, single_out, lse = np.empty_like(x), np.empty_like(single), np.empty(6)
    read_only = out.view()
    read_only.flags.writeable = False
    moved = np.zeros(240)
    options = {"weight": rng.random(20), "sample_weight": rng.random(6), "label_smoothing": 0.1,
               "z_loss": 0.01}  # fmt: skip
    grad = fs.cross_entropy_with_grad
    right = [
        lambda: fs.softmax(x), lambda: fs.softmax(single), lambda: fs.softmax(half),
        lambda: fs.softmax(wide), lambda: fs.softmax(swapped), lambda: fs.softmax(strided, 0),
        lambda: fs.softmax(labels), lambda: fs.softmax([1.0, 2.0]), lambda: fs.softmax(3.0),
        lambda: fs.softmax(x, None), lambda: fs.softmax(x, (0, 1), threads=2),
        lambda: fs.softmax(x, out=out), lambda: fs.softmax(out, out=out),
        lambda: fs.softmax(x, 0, out=out), lambda: fs.softmax(half, out=half),
        lambda: fs.softmax(moved[:120].reshape(6, 20), out=moved[7:127].reshape(6, 20)),
        lambda: fs.log_softmax(x), lambda: fs.log_softmax(single, out=single_out),
        lambda: fs.log_softmax(x, 0, out=out.T.reshape(6, 20)), lambda: fs.logsumexp(x),
        lambda: fs.logsumexp(x, out=lse), lambda: fs.logsumexp(x, 0, keepdims=True),
        lambda: fs.logsumexp(x[0]), lambda: fs.logsumexp(x[:, :0]), lambda: fs.logsumexp(x, None),
        lambda: fs.softmax_backward(x, soft), lambda: fs.softmax_backward(x, soft, 0, out=out),
        lambda: fs.log_softmax_backward(single, soft),
        lambda: fs.cross_entropy(x, labels), lambda: fs.cross_entropy(single, ignored),
        lambda: fs.cross_entropy(x, soft), lambda: fs.cross_entropy(x, labels, **options),
        lambda: fs.cross_entropy(x, soft, **options, reduction="none"),
        lambda: fs.cross_entropy(x, labels, reduction="none"),
        lambda: fs.cross_entropy(x.T, labels, axis=0, normalizer=3.0),
        lambda: fs.cross_entropy(x[:0], labels[:0]),
        lambda: grad(x, labels), lambda: grad(single, ignored, out=single_out, reduction="sum"),
        lambda: grad(half, soft, grad_output=2.0), lambda: grad(x, labels, out=out, **options),
        lambda: grad(wide, labels, grad_output=rng.random(6)),
        lambda: fs.nll_loss(x, labels), lambda: fs.nll_loss(x, soft, reduction="none"),
        lambda: online(x), lambda: fs.scipy.logsumexp(x, b=soft, return_sign=True),
        lambda: fs.keras.categorical_crossentropy(soft, x, from_logits=True),
        lambda: fs.keras.sparse_categorical_crossentropy(labels, soft), lambda: limited(x),
        lambda: fs.show_config("dicts"),
    ]  # fmt: skip
    wrong = [
        lambda: fs.cross_entropy(x, bad), lambda: grad(x, bad, out=out),
        lambda: fs.cross_entropy(x, bad, **options), lambda: fs.nll_loss(x, bad),
        lambda: fs.cross_entropy(x, labels[1:]), lambda: fs.cross_entropy(x, labels > 0),
        lambda: fs.cross_entropy(x, labels, reduction="avg"),
        lambda: fs.cross_entropy(x, labels, weight=[1.0]),
        lambda: fs.cross_entropy(x, labels, label_smoothing=2),
        lambda: fs.cross_entropy(x, labels, ignore_index=2**63),
        lambda: fs.cross_entropy(x[:, :0], labels), lambda: grad(x, labels, out=read_only),
        lambda: fs.softmax("abc"), lambda: fs.softmax(x > 0), lambda: fs.softmax(x, 5),
        lambda: fs.softmax(x, out=lse), lambda: fs.softmax(x, out=single_out),
        lambda: fs.softmax(x, out=read_only), lambda: fs.softmax(x, threads=0),
        lambda: fs.softmax([[1.0], [1.0, 2.0]]), lambda: fs.softmax(np.ma.array(x)),
        lambda: fs.softmax_backward(x, soft[1:]), lambda: fs.set_num_threads("2"),
        lambda: fs.OnlineSoftmax().merge(3), lambda: fs.show_config("json"),
        lambda: fs.softmax(np.broadcast_to(1.0, (2**24, 2**24))),
    ]  # fmt: skip
    return right, wrong


def online(x):
    both, other = fs.OnlineSoftmax(), fs.OnlineSoftmax()
    both.update(x)
    other.update(x)
    both.merge(other)
    return both.softmax(x), both.cross_entropy(x[:, 0])


def limited(x):
    with fs.threads(1):
        return fs.softmax(x)


def refused(call):
    try:
        call()
    except (TypeError, ValueError, IndexError, MemoryError):
        return
    raise AssertionError("was not refused")


def malloc_bytes():
    """Bytes in use by malloc, or 0 where the C library does not tell."""
    try:
        mallinfo = ctypes.CDLL(None).mallinfo2
    except (AttributeError, OSError, TypeError):
        return 0
    fields = "arena ordblks smblks hblks hblkhd usmblks fsmblks uordblks fordblks keepcost".split()
    info = type("Info", (ctypes.Structure,), {"_fields_": [(f, ctypes.c_size_t) for f in fields]})
    mallinfo.restype = info
    found = mallinfo()
    return found.uordblks + found.hblkhd


def resident():
    try:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


SHARED = {"float32": np.dtype("f4"), "float64": np.dtype("f8"), "None": None, "ndarray": np.ndarray,
          "()": (), "-1": -1, "IndexError": IndexError, "mean": sys.intern("mean")}  # fmt: skip


def count():
    gc.collect()
    counts = {"blocks": sys.getallocatedblocks(), "malloc": malloc_bytes(), "resident": resident()}
    # Python 3.12 made None and its like immortal: their count is one number then
    counts.update({name: sys.getrefcount(thing) for name, thing in SHARED.items()})
    return counts


# What comes and goes by itself; a block lost by one call of 75 is 600 in half of 100,000.
MARGIN = {"blocks": 300, "malloc": 5_000, "resident": 1 << 20}


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--calls", type=int, default=1_000_000)
    total = parser.parse_args().calls
    right, wrong = calls()
    made, counts = 0, []
    marks = [total // 10, total * 11 // 20, total]
    while marks:
        for call in right:
            call()
        for call in wrong:
            refused(call)
        made += len(right) + len(wrong)
        if made >= marks[0]:
            counts or count()  # which leaves something itself, once
            counts.append(count())
            marks.pop(0)
    first, middle, last = counts
    grown = {name: (middle[name] - first[name], last[name] - middle[name]) for name in last}
    leaks = {name: by for name, by in grown.items() if min(by) > MARGIN.get(name, 100)}
    print(f"{made} calls of {len(right) + len(wrong)} kinds; "
          + ", ".join(f"{name} {a:+} {b:+}" for name, (a, b) in grown.items()))  # fmt: skip
    if leaks:
        print(f"LEFT BEHIND: {leaks}")
    return bool(leaks)


if __name__ == "__main__":
    sys.exit(main())
