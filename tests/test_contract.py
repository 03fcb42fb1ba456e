"""The contract, line by line and in its order: `CONTRACT` names the tests that hold each line.

A name is that of a test of this file, or file::test. test_line fails where a test is not there, and
test_every_row_is_named where a test of test_edges.py or test_validation.py is of no line.
"""

import ast
import gc
import importlib
import inspect
import os
import signal
import subprocess
import sys
import sysconfig
import threading
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from conftest import same_bits

import fastsoftmax
from fastsoftmax._backend import core

HERE = Path(__file__).parent

SIGNATURES = {
    "softmax": "(x, axis=-1, *, out=None, threads=None)",
    "log_softmax": "(x, axis=-1, *, out=None, threads=None)",
    "logsumexp": "(x, axis=-1, *, keepdims=False, out=None, threads=None)",
    "softmax_backward": "(dy, y, axis=-1, *, out=None, threads=None)",
    "log_softmax_backward": "(dy, y, axis=-1, *, out=None, threads=None)",
    "cross_entropy": "(logits, targets, *, axis=-1, weight=None, sample_weight=None, "
    "ignore_index=-100, label_smoothing=0.0, z_loss=0.0, reduction='mean', normalizer=None, "
    "threads=None)",
    "cross_entropy_with_grad": "(logits, targets, *, axis=-1, weight=None, sample_weight=None, "
    "ignore_index=-100, label_smoothing=0.0, z_loss=0.0, reduction='mean', normalizer=None, "
    "threads=None, grad_output=None, out=None)",
    "nll_loss": "(log_probs, targets, *, axis=-1, weight=None, sample_weight=None, "
    "ignore_index=-100, reduction='mean', normalizer=None, threads=None)",
    "set_num_threads": "(n)",
    "get_num_threads": "()",
    "threads": "(n)",
    "show_config": "(mode='stdout')",
    "OnlineSoftmax": "(axis=-1)",
    "scipy.softmax": "(x, axis=None)",
    "scipy.log_softmax": "(x, axis=None)",
    "scipy.logsumexp": "(a, axis=None, b=None, keepdims=False, return_sign=False)",
    "keras.categorical_crossentropy": "(y_true, y_pred, from_logits=False, label_smoothing=0.0, "
    "axis=-1)",
    "keras.sparse_categorical_crossentropy": "(y_true, y_pred, from_logits=False, "
    "ignore_class=None, axis=-1)",
}

