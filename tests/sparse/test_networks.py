"""A few of the random networks; `python -m tests.sparse.networks --count 2000` is the long run."""

import inspect
import re

import numpy as np
import pytest

import sparsec
from sparsec import nn
from sparsec.sparse import from_dense
from tests.sparse import steps
from tests.sparse.networks import Mismatch, Network, Source, Tally, check, exact, network, portion


@pytest.mark.parametrize("seed", range(10))
def test_random_network(seed):
    check(network(seed), ("interp", "cpu"), calls=2)


def test_random_networks_after_the_passes():
    wrong, _ = portion(range(100, 160), 8, ("passes",))
    assert wrong == []


def test_a_network_that_amplifies_rounding():
    """A channel that is constant but for rounding is divided by its deviation: float64 says what is near."""
    steps = [("sub", (0, 0), {}), ("shift", (1,), {"weight": 0}), ("batch_norm_trained", (2,), {"weights": [0] * 4})]
    net = Network(0, steps, [Source((2, 2, 3, 3), "static", 1)], [np.array([0.7, 1.3], "f4")], [3])
    check(net, ("cpu",), calls=1)
    net = Network(0, [("batch_norm_trained", (0,), {"weights": [0] * 4})], [Source((1, 2, 3, 3), "dense")],
                  [np.ones(2, "f4")], [1])
    steady, varying = (exact(net, [x.astype("f4")], net.weights)[0][1] for x in (
        np.full((1, 2, 3, 3), 1000.0), np.arange(18.0).reshape(1, 2, 3, 3)))
    assert varying < 2e-6 and steady > 1e-2


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 24))
def test_random_network_on_a_device(seed):
    check(network(seed), ("opencl", "loops"), calls=2)


def test_no_channels_at_all():
    """Nothing is computed where no channel can be live; numbers that are known are still there."""
    x = from_dense(np.ones((1, 6, 3, 3), "f4"), keep=[], static=True)
    flat, shifted = sparsec.jit(lambda x: (nn.softmax(x) + 1, x + 1))(x)
    np.testing.assert_allclose(flat, np.full((1, 6, 3, 3), 4 / 3), rtol=1e-6)
    assert (np.asarray(shifted) == 1).all()


def test_networks_have_every_layer():
    assert set(nn.__all__) == set(re.findall(r"\bnn\.(\w+)", inspect.getsource(steps)))


def test_networks_have_every_kind_of_step_index_and_overlap():
    tally = Tally()
    for seed in range(150):
        net = network(seed)
        tally.inputs(net)
        tally.update(("step", name) for name, *_ in net.steps)
    wanted = {*steps.KEPT, *steps.FILLED, "conv", "grouped", "depthwise", "add", "sub", "mul", "cat", "linear"}
    assert wanted <= {form for feature, form in tally if feature == "step"}
    inputs = {form for feature, form in tally if feature == "input"}
    assert inputs == {"static", "dynamic", "dense", "index of another"}


def test_the_check_can_fail(monkeypatch):
    net = Network(0, [("scale", (0,), {"weight": 0})], [Source((1, 4, 2, 2), "dynamic", 3)],
                  [np.ones(4, "f4")], [1])
    check(net, ("interp",))
    net.steps = [("add", (0, 0), {})]
    monkeypatch.setattr("tests.sparse.networks.reference", lambda name, xs, weights, options: xs[0])
    with pytest.raises(Mismatch):
        check(net, ("interp",))
