"""Every pruning method: what stays is what has most energy, and the format gives it back."""

import numpy as np
import pytest

from sparsec.errors import WeightError
from sparsec.sparse.pruning import METHODS, pattern_library, prune
from sparsec.sparse.weights import ColumnWeight, PatternGroups, PatternWeight, TapWeight

RNG = np.random.default_rng(7)
CONV = RNG.normal(size=(8, 6, 3, 3)).astype(np.float32)
MATRIX = RNG.normal(size=(16, 24)).astype(np.float32)

OPTIONS = {
    "channel": {"ratio": 0.5}, "pattern": {}, "connectivity": {"ratio": 0.5}, "column": {"ratio": 0.25},
    "block": {"ratio": 0.5, "block": (4, 8)}, "unstructured": {"ratio": 0.9},
}


def weight_of(method):
    return MATRIX if method == "block" else CONV


@pytest.mark.parametrize("method", METHODS)
def test_what_is_kept_has_its_value_and_the_rest_is_zero(method):
    weight = weight_of(method)
    pruned = prune(weight, method, **OPTIONS[method])
    dense = pruned.to_dense()
    assert dense.shape == weight.shape and dense.dtype == weight.dtype
    kept = dense != 0
    np.testing.assert_array_equal(dense[kept], weight[kept])
    assert kept.mean() == pytest.approx(pruned.density, abs=1e-6)
    assert pruned.nbytes > kept.sum() * weight.itemsize


def test_unstructured_keeps_the_largest_elements():
    pruned = prune(CONV, "unstructured", ratio=0.9)
    kept = pruned.to_dense() != 0
    assert kept.sum() == np.ceil(CONV.size * 0.1)
    assert np.abs(CONV[kept]).min() > np.abs(CONV[~kept]).max()


def test_columns_are_the_same_in_all_filters():
    kept = prune(CONV, "column", ratio=0.25).to_dense() != 0
    assert (kept == kept[:1]).all()


def test_every_kernel_keeps_its_centre_and_three_more():
    pruned = prune(CONV, "pattern")
    kept = pruned.to_dense() != 0
    assert (kept.sum(axis=(2, 3)) == 4).all() and kept[..., 1, 1].all()
    assert len(np.unique(kept.reshape(-1, 9), axis=0)) <= 8


def test_a_kernel_takes_the_pattern_that_keeps_most_energy():
    pruned = prune(CONV, "pattern", patterns=3)
    library = pattern_library(CONV, 4, 3)
    energy = (CONV.astype(np.float64) ** 2).reshape(8, 6, 9)
    best = np.stack([energy[..., taps].sum(-1) for taps in library]).max(axis=0)
    kept = (pruned.to_dense().astype(np.float64) ** 2).sum(axis=(2, 3))
    np.testing.assert_allclose(kept, best)


def test_the_library_has_the_most_frequent_patterns():
    weight = np.zeros((1, 5, 3, 3), np.float32)
    corner, edge = [0, 1, 3, 4], [4, 5, 7, 8]
    for i, taps in enumerate((corner, edge, edge, edge, corner)):
        weight.reshape(5, 9)[i, taps] = 1.0
    np.testing.assert_array_equal(pattern_library(weight, 4, 8), [edge, corner])
    np.testing.assert_array_equal(pattern_library(weight, 4, 1), [edge])


def test_connectivity_combines_with_patterns():
    pruned = prune(CONV, "pattern", connectivity=0.75)
    kernels = (pruned.to_dense() != 0).sum(axis=(2, 3))
    assert (kernels > 0).sum() == 12 and set(kernels.flat) == {0, 4}


def test_a_nan_is_not_pruned_away():
    weight = CONV.copy()
    weight[3, 2, 1, 0] = np.nan
    assert np.isnan(prune(weight, "unstructured", ratio=0.9).to_dense()[3, 2, 1, 0])


@pytest.mark.parametrize("method", METHODS)
def test_at_least_one_is_left(method):
    options = {**OPTIONS[method], "ratio": 0.999} if method != "pattern" else {"connectivity": 0.999}
    assert np.count_nonzero(prune(weight_of(method), method, **options).to_dense()) > 0


@pytest.mark.parametrize(("weight", "method", "options"), [
    (CONV, "magic", {}), (CONV, "channel", {"ratio": 1.0}), (CONV, "column", {"ratio": -0.1}),
    (CONV, "block", {"ratio": 0.5}), (MATRIX, "pattern", {}), (MATRIX, "block", {"ratio": 0.5, "block": (5, 8)}),
    (CONV, "pattern", {"entries": 10}), (CONV.astype(np.int32), "column", {"ratio": 0.5}),
    (CONV[0], "channel", {"ratio": 0.5}),
])  # fmt: skip
def test_what_cannot_be_pruned_is_a_typed_error(weight, method, options):
    with pytest.raises(WeightError):
        prune(weight, method, **options)


def test_malformed_weights_are_typed_errors():
    values, rows = np.ones(2, np.float32), np.array([0, 2], np.int32)
    good = np.array([1, 3], np.int32)
    TapWeight(values, good, rows, (1, 4))
    for columns, bounds in ((good[::-1], rows), (good + 2, rows), (good, rows - 1), (good, rows[:1])):
        with pytest.raises(WeightError):
            TapWeight(values, columns, bounds, (1, 4))
    with pytest.raises(WeightError, match="values"):
        ColumnWeight(np.ones((2, 3), np.float32), good, (2, 1, 2, 2))
    with pytest.raises(WeightError, match="pattern 1"):
        one = good[:1]
        PatternWeight(np.ones((1, 2), np.float32), one, one, np.array([0, 1]), np.array([[0, 1]]), (1, 2, 1, 2))


def test_groups_are_the_same_kernels_in_another_order():
    weight = RNG.normal(size=(130, 6, 3, 3)).astype(np.float32)
    plain, groups = (prune(weight, "pattern", connectivity=0.4, reorder=r) for r in (False, True))
    np.testing.assert_array_equal(groups.to_dense(), plain.to_dense())
    assert groups.bounds.shape == (2, 6 * 8 + 1) and groups.density == plain.density
    with pytest.raises(WeightError, match="portion"):
        PatternGroups(groups.values, groups.filters[::-1], groups.bounds, groups.library, groups.shape)
    with pytest.raises(WeightError, match="bounds"):
        PatternGroups(groups.values, groups.filters, groups.bounds[:, ::-1], groups.library, groups.shape)
