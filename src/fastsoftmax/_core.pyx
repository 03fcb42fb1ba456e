"""The only place that knows both Python and C: buffers in, GIL released, status to exception.

Arrays arrive checked and normalised by _validate.py; nothing is validated here but what the C
code itself finds out (a label out of range, memory that is not to be had). An instruction set is a
parameter of the calling thread (use_isa), so that tests reach every instance in one process.
"""

cimport numpy as cnp
from cpython.long cimport PyLong_AsLongAndOverflow, PyLong_AsLongLongAndOverflow
from cpython.object cimport PyObject
from cpython.pycapsule cimport PyCapsule_New
from libc.limits cimport INT_MAX
from libc.stdint cimport SIZE_MAX, int64_t, uint64_t

import functools
import math
import threading

import numpy as np

cnp.import_array()

cdef extern from "fastsoftmax.h" nogil:
    enum:
        FS_MAX_DIMS
    ctypedef enum fs_dtype:
        FS_FLOAT32
        FS_FLOAT64
    ctypedef enum fs_op:
        FS_SOFTMAX
        FS_LOG_SOFTMAX
        FS_LOGSUMEXP
        FS_CROSS_ENTROPY
        FS_CROSS_ENTROPY_GRAD
        FS_NLL
        FS_SOFTMAX_BACKWARD
        FS_LOG_SOFTMAX_BACKWARD
        FS_STATE
        FS_SOFTMAX_GIVEN
        FS_LOG_SOFTMAX_GIVEN
    ctypedef enum fs_reduction:
        FS_NONE
        FS_MEAN
        FS_SUM
    ctypedef enum fs_error:
        FS_OK
        FS_NO_MEMORY
        FS_BAD_LABEL
        FS_INTERRUPTED
    ctypedef struct fs_status:
        fs_error error
        int64_t position
        int64_t value
    ctypedef struct fs_array:
        char *data
        int64_t strides[FS_MAX_DIMS]
        int64_t class_stride
    ctypedef struct fs_label_type:
        int size
        int is_signed
    ctypedef int fs_ask(void *context)
    ctypedef struct fs_call:
        fs_op op
        fs_dtype dtype
        int ndim
        int64_t shape[FS_MAX_DIMS]
        int64_t n
        int threads
        fs_ask *ask
        void *ask_context
        fs_array x
        fs_array other
        fs_array y
        fs_array value
        fs_array target
        fs_label_type label
        int has_ignore
        int64_t ignore_index
        const double *weight
        fs_array sample_weight
        fs_array grad_output
        double smoothing
        double z_loss
        fs_reduction reduction
        int has_normalizer
        double normalizer
        double loss

    fs_status fs_run(fs_call *call)
    void fs_run_rows(fs_op op, fs_dtype dtype, const void *x, void *y, int64_t rows, int64_t n)
    int fs_is_small(int64_t rows, int64_t n)
    void fs_state_join(double *a, const double *b, int64_t rows)
    void fs_state_end(const double *states, const double *x, double *result, int64_t rows)
    void fs_threads_init(int allowed, int follow_omp)
    void fs_threads_set(int threads)
    int fs_threads_swap(int threads)
    int fs_threads_resolve(int asked)
    int fs_openmp_version()
    void fs_isa_cap(const char *cap)
    int fs_isa_count()
    const char *fs_isa_name(int index)
    int fs_isa_runs(int index)
    const char *fs_isa_current()
    int fs_isa_force(const char *name)

cdef extern from "recycle.h" nogil:
    bint fs_recycle_wants(size_t size)
    void fs_recycle_init()
    void fs_recycle_set_limit(size_t size)
    size_t fs_recycle_limit()
    size_t fs_recycle_idle()
    size_t fs_recycle_release()

cdef extern from "pages.h" nogil:
    void fs_pages_huge(bint wanted)
    uint64_t fs_pages_installed()

cdef extern from "numpy/arrayobject.h":
    bint PyArray_ISSIGNED(cnp.ndarray array) nogil
    object PyArray_Scalar(void *data, cnp.PyArray_Descr *dtype, object owner)
    PyObject *PyDataMem_DefaultHandler
    object PyDataMem_GetHandler()
    object PyDataMem_SetHandler(object handler)

