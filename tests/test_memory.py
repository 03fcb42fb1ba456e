"""Memory of large results: recycled, never shared, bounded, and given back."""

import ctypes
import os
import pickle
import queue
import subprocess
import sys
import threading
import tracemalloc

import numpy as np
import pytest
from conftest import same_bits

import fastsoftmax as fs
from fastsoftmax import _memory
from fastsoftmax._backend import core

try:
    from numpy._core import _multiarray_umath as umath
except ImportError:  # NumPy 1.26
    from numpy.core import _multiarray_umath as umath

MIB = 1 << 20
OURS = "fastsoftmax"
compiled = fs.show_config("dicts")["backend"] == "compiled"
recycles = pytest.mark.skipif(not compiled, reason="the reference makes no results of its own")
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks /proc")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")


@pytest.fixture(autouse=True)
def nothing_kept():
    fs.set_recycle_limit(1 << 30)
    fs.release_memory()
    yield
    fs.set_recycle_limit(None)
    fs.release_memory()


def idle():
    return fs.show_config("dicts")["memory"]["idle"]


def maker(array):
    """The name of the allocator of an array's memory, its own or that of what it is a view of."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return umath.get_handler_name(array)


def result(mib, value=0.0):
    """A result of so many MiB, every entry 1 / 64."""
    return fs.softmax(np.full((int(mib * 2048), 64), value))


def address(array):
    return array.__array_interface__["data"][0]


# --- which arrays ---

ROWS = np.random.default_rng(3).normal(size=(5000, 64))
PAIRS = np.random.default_rng(4).normal(size=(200_000, 2))
LABELS = np.arange(5000) % 64
FIRST = np.zeros(200_000, np.int64)
HALF = np.random.default_rng(5).normal(size=(10_000, 64)).astype(np.float16)
WAYS = {
    "softmax": lambda: fs.softmax(ROWS),
    "log_softmax": lambda: fs.log_softmax(ROWS.astype(np.float32).reshape(2, 2500, 64)),
    "axis 0": lambda: fs.softmax(ROWS, axis=0),
    "Fortran order": lambda: fs.softmax(np.asfortranarray(ROWS)),
    "all axes": lambda: fs.log_softmax(ROWS, axis=None),
    "integers": lambda: fs.softmax(LABELS.reshape(1000, 5).repeat(40, axis=1)),
    "float16": lambda: fs.softmax(HALF),
    "logsumexp": lambda: fs.logsumexp(PAIRS),
    "logsumexp, kept axis": lambda: fs.logsumexp(PAIRS, keepdims=True),
    "softmax_backward": lambda: fs.softmax_backward(ROWS, ROWS),
    "gradient": lambda: fs.cross_entropy_with_grad(ROWS, LABELS)[1],
    "gradient, smoothed": lambda: fs.cross_entropy_with_grad(ROWS, LABELS, label_smoothing=0.1)[1],
    "losses": lambda: fs.cross_entropy(PAIRS, FIRST, reduction="none"),
    "nll_loss": lambda: fs.nll_loss(PAIRS, FIRST, reduction="none"),
    "OnlineSoftmax": lambda: fs.OnlineSoftmax().update(ROWS).softmax(ROWS),
}


@recycles
@pytest.mark.parametrize("way", WAYS)
def test_large_results_are_recycled_and_right(way):
    fs.set_recycle_limit(0)
    expected = WAYS[way]()
    assert maker(expected) == "default_allocator" and idle() == 0
    fs.set_recycle_limit(1 << 30)
    stale = np.empty_like(expected)
    for _ in range(3):
        y = WAYS[way]()
        assert maker(y) == OURS
        assert same_bits(y, expected) and y.strides == expected.strides
        stale[...] = np.nan
        np.copyto(y, stale)  # what the next one finds in its memory
        del y
    assert idle() >= expected.nbytes


@recycles
def test_small_results_and_other_arrays_are_numpys():
    assert maker(result(0.99)) == "default_allocator"
    y = result(1)
    assert maker(y) == OURS and y.flags.owndata and y.base is None
    assert maker(np.empty(4 * MIB)) == maker(y.copy()) == "default_allocator"
    assert maker(pickle.loads(pickle.dumps(y))) != OURS


@recycles
def test_results_begin_on_a_cache_line():
    held = [result(mib) for mib in (1, 3, 5)]
    assert all(address(y) % 64 == 0 for y in held)


# --- recycling ---


@recycles
def test_memory_is_used_again_but_not_while_a_view_lives():
    y = result(8)
    first, view = address(y), y[5:7, ::3].T
    del y
    other = result(8)
    assert address(other) != first and idle() == 0
    other[...] = np.nan
    assert (view == 1 / 64).all()
    del view
    assert idle() == 8 * MIB
    again = result(8)
    assert address(again) == first and idle() == 0
    assert (again == 1 / 64).all() and np.isnan(other).all()


@recycles
@pytest.mark.parametrize(("mib", "fits"), [(8, True), (7.2, True), (7, False), (8.5, False)])
def test_a_block_serves_what_is_an_eighth_smaller(mib, fits):
    y = result(8)
    first = address(y)
    del y
    y = result(mib)
    assert (address(y) == first) == fits
    assert (idle() == 0) == fits


@recycles
def test_the_smallest_block_that_fits_is_taken():
    large, small = result(8.5), result(8)
    expected = address(small)
    del small, large
    y = result(7.9)
    assert address(y) == expected


@recycles
def test_results_in_a_loop():
    rng = np.random.default_rng(6)
    held = []
    for k in range(30):
        x = rng.normal(size=(700 + 50 * (k % 7), 300))
        held.append((fs.softmax(x), x))
        if k % 3 == 2:
            y, x = held.pop(k % 2)
            fs.set_recycle_limit(0)
            expected = fs.softmax(x)
            fs.set_recycle_limit(1 << 30)
            assert same_bits(y, expected)
            del y


# --- the limit ---


def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@recycles
@linux
def test_the_process_stays_bounded():
    limit = 48 * MIB
    fs.set_recycle_limit(limit)
    x = np.zeros((16 * 2048, 64))
    before = resident()
    for k in range(60):
        y = fs.softmax(x[: (1 + 7 * k % 16) * 2048])
        assert idle() <= limit
        assert resident() - before <= limit + y.nbytes + 8 * MIB
        del y
    assert idle() > limit - 16 * MIB


@recycles
def test_the_oldest_goes_first():
    fs.set_recycle_limit(20 * MIB)
    sizes = (8, 6, 4)
    held = [result(mib) for mib in sizes]
    addresses = {mib: address(y) for mib, y in zip(sizes, held, strict=True)}
    while held:
        del held[0]
    assert idle() == 18 * MIB
    y = result(3)
    del y  # 21 MiB are too many
    assert idle() == 13 * MIB
    assert address(result(6)) == addresses[6] and address(result(4)) == addresses[4]


@recycles
def test_a_thousand_blocks_are_kept_and_no_more():
    fs.set_recycle_limit(4 << 30)
    held = [core.empty((MIB,), np.dtype(np.uint8)) for _ in range(1030)]  # never touched
    first, last = address(held[0]), address(held[-1])
    while held:
        del held[0]
    assert idle() == 1024 * MIB
    held = [core.empty((MIB,), np.dtype(np.uint8)) for _ in range(1024)]
    assert idle() == 0 and address(held[0]) == last
    assert first not in map(address, held)


@recycles
def test_a_result_beyond_the_limit_is_numpys_and_pushes_nothing_out():
    fs.set_recycle_limit(8 * MIB)
    y = result(8)
    del y
    assert maker(result(8.01)) == "default_allocator"
    assert idle() == 8 * MIB


@recycles
def test_a_result_that_outgrew_the_limit_is_given_back():
    y = result(8)
    fs.set_recycle_limit(4 * MIB)
    assert maker(y) == OURS and (y == 1 / 64).all()
    del y
    assert idle() == 0


@recycles
def test_limit_of_zero_and_lowering_it():
    y, z = result(8), result(4)
    del y, z
    fs.set_recycle_limit(5 * MIB)
    assert idle() == 4 * MIB
    fs.set_recycle_limit(0)
    assert idle() == fs.get_recycle_limit() == 0
    assert maker(result(8)) == "default_allocator"


@recycles
@linux
def test_released_memory_leaves_the_process():
    y, z = result(40), result(24)
    full = resident()
    del y
    assert idle() == 40 * MIB
    assert fs.release_memory() == 40 * MIB
    assert full - resident() > 36 * MIB
    assert (z == 1 / 64).all() and fs.release_memory() == 0
    del z
    assert idle() == 24 * MIB


@pytest.mark.parametrize(("bad", "error"), [(-1, ValueError), (2**70, ValueError), (1.5, TypeError),
                                            (True, TypeError), ("1", TypeError)])  # fmt: skip
def test_bad_limits(bad, error):
    before = fs.get_recycle_limit()
    with pytest.raises(error, match="^nbytes: "):
        fs.set_recycle_limit(bad)
    assert fs.get_recycle_limit() == before


def test_settings():
    fs.set_recycle_limit(np.int64(123))
    assert fs.get_recycle_limit() == (123 if compiled else 0)
    fs.set_recycle_limit(None)
    assert fs.show_config("dicts")["memory"]["recycle_limit"] == fs.get_recycle_limit()
    if not compiled:
        assert fs.get_recycle_limit() == fs.release_memory() == 0


# --- what else touches an array's memory ---


@recycles
def test_resize_keeps_what_was_there():
    y = result(4)
    for mib in (9, 2, 0.5, 3):
        y = y.copy() if maker(y) != OURS else y
        y.resize((int(mib * 2048), 64), refcheck=False)
        assert maker(y) == OURS
        kept = min(len(y), 1024)
        assert (y[:kept] == 1 / 64).all() and (mib != 9 or (y[4 * 2048 :] == 0).all())
    y.resize((0, 64), refcheck=False)
    assert y.size == 0
    del y
    assert idle() > 0


@recycles
def test_tracemalloc_sees_it_once():
    y = result(8)
    del y
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        y = fs.softmax(ROWS)
        assert 0 <= tracemalloc.get_traced_memory()[0] - before - y.nbytes < 4096
        del y
        assert abs(tracemalloc.get_traced_memory()[0] - before) < 4096
    finally:
        tracemalloc.stop()


class Allocator(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char * 127), ("version", ctypes.c_uint8),
                *((name, ctypes.c_void_p) for name in ("ctx", "malloc", "calloc", "realloc",
                                                       "free"))]  # fmt: skip


def numpy_function(index, result, *arguments):
    """A function of NumPy's C API."""
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    table = ctypes.cast(pointer(umath._ARRAY_API, None), ctypes.POINTER(ctypes.c_void_p))
    return ctypes.PYFUNCTYPE(result, *arguments)(table[index])


