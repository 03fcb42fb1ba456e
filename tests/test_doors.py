"""The doors of the core: what goes through one is what the general way gives, bit by bit; what a
door is not for reaches the general way whole. A door stands before the function it wraps, so
__wrapped__ is the general way itself."""

import copy
import inspect
import itertools
import pickle

import numpy as np
import pytest
from conftest import same_bits

import fastsoftmax
from fastsoftmax._backend import core

UNARY = ["softmax", "log_softmax", "logsumexp"]
LOSSES = ["cross_entropy", "cross_entropy_with_grad"]
SHAPES = [(10,), (1, 10), (32, 10), (3, 1), (2, 3, 5), (0, 4), (300, 70), (2, 40_000)]
WITH_DOOR = pytest.mark.skipif(core.isas() == ["reference"], reason="the reference has no doors")


def general(name):
    return inspect.unwrap(getattr(fastsoftmax, name))


def outcome(function, *arguments, **options):
    """What a call returns, or its error, in a form that can be compared."""
    try:
        result = function(*arguments, **options)
    except Exception as error:
        return type(error), str(error)
    parts = result if isinstance(result, tuple) else (result,)
    return [(type(part), part.dtype, part.shape, part.tobytes()) for part in parts]


def logits(rng, shape, dtype):
    return rng.normal(0, 4, shape).astype(dtype)


def options_of_losses(rng, x, t):
    """What doors let through beside labels: each alone, and all of them."""
    weight, sample_weight = rng.random(x.shape[-1]), rng.random(t.shape)
    options = [("label_smoothing", 0.3), ("z_loss", 0.1), ("weight", weight),
               ("sample_weight", sample_weight)]  # fmt: skip
    yield from ({name: value} for name, value in options)
    yield dict(options)
    yield {"weight": weight.astype(np.float32), "sample_weight": sample_weight.astype(np.float32)}


@WITH_DOOR
@pytest.mark.parametrize("name", UNARY + LOSSES)
def test_a_door_is_the_function_that_it_stands_before(name):
    door, way = getattr(fastsoftmax, name), general(name)
    assert door is not way
    assert inspect.signature(door, follow_wrapped=False) == inspect.signature(way)
    for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
        assert getattr(door, attribute) == getattr(way, attribute)
    assert inspect.isroutine(door)  # help() and documentation take it for a function
    assert pickle.loads(pickle.dumps(door)) is door
    assert copy.deepcopy(door) is door


@WITH_DOOR
@pytest.mark.parametrize("name", UNARY + LOSSES)
def test_plain_calls_do_not_take_the_general_way(name, monkeypatch, rng):
    """Else every test below would compare the general way with itself."""
    from fastsoftmax import _api

    def not_this_way(*arguments, **options):
        raise AssertionError("the general way was taken")

    monkeypatch.setattr(_api, "real_array", not_this_way)
    monkeypatch.setattr(_api, "LossCall", not_this_way)
    x, function = logits(rng, (4, 6), np.float32), getattr(fastsoftmax, name)
    if name in UNARY:
        y = np.empty(4 if name == "logsumexp" else (4, 6), np.float32)
        for options in ({}, {"axis": 1}, {"threads": 1}, {"out": y}):
            function(x, **options)
        if name != "logsumexp":
            function(x, out=x)
    else:
        for kind in "bBhHiIlLqQ":
            function(x, np.array([0, 5, 2, 1], kind))
        t = np.array([0, 5, -1, 1])
        for reduction in ("mean", "sum", "none"):
            function(x, t, reduction=reduction, axis=1, ignore_index=-1, threads=2)
        for options in options_of_losses(rng, x, t):
            function(x, t, ignore_index=-1, **options)
            function(x, np.full_like(x, 1 / 6), **options)
        if name == "cross_entropy_with_grad":
            function(x, t, ignore_index=-1, out=np.empty_like(x))
            function(x, t, ignore_index=-1, out=x)
    with pytest.raises(AssertionError, match="the general way"):
        function(*((x.T,) if name in UNARY else (x.T, np.arange(6) % 4)))


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", UNARY)
def test_unary(name, shape, dtype, rng):
    x = logits(rng, shape, dtype)
    door, way, last = getattr(fastsoftmax, name), general(name), len(shape) - 1
    for options in ({}, {"axis": last}, {"threads": 1}, {"axis": -1, "threads": 2}):
        assert outcome(door, x, **options) == outcome(way, x, **options)
    y = np.full(shape[:-1] if name == "logsumexp" else shape, 7, dtype)
    assert door(x, out=y) is y
    assert same_bits(y, np.asarray(way(x)))
    if name != "logsumexp":
        expected, place = way(x), x.copy()
        assert door(place, out=place) is place
        assert same_bits(place, expected)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LOSSES)
