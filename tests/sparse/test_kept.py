"""NumPy programs whose result has few channels, or reads few: nothing is made whole on the way."""

import numpy as np
import pytest

import sparsec
from sparsec.errors import SparsecError
from sparsec.passes.base import run_pipeline
from sparsec.passes.channels import writes
from sparsec.passes.pipeline import parse_pipeline
from sparsec.passes.propagate import propagate_with_reasons
from sparsec.sparse import ChannelSparse, from_dense
from tests.sparse.random_writes import check


def through_views(x):
    y = x * 2
    y[:, :, 1] = x[:, :, 0]
    y[0, ..., 2] += 1 * y[1, ..., 3]
    y.transpose(0, 2, 3, 1)[:, 0] = 0
    y.reshape(2, 8, 16)[:, :, 5] *= 3
    return y


def at_listed_places(x):
    y = x * 2
    y[:, :, [0, 2]] = x[:, :, [3, 3]]
    y[:, :, [0, 2], [1, 3]] = 0
    y[0][:, [1, 0]] = y[1][:, [2, 3]] * 2
    return y


def some_channels(x):
    y = x * 2
    y[:, 3] = 1
    y[:, 4:6] = 0
    y[0, 2:8:5, :, 1] = 7
    return y


def framed(x):
    return np.pad(x, ((0, 0), (1, 2), (0, 0), (0, 0)))


def stacked(x):
    return x.reshape(16, 4, 4) * 2


def and_apart(x):
    return np.abs(x.reshape(-1, 4)).reshape(2, 8, 4, 4)


def tiled(x):
    return np.tile(x, (1, 2, 1, 1))


def chosen(x):
    return x[:, [1, 2, 6]]


def chosen_with_places(x):
    return x[:, [1, 2, 6], [0, 3, 1]]


def taken(x):
    return np.take(x, [3, 0], axis=2)


def product_by_channel(x):
    return x @ np.arange(12, dtype="f4").reshape(4, 3)


def product_from_the_left(x):
    return np.ones((3, 4), "f4") @ x


def attention(x):
    y = x.reshape(2, 8, 16)
    return (y @ y.transpose(0, 2, 1)) @ y


LIVE, WRITTEN = [1, 2, 5], [1, 2, 3, 5, 7]
EXPECTED = {
    through_views: LIVE, at_listed_places: LIVE, some_channels: WRITTEN, framed: [2, 3, 6],
    stacked: [1, 2, 5, 9, 10, 13], and_apart: LIVE, tiled: [1, 2, 5, 9, 10, 13], chosen: [0, 1],
    chosen_with_places: [0, 1], taken: LIVE, product_by_channel: LIVE, product_from_the_left: LIVE, attention: LIVE,
}


@pytest.mark.parametrize("backend", ["interp", "cpu"])
@pytest.mark.parametrize("program", EXPECTED, ids=lambda f: f.__name__)
def test_nothing_is_made_whole(program, backend):
    array = np.random.default_rng(0).standard_normal((2, 8, 4, 4)).astype("f4")
    compiled = sparsec.jit(program, backend=backend)
    for keep in (LIVE, [0, 7], []):
        x = from_dense(array, keep=keep, ratio=0.5)
        found = compiled(x)
        np.testing.assert_allclose(np.asarray(found), program(x.to_dense()), rtol=1e-5, atol=1e-5)
        assert isinstance(found, ChannelSparse)
        if keep is LIVE:
            assert found.index.tolist() == EXPECTED[program]
    func = run_pipeline(compiled.trace(x).func, parse_pipeline("canonicalize,whole-writes,fold,cse,dce"))
    assert propagate_with_reasons(func)[1] == ()


@pytest.mark.parametrize("keep", [[1, 2], [0], []])
def test_one_channel_of_images_of_one_pixel_is_told_by_the_axes_that_others_count(keep):
    x = from_dense(np.arange(8, dtype="f4").reshape(2, 4, 1, 1), keep=keep, ratio=0.5)
    found = sparsec.jit(lambda x: x[:, [1]], backend="interp")(x)
    np.testing.assert_array_equal(np.asarray(found), x.to_dense()[:, [1]])
    assert isinstance(found, ChannelSparse) and found.index.tolist() == [0] * (1 in keep)


def framed_by_ones(x):
    """Where the frame is something else than what absent channels hold, they are not absent from the result."""
    return np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=1)


def unsorted(x):
    return x[:, [6, 2, 1]]


def written_at_channels(x):
    y = x * 2
    y[:, [1, 3]] = 1
    return y


@pytest.mark.parametrize("backend", ["interp", "cpu"])
@pytest.mark.parametrize("program", [framed_by_ones, unsorted, written_at_channels], ids=lambda f: f.__name__)
def test_what_is_made_whole_is_right(program, backend):
    x = from_dense(np.random.default_rng(0).standard_normal((2, 8, 4, 4)).astype("f4"), keep=LIVE, ratio=0.5)
    np.testing.assert_array_equal(np.asarray(sparsec.jit(program, backend=backend)(x)), program(x.to_dense()))


def test_random_writes():
    """`python -m tests.sparse.random_writes` is the long run."""
    assert [found for seed in range(120) if (found := check(seed))] == []


def test_random_writes_find_what_is_wrong(monkeypatch):
    chosen = writes._written_channels
    monkeypatch.setattr(writes, "_written_channels", lambda views, axis: 0 * chosen(views, axis)[:1])
    with pytest.raises((AssertionError, SparsecError)):
        assert [found for seed in range(120) if (found := check(seed))] == []
