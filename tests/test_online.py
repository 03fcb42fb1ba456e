"""The mergeable state: whatever the split and the order, the bounds of the one-shot functions."""

import pickle

import numpy as np
import pytest
import worst_rows
from conftest import assert_exact, in_units_of, same_bits

import fastsoftmax
from fastsoftmax import OnlineSoftmax, _online, testing
from fastsoftmax._backend import core

pytestmark = pytest.mark.usefixtures("isa")


def splits(rng, n):
    """Cuts of n classes: whole, one by one, halves, uneven with empty blocks."""
    yield [0, n]
    yield list(range(n + 1))
    yield [0, n // 2, n]
    cuts = sorted(rng.integers(0, n + 1, 7))
    yield sorted([0, *cuts, *cuts[-2:], n])


def blocks(x, cuts):
    return [x[..., a:b] for a, b in zip(cuts, cuts[1:], strict=False)]


def take(parts, order, how):
    """One state that takes all blocks, or a tree of states that are merged."""
    if how == "update":
        state = OnlineSoftmax()
        for k in order:
            state.update(parts[k])
        return state
    states = [OnlineSoftmax().update(parts[k]) for k in order]
    while len(states) > 1:
        states = [
            states[k].merge(states[k + 1]) if k + 1 < len(states) else states[k]
            for k in range(0, len(states), 2)
        ]
    return states[0]


def check(state, x, parts):
    scale = x.max(axis=-1)
    assert_exact("logsumexp", state.logsumexp(), testing.logsumexp(x), scale)
    for op in ("softmax", "log_softmax"):
        result = np.concatenate([getattr(state, op)(part) for part in parts], axis=-1)
        assert result.dtype == x.dtype
        assert_exact(op, result, getattr(testing, op)(x))
    rows = np.arange(len(x))
    for labels in (rows % x.shape[-1], x.argmax(axis=-1)):
        assert_exact("cross_entropy", state.cross_entropy(x[rows, labels]),
                     testing.cross_entropy(x, labels))  # fmt: skip


KINDS = {
    "ordinary": lambda rng, n: rng.normal(0, 10, n),
    "ascending": lambda rng, n: np.sort(rng.normal(0, 10, n)),
    "slowly ascending": lambda rng, n: np.arange(n) * 1e-3,
    "descending": lambda rng, n: -np.sort(rng.normal(0, 30, n)),
    "confident": lambda rng, n: rng.normal(0, 1, n) + 20 * (np.arange(n) == n // 3),
    "ties": lambda rng, n: rng.integers(-1, 2, n) * 30.0,
    "logsumexp near 0": lambda rng, n: rng.normal(0, 1e-3, n) - np.log(n),
    "logsumexp half of max": lambda rng, n: worst_rows.balanced(rng, n, True),
    "far below 0": lambda rng, n: rng.normal(-600, 300, n),
    "around 2e4": lambda rng, n: rng.normal(0, 5, n) + 2e4,
    "around the limit": lambda rng, n: 2.0**20 + rng.normal(0, 30, n),
    "across origins": lambda rng, n: 2.0**21 + 512 + rng.normal(0, 30, n),
    "around -1e7": lambda rng, n: rng.normal(0, 30, n) - 1e7,
    "around 1e30": lambda rng, n: 1e30 * (1 + rng.integers(-2, 3, n) * 2.0**-22),
    "every size": lambda rng, n: rng.choice([-1, 1], n) * 10.0 ** rng.uniform(-30, 8, n),
    "some -inf": lambda rng, n: np.where(np.arange(n) % 3 == 1, -np.inf, rng.normal(0, 5, n)),
}


@pytest.mark.parametrize("how", ["update", "merge"])
@pytest.mark.parametrize("kind", KINDS)
def test_any_split_in_any_order(kind, how, dtype, rng):
    for n in (1, 2, 37, 100):
        x = np.array([KINDS[kind](rng, n) for _ in range(3)]).astype(dtype)
        for cuts in splits(rng, n):
            parts = blocks(x, cuts)
            for order in (range(len(parts)), rng.permutation(len(parts))):
                check(take(parts, order, how), x, parts)


@pytest.mark.parametrize("order", ["ascending", "descending", "as it comes"])
def test_many_steps_do_not_add_up_errors(order, dtype, rng):
    x = rng.normal(0, 1e-3, (2, 3000)).astype(dtype)
    if order != "as it comes":
        x.sort(axis=-1)
    if order == "descending":
        x = np.ascontiguousarray(x[:, ::-1])
    parts = blocks(x, list(range(3001)))
    check(take(parts, range(3000), "update"), x, blocks(x, [0, 1000, 3000]))


def test_one_block_is_logsumexp(rng):
    """The largest logit and the logarithm as two numbers are rounded once, as the kernels do it: in
    one double more than a whole ULP is lost where they nearly cancel."""
    if core.current_isa() == "reference":
        pytest.skip("no compiled kernels")
    for n in (2, 3, 4, 17, 40):
        x = np.array([worst_rows.balanced(rng, n, False) for _ in range(2000)])
        assert same_bits(OnlineSoftmax().update(x).logsumexp(), fastsoftmax.logsumexp(x))


def test_long_rows(dtype, rng):
    x = rng.normal(0, 10, (2, 70001)).astype(dtype)
    parts = blocks(x, [0, 5000, 5001, 66000, 70001])
    check(take(parts, [2, 0, 3, 1], "merge"), x, parts)


def test_a_confident_loss_keeps_its_digits():
    state = OnlineSoftmax().update(np.float32([[0]])).update(np.float32([[20, 0]]))
    assert state.cross_entropy(np.float32([20])) == np.float32(4.1223075e-09)
    state = OnlineSoftmax().update([[0.0]]).update([[40.0, 0.0]])
    truth = 2 * np.exp(np.longdouble(-40))
    assert testing.ulp_error(state.cross_entropy([40.0]), truth).max() <= 4


@pytest.mark.parametrize("axis", [0, 1, -1, (0, 2), None, ()])
def test_axes(axis, dtype, rng):
    x = rng.normal(0, 5, (4, 5, 6)).astype(dtype)
    state = OnlineSoftmax(axis)
    if axis == ():
        state.update(x)
    else:
        along = {None: 0, (0, 2): 2}.get(axis, axis)
        for part in np.array_split(x, 2, axis=along):
            state.update(part)
    truth = testing.logsumexp(x, axis)
    assert_exact("logsumexp", state.logsumexp(), truth, x.max(axis=axis))
    assert_exact("softmax", state.softmax(x), testing.softmax(x, axis))
    assert_exact("log_softmax", state.log_softmax(x), testing.log_softmax(x, axis))


def test_layouts_do_not_change_a_bit(dtype, rng):
    x = rng.normal(0, 5, (6, 40)).astype(dtype)
    plain = OnlineSoftmax().update(x)
    swapped = x.astype(x.dtype.newbyteorder())
    for other in (np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2], swapped):
        state = OnlineSoftmax().update(other)
        assert same_bits(state._states, plain._states)
        assert same_bits(state.softmax(other), plain.softmax(x))


def test_out(dtype, rng):
    x = rng.normal(0, 5, (6, 40)).astype(dtype)
    state = OnlineSoftmax().update(x)
    fresh = state.softmax(x)
    for out in (np.empty_like(x), np.empty_like(x, order="F"), x):
        assert state.softmax(x, out=out) is out
        assert same_bits(out, fresh)
    with pytest.raises(ValueError, match="out"):
        state.softmax(x, out=np.empty((6, 41), dtype))


def test_specials(dtype):
    inf, nan = np.inf, np.nan
    x = np.array([[0, inf, 1], [0, nan, 1], [inf, nan, 1], [-inf] * 3, [1, -inf, 2]], dtype)
    for cuts in ([0, 3], [0, 1, 2, 3], [0, 1, 3]):
        for order in (1, -1):
            parts = blocks(x, cuts)
            state = take(parts, range(len(parts))[::order], "merge")
            once = fastsoftmax.logsumexp(x)
            assert np.array_equal(np.isnan(state.logsumexp()), np.isnan(once))
            assert np.array_equal(state.logsumexp()[[0, 3]], [inf, -inf])
            p = state.softmax(x)
            assert np.isnan(p[:4]).all() and p[4, 1] == 0
            assert np.isnan(state.log_softmax(x)[:4]).all() and state.log_softmax(x)[4, 1] == -inf
            loss = state.cross_entropy(x[:, 1])
            assert np.isnan(loss[:3]).all() and np.isnan(loss[3]) and loss[4] == inf


def test_no_classes():
    state = OnlineSoftmax().update(np.empty((3, 0)))
    assert np.array_equal(state.logsumexp(), [-np.inf] * 3)
    state.update(np.ones((3, 1)))
    assert np.array_equal(state.logsumexp(), [1] * 3)
    assert state.softmax(np.empty((3, 0))).shape == (3, 0)


def test_no_rows():
    state = OnlineSoftmax().update(np.empty((0, 4))).merge(OnlineSoftmax().update(np.empty((0, 2))))
    assert state.logsumexp().shape == (0,)
    assert state.softmax(np.empty((0, 4))).shape == (0, 4)
    assert state.cross_entropy(np.empty(0)).shape == (0,)


def test_vector_and_scalar_blocks(dtype):
    state = OnlineSoftmax().update(np.zeros(3, dtype)).update(np.zeros(1, dtype))
    assert type(state.logsumexp()) is dtype.type
    assert in_units_of(state.logsumexp(), np.log(np.longdouble(4)), 1) <= 1
    assert OnlineSoftmax().update(dtype.type(3)).logsumexp() == 3


def test_dtypes(rng):
    x = rng.normal(0, 5, (3, 10))
    half = OnlineSoftmax().update(x.astype(np.float16))
    assert half.softmax(x.astype(np.float16)).dtype == half.logsumexp().dtype == np.float16
    assert OnlineSoftmax().update(np.arange(6).reshape(2, 3)).dtype == np.float64
    mixed = OnlineSoftmax().update(x[:, :5].astype(np.float32)).update(x[:, 5:])
    assert mixed.dtype == np.float64
    assert mixed.softmax(x[:, :5].astype(np.float32)).dtype == np.float64
    # The exponentials of a float32 block are float32's, whatever the others are.
    both = np.concatenate([x[:, :5].astype(np.float32).astype(np.float64), x[:, 5:]], axis=1)
    result = mixed.logsumexp().astype(np.float32)
    assert_exact("logsumexp", result, testing.logsumexp(both), both.max(axis=1))


def test_pickles(rng):
    x = rng.normal(0, 5, (3, 10))
    state = OnlineSoftmax(axis=-1).update(x)
    other = pickle.loads(pickle.dumps(state))
    assert same_bits(other.logsumexp(), state.logsumexp())
    assert (other.axis, other.shape, other.dtype) == (-1, (3,), np.float64)
    assert len(pickle.dumps(OnlineSoftmax().update(np.zeros((10000, 2))))) < 33 * 10000


def test_merge_leaves_the_other_alone(rng):
    x = rng.normal(0, 5, (3, 10))
    a, b = OnlineSoftmax().update(x[:, :4]), OnlineSoftmax().update(x[:, 4:])
    before = b.logsumexp()
    empty = OnlineSoftmax().merge(b)
    a.merge(b).merge(OnlineSoftmax())
    empty.update(x[:, :4])
    assert same_bits(b.logsumexp(), before)
    assert same_bits(a.logsumexp(), empty.logsumexp())


def test_states_of_the_kernels_and_of_the_reference_merge(dtype, rng):
    """A machine without the extension may take part: the state means the same there."""
    x = rng.normal(0, 9, (5, 60)).astype(dtype)
    x[1] += 2e6
    states = np.zeros((5, 4))
    fastsoftmax.reference.state(x[:, :20], states, 1, 1)
    other = OnlineSoftmax().update(x[:, :20])
    other._states = states.view(_online.STATE).reshape(5)
    merged = OnlineSoftmax().update(x[:, 20:]).merge(other)
    check(merged, x, [x[:, :20], x[:, 20:]])
    a, b = states.copy(), OnlineSoftmax().update(x[:, 20:])._states.view(float).reshape(5, 4)
    fastsoftmax.reference.join_states(a, b)
    other._states = a.view(_online.STATE).reshape(5)
    check(other, x, [x[:, :20], x[:, 20:]])


def test_threads_do_not_change_a_bit(dtype, rng):
    x = rng.normal(0, 9, (300, 1000)).astype(dtype)
    a, b = OnlineSoftmax().update(x, threads=1), OnlineSoftmax().update(x, threads=4)
    assert same_bits(a._states, b._states)
    assert same_bits(a.softmax(x, threads=1), a.softmax(x, threads=4))


def test_a_logit_above_the_state_is_not_covered(dtype):
    state = OnlineSoftmax().update(np.zeros((2, 3), dtype))
    x = np.array([[0, 1e9], [0, 0]], dtype)
    for result in (state.softmax(x), state.log_softmax(x)):
        assert np.isnan(result[0]).all() and np.isfinite(result[1]).all()
    assert np.isnan(state.cross_entropy(x[:, 1])[0])


def test_what_is_refused(rng):
    state = OnlineSoftmax()
    for ask in (state.logsumexp, lambda: state.softmax([1.0]), lambda: state.cross_entropy(1.0)):
        with pytest.raises(ValueError, match="no block"):
            ask()
    with pytest.raises(TypeError, match="axis"):
        OnlineSoftmax(axis=1.5)
    with pytest.raises(TypeError, match="longdouble"):
        state.update(np.zeros(3, np.longdouble))
    with pytest.raises(TypeError, match="block"):
        state.update(np.zeros(3, complex))
    state.update(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"block: expected \(2,\)"):
        state.update(np.zeros((3, 3)))
    with pytest.raises(ValueError, match="other"):
        state.merge(OnlineSoftmax().update(np.zeros((3, 3))))
    with pytest.raises(TypeError, match="other"):
        state.merge(np.zeros((2, 3)))
    with pytest.raises(ValueError, match="target_logits"):
        state.cross_entropy(np.zeros(3))
    assert np.array_equal(state.logsumexp(), fastsoftmax.logsumexp(np.zeros((2, 3))))




def test_same_bits_on_every_instruction_set(dtype, rng):
    x = rng.normal(0, 9, (4, 3000)).astype(dtype)
    x[1] += 1e6
    vectors = [name for name in core.isas() if name not in ("scalar", "reference")]
    if len(vectors) < 2:
        pytest.skip("needs two vector instruction sets")
    results = []
    for name in vectors:
        core.use_isa(name)
        state = OnlineSoftmax().update(x[:, :1000]).update(x[:, 1000:])
        parts = state._states, state.softmax(x), state.log_softmax(x), state.logsumexp()
        results.append(b"".join(part.tobytes() for part in parts))
    assert len(set(results)) == 1
