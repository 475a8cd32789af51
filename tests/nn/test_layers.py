"""Every layer: against torch where it is installed, compiled against itself outside, sparse against masked dense."""

from dataclasses import dataclass, field
from functools import partial

import numpy as np
import pytest

import sparsec
from sparsec import nn
from sparsec.errors import ShapeError
from sparsec.sparse import ChannelSparse, from_dense

BACKENDS = ("interp", "cpu", pytest.param("opencl", marks=pytest.mark.slow))
IMAGE, WIDE = (2, 6, 7, 5), (1, 6, 12, 9)


@dataclass
class Layer:
    """A call. sparse: whether a sparse first operand gives a sparse result. own: not torch's, or not so called."""

    name: str
    shapes: tuple = (IMAGE,)
    options: dict = field(default_factory=dict)
    sparse: bool = True
    own: bool = False
    positive: tuple = ()

    def __str__(self):
        return f"{self.name}-{'-'.join(f'{k}={v}' for k, v in self.options.items())}".replace(" ", "")

    def operands(self, dtype="f4"):
        rng = np.random.default_rng(len(str(self)))
        made = [rng.standard_normal(s).astype(dtype) for s in self.shapes]
        return [np.abs(x) + 0.5 if k in self.positive else x for k, x in enumerate(made)]

    def __call__(self, *args):
        return getattr(nn, self.name)(*args, **self.options)


