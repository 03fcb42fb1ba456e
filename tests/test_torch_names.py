"""fastsoftmax.torch: torch.nn.functional's functions on CPU tensors, under every way of calling."""

import copy
import inspect

import numpy as np
import pytest
from conftest import assert_exact, same_bits

import fastsoftmax
from fastsoftmax import testing

torch = pytest.importorskip("torch")
F = torch.nn.functional
ours = pytest.importorskip("fastsoftmax.torch")
operators = pytest.importorskip("fastsoftmax._torch_operators")

DOUBLE = torch.float64
REDUCTIONS = ["mean", "sum", "none"]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def leaf(*shape, dtype=DOUBLE):
    return torch.randn(*shape, dtype=dtype, requires_grad=True)


def assert_near(mine, theirs, ulps=64):
    """In units in the last place of the largest element: theirs errs more than ours, mostly."""
    unit = torch.finfo(theirs.dtype).eps * theirs.detach().abs().max()
    assert (mine.shape, mine.dtype) == (theirs.shape, theirs.dtype)
    assert ((mine - theirs).abs() <= ulps * unit).all()


def check(function, *inputs):
    assert torch.autograd.gradcheck(function, inputs)
    assert torch.autograd.gradgradcheck(function, inputs)


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "cross_entropy"])
def test_signatures(name):
    theirs = inspect.signature(getattr(F, name)).parameters.values()
    mine = inspect.signature(getattr(ours, name)).parameters.values()
    assert [(p.name, p.default) for p in mine] == [(p.name, p.default) for p in theirs]


# --- values ---


@pytest.mark.parametrize("dim", [0, 1, -1])
@pytest.mark.parametrize("type_", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ["softmax", "log_softmax"])
def test_same_bits_as_the_package(name, type_, dim):
    base = torch.randn(6, 5, 8, dtype=type_)
    for x in (base[:4, :, :7], base.transpose(0, 2), base.requires_grad_(), base[:, :1]):
        mine = getattr(ours, name)(x, dim)
        plain = x.detach().numpy()
        assert same_bits(mine.detach().numpy(), getattr(fastsoftmax, name)(plain, dim))
        assert mine.stride() == torch.empty_like(x).stride()


@pytest.mark.parametrize("keepdim", [False, True])
@pytest.mark.parametrize("dim", [0, -1, (0, 2), [1]])
def test_logsumexp(dim, keepdim):
    x = torch.randn(4, 5, 6)
    theirs = torch.logsumexp(x, dim, keepdim)
    mine = ours.logsumexp(x, dim, keepdim)
    assert mine.shape == theirs.shape
    exact = testing.logsumexp(x.numpy(), tuple(dim) if isinstance(dim, list) else dim)
    assert_exact("logsumexp", mine.numpy().reshape(exact.shape), exact, 3.0)


def test_no_dim_is_every_dim():
    x = torch.randn(4, 5)
    assert torch.equal(ours.logsumexp(x, ()), ours.logsumexp(x, (0, 1)))


def test_zero_copy(monkeypatch):
    seen = []
    real = fastsoftmax._api.softmax

    def spy(x, *rest, **more):
        seen.extend([x, real(x, *rest, **more)])
        return seen[-1]

    monkeypatch.setattr(fastsoftmax._api, "softmax", spy)
    for x, dim in ((torch.randn(3, 4), 1), (torch.randn(3, 4), 0), (torch.randn(4, 3).T, 1)):
        y = ours.softmax(x, dim)
        assert [k.ctypes.data for k in seen[-2:]] == [x.data_ptr(), y.data_ptr()]


def test_scalars_and_empty():
    assert ours.softmax(torch.tensor(3.0), 0) == 1
    assert ours.log_softmax(torch.tensor(3.0), -1) == 0
    assert ours.logsumexp(torch.tensor(3.0), 0) == 3
    assert ours.softmax(torch.empty(0, 3), 1).shape == (0, 3)
    assert ours.softmax(torch.empty(3, 0), 1).shape == (3, 0)
    x = torch.tensor(3.0, requires_grad=True)
    ours.softmax(x, 0).backward()
    assert x.grad == 0