cdef extern from *:
    """
    #ifndef FS_OPENMP_NOTE
    #define FS_OPENMP_NOTE ""
    #endif
    """
    const char *FS_OPENMP_NOTE

cdef extern from *:
    """
    static PyDataMem_Handler recycling_handler = {"fastsoftmax", 1, {
        NULL, fs_recycle_malloc, fs_recycle_calloc, fs_recycle_realloc, fs_recycle_free}};
    """
    void *recycling_handler_address "&recycling_handler"

fs_isa_cap(NULL)
fs_recycle_init()

# Each array holds on to the handler that made it, so arrays may outlive this name.
cdef object recycling_handler = PyCapsule_New(recycling_handler_address, "mem_handler", NULL)


cdef object begin_recycling(size_t size):
    """Make NumPy take the next array, of so many bytes, from recycle.c; returns the handler that
    end_recycling puts back. None, and nothing is changed, where the array is not one for it or the
    caller has a handler of his own."""
    if not fs_recycle_wants(size) or PyDataMem_GetHandler() is not <object>PyDataMem_DefaultHandler:
        return None
    return PyDataMem_SetHandler(recycling_handler)


cdef int end_recycling(object former) except -1:
    if former is not None:
        PyDataMem_SetHandler(former)
    return 0


cdef cnp.ndarray new_result(cnp.ndarray x, int ndim):
    """An array of the first dimensions of x, and of its dtype."""
    cdef size_t size = cnp.PyArray_ITEMSIZE(x)
    cdef int dim
    for dim in range(ndim):
        size *= cnp.PyArray_DIM(x, dim)
    former = begin_recycling(size)
    try:
        return cnp.PyArray_EMPTY(ndim, cnp.PyArray_DIMS(x), cnp.PyArray_TYPE(x), 0)
    finally:
        end_recycling(former)


cdef object begin_recycling_of(shape, dtype):
    return begin_recycling(min(math.prod(shape) * dtype.itemsize, SIZE_MAX))


def empty(tuple shape, dtype):
    """np.empty, of memory that is recycled where it is large."""
    former = begin_recycling_of(shape, dtype)
    try:
        return np.empty(shape, dtype)
    finally:
        end_recycling(former)


def empty_like(cnp.ndarray array, dtype):
    """np.empty_like, of memory that is recycled where it is large."""
    former = begin_recycling_of((<object>array).shape, dtype)
    try:
        return np.empty_like(array, dtype)
    finally:
        end_recycling(former)


cdef inline fs_dtype dtype_of(cnp.ndarray x) noexcept:
    return FS_FLOAT32 if cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT32 else FS_FLOAT64


cdef void place(fs_array *to, cnp.ndarray array, int axis) noexcept:
    """Describe an array to C; axis: the class axis, or -1 for an array of one value a row."""
    cdef int dim, at = 0
    to.data = <char *>cnp.PyArray_DATA(array)
    for dim in range(cnp.PyArray_NDIM(array)):
        if dim == axis:
            to.class_stride = cnp.PyArray_STRIDE(array, dim)
        else:
            to.strides[at] = cnp.PyArray_STRIDE(array, dim)
            at += 1


cdef void begin(fs_call *call, cnp.ndarray x, int axis, int threads) noexcept:
    """Fill in what every op has: logits, shape, threads."""
    cdef int dim
    call.dtype = dtype_of(x)
    call.ndim = 0
    for dim in range(cnp.PyArray_NDIM(x)):
        if dim == axis:
            call.n = cnp.PyArray_DIM(x, dim)
        else:
            call.shape[call.ndim] = cnp.PyArray_DIM(x, dim)
            call.ndim += 1
    call.threads = threads
    call.ask = NULL
    call.other.data = call.y.data = call.value.data = call.target.data = NULL
    call.sample_weight.data = call.grad_output.data = NULL
    call.weight = NULL
    call.reduction = FS_NONE
    call.has_normalizer = call.has_ignore = 0
    call.smoothing = call.z_loss = call.loss = 0.0
    place(&call.x, x, axis)


