"""Tracing into regions: branches and loop bodies as ops, with storages and variables as their arguments."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any

from sparsec.frontend.locate import user_loc
from sparsec.frontend.trace import Storage, Trace
from sparsec.ir.graph import Op, Region, Value
from sparsec.ir.ops.control import control_op


@dataclass
class Block:
    """A region under construction: it can be left and entered again, each time with its own versions."""

    trace: Trace
    params: list[Value] = field(default_factory=list)
    ops: list[Op] = field(default_factory=list)
    number: int = -1
    versions: dict[Storage, Value] = field(default_factory=dict)

    @contextmanager
    def open(self) -> Iterator[Block]:
        """Ops built inside belong to this block; the versions that it has made so far are the newest."""
        if self.versions:
            self.trace.restore(self.versions)
        with self.trace.region(self.ops, self.number) as number:
            self.number = number
            yield self
            self.versions = self.trace.versions()

    def param(self, value: Value) -> Value:
        """A block argument of the type of `value`."""
        made = Value(self.trace.builder.names.fresh("b"), value.type)
        self.params.append(made)
        self.trace.home[made.name] = self.number
        return made

    def changed(self, outer: Mapping[Storage, Value]) -> list[Storage]:
        """Storages from outside of which this block made a new version."""
        return [s for s, v in outer.items() if self.versions.get(s, v) is not v]

    def finish(self, yields: Sequence[Value], renamed: Mapping[str, Value]) -> Region:
        """The finished region, with outer versions replaced by its own arguments."""
        ops = tuple(rename(op, renamed) for op in self.ops)
        return Region(tuple(self.params), ops, tuple(renamed.get(v.name, v) for v in yields))


def rename(op: Op, renamed: Mapping[str, Value]) -> Op:
    """`op` with operands replaced, in its regions too."""
    if not renamed:
        return op
    regions = tuple(
        Region(
            r.params,
            tuple(rename(o, renamed) for o in r.ops),
            tuple(renamed.get(v.name, v) for v in r.yields),
        )
        for r in op.regions
    )
    return replace(op, operands=tuple(renamed.get(v.name, v) for v in op.operands), regions=regions)


def version_params(
    block: Block, storages: Iterable[Storage], outer: Mapping[Storage, Value]
) -> dict[str, Value]:
    """A block argument for each storage that the loop writes; outer version's name -> that argument."""
    renamed = {}
    for storage in storages:
        version = outer[storage]
        typed = Value(version.name, version.type.with_ref(version.ref))
        renamed[version.name] = block.param(typed)
    return renamed


def emit_control(
    trace: Trace, name: str, operands: Sequence[Value], regions: Sequence[Region]
) -> tuple[Value, ...]:
    """Appends a control op; its results have the types that its regions give them."""
    results = (
        len(operands) - 3 if name == "for" else len(operands) if name == "while" else len(regions[0].yields)
    )
    names = [trace.builder.names.fresh() for _ in range(results)]
    return trace.emit(control_op(name, operands, regions, names, user_loc()))


def run_block(trace: Trace, outer: Mapping[Storage, Value], thunk: Callable[[], Any]) -> tuple[Block, Any]:
    """Traces `thunk` into a new block, beginning with the outer versions."""
    trace.restore(dict(outer))
    block = Block(trace)
    with block.open():
        result = thunk()
    return block, result
