"""`ChannelSparse`: what it holds, what it refuses, and how it goes into and comes out of compiled functions."""

import copy
import pickle

import numpy as np
import pytest

import sparsec
from sparsec import nn
from sparsec.errors import ArgumentError, AxisOutOfRange, ChannelError, ReadOnlyError
from sparsec.passes.base import run_pipeline
from sparsec.passes.lower import lower_program
from sparsec.passes.pipeline import DEFAULT
from sparsec.passes.propagate import propagate_with_reasons
from sparsec.passes.through_index import ThroughIndex
from sparsec.sparse import ChannelSparse, from_dense

BACKENDS = ("interp", "loops", "cpu", pytest.param("opencl", marks=pytest.mark.slow))


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype("f4")


def sparse(keep, full=4, seed=0, **options):
    return from_dense(numbers(2, full, 3, 3, seed=seed), keep=keep, **options)


# --- the format --------------------------------------------------------------------------------------------


def test_the_dense_array_is_restored_exactly():
    x = numbers(2, 5, 3)
    kept = from_dense(x, keep=[1, 4])
    mask = np.array([0, 1, 0, 0, 1], bool)
    np.testing.assert_array_equal(kept.to_dense(), x * mask[:, None])
    np.testing.assert_array_equal(from_dense(x, keep=mask).to_dense(), kept.to_dense())
    np.testing.assert_array_equal(np.maximum(kept, 0), np.maximum(kept.to_dense(), 0))
    assert (kept.shape, kept.dtype, kept.density, kept.nbytes) == (x.shape, x.dtype, 0.4, 2 * 2 * 3 * 4 + 2 * 4)
    assert repr(kept) == "<ChannelSparse float32[2, 2 of 5, 3], axis 1, 56 bytes>"


def test_without_keep_the_channels_that_are_not_zero_stay():
    x = numbers(2, 4)
    x[:, 2] = 0
    assert from_dense(x).index.tolist() == [0, 1, 3]


@pytest.mark.parametrize(("full", "ratio", "cap"), [
    (4, 0.5, 2), (64, 0.35, 42), (10, 0.3, 7), (3, 1.0, 1), (3, 0, 3),
])
def test_the_cap_follows_from_the_ratio(full, ratio, cap):
    assert from_dense(np.ones((1, full)), keep=[0], ratio=ratio).cap == cap


@pytest.mark.parametrize(("index", "words"), [
    ([2, 1], "not sorted"), ([1, 1], "repeated"), ([-1, 2], "out of range"), ([1, 4], "out of range"),
    ([1], "1 entries"), ([0, 1, 2], "3 entries"), ([[0, 1]], "vector"), ([0.5, 1.0], "integers"),
    ([0, 1 << 40], "out of range"),
])
def test_what_is_no_index_is_refused(index, words):
    with pytest.raises(ChannelError, match=words) as caught:
        ChannelSparse(np.zeros((1, 2, 3)), np.array(index), 4)
    assert caught.value.code == "SP060" and isinstance(caught.value, ValueError)


def test_more_live_channels_than_the_cap_are_refused():
    with pytest.raises(ChannelError, match="3 channels are live, but the cap is 2"):
        sparse([0, 1, 2], ratio=0.5)
    with pytest.raises(ChannelError, match="more than all 4"):
        ChannelSparse(np.zeros((1, 1)), [0], 4, cap=5)


def test_other_nonsense_is_refused():
    with pytest.raises(AxisOutOfRange):
        from_dense(np.zeros((1, 2)), keep=[0], axis=2)
    with pytest.raises(ChannelError, match="mask"):
        from_dense(np.zeros((1, 2)), keep=np.array([True]))
    with pytest.raises(ChannelError, match="ratio"):
        from_dense(np.zeros((1, 2)), ratio=2)
    with pytest.raises(ChannelError, match="NumPy array"):
        ChannelSparse([[1.0]], [0], 1)
    with pytest.raises(ChannelError, match="masked"):
        from_dense(np.ma.array([[1.0, 2.0]], mask=[[0, 1]]))