CONTRACT = {
    # --- Functions ---
    **{f"{name}{text}": ["test_signature"] for name, text in SIGNATURES.items() if "." not in name},
    "dx = y * (dy - sum(dy * y)) and dy - exp(y) * sum(dy)": ["test_api.py::test_backward"],
    "grad_output (scalar or per sample) multiplies grad": [
        "test_cross_entropy.py::test_grad_output_multiplies_the_gradient_only"
    ],
    "out=logits works in place": ["test_cross_entropy.py::test_gradient_in_place"],
    "set_num_threads, get_num_threads": ["test_threads_config.py::test_set_and_get"],
    "threads: context manager, per thread of Python": [
        "test_threads_config.py::test_contexts_nest_and_end",
        "test_threads_config.py::test_a_context_is_of_its_thread",
    ],
    "show_config: prints, or 'dicts' returns version, backend, ISA detected / compiled / used, "
    "OpenMP, threads": [
        "test_threads_config.py::test_show_config_dicts",
        "test_threads_config.py::test_show_config_prints",
    ],
    "OnlineSoftmax: .update(block) takes blocks of classes, .merge(other) joins two": [
        "test_online.py::test_any_split_in_any_order"
    ],
    "OnlineSoftmax pickles": ["test_online.py::test_pickles"],
    ".logsumexp(), .softmax(block), .log_softmax(block), .cross_entropy(target_logits)": [
        "test_methods_of_online_softmax",
        "test_online.py::test_any_split_in_any_order",
    ],
    "python -m fastsoftmax is the front door (bench by default; info; accuracy)": [
        "test_front_door",
        "test_bench.py::test_rows",
        "test_accuracy_command.py::test_accuracy",
    ],
    "FASTSOFTMAX_NUM_THREADS": ["test_backend.py::test_num_threads_precedence"],
    "FASTSOFTMAX_MAX_ISA (scalar, avx2, avx512, neon)": [
        "test_backend.py::test_known_max_isa_is_silent",
        "test_backend.py::test_max_isa_caps",
    ],
    "FASTSOFTMAX_BACKEND (numpy forces the reference)": [
        "test_backend.py::test_numpy_backend_is_silent"
    ],
    "fastsoftmax.reference holds the same functions": [
        "test_api.py::test_reference_has_the_same_signature",
        "test_reference.py::test_family_against_mpmath",
        "test_reference.py::test_loss_and_gradient_against_mpmath",
    ],
    "the fallback where the extension is absent": [
        "test_backend.py::test_missing_extension_warns_once_and_works"
    ],
    "axis: int, tuple of ints, or None (all axes) for the softmax family": [
        "test_api.py::test_axes",
        "test_validation.py::test_bad_axis",
    ],
    "axis: one int for losses; axis=1 is the layout (N, C, d1, ...)": [
        "test_cross_entropy.py::test_axis",
        "test_validation.py::test_losses_take_one_axis",
    ],
    "targets of an integer dtype: class indices, shape of logits without the class axis": [
        "test_cross_entropy.py::test_every_integer_dtype"
    ],
    "targets of a floating dtype with the logits' shape: probabilities": [
        "test_cross_entropy.py::test_soft_targets_of_another_dtype_are_converted",
        "test_cross_entropy.py::test_property_one_hot_is_hard",
    ],
    "weight: one factor a class": ["test_weight_is_one_factor_a_class"],
    "sample_weight: one a sample (broadcast)": ["test_sample_weight_is_one_a_sample_broadcast"],
    "z_loss: adds z_loss * logsumexp**2 a sample": ["test_z_loss_adds_the_squared_logsumexp"],
    "reduction: none, mean or sum": [
        "test_cross_entropy.py::test_options_against_brute_force",
        "test_cross_entropy.py::test_property_sum_is_the_sum_of_none",
    ],
    "mean divides by the sum of the effective weights of the counted samples (hard targets)": [
        "test_mean_divides_by_the_effective_weights_of_the_counted"
    ],
    "mean divides by their number (soft targets)": [
        "test_mean_of_soft_targets_divides_by_their_number"
    ],
    "normalizer replaces that divisor": [
        "test_normalizer_replaces_the_divisor",
        "test_validation.py::test_normalizer_belongs_to_the_mean",
    ],
    "grad is the gradient of what was returned; for none, of the sum": [
        "test_cross_entropy.py::test_options_against_brute_force",
        "test_gradient_of_none_is_that_of_the_sum",
    ],
    "threads: per call, above the context manager, above set_num_threads": [
        "test_threads_of_a_call_above_context_above_setting"
    ],
    "threads: above FASTSOFTMAX_NUM_THREADS, above OMP_NUM_THREADS": [
        "test_backend.py::test_num_threads_precedence"
    ],
    "threads: above what affinity and cgroup allow": [
        "test_threads_config.py::test_allowed_cpus",
        "test_threads_config.py::test_cgroup_quota",
    ],
    "small work stays on the calling thread": ["test_small_work_stays_on_the_calling_thread"],
    # --- Arrays ---
    "float32, float64: computed, same dtype out": [
        "test_validation.py::test_row_float32_float64_same_dtype_out"
    ],
    "any strides, read-only, misaligned, negative or zero strides, Fortran order": [
        "test_same_bits.py::test_any_strides",
        "test_same_bits.py::test_broadcast_rows",
        "test_validation.py::test_row_misaligned",
        "test_validation.py::test_array_likes_are_read",
        "test_validation.py::test_matrix_is_read_as_an_array",
    ],
    "integers (not bool): computed as float64": [
        "test_validation.py::test_row_integers_computed_as_float64"
    ],
    "float16, and bfloat16 of ml_dtypes: computed in float32, rounded once": [
        "test_validation.py::test_row_half_computed_in_float32_rounded_once",
        "test_validation.py::test_row_half_out",
    ],
    "longdouble: the reference, in longdouble": [
        "test_validation.py::test_row_longdouble",
        "test_validation.py::test_row_longdouble_keeps_its_precision",
    ],
    "other byte order: converted, native dtype out": [
        "test_validation.py::test_row_other_byte_order"
    ],
    "bool, complex, object, strings, masked arrays, lazy or device arrays (dask, CUDA): TypeError "
    "that says what to do instead": [
        "test_validation.py::test_row_refused_with_what_to_do_instead",
        "test_validation.py::test_row_refused_real_dask_array",
    ],
    "out= of the right shape and dtype: filled and returned": [
        "test_api.py::test_out_is_filled_and_returned",
        "test_validation.py::test_out_misaligned",
    ],
    "out= may be the input itself": [
        "test_api.py::test_out_may_be_the_input",
        "test_api.py::test_backward_in_place",
        "test_same_bits.py::test_in_place_or_not",
    ],
    "out= partial overlap is computed correctly": [
        "test_partial_overlap_of_every_shift",
        "test_validation.py::test_row_out_partial_overlap_is_computed_correctly",
        "test_validation.py::test_row_out_partial_overlap_transposed",
        "test_validation.py::test_row_out_partial_overlap_logsumexp_and_backward",
        "test_validation.py::test_row_out_overlapping_targets_and_weights",
    ],
    "out= wrong in shape or dtype, or read-only: ValueError or TypeError; nothing written": [
        "test_validation.py::test_row_out_wrong_nothing_written",
        "test_out_read_only_is_refused_by_every_function",
    ],
    "nothing is written anywhere until every argument has been checked": [
        "test_nothing_is_written_until_every_argument_has_been_checked",
        "test_validation.py::test_bad_options_name_the_argument_and_write_nothing",
        "test_validation.py::test_bad_threads",
        "test_validation.py::test_backward_shapes_must_agree",
        "test_validation.py::test_ignore_index_beyond_64_bits_on_plain_arrays_too",
    ],
    "no warnings are raised for NaN or inf": [
        "test_validation.py::test_warnings_are_not_raised_even_if_asked_for"
    ],
    # --- Edges ---
    "NaN or +inf in a row: that whole row NaN in softmax and log_softmax; logsumexp NaN for NaN, "
    "inf for +inf; other rows untouched": [
        "test_edges.py::test_row_nan_or_inf_spoils_its_row_only",
        "test_edges.py::test_row_nan_beats_inf",
    ],
    "all -inf: softmax and log_softmax NaN; logsumexp -inf": [
        "test_edges.py::test_row_all_minus_inf"
    ],
    "some -inf: 0 / -inf there, the others as without them": [
        "test_edges.py::test_row_some_minus_inf_change_nothing_for_the_others",
        "test_edges.py::test_row_minus_inf_in_front",
    ],
    "no classes: empty; logsumexp -inf; cross_entropy ValueError": [
        "test_edges.py::test_row_no_classes"
    ],
    "no samples: empty; none empty, sum 0, mean NaN": ["test_edges.py::test_row_no_samples"],
    "0-d: softmax 1, log_softmax 0, logsumexp x": [
        "test_edges.py::test_row_0d",
        "test_edges.py::test_row_0d_logits_have_no_classes",
    ],
    "label outside [0, C) and not ignore_index, whatever its integer dtype: IndexError naming the "
    "value and its position; never wraps": [
        "test_edges.py::test_row_label_outside",
        "test_edges.py::test_row_label_outside_names_its_position_in_many_dimensions",
        "test_edges.py::test_row_label_outside_without_a_batch",
        "test_edges.py::test_row_label_outside_may_be_ignored",
    ],
    "labels of bool, or of float in the labels' shape, or with a trailing axis of 1: TypeError or "
    "ValueError with a hint": ["test_edges.py::test_row_labels_of_the_wrong_kind"],
    "ignored sample: not read at all: loss 0, gradient exactly 0, even if its logits are NaN": [
        "test_edges.py::test_row_ignored_sample_is_not_read"
    ],
    "every sample ignored, or weights summing to 0: mean NaN with gradient 0; sum 0": [
        "test_edges.py::test_row_nothing_counts",
        "test_edges.py::test_row_nothing_counts_but_a_normalizer",
    ],
    "label_smoothing outside [0, 1], unknown reduction: ValueError": [
        "test_validation.py::test_bad_options_name_the_argument_and_write_nothing"
    ],
    "coefficient 0 times an infinite log-probability: 0, so a soft target of 0 on a logit of -inf "
    "costs nothing; NaN still shows": [
        "test_edges.py::test_row_zero_times_infinity",
        "test_edges.py::test_row_zero_times_nan_still_shows",
        "test_edges.py::test_row_smoothing_meets_infinity",
    ],
    "soft targets that do not sum to one: taken as they are: grad = p * sum(t) - t": [
        "test_edges.py::test_row_soft_targets_are_taken_as_they_are"
    ],
    "sum over an axis of more than 2**31 elements: works": [
        "test_huge.py::test_sum_over_more_than_2_31_elements",
        "test_huge.py::test_row_of_more_than_2_31_elements_in_place",
    ],
    "MemoryError: raised, nothing half-written left behind as if whole": [
        "test_edges.py::test_row_memory_error_leaves_nothing_behind",
        "test_guard_pages.py::test_c_program_without_memory",
        "test_no_memory.py::test_every_allocation_fails_once",
        "test_memory.py::test_memory_error_only_after_what_is_kept_has_gone",
    ],
    "KeyboardInterrupt: raised, nothing half-written left behind as if whole": [
        "test_keyboard_interrupt_is_raised",
        "test_interrupt.py::test_a_handler_that_raises_ends_the_call",
        "test_interrupt.py::test_one_row_is_not_waited_for",
        "test_validation.py::test_large_copies_are_made_bit_by_bit",
        "test_interrupt.py::test_wherever_it_is_ended_the_next_call_is_right",
    ],
    "softmax of [2, 3, 5] in float32": ["test_api.py::test_known_case_float32"],
    "softmax of the integers [123, 456, 789]": ["test_api.py::test_known_case_integers"],
    # --- The names that other libraries use ---
    "each importable only where the peer is installed, none imported by import fastsoftmax": [
        "test_optional.py::test_the_package_imports_none_of_them",
        "test_optional.py::test_absence_is_explained",
    ],
    "fastsoftmax.scipy (needs no SciPy): softmax, log_softmax, logsumexp": [
        "test_signature",
        "test_scipy_names.py::test_works_without_scipy",
        "test_scipy_names.py::test_against_scipy",
    ],
    "fastsoftmax.keras (needs no Keras): categorical_crossentropy, "
    "sparse_categorical_crossentropy; unreduced": [
        "test_signature",
        "test_keras.py::test_categorical_from_logits",
        "test_keras.py::test_sparse_from_logits",
        "test_keras.py::test_keras_agrees",
    ],
    "probabilities clipped at Keras's 1e-7": ["test_keras.py::test_probabilities_zero_and_one"],
    "fastsoftmax.torch and fastsoftmax.dask: softmax, log_softmax, logsumexp, cross_entropy": [
        "test_what_torch_and_dask_offer"
    ],
    "fastsoftmax.torch: the signatures of torch.nn.functional, on CPU tensors": [
        "test_torch_names.py::test_signatures",
        "test_torch_names.py::test_same_bits_as_the_package",
        "test_torch_names.py::test_logsumexp",
        "test_torch_names.py::test_cross_entropy",
    ],
    "fastsoftmax.torch: differentiable": ["test_torch_names.py::test_gradients_of_the_family"],
    "fastsoftmax.dask: on lazy dask arrays, the class axis chunked or not": [
        "test_dask_names.py::test_whole_classes_give_the_same_bits",
        "test_dask_names.py::test_split_classes_keep_the_bounds",
        "test_dask_names.py::test_whole_losses_give_the_same_bits",
        "test_dask_names.py::test_split_losses_keep_the_bounds",
    ],
    # --- Promises ---
    "accuracy: float32 softmax, gradient (target entry included) 2.5; log_softmax and per-sample "
    "loss 2; logsumexp 2 ULP of max(|result|, |max x|); float64: 4 each": [
        "test_kernels.py::test_bounds_are_those_of_the_contract",
        "test_worst_rows.py::test_corpus",
        "test_worst_rows.py::test_seeded_search",
    ],
    "accuracy: any length, scale, stride and axis": [
        "test_api.py::test_lengths",
        "test_api.py::test_offsets",
        "test_api.py::test_axes",
        "test_kernels.py::test_distribution",
    ],
    "accuracy: subnormal results counted in subnormal spacing": [
        "test_fp_environment.py::test_subnormal_results_are_kept",
        "test_api.py::test_results_at_the_edge_of_underflow",
    ],
    "a loss of 4.1e-9 comes back as 4.1e-9, not as 0": [
        "test_cross_entropy.py::test_near_zero_known_case"
    ],
    "same bits: not its batch, its place in it": [
        "test_same_bits.py::test_alone_or_in_any_batch_and_place"
    ],
    "same bits: the number of threads": ["test_same_bits.py::test_any_number_of_threads"],
    "same bits: alignment": ["test_same_bits.py::test_any_alignment"],
    "same bits: strides or axis": [
        "test_same_bits.py::test_any_strides",
        "test_same_bits.py::test_any_axis",
    ],
    "same bits on AVX2, AVX-512 and NEON": [
        "test_same_bits.py::test_same_on_every_vector_instruction_set",
        "test_selftest.py::test_bits_and_values",
    ],
    "a scalar loss is summed in an order that depends on the shape alone": [
        "test_same_bits.py::test_scalar_loss_on_any_number_of_threads"
    ],
    "the GIL is released": ["test_the_gil_is_released"],
    "calls from many threads are safe": [
        "test_calls_from_many_threads_have_the_bits_of_one",
        "test_threads.py::test_many_threads_give_the_bits_of_one",
        "test_threads.py::test_labels_that_another_thread_changes",
    ],
    "on free-threaded builds too": ["test_the_module_is_declared_safe_without_the_gil"],
    "after a fork the child computes on one thread rather than hang": [
        "test_a_forked_child_computes"
    ],
    "no thread is started by import": ["test_backend.py::test_import_starts_no_thread"],
    "memory: no temporary of the logits' size is ever made for contiguous input": [
        "test_no_temporary_of_the_size_of_the_logits",
        "test_validation.py::test_axes_that_lie_together_are_not_copied",
        "test_validation.py::test_what_kernels_take_is_not_copied_and_aligned",
    ],
    "memory: cross_entropy needs O(threads * row) at most": [
        "test_no_temporary_of_the_size_of_the_logits"
    ],
}  # fmt: skip


