"""The categorical cross-entropies under the names and signatures of ``keras.losses``.

One loss a sample, not reduced, for anything NumPy can read; Keras need not be installed. What is
deliberately different from Keras:

- A label out of range is an IndexError. Keras gives it a loss of 0, or fails, as its backend does.
- Labels must be integers, and neither argument bool.
- Smoothing is shared out over the classes; Keras divides by the length of the last axis even
  where `axis` is another.
- From logits, 0 times an infinite log-probability is 0.
- Sums and shares are not rounded to float32 on the way, and lists are float64.

From logits the compiled kernels compute. Probabilities are taken a few rows at a time, in float64
or wider, in NumPy: no temporary grows with `y_pred`.
"""

import numpy as np

from . import _api
from . import _validate as v

__all__ = ["categorical_crossentropy", "sparse_categorical_crossentropy"]

EPSILON = 1e-7  # keras.config.epsilon() unless somebody sets another
_BLOCK = 2**14  # probabilities at a time: 128 KB and as much again twice, within a core's cache


def categorical_crossentropy(y_true, y_pred, from_logits=False, label_smoothing=0.0, axis=-1):
    """Cross-entropy between target probabilities and predictions, one loss a sample.

    With t the targets of a sample, y its predictions, C classes and smoothing a::

        sum(((1 - a) * t + a / C) * l)

    where ``l = -log(clip(y / sum(y), 1e-7, 1 - 1e-7))``, or ``l = -log_softmax(y)`` from logits.
    As in Keras the bounds of the clipping are those two numbers in the dtype of `y_pred`.

    Parameters
    ----------
    y_true : array_like
        Target probabilities, one-hot or not, taken as they are. Any real numbers, in the shape of
        `y_pred`; converted to the dtype that `y_pred` is computed in.
    y_pred : array_like
        Probabilities, which need not sum to one, or logits. float32, float64 and longdouble keep
        their dtype; integers are computed as float64; float16 and bfloat16 are rounded once.
    from_logits : bool, default False
        Whether `y_pred` holds logits.
    label_smoothing : float, default 0.0
        From 0 to 1: the share of the target that is spread evenly over the classes.
    axis : int, default -1
        The axis of the classes, 1 for channels first.

    Returns
    -------
    ndarray or scalar
        The losses, in the shape of `y_pred` without `axis` and its dtype (float64 for integers).
        NaN for a sample whose probabilities hold NaN or inf or are all 0; from logits as
        `fastsoftmax.cross_entropy` has it.

    Raises
    ------
    TypeError
        If an array is not real numbers in host memory (bool, complex, object, masked, lazy,
        device arrays), or an option is of another type.
    ValueError
        If the shapes differ, there is no class, or `label_smoothing` or `axis` is out of bounds.

    References
    ----------
    .. [1] Keras 3, ``keras.losses.categorical_crossentropy``, keras/src/losses/losses.py and
           keras/src/backend/numpy/nn.py.

    Examples
    --------
    >>> from fastsoftmax.keras import categorical_crossentropy
    >>> y_true = [[0, 1, 0], [0, 0, 1]]
    >>> y_pred = [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]
    >>> categorical_crossentropy(y_true, y_pred).round(6)
    array([0.051293, 2.302585])
    """
    from_logits = _flag(from_logits, "from_logits")
    smoothing = v.number(label_smoothing, "label_smoothing")
    if not 0 <= smoothing <= 1:
        raise ValueError(f"label_smoothing: expected 0 to 1, got {smoothing}")
    y, dtype, axis = _predictions(y_pred, axis)
    t = _probabilities(y_true, y, axis)
    if from_logits:
        losses = _api.cross_entropy(
            y, t, axis=axis, label_smoothing=smoothing, reduction="none"
        )  # fmt: skip
        return losses if losses.dtype == dtype else v.cast(losses, dtype)[()]
    t, wide = np.moveaxis(t, axis, -1), _computing(y)
    bounds, exact = _bounds(dtype, wide), wide == y.dtype.type
    kept, spread = 1 - wide(smoothing), wide(smoothing) / y.shape[axis]

    def terms(rows, slab):
        q = t[slab].astype(wide, order="C").reshape(rows.shape)
        if smoothing:
            q *= kept
            q += spread
        return _soft_losses(rows, q, bounds, exact)

    return _by_blocks(y, axis, dtype, terms)


