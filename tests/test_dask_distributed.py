"""fastsoftmax.dask on several processes: workers that die, arrays beyond their memory, progress."""

import contextlib
import io
import os
import signal
import time

import numpy as np
import pytest
from conftest import assert_exact, same_bits

import fastsoftmax
from fastsoftmax import testing

da = pytest.importorskip("dask.array")
distributed = pytest.importorskip("distributed")
ours = pytest.importorskip("fastsoftmax.dask")

# What distributed itself warns of when workers die or start slowly is not ours.
pytestmark = pytest.mark.filterwarnings("default")

LIMIT = 300 * 2**20  # bytes a worker


@pytest.fixture(scope="module")
def client():
    cluster = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, memory_limit=LIMIT,
        dashboard_address=None, silence_logs=60,
    )  # fmt: skip
    with cluster, distributed.Client(cluster) as client:
        yield client


def test_several_processes(client, rng):
    x = rng.normal(0, 5, (40, 300)).astype(np.float32)
    whole, split = da.from_array(x, chunks=(10, 300)), da.from_array(x, chunks=(10, 50))
    t = np.arange(40)
    for name in ("softmax", "log_softmax", "logsumexp"):
        once = getattr(fastsoftmax, name)(x)
        assert same_bits(getattr(ours, name)(whole).compute(), once)
        scale = x.max(axis=1) if name == "logsumexp" else None
        result = getattr(ours, name)(split).compute()
        assert_exact(name, result, getattr(testing, name)(x), scale)
    assert same_bits(ours.cross_entropy(whole, t).compute(), fastsoftmax.cross_entropy(x, t))
    losses = ours.cross_entropy(split, t, reduction="none").compute()
    assert_exact("cross_entropy", losses, testing.cross_entropy(x, t))
    assert len(client.run(os.getpid)) == 2


def threads_started():
    before = len(os.listdir("/proc/self/task"))
    fastsoftmax.softmax(np.zeros((500, 640)))
    return fastsoftmax.get_num_threads(), len(os.listdir("/proc/self/task")) - before


@pytest.mark.skipif(not os.path.exists("/proc/self/task"), reason="counts threads as Linux does")
def test_calls_in_a_worker_start_no_threads(client):
    """Dask tells its workers OMP_NUM_THREADS=1: what runs at the same time are its own threads."""
    assert set(client.run(threads_started).values()) == {(1, 0)}


def test_a_label_out_of_range_names_itself(client):
    loss = ours.cross_entropy(da.zeros((4, 6), chunks=(2, 3)), np.array([0, 1, 6, 2]))
    with pytest.raises(IndexError, match=r"targets\[0\]: label 6"):
        loss.compute()


def slowly(block):
    time.sleep(0.05)
    return block


def test_workers_killed_and_restarted(client, rng):
    x = rng.normal(0, 5, (80, 400)).astype(np.float32)
    lazy = da.from_array(x, chunks=(10, 50)).map_blocks(slowly)
    future = client.compute(ours.softmax(lazy))
    time.sleep(0.5)
    victim = next(iter(client.run(os.getpid).values()))
    os.kill(victim, signal.SIGKILL)  # the nanny starts another in its place
    time.sleep(0.5)
    assert_exact("softmax", future.result(timeout=60), testing.softmax(x))
    client.wait_for_workers(2, timeout=60)
    assert victim not in client.run(os.getpid).values()


def test_an_array_larger_than_the_memory_of_the_workers(client, tmp_path):
    """768 MB of logits on disk, 300 MB for each of two workers, classes split in eight."""
    pytest.importorskip("zarr")
    rows, classes, columns = 1024, 196608, 24576
    assert rows * classes * 4 > 2 * LIMIT
    x = da.random.default_rng(0).normal(0, 5, (rows, classes), chunks=(64, columns))
    x.astype(np.float32).to_zarr(str(tmp_path / "x.zarr"), compute=True)
    stored = da.from_zarr(str(tmp_path / "x.zarr"))
    t = np.arange(rows) * 191
    screen = io.StringIO()
    with contextlib.redirect_stdout(screen):
        future = client.compute(ours.cross_entropy(stored, t, reduction="none"))
        distributed.progress(future, notebook=False)
        losses = future.result(timeout=200)
    assert "Completed" in screen.getvalue()
    for k in (0, 511, 1023):
        row = stored[k].compute()[None]
        assert_exact("cross_entropy", losses[k : k + 1], testing.cross_entropy(row, t[k : k + 1]))
    workers = client.scheduler_info()["workers"].values()
    assert [worker["memory_limit"] for worker in workers] == [LIMIT, LIMIT]