# --- the table itself ---


@cache
def names_in(path):
    tree = ast.parse((HERE / path).read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}


def place_of(name):
    path, _, test = name.rpartition("::")
    return path or Path(__file__).name, test


@pytest.mark.parametrize("line", CONTRACT)
def test_line(line):
    assert CONTRACT[line]
    for name in CONTRACT[line]:
        path, test = place_of(name)
        assert test in names_in(path), f"{name} is not there"


def test_every_row_is_named():
    named = {place_of(name) for names in CONTRACT.values() for name in names}
    own = {("test_validation.py", "test_every_function_is_listed_here"),
           ("test_contract.py", "test_line"), ("test_contract.py", "test_every_row_is_named")}
    for path in ("test_edges.py", "test_validation.py", "test_contract.py"):
        for test in sorted(name for name in names_in(path) if name.startswith("test_")):
            assert (path, test) in named | own, "of no line"


# --- Functions ---


@pytest.mark.parametrize("name", SIGNATURES)
def test_signature(name):
    module, _, function = name.rpartition(".")
    owner = importlib.import_module(f"fastsoftmax.{module}") if module else fastsoftmax
    assert str(inspect.signature(getattr(owner, function))) == SIGNATURES[name]


@pytest.mark.parametrize("name", ["softmax", "log_softmax", "logsumexp", "cross_entropy"])
@pytest.mark.parametrize("module", ["torch", "dask"])
def test_what_torch_and_dask_offer(module, name):
    pytest.importorskip("torch" if module == "torch" else "dask.array")
    assert callable(getattr(importlib.import_module(f"fastsoftmax.{module}"), name))