def test_losses(name, shape, dtype, rng):
    x, last = logits(rng, shape, dtype), len(shape) - 1
    labels = rng.integers(0, shape[-1], shape[:-1])
    door, way = getattr(fastsoftmax, name), general(name)
    for kind, reduction, ignored in itertools.product(
        (np.int64, np.int32, np.uint8, np.uint64), ("mean", "sum", "none"), (-100, 0)
    ):
        t = np.asarray(labels % 256 % shape[-1]).astype(kind)
        options = {"reduction": reduction, "ignore_index": ignored, "axis": last, "threads": 2}
        assert outcome(door, x, t, **options) == outcome(way, x, t, **options)
    assert outcome(door, x, labels) == outcome(way, x, labels)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", LOSSES)
def test_losses_with_options(name, shape, dtype, rng):
    x = logits(rng, shape, dtype)
    labels = np.asarray(rng.integers(0, shape[-1], shape[:-1]))
    soft = rng.random(shape).astype(dtype)
    door, way = getattr(fastsoftmax, name), general(name)
    for options in options_of_losses(rng, x, labels):
        for reduction, t in itertools.product(("mean", "none"), (labels, soft)):
            both = {"reduction": reduction, "ignore_index": 0, **options}
            assert outcome(door, x, t, **both) == outcome(way, x, t, **both)


@pytest.mark.usefixtures("isa")
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_gradient_into_an_array(reduction, shape, dtype, rng):
    x, t = logits(rng, shape, dtype), rng.integers(0, shape[-1], shape[:-1])
    expected = outcome(general("cross_entropy_with_grad"), x, t, reduction=reduction)
    for out in (np.full(shape, 7, dtype), x):
        both = fastsoftmax.cross_entropy_with_grad(x, t, reduction=reduction, out=out)
        assert both[1] is out
        assert outcome(lambda both=both: both) == expected


def odd_unary_calls(rng):
    x = logits(rng, (4, 6), np.float32)
    memory = np.zeros(40, np.float32)
    memory[:24] = x.ravel()
    inside = memory[:24].reshape(4, 6)
    read_only = np.zeros((4, 6), np.float32)
    read_only.flags.writeable = False
    for name in UNARY:
        like = np.full(4 if name == "logsumexp" else (4, 6), 7, np.float32)
        for axis in (True, -1.0, 2, -3, 10**30, None, (1,), np.int64(-1), "1"):
            yield name, x, {"axis": axis}
        for threads in (0, -1, True, 2**31, 10**30, 1.0, "1", np.int64(1)):
            yield name, x, {"threads": threads}
        for out in (
            like[..., :1], like.astype(np.float64), like[None], like.tolist(), read_only,
            np.zeros(like.shape[::-1], np.float32), np.zeros((), np.float32),
            np.zeros(like.shape, ">f4"), np.ma.array(like), like[::-1],
            memory[1 : 1 + like.size].reshape(like.shape),
            memory[: like.size].reshape(like.shape),
        ):  # fmt: skip
            yield name, inside, {"out": out}
        for odd in (x[0, 0], x[:, :0], x > 0, x.T, x.astype(">f4"), x.astype(int), [[1.0]], None):
            yield name, odd, {}
    for keepdims in (True, 0, 1, np.False_):
        yield "logsumexp", x, {"keepdims": keepdims}
    yield "logsumexp", x[0], {"out": np.zeros((), np.float32)}


