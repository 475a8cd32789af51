"""A few of the random networks; `python -m tests.sparse.networks --count 2000` is the long run."""

import numpy as np
import pytest

from tests.sparse.networks import Mismatch, Network, Source, check, network

#: Networks that were wrong once: indexes without entries, numbers other than 0 in absent channels, all channels live.
ONCE_WRONG = (11, 173, 197, 216, 353, 364, 10105)


@pytest.mark.parametrize("seed", [*range(10), *ONCE_WRONG])
def test_random_network(seed):
    check(network(seed), ("interp", "cpu"), calls=2)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(20, 24))
def test_random_network_on_a_device(seed):
    check(network(seed), ("opencl", "loops"), calls=2)


def test_the_check_can_fail(monkeypatch):
    net = Network(0, [("scale", (0,), {"weight": 0})], [Source((1, 4, 2, 2), "dynamic", 3)],
                  [np.ones(4, "f4")], [1])
    check(net, ("interp",))
    net.steps = [("add", (0, 0), {})]
    monkeypatch.setattr("tests.sparse.networks.reference", lambda name, xs, weights, options: xs[0])
    with pytest.raises(Mismatch):
        check(net, ("interp",))