def test_methods_of_online_softmax():
    methods = {"update": "block", "merge": "other", "logsumexp": None, "softmax": "block",
               "log_softmax": "block", "cross_entropy": "target_logits"}  # fmt: skip
    for name, argument in methods.items():
        method = inspect.signature(getattr(fastsoftmax.OnlineSoftmax(), name))
        assert next(iter(method.parameters), None) == argument


def test_front_door(capsys):
    from fastsoftmax.__main__ import main, parse

    assert parse([]).command == "bench"
    for command in ("bench", "info", "accuracy"):
        assert parse([command]).command == command
    assert main(["info"]) == 0
    assert fastsoftmax.__version__ in capsys.readouterr().out


def some_logits(dtype, rng):
    return rng.normal(0, 3, (4, 3)).astype(dtype), np.array([0, 2, 1, 2])


def test_weight_is_one_factor_a_class(dtype, isa, rng):
    x, labels = some_logits(dtype, rng)
    weight = np.array([0.5, 2.0, 4.0])  # powers of two, so that products are exact
    plain = fastsoftmax.cross_entropy(x, labels, reduction="none")
    weighted = fastsoftmax.cross_entropy(x, labels, weight=weight, reduction="none")
    assert np.array_equal(weighted, plain * weight[labels].astype(dtype))


