"""How much memory of freed results is kept for the next ones, and giving it back.

The keeping itself is csrc/recycle.c; `_core` puts it in the place of NumPy's allocator (NEP 49)
while it makes a large result. FASTSOFTMAX_RECYCLE_BYTES is the limit at import.
"""

import os
import sys

from ._backend import core, warn
from ._threads import cgroup_folders, read
from ._validate import integer

LARGEST_DEFAULT = 1 << 30
SHARE = 8  # of the memory that the process may use, an eighth
UNKNOWN = 2 << 30  # is taken for it where no system tells


def set_recycle_limit(nbytes):
    """Set how many bytes of freed results may be kept for the next ones.

    The memory of a result of 1 MiB or more is not given back to the system when the array is
    freed, but kept, and taken for the next result of its size or up to an eighth smaller: fresh
    memory costs a page fault a page, which for hundreds of megabytes takes longer than computing
    the result. Kept memory counts as the process's own. Beyond the limit the oldest goes back, at
    once where the limit is lowered. Arrays in use are not counted, nor touched.

    Parameters
    ----------
    nbytes : int or None
        0 keeps nothing: results are then made by NumPy's own allocator. None returns to the
        default: FASTSOFTMAX_RECYCLE_BYTES, else 1 GiB or an eighth of the memory that the process
        may use (of the machine, its cgroup and ulimit), whichever is less.

    Raises
    ------
    TypeError, ValueError
        If `nbytes` is no integer, negative, or beyond the addresses of the machine.

    See Also
    --------
    release_memory : give back what is kept now.

    Notes
    -----
    A result larger than the limit is NumPy's, and so are all results while the caller has set a
    handler of his own with ``PyDataMem_SetHandler``. On the reference (without the compiled
    kernels) all are, and the limit stays 0 whatever is set.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.set_recycle_limit(0)
    >>> fastsoftmax.get_recycle_limit()
    0
    >>> fastsoftmax.set_recycle_limit(None)
    """
    core.set_recycle_limit(_default if nbytes is None else _bytes(nbytes, "nbytes"))


def get_recycle_limit():
    """Return how many bytes of freed results may be kept for the next ones.

    Returns
    -------
    int
        0 if nothing is kept.

    Examples
    --------
    >>> import fastsoftmax
    >>> fastsoftmax.get_recycle_limit() >= 0
    True
    """
    return core.get_recycle_limit()


def release_memory():
    """Give the memory of freed results that is kept for the next ones back to the system.

    The limit stays: results that are freed from now on are kept again.

    Returns
    -------
    int
        The number of bytes that went back.

    Examples
    --------
    >>> import numpy as np, fastsoftmax
    >>> y = fastsoftmax.softmax(np.zeros((1000, 1000)))
    >>> del y
    >>> released = fastsoftmax.release_memory()  # 8 MB, or more if there were other results
    >>> fastsoftmax.release_memory()
    0
    """
    return core.release_memory()


def allowed_memory():
    """The bytes that this process may use, as far as the system tells."""
    known = [n for n in (core.installed_memory(), cgroup_memory()) if n]
    return min(known, default=UNKNOWN)


def cgroup_memory(membership="/proc/self/cgroup", mount="/sys/fs/cgroup"):
    """Bytes granted by the cgroup of this process or any above it, or None without a limit."""
    files = {1: "memory.limit_in_bytes", 2: "memory.max"}
    granted = [
        read(f"{folder}/{files[version]}").strip()
        for version, folder in cgroup_folders("memory", membership, mount)
    ]
    return min((int(n) for n in granted if n.isdecimal()), default=None)


def _bytes(value, name):
    n = integer(value, name)
    if not 0 <= n <= sys.maxsize:
        raise ValueError(f"{name}: expected a number of bytes from 0 to {sys.maxsize}, got {n}")
    return n


def _limit_at_import():
    asked = os.environ.get("FASTSOFTMAX_RECYCLE_BYTES", "").strip()
    if asked.isdecimal() and int(asked) <= sys.maxsize:
        return int(asked)
    if asked:
        warn(f"FASTSOFTMAX_RECYCLE_BYTES={asked!r} is ignored: expected a whole number of bytes")
    return min(LARGEST_DEFAULT, allowed_memory() // SHARE)


_default = _limit_at_import()
# Whoever tells NumPy not to ask for huge pages means those of its arrays.
core.configure_recycling(_default, os.environ.get("NUMPY_MADVISE_HUGEPAGE", "").strip() != "0")
