"""The integrated likelihood's kernels, called from code that numba compiles elsewhere.

A kernel takes seconds to compile. Code that calls it the usual way gets a copy of it linked in,
optimised and translated once more, at every level of what PyTensor and nutpie compile. Here the
kernel is compiled once, or read from numba's cache, its address is given a name among the symbols
of this process, and what is compiled elsewhere holds the name alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llvmlite.binding
import numpy as np
from llvmlite import ir
from numba import njit, typeof, types
from numba.core.cgutils import get_or_insert_function
from numba.extending import intrinsic
from numpy.typing import NDArray

from popavg.posterior_tools._integrated_kernels import Data, Result, Setting
from popavg.posterior_tools._integrated_normal import integrate_normals
from popavg.posterior_tools._integrated_rules import MARKERS, kernels
from popavg.posterior_tools._logit_trials import Trials, no_trials
from popavg.posterior_tools.clustered_outcomes import ClusteredOutcomes
from popavg.posterior_tools.integrated_parameters import LARGEST_SLOPE

__all__ = ["make_call", "pack"]

type Floats = NDArray[np.float64]
type Ints = NDArray[np.int64]
type Call = Callable[..., tuple[float, Floats, Floats, float]]

_HEAD = 4
_compiled = njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)


def pack(outcomes: ClusteredOutcomes) -> tuple[Ints, Floats]:
    """All that a kernel needs of the outcomes in one array of whole numbers and one of others."""
    data = outcomes.data
    trials = data.trials
    whole = (trials.starts, trials.entry, trials.row, trials.rung, trials.size, trials.total)
    head = [len(data.starts) - 1, len(data.row), len(trials.rung), len(trials.counts)]
    ints = [head, data.starts, data.row, *whole, trials.used]
    floats = [
        [outcomes.constant.sum()],
        np.abs(data.Z).max(axis=0, initial=0.0),
        outcomes.multiplicity,
        outcomes.within,
        data.y,
        data.n,
        data.Z.ravel(),
        trials.counts,
        trials.successes,
    ]
    return np.concatenate(ints).astype(np.int64), np.concatenate(floats).astype(np.float64)


def make_call(outcomes: ClusteredOutcomes) -> tuple[Call, str]:
    """A function for numba: packed outcomes, eta, root and sigma to value and gradients.

    Of the outcomes their kind counts alone: link, number of effects, distributions.

    Returns
    -------
    call : callable
        ``(packed, eta, root, sigma) -> (value, by_eta, by_root, by_sigma)``, compiled when it is
        called. The value is -inf where the kernel can't be used.
    key : str
        What tells it from others, for caches on the disk: this module's text and the kernels'
        names and types are part of it.
    """
    n_effects, name = outcomes.n_effects, outcomes.link.name
    if outcomes.family.has_scale:
        used = (_gaussian_kernel(),)
        name, call = "gaussian", _make_gaussian(used[0], n_effects)
    else:
        used = _kernels(outcomes)
        name, call = f"bridge_{name}" if outcomes.bridge else name, _make(used, outcomes)
    # Code on the disk calls the kernels by their names: with others it is other code.
    text = " ".join([Path(__file__).read_text(encoding="utf-8"), *(k.__name__ for k in used)])
    return call, f"integrated_{name}_{n_effects}_{hashlib.sha256(text.encode()).hexdigest()[:16]}"


def _named(kernel: Any, arguments: tuple[Any, ...]) -> Any:
    """An intrinsic that calls the kernel, compiled for the types of these arguments, by a name."""
    signature = tuple(typeof(argument) for argument in arguments)
    kernel.compile(signature)
    found = kernel.overloads[signature]
    digest = hashlib.sha256(str((kernel.__name__, signature)).encode()).hexdigest()[:16]
    name = f"popavg_{kernel.__name__}_{digest}"
    address = found.library.get_pointer_to_function(found.fndesc.llvm_cfunc_wrapper_name)
    llvmlite.binding.add_symbol(name, address)

    def call(typing_context: Any, given: Any) -> tuple[Any, Any]:
        def generate(context: Any, builder: Any, _: Any, values: Any) -> Any:
            parts = [
                context.cast(builder, builder.extract_value(values[0], i), given.types[i], kind)
                for i, kind in enumerate(signature)
            ]
            kinds = [context.get_value_type(kind) for kind in signature]
            shape = ir.FunctionType(context.get_value_type(types.none), kinds)
            function = get_or_insert_function(builder.module, shape, name)
            builder.call(function, parts)
            return context.get_dummy_value()

        return types.none(given), generate

    call.__name__ = name
    return intrinsic(call)


def _example(n_effects: int) -> tuple[Data, tuple[Floats, Floats], Setting, Result]:
    """Arguments of the types that the kernels are called with everywhere."""
    whole, numbers = np.zeros(2, np.int64), np.zeros(1)
    data = Data(whole, whole, numbers, numbers, np.zeros((1, n_effects)), no_trials())
    table, roots = np.zeros((1, 1)), np.zeros((1, n_effects, n_effects))
    result = Result(table, table, np.zeros((1, 1, n_effects, n_effects)), table)
    return data, (table, roots), Setting(0, 1, True, 1.0, 0.0), result


@_compiled
def _none(arguments: Any) -> None:
    """A fast rule that does no cluster."""
    arguments[3].error[:] = np.nan


def _kernels(outcomes: ClusteredOutcomes) -> tuple[Any, Any]:
    """The fast rule and the one for the clusters that it leaves."""
    link, n_effects = outcomes.link.name, outcomes.n_effects
    direct, general = kernels(link, n_effects, bridge=outcomes.bridge)
    example = _example(n_effects)
    first = _none if direct is None else _named(direct, example)
    return first, _named(general, (MARKERS[link], *example))


def _gaussian_kernel() -> Any:
    data, (eta, root), setting, result = _example(2)
    numbers = data.y
    return _named(integrate_normals, (data, (eta, root, numbers), setting, result, (numbers, eta)))


@_compiled
def _unpack_trials(sizes: Ints, ints: Ints, floats: Floats) -> Trials:
    """The trials one by one; ``sizes``: clusters, trials."""
    clusters, size = sizes
    starts, at = ints[: clusters + 1], clusters + 1
    entry, row = ints[at : at + size], ints[at + size : at + 2 * size]
    at += 2 * size
    rung, of_cluster = ints[at : at + clusters], ints[at + clusters : at + 2 * clusters]
    at += 2 * clusters
    total, used = ints[at : at + clusters], ints[at + clusters :]
    counts, successes = floats[:size], floats[size:]
    return Trials(starts, counts, successes, entry, row, rung, of_cluster, total, used)


@_compiled
def _unpack(ints: Ints, floats: Floats, q: int) -> tuple[Data, Floats, Floats]:
    """The entries, the clusters' multiplicities and sums of squares."""
    clusters, entries = ints[0], ints[1]
    at = _HEAD + clusters + 1
    starts, row = ints[_HEAD:at], ints[at : at + entries]
    begin = 1 + q
    multiplicity = floats[begin : begin + clusters]
    within = floats[begin + clusters : begin + 2 * clusters]
    begin += 2 * clusters
    y = floats[begin : begin + entries]
    n = floats[begin + entries : begin + 2 * entries]
    end = begin + (2 + q) * entries
    Z = floats[begin + 2 * entries : end].reshape((entries, q))
    trials = _unpack_trials(ints[2:4], ints[at + entries :], floats[end:])
    return Data(starts, row, y, n, Z, trials), multiplicity, within