def test_sample_weight_is_one_a_sample_broadcast(dtype, isa, rng):
    x = rng.normal(0, 3, (2, 4, 3)).astype(dtype)
    labels = rng.integers(3, size=(2, 4))
    plain = fastsoftmax.cross_entropy(x, labels, reduction="none")
    whole = rng.integers(5, size=(2, 4))
    for factor in (np.array([0.5, 2, 1, 4]), np.array([[0.25], [8]]), 2.0, whole):
        weighted = fastsoftmax.cross_entropy(x, labels, sample_weight=factor, reduction="none")
        exact = (plain.astype(np.longdouble) * factor).astype(dtype)
        assert np.all(np.abs(weighted - exact) <= 2 * np.spacing(exact))
    with pytest.raises(ValueError, match="^sample_weight: "):
        fastsoftmax.cross_entropy(x, labels, sample_weight=[1.0, 2.0, 3.0])


def test_z_loss_adds_the_squared_logsumexp(dtype, isa, rng):
    x, labels = some_logits(dtype, rng)
    plain = fastsoftmax.cross_entropy(x, labels, reduction="none").astype(np.longdouble)
    lse = fastsoftmax.logsumexp(x).astype(np.longdouble)
    with_z = fastsoftmax.cross_entropy(x, labels, z_loss=0.5, reduction="none")
    exact = plain + lse**2 / 2
    assert np.all(np.abs(with_z - exact) <= 8 * np.spacing(exact.astype(dtype)))


