"""Long programs: what the passes do about each statement does not grow with how many there are."""

import random

import numpy as np
import pytest

import sparsec
from benchmarks.compile_time import KINDS, exponent, program
from sparsec.passes.groups import _MOST_GROUPS, Grouping
from sparsec.passes.plan_memory import ALIGN, _assign_offsets, _Block


@pytest.mark.parametrize("kind", list(KINDS))
def test_generated_programs_compute_what_numpy_does(kind):
    function = program(kind, 12)
    mine, theirs = np.linspace(0.0, 1.0, 256), np.linspace(0.0, 1.0, 256)
    got, want = sparsec.jit(function)(mine), function(theirs)
    np.testing.assert_allclose(mine, theirs, rtol=1e-13)
    if want is not None:
        np.testing.assert_allclose(got, want, rtol=1e-13)


def test_an_op_asks_few_groups(monkeypatch):
    asked = []
    refusal = Grouping._refusal
    monkeypatch.setattr(Grouping, "_refusal", lambda self, group, op: asked.append(op) or refusal(self, group, op))
    n = 300
    sparsec.jit(program("reductions", n)).trace(np.ones(256)).compilation.planned
    ops = 2 * n + n  # a product and a sum each, and the additions of the sums
    assert n < len(asked) < ops * _MOST_GROUPS


def best_fit(blocks):
    """The same rule, written down plainly."""
    placed = []
    for block in sorted(blocks, key=lambda b: (-b.nbytes, b.first, b.storages[0])):
        alive = sorted((b.offset, b.nbytes) for b in placed if b.first <= block.last and b.last >= block.first)
        gaps, end = [], 0
        for offset, nbytes in alive:
            if offset - end >= block.nbytes:
                gaps.append((offset - end, end))
            end = max(end, -(-(offset + nbytes) // ALIGN) * ALIGN)
        block.offset = min(gaps, key=lambda gap: gap[0])[1] if gaps else end
        placed.append(block)
    return [b.offset for b in blocks]


def random_blocks(seed):
    rng = random.Random(seed)
    firsts = [rng.randrange(40) for _ in range(rng.randrange(60))]
    return [_Block([f"s{k}"], "arena", rng.choice([1, 8, 64, 100, 640, 4096]), first, first + rng.randrange(12))
            for k, first in enumerate(firsts)]


def test_places_are_those_of_the_plain_rule():
    for seed in range(200):
        blocks = random_blocks(seed)
        _assign_offsets(blocks)
        assert [b.offset for b in blocks] == best_fit(random_blocks(seed)), seed


def test_no_two_blocks_that_are_alive_together_overlap():
    for seed in range(200):
        blocks = random_blocks(seed)
        _assign_offsets(blocks)
        for k, a in enumerate(blocks):
            for b in blocks[:k]:
                apart = a.offset + a.nbytes <= b.offset or b.offset + b.nbytes <= a.offset
                assert apart or a.last < b.first or b.last < a.first, seed
                assert a.offset % ALIGN == 0


def test_the_exponent_of_growth():
    assert exponent((10, 2.0), (100, 20.0)) == pytest.approx(1.0)
    assert exponent((10, 2.0), (100, 200.0)) == pytest.approx(2.0)