W, DEPTHWISE = (8, 6, 3, 3), (6, 1, 3, 3)
LAYERS = [
    *(Layer("conv2d", (IMAGE, W, *bias), options, sparse=False) for bias, options in [
        ((), {}), (((8,),), {"padding": 1}), ((), {"stride": 2, "padding": (1, 2)}), ((), {"padding": "same"}),
        ((), {"dilation": 2, "padding": 2}), (((8,),), {"stride": (1, 2), "padding": "valid"} | {"stride": 1}),
    ]),
    Layer("conv2d", (IMAGE, DEPTHWISE), {"groups": 6, "padding": 1}),
    Layer("conv2d", (IMAGE, (12, 1, 3, 3)), {"groups": 6, "padding": 1}),
    Layer("conv2d", (IMAGE, (4, 3, 3, 3)), {"groups": 2}, sparse=False),
    Layer("linear", ((3, 6), (4, 6)), sparse=False), Layer("linear", ((2, 3, 6), (4, 6), (4,)), sparse=False),
    *(Layer(name) for name in (
        "relu", "relu6", "leaky_relu", "elu", "silu", "tanh", "hardswish", "gelu", "mish", "selu", "celu", "softsign",
    )),
    Layer("prelu", (IMAGE, (6,))), Layer("prelu", (IMAGE, (1,))),
    *(Layer(name, sparse=False) for name in ("sigmoid", "softplus", "hardsigmoid", "logsigmoid")),
    Layer("gelu", options={"approximate": "tanh"}), Layer("hardtanh", options={"min_val": -0.5, "max_val": 2.0}),
    Layer("hardtanh", options={"min_val": 0.5, "max_val": 2.0}, sparse=False),
    *(Layer("max_pool2d", (WIDE,), options) for options in [
        {"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1}, {"kernel_size": (2, 3), "dilation": 2},
        {"kernel_size": 3, "stride": 2, "ceil_mode": True}, {"kernel_size": 2, "stride": 3, "ceil_mode": True},
        {"kernel_size": 14, "ceil_mode": True},
    ]),
    *(Layer("avg_pool2d", (WIDE,), options) for options in [
        {"kernel_size": 2}, {"kernel_size": 3, "stride": 2, "padding": 1},
        {"kernel_size": 3, "stride": 2, "padding": 1, "count_include_pad": False},
        {"kernel_size": 3, "stride": 2, "ceil_mode": True, "padding": 1}, {"kernel_size": 2, "divisor_override": 3},
        {"kernel_size": (3, 2), "stride": 2, "ceil_mode": True, "count_include_pad": False},
    ]),
    *(Layer(f"adaptive_{kind}_pool2d", (WIDE,), {"output_size": size})
      for kind in ("avg", "max") for size in (1, (3, 3), (5, 4), (None, 2))),
    *(Layer(name, ((3, 5, 4),), {"dim": dim}) for name in ("softmax", "log_softmax") for dim in (1, -1)),
    Layer("layer_norm", ((3, 5, 4), (4,), (4,)), {"normalized_shape": (4,)}, own=True, sparse=False),
    Layer("layer_norm", ((3, 5, 4),), {"normalized_shape": (5, 4)}, sparse=False),
    Layer("group_norm", (IMAGE,), {"num_groups": 3}, sparse=False),
    Layer("batch_norm", (IMAGE, (6,), (6,), (6,), (6,)), positive=(2,), own=False),
    Layer("batch_norm", ((4, 6), (6,), (6,)), {"eps": 1e-3}, positive=(2,)),
    Layer("flatten", options={"start_dim": 1}, own=True), Layer("flatten", options={"start_dim": 2}, own=True),
    Layer("pad", options={"pad": (1, 2)}), Layer("pad", options={"pad": (0, 1, 2, 0), "value": 0.0}),
    Layer("pad", options={"pad": (-1, 1, 0, -2)}),
    *(Layer("pad", options={"pad": (2, 1, 0, 1), "mode": mode}) for mode in ("reflect", "replicate", "circular")),
    Layer("pad", options={"pad": (1, 1), "value": 2.0}, sparse=False),
    Layer("dropout"),
    *(Layer("interpolate", options=options) for options in [
        {"scale_factor": 2}, {"size": (10, 4)}, {"size": (14, 5), "mode": "bilinear"},
        {"scale_factor": (1.5, 2.0), "mode": "bilinear"}, {"size": (3, 9), "mode": "bilinear", "align_corners": True},
    ]),
]


@pytest.mark.parametrize("layer", LAYERS, ids=str)
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_means_what_torch_means(layer, dtype):
    torch = pytest.importorskip("torch")
    operands = layer.operands(dtype)
    tensors = [torch.from_numpy(x) for x in operands]
    if layer.name == "flatten":
        want = torch.flatten(*tensors, **layer.options)
    elif layer.own:
        want = torch.nn.functional.layer_norm(tensors[0], layer.options["normalized_shape"], *tensors[1:])
    else:
        options = {"training": False} if layer.name == "dropout" else {}
        want = getattr(torch.nn.functional, layer.name)(*tensors, **layer.options, **options)
    got = apply(layer, operands)
    assert got.dtype == np.dtype(dtype) and got.shape == tuple(want.shape)
    tolerance = {"f4": 1e-5, "f8": 1e-12}[dtype]
    np.testing.assert_allclose(got, want.numpy(), rtol=tolerance, atol=tolerance)


def apply(layer, operands):
    if layer.name == "layer_norm":  # the only one whose first option stands between its operands
        x, *parameters = operands
        return nn.layer_norm(x, layer.options["normalized_shape"], *parameters)
    return layer(*operands)


@pytest.mark.parametrize("layer", LAYERS, ids=str)
def test_compiled_is_the_same(layer):
    operands = layer.operands()
    got = sparsec.jit(lambda *operands: apply(layer, operands))(*operands)
    np.testing.assert_allclose(got, apply(layer, operands), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("layer", [x for x in LAYERS if x.shapes[0][1] == 6], ids=str)
@pytest.mark.parametrize(("backend", "static"), [
    ("interp", False), ("cpu", False), ("cpu", True), pytest.param("opencl", False, marks=pytest.mark.slow),
])
def test_sparse_is_masked_dense(layer, backend, static):
    x, *rest = layer.operands()
    compiled = sparsec.jit(lambda x, rest: apply(layer, [x, *rest]), backend=backend)
    for keep in ([0, 3, 4], []) if static else ([0, 3, 4], [2], [], list(range(6))):
        given = from_dense(x, keep=keep, static=static)
        got = compiled(given, tuple(rest))
        want = apply(layer, [given if layer.name == "batch_norm" else given.to_dense(), *rest])
        np.testing.assert_allclose(np.asarray(got), want, rtol=1e-5, atol=1e-5)
        if len(keep) < 6:
            assert isinstance(got, ChannelSparse) == layer.sparse
    assert static or compiled.specialisations == 1


# --- what has no torch function of that form ---------------------------------------------------------------


@pytest.mark.parametrize("backend", BACKENDS)
def test_batch_norm_drops_absent_channels_unless_told_to_keep_beta(backend):
    layer = Layer("batch_norm", (IMAGE, (6,), (6,), (6,), (6,)), positive=(2,))
    x, *rest = layer.operands()
    given = from_dense(x, keep=[1, 4])

    def both(x, *rest):
        return nn.batch_norm(x, *rest), nn.batch_norm(x, *rest, keep_beta=True)

    dropped, kept = sparsec.jit(both, backend=backend)(given, *rest)
    dense = nn.batch_norm(given.to_dense(), *rest)
    np.testing.assert_allclose(kept, dense, rtol=1e-5, atol=1e-5)
    mask = np.isin(np.arange(6), [1, 4])[:, None, None]
    np.testing.assert_allclose(dropped.to_dense(), dense * mask, rtol=1e-5, atol=1e-5)
    assert dropped.index.tolist() == [1, 4] and np.abs(dense * ~mask).max() > 0.1
    for got, want in zip(both(given, *rest), (dropped.to_dense(), kept), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("shape", [(4, 6), IMAGE])
def test_batch_norm_in_training_updates_the_running_statistics(backend, shape):
    layer = Layer("batch_norm", (shape, (6,), (6,), (6,), (6,)), positive=(2,))
    x, mean, var, weight, bias = layer.operands()

    def train(x, mean, var, weight, bias):
        return nn.batch_norm(x, mean, var, weight, bias, training=True, momentum=0.3)

    want_mean, want_var, got_mean, got_var = mean.copy(), var.copy(), mean.copy(), var.copy()
    want = train(x, want_mean, want_var, weight, bias)
    got = sparsec.jit(train, backend=backend)(x, got_mean, got_var, weight, bias)
    for a, b in ((got, want), (got_mean, want_mean), (got_var, want_var)):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
    assert np.abs(want_mean - mean).max() > 0.01
    torch = pytest.importorskip("torch")
    a, b = torch.from_numpy(mean.copy()), torch.from_numpy(var.copy())
    y = torch.nn.functional.batch_norm(torch.from_numpy(x), a, b, torch.from_numpy(weight), torch.from_numpy(bias),
                                       training=True, momentum=0.3)
    for got, reference in ((want, y), (want_mean, a), (want_var, b)):
        np.testing.assert_allclose(got, reference.numpy(), rtol=1e-5, atol=1e-5)


def test_batch_norm_in_training_is_exact_where_a_channel_hardly_varies():
    x = np.array([1000, 1001, 1000, 1001], "f4").reshape(4, 1)  # the mean and the distances from it are exact

    def train(x):
        return nn.batch_norm(x, None, None, training=True)

    want = (x - 1000.5) / np.sqrt(np.float64(0.25) + 1e-5)
    for found in (train(x), sparsec.jit(train)(x)):
        np.testing.assert_allclose(found, want, rtol=2e-7, atol=0)


@pytest.mark.parametrize("backend", BACKENDS)
def test_cat_joins_sparse_and_dense(backend):
    a, b, c = (np.random.default_rng(k).standard_normal((1, 4, 3, 3)).astype("f4") for k in range(3))
    x, y = from_dense(a, keep=[1], ratio=0.5), from_dense(b, keep=[0, 3], ratio=0.5)

    def join(x, y, c):
        return nn.cat([x, c, y], 1), nn.cat((x, y), 1), nn.cat([x, y], 0)

    first, second, third = sparsec.jit(join, backend=backend)(x, y, c)
    np.testing.assert_array_equal(first.to_dense(), np.concatenate([x.to_dense(), c, y.to_dense()], 1))
    assert (first.index.tolist(), first.cap) == ([1, 4, 5, 6, 7, 8, 11], 8)
    assert (second.index.tolist(), second.cap, second.full) == ([1, 4, 7], 4, 8)
    np.testing.assert_array_equal(np.asarray(third), np.concatenate([x.to_dense(), y.to_dense()], 0))


def test_flatten_gives_each_channel_its_features():
    x = from_dense(np.ones((2, 4, 2, 3), "f4"), keep=[1, 3])
    flat = sparsec.jit(partial(nn.flatten, start_dim=1))(x)
    assert flat.index.tolist() == [*range(6, 12), *range(18, 24)] and flat.full == 24


def test_dropout_takes_a_mask():
    x = np.ones((2, 3), "f4")
    mask = np.array([[True, False, True]] * 2)
    got = sparsec.jit(lambda x, m: nn.dropout(x, 0.5, True, mask=m))(x, mask)
    np.testing.assert_array_equal(got, [[2, 0, 2]] * 2)


def test_no_images():
    x = np.ones((0, 6, 7, 5), "f4")
    for layer in (partial(nn.group_norm, num_groups=3), partial(nn.max_pool2d, kernel_size=2), nn.softmax):
        assert sparsec.jit(layer)(x).shape == layer(x).shape


@pytest.mark.parametrize(("call", "words"), [
    (lambda x: nn.conv2d(x, np.ones((8, 5, 3, 3), "f4")), "channels"),
    (lambda x: nn.conv2d(x, np.ones((8, 6, 9, 3), "f4")), "does not fit"),
    (lambda x: nn.conv2d(x, np.ones((8, 6, 3, 3), "f4"), stride=2, padding="same"), "stride 1"),
    (lambda x: nn.linear(x, np.ones((3, 4), "f4")), "linear takes"),
    (lambda x: nn.max_pool2d(x, 2, padding=2), "at most half"),
    (lambda x: nn.max_pool2d(x[0], 2), "N, C, H, W"),
    (lambda x: nn.max_pool2d(x[:, :, :1], 2, 1, 1, 2), "outside the image"),
    (lambda x: nn.avg_pool2d(x, 9), "does not fit"),
    (lambda x: nn.dropout(x, training=True), "mask="),
    (lambda x: nn.interpolate(x), "size or scale_factor"),
    (lambda x: nn.pad(x, (1, 2, 3)), "3 numbers"),
    (lambda x: nn.layer_norm(x, (4,)), "does not fit"),
])
def test_what_does_not_fit_is_a_typed_error(call, words):
    x = np.ones(IMAGE, "f4")
    for function in (call, sparsec.jit(call)):
        with pytest.raises(ShapeError, match=words):
            function(x)