def sparse_categorical_crossentropy(y_true, y_pred, from_logits=False, ignore_class=None, axis=-1):
    """Cross-entropy between labels and predictions, one loss a sample.

    With t the label of a sample and y its predictions, the loss is::

        -log(clip(y[t] / sum(y), 1e-7, 1 - 1e-7))

    or ``-log_softmax(y)[t]`` from logits, and 0 where t is `ignore_class`. As in Keras the bounds
    of the clipping are those two numbers in the dtype of `y_pred`.

    Parameters
    ----------
    y_true : array_like
        Labels of any integer dtype, in the shape of `y_pred` without `axis`, or with `axis` of
        length 1.
    y_pred : array_like
        Probabilities, which need not sum to one, or logits; dtypes as in
        `categorical_crossentropy`.
    from_logits : bool, default False
        Whether `y_pred` holds logits.
    ignore_class : int, optional
        Samples with this label, a class or not, count 0 whatever their predictions are.
    axis : int, default -1
        The axis of the classes, 1 for channels first.

    Returns
    -------
    ndarray or scalar
        The losses, in the shape of `y_pred` without `axis` and its dtype (float64 for integers).
        NaN for a sample whose probabilities hold NaN or inf or are all 0; from logits as
        `fastsoftmax.cross_entropy` has it.

    Raises
    ------
    IndexError
        If a label is neither in [0, C) nor `ignore_class`, unlike in Keras; it names label and
        position.
    TypeError
        If the labels are not integers (Keras would cut off what is behind their point), `y_pred`
        is not real numbers in host memory, or an option is of another type.
    ValueError
        If the shapes do not match, there is no class, or `axis` is out of bounds.

    References
    ----------
    .. [1] Keras 3, ``keras.losses.sparse_categorical_crossentropy``, keras/src/losses/losses.py
           and keras/src/backend/numpy/nn.py.

    Examples
    --------
    >>> from fastsoftmax.keras import sparse_categorical_crossentropy
    >>> y_pred = [[0.05, 0.95, 0], [0.1, 0.8, 0.1]]
    >>> sparse_categorical_crossentropy([1, 2], y_pred).round(6)
    array([0.051293, 2.302585])
    >>> sparse_categorical_crossentropy([1, 255], y_pred, ignore_class=255).round(6)
    array([0.051293, 0.      ])
    """
    from_logits = _flag(from_logits, "from_logits")
    ignored = -1 if ignore_class is None else v.integer(ignore_class, "ignore_class")
    if not -(2**63) <= ignored < 2**63:
        raise ValueError(f"ignore_class: expected a 64-bit integer, got {ignored}")
    y, dtype, axis = _predictions(y_pred, axis)
    t = _labels(y_true, y, axis)
    _check_range(t, y.shape[axis], ignore_class)
    # No label is -1 here unless it was to be ignored.
    if from_logits:
        losses = _api.cross_entropy(y, t, axis=axis, ignore_index=ignored, reduction="none")
        return losses if losses.dtype == dtype else v.cast(losses, dtype)[()]
    wide = _computing(y)
    bounds, exact = _bounds(dtype, wide), wide == y.dtype.type

    def terms(rows, slab):
        labels = t[slab].reshape(-1)
        counted = labels != ignored
        at = np.where(counted, labels, 0).astype(np.intp)
        return np.where(counted, _hard_losses(rows, at, bounds, exact), 0)

    return _by_blocks(y, axis, dtype, terms)


# --- arguments ---


def _flag(value, name):
    # So that a smoothing in the place of from_logits does not pass for True.
    if not isinstance(value, (bool, np.bool_)):
        raise TypeError(f"{name}: expected True or False, got {value!r}")
    return bool(value)


def _predictions(y_pred, axis):
    """Return the array to compute with, the dtype of the losses, and the axis from the front."""
    y, dtype = v.real_array(y_pred, "y_pred")
    if y.ndim == 0:
        raise ValueError("y_pred: expected at least one dimension, the classes; got a 0-d array")
    axis = v.one_axis(axis, y.ndim)
    if y.shape[axis] == 0:
        raise ValueError(f"y_pred: expected at least one class, got shape {y.shape}, axis {axis}")
    return y, dtype, axis


def _probabilities(y_true, y, axis):
    t, _ = v.real_array(y_true, "y_true")
    if t.shape != y.shape:
        hint = ""
        if t.shape == _samples(y, axis):
            hint = "; for labels use sparse_categorical_crossentropy"
        raise ValueError(
            f"y_true: expected probabilities of the shape of y_pred, {y.shape}, got {t.shape}{hint}"
        )
    return t if t.dtype.char == y.dtype.char else v.cast(t, y.dtype)


