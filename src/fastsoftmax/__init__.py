"""Fast and exact softmax, log-softmax, log-sum-exp and cross-entropy on the CPU.

The functions take anything NumPy can read as an array of real numbers and return NumPy arrays.
`fastsoftmax.reference` holds the same functions in plain NumPy, `fastsoftmax.testing` measures
errors in units in the last place. Start with `help(fastsoftmax.softmax)`.
"""

__version__ = "0.1.0"

from ._api import (
    cross_entropy,
    cross_entropy_with_grad,
    log_softmax,
    log_softmax_backward,
    logsumexp,
    nll_loss,
    softmax,
    softmax_backward,
)
from ._config import show_config
from ._memory import get_recycle_limit, release_memory, set_recycle_limit
from ._online import OnlineSoftmax
from ._threads import get_num_threads, set_num_threads, threads

__all__ = [
    "OnlineSoftmax",
    "cross_entropy",
    "cross_entropy_with_grad",
    "get_num_threads",
    "get_recycle_limit",
    "log_softmax",
    "log_softmax_backward",
    "logsumexp",
    "nll_loss",
    "release_memory",
    "set_num_threads",
    "set_recycle_limit",
    "show_config",
    "softmax",
    "softmax_backward",
    "threads",
]
