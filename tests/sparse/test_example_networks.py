"""The example networks: pruned ones equal themselves with all channels, masked, and keep their weights in place."""

import numpy as np
import pytest

import sparsec
from examples import networks

IMAGE = np.random.default_rng(5).normal(size=(1, 3, 32, 32)).astype(np.float32)


@pytest.mark.parametrize(("make", "forward", "shared"), [
    (networks.resnet18, networks.forward_resnet18, False),
    (networks.mobilenet, networks.forward_mobilenet, True),
], ids=["resnet18", "mobilenet"])  # fmt: skip
def test_pruned_equals_masked(make, forward, shared):
    pruned = networks.prune(make(classes=10), 0.5, shared)
    run = sparsec.jit(forward)
    found = run(IMAGE, networks.arguments(pruned))
    masked = forward(IMAGE, networks.arguments(networks.masked(pruned)))
    np.testing.assert_allclose(found, masked, rtol=1e-4, atol=1e-5 * np.abs(masked).max())
    memory = run.memory_analysis(IMAGE, networks.arguments(pruned))
    assert memory.weight_temporaries == 0
    assert memory.total < 0.6 * memory.dense.total


def test_a_stream_keeps_one_index():
    pruned = networks.prune(networks.resnet18(), 0.35)
    first, second = pruned["stages"][1]
    assert first["second"]["weight"].index is first["shortcut"]["weight"].index is second["second"]["weight"].index
    assert len(first["second"]["weight"].index) == np.ceil(128 * 0.65)
    own = networks.prune(networks.resnet18(), 0.35, shared=False)["stages"][1][0]
    assert not np.array_equal(own["second"]["weight"].index, own["shortcut"]["weight"].index)
