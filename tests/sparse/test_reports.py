"""memory_analysis and cost_analysis: small networks whose figures can be counted by hand."""

import numpy as np
import pytest

import sparsec
from sparsec import nn, sparse

RNG = np.random.default_rng(0)


def filters(index, full=8, inputs=8, cap=4):
    data = RNG.normal(size=(len(index), inputs, 3, 3)).astype(np.float32)
    return sparse.ChannelSparse(data, index, full, 0, cap=cap)


def block(x, first, second):
    y = nn.relu(nn.conv2d(x, first, padding=1))
    return nn.relu(nn.conv2d(y, second, padding=1) + x)


def arguments(live):
    x_index, inner, outer = (np.arange(k, k + live, dtype=np.int32) for k in (0, 1, 4))
    x = sparse.ChannelSparse(np.ones((1, live, 8, 8), np.float32), x_index, 8, 1, cap=4)
    return x, filters(inner), filters(outer)


def test_costs_are_those_of_live_channels():
    found = sparsec.jit(block).cost_analysis(*arguments(2))
    assert found.macs == 2 * (2 * 2 * 9 * 64)
    assert found.most_macs == 2 * (4 * 4 * 9 * 64)
    assert {k.macs for k in found.kernels if "conv2d" in k.ops} == {2 * 2 * 9 * 64}
    assert found.to_dict()["macs"] == found.macs and "multiply-adds" in str(found)


def test_energy_grows_with_live_channels():
    costs = [sparsec.jit(block).cost_analysis(*arguments(live)).energy for live in (1, 2, 3, 4)]
    assert costs == sorted(set(costs))


def test_memory_is_planned_by_caps_and_used_by_live_channels():
    plane = 8 * 8 * 4
    found = sparsec.jit(block).memory_analysis(*arguments(2))
    # Alive at once: a convolution's input and its output; then the output and nothing else of that size.
    assert found.peak >= 2 * 4 * plane > found.used >= 2 * 2 * plane
    assert found.weights == 2 * (2 * 8 * 9 * 4)
    assert found.weight_temporaries == 0
    assert found.indexes == 3 * 2 * 4
    assert found.dense is not None and found.dense.weights == 2 * (8 * 8 * 9 * 4)
    # Without indexes the sum is formed in the loops of the second convolution: what lies between is one plane set.
    assert found.dense.peak == 8 * plane and found.dense.dense is None
    assert found.total < 0.75 * found.dense.total
    assert "of the dense plan" in str(found) and found.to_dict()["dense"]["weights"] == found.dense.weights


def test_a_copy_of_weights_is_counted():
    def scaled(x, w):
        return nn.conv2d(x, np.flip(w, 0) * np.float32(2), padding=1)

    w = RNG.normal(size=(4, 3, 3, 3)).astype(np.float32)
    found = sparsec.jit(scaled).memory_analysis(np.ones((1, 3, 8, 8), np.float32), w)
    assert found.weight_temporaries == w.nbytes


@pytest.mark.parametrize("size", [3, 5])
def test_products_count_too(size):
    found = sparsec.jit(np.matmul).cost_analysis(np.ones((size, 7)), np.ones((7, 2)))
    assert found.macs == found.most_macs == size * 7 * 2
