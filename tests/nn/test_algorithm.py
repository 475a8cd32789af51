"""Only the direct convolution keeps what a channel index promises."""

import numpy as np
import pytest

import sparsec
from sparsec import errors, nn, sparse

W = np.ones((4, 4, 3, 3), np.float32)


@pytest.mark.parametrize("name", ["winograd", "im2col", "fft"])
def test_algorithms_that_copy_are_refused(name):
    layer = sparsec.jit(lambda x, w: nn.conv2d(x, w, algorithm=name))
    dense = np.ones((1, 4, 5, 5), np.float32)
    some = sparse.from_dense(dense * (np.arange(4) < 2)[:, None, None].astype(np.float32), ratio=0.5)
    for x in (dense, some):
        with pytest.raises(errors.UnsupportedError, match=name):
            layer(x, W)


def test_a_name_that_means_nothing():
    with pytest.raises(errors.ArgumentError, match="direkt"):
        nn.conv2d(np.ones((1, 4, 5, 5), np.float32), W, algorithm="direkt")