def test_mean_divides_by_the_effective_weights_of_the_counted(dtype, isa, rng):
    x, labels = some_logits(dtype, rng)
    labels[1] = -100
    options = {"weight": [1.0, 2.0, 4.0], "sample_weight": [1.0, 64.0, 0.5, 0.25]}
    total = fastsoftmax.cross_entropy(x, labels, **options, reduction="sum")
    mean = fastsoftmax.cross_entropy(x, labels, **options)
    divisor = 1.0 * 1.0 + 2.0 * 0.5 + 4.0 * 0.25  # classes 0, 1, 2; the ignored one not
    assert abs(mean - total / dtype.type(divisor)) <= 2 * np.spacing(mean)


def test_mean_of_soft_targets_divides_by_their_number(dtype, isa, rng):
    x, _ = some_logits(dtype, rng)
    t = rng.random(x.shape).astype(dtype)
    options = {"weight": [1.0, 2.0, 4.0], "sample_weight": [1.0, 64.0, 0.5, 0.25]}
    total = fastsoftmax.cross_entropy(x, t, **options, reduction="sum")
    mean = fastsoftmax.cross_entropy(x, t, **options)
    assert abs(mean - total / 4) <= 2 * np.spacing(mean)


def test_normalizer_replaces_the_divisor(dtype, isa, rng):
    x, labels = some_logits(dtype, rng)
    labels[1] = -100
    total, total_grad = fastsoftmax.cross_entropy_with_grad(x, labels, reduction="sum")
    mean, grad = fastsoftmax.cross_entropy_with_grad(x, labels, normalizer=8)
    assert same_bits(mean, total / 8) and same_bits(grad, total_grad / 8)


def test_gradient_of_none_is_that_of_the_sum(dtype, isa, rng):
    x, labels = some_logits(dtype, rng)
    _, of_sum = fastsoftmax.cross_entropy_with_grad(x, labels, reduction="sum")
    _, of_none = fastsoftmax.cross_entropy_with_grad(x, labels, reduction="none")
    assert same_bits(of_none, of_sum)


COUNTING = """
import os
import numpy as np
import fastsoftmax as fs

def started(call):
    before = len(os.listdir("/proc/self/task"))
    call()
    return len(os.listdir("/proc/self/task")) - before

big, small = np.zeros((2000, 1000), np.float32), np.zeros((10, 10), np.float32)
"""

counts_threads = pytest.mark.skipif(
    not os.path.isdir("/proc/self/task") or not core.openmp(),
    reason="threads are counted in /proc, where the build has OpenMP",
)


