"""Threads of Python, forks, and limits that others set, each in a process of its own."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

import fastsoftmax as fs

compiled = fs.show_config("dicts")["backend"] == "compiled"
linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="asks Linux")
forks = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
threaded = pytest.mark.skipif(fs.show_config("dicts")["openmp"] is None, reason="no OpenMP")

BEGIN = """
import os, sys, threading, numpy as np, fastsoftmax as fs
X = np.random.default_rng(1).normal(size=(400, 1000)).astype(np.float32)
T = np.arange(400)
def results(threads=None):
    return [a.tobytes() for a in (
        fs.softmax(X, threads=threads), fs.logsumexp(X[:40], threads=threads),
        *fs.cross_entropy_with_grad(X, T, label_smoothing=0.1, threads=threads),
        fs.softmax(X, axis=0, threads=threads))]
EXPECTED = results(2)  # on threads, before anything is forked
"""


def run(code, command=(), **environment):
    clean = {k: v for k, v in os.environ.items()
             if not k.startswith(("OMP_", "FASTSOFTMAX_NUM"))}  # fmt: skip
    done = subprocess.run([*command, sys.executable, "-W", "ignore", "-c", BEGIN + code],
                          env=clean | environment, capture_output=True, text=True,
                          timeout=120, check=False)  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


# --- threads of Python ---

MANY = """
wrong = []
def work():
    for k in range(6):
        if results(1 + k % 3) != EXPECTED:
            wrong.append(k)
others = [threading.Thread(target=work) for _ in range(8)]
for thread in others: thread.start()
for thread in others: thread.join()
print("same" if not wrong else wrong)
"""


def test_many_threads_give_the_bits_of_one():
    assert run(MANY) == ["same"]


CHANGED = """
import ctypes, mmap
def guarded(size):  # ends before a page that cannot be read; between two of them
    page = mmap.PAGESIZE
    inside = (size + page - 1) // page * page
    memory = mmap.mmap(-1, inside + 2 * page)
    kept.append(memory)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    protect = ctypes.CDLL(None).mprotect
    protect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    for at in (address, address + page + inside):
        assert protect(at, page, 0) == 0
    return memory, page + inside - size
kept = []
def array(shape, dtype):
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    memory, offset = guarded(size)
    return np.ndarray(shape, dtype, memory, offset)
weight = array((50,), np.float64)
weight[:] = 1
small, large = array((20, 50), np.float32), array((3000, 50), np.float32)
deep = array((2, 50, 1500), np.float64)
for x in (small, large, deep):
    x[...] = 0
cases = [(small, -1, array((20,), np.int64)), (large, -1, array((3000,), np.int64)),
         (deep, 1, array((2, 1500), np.int64))]
stop = threading.Event()
def change(targets):
    flat = targets.reshape(-1)
    while not stop.is_set():
        for value in (2**40, -5, 50, 3, -2**62, 7):
            flat[::7] = value
            flat[:] = 1
others = [threading.Thread(target=change, args=(case[2],)) for case in cases]
for thread in others: thread.start()
refused = finished = 0
try:
    for k in range(150):
        for x, axis, t in cases:
            for options in ({}, {"weight": weight}, {"label_smoothing": 0.1},
                            {"reduction": "none"}):
                try:
                    fs.cross_entropy_with_grad(x, t, axis=axis, **options)
                    fs.nll_loss(x, t, axis=axis)
                    finished += 1
                except IndexError as error:
                    assert "is out of range" in str(error)
                    refused += 1
finally:
    stop.set()
    for thread in others: thread.join()
print("alive" if refused and finished else (refused, finished))
"""


@linux
@pytest.mark.skipif(not compiled, reason="the reference is NumPy's")
def test_labels_that_another_thread_changes():
    assert run(CHANGED) == ["alive"]


# --- forks ---

FORK = """
fs.set_num_threads(3)
stop = threading.Event()
def load():
    while not stop.is_set():
        results(2)
