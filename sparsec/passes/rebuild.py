"""Helpers of the graph passes: replacing values in ops, and rebuilding op lists with their regions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

from sparsec.ir.builder import infer_types
from sparsec.ir.graph import Func, Op, Region, Value, walk
from sparsec.ir.ops.record import Kind, record


def all_names(func: Func) -> set[str]:
    """Every value name of a function."""
    names = {v.name for v in func.params}
    for op in walk(func.ops):
        names.update(r.name for r in op.results)
        names.update(p.name for region in op.regions for p in region.params)
    return names


def swap(values: tuple[Value, ...], mapping: Mapping[str, Value]) -> tuple[Value, ...]:
    """The values, those that `mapping` names replaced."""
    if not any(v.name in mapping for v in values):
        return values
    return tuple(mapping.get(v.name, v) for v in values)


def rename_op(op: Op, mapping: Mapping[str, Value]) -> Op:
    """The op with operands replaced, in its regions too."""
    return replace(op, operands=swap(op.operands, mapping),
                   regions=tuple(rename_region(r, mapping) for r in op.regions))


def rename_region(region: Region, mapping: Mapping[str, Value]) -> Region:
    """The region with captured values replaced."""
    return replace(region, ops=tuple(rename_op(op, mapping) for op in region.ops),
                   yields=swap(region.yields, mapping))


def with_regions(op: Op, change: Callable[[Region], Region]) -> Op:
    """The op with its regions changed; the same op where it has none."""
    return replace(op, regions=tuple(map(change, op.regions))) if op.regions else op


def retyped(op: Op, operands: tuple[Value, ...]) -> Op:
    """The op on other operands. Views and versions follow them to another storage."""
    if operands is op.operands:
        return op
    rec = record(op.name)
    if operands == op.operands or rec.kind not in (Kind.VIEW, Kind.UPDATE):
        return replace(op, operands=operands)
    types = infer_types(rec, operands, dict(op.attrs))
    return replace(op, operands=operands, results=tuple(Value(r.name, t) for r, t in zip(op.results, types)))


def view_op(result: Value, base: Value, like: Op) -> Op:
    """`result` as one view of `base`, by absolute offset and strides."""
    ref = result.ref
    attrs = {"offset": ref.offset, "shape": result.type.shape, "strides": ref.strides}
    return Op("view", (base,), (result,), attrs, (), like.loc)
