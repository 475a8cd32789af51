"""A picture of a function: ops and versions as nodes, values and dependency edges as arrows; also as DOT text.

Solid arrows are values, dotted ones views; dashed, coloured ones are dependency edges (`deps.py`) that the
values do not show: WAR, WAW and the RAR hints.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from sparsec.ir.deps import Dep, edges
from sparsec.ir.graph import Func, Op, Value, free_values
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.text import type_to_text

__all__ = ["Arrow", "Node", "Picture", "picture", "to_dot"]

_COLOURS = {Dep.WAR: "orange", Dep.WAW: "red", Dep.RAR: "gray"}


@dataclass(frozen=True, slots=True)
class Node:
    """`op` None: a parameter, or the end. `style`: solid, dotted (a view) or bold (a write)."""

    name: str
    label: str
    op: Op | None = None
    style: str = "solid"


@dataclass(frozen=True, slots=True)
class Arrow:
    """`colour` empty: a value; else a dependency."""

    source: str
    target: str
    label: str
    style: str = "solid"
    colour: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """Nodes in program order and arrows between their names."""

    nodes: tuple[Node, ...]
    arrows: tuple[Arrow, ...]


def picture(func: Func) -> Picture:
    """The function's own ops; an op with regions is one node."""
    return Picture(tuple(_nodes(func)), (*_values(func), *_dependencies(func)))


def to_dot(func: Func, fill: Callable[[Op], str] = lambda op: "") -> str:
    """DOT text. fill: the colour of an op's box, empty for none."""
    shown = picture(func)
    lines = [f"digraph {_quote(func.name)} {{", "  rankdir=TB;", "  node [shape=box, fontname=monospace];"]
    lines += [f"  {_node_line(node, fill)}" for node in shown.nodes]
    lines += [f"  {_arrow_line(arrow)}" for arrow in shown.arrows]
    return "\n".join([*lines, "}", ""])


def _node_line(node: Node, fill: Callable[[Op], str]) -> str:
    if node.op is None:
        return f"{_quote(node.name)} [label={_quote(node.label)}, shape=ellipse];"
    colour = fill(node.op)
    style = f'"{node.style},filled", fillcolor={_quote(colour)}' if colour else node.style
    tip = f", tooltip={_quote(str(node.op.loc))}" if node.op.loc is not None else ""
    return f"{_quote(node.name)} [label={_quote(node.label)}, style={style}{tip}];"


def _arrow_line(arrow: Arrow) -> str:
    look = f"style={arrow.style}" + (f", color={arrow.colour}, constraint=false" if arrow.colour else "")
    return f"{_quote(arrow.source)} -> {_quote(arrow.target)} [label={_quote(arrow.label)}, {look}];"


def _nodes(func: Func) -> Iterator[Node]:
    for param in func.params:
        yield Node(_name(param), _label(param))
    for position, op in enumerate(func.ops):
        style = {Kind.VIEW: "dotted", Kind.UPDATE: "bold"}.get(record(op.name).kind, "solid")
        yield Node(f"op{position}", "\n".join([op.name, *map(_label, op.results)]), op, style)
    yield Node("end", "return")


def _values(func: Func) -> Iterator[Arrow]:
    maker = {r.name: f"op{position}" for position, op in enumerate(func.ops) for r in op.results}
    maker.update((p.name, _name(p)) for p in func.params)
    for position, op in enumerate(func.ops):
        for value in free_values(op):
            style = "dotted" if _is_place(op, value) else "solid"
            yield Arrow(maker[value.name], f"op{position}", str(value), style)
    for value in func.ends:
        yield Arrow(maker[value.name], "end", str(value))


def _is_place(op: Op, value: Value) -> bool:
    """Whether only the metadata of `value` counts: the operand of a view, the region of an update."""
    rec = record(op.name)
    return rec.kind is Kind.VIEW or (rec.kind is Kind.UPDATE and value == op.operands[1])


def _dependencies(func: Func) -> Iterator[Arrow]:
    for edge in edges(func):
        if edge.kind in _COLOURS:
            label = f"{edge.kind.value} @{edge.storage}"
            yield Arrow(f"op{edge.source}", f"op{edge.target}", label, "dashed", _COLOURS[edge.kind])


def _name(value: Value) -> str:
    return f"value {value.name}"


def _label(value: Value) -> str:
    return f"{value}: {type_to_text(value.type)}"


def _quote(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'
