"""Which loops a kernel needs: the axes of its domain, with neighbours merged where all views allow it.

A domain (4, 6) whose views are all contiguous is one loop over 24. Axes of length 1 need no loop.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sparsec.ir.dims import Dim
from sparsec.ir.loops import Expr
from sparsec.ir.scalar import index


@dataclass(frozen=True, slots=True)
class Loop:
    """One loop over neighbouring axes of the domain: its counter moves along the innermost of them."""

    size: Dim
    axes: tuple[int, ...]


def merged_loops(
    shape: Sequence[Dim], axes: Sequence[int], strides: Sequence[Sequence[Dim]], *, merge: bool = True
) -> tuple[Loop, ...]:
    """Loops over `axes`, outermost first. strides: of each view, one stride for every axis of the domain."""
    loops: list[Loop] = []
    for axis in axes:
        if shape[axis] == 1:
            continue
        if merge and loops and _mergeable(loops[-1].axes[-1], axis, shape, strides):
            last = loops.pop()
            loops.append(Loop(last.size * shape[axis], (*last.axes, axis)))
        else:
            loops.append(Loop(shape[axis], (axis,)))
    return tuple(loops)


def _mergeable(outer: int, inner: int, shape: Sequence[Dim], strides: Sequence[Sequence[Dim]]) -> bool:
    return all(s[outer] == s[inner] * shape[inner] for s in strides)


def axis_positions(rank: int, loops: Sequence[Loop], counters: Sequence[Expr]) -> list[Expr]:
    """An index for every axis of the domain that gives each merged view its right address."""
    positions: list[Expr] = [index(0)] * rank
    for loop, counter in zip(loops, counters, strict=True):
        positions[loop.axes[-1]] = counter
    return positions
