"""`nn.linear` over sparse features: every way in which such a product is computed, beside the masked dense one."""

import numpy as np
import pytest

import sparsec
from sparsec import nn
from sparsec.sparse import from_dense

INPUTS, OUTPUTS = 70, 19  # neither fills its last group


def layer(x, w, b):
    return nn.relu(nn.linear(x, w, b))


def pruned(array, keep, axis, **options):
    """`array` with other numbers than the kept ones not even read: NaN."""
    array = array.copy()
    gone = np.setdiff1d(np.arange(array.shape[axis]), keep)
    array[(slice(None),) * (axis % array.ndim) + (gone,)] = np.nan
    return array, from_dense(array, keep=keep, axis=axis, **options)


@pytest.mark.parametrize("backend", ["loops", "cpu"])
@pytest.mark.parametrize("rows", [(1,), (2, 5)], ids=["groups", "convolution"])
@pytest.mark.parametrize("static", [False, True])
def test_a_dense_layer_reads_live_inputs_only(backend, rows, static):
    rng = np.random.default_rng(0)
    compiled = sparsec.jit(layer, backend=backend)
    w, b = rng.standard_normal((OUTPUTS, INPUTS)), rng.standard_normal(OUTPUTS)
    for keep in [[3, 17, 18, 40, 69], np.arange(INPUTS), []][: 1 if static else 3]:
        dense, x = pruned(rng.standard_normal((*rows, INPUTS)), keep, -1, static=static)
        nowhere, _ = pruned(w, keep, 1)
        wanted = np.maximum(dense[..., keep] @ w[:, keep].T + b, 0)
        np.testing.assert_allclose(compiled(x, nowhere, b), wanted, rtol=1e-12, atol=1e-12)
        outputs = from_dense(nowhere, keep=[0, 2, 18], axis=0)
        found = compiled(x, outputs, b)
        assert found.index.tolist() == [0, 2, 18]
        np.testing.assert_allclose(found.data, wanted[..., [0, 2, 18]], rtol=1e-12, atol=1e-12)
    assert compiled.specialisations == 2


def test_a_fitting_product_is_the_one_that_is_computed():
    w = np.ones((OUTPUTS, INPUTS))
    for rows, name in ((1, "matmul_groups"), (8, "conv2d")):
        x = from_dense(np.ones((rows, INPUTS)), keep=[1, 5])
        assert name in sparsec.jit(nn.linear).trace(x, w).as_text("through-index")
    assert "matmul_channels" in sparsec.jit(np.matmul).trace(x, w.T.copy()).as_text("through-index")
