"""The channel flow of a function: which value has which index, and where one is made whole, as rows and as a picture.

Rows are what the pass `propagate` noted, in program order. In the picture a chain of ops on the same channels is one
box; boxes of one index have one colour, what is made whole is red.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sparsec.ir.dims import Dim, upper_bound
from sparsec.ir.graph import Func, Op, Value
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.remarks import Remark, Topic
from sparsec.ir.text import type_to_text
from sparsec.report.model import ChannelReport, Explanation
from sparsec.report.picture import HEADS, box, colour, curve, layers_of, svg

__all__ = ["channel_flow", "channels_svg"]

_RED = "#f4b6b0"


def channel_flow(func: Func, remarks: Sequence[Remark]) -> tuple[ChannelReport, ...]:
    """The rows, from the remarks of the pass. Arguments that are needed stand first."""
    noted = [r for r in remarks if r.topic is Topic.CHANNELS and r.op is not None]
    reasons = {r.value: r.text for r in noted if r.text}
    ops = list({r.value: r.op for r in noted if r.op is not None}.values())
    known = {v.name for op in ops for v in op.results} | {p.name for p in func.params}
    rows = [_row(op, known, reasons.get(op.results[0].name, "")) for op in ops]
    used = {name for row in rows for name in row.parents}
    given = [_argument(p) for p in func.params if p.name in used and p.type.rank]
    return (*given, *rows)


def _row(op: Op, known: set[str], whole: str) -> ChannelReport:
    value = op.results[0]
    operands = (*op.operands, *(v for region in op.regions for v in region.yields))
    parents = tuple(dict.fromkeys(v.name for v in operands if v.name in known))
    place = (op.loc.file, op.loc.line) if op.loc is not None else ("", 0)
    channels = "" if whole else _channels(value)
    return ChannelReport(value.name, op.name, *place, channels, _index(op, value), parents, whole)


def _argument(value: Value) -> ChannelReport:
    return ChannelReport(value.name, "argument", "", 0, type_to_text(value.type), "", ())


def _channels(value: Value) -> str:
    if value.type.channels is not None:
        channels = value.type.channels
        return f"{_bound(value.type.shape[channels.axis])} of {channels.full} @{channels.index.removeprefix('%')}"
    return _bound(value.type.shape[0]) if value.type.rank else "a number of channels"


def _bound(size: Dim) -> str:
    if isinstance(size, int):
        return str(size)
    most = upper_bound(size)
    return f"at most {most}" if most is not None else "as many as the call says"


def _index(op: Op, value: Value) -> str:
    if value.type.channels is not None:
        return value.type.channels.index.removeprefix("%")
    return value.name if record(op.name).kind is Kind.INDEX and value.type.rank else ""


# --- the picture ---------------------------------------------------------------------------------------------


def channels_svg(found: Explanation) -> str:
    """The channel flow as a picture; one that says so where there is none."""
    if not found.channels:
        return svg(300, 30, ['<text x="10" y="20">no channels</text>'])
    chains = _chains(found.channels)
    chain_of = {row.name: n for n, rows in enumerate(chains) for row in rows}
    arrows = sorted({
        (chain_of[parent], n) for n, rows in enumerate(chains) for row in rows for parent in row.parents
        if parent in chain_of and chain_of[parent] != n
    })
    names = [str(n) for n in range(len(chains))]
    at, size = layers_of(names, [(str(a), str(b)) for a, b in arrows])
    colours = {index: colour(n) for n, index in enumerate(dict.fromkeys(r.index for r in found.channels if r.index))}
    body = [curve(at[str(a)], at[str(b)], "#777", "", "") for a, b in arrows]
    for name, rows in zip(names, chains, strict=True):
        body += _box(rows, at[name], colours)
    return svg(*size, [HEADS, *body])


def _chains(rows: Sequence[ChannelReport]) -> list[list[ChannelReport]]:
    """Rows on the same channels, each made of the one before alone, are one box."""
    chains: list[list[ChannelReport]] = []
    last: dict[str, list[ChannelReport]] = {}  # a value that ends a chain -> the chain
    by_name = {row.name: row for row in rows}
    for row in rows:
        alike = [p for p in row.parents if p in last and by_name[p].channels == row.channels and not row.whole]
        if len(alike) == 1 and row.index != row.name and by_name[alike[0]].op != "argument":
            chain = last.pop(alike[0])
        else:
            chain = []
            chains.append(chain)
        chain.append(row)
        last[row.name] = chain
    return chains


def _box(rows: Sequence[ChannelReport], corner: tuple[float, float], colours: dict[str, str]) -> Iterator[str]:
    first = rows[0]
    ops = ", ".join(dict.fromkeys(row.op for row in rows))
    title = first.name if first.op == "argument" else ops
    told = f"whole: {first.whole}" if first.whole else first.channels
    places = "".join(f"\n{row.name} = {row.op}, line {row.line}" for row in rows if row.line)
    fill = _RED if first.whole else colours.get(first.index, "")
    yield from box(corner, f"{title}\n{told}", places, fill)