def test_odd_unary_calls_reach_the_general_way(rng):
    """Errors and results of what looks nearly plain, and what stands in the arrays after it."""
    count = 0
    for (name, x, options), (_, same, other) in zip(
        odd_unary_calls(np.random.default_rng(3)), odd_unary_calls(np.random.default_rng(3)),
        strict=True,
    ):  # fmt: skip
        found = outcome(getattr(fastsoftmax, name), x, **options)
        assert found == outcome(general(name), same, **other), (name, options)
        assert repr(x) == repr(same)
        assert repr(options) == repr(other)
        count += 1
    assert count > 90


def odd_losses(rng):
    x, t = logits(rng, (4, 6), np.float32), np.array([0, 5, 2, 1])
    memory = np.zeros(48, np.float32)
    memory[:24] = x.ravel()
    inside = memory[:24].reshape(4, 6)
    for name, options in (
        ("axis", (True, -1.0, 0, 2, None)), ("threads", (0, True, 2**31, 1.0)),
        ("ignore_index", (True, 2**63, -(2**63), 2**70, 5, 1.0, np.int64(5), None)),
        ("reduction", ("Mean", "", None, b"mean", np.str_("sum"), 0)),
        ("label_smoothing", (False, 0, -0.0, 0.1, 2, np.float64(0), float("nan"))),
        ("z_loss", (False, 0, 1e-3, None, float("inf"))), ("normalizer", (2.0, 0, "x")),
        ("weight", (1, np.ones(6), np.ones(5), np.ones((6, 1)), np.ones(12)[::2], np.ones(6, int))),
        ("sample_weight", (2, [1, 2, 3], np.ones(6), np.ones((4, 1)), np.ones(8)[::2])),
    ):  # fmt: skip
        for option in options:
            yield x, t, {name: option}
    for labels in (
        t + 1, t - 1, -t, t.tolist(), t.astype(float), t > 1, t[:, None], t[:3], t.astype(">i8"),
        t.astype(np.uint64) + 2**63, np.repeat(t, 2)[::2], np.ma.array(t), np.ones((4, 6)) / 6,
    ):  # fmt: skip
        yield x, labels, {}
    for odd in (x[0], x[0, 0], x[:, :0], x[:0], x.T, x.astype(np.float16), x.tolist()):
        yield odd, t, {}
    for out in (
        x[:, :1], x.astype(np.float64), x.T, x.tolist(), np.ma.array(x),
        memory[6:30].reshape(4, 6), memory[24:].reshape(4, 6), memory[:24].reshape(4, 6),
    ):  # fmt: skip
        yield inside, t, {"out": out}
        yield inside, t + 1, {"out": out}
    shared, out = np.zeros(24, np.float32), np.zeros((4, 6), np.float32)
    yield x, shared[3:11].view(np.int64), {"out": shared.reshape(4, 6)}
    yield x, shared.reshape(4, 6), {"out": shared.reshape(4, 6)}
    for name, size in (("weight", 6), ("sample_weight", 4)):
        yield x, t, {name: out.ravel().view(np.float64)[:size], "out": out}
        yield x, t, {name: out.ravel()[:size], "out": out}


@pytest.mark.parametrize("name", LOSSES)
def test_odd_losses_reach_the_general_way(name):
    count = 0
    for (x, t, options), (same, labels, other) in zip(
        odd_losses(np.random.default_rng(3)), odd_losses(np.random.default_rng(3)), strict=True
    ):
        if name == "cross_entropy" and "out" in options:
            continue
        found = outcome(getattr(fastsoftmax, name), x, t, **options)
        assert found == outcome(general(name), same, labels, **other), options
        assert repr((x, t, options)) == repr((same, labels, other))
        count += 1
    assert count > 65
