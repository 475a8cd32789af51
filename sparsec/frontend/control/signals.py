"""Jumps as values: what a branch or a loop body returns to the statement around it.

`None` goes on; `BREAK`, `CONTINUE` and a `Return` are certain; a `Pending` depends on traced values.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from sparsec.frontend.control.choices import Choice
from sparsec.frontend.control.merge import is_array, is_scalar, join, kind_of, same
from sparsec.frontend.control.refuse import CannotStage
from sparsec.frontend.tree import Tree, flatten, unflatten
from sparsec.ir.dims import symbols

GO_ON, BROKE, CONTINUED, RETURNED = 0, 1, 2, 3


@dataclass(frozen=True)
class Jump:
    """`break` or `continue`, taken for certain."""

    code: int


BREAK, CONTINUE = Jump(BROKE), Jump(CONTINUED)


@dataclass(frozen=True)
class Return:
    """`return value`, taken for certain."""

    value: Any


@dataclass(frozen=True)
class Pending:
    """A jump decided at run time. `code` is a traced integer, one of `codes`; `value` is what a return gives."""

    code: Any
    codes: frozenset[int]
    value: Any = None


Signal = None | Jump | Return | Pending


def codes_of(signal: Signal) -> frozenset[int]:
    """The codes that a signal may have."""
    if signal is None:
        return frozenset([GO_ON])
    if isinstance(signal, Pending):
        return signal.codes
    return frozenset([RETURNED if isinstance(signal, Return) else signal.code])


def code_of(signal: Signal) -> Any:
    """The code: an int, or a traced integer."""
    if isinstance(signal, Pending):
        return signal.code
    (code,) = codes_of(signal)
    return code


def returns(signal: Signal) -> bool:
    """Whether a signal may be a `return`."""
    return RETURNED in codes_of(signal)


@dataclass(frozen=True)
class ReturnShape:
    """The structure of a returned value that several paths share: traced leaves have a kind, others a constant."""

    tree: Tree
    kinds: tuple[Any, ...]  # a Kind, None, or what `by_reference` gave
    constants: tuple[Any, ...]

    def build(self, leaves: Sequence[Any]) -> Any:
        """The value with its traced leaves filled in."""
        traced = iter(leaves)
        items = iter([c if k is None else next(traced) for k, c in zip(self.kinds, self.constants)])
        return unflatten(self.tree, lambda: next(items))

    @property
    def traced(self) -> tuple[Any, ...]:
        return tuple(k for k in self.kinds if k is not None)


def return_shape(
    values: Sequence[Any], by_reference: Callable[[Sequence[Any]], Any] = lambda column: None
) -> ReturnShape:
    """The common shape of the values that the paths return. Raises CannotStage where there is none.

    by_reference: what stands for arrays (one of each path) that others can see, if anything does.
    """
    flat: list[list[Any]] = []
    trees = []
    for value in values:
        leaves: list[Any] = []
        trees.append(flatten(value, leaves))
        flat.append(leaves)
    if any(t != trees[0] for t in trees):
        raise CannotStage("the paths return values of different structure")
    kinds = [_common_kind(f"return value {n}", column, by_reference) for n, column in enumerate(zip(*flat))]
    return ReturnShape(trees[0], tuple(kinds), tuple(flat[0]))


def _common_kind(what: str, column: Sequence[Any], by_reference: Callable[[Sequence[Any]], Any]) -> Any:
    """What a leaf is on all paths, each of which returns one of `column`; None where it is the same object."""
    first, *others = column
    plain = not (is_scalar(first) or is_array(first))
    if (plain or _stands_outside(first)) and all(same(first, other) for other in others):
        return None
    if all(map(is_array, column)) and (found := by_reference(column)) is not None:
        return found
    if not all(is_scalar(x) or is_array(x) for x in column):
        raise CannotStage("the paths return different Python objects")
    if any(is_array(x) and isinstance(x.storage, Choice) for x in column):
        raise CannotStage("it returns one of several arrays, as run-time values decide", hint="return a copy")
    if any(is_array(x) and x.storage.param >= 0 for x in column):
        raise CannotStage("one path gives an argument itself (or a view of it), another something else",
                          hint="give copies (`.copy()`) on both paths, or use np.where")
    kind = kind_of(first)
    for other in others:
        kind = join(what, kind, kind_of(other))
    return kind


def _stands_outside(x: Any) -> bool:
    """Whether a value is an argument, or a view of one that depends on nothing but it."""
    if not is_array(x) or x.storage.param < 0:
        return False
    ref = x.type.ref
    return ref is None or not any(symbols(d) for d in (ref.offset, *ref.strides, *x.type.shape))


def leaves_of(value: Any, shape: ReturnShape) -> list[Any]:
    """The leaves of a returned value that are traced."""
    leaves: list[Any] = []
    flatten(value, leaves)
    return [leaf for leaf, kind in zip(leaves, shape.kinds) if kind is not None]