cdef extern from *:
    """
    /* Runs the handlers of signals that have come; -1, with an exception set, if one raises. */
    static int signals_raise(void *context)
    {
        PyThreadState **released = (PyThreadState **)context;
        int result;
        PyEval_RestoreThread(*released);
        result = PyErr_CheckSignals();
        *released = PyEval_SaveThread();
        return result;
    }

    /* fs_run without the GIL, or whatever stands in its place. */
    static fs_status run_released(fs_call *call, int asks)
    {
        PyThreadState *released = PyEval_SaveThread();
        fs_status status;
        call->ask = asks ? signals_raise : NULL;
        call->ask_context = &released;
        status = fs_run(call);
        PyEval_RestoreThread(released);
        return status;
    }

    static int exception_is_set(void) { return -1; }
    """
    fs_status run_released(fs_call *call, int asks)
    int exception_is_set() except -1

cdef enum:
    LONG = 1 << 22  # elements of a call that may take long enough for Ctrl-C to matter

cdef object main_thread = threading.main_thread


cdef int run(fs_call *call, object targets=None) except -1:
    cdef fs_status status
    cdef int64_t rows = 1
    cdef int dim
    for dim in range(call.ndim):
        rows *= call.shape[dim]
    if fs_is_small(rows, call.n):  # done before another thread could have taken the GIL
        status = fs_run(call)
    else:  # only the main thread handles signals
        status = run_released(
            call, rows * call.n >= LONG and main_thread().ident == threading.get_ident())
    if status.error == FS_OK:
        return 0
    if status.error == FS_INTERRUPTED:
        exception_is_set()
    if status.error == FS_NO_MEMORY:
        raise MemoryError("fastsoftmax: no memory to copy strided rows")
    raise bad_label(targets, status, call.n)


cdef object bad_label(cnp.ndarray targets, fs_status status, int64_t n):
    """IndexError that names the label and where it stands.

    Without a comprehension: where there is no memory to append, Cython 3.3 frees the item twice."""
    position, left = [], status.position
    for length in reversed((<object>targets).shape):
        position.insert(0, left % length)
        left //= length
    cdef object value = status.value
    if targets.dtype.kind == "u":
        value = <uint64_t>status.value
    where = str(position).strip("[]")
    return IndexError(
        f"targets[{where or '()'}]: label {value} is out of range: expected 0 <= label < {n}, "
        "or ignore_index"
    )


# The doors: a call with plain arrays goes through in a quarter of a microsecond; whatever else
# comes, errors too, is left to the general way in Python. A door writes nothing before it is sure.

cdef inline bint is_plain_float(x) noexcept:
    """Whether the kernels take x as it is, its last axis being the classes."""
    return (
        cnp.PyArray_CheckExact(x) and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>x)
        and cnp.PyArray_NDIM(<cnp.ndarray>x) > 0
        and (cnp.PyArray_TYPE(<cnp.ndarray>x) == cnp.NPY_FLOAT32
             or cnp.PyArray_TYPE(<cnp.ndarray>x) == cnp.NPY_FLOAT64)
        and cnp.PyArray_DIM(<cnp.ndarray>x, cnp.PyArray_NDIM(<cnp.ndarray>x) - 1) > 0
    )


cdef inline bint is_last(axis, cnp.ndarray x) noexcept:
    """Whether axis is an int, no other kind of number, and means the last."""
    cdef int overflow
    cdef long k
    if type(axis) is not int:
        return False
    k = PyLong_AsLongAndOverflow(axis, &overflow)
    return k == -1 and not overflow or k == cnp.PyArray_NDIM(x) - 1


cdef inline int plain_count(threads) noexcept:
    """A number of threads: 0 for None, -1 for what is for others to judge."""
    cdef int overflow
    cdef long k
    if threads is None:
        return 0
    if type(threads) is not int:
        return -1
    k = PyLong_AsLongAndOverflow(threads, &overflow)
    return <int>k if 0 < k <= INT_MAX else -1


cdef bint is_like(cnp.ndarray array, cnp.ndarray x, int ndim) noexcept:
    """Whether an array has the first dimensions of x, so many."""
    cdef int dim
    if cnp.PyArray_NDIM(array) != ndim:
        return False
    for dim in range(ndim):
        if cnp.PyArray_DIM(array, dim) != cnp.PyArray_DIM(x, dim):
            return False
    return True


