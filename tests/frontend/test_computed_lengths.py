"""Arrays as long as a computed integer says: their memory is asked for when the program comes to them."""

from __future__ import annotations

import numpy as np
import pytest

import sparsec
from benchmarks.postprocess.heatmap import draw_gaussian
from benchmarks.postprocess.masks import mask_paste
from sparsec.errors import ConcretizationError, OutOfMemory, ShapeError
from tests.programs.harness import backends, check


def sums_in_a_loop(a, n):
    total = 0.0
    for k in range(len(n)):
        x = np.arange(n[k]) * a[0]
        total += (x * x[::-1]).sum()
        a[k] = total
    return total


def matrices_in_a_loop(a, n):
    for k in range(len(n)):
        x = np.zeros((n[k], n[k]))
        x[::2] = 1.0
        x += x.T
        a[k] = x.sum()


def carried(a, n):
    x = np.zeros((n[0], 2))
    k = 0
    while k < a[1] * 10:
        x = x + k
        x[:1] *= 2
        k += 1
    return x


def written_in_a_loop(a, n):
    x = np.zeros(n[0])
    for k in range(int(n[0])):
        x[k] = k * a[0]
    return x


def chosen(a, n):
    x = np.zeros(n[0])
    if a[0] > 0:
        x[:] = 1
    else:
        x = x - 1
    return x


def on_one_path(a, n):
    for k in range(len(n)):
        if n[k] % 2:
            z = np.arange(n[k]) * 2
            a[k] = z.sum()
        else:
            w = np.ones((n[k], 2)) * 3
            a[k] = w.sum()


def halves(a, n):
    m, total = int(n[0]), 0
    while m > 0:
        total += int(np.arange(m).sum())
        m //= 2
    return total


def sorts(a, n):
    x = np.sin(np.arange(n[0]) * 1.0)
    return np.sort(x), np.argsort(-x, kind="stable"), x[x > 0], np.cumsum(x)


def filled(a, n):
    x = np.empty(n[0])
    x.fill(3)
    return x, np.full(n[1], a[1]), np.full(n[0], 1j) * a[0], np.zeros_like(a, shape=(n[0],))


PROGRAMS = {
    "range": lambda a, n: np.arange(n[0]),
    "range of floats": lambda a, n: np.arange(-n[0], n[0] + 1, dtype=np.float32),
    "zeros": lambda a, n: np.zeros((int(n[0]), 3)) + 1,
    "several": lambda a, n: (np.arange(n[0]), np.ones(int(n[1])), np.arange(n[0]) * 2),
    "no memory at all": lambda a, n: np.arange(n[0]).sum(),
    "outer": lambda a, n: np.exp(-a[0] * (np.arange(n[0])[:, None] + np.arange(n[1]))),
    "view": lambda a, n: np.arange(n[0])[::-1],
    "parts": lambda a, n: (lambda x: (x[:3], x[3:]))(np.arange(int(a.sum()))),
    "as an index": lambda a, n: a[np.arange(n[0]) % 4],
    "largest": lambda a, n: np.zeros(n.max() + 1),
    "joined": lambda a, n: np.concatenate([np.arange(n[0]), np.arange(n[1]), np.arange(3)]),
    "differences": lambda a, n: np.diff(np.arange(n[0]) ** 2),
    "filled": filled,
    "sums in a loop": sums_in_a_loop,
    "matrices in a loop": matrices_in_a_loop,
    "carried": carried,
    "written in a loop": written_in_a_loop,
    "chosen": chosen,
    "on one path": on_one_path,
    "halves": halves,
    "sorts": sorts,
}
LENGTHS = ([5, 3, 2, 7], [1, 2, 3, 50], [0, 0, 0, 0], [-3, -1, -1, -1])


def arguments(lengths):
    return np.array([0.5, 2, 3, 4]), np.array(lengths)


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs(name, backend):
    for lengths in LENGTHS:
        check(PROGRAMS[name], lambda lengths=lengths: arguments(lengths), backend, check_warnings=False, rtol=1e-12)


@pytest.mark.parametrize("backend", backends("opencl"))
@pytest.mark.parametrize("name", ["range", "several", "matrices in a loop", "carried", "filled"])
def test_on_a_device(name, backend):
    for lengths in LENGTHS:
        check(PROGRAMS[name], lambda lengths=lengths: arguments(lengths), backend, check_warnings=False, rtol=1e-12)


