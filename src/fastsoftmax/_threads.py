"""How many threads a call may use: settings, and what the system allows.

Strongest first: threads= of a call, the `threads` context manager, `set_num_threads`,
FASTSOFTMAX_NUM_THREADS, OMP_NUM_THREADS, and the CPUs allowed by affinity and cgroup.
"""

import os

from ._backend import core, warn
from ._validate import count


def set_num_threads(n):
    """Set the number of threads that calls use from now on, in every thread of Python.

    Parameters
    ----------
    n : int or None
        At least 1. None returns to the default: FASTSOFTMAX_NUM_THREADS, else OMP_NUM_THREADS,
        else the CPUs that affinity and cgroup quotas allow.

    Raises
    ------
    TypeError, ValueError
        If `n` is no integer, or less than 1.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.set_num_threads(2)
    >>> fastsoftmax.get_num_threads()
    2
    >>> fastsoftmax.set_num_threads(None)
    """
    core.set_num_threads(_from_environment if n is None else count(n, "n"))


def get_num_threads():
    """Return the number of threads that a large call made here and now would use.

    Small work stays on the calling thread whatever this says.

    Returns
    -------
    int

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.get_num_threads() >= 1
    True
    """
    return core.get_num_threads()


class threads:
    """Context manager that sets the number of threads for the calling thread of Python.

    Contexts nest, and one object can be entered again; other threads of Python are not affected.

    Parameters
    ----------
    n : int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If `n` is no integer, or less than 1.

    Examples
    --------
    >>> import fastsoftmax
    >>> with fastsoftmax.threads(1):
    ...     fastsoftmax.get_num_threads()
    1
    """

    # A class rather than a generator: entering costs a call, and contextlib stays unimported.
    __slots__ = ("_n", "_outer")

    def __init__(self, n):
        self._n = count(n, "n")
        self._outer = []

    def __enter__(self):
        self._outer.append(core.swap_thread_limit(self._n))
        return self

    def __exit__(self, *exception):
        core.swap_thread_limit(self._outer.pop())


def allowed_cpus():
    """The CPUs that this process may keep busy: affinity, and cgroup quota rounded up."""
    try:
        cpus = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # macOS and Windows have no such call
        cpus = os.cpu_count() or 1
    quota = cgroup_quota()
    return cpus if quota is None else min(cpus, quota)


def cgroup_quota(membership="/proc/self/cgroup", mount="/sys/fs/cgroup"):
    """CPUs granted by the cgroup of this process or any above it, or None without a limit."""
    quotas = []
    for version, folder in cgroup_folders("cpu", membership, mount):
        if version == 2:  # one file holds both numbers
            quotas.append(read(f"{folder}/cpu.max").split())
        else:
            pair = [read(f"{folder}/cpu.cfs_{n}_us") for n in ("quota", "period")]
            quotas.append([n.strip() for n in pair])
    granted = [_cpus_of(pair) for pair in quotas]
    return min((n for n in granted if n), default=None)


def cgroup_folders(controller, membership, mount):
    """(version, folder) of each cgroup of this process that may limit it, and those above it."""
    for line in read(membership).splitlines():
        hierarchy, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if hierarchy == "0" and not controllers:
            yield from ((2, folder) for folder in _upwards(mount, group))
        elif controller in controllers.split(","):
            yield from ((1, folder) for folder in _upwards(f"{mount}/{controllers}", group))


def _upwards(mount, group):
    """The folder of a group, then those of its parents up to the mount point."""
    parts = [part for part in group.split("/") if part]
    return ["/".join([mount, *parts[:k]]) for k in range(len(parts), -1, -1)]


def _cpus_of(pair):
    """Quota over period, rounded up; None for "max", -1 or a missing file."""
    if len(pair) != 2 or not all(n.isdecimal() and int(n) > 0 for n in pair):
        return None
    quota, period = map(int, pair)
    return -(-quota // period)


def read(path):
    """The text of a file, "" where it cannot be had."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _environment():
    """FASTSOFTMAX_NUM_THREADS, or 0 where it is unset or no number of threads."""
    asked = os.environ.get("FASTSOFTMAX_NUM_THREADS", "").strip()
    if asked.isdecimal() and 1 <= int(asked) < 2**31:
        return int(asked)
    if asked:
        warn(f"FASTSOFTMAX_NUM_THREADS={asked!r} is ignored: expected a whole number from 1 on")
    return 0


_from_environment = _environment()
core.configure(allowed_cpus(), bool(os.environ.get("OMP_NUM_THREADS")))
core.set_num_threads(_from_environment)