others = [threading.Thread(target=load) for _ in range(3)]
for thread in others: thread.start()
codes = []
try:
    for _ in range(6):
        child = os.fork()
        if child == 0:
            right = results() == EXPECTED and results(2) == EXPECTED
            os._exit(0 if right and fs.get_num_threads() == 3 else 1)
        codes.append(os.waitpid(child, 0)[1])
finally:
    stop.set()
    for thread in others: thread.join()
print("right" if not any(codes) and results(2) == EXPECTED else codes)
"""


@forks
def test_fork_while_other_threads_compute():
    assert run(FORK) == ["right"]


HANDLER = """
import signal
children = []
def fork(number, frame):
    children.append(os.fork())
signal.signal(signal.SIGALRM, fork)
rows = np.broadcast_to(np.arange(1000, dtype=np.float32), (1 << 20, 1000))
labels = np.broadcast_to(np.int64(3), 1 << 20)
expected = fs.cross_entropy(rows, labels, threads=2)
signal.setitimer(signal.ITIMER_REAL, 0.02)
same = fs.cross_entropy(rows, labels, threads=2) == expected
if not children or children[0] == 0:
    os._exit(0 if same and children else 1)
print("right" if same and os.waitpid(children[0], 0)[1] == 0 else "wrong")
"""


@forks
@pytest.mark.skipif(not compiled, reason="the reference is NumPy's")
def test_fork_in_a_signal_handler_of_a_call():
    """The child goes on in the middle of the call, without the other threads."""
    assert run(HANDLER) == ["right"]


POOL = """
import multiprocessing as mp, pathlib, runpy, tempfile
module = pathlib.Path(tempfile.mkdtemp(), "job.py")
module.write_text(source + '''
def work(n):
    return results() == EXPECTED and results(2) == EXPECTED
def main(method):
    import multiprocessing as mp
    with mp.get_context(method).Pool(2) as pool:
        print(all(pool.map(work, range(4))))
''')
sys.path.insert(0, str(module.parent))
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
import job
job.main(method)
"""


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_multiprocessing(method):
    import multiprocessing

    if method not in multiprocessing.get_all_start_methods():
        pytest.skip("not here")
    assert run(f"source = {BEGIN!r}\nmethod = {method!r}\n" + POOL) == ["True"]


# --- limits that others set ---


def test_omp_num_threads_is_followed():
    assert run("print(fs.get_num_threads())", OMP_NUM_THREADS="3") == ["3"]


@linux
def test_affinity_is_followed():
    first = str(min(os.sched_getaffinity(0)))
    assert run("print(fs.get_num_threads())", ["taskset", "-c", first]) == ["1"]


@contextlib.contextmanager
def cgroup(quota, period):
    """A group of processes with a quota, made as the kernel at hand has them; needs root."""
    folders = [Path("/sys/fs/cgroup", name) for name in ("cpu", "cpu,cpuacct", "")]
    parent = next((f for f in folders if (f / "cpu.cfs_quota_us").exists()), folders[-1])
    group = parent / f"fastsoftmax-{os.getpid()}"
    try:
        group.mkdir()
    except OSError as error:
        pytest.skip(f"no group can be made here: {error}")
    try:
        if (group / "cpu.cfs_quota_us").exists():
            (group / "cpu.cfs_period_us").write_text(str(period))
            (group / "cpu.cfs_quota_us").write_text(str(quota))
        elif (group / "cpu.max").exists():
            (group / "cpu.max").write_text(f"{quota} {period}")
        else:
            pytest.skip("the groups here have no quotas")
        yield group
    finally:
        group.rmdir()


@linux
@pytest.mark.skipif((os.cpu_count() or 1) < 2, reason="one processor, quota or not")
def test_the_quota_of_a_cgroup_is_followed():
    with cgroup(70000, 100000) as group:
        enter = ["sh", "-c", f'echo $$ > "{group}/cgroup.procs" && exec "$@"', "sh"]
        assert run("print(fs.get_num_threads())", enter) == ["1"]
        assert run("print(fs.get_num_threads())", enter, FASTSOFTMAX_NUM_THREADS="2") == ["2"]


LIMITED = """
import threadpoolctl
found = threadpoolctl.ThreadpoolController().select(user_api="openmp").info()
with threadpoolctl.threadpool_limits(1, user_api="openmp"):
    inside = fs.get_num_threads()
    right = results() == EXPECTED