@pytest.mark.parametrize(("numbers", "words"), [
    ({"full": 4.5}, "full is an integer, not 4.5"), ({"full": "4"}, "full is an integer"),
    ({"axis": None}, "axis is an integer"), ({"cap": 2.5}, "cap is an integer"), ({"cap": -3}, "the cap is -3"),
    ({"index": [[0], [1, 2]]}, "index is an array"), ({"index": np.ma.array([0, 1])}, "not a masked one"),
])
def test_numbers_that_are_no_channels_are_refused(numbers, words):
    with pytest.raises(ChannelError, match=words):
        ChannelSparse(**{"data": np.zeros((1, 2, 3)), "index": [0, 1], "full": 4, **numbers})


@pytest.mark.parametrize("again", [copy.copy, copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
@pytest.mark.parametrize("static", [False, True])
def test_copies_are_as_the_original(again, static):
    x = sparse([1, 2], ratio=0.25, static=static)
    y = again(x)
    np.testing.assert_array_equal(y.to_dense(), x.to_dense())
    assert repr(y) == repr(x) and not y.index.flags.writeable  # so it may be captured, as x may
    first, second = again((x, ChannelSparse(x.data, x.index, 4, static=static)))
    assert first.index is second.index and first.index.flags.writeable is False
    written = ChannelSparse(x.data, np.array([1, 2], "i4"), 4)
    assert again(written).index.flags.writeable


def test_an_index_that_was_changed_is_seen_at_the_call():
    index = np.array([0, 1], "i4")
    x = ChannelSparse(numbers(1, 2, 3), index, 4)
    double = sparsec.jit(lambda x: x * 2)
    double(x)
    index[1] = 4
    with pytest.raises(ChannelError, match="out of range"):
        double(x)


@pytest.mark.parametrize(("index", "words"), [
    ([1, 0], "not sorted"), ([1, 1], "repeated"), ([-1, 0], "out of range"), ([0, 4], "out of range"),
])
@pytest.mark.parametrize("native", [False, True])
def test_calls_check_what_was_written_to_an_index(index, words, native):
    x = ChannelSparse(numbers(1, 2, 3), np.array([0, 1], "i4"), 4, cap=2)
    double = sparsec.jit(lambda x: x * 2)
    for _ in range(3 if native else 1):
        double(x)
    x.index[:] = index
    with pytest.raises(ChannelError, match=words):
        double(x)
    with pytest.raises(ChannelError, match=words):
        double.memory_analysis(x)


@pytest.mark.parametrize("a", [(0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)])
def test_every_overlap_of_two_of_four_channels(a):
    """C=4, two live each: a sum has room for 4 and a product for 2, and each has as many as there are."""
    compiled = sparsec.jit(lambda x, y: (x + y, x * y))
    for b in ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3)):
        total, common = compiled(sparse(list(a), ratio=0.5), sparse(list(b), ratio=0.5, seed=1))
        assert (total.cap, common.cap) == (4, 2)
        assert total.index.tolist() == sorted({*a, *b}) and common.index.tolist() == sorted({*a} & {*b})
        assert (total.data.shape[1], common.data.shape[1]) == (len({*a, *b}), len({*a} & {*b}))
    assert compiled.specialisations == 1


# --- calls -------------------------------------------------------------------------------------------------


def mixed(x, y):
    return np.maximum(x, 0) + y, x * y, x - y