@pytest.mark.parametrize("backend", backends())
def test_memory_that_is_not_there(backend):
    """Whatever was written before stays unseen."""

    @sparsec.jit(backend=backend)
    def grow(a, n):
        a[0] = 9
        x = np.zeros(n[0])
        x[:1] = a[:1]
        a[1] = 8
        return x

    a = np.array([1.0, 2.0])
    with pytest.raises(OutOfMemory, match=r"(?s)memory|allocate"):
        grow(a, np.array([1 << 50]))
    with pytest.raises(ShapeError, match=r"too big|Maximum allowed"):
        grow(a, np.array([1 << 62]))
    with pytest.raises(ShapeError, match="negative dimensions are not allowed"):
        grow(a, np.array([-1]))
    assert list(a) == [1, 2]
    assert list(grow(a, np.array([3]))) == [9, 0, 0] and list(a) == [9, 8]


def test_one_compilation_serves_all_lengths():
    make = sparsec.jit(lambda n: np.arange(n[0]))
    for n in (3, 100_000, 0, 7):
        assert np.array_equal(make(np.array([n])), np.arange(n))
    assert len(make._found) == 1


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
def test_an_integer_in_an_array_without_axes(backend):
    check(lambda n: (np.arange(n), np.zeros(n) + 1), lambda: (np.array(5),), backend)
    check(lambda n, x: (np.arange(n), x), lambda: (lambda x: (x[2:3].reshape(()), x))(np.arange(4)), backend)


def test_a_result_keeps_its_memory():
    make = sparsec.jit(lambda n: (np.arange(n[0]), np.arange(n[0])[2:]))
    kept = [make(np.array([k])) for k in range(2000, 2010)]
    for k, (whole, rest) in zip(range(2000, 2010), kept, strict=True):
        assert np.array_equal(whole, np.arange(k)) and np.array_equal(rest, np.arange(2, k))
        whole[:] = 0  # it is the caller's own


def test_a_carried_array_that_grows_without_limit_is_refused():
    def grow(n):
        x = np.arange(n[0])
        while x.sum() < n[1]:
            x = np.arange(x.sum() + 1)
        return x

    with pytest.raises(ConcretizationError, match=r"shape \(%\w+,\) on one path"):
        sparsec.jit(grow)(np.array([3, 100]))


@pytest.mark.parametrize("backend", backends())
def test_bumps_of_any_radius(backend):
    draw = sparsec.jit(draw_gaussian, static_argnames=("eps",), backend=backend)

    def compare(centers, radii):
        mine, numpys = np.zeros((12, 9), np.float32), np.zeros((12, 9), np.float32)
        centers = np.array(centers, np.int64).reshape(-1, 2)
        draw(mine, centers, np.array(radii, np.int64))
        draw_gaussian(numpys, centers, np.array(radii, np.int64))
        np.testing.assert_allclose(mine, numpys, rtol=2e-6, atol=1e-7)

    compare([(3, 4), (0, 0)], [0, 2])
    compare([(8, 11), (4, 4)], [7, 0])
    compare([], [])
    mine = np.ones((12, 9), np.float32)
    centers = np.array([(3, 4), (0, 0)])
    with pytest.raises(ShapeError, match="zero-size array to reduction operation maximum"):
        draw(mine, centers, np.array([2, -1]))
    with pytest.raises((OutOfMemory, ShapeError)):
        draw(mine, centers, np.array([2, 1 << 50]))
    assert (mine == 1).all()


@pytest.mark.parametrize("backend", backends())
def test_masks_in_any_box(backend):
    paste = sparsec.jit(mask_paste, static_argnames=("threshold",), backend=backend)
    masks = np.random.default_rng(0).uniform(0, 1, (3, 4, 4)).astype(np.float32)

    def compare(boxes):
        boxes = np.array(boxes, np.int64).reshape(-1, 4)
        mine, numpys = np.zeros((10, 12), bool), np.zeros((10, 12), bool)
        paste(mine, boxes, masks[: len(boxes)].copy())
        mask_paste(numpys, boxes, masks[: len(boxes)].copy())
        assert np.array_equal(mine, numpys)

    compare([(0, 0, 12, 10), (-5, -5, 3, 4), (3, 3, 4, 4)])
    compare([(12, 0, 20, 5), (3, 3, 3, 9), (5, 5, 2, 2)])  # nothing is left of any
    compare([])