before = [pool["num_threads"] for pool in found]
results(3)
with fs.threads(2):
    results()
fs.set_num_threads(4)
results()
after = [pool["num_threads"] for pool in
         threadpoolctl.ThreadpoolController().select(user_api="openmp").info()]
print(len(found) > 0, inside, right, before == after)
"""


@threaded
def test_threadpoolctl_finds_and_limits_and_nothing_of_others_is_changed():
    pytest.importorskip("threadpoolctl")
    assert run(LIMITED) == ["True", "1", "True", "True"]


POOLED = """
import concurrent.futures, time
def running():
    count = 0
    for task in os.listdir("/proc/self/task"):
        try:
            with open(f"/proc/self/task/{task}/stat") as file:
                count += file.read().rpartition(")")[2].split()[0] == "R"
        except OSError:
            pass
    return count
large = np.zeros((4000, 1000), np.float32)
def load(until):
    out = np.empty_like(large)
    while time.monotonic() < until:
        fs.softmax(large, out=out, threads=named)
def load_of(callers):
    with concurrent.futures.ThreadPoolExecutor(callers) as pool:
        until = time.monotonic() + 1.5
        jobs = [pool.submit(load, until) for _ in range(callers)]
        time.sleep(0.2)
        counts = []
        while time.monotonic() < until - 0.1:
            time.sleep(0.005)
            counts.append(running() - 1)  # who counts is running
        for job in jobs: job.result()
    return sum(counts) / len(counts)
allowed = fs.show_config("dicts")["threads"]["allowed"]
named = None
print(load_of(3) / 3)
named = 3
print(load_of(3) / 3)
"""


@linux
@threaded
@pytest.mark.skipif(not compiled, reason="the reference has no threads")
def test_a_pool_of_threads_shares_the_processors():
    """Three at once have a thread each, not all processors each, unless they ask for more."""
    shared, named = map(float, run(POOLED))
    assert shared < 1.2
    assert named > 1.3


PROCESSES = """
import concurrent.futures, multiprocessing as mp, pathlib, tempfile
folder = tempfile.mkdtemp()
pathlib.Path(folder, "job.py").write_text('''
import os, numpy as np, fastsoftmax as fs
def work(n):
    before = len(os.listdir("/proc/self/task"))
    assert fs.softmax(np.zeros((500, 640)))[1, 1] == 1 / np.float64(640)
    return len(os.listdir("/proc/self/task")) - before
''')
sys.path.insert(0, folder)
os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
import job
for limit in limits:
    with concurrent.futures.ProcessPoolExecutor(
            2, mp.get_context(method), initializer=fs.set_num_threads, initargs=(limit,)) as pool:
        print(max(pool.map(job.work, range(4))))
"""


@linux
@threaded
@pytest.mark.parametrize(
    ("method", "limits"), [("fork", (None, 1)), ("forkserver", (1,)), ("spawn", (1,))]
)
def test_a_pool_of_processes_starts_no_thread(method, limits):
    """Forked workers by themselves; others, which cannot know how many they are, if told so."""
    told = f"method, limits = {method!r}, {limits!r}\n"
    assert run(told + PROCESSES) == ["0"] * len(limits)


JOBLIB = """
import joblib
def job(k):
    return fs.get_num_threads()
allowed = fs.show_config("dicts")["threads"]["allowed"]
counts = joblib.Parallel(n_jobs=2, backend="loky")(joblib.delayed(job)(k) for k in range(4))
print(max(counts) <= max(1, allowed // 2))
"""


@threaded
def test_joblibs_workers_share_the_processors():
    pytest.importorskip("joblib")
    assert run(JOBLIB) == ["True"]