@pytest.mark.parametrize("backend", BACKENDS)
def test_one_compilation_serves_every_index_under_the_cap(backend):
    compiled = sparsec.jit(mixed, backend=backend)
    for a, b in [([0, 1], [2, 3]), ([0, 1], [0, 1]), ([2], [0, 3]), ([], [1]), ([3], []), ([], []), ([1, 2], [1])]:
        x, y = sparse(a, ratio=0.5), sparse(b, ratio=0.5, seed=1)
        found = compiled(x, y)
        for got, want in zip(found, mixed(x.to_dense(), y.to_dense()), strict=True):
            np.testing.assert_array_equal(got.to_dense(), want)
        union, common = sorted({*a, *b}), sorted({*a} & {*b})
        assert [got.index.tolist() for got in found] == [union, common, union]
        assert [got.cap for got in found] == [4, 2, 4]  # C=4, two live each: a sum 4, a product 2
    assert compiled.specialisations == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_static_channels_are_part_of_the_program(backend):
    compiled = sparsec.jit(mixed, backend=backend)
    for a, b in [([0, 1], [2, 3]), ([0, 1], [0, 1]), ([2], [0, 3]), ([], [1]), ([0, 2, 3], [0, 1])]:
        x, y = sparse(a, static=True), sparse(b, seed=1, static=True)
        for got, want in zip(compiled(x, y), mixed(x.to_dense(), y.to_dense()), strict=True):
            np.testing.assert_array_equal(np.asarray(got), want)
    total, *_ = compiled(sparse([0, 1], static=True), sparse([2, 3], static=True))
    assert type(total) is np.ndarray  # all channels are there
    common = compiled(x, y)[1]
    assert common.static and (common.index.tolist(), common.cap) == ([0], 1)
    assert compiled.specialisations == 5
    text = compiled.trace(x, y).as_text("propagate")
    assert not any(op in text for op in ("index_size", "index_union", "index_intersect", "index_positions"))


def test_one_index_array_is_one_index():
    index = np.array([0, 2], "i4")
    x, y = (ChannelSparse(numbers(1, 2, 3, seed=k), index, 4, cap=2) for k in range(2))
    compiled = sparsec.jit(lambda x, y: x + y)
    total = compiled(x, y)
    assert total.cap == 2 and total.index is index  # and no union
    np.testing.assert_array_equal(total.to_dense(), x.to_dense() + y.to_dense())
    assert "index_" not in compiled.trace(x, y).as_text("propagate")
    other = ChannelSparse(y.data, index.copy(), 4, cap=2)
    assert compiled(x, other).cap == 4 and compiled.specialisations == 2


def test_arguments_come_back_as_themselves():
    x = sparse([0, 2])
    y, z, w = sparsec.jit(lambda x: (x, x, np.abs(x)))(x)
    assert y is x and z is x and w.index is x.index


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_argument_given_twice(backend):
    x = sparse([0, 2], ratio=0.5)
    got = sparsec.jit(lambda a, b: a + b, backend=backend)(x, x)
    np.testing.assert_array_equal(got.to_dense(), 2 * x.to_dense())


def test_a_sparse_argument_cannot_be_written():
    def write(x):
        x[:, 0] = 1

    def add(x):
        x += 1

    for function in (write, add):
        with pytest.raises(ReadOnlyError, match="ChannelSparse argument"):
            sparsec.jit(function)(sparse([0, 1]))


def rewritten(x, d):
    y = np.abs(x)
    y[...] = d
    y[:, 1] = 0
    z = x * 2
    z[...] = x
    z[:, :, 0] += 1
    w = x.copy()
    w[:, 2:] = d[:, 2:]
    return y, z, w, x[:, ::2], x[:, ::-1, 1:]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("static", [False, True])
def test_writes_into_copies_reach_no_argument(backend, static):
    for keep in ([0, 2], [0, 1, 2, 3]):
        x, d = sparse(keep, static=static), numbers(2, 4, 3, 3, seed=5)
        data, before = x.data.copy(), d.copy()
        found = sparsec.jit(rewritten, backend=backend)(x, d)
        for got, want in zip(found, rewritten(x.to_dense(), d), strict=True):
            np.testing.assert_array_equal(np.asarray(got), want)
        np.testing.assert_array_equal(x.data, data)
        np.testing.assert_array_equal(d, before)


WEIGHT = from_dense(numbers(6, 4, seed=3), keep=[0, 2], axis=0)


