"""The element of every op of a group at one index: what stands in the innermost loop.

    %e = exp %x : f32[4,6]                        let x1 = %x[i * 6 + j]
    %y1 = update %y, %v, %e : f32[4,6] @y    ->   let t2 = exp(x1)
                                                  %y[i * 6 + j] = t2

Every value of an iteration is bound to a name once, and what was just stored is not loaded again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

from sparsec.ir.graph import Op, Value
from sparsec.ir.loops import Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.scalar import S, const
from sparsec.ir.tensorref import TensorRef
from sparsec.passes.accesses import domain
from sparsec.passes.lower_domain import At
from sparsec.passes.lower_kernel import KernelWriter

NOTHING: Mapping[str, Expr] = MappingProxyType({})


def elements_after(
    k: KernelWriter, op: Op, after: Sequence[Op], shown: Mapping[str, Value]
) -> Callable[[Sequence[Expr], Expr], None]:
    """What to do with an element of `op`'s result, at an index: `after` is applied to it. Scalars that all elements
    share are loaded where this is called."""
    if not after:
        return lambda at, value: None
    elements = Elements(k, after, shown)
    elements.bind_scalars()
    return lambda at, value: elements.write_from(op.result, list(at), value)


class Elements:
    """Writes the elements of `ops`, which share a domain. shown: what the values that are visible outside are called
    there."""

    def __init__(self, k: KernelWriter, ops: Sequence[Op], shown: Mapping[str, Value]) -> None:
        self.k, self.ops, self.shown = k, ops, shown
        self.scalars: dict[str, Expr] = {}  # read once, before the loops
        self.env: dict[str, Expr] = {}  # of the iteration being written
        self.loaded: dict[tuple[Any, ...], tuple[TensorRef, Expr]] = {}

    def bind_scalars(self) -> None:
        """Scalars that every iteration reads are loaded once."""
        if domain(self.ops[0]) == ():
            return
        for op in self.ops:
            rec = record(op.name)
            for position, value in enumerate(op.operands):
                walked = rec.kind is Kind.UPDATE and position < 2
                gathered = rec.kind is Kind.MAP and position not in rec.pointwise
                if value.type.shape == () and not walked and not gathered and value.name not in self.scalars:
                    self.scalars[value.name] = self.k.nest.let(self.k.load(value, ()), "s")

    def write(self, at: At, given: Mapping[str, Expr] = NOTHING) -> dict[str, Expr]:
        """Writes all ops at one index; gives what each reduction folds in. given: elements that are known."""
        self.env, self.loaded = dict(given), {}
        folded: dict[str, Expr] = {}
        for op in self.ops:
            self.k.op = op
            rec = record(op.name)
            match rec.kind:
                case Kind.ELEMENTWISE:
                    operands = [self._read(v, at) for v in op.operands]
                    self._define(op, rec.lower(S, *operands, **op.attrs))
                case Kind.MAP:
                    reads = [self._reader(op, position, at) for position in range(len(op.operands))]
                    self._define(op, rec.lower(S, tuple(at), reads, **op.attrs))
                case Kind.REDUCE:
                    folded[op.result.name] = self._read(op.operands[0], at)
                case Kind.UPDATE:
                    self._update(op, at)
                case Kind.CHECK:
                    operands = [self._read(v, at) for v in op.operands]
                    rec.lower(_OnePoint(self.k.nest, operands, at), **op.attrs)
        for name, value in self.env.items():
            if name in self.shown:
                self.k.store(self.shown[name], at, value)
        return folded

    def write_from(self, first: Value, at: At, value: Expr) -> None:
        """Writes all ops at one index, where the element of `first` is known."""
        self.write(at, {first.name: self.k.nest.let(value, "t")})

    def _read(self, value: Value, at: At) -> Expr:
        """The element of an operand at this iteration."""
        for known in (self.env, self.scalars):
            if value.name in known:
                return known[value.name]
        ref = value.ref
        key = (ref.storage, ref.offset, ref.strides, value.type.dtype)
        if key not in self.loaded:
            self.loaded[key] = (ref, self.k.nest.let(self.k.load(value, at), "x"))
        return self.loaded[key][1]

    def _define(self, op: Op, value: Expr) -> None:
        self.env[op.result.name] = self.k.nest.let(value, "t")

    def _reader(self, op: Op, position: int, at: At) -> Callable[..., Expr]:
        """How a map reads an operand: here, or anywhere."""
        value = op.operands[position]
        if position in record(op.name).pointwise:
            return lambda *_: self._read(value, at)

        def read(*index: Expr, given: tuple[Expr, Any] | None = None) -> Expr:
            element = self.k.load(value, index)
            if given is None:
                return self.k.nest.let(element, "x")
            found = self.k.nest.mut(const(given[1], element.dtype), "x")
            with self.k.nest.if_(given[0]):
                self.k.nest.assign(found, element)
            return found

        return read

    def _update(self, op: Op, at: At) -> None:
        _, region, value, *more = op.operands
        operands = [self._read(v, at) for v in (value, *more)]
        new = record(op.name).lower(S, self.k.load(region, at), *operands, **op.attrs)
        element = self.k.nest.let(new, "t")
        self.k.store(region, at, element)
        # What was loaded from the storage may have changed; what was stored is known.
        self.loaded = {k: v for k, v in self.loaded.items() if v[0].storage != region.storage}
        ref = region.ref
        self.loaded[ref.storage, ref.offset, ref.strides, region.type.dtype] = (ref, element)


class _OnePoint:
    """The nest that a check is lowered with: its loops are those that the group has already."""

    def __init__(self, nest: NestBuilder, operands: Sequence[Expr], at: At) -> None:
        self._nest, self._values, self._at = nest, operands, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._nest, name)

    def shape(self, operand: int) -> tuple[Expr, ...]:
        return tuple(self._at)  # only counted

    @contextmanager
    def loops(self, shape: Sequence[Expr], bind: str = "seq") -> Iterator[tuple[Expr, ...]]:
        yield tuple(self._at)

    def read(self, operand: int, *at: Expr) -> Expr:
        return self._values[operand]
