"""Which engine computes: the compiled kernels, or the NumPy reference where they are absent.

`core` is the chosen engine with the interface of `_core`. FASTSOFTMAX_BACKEND=numpy chooses the
reference silently, =compiled makes missing kernels an error; otherwise they are a warning.
FASTSOFTMAX_MAX_ISA caps the instruction set of the kernels.
"""

import importlib
import os
import threading
import warnings

import numpy as np

from . import reference
from ._validate import store

SOFTMAX, LOG_SOFTMAX, LOGSUMEXP = range(3)  # op codes of unary, 0 and 1 also of backward
ISAS = ("scalar", "avx2", "avx512", "neon")


class Reference:
    """The reference behind the interface of `_core`; it computes on the calling thread."""

    def __init__(self):
        self._threads = 0
        self._default = 1
        self._local = threading.local()

    # There is nothing that a door could be shorter than.
    def unary_door(self, op):
        return lambda general: general

    @staticmethod
    def logsumexp_door(general):
        return general

    loss_door = loss_and_grad_door = logsumexp_door

    def unary(self, op, x, y, axis, threads):
        functions = (reference.softmax, reference.log_softmax, reference.logsumexp)
        store(y, functions[op](x, axis))

    def backward(self, op, dy, y, dx, axis, threads):
        functions = (reference.softmax_backward, reference.log_softmax_backward)
        store(dx, functions[op](dy, y, axis))

    cross_entropy = staticmethod(reference.loss_and_grad)
    nll = staticmethod(reference.nll)
    state = staticmethod(reference.state)
    given = staticmethod(reference.given)
    join_states = staticmethod(reference.join_states)
    state_end = staticmethod(reference.state_end)

    # It makes no results of its own: nothing is there to be recycled.
    empty = staticmethod(np.empty)
    empty_like = staticmethod(np.empty_like)

    def configure_recycling(self, limit, huge_pages):
        pass

    def set_recycle_limit(self, limit):
        pass

    def get_recycle_limit(self):
        return 0

    idle_memory = release_memory = installed_memory = get_recycle_limit

    def configure(self, allowed, follow_omp):
        omp = os.environ.get("OMP_NUM_THREADS", "").split(",")[0].strip() if follow_omp else ""
        self._default = int(omp) if omp.isdecimal() and int(omp) > 0 else allowed

    def set_num_threads(self, n):
        self._threads = n

    def swap_thread_limit(self, n):
        old = getattr(self._local, "limit", 0)
        self._local.limit = n
        return old

    def get_num_threads(self):
        return getattr(self._local, "limit", 0) or self._threads or self._default

    def isas(self):
        return ["reference"]

    def compiled_isas(self):
        return []

    def use_isa(self, name):
        if name not in (None, "reference"):
            raise ValueError(f"name: the reference has no instance {name!r}")

    def current_isa(self):
        return "reference"

    def cap_isa(self, name):
        pass

    def openmp(self):
        return ""

    def openmp_note(self):
        return ""


def _choose():
    """Return the engine and, where it is the reference, why."""
    asked = os.environ.get("FASTSOFTMAX_BACKEND", "").strip().lower()
    if asked == "numpy":
        return _reference, "FASTSOFTMAX_BACKEND=numpy"
    if asked not in ("", "compiled"):
        warn(f"FASTSOFTMAX_BACKEND={asked!r} is ignored: expected 'numpy' or 'compiled'")
    try:
        # Not `from . import`, whose error would speak of a circular import.
        kernels = importlib.import_module("fastsoftmax._core")
    except ImportError as error:
        if asked == "compiled":
            raise
        warn(
            f"fastsoftmax runs without its compiled kernels ({error}): results are right, "
            "but slow. Install a wheel, or build with a C compiler at hand; "
            "FASTSOFTMAX_BACKEND=numpy chooses this silently."
        )
        return _reference, str(error)
    return kernels, None


def _cap_isa():
    """Pass a valid FASTSOFTMAX_MAX_ISA on and return it."""
    cap = os.environ.get("FASTSOFTMAX_MAX_ISA", "").strip().lower()
    if not cap:
        return None
    if cap not in ISAS:
        warn(f"FASTSOFTMAX_MAX_ISA={cap!r} is ignored: expected one of {', '.join(ISAS)}")
        return None
    core.cap_isa(cap)
    return cap


def warn(message):
    # No stacklevel reaches the user's import statement reliably; the message must suffice.
    warnings.warn(message, RuntimeWarning, stacklevel=2)


def engine(dtype):
    """The engine for a computing dtype: longdouble has no kernels."""
    return _reference if dtype.char == "g" else core


_reference = Reference()
core, reason = _choose()
cap = _cap_isa()