SET_HANDLER = numpy_function(304, ctypes.py_object, ctypes.py_object)


@recycles
def test_a_handler_of_the_users_own_is_left_alone():
    word, size = ctypes.c_void_p, ctypes.c_size_t
    raw = ctypes.pythonapi
    raw.PyMem_RawMalloc.restype, raw.PyMem_RawMalloc.argtypes = word, [size]
    raw.PyMem_RawFree.restype, raw.PyMem_RawFree.argtypes = None, [word]
    asked = []

    def malloc(context, n):
        asked.append(n)
        return raw.PyMem_RawMalloc(n)

    keep = [ctypes.PYFUNCTYPE(word, word, size)(malloc),
            ctypes.PYFUNCTYPE(None, word, word, size)(lambda c, p, n: raw.PyMem_RawFree(p))]
    first, last = (ctypes.cast(function, word).value for function in keep)
    handler = Allocator(b"mine", 1, None, first, None, None, last)
    new = raw.PyCapsule_New
    new.restype, new.argtypes = ctypes.py_object, [word, word, word]
    name = ctypes.create_string_buffer(b"mem_handler")
    former = SET_HANDLER(new(ctypes.addressof(handler), ctypes.addressof(name), None))
    try:
        y = result(4)
        assert maker(y) == "mine" and y.nbytes in asked and (y == 1 / 64).all()
        assert umath.get_handler_name() == "mine"
        del y
        assert idle() == 0
    finally:
        SET_HANDLER(former)
    assert umath.get_handler_name() == "default_allocator"


