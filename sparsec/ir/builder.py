"""Builds ops one at a time: types come from the op's record, names from a counter.

b = Builder()
x = b.param(tensor(F32, 8, 6), "x")
v = b.op("slice", x, start=(0, 1), size=(4, 2), step=(2, 2))
e = b.op("exp", v)
x1 = b.op("update", x, v, e)
func = b.func("f", results=(), writes=(x1,))
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from sparsec.errors import Loc
from sparsec.ir.graph import Attr, Func, Op, Region, Value
from sparsec.ir.ops.record import Kind, OpRecord, record
from sparsec.ir.types import TensorType


class Names:
    """Fresh value names: a stem is used as it is the first time, then with a number."""

    def __init__(self, taken: set[str] | None = None) -> None:
        self._taken = set(taken or ())
        self._next: dict[str, int] = {}

    def __len__(self) -> int:
        """How many names are taken."""
        return len(self._taken)

    def fresh(self, stem: str = "") -> str:
        if stem and stem not in self._taken:
            self._taken.add(stem)
            return stem
        count = self._next.get(stem, 0)
        while f"{stem}{count}" in self._taken:
            count += 1
        self._next[stem] = count + 1
        name = f"{stem}{count}"
        self._taken.add(name)
        return name


class Builder:
    """Collects the ops of one function or region. `loc` is stamped on every op built."""

    def __init__(self, names: Names | None = None) -> None:
        self.names = Names() if names is None else names
        self.params: list[Value] = []
        self.constants: list[str] = []  # storages of parameters that nobody ever writes to
        self.ops: list[Op] = []
        self.loc: Loc | None = None

    def param(self, type: TensorType, name: str = "") -> Value:
        """A parameter: its type may carry a ref into the caller's storage."""
        value = Value(self.names.fresh(name or "p"), type)
        self.params.append(value)
        return value

    def ops_of(
        self, name: str, *operands: Value, result_names: tuple[str, ...] = (), **attrs: Attr
    ) -> tuple[Value, ...]:
        """Appends an op and returns its results. Raises what the record's `infer` raises."""
        rec = record(name)
        full = {**rec.defaults, **attrs}
        types = infer_types(rec, operands, full)
        stems = result_names or ("",) * len(types)
        results = tuple(Value(self.names.fresh(stem), t) for stem, t in zip(stems, types, strict=True))
        self.ops.append(Op(name, operands, results, full, (), self.loc))
        return results

    def op(self, name: str, *operands: Value, **attrs: Attr) -> Value:
        """Appends an op with one result."""
        (value,) = self.ops_of(name, *operands, **attrs)
        return value

    def const(self, value: Any, type: TensorType) -> Value:
        """A literal: one Python number for every element, or a flat tuple of them."""
        result = Value(self.names.fresh("c"), type)
        self.ops.append(
            Op(
                "const",
                (),
                (result,),
                {"value": value, "dtype": type.dtype, "shape": type.shape},
                (),
                self.loc,
            )
        )
        return result

    def region(self, params: tuple[Value, ...], yields: tuple[Value, ...]) -> Region:
        return Region(params, tuple(self.ops), yields)

    def func(self, name: str, results: tuple[Value, ...], writes: tuple[Value, ...] = ()) -> Func:
        return Func(name, tuple(self.params), tuple(self.ops), results, writes, loc=self.loc,
                    constants=tuple(self.constants))


def infer_types(rec: OpRecord, operands: tuple[Value, ...], attrs: dict[str, Attr]) -> tuple[TensorType, ...]:
    """Result types: dtype and shape from `infer`, refs from the view rule or the updated storage."""
    types = tuple(rec.infer([v.type for v in operands], attrs))
    if rec.kind is Kind.VIEW:
        source = operands[0]
        assert rec.view is not None
        ref = rec.view(source.ref, source.type.shape, types[0].shape, attrs)
        if ref is None:
            raise ValueError(f"{rec.name}: the result cannot be a view of {source.type}")
        return (replace(types[0], ref=ref),)
    if rec.kind is Kind.UPDATE:
        # The next version of the first operand's storage: same type, same place.
        version = operands[0]
        return (replace(version.type, ref=version.ref), *types[1:])
    return types