cdef bint are_apart(cnp.ndarray a, cnp.ndarray b) noexcept:
    """Whether two contiguous arrays have no memory in common."""
    cdef char *first = <char *>cnp.PyArray_DATA(a)
    cdef char *second = <char *>cnp.PyArray_DATA(b)
    return first + cnp.PyArray_NBYTES(a) <= second or second + cnp.PyArray_NBYTES(b) <= first


cdef bint is_plain_out(out, cnp.ndarray x, int ndim) noexcept:
    """Whether out can be written as it is: x itself or apart from it, of its first dimensions."""
    cdef cnp.ndarray y
    if not cnp.PyArray_CheckExact(out) or not cnp.PyArray_ISCARRAY(<cnp.ndarray>out):
        return False
    y = <cnp.ndarray>out
    if cnp.PyArray_TYPE(y) != cnp.PyArray_TYPE(x) or not is_like(y, x, ndim):
        return False
    return are_apart(x, y) or (
        ndim == cnp.PyArray_NDIM(x) and cnp.PyArray_DATA(x) == cnp.PyArray_DATA(y))


cdef bint are_plain_labels(targets, cnp.ndarray x) noexcept:
    """Whether targets are contiguous integers, one for each row of x."""
    return (
        cnp.PyArray_CheckExact(targets) and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>targets)
        and cnp.PyArray_ISINTEGER(<cnp.ndarray>targets)
        and is_like(<cnp.ndarray>targets, x, cnp.PyArray_NDIM(x) - 1)
    )


cdef bint are_plain_probabilities(targets, cnp.ndarray x) noexcept:
    """Whether targets are contiguous and of x's shape and dtype."""
    return (
        cnp.PyArray_CheckExact(targets) and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>targets)
        and cnp.PyArray_TYPE(<cnp.ndarray>targets) == cnp.PyArray_TYPE(x)
        and is_like(<cnp.ndarray>targets, x, cnp.PyArray_NDIM(x))
    )


cdef object returned(cnp.ndarray result):
    """A result as NumPy returns one: a scalar, if it has no dimensions."""
    if cnp.PyArray_NDIM(result) > 0:
        return result
    return PyArray_Scalar(cnp.PyArray_DATA(result), cnp.PyArray_DESCR(result), None)


cdef object scalar(double value, cnp.ndarray x):
    """A NumPy scalar of the dtype of x; without the warning of a conversion that overflows."""
    cdef float narrow = <float>value
    cdef bint is_narrow = cnp.PyArray_TYPE(x) == cnp.NPY_FLOAT32
    cdef void *data = <void *>&narrow if is_narrow else <void *>&value
    return PyArray_Scalar(data, cnp.PyArray_DESCR(x), None)


cdef object try_unary(fs_op op, x, axis, out, threads):
    """softmax, log_softmax or logsumexp of plain arrays over the last axis, else None."""
    cdef cnp.ndarray a, y
    cdef fs_call call
    cdef int64_t n, rows
    cdef int count = plain_count(threads), ndim
    if count < 0 or not is_plain_float(x) or not is_last(axis, <cnp.ndarray>x):
        return None
    a = <cnp.ndarray>x
    ndim = cnp.PyArray_NDIM(a) - (op == FS_LOGSUMEXP)
    if out is None:
        y = new_result(a, ndim)
    elif is_plain_out(out, a, ndim):
        y = <cnp.ndarray>out
    else:
        return None
    n = cnp.PyArray_DIM(a, cnp.PyArray_NDIM(a) - 1)
    rows = cnp.PyArray_SIZE(a) // n
    if fs_is_small(rows, n):
        fs_run_rows(op, dtype_of(a), cnp.PyArray_DATA(a), cnp.PyArray_DATA(y), rows, n)
    else:
        begin(&call, a, cnp.PyArray_NDIM(a) - 1, count)
        call.op = op
        if op == FS_LOGSUMEXP:
            place(&call.value, y, -1)
        else:
            place(&call.y, y, ndim - 1)
        run(&call)
    return y if out is not None else returned(y)


cdef int reduction_of(name) noexcept:
    """The fs_reduction of a str, or -1."""
    if type(name) is not str:
        return -1
    return FS_MEAN if name == "mean" else FS_SUM if name == "sum" else (
        FS_NONE if name == "none" else -1)


