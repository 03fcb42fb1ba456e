"""Thread settings, what the system allows, and show_config."""

import threading

import numpy as np
import pytest

import fastsoftmax
from fastsoftmax import _threads

BAD = [(0, ValueError), (-2, ValueError), (2**31, ValueError), (1.0, TypeError),
       (True, TypeError), ("2", TypeError)]  # fmt: skip


@pytest.fixture(autouse=True)
def default_again():
    yield
    fastsoftmax.set_num_threads(None)


def test_set_and_get():
    fastsoftmax.set_num_threads(3)
    assert fastsoftmax.get_num_threads() == 3
    fastsoftmax.set_num_threads(np.int64(2))
    assert fastsoftmax.get_num_threads() == 2


def test_none_returns_to_the_default():
    default = fastsoftmax.get_num_threads()
    assert default >= 1
    fastsoftmax.set_num_threads(default + 1)
    fastsoftmax.set_num_threads(None)
    assert fastsoftmax.get_num_threads() == default


@pytest.mark.parametrize(("n", "error"), BAD)
def test_bad_numbers(n, error):
    before = fastsoftmax.get_num_threads()
    for function in (fastsoftmax.set_num_threads, fastsoftmax.threads):
        with pytest.raises(error, match="^n: "):
            function(n)
    assert fastsoftmax.get_num_threads() == before


def test_threads_needs_a_number():
    with pytest.raises(TypeError, match="^n: "):
        fastsoftmax.threads(None)


def test_contexts_nest_and_end():
    fastsoftmax.set_num_threads(5)
    with fastsoftmax.threads(2):
        assert fastsoftmax.get_num_threads() == 2
        with fastsoftmax.threads(4):
            assert fastsoftmax.get_num_threads() == 4
        assert fastsoftmax.get_num_threads() == 2
    assert fastsoftmax.get_num_threads() == 5


def test_a_context_can_be_entered_again():
    context = fastsoftmax.threads(2)
    with fastsoftmax.threads(3), context:
        with context:
            assert fastsoftmax.get_num_threads() == 2
        assert fastsoftmax.get_num_threads() == 2
    with context:
        assert fastsoftmax.get_num_threads() == 2


def test_a_context_ends_on_errors():
    before = fastsoftmax.get_num_threads()
    with pytest.raises(KeyError), fastsoftmax.threads(before + 1):
        raise KeyError
    assert fastsoftmax.get_num_threads() == before


def test_a_context_is_of_its_thread():
    seen = []
    fastsoftmax.set_num_threads(6)
    with fastsoftmax.threads(2):
        other = threading.Thread(target=lambda: seen.append(fastsoftmax.get_num_threads()))
        other.start()
        other.join()
    assert seen == [6]


def test_the_setting_is_of_all_threads():
    other = threading.Thread(target=fastsoftmax.set_num_threads, args=(7,))
    other.start()
    other.join()
    assert fastsoftmax.get_num_threads() == 7


def test_computes_within_a_context():
    x = np.random.default_rng(0).normal(size=(200, 500))
    expected = fastsoftmax.softmax(x)
    with fastsoftmax.threads(1):
        assert np.array_equal(fastsoftmax.softmax(x), expected)
    with fastsoftmax.threads(3):
        assert np.array_equal(fastsoftmax.softmax(x, threads=2), expected)


# --- what the system allows ---


def write(folder, membership, files):
    """A file system of cgroups below `folder`; returns the arguments of cgroup_quota."""
    (folder / "self").write_text(membership)
    for path, text in files.items():
        file = folder / "mount" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return str(folder / "self"), str(folder / "mount")


V2 = "0::/user/job\n"
V1 = "5:memory:/job\n4:cpu,cpuacct:/job\n3:cpuset:/\n"


@pytest.mark.parametrize(
    ("membership", "files", "expected"),
    [
        (V2, {"user/job/cpu.max": "200000 100000\n"}, 2),
        (V2, {"user/job/cpu.max": "150000 100000\n"}, 2),
        (V2, {"user/job/cpu.max": "1000 100000\n"}, 1),
        (V2, {"user/job/cpu.max": "max 100000\n"}, None),
        (V2, {"user/job/cpu.max": "max 100000\n", "user/cpu.max": "300000 100000"}, 3),
        (V2, {"user/job/cpu.max": "800000 100000\n", "user/cpu.max": "300000 100000"}, 3),
        (V2, {"cpu.max": "400000 100000"}, 4),
        (V2, {"user/job/cpu.max": "nonsense"}, None),
        (V2, {"user/job/cpu.max": "100000 0"}, None),
        (V2, {}, None),
        (V1, {"cpu,cpuacct/job/cpu.cfs_quota_us": "250000\n",
              "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"}, 3),
        (V1, {"cpu,cpuacct/job/cpu.cfs_quota_us": "-1\n",
              "cpu,cpuacct/job/cpu.cfs_period_us": "100000\n"}, None),
        (V1, {"cpu,cpuacct/cpu.cfs_quota_us": "50000\n",
              "cpu,cpuacct/cpu.cfs_period_us": "100000\n"}, 1),
        ("", {"cpu.max": "100000 100000"}, None),
    ],
)  # fmt: skip
def test_cgroup_quota(membership, files, expected, tmp_path):
    assert _threads.cgroup_quota(*write(tmp_path, membership, files)) == expected


def test_cgroup_quota_without_cgroups(tmp_path):
    assert _threads.cgroup_quota(str(tmp_path / "none"), str(tmp_path)) is None


def test_allowed_cpus(monkeypatch):
    monkeypatch.setattr(_threads.os, "sched_getaffinity", lambda pid: {0, 3, 5}, raising=False)
    for quota, expected in ((None, 3), (2, 2), (8, 3)):
        monkeypatch.setattr(_threads, "cgroup_quota", lambda q=quota: q)
        assert _threads.allowed_cpus() == expected
    monkeypatch.delattr(_threads.os, "sched_getaffinity")
    monkeypatch.setattr(_threads.os, "cpu_count", lambda: None)
    monkeypatch.setattr(_threads, "cgroup_quota", lambda: None)
    assert _threads.allowed_cpus() == 1


# --- show_config ---


def test_show_config_dicts():
    config = fastsoftmax.show_config("dicts")
    assert config["version"] == fastsoftmax.__version__
    assert config["backend"] == ("numpy" if config["reason"] else "compiled")
    assert config["isa"]["used"] in config["isa"]["detected"]
    assert bool(config["isa"]["compiled"]) == (config["backend"] == "compiled")
    fastsoftmax.set_num_threads(3)
    assert fastsoftmax.show_config("dicts")["threads"]["used"] == 3


def test_show_config_prints(capsys):
    assert fastsoftmax.show_config() is None
    printed = capsys.readouterr().out
    config = fastsoftmax.show_config("dicts")
    for value in (config["version"], config["backend"], config["isa"]["used"]):
        assert value in printed


def test_show_config_unknown_mode():
    with pytest.raises(ValueError, match="^mode: .*'json'"):
        fastsoftmax.show_config("json")


# --- threadpoolctl ---


def test_threadpoolctl_finds_and_limits_the_runtime():
    threadpoolctl = pytest.importorskip("threadpoolctl")
    if fastsoftmax.show_config("dicts")["openmp"] is None:
        pytest.skip("built without OpenMP")
    found = threadpoolctl.ThreadpoolController().select(user_api="openmp")
    assert len(found) >= 1
    with threadpoolctl.threadpool_limits(1, user_api="openmp"):
        assert fastsoftmax.get_num_threads() == 1