@_compiled
def _usable(floats: Floats, eta: Floats, root: Floats, largest: float) -> bool:
    """Whether all parameters are finite and no effect is too steep for the rule."""
    for i in range(len(root)):
        for j in range(len(root)):
            if not abs(root[i, j]) * floats[1 + i] <= largest:
                return False
    return bool(np.isfinite(eta).all())


@_compiled
def _collect(
    data: Data, multiplicity: Floats, result: Result, by_eta: Floats
) -> tuple[float, Floats]:
    """Total over the clusters: the value, and the gradient in the root; fills that in eta."""
    value = 0.0
    by_root = np.zeros(result.root.shape[2:])
    for i in range(len(multiplicity)):
        value += multiplicity[i] * result.value[0, i]
        by_root += multiplicity[i] * result.root[0, i]
        for j in range(data.starts[i], data.starts[i + 1]):
            by_eta[data.row[j]] += multiplicity[i] * result.eta[0, j]
    return value, by_root


@_compiled
def _vary(Z: Floats) -> bool:
    """Whether rows differ in a single effect's design."""
    different = 0
    for j in range(Z.shape[0] if Z.shape[1] == 1 else 0):
        different += Z[j, 0] != Z[0, 0]
    return different > 0


def _make(kernels: tuple[Any, Any], outcomes: ClusteredOutcomes) -> Call:
    (direct, general), marker, largest = kernels, MARKERS[outcomes.link.name], LARGEST_SLOPE
    n_effects = outcomes.n_effects

    @njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
    def integrated_likelihood(packed, eta, root, sigma):  # noqa: ANN001, ANN202
        ints, floats = packed
        data, multiplicity, _ = _unpack(ints, floats, n_effects)
        clusters, by_eta = ints[0], np.zeros(len(eta))
        result = Result(
            np.empty((1, clusters)),
            np.full((1, clusters), np.nan),
            np.zeros((1, clusters, n_effects, n_effects)),
            np.empty((1, ints[1])),
        )
        if not _usable(floats, eta, root, largest):
            return -np.inf, by_eta, np.zeros_like(root), 0.0
        setting = Setting(0, clusters, True, 1.0, 0.0)
        one = eta.reshape((1, eta.size)), root.reshape((1, n_effects, n_effects))
        if not _vary(data.Z):
            direct((data, one, setting, result))
        general((marker, data, one, setting, result))
        value, by_root = _collect(data, multiplicity, result, by_eta)
        if np.isnan(value):
            return -np.inf, by_eta, by_root, 0.0
        return floats[0] + value, by_eta, by_root, 0.0

    return integrated_likelihood