cdef inline bint is_finite(x) noexcept:
    """Whether x is a float, no other kind of number, and neither infinite nor NaN."""
    return type(x) is float and <double>x - <double>x == 0.0


cdef object plain_factors(factors, out):
    """Contiguous floats as float64, out apart from them; else None."""
    if not (cnp.PyArray_CheckExact(factors) and cnp.PyArray_ISCARRAY_RO(<cnp.ndarray>factors)):
        return None
    if cnp.PyArray_TYPE(<cnp.ndarray>factors) == cnp.NPY_FLOAT32:
        return cnp.PyArray_Cast(<cnp.ndarray>factors, cnp.NPY_FLOAT64)
    if cnp.PyArray_TYPE(<cnp.ndarray>factors) != cnp.NPY_FLOAT64:
        return None
    if out is not None and not are_apart(<cnp.ndarray>out, <cnp.ndarray>factors):
        return None
    return factors


cdef object try_loss(x, targets, axis, weight, sample_weight, ignore_index, smoothing, z_loss,
                     reduction, threads, bint with_grad, out):
    """The loss, or (loss, grad), of plain logits and targets over the last axis, else None."""
    cdef fs_call call
    cdef cnp.ndarray logits, labels, losses, grad
    cdef int count = plain_count(threads), overflow, last, reduced = reduction_of(reduction)
    cdef int64_t ignored
    if (count < 0 or reduced < 0 or type(ignore_index) is not int or not is_finite(z_loss)
            or not is_finite(smoothing) or not 0.0 <= <double>smoothing <= 1.0):
        return None
    ignored = PyLong_AsLongLongAndOverflow(ignore_index, &overflow)
    if overflow or not is_plain_float(x) or not is_last(axis, <cnp.ndarray>x):
        return None
    logits = <cnp.ndarray>x
    last = cnp.PyArray_NDIM(logits) - 1
    cdef bint soft = are_plain_probabilities(targets, logits)
    if not soft and not are_plain_labels(targets, logits):
        return None
    labels = <cnp.ndarray>targets
    if out is not None and not (
            is_plain_out(out, logits, last + 1) and are_apart(<cnp.ndarray>out, labels)):
        return None
    begin(&call, logits, last, count)
    if weight is not None:
        weight = plain_factors(weight, out)
        if weight is None or cnp.PyArray_NDIM(<cnp.ndarray>weight) != 1 or (
                cnp.PyArray_DIM(<cnp.ndarray>weight, 0) != call.n):
            return None
        call.weight = <const double *>cnp.PyArray_DATA(<cnp.ndarray>weight)
    if sample_weight is not None:
        sample_weight = plain_factors(sample_weight, out)
        if sample_weight is None or not is_like(<cnp.ndarray>sample_weight, logits, last):
            return None
        place(&call.sample_weight, <cnp.ndarray>sample_weight, -1)
    call.op = FS_CROSS_ENTROPY_GRAD if with_grad else FS_CROSS_ENTROPY
    call.reduction = <fs_reduction>reduced
    call.smoothing, call.z_loss = smoothing, z_loss
    if soft:
        place(&call.other, labels, last)
    else:
        place_labels(&call, labels, ignored)
    if call.reduction == FS_NONE:
        losses = new_result(logits, last)
        place(&call.value, losses, -1)
    if with_grad:
        grad = new_result(logits, last + 1) if out is None else <cnp.ndarray>out
        place(&call.y, grad, last)
    run(&call, labels)
    loss = returned(losses) if call.reduction == FS_NONE else scalar(call.loss, logits)
    return (loss, grad) if with_grad else loss


def unary_door(fs_op op):
    """Decorator of the general softmax or log_softmax (op 0, 1): plain arrays go past it."""
    def around(general):
        def door(x, axis=-1, *, out=None, threads=None):
            y = try_unary(op, x, axis, out, threads)
            return y if y is not None else general(x, axis, out=out, threads=threads)
        return functools.update_wrapper(door, general)
    return around


def logsumexp_door(general):
    def door(x, axis=-1, *, keepdims=False, out=None, threads=None):
        if keepdims is False:
            y = try_unary(FS_LOGSUMEXP, x, axis, out, threads)
            if y is not None:
                return y
        return general(x, axis, keepdims=keepdims, out=out, threads=threads)
    return functools.update_wrapper(door, general)


