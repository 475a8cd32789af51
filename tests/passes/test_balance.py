"""Chains of maxima and minima as trees: the same bits, NaNs and zeros of both signs included."""

import numpy as np
import pytest

import sparsec

SPECIAL = np.array([0x7FA00001, 0xFFA00002, 0x7FC00003, 0xFFC00004, 0x0, 0x80000000, 0x7F800000, 0xFF800000,
                    0x3F800000, 0xBF800000], np.uint32)  # fmt: skip


def chained(*arrays):
    top = np.maximum(arrays[0], arrays[0])
    for array in arrays:
        top = np.maximum(top, array)
    return top


def mixed(*arrays):
    low = arrays[0]
    for array in (*arrays[1:], arrays[2], arrays[2]):
        low = np.minimum(low, array)
    return np.maximum(low, arrays[3])


def in_place(*arrays):
    top = arrays[0].copy()
    for array in arrays[1:]:
        np.maximum(top, array, out=top)
    return top


def overwritten(*arrays):
    top = np.maximum(arrays[0], arrays[1])
    arrays[0][:] = 0.0
    return np.maximum(np.maximum(np.maximum(top, arrays[2]), arrays[3]), arrays[0])


def seen(*arrays):
    one = np.maximum(np.maximum(arrays[0], arrays[1]), arrays[2])
    return np.maximum(np.maximum(one, arrays[3]), arrays[4]), one


def windows(*arrays):
    x = np.concatenate(arrays).reshape(40, 50)
    top = x[:-2, :-2].copy()
    for row in range(3):
        for column in range(3):
            np.maximum(top, x[row : row + 38, column : column + 48], out=top)
    return top


#: The longest way from an operand to the result, in ops.
DEPTHS = {chained: 3, mixed: 4, in_place: 3, overwritten: 4, seen: 4, windows: 4}


@pytest.mark.parametrize("fn", DEPTHS)
def test_bits_and_depth(fn):
    rng = np.random.default_rng(4)
    arrays = [rng.choice(SPECIAL, 400).view(np.float32) for _ in range(5)]
    plain = sparsec.jit(fn, optimise=False)(*(a.copy() for a in arrays))
    jitted = sparsec.jit(fn)
    got = jitted(*(a.copy() for a in arrays))
    for one, other in zip(*(result if isinstance(result, tuple) else (result,) for result in (plain, got))):
        np.testing.assert_array_equal(one.view(np.uint32), other.view(np.uint32))
    assert _depth(jitted.lower(*arrays).compilation.planned.ops) == DEPTHS[fn]


def _depth(ops):
    """Of maxima and minima that need one another."""
    depths = {}
    for fused in ops:
        for op in fused.regions[0].ops if fused.regions else ():
            below = max((depths.get(v.name, 0) for v in op.operands), default=0)
            depth = below + (op.name in ("maximum", "minimum"))
            depths.update((name, depth) for r in op.results for name in (r.name, r.name.removesuffix(".in")))
    return max(depths.values())