@pytest.mark.parametrize("type_", [torch.bfloat16, torch.float16])
def test_half_precision_goes_through_float32(type_):
    x = torch.randn(3, 50).to(type_)
    for name in ("softmax", "log_softmax", "logsumexp"):
        function = getattr(ours, name)
        assert torch.equal(function(x, 1), function(x.float(), 1).to(type_))
    x.requires_grad_()
    wide = x.detach().float().requires_grad_()
    target = torch.tensor([1, 2, 3])
    loss, exact = ours.cross_entropy(x, target), ours.cross_entropy(wide, target)
    loss.backward()
    exact.backward()
    assert loss.dtype == x.grad.dtype == type_
    assert torch.equal(loss, exact.to(type_)) and torch.equal(x.grad, wide.grad.to(type_))


def test_dtype_argument():
    x = torch.randint(0, 5, (3, 4))
    assert torch.equal(ours.softmax(x, 1, dtype=DOUBLE), ours.softmax(x.double(), 1))
    y = torch.randn(3, 4, requires_grad=True)
    ours.log_softmax(y, 1, dtype=DOUBLE)[0, 0].backward()
    assert y.grad.dtype == torch.float32


def test_implicit_dim_warns():
    x = torch.randn(3, 4)
    with pytest.warns(UserWarning, match="Implicit dimension choice"):
        assert torch.equal(ours.softmax(x), ours.softmax(x, 1))
    with pytest.warns(UserWarning):
        assert torch.equal(ours.log_softmax(x[0]), ours.log_softmax(x[0], 0))


TARGETS = {
    "labels": torch.tensor([[1, 2, -100], [0, 0, 4], [3, 3, 3], [2, 1, 0]]),
    "probabilities": torch.rand(4, 5, 3, dtype=DOUBLE),
}


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("kind", TARGETS)
def test_cross_entropy(kind, reduction, weighted, smoothing):
    x, target = leaf(4, 5, 3), TARGETS[kind]
    weight = torch.rand(5, dtype=DOUBLE) + 0.1 if weighted else None
    options = {"weight": weight, "reduction": reduction, "label_smoothing": smoothing}
    mine, theirs = ours.cross_entropy(x, target, **options), F.cross_entropy(x, target, **options)
    seed_ = torch.randn(mine.shape, dtype=DOUBLE)
    (grad,) = torch.autograd.grad(mine, x, seed_)
    (other,) = torch.autograd.grad(theirs, x, seed_)
    assert_near(mine, theirs)
    assert_near(grad, other)
    check(lambda x: ours.cross_entropy(x, target, **options), x)
    if kind == "probabilities":
        soft = target.clone().requires_grad_()
        check(lambda x, t: ours.cross_entropy(x, t, **options), x, soft)


def test_the_gradient_is_exact_and_kept():
    x = leaf(8, 1000, dtype=torch.float32)
    target = torch.arange(8)
    loss = ours.cross_entropy(x, target, reduction="sum")
    loss.backward()
    exact = testing.gradient(x.detach().numpy(), target)
    assert_exact("cross_entropy_with_grad", x.grad.numpy(), exact)
    # Kept: the backward of a loss is the very tensor that the sweep has written.
    y = leaf(8, 1000, dtype=torch.float32)
    loss = ours.cross_entropy(y, target)
    kept = loss.grad_fn.saved_tensors[-1]
    (grad,) = torch.autograd.grad(loss, y)
    assert grad.data_ptr() == kept.data_ptr()


def test_no_exponential_in_backward(monkeypatch):
    x = leaf(4, 6)
    loss = ours.cross_entropy(x, torch.tensor([0, 1, 2, 3])) * 3
    for name in ("softmax", "cross_entropy", "cross_entropy_with_grad"):
        monkeypatch.delattr(fastsoftmax._api, name)
    loss.backward()
    assert torch.isfinite(x.grad).all()


def test_backward_twice_and_accumulated():
    x = leaf(4, 6)
    target = torch.tensor([0, 1, 2, 3])
    loss = ours.cross_entropy(x, target)
    loss.backward(retain_graph=True)
    once = x.grad.clone()
    loss.backward()
    assert torch.equal(x.grad, 2 * once)


def test_one_sample_without_a_batch():
    x = leaf(5)
    for target in (torch.tensor(2), torch.rand(5, dtype=DOUBLE)):
        mine, theirs = ours.cross_entropy(x, target), F.cross_entropy(x, target)
        assert_near(mine, theirs)
        check(lambda x, t=target: ours.cross_entropy(x, t), x)