def loss_door(general):
    def door(logits, targets, *, axis=-1, weight=None, sample_weight=None, ignore_index=-100,
             label_smoothing=0.0, z_loss=0.0, reduction="mean", normalizer=None, threads=None):
        if normalizer is None:
            loss = try_loss(logits, targets, axis, weight, sample_weight, ignore_index,
                            label_smoothing, z_loss, reduction, threads, False, None)
            if loss is not None:
                return loss
        return general(
            logits, targets, axis=axis, weight=weight, sample_weight=sample_weight,
            ignore_index=ignore_index, label_smoothing=label_smoothing, z_loss=z_loss,
            reduction=reduction, normalizer=normalizer, threads=threads)
    return functools.update_wrapper(door, general)


def loss_and_grad_door(general):
    def door(logits, targets, *, axis=-1, weight=None, sample_weight=None, ignore_index=-100,
             label_smoothing=0.0, z_loss=0.0, reduction="mean", normalizer=None, threads=None,
             grad_output=None, out=None):
        if normalizer is None and grad_output is None:
            both = try_loss(logits, targets, axis, weight, sample_weight, ignore_index,
                            label_smoothing, z_loss, reduction, threads, True, out)
            if both is not None:
                return both
        return general(
            logits, targets, axis=axis, weight=weight, sample_weight=sample_weight,
            ignore_index=ignore_index, label_smoothing=label_smoothing, z_loss=z_loss,
            reduction=reduction, normalizer=normalizer, threads=threads, grad_output=grad_output,
            out=out)
    return functools.update_wrapper(door, general)


def unary(int op, cnp.ndarray x, cnp.ndarray y, int axis, int threads):
    """softmax, log_softmax, logsumexp (op 0, 1, 2) of x along axis into y, any strides."""
    cdef fs_call call
    begin(&call, x, axis, threads)
    call.op = <fs_op>op
    if call.n == 0:
        if op == FS_LOGSUMEXP:
            y[...] = -float("inf")
        return
    if op == FS_LOGSUMEXP:
        place(&call.value, y, -1)
    else:
        place(&call.y, y, axis)
    run(&call)


def backward(int op, cnp.ndarray dy, cnp.ndarray y, cnp.ndarray dx, int axis, int threads):
    """Gradient through softmax (op 0) or log_softmax (op 1), any strides; dx may be dy or y."""
    cdef fs_call call
    begin(&call, dy, axis, threads)
    call.op = FS_SOFTMAX_BACKWARD if op == FS_SOFTMAX else FS_LOG_SOFTMAX_BACKWARD
    place(&call.other, y, axis)
    place(&call.y, dx, axis)
    run(&call)


def state(cnp.ndarray x, cnp.ndarray states, int axis, int threads):
    """The state of each row of x along axis, four doubles along a last axis of their own."""
    cdef fs_call call
    begin(&call, x, axis, threads)
    call.op = FS_STATE
    place(&call.value, states, cnp.PyArray_NDIM(states) - 1)
    run(&call)


def given(int op, cnp.ndarray x, cnp.ndarray states, cnp.ndarray y, int axis, int threads):
    """softmax or log_softmax (op 0, 1) of blocks x of the rows that the states stand for."""
    cdef fs_call call
    begin(&call, x, axis, threads)
    call.op = FS_SOFTMAX_GIVEN if op == FS_SOFTMAX else FS_LOG_SOFTMAX_GIVEN
    place(&call.value, states, cnp.PyArray_NDIM(states) - 1)
    place(&call.y, y, axis)
    run(&call)


