"""Layers with pruned weights equal the same layers with the dense weight, on every backend."""

import numpy as np
import pytest

import sparsec
from sparsec import nn
from sparsec.errors import WeightError
from sparsec.sparse import prune

RNG = np.random.default_rng(3)
METHODS = {
    "pattern": {}, "connectivity": {"ratio": 0.5}, "column": {"ratio": 0.6}, "unstructured": {"ratio": 0.8},
    "pattern groups": {"reorder": True, "connectivity": 0.3},
}
WINDOWS = [
    {"padding": 1}, {"stride": 2, "padding": 1}, {"padding": (0, 2), "dilation": 2}, {"stride": (3, 1)},
]


@pytest.mark.parametrize(("backend", "window"), [
    *(("cpu", w) for w in WINDOWS), ("interp", WINDOWS[2]), ("opencl", WINDOWS[1]),
], ids=str)  # fmt: skip
@pytest.mark.parametrize("method", METHODS)
def test_convolution(backend, method, window):
    x = RNG.normal(size=(2, 5, 9, 11)).astype(np.float32)
    weight = prune(RNG.normal(size=(4, 5, 3, 3)).astype(np.float32), method.split()[0], **METHODS[method])
    bias = RNG.normal(size=4).astype(np.float32)
    layer = sparsec.jit(lambda x, w, b: nn.conv2d(x, w, b, **window), backend=backend)
    dense = nn.conv2d(x, weight.to_dense(), bias, **window)
    np.testing.assert_allclose(layer(x, weight, bias), dense, rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(nn.conv2d(x, weight, bias, **window), dense, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("method", ["block", "unstructured"])
@pytest.mark.parametrize("backend", ["interp", "cpu", "opencl"])
def test_linear(backend, method):
    x = RNG.normal(size=(2, 3, 24)).astype(np.float32)
    options = {"block": (4, 8)} if method == "block" else {}
    weight = prune(RNG.normal(size=(16, 24)).astype(np.float32), method, ratio=0.6, **options)
    layer = sparsec.jit(nn.linear, backend=backend)
    np.testing.assert_allclose(layer(x, weight), x @ weight.to_dense().T, rtol=1e-5, atol=1e-5)


def test_more_filters_and_channels_than_one_portion():
    x = RNG.normal(size=(1, 20, 15, 26)).astype(np.float32)
    weight = RNG.normal(size=(131, 20, 3, 3)).astype(np.float32)
    run = sparsec.jit(lambda x, w: nn.conv2d(x, w, padding=1))
    for method, options in (("pattern", {}), ("pattern", {"reorder": True}), ("column", {"ratio": 0.5})):
        made = prune(weight, method, **options)
        dense = nn.conv2d(x, made.to_dense(), padding=1)
        np.testing.assert_allclose(run(x, made), dense, rtol=1e-4, atol=1e-4)


def test_a_network_of_them_shares_the_work_on_offsets():
    x = RNG.normal(size=(1, 6, 8, 8)).astype(np.float32)
    weights = [prune(RNG.normal(size=(6, 6, 3, 3)).astype(np.float32), "pattern") for _ in range(2)]
    net = sparsec.jit(lambda x, ws: nn.relu(nn.conv2d(nn.relu(nn.conv2d(x, ws[0], padding=1)), ws[1], padding=1)))
    want = x
    for weight in weights:
        want = nn.relu(nn.conv2d(want, weight.to_dense(), padding=1))
    np.testing.assert_allclose(net(x, weights), want, rtol=1e-4, atol=1e-4)


def test_what_a_weight_is_not_for_is_a_typed_error():
    weight = prune(RNG.normal(size=(4, 5, 3, 3)).astype(np.float32), "pattern")
    with pytest.raises(WeightError, match="channels"):
        sparsec.jit(lambda x, w: nn.conv2d(x, w))(np.ones((1, 4, 8, 8), np.float32), weight)
    with pytest.raises(WeightError, match="linear"):
        sparsec.jit(nn.linear)(np.ones((1, 4), np.float32), weight)


@pytest.mark.parametrize("choices", ["", "share=0", "reorder=0", "compress=0"])
def test_each_pass_for_patterns_can_be_left_out(choices):
    x = RNG.normal(size=(2, 3, 8, 9)).astype(np.float32)
    weight = prune(RNG.normal(size=(5, 3, 3, 3)).astype(np.float32), "pattern", connectivity=0.3)
    bias, rest = RNG.normal(size=5).astype(np.float32), RNG.normal(size=(2, 5, 8, 9)).astype(np.float32)

    def layer(x, w, b, rest):
        return nn.relu(nn.conv2d(x, w, b, padding=1) + rest)

    compiled = sparsec.jit(layer, choices=choices)
    want = layer(x, weight.to_dense(), bias, rest)
    np.testing.assert_allclose(compiled(x, weight, bias, rest), want, rtol=1e-4, atol=1e-5)
    text = compiled.trace(x, weight, bias, rest).as_text("graph")
    used = {"": "kernel_order", "share=0": "kernel_groups", "reorder=0": "pattern_conv", "compress=0": "tap_conv2d"}
    assert used[choices] in text and not any(name in text for k, name in used.items() if k and k != choices)
    (kernel,) = (part for part in text.split("fused ()") if "maximum" in part)
    assert ("grouped_conv2d" in kernel) == (choices in ("", "share=0"))  # bias, add and relu are done in its kernel