def test_deprecated_reductions():
    x, target = torch.randn(3, 4), torch.tensor([0, 1, 2])
    for old, new in (({"reduce": False}, "none"), ({"size_average": False}, "sum")):
        with pytest.warns(UserWarning, match="deprecated"):
            mine = ours.cross_entropy(x, target, **old)
        assert torch.equal(mine, ours.cross_entropy(x, target, reduction=new))


def test_module():
    weight = torch.rand(5)
    theirs = torch.nn.CrossEntropyLoss(weight=weight, ignore_index=1, label_smoothing=0.1)
    mine = ours.CrossEntropyLoss(weight=weight, ignore_index=1, label_smoothing=0.1)
    assert isinstance(mine, torch.nn.CrossEntropyLoss)
    mine.load_state_dict(theirs.state_dict())
    x, target = torch.randn(6, 5), torch.tensor([0, 1, 2, 3, 4, 1])
    assert_near(mine(x, target), theirs(x, target))
    assert copy.deepcopy(mine)(x, target) == mine(x, target)


# --- differentiation ---


@pytest.mark.parametrize("dim", [0, 1, -1])
def test_gradients_of_the_family(dim):
    x = leaf(3, 4, 2)
    check(lambda x: ours.softmax(x, dim), x)
    check(lambda x: ours.log_softmax(x, dim), x)
    check(lambda x: ours.logsumexp(x, dim), x)
    check(lambda x: ours.logsumexp(x, (0, 2), True), x)


def calls(x, target):
    yield lambda x: ours.softmax(x, 1)
    yield lambda x: ours.log_softmax(x, 0)
    yield lambda x: ours.logsumexp(x, 1)
    yield lambda x: ours.cross_entropy(x, target)


def test_without_gradients():
    x, target = leaf(3, 4), torch.tensor([0, 1, 2])
    for function in calls(x, target):
        expected = function(x).detach()
        with torch.no_grad():
            assert not function(x).requires_grad
        with torch.inference_mode():
            result = function(x)
        assert result.is_inference() and torch.equal(result, expected)


@pytest.mark.filterwarnings("default")  # PyTorch's own
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_compile(backend):
    def step(x, target, weight):
        hidden = x * 2
        loss = ours.cross_entropy(hidden, target, weight, label_smoothing=0.1)
        rows = ours.cross_entropy(hidden, target, reduction="none")
        family = ours.softmax(x, -1)[0, 0] + ours.log_softmax(x.t(), 0)[0, 0]
        return loss + rows.mean() + family + ours.logsumexp(x, 1).sum()

    x, target, weight = leaf(4, 5), torch.tensor([0, 1, 2, 3]), torch.rand(5, dtype=DOUBLE)
    try:
        compiled = torch.compile(step, fullgraph=True, backend=backend)
        loss = compiled(x, target, weight)
    except Exception as error:
        if backend == "inductor" and "ompiler" in str(error):
            pytest.skip("no C++ compiler for inductor")
        raise
    (grad,) = torch.autograd.grad(loss, x)
    (expected,) = torch.autograd.grad(step(x, target, weight), x)
    assert_near(grad, expected)


def test_operators_pass_opcheck():
    x, target = leaf(3, 4), torch.tensor([0, 1, 2])
    y = torch.softmax(x.detach(), 1)
    for operator, arguments in (
        (operators.softmax, (x, [1])),
        (operators.log_softmax, (x, [0])),
        (operators.logsumexp, (x, [0, 1], True)),
        (operators.softmax_backward, (x, y, [1])),
        (operators.log_softmax_backward, (x, y, [1])),
        (operators.loss_with_grad, (x, target, None, -100, "mean", 0.1)),
        (operators.loss, (x.detach(), target, None, -100, "none", 0.0)),
    ):
        tests = ("test_schema", "test_faketensor", "test_autograd_registration")
        torch.library.opcheck(operator.traced, arguments, test_utils=tests)


def test_vmap():
    x = torch.randn(3, 4, 5, dtype=DOUBLE)
    for name in ("softmax", "log_softmax"):
        mine, theirs = getattr(ours, name), getattr(F, name)
        for at in (0, 1, 2):
            result = torch.vmap(lambda a, f=mine: f(a, 0), in_dims=at)(x)
            expected = torch.vmap(lambda a, f=theirs: f(a, 0), in_dims=at)(x)
            assert_near(result, expected)
        scalars = torch.vmap(lambda a, f=mine: f(a, 0))(x[0, 0])
        assert torch.equal(scalars, mine(x[0, :1].T, 1)[:, 0])
    result = torch.vmap(lambda a: ours.logsumexp(a, 1))(x)
    assert torch.equal(result, ours.logsumexp(x, 2))
    with pytest.raises(NotImplementedError, match="vmap"):
        torch.vmap(lambda a: ours.cross_entropy(a, torch.tensor([0, 1, 2, 3])))(x)


