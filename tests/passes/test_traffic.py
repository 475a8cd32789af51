"""The bytes that kernels are said to move are those that the loop interpreter sees them touch."""

import numpy as np
import pytest

import sparsec
from sparsec.ir import loop_interp
from sparsec.ir.abi import pointer_slots
from sparsec.ir.text import parse
from sparsec.passes.base import run_pipeline
from sparsec.passes.dce import Dce
from sparsec.passes.lower import lower_program
from sparsec.passes.pipeline import DEFAULT, UNOPTIMISED
from sparsec.passes.traffic import kernel_traffic
from tests.passes.programs import random_program


def touched(program, monkeypatch):
    """For each kernel: the bytes it loads before it has stored them, and those it stores, by address."""
    kernels = {}
    now = []

    def address(memory, at, dtype):
        start = memory.data.__array_interface__["data"][0] + at * dtype.itemsize
        return set(range(start, start + dtype.itemsize)) if memory.buffer.space == "global" else set()

    load, store, launch = loop_interp._Memory.load, loop_interp._Memory.store, loop_interp._Machine.launch

    def watched_load(self, at, dtype):
        if now:
            read, written = kernels[now[-1]]
            read |= address(self, at, dtype) - written
        return load(self, at, dtype)

    def watched_store(self, at, value):
        if now:
            kernels[now[-1]][1].update(address(self, at, value.dtype))
        store(self, at, value)

    def watched_launch(self, stmt, frame):
        now.append(stmt.kernel)
        kernels[stmt.kernel] = set(), set()
        launch(self, stmt, frame)
        now.pop()

    with monkeypatch.context() as patch:
        patch.setattr(loop_interp._Memory, "load", watched_load)
        patch.setattr(loop_interp._Memory, "store", watched_store)
        patch.setattr(loop_interp._Machine, "launch", watched_launch)
        pointers = [np.zeros(s.buffer.size * s.buffer.dtype.itemsize, np.uint8) for s in pointer_slots(program)]
        assert loop_interp.run(program, pointers, uninitialised=True)[0] == 0
    return [(len(read), len(written)) for read, written in kernels.values()]


def moved(traffic):
    return [
        (sum(i.nbytes for i in k.items if not i.write), sum(i.nbytes for i in k.items if i.write)) for k in traffic
    ]


#: Every op a kernel of its own, but for those that nobody needs: they have none.
ONE_BY_ONE = (*UNOPTIMISED[:-1], Dce(), *UNOPTIMISED[-1:])


@pytest.mark.parametrize("passes", [DEFAULT, ONE_BY_ONE], ids=["default", "one-by-one"])
def test_kernels_touch_what_is_said(passes, monkeypatch):
    for seed in range(60):
        func, _ = random_program(seed)
        planned = run_pipeline(func, passes)
        traffic = kernel_traffic(planned)
        said = [pair for pair, k in zip(moved(traffic), traffic) if any(pair)]
        seen = [pair for pair in touched(lower_program(planned), monkeypatch) if any(pair)]
        if all(item.exact for k in traffic for item in k.items):
            assert said == seen, f"random_program({seed})"
        else:
            assert all(s >= t for a, b in zip(said, seen) for s, t in zip(a, b)), f"random_program({seed})"


def planned(function, *args, **options):
    return sparsec.jit(function, **options).trace(*args).compilation.planned


def total(func, sizes=None):
    items = [(i, k.turns or 1) for k in kernel_traffic(func, sizes) for i in k.items]
    return sum(i.nbytes * turns for i, turns in items), sum(i.least for i, _ in items)


def test_what_is_read_twice_counts_twice_and_is_needed_once():
    def f(x):
        return x.sum(), (x - x.sum()).sum()

    assert total(planned(f, np.ones(1000))) == (2 * 8000 + 3 * 8, 8000 + 2 * 8)


def test_a_view_that_repeats_elements_moves_them_once():
    def f(x, y):
        return x[:, None] + y[None, :]

    assert total(planned(f, np.ones(100), np.ones(50))) == (800 + 400 + 40000, 800 + 400 + 40000)


def test_windows_that_overlap_move_their_elements_once():
    func = parse("""func @f(%x: f32[10], %w: f32[8,3] @x:(1,1)) {
  %y = neg %w : f32[8,3]
  return %y
}""")
    assert total(run_pipeline(func, DEFAULT)) == (40 + 96, 40 + 96)


def test_writing_an_argument_before_reading_it_needs_no_read():
    def f(x):
        x[:] = 1.0
        return x[::2] * 2

    assert total(planned(f, np.ones(100)))[1] == 800 + 400


def test_loops_multiply_what_moves_but_not_what_is_needed():
    def f(x, y):
        for _ in range(50):
            x += y

    items = [(i, k.turns) for k in kernel_traffic(planned(f, np.ones(1000), np.ones(1000))) for i in k.items]
    arrays = [(i, turns) for i, turns in items if i.storage in ("x", "y")]
    assert sum(i.nbytes * turns for i, turns in arrays) == 50 * 3 * 8000
    assert sum(i.least for i, _ in arrays) == 3 * 8000


def test_sizes_of_the_call_make_symbolic_shapes_exact():
    def f(x):
        return x * 2

    func = planned(f, np.ones(100), dynamic="x")
    (kernel,) = kernel_traffic(func, {s: 100 for p in func.params for d in p.type.shape for s in _names(d)})
    assert [(i.nbytes, i.exact) for i in kernel.items] == [(800, True), (800, True)]


def _names(dim):
    from sparsec.ir.dims import symbols

    return [s.name for s in symbols(dim)]
