"""`dynamic=`: arguments whose sizes are values of the program, so that one compilation serves all of them.

    jit(f, dynamic=("x",))                     all axes of x; a Python int: its value
    jit(f, dynamic={"x": (0,)})                one axis
    jit(f, dynamic={"x": {0: "n"}, "y": {0: "n"}})     the two must agree
    jit(f, dynamic={"x": {0: ("n", 1000)}})    at most 1000: memory is planned from that

A size becomes an i64 parameter of the program, and a dim of the argument's type its symbol. Lengths 0 and 1 stay
exact, because NumPy gives them a meaning of their own (empty reductions, stretching); so do the sizes of arguments
that overlap others. Of an array that is contiguous in neither order, the strides are exact.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

from sparsec.errors import ArgumentError, ShapeError
from sparsec.frontend.spec import ArraySpec
from sparsec.ir.dims import Dim, sym
from sparsec.ir.tensorref import contiguous_strides

#: What `jit(dynamic=)` takes.
Given: TypeAlias = str | Sequence[str] | Mapping[str, Sequence[int] | Mapping[int, str | tuple[str, int]]]

#: Sizes from here on have no meaning of their own.
LEAST = 2


@dataclass(frozen=True, slots=True)
class Axis:
    """What a dynamic axis is called ("": by its place), and its largest size (-1: none is known)."""

    name: str = ""
    upper: int = -1


class Dynamic:
    """The dynamic parameters of a function, by name."""

    def __init__(self, given: Given, parameters: Sequence[str], takes_any: bool) -> None:
        """Raises ArgumentError for what cannot be meant."""
        self._axes: dict[str, dict[int, Axis] | None] = {}
        if isinstance(given, str):
            given = (given,)
        if not isinstance(given, (Mapping, Sequence)):
            raise ArgumentError("dynamic takes names, or a dict from names to axes")
        for name in given:
            if name not in parameters and not takes_any:
                raise ArgumentError(f"dynamic: there is no parameter {name!r}",
                                    hint="parameters: " + ", ".join(parameters))
            self._axes[name] = _axes(name, given[name]) if isinstance(given, Mapping) else None

    def __bool__(self) -> bool:
        return bool(self._axes)

    def takes(self, root: str) -> bool:
        """Whether the Python ints of a parameter are values of the program."""
        return root in self._axes

    def generalise(
        self, specs: Sequence[ArraySpec], leaves: Sequence[tuple[str, str]]
    ) -> tuple[tuple[ArraySpec, ...], dict[str, int]]:
        """The key with symbols for dynamic sizes, and what they are in this call.

        leaves: for each array of the arguments (captured ones follow in `specs`), its parameter and its own name.
        Raises ShapeError where sizes of one name differ or one is too large.
        """
        storages = [spec.storage for spec in specs]
        sizes: dict[str, int] = {}
        made = list(specs)
        for k, (root, leaf) in enumerate(leaves):
            if root not in self._axes:
                continue
            dims = list(specs[k].shape)
            for axis, a in self._of(root, specs[k]).items():
                name = f"%{a.name or f'{leaf}.{axis}'}"
                size = int(specs[k].shape[axis])  # type: ignore[arg-type]
                _check(sizes.setdefault(name, size), size, a, f"axis {axis} of `{leaf}`")
                if size >= LEAST:
                    dims[axis] = sym(name, a.upper, LEAST)
            if storages.count(specs[k].storage) == 1 and 0 not in specs[k].shape:
                made[k] = _symbolic(specs[k], tuple(dims))
        return tuple(made), sizes

    def _of(self, root: str, spec: ArraySpec) -> dict[int, Axis]:
        """The dynamic axes of an array, counted from 0."""
        axes, rank = self._axes[root], len(spec.shape)
        if axes is None:
            return dict.fromkeys(range(rank), Axis())
        if wrong := [axis for axis in axes if not -rank <= axis < rank]:
            raise ShapeError(f"dynamic: `{root}` has {rank} axes, and no axis {wrong[0]}")
        return {axis % rank: a for axis, a in axes.items()}


def _axes(name: str, given: Any) -> dict[int, Axis] | None:
    if isinstance(given, Mapping):
        return {_integer(name, axis): _axis(name, a) for axis, a in given.items()}
    if isinstance(given, Sequence) and not isinstance(given, str):
        return {_integer(name, axis): Axis() for axis in given}
    raise ArgumentError(f"dynamic: the axes of {name!r} are a tuple of ints, or a dict from ints to names",
                        hint='dynamic={"x": {0: "n"}}')


def _axis(name: str, given: Any) -> Axis:
    symbol, upper = given if isinstance(given, tuple) and len(given) == 2 else (given, -1)
    if not isinstance(symbol, str) or not symbol.isidentifier() or not symbol.isascii():
        raise ArgumentError(f"dynamic: {symbol!r} is no name for an axis of {name!r}",
                            hint='dynamic={"x": {0: "n"}}, or {0: ("n", 1000)} with the largest size')
    if upper != -1 and _integer(name, upper) < LEAST:
        raise ArgumentError(f"dynamic: the largest size of {symbol!r} must be at least {LEAST}")
    return Axis(symbol, upper)


def _integer(name: str, given: Any) -> int:
    if isinstance(given, bool) or not isinstance(given, int):
        raise ArgumentError(f"dynamic: {given!r} is no axis or size of {name!r}")
    return given


def _check(first: int, size: int, axis: Axis, where: str) -> None:
    if first != size:
        raise ShapeError(f"the dim {axis.name!r} is {first}, but {size} at {where}")
    if 0 <= axis.upper < size:
        raise ShapeError(f"{where} is {size} long; dynamic= says that {axis.name!r} is at most {axis.upper}")


def _symbolic(spec: ArraySpec, shape: tuple[Dim, ...]) -> ArraySpec:
    """The spec with symbolic dims; strides follow the dims where the array is contiguous."""
    if shape == spec.shape:
        return spec
    strides = spec.strides
    if strides == contiguous_strides(spec.shape):
        strides = contiguous_strides(shape)
    elif strides[::-1] == contiguous_strides(spec.shape[::-1]):
        strides = contiguous_strides(shape[::-1])[::-1]
    offset: Dim = 0
    for dim, stride in zip(shape, strides, strict=True):
        if isinstance(stride, int) and stride < 0:
            offset = offset - stride * (dim - 1)
    return replace(spec, shape=shape, strides=strides, offset=offset)