@recycles
def test_numpys_handler_is_in_place_again():
    result(4)
    assert umath.get_handler_name() == "default_allocator"
    with pytest.raises((MemoryError, ValueError)):
        core.empty((1 << 61,), np.dtype(np.float64))
    fs.set_recycle_limit(sys.maxsize)
    with pytest.raises(MemoryError):
        core.empty((1 << 59,), np.dtype(np.float64))
    assert umath.get_handler_name() == "default_allocator"


# --- threads and processes ---


@recycles
def test_threads_that_make_and_free():
    fs.set_recycle_limit(24 * MIB)
    handed, wrong = queue.Queue(), []

    def work(seed):
        rng, held = np.random.default_rng(seed), []
        for _ in range(60):
            n = int(rng.integers(16, 64))
            y = core.empty((n * 2048, 8), np.dtype(np.float64))
            y[::64] = seed
            held.append(y)
            if len(held) > 3:
                handed.put((seed, held.pop(0)))
            try:
                owner, y = handed.get_nowait()  # freed here, made elsewhere
            except queue.Empty:
                continue
            if not (y[::64] == owner).all():
                wrong.append((seed, owner))
            if rng.integers(20) == 0:
                fs.release_memory()

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    while not handed.empty():
        owner, y = handed.get()
        assert (y[::64] == owner).all()
        del y
    assert 0 < idle() <= 24 * MIB