def _labels(y_true, y, axis):
    t = v.ndarray(y_true, "y_true")
    if t.size == 0 and not isinstance(y_true, np.ndarray):
        t = t.astype(np.intp)  # an empty list has no dtype of its own
    if t.dtype.kind not in "iu":
        raise TypeError(
            f"y_true: labels must be integers, got dtype {t.dtype}; use .astype(np.intp), "
            "or categorical_crossentropy for probabilities"
        )
    samples = _samples(y, axis)
    if t.ndim == y.ndim and t.shape[axis] == 1:
        t = t.squeeze(axis)
    if t.shape != samples:
        hint = "; for one-hot rows use categorical_crossentropy" if t.shape == y.shape else ""
        raise ValueError(
            f"y_true: expected labels of shape {samples} (y_pred without its class axis), "
            f"got {t.shape}{hint}"
        )
    return t


def _samples(y, axis):
    return y.shape[:axis] + y.shape[axis + 1 :]


def _check_range(labels, classes, ignore_class):
    """Raise IndexError for the first label that is neither a class nor ignored."""
    if labels.size == 0 or (labels.min() >= 0 and labels.max() < classes):
        return
    bad = (labels < 0) | (labels >= classes)
    if ignore_class is not None:
        bad &= labels != int(ignore_class)
    if np.any(bad):
        position = tuple(np.argwhere(bad)[0])
        where = ", ".join(map(str, position)) or "()"
        raise IndexError(
            f"y_true[{where}]: label {labels[position]} is out of range: "
            f"expected 0 <= label < {classes}, or ignore_class"
        )


# --- losses from probabilities ---


def _by_blocks(y, axis, dtype, terms):
    """The losses of `y` from ``terms(rows, slab)``, which may overwrite the rows it gets."""
    y, wide = np.moveaxis(y, axis, -1), _computing(y)
    samples, classes = y.shape[:-1], y.shape[-1]
    losses = np.empty(samples, dtype)
    with np.errstate(all="ignore"):
        for slab in v.slabs(samples, max(1, _BLOCK // classes)):
            # In C order, so that sums do not depend on strides or axis.
            rows = y[slab].astype(wide, order="C").reshape(-1, classes)
            losses[slab] = terms(rows, slab).reshape(losses[slab].shape).astype(dtype)
    return losses[()]


def _computing(y):
    """The type to compute in: float64 or longdouble; float32 and half are then rounded once."""
    return np.promote_types(y.dtype, np.float64).type


def _bounds(dtype, wide):
    """The bounds of the clipping, 1e-7 and 1 - 1e-7, rounded to `dtype`."""
    return wide(dtype.type(EPSILON)), wide(dtype.type(1 - EPSILON))


def _hard_losses(rows, labels, bounds, exact):
    """-log of the clipped share of the label in each row; overwrites `rows`.

    Everything but the label is summed apart: near 1 a share p / (p + rest) has lost what counts.
    """
    at = np.arange(len(rows)), labels
    p = rows[at]
    rows[at] = 0
    return -_log_share(p, _sum(rows, exact), bounds)


def _soft_losses(rows, coefficients, bounds, exact):
    """Minus the sum of coefficients times log of the clipped shares; overwrites its arguments."""
    at = np.arange(len(rows)), np.argmax(rows, axis=-1)
    p = rows[at]
    rows[at] = 0
    rest = _sum(rows, exact)  # of all but the largest, the only share that can be near 1
    rows[at] = p
    rows /= _finite(p + rest)[:, np.newaxis]
    np.clip(rows, *bounds, out=rows)
    np.log(rows, out=rows)
    rows[at] = _log_share(p, rest, bounds)
    coefficients *= rows
    return -_sum(coefficients, exact)


def _log_share(p, rest, bounds):
    """log(p / (p + rest)), clipped, exact where the share is near 1."""
    low, high = bounds
    share = p / _finite(p + rest)
    logs = np.where(share > 0.5, -np.log1p(rest / p), np.log(np.maximum(share, low)))
    return np.minimum(logs, np.log1p(high - 1))


def _finite(total):
    return np.where(np.isfinite(total), total, np.nan)


def _sum(rows, exact):
    """The sum of each row, rounded only once or twice if `exact`.

    The rows are cut in two at a power of two over their sum: the upper parts add up without
    rounding, and the rounding of the lower parts is far below the last place of the whole.
    """
    total = np.sum(rows, axis=-1)
    if not exact:
        return total
    cut = np.ldexp(np.ones_like(total), np.frexp(total)[1] + 1)[:, np.newaxis]
    upper = rows + cut
    upper -= cut
    lower = rows - upper
    refined = np.sum(upper, axis=-1) + np.sum(lower, axis=-1)
    return np.where(np.isfinite(refined), refined, total)