def _make_gaussian(kernel: Any, q: int) -> Call:
    @njit(nogil=True, error_model="numpy", no_cpython_wrapper=True, no_cfunc_wrapper=True)
    def integrated_gaussian(packed, eta, root, sigma):  # noqa: ANN001, ANN202
        ints, floats = packed
        data, multiplicity, within = _unpack(ints, floats, q)
        clusters, by_eta = ints[0], np.zeros(len(eta))
        wide, Z = np.zeros((1, 2, 2)), np.zeros((len(data.y), 2))
        wide[0, :q, :q] = root
        Z[:, :q] = data.Z
        result = Result(
            np.empty((1, clusters)),
            np.empty((1, clusters)),
            np.zeros((1, clusters, 2, 2)),
            np.empty((1, ints[1])),
        )
        by_sigma = np.zeros((1, clusters))
        if not (_usable(floats, eta, root, np.finfo(np.float64).max) and sigma > 0.0):
            return -np.inf, by_eta, np.zeros_like(root), 0.0
        padded = Data(data.starts, data.row, data.y, data.n, Z, data.trials)
        setting = Setting(0, clusters, True, 1.0, 0.0)
        one = (eta.reshape((1, eta.size)), wide, np.full(1, sigma))
        kernel((padded, one, setting, result, (within, by_sigma)))
        value, by_root = _collect(padded, multiplicity, result, by_eta)
        if np.isnan(value):
            return -np.inf, by_eta, np.zeros_like(root), 0.0
        by_root[0, 1] = 0.0
        found = np.ascontiguousarray(by_root[:q, :q])
        return floats[0] + value, by_eta, found, (multiplicity * by_sigma[0]).sum()

    return integrated_gaussian