FORKS = """
import os, threading, numpy as np, fastsoftmax as fs
from fastsoftmax._backend import core
X = {mib: np.zeros((mib * 2048, 64)) for mib in (2, 8)}
def make(mib):
    return fs.softmax(X[mib], threads=1)
def idle():
    return fs.show_config("dicts")["memory"]["idle"]
def address(y):
    return y.__array_interface__["data"][0]

def in_a_child():
    # 2 MiB is no size that the parent has freed; the child is to keep only what it makes.
    assert idle() >= 8 << 20 and (y == 1 / 64).all()
    mine = make(2)
    where = address(mine)
    assert (mine == 1 / 64).all()
    del mine
    assert idle() == 2 << 20
    again = make(2)
    assert address(again) == where
    y.resize((0, 64), refcheck=False)  # frees memory that is the parent's
    assert idle() == 0

y, kept = make(8), make(8)
del kept
stop = threading.Event()
def churn():
    while not stop.is_set():
        core.empty((1 << 20,), np.dtype(np.float32))
others = [threading.Thread(target=churn) for _ in range(3)]
for thread in others:
    thread.start()
try:
    for _ in range(20):
        child = os.fork()
        if child == 0:
            code = 1
            try:
                in_a_child()
                code = 0
            finally:
                os._exit(code)
        assert os.waitpid(child, 0)[1] == 0
finally:
    stop.set()
    for thread in others:
        thread.join()
assert (y == 1 / 64).all()
print("as it should be")
"""


@recycles
@forks
def test_fork_while_memory_is_kept_and_used():
    out, _ = fresh_process(FORKS)  # Python warns of forks beside threads from 3.12 on
    assert out == "as it should be"


SHORT_OF_MEMORY = """
import resource, numpy as np, fastsoftmax as fs
from fastsoftmax._backend import core
MIB = 1 << 20
def make(mib):
    return core.empty((mib * MIB,), np.dtype(np.uint8))
def idle():
    return fs.show_config("dicts")["memory"]["idle"]
make(1); idle()
with open("/proc/self/statm") as file:
    used = int(file.read().split()[0]) * resource.getpagesize()
fs.set_recycle_limit(4096 * MIB)
resource.setrlimit(resource.RLIMIT_AS, (used + 600 * MIB, resource.RLIM_INFINITY))
make(400)
assert idle() >= 400 * MIB
assert make(300).nbytes == 300 * MIB   # too small for the block, and no room beside it
assert idle() == 300 * MIB
try:
    make(700)
except MemoryError:
    assert idle() == 0
    x = np.zeros((8192, 64))
    assert (fs.softmax(x, threads=1) == 1 / 64).all()
    print("as it should be")
"""