def join_states(cnp.ndarray a, cnp.ndarray b):
    """Turn each state of a into that of the elements of both; both contiguous."""
    fs_state_join(<double *>cnp.PyArray_DATA(a), <const double *>cnp.PyArray_DATA(b),
                  cnp.PyArray_SIZE(a) // 4)


def state_end(cnp.ndarray states, cnp.ndarray x, cnp.ndarray out):
    """logsumexp of each state, less its x if there is one, in float64; all contiguous."""
    cdef const double *less = NULL
    if x is not None:
        less = <const double *>cnp.PyArray_DATA(x)
    fs_state_end(<const double *>cnp.PyArray_DATA(states), less, <double *>cnp.PyArray_DATA(out),
                 cnp.PyArray_SIZE(out))


def nll(x, axis, targets, **options):
    """-x at the targets, or weighted by soft targets; options as for cross_entropy."""
    return cross_entropy(x, axis, targets, nll=True, **options)


cdef void place_labels(fs_call *call, cnp.ndarray labels, int64_t ignored) noexcept:
    place(&call.target, labels, -1)
    call.label.size = <int>cnp.PyArray_ITEMSIZE(labels)
    call.label.is_signed = PyArray_ISSIGNED(labels)
    call.has_ignore = ignored >= 0 or call.label.is_signed or call.label.size < 8
    call.ignore_index = ignored


def cross_entropy(cnp.ndarray x, int axis, cnp.ndarray targets, *, cnp.ndarray loss=None,
                  cnp.ndarray grad=None, str reduction, int64_t ignore_index=-100,
                  cnp.ndarray weight=None, cnp.ndarray sample_weight=None,
                  double label_smoothing=0.0, double z_loss=0.0, normalizer=None,
                  grad_output=None, int threads=0, bint nll=False):
    """Loss, and gradient where an array for it is given. nll: x holds log-probabilities."""
    cdef fs_call call
    cdef double scale
    cdef int dim
    begin(&call, x, axis, threads)
    call.op = FS_NLL if nll else FS_CROSS_ENTROPY if grad is None else FS_CROSS_ENTROPY_GRAD
    call.reduction = <fs_reduction>reduction_of(reduction)
    call.smoothing = label_smoothing
    call.z_loss = z_loss
    if targets.dtype.kind == "f":
        place(&call.other, targets, axis)
    else:
        place_labels(&call, targets, ignore_index)
    if loss is not None:
        place(&call.value, loss, -1)
    if grad is not None:
        place(&call.y, grad, axis)
    if weight is not None:
        call.weight = <const double *>cnp.PyArray_DATA(weight)
    if sample_weight is not None:
        place(&call.sample_weight, sample_weight, -1)
    if isinstance(grad_output, cnp.ndarray):
        place(&call.grad_output, grad_output, -1)
    elif grad_output is not None:
        scale = grad_output
        call.grad_output.data = <char *>&scale
        for dim in range(call.ndim):
            call.grad_output.strides[dim] = 0
    if normalizer is not None:
        call.has_normalizer = 1
        call.normalizer = normalizer
    run(&call, targets)
    return None if call.reduction == FS_NONE else call.loss


def set_num_threads(int n):
    fs_threads_set(n)


def get_num_threads():
    return fs_threads_resolve(0)


def swap_thread_limit(int n):
    return fs_threads_swap(n)


def configure(int allowed, bint follow_omp):
    fs_threads_init(allowed, follow_omp)


def configure_recycling(limit, bint huge_pages):
    fs_pages_huge(huge_pages)
    fs_recycle_set_limit(limit)


def set_recycle_limit(limit):
    fs_recycle_set_limit(limit)


def get_recycle_limit():
    return fs_recycle_limit()


def idle_memory():
    """Bytes of freed results that are kept."""
    return fs_recycle_idle()


def release_memory():
    cdef size_t released
    with nogil:
        released = fs_recycle_release()
    return released


def installed_memory():
    """What the machine has or ulimit grants, whichever is less; 0 if unknown."""
    return fs_pages_installed()


def openmp():
    version = fs_openmp_version()
    return str(version) if version else ""


def openmp_note():
    return FS_OPENMP_NOTE.decode()


def compiled_isas():
    return [fs_isa_name(i).decode() for i in range(fs_isa_count())]


def isas():
    return [fs_isa_name(i).decode() for i in range(fs_isa_count()) if fs_isa_runs(i)]


def cap_isa(str name):
    cdef bytes encoded = name.encode()
    fs_isa_cap(encoded)


def current_isa():
    return fs_isa_current().decode()


def use_isa(name):
    cdef bytes encoded
    cdef const char *wanted = NULL
    if name is not None:
        encoded = name.encode()
        wanted = encoded
    if not fs_isa_force(wanted):
        raise ValueError(f"name: no instance {name!r} runs here; expected one of {isas()}")