def test_transforms():
    x = torch.randn(4, 5, dtype=DOUBLE)
    target = torch.tensor([0, 1, 2, 3])
    mine = torch.func.grad(lambda x: ours.cross_entropy(x, target))(x)
    theirs = torch.func.grad(lambda x: F.cross_entropy(x, target))(x)
    assert_near(mine, theirs)
    mine = torch.func.jacrev(lambda x: ours.log_softmax(x, 1))(x)
    theirs = torch.func.jacrev(lambda x: F.log_softmax(x, 1))(x)
    assert_near(mine, theirs)
    each = torch.vmap(torch.func.grad(lambda a: ours.softmax(a, 0)[0]))(x)
    expected = torch.vmap(torch.func.grad(lambda a: F.softmax(a, 0)[0]))(x)
    assert_near(each, expected)


def test_fake_tensors():
    x = torch.randn(3, 4, device="meta")
    assert ours.softmax(x, 1).shape == (3, 4)
    assert ours.logsumexp(x, (0, 1)).shape == ()
    assert ours.cross_entropy(x, torch.empty(3, dtype=torch.long, device="meta")).shape == ()


def test_same_learning_curve():
    def train(cross_entropy):
        torch.manual_seed(1)
        model = torch.nn.Linear(20, 500, dtype=DOUBLE)
        optimiser = torch.optim.SGD(model.parameters(), lr=1.0, momentum=0.9)
        for _ in range(30):
            x, target = torch.randn(40, 20, dtype=DOUBLE), torch.randint(0, 500, (40,))
            loss = cross_entropy(model(x), target)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            yield loss.item()

    mine, theirs = list(train(ours.cross_entropy)), list(train(F.cross_entropy))
    assert max(abs(a - b) / b for a, b in zip(mine, theirs, strict=True)) < 2.0**-40


# --- what is refused ---


def test_other_devices_are_refused(monkeypatch):
    class OnDevice(torch.Tensor):
        device = torch.device("cuda:0")

    x = torch.zeros(2, 3).as_subclass(OnDevice)
    for call in (
        lambda: ours.softmax(x, 1),
        lambda: ours.logsumexp(x, 1),
        lambda: ours.cross_entropy(x, torch.tensor([0, 1])),
    ):
        with pytest.raises(TypeError, match=r"input: got a tensor on cuda:0.*\.cpu\(\)"):
            call()
    with pytest.raises(TypeError, match="target: got a tensor on cuda"):
        ours.cross_entropy(torch.zeros(2, 3), torch.tensor([0, 1]).as_subclass(OnDevice))


def test_bad_arguments():
    x, target = torch.randn(2, 3), torch.tensor([0, 1])
    zeros = torch.zeros(2, 3)
    for bad in (np.zeros((2, 3)), zeros.to(torch.complex64), zeros.int(), zeros.to_sparse()):
        with pytest.raises(TypeError, match="^input: "):
            ours.softmax(bad, 0)
    with pytest.raises(IndexError, match="^dim: "):
        ours.softmax(x, 2)
    with pytest.raises(IndexError, match=r"targets\[1\]: label 3"):
        ours.cross_entropy(x, torch.tensor([0, 3]))
    with pytest.raises(ValueError, match="targets"):
        ours.cross_entropy(x, torch.tensor([0, 1, 2]))
    with pytest.raises(TypeError, match="targets"):
        ours.cross_entropy(x, torch.tensor([True, False]))
    with pytest.raises(ValueError, match="^ignore_index"):
        ours.cross_entropy(x, torch.rand(2, 3), ignore_index=1)
    with pytest.raises(ValueError, match="^reduction"):
        ours.cross_entropy(x, target, reduction="average")
    with pytest.raises(NotImplementedError, match="^weight"):
        ours.cross_entropy(x, target, torch.ones(3, requires_grad=True))


@pytest.mark.filterwarnings("default::DeprecationWarning")  # PyTorch's own, of torch.jit
def test_forward_mode_is_refused():
    x = torch.randn(2, 3)
    with pytest.raises(NotImplementedError, match="jvp"):
        torch.func.jvp(lambda x: ours.softmax(x, 1), (x,), (x,))