def in_a_process(code, **environment):
    done = subprocess.run(
        [sys.executable, "-c", COUNTING + code], capture_output=True, text=True,
        env={**os.environ, **environment}, timeout=100,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


@counts_threads
def test_threads_of_a_call_above_context_above_setting():
    """Each in a process of its own, whose runtime keeps the threads it once had."""
    for code, wanted in [
        ("fs.set_num_threads(4); f = lambda: fs.softmax(big)", 3),
        ("fs.set_num_threads(4)\nwith fs.threads(3): print(started(lambda: fs.softmax(big)))", 2),
        ("fs.set_num_threads(4)\nwith fs.threads(3):\n"
         "    print(started(lambda: fs.softmax(big, threads=2)))", 1),
        ("with fs.threads(3): print(started(lambda: fs.softmax(big, threads=1)))", 0),
    ]:  # fmt: skip
        code += "; print(started(f))" if "print" not in code else ""
        assert in_a_process(code, OMP_NUM_THREADS="1") == [str(wanted)]


@counts_threads
def test_small_work_stays_on_the_calling_thread():
    code = "print(started(lambda: fs.softmax(small, threads=8)))\n"
    code += "print(started(lambda: fs.cross_entropy_with_grad(small, [0] * 10, threads=8)))"
    assert in_a_process(code) == ["0", "0"]


# --- Arrays ---


def calls_with_out(x):
    """Every function that takes out=, on arrays of the shape of x."""
    labels = np.zeros(len(x), int)
    return {
        "softmax": lambda x, out: fastsoftmax.softmax(x, out=out),
        "log_softmax": lambda x, out: fastsoftmax.log_softmax(x, out=out),
        "softmax_backward": lambda x, out: fastsoftmax.softmax_backward(x, x, out=out),
        "log_softmax_backward": lambda x, out: fastsoftmax.log_softmax_backward(x, x, out=out),
        "gradient": lambda x, out: fastsoftmax.cross_entropy_with_grad(x, labels, out=out)[1],
        "smoothed gradient": lambda x, out: fastsoftmax.cross_entropy_with_grad(
            x, labels, label_smoothing=0.1, weight=np.ones(x.shape[1]), out=out
        )[1],
    }


with_out = pytest.mark.parametrize("name", calls_with_out(np.zeros((1, 1))))


@with_out
@pytest.mark.parametrize("n", [5, 40, 300])
def test_partial_overlap_of_every_shift(name, n, dtype, isa, rng):
    values = rng.random((3, n)).astype(dtype)
    call = calls_with_out(values)[name]
    expected = call(values, None)
    for shift in {-3 * n, -n - 1, -n, -2, -1, 0, 1, 3, n, 2 * n + 1, 3 * n}:
        memory = np.zeros(9 * n, dtype)
        x, out = (memory[k : k + 3 * n].reshape(3, n) for k in (3 * n, 3 * n + shift))
        x[...] = values
        assert call(x, out) is out
        assert same_bits(out, expected), shift


@with_out
def test_out_read_only_is_refused_by_every_function(name, dtype):
    x = np.ones((2, 3), dtype)
    out = np.full_like(x, 7)
    out.flags.writeable = False
    with pytest.raises(ValueError, match="^out: expected a writable array"):
        calls_with_out(x)[name](x, out)
    x.flags.writeable = False
    with pytest.raises(ValueError, match="^out: expected a writable array"):
        calls_with_out(x)[name](x, x)
    lse = np.full(2, 7, dtype)
    lse.flags.writeable = False
    with pytest.raises(ValueError, match="^out: expected a writable array"):
        fastsoftmax.logsumexp(x, out=lse)
    assert np.all(out == 7) and np.all(lse == 7) and np.all(x == 1)


def test_nothing_is_written_until_every_argument_has_been_checked(dtype, isa):
    """Whatever is wrong, and however late it would be noticed: a label is the last to be seen."""
    out = np.full((300, 5), 7, dtype)
    x = np.zeros_like(out)
    labels = np.zeros(300, int)
    bad = labels.copy()
    bad[-1] = 5
    wrong = [
        (bad, {}), (bad, {"reduction": "none"}),
        (bad, {"weight": np.ones(5), "label_smoothing": 0.1}),
        (labels, {"grad_output": np.ones(7)}), (labels, {"threads": 0}), (labels, {"axis": 2}),
        (labels, {"z_loss": np.inf}), (labels, {"weight": np.ones(4)}), (labels[1:], {}),
    ]  # fmt: skip
    for targets, options in wrong:
        for place in (out, x):
            before = place.copy()
            with pytest.raises((ValueError, TypeError, IndexError)):
                fastsoftmax.cross_entropy_with_grad(x, targets, out=place, **options)
            assert same_bits(place, before)


# --- Edges ---


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="wants a timer that interrupts")
def test_keyboard_interrupt_is_raised():
    def interrupt(number, frame):
        raise KeyboardInterrupt

    x = np.zeros((300, 10_000))
    expected = fastsoftmax.softmax(x[:1])
    former = signal.signal(signal.SIGALRM, interrupt)
    try:
        with pytest.raises(KeyboardInterrupt):
            signal.setitimer(signal.ITIMER_REAL, 0.05)
            while True:
                fastsoftmax.softmax(x)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, former)
    assert same_bits(fastsoftmax.softmax(x)[-1:], expected)