@recycles
@linux
def test_memory_error_only_after_what_is_kept_has_gone():
    assert fresh_process(SHORT_OF_MEMORY) == ("as it should be", "")


# --- what is set from outside ---


def fresh_process(code, **environment):
    clean = {k: v for k, v in os.environ.items() if not k.startswith(("FASTSOFTMAX_RECYCLE",))}
    done = subprocess.run([sys.executable, "-W", "always", "-c", code], env=clean | environment,
                          capture_output=True, text=True, timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip(), done.stderr.strip()


@recycles
def test_the_environment():
    show = "import fastsoftmax as fs; print(fs.get_recycle_limit())"
    for asked in ("0", "12345678"):
        assert fresh_process(show, FASTSOFTMAX_RECYCLE_BYTES=asked) == (asked, "")
    default = str(min(1 << 30, _memory.allowed_memory() // 8))
    out, err = fresh_process(show, FASTSOFTMAX_RECYCLE_BYTES="1GB")
    assert out == default and "FASTSOFTMAX_RECYCLE_BYTES='1GB' is ignored" in err
    assert fresh_process(show, NUMPY_MADVISE_HUGEPAGE="0") == (default, "")


HUGE_PAGES = r"""
import re, numpy as np, fastsoftmax as fs
result = fs.softmax(np.zeros((4096, 1024), np.float32))
for part in re.split(r"\n(?=[0-9a-f]+-)", open("/proc/self/smaps").read()):
    low, high = (int(n, 16) for n in part.split()[0].split("-"))
    if low <= result.ctypes.data < high:
        print(" hg" in part.partition("VmFlags:")[2])
"""


@recycles
@linux
@pytest.mark.skipif(not os.path.exists("/sys/kernel/mm/transparent_hugepage"), reason="not here")
@pytest.mark.parametrize(("asked", "huge"), [("1", True), ("0", False), (" 0", False)])
def test_huge_pages_where_numpy_asks_for_them(asked, huge):
    assert fresh_process(HUGE_PAGES, NUMPY_MADVISE_HUGEPAGE=asked)[0] == str(huge)


def test_the_default(monkeypatch):
    monkeypatch.delenv("FASTSOFTMAX_RECYCLE_BYTES", raising=False)
    for installed, granted, expected in (
        (64 << 30, None, 1 << 30), (64 << 30, 4 << 30, 512 * MIB), (1 << 30, 4 << 30, 128 * MIB),
        (0, None, 256 * MIB), (0, 2**63 - 4096, 1 << 30),
    ):  # fmt: skip
        monkeypatch.setattr(_memory, "cgroup_memory", lambda granted=granted: granted)
        monkeypatch.setattr(_memory.core, "installed_memory", lambda n=installed: n, raising=False)
        assert _memory._limit_at_import() == expected


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        ("0::/user/job\n",
         {"user/job/memory.max": "2000000\n", "user/memory.max": "max\n"}, 2000000),
        ("0::/user/job\n", {"user/job/memory.max": "max\n", "memory.max": "3000000\n"}, 3000000),
        ("0::/user/job\n", {"user/job/memory.max": "max\n"}, None),
        ("0::/user/job\n", {}, None),
        ("9:memory:/job\n4:cpu:/job\n",
         {"memory/job/memory.limit_in_bytes": "5000000\n",
          "memory/memory.limit_in_bytes": "9223372036854771712\n"}, 5000000),
        ("4:cpu:/job\n", {"memory/job/memory.limit_in_bytes": "5000000\n"}, None),
    ],
)  # fmt: skip
def test_cgroup_memory(membership, files, expected, tmp_path):
    (tmp_path / "self").write_text(membership)
    for path, text in files.items():
        file = tmp_path / "mount" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    assert _memory.cgroup_memory(str(tmp_path / "self"), str(tmp_path / "mount")) == expected


@recycles
@linux
def test_installed_memory_is_the_machines():
    with open("/proc/meminfo") as file:
        total = next(int(line.split()[1]) for line in file if line.startswith("MemTotal:"))
    assert core.installed_memory() == total * 1024
