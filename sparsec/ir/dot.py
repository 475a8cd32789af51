"""A picture of a function as DOT text: ops and versions as nodes, values and dependency edges as arrows.

Solid arrows are values, dotted ones views; dashed, coloured ones are dependency edges (`deps.py`) that the
values do not show: WAR, WAW and the RAR hints.
"""

from __future__ import annotations

from collections.abc import Iterator

from sparsec.ir.deps import Dep, edges
from sparsec.ir.graph import Func, Op, Value, free_values
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.text import type_to_text

_COLOURS = {Dep.WAR: "orange", Dep.WAW: "red", Dep.RAR: "gray"}


def to_dot(func: Func) -> str:
    """DOT text of the function's own ops; an op with regions is one node."""
    lines = [f"digraph {_quote(func.name)} {{", "  rankdir=TB;", "  node [shape=box, fontname=monospace];"]
    lines += [f"  {line}" for line in (*_nodes(func), *_values(func), *_dependencies(func))]
    return "\n".join([*lines, "}", ""])


def _nodes(func: Func) -> Iterator[str]:
    for param in func.params:
        yield f"{_node(param)} [label={_quote(_label(param))}, shape=ellipse];"
    for position, op in enumerate(func.ops):
        style = {Kind.VIEW: "dotted", Kind.UPDATE: "bold"}.get(record(op.name).kind, "solid")
        label = "\n".join([op.name, *map(_label, op.results)])
        line = f", tooltip={_quote(str(op.loc))}" if op.loc is not None else ""
        yield f"op{position} [label={_quote(label)}, style={style}{line}];"
    yield 'end [label="return", shape=ellipse];'


def _values(func: Func) -> Iterator[str]:
    maker = {r.name: f"op{position}" for position, op in enumerate(func.ops) for r in op.results}
    maker.update((p.name, _node(p)) for p in func.params)
    for position, op in enumerate(func.ops):
        for value in free_values(op):
            style = "dotted" if _is_place(op, value) else "solid"
            yield f"{maker[value.name]} -> op{position} [label={_quote(str(value))}, style={style}];"
    for value in func.ends:
        yield f"{maker[value.name]} -> end [label={_quote(str(value))}];"


def _is_place(op: Op, value: Value) -> bool:
    """Whether only the metadata of `value` counts: the operand of a view, the region of an update."""
    rec = record(op.name)
    return rec.kind is Kind.VIEW or (rec.kind is Kind.UPDATE and value == op.operands[1])


def _dependencies(func: Func) -> Iterator[str]:
    for edge in edges(func):
        if edge.kind in _COLOURS:
            look = f"style=dashed, color={_COLOURS[edge.kind]}, constraint=false"
            label = _quote(f"{edge.kind.value} @{edge.storage}")
            yield f"op{edge.source} -> op{edge.target} [label={label}, {look}];"


def _node(value: Value) -> str:
    return _quote(f"value {value.name}")


def _label(value: Value) -> str:
    return f"{value}: {type_to_text(value.type)}"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