def test_weights_from_outside_are_part_of_the_program():
    layers = {"w": from_dense(numbers(6, 4, seed=4), keep=[1, 5], axis=0)}

    def net(x):
        return x @ WEIGHT.T, x @ layers["w"].T

    x = numbers(3, 4)
    first, second = sparsec.jit(net)(x)
    for got, w in ((first, WEIGHT), (second, layers["w"])):
        np.testing.assert_allclose(got.to_dense(), x @ w.to_dense().T, rtol=1e-5, atol=1e-6)
        assert got.static and got.index.tolist() == w.index.tolist()


def test_an_index_from_outside_must_not_change_behind_the_program():
    index = np.array([0, 2], "i4")
    view = index[:]
    view.flags.writeable = False
    for entries in (index, view):
        w = ChannelSparse(numbers(2, 4), entries, 6, 0)
        with pytest.raises(ArgumentError, match="index array that can be written"):
            sparsec.jit(lambda x, w=w: np.matmul(x, w))(numbers(3, 4))


def test_overlapping_data_keeps_exact_sizes():
    memory = numbers(1, 4, 3)
    x = ChannelSparse(memory[:, :2], [0, 3], 4)
    y = ChannelSparse(memory[:, 1:3], [1, 2], 4)

    def both(x, y, m):
        m[...] = 1
        return x + y

    want = x.to_dense() + y.to_dense()
    np.testing.assert_array_equal(np.asarray(sparsec.jit(both)(x, y, memory)), want)
    assert (memory == 1).all()


@pytest.mark.parametrize("backend", BACKENDS)
def test_stored_channels_and_indexes_may_be_arguments_of_their_own(backend):
    """What is sparse is as it was when the function was called, whatever is written to the stored channels."""

    def f(x, stored, index):
        stored *= 3
        return x + 1, x * 2, index + 1

    compiled = sparsec.jit(f, backend=backend)
    other, index = numbers(2, 2, 3, 3), np.array([0, 2], "i4")
    for shared in (False, True, True, False):
        x = ChannelSparse(numbers(2, 2, 3, 3), index, 4)
        dense, stored = x.to_dense(), x.data if shared else other
        wanted = stored * 3
        for got, want in zip(compiled(x, stored, index), (dense + 1, dense * 2, index + 1), strict=True):
            np.testing.assert_array_equal(np.asarray(got), want)
        np.testing.assert_array_equal(stored, wanted)
    assert compiled.specialisations == 2


def test_an_index_cannot_be_written_by_the_function():
    def f(x, index):
        index[...] = [1, 3]
        return x * 2

    index = np.array([0, 2], "i4")
    with pytest.raises(ReadOnlyError, match="which channels of a ChannelSparse") as caught:
        sparsec.jit(f)(ChannelSparse(numbers(1, 2, 3), index, 4), index)
    assert "index[...] = [1, 3]" in str(caught.value)
    assert index.tolist() == [0, 2]


def small_network(x, w, v, b):
    y = nn.max_pool2d(nn.relu(nn.conv2d(x, w, b, padding=1)), 2)
    for k in range(3):
        y[:, k] += y[:, k + 1] * 0.5
    return nn.linear(nn.flatten(y, 1), v), y[:, [0, 2]]


def test_a_program_without_sparse_values_is_left_alone():
    """The passes that make programs sparse give a dense one back: it has the same loops with them and without."""
    arrays = (numbers(1, 3, 8, 8), numbers(5, 3, 3, 3), numbers(40, 80), numbers(5))
    func = sparsec.jit(small_network).trace(*arrays).func
    assert propagate_with_reasons(func) == (func, ())
    assert propagate_with_reasons(func)[0] is func and ThroughIndex().run(func) is func
    without = tuple(p for p in DEFAULT if p.name not in ("propagate", "through-index"))
    assert len(without) == len(DEFAULT) - 2
    assert lower_program(run_pipeline(func, without)) == lower_program(run_pipeline(func, DEFAULT))