# --- Promises ---


def test_the_gil_is_released():
    """While one thread is in a long call, another runs Python."""
    x = np.zeros((1, 1 << 24))
    going, steps = threading.Event(), 0
    call = threading.Thread(target=lambda: (going.set(), fastsoftmax.softmax(x, threads=1)))
    switch = sys.getswitchinterval()
    sys.setswitchinterval(100)  # nobody is asked to let go
    try:
        call.start()
        going.wait()
        while call.is_alive():
            steps += 1
            time.sleep(0)
    finally:
        sys.setswitchinterval(switch)
        call.join()
    assert steps > 10


def test_the_module_is_declared_safe_without_the_gil():
    """What tools/test_free_threaded.sh relies on; here the interpreter may have its GIL."""
    assert '"freethreading_compatible": True' in (HERE.parent / "setup.py").read_text()
    if sysconfig.get_config_var("Py_GIL_DISABLED"):
        assert not sys._is_gil_enabled()


def test_calls_from_many_threads_have_the_bits_of_one(dtype, rng):
    x = rng.normal(0, 5, (300, 130)).astype(dtype)
    labels = rng.integers(130, size=300)
    expected = fastsoftmax.softmax(x), *fastsoftmax.cross_entropy_with_grad(x, labels)
    wrong = []

    def work(number):
        for _ in range(20):
            got = [fastsoftmax.softmax(x, threads=number % 3 + 1)]
            got += fastsoftmax.cross_entropy_with_grad(x, labels, threads=number % 2 + 1)
            if not all(same_bits(a, b) for a, b in zip(got, expected, strict=True)):
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(not hasattr(os, "fork"), reason="wants fork")
def test_a_forked_child_computes():
    """In a process of its own: what else is loaded here may object to forks."""
    code = """
expected = fs.softmax(big, threads=3)
child = os.fork()
if child == 0:
    same = np.array_equal(fs.softmax(big, threads=3), expected)
    os._exit(0 if same and len(os.listdir("/proc/self/task")) == 1 else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert in_a_process(code) == ["0"]


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB on Linux alone")
@pytest.mark.skipif(not core.compiled_isas(), reason="the reference makes temporaries")
def test_no_temporary_of_the_size_of_the_logits():
    """The most memory ever used grows by the result, and by far less where there is none."""
    code = """
import resource
x = np.zeros((8000, 4000), np.float32)
x[...] = 1
labels = np.arange(8000) % 4000
out = np.empty_like(x)
out[...] = 1
fs.cross_entropy(x[:100], labels[:100])
soft = np.full_like(x, 1 / 4000)

def grown(call):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    call()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024

print(grown(lambda: fs.softmax(x, out=out)), grown(lambda: fs.log_softmax(x, out=out)),
      grown(lambda: fs.logsumexp(x)), grown(lambda: fs.cross_entropy(x, labels)),
      grown(lambda: fs.cross_entropy(x, labels, weight=np.ones(4000), label_smoothing=0.1)),
      grown(lambda: fs.cross_entropy(x, soft)), grown(lambda: fs.nll_loss(x, labels)),
      grown(lambda: fs.cross_entropy(x, labels, threads=8)),
      grown(lambda: fs.softmax_backward(x, out, out=out)),
      grown(lambda: fs.cross_entropy_with_grad(x, labels, out=x)),
      grown(lambda: fs.softmax(x)))
"""
    gc.collect()
    *without, with_result = map(int, in_a_process(code))
    assert max(without) < 12  # MiB; the logits are 122
    assert with_result < 122 + 12
