"""Pictures of a report: the graph as DOT or as SVG, and memory as rectangles of time and place.

The graph is drawn in layers: an op lies below everything that it uses.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from html import escape

from sparsec.ir import dot
from sparsec.ir.dot import Node, Picture
from sparsec.ir.graph import Func, Op
from sparsec.report.model import Explanation, StorageReport

__all__ = ["HEADS", "box", "colour", "curve", "graph_svg", "layers_of", "memory_svg", "svg", "to_dot"]

#: Of kernels, in turn: light enough for black text.
_COLOURS = ("#cfe3f7", "#fde2b8", "#d5edc8", "#f6d0d8", "#e1d5f2", "#cdeeea", "#f2e6a9", "#e3d6c8")

_MOST_NODES = 300
_WIDTH, _HEIGHT, _GAP_X, _GAP_Y, _LETTER = 210, 38, 16, 34, 6.3


def colour(kernel: int) -> str:
    """The colour of a kernel's number."""
    return _COLOURS[kernel % len(_COLOURS)]


def to_dot(found: Explanation) -> str:
    """The traced function as DOT text, its ops in the colours of their kernels."""
    return dot.to_dot(_func(found), lambda op: _fill(found, op))


def _func(found: Explanation) -> Func:
    assert found.func is not None, "a report that was built by `explain` has its function"
    return found.func


def _fill(found: Explanation, op: Op) -> str:
    numbers = [found.kernel_of[r.name] for r in op.results if r.name in found.kernel_of]
    return colour(numbers[0]) if numbers else ""


# --- the graph ---------------------------------------------------------------------------------------------


def graph_svg(found: Explanation) -> str:
    """The traced function; a sentence instead where it is too large to look at."""
    shown = dot.picture(_func(found))
    if len(shown.nodes) > _MOST_NODES:
        return f"<p>{len(shown.nodes)} nodes: too many to draw here; use --dot and Graphviz.</p>"
    at, size = _layout(shown)
    body = [*_arrows(shown, at), *(part for node in shown.nodes for part in _node(node, at[node.name], found))]
    return svg(*size, [HEADS, *body])


HEADS = (
    '<defs><marker id="head" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto">'
    '<path d="M0,0 L8,4 L0,8 z" fill="context-stroke"/></marker></defs>'
)


def _layout(shown: Picture) -> tuple[dict[str, tuple[float, float]], tuple[float, float]]:
    """The upper left corner of each node, and the size of the whole."""
    arrows = [(a.source, a.target) for a in shown.arrows if not a.colour]
    return layers_of([node.name for node in shown.nodes], arrows)


def layers_of(
    names: Sequence[str], arrows: Sequence[tuple[str, str]]
) -> tuple[dict[str, tuple[float, float]], tuple[float, float]]:
    """The upper left corner of each node, each below all that point to it, and the size of the whole."""
    import networkx

    graph = networkx.DiGraph()
    graph.add_nodes_from(names)
    graph.add_edges_from(arrows)
    order = {name: n for n, name in enumerate(names)}
    layers = [sorted(layer, key=order.__getitem__) for layer in networkx.topological_generations(graph)]
    widest = max(map(len, layers), default=1)
    across = widest * (_WIDTH + _GAP_X) + _GAP_X
    at: dict[str, tuple[float, float]] = {}
    for row, layer in enumerate(layers):
        left = (across - len(layer) * (_WIDTH + _GAP_X) + _GAP_X) / 2
        for column, name in enumerate(layer):
            at[name] = left + column * (_WIDTH + _GAP_X), _GAP_Y / 2 + row * (_HEIGHT + _GAP_Y)
    return at, (across, len(layers) * (_HEIGHT + _GAP_Y))


def _node(node: Node, corner: tuple[float, float], found: Explanation) -> Iterator[str]:
    fill = _fill(found, node.op) if node.op is not None else ""
    dash = ' stroke-dasharray="3 3"' if node.style == "dotted" else ""
    rounding = _HEIGHT / 2 if node.op is None else 4
    width = 2 if node.style == "bold" else 1
    yield from box(corner, node.label, _where(node), fill, f' stroke-width="{width}"{dash}', rounding)


def box(
    corner: tuple[float, float], label: str, more: str, fill: str, border: str = "", rounding: float = 4
) -> Iterator[str]:
    """A box with the first two lines of its label; the tip has all of it and more."""
    x, y = corner
    yield (f'<g><title>{escape(label + more)}</title><rect x="{x:.0f}" y="{y:.0f}" width="{_WIDTH}" '
           f'height="{_HEIGHT}" rx="{rounding:.0f}" fill="{fill or "#ffffff"}" stroke="#555"{border}/>')
    lines = label.split("\n")[:2]
    for row, line in enumerate(lines):
        middle = y + _HEIGHT / 2 + 4 + (row - (len(lines) - 1) / 2) * 14
        yield f'<text x="{x + _WIDTH / 2:.0f}" y="{middle:.0f}" text-anchor="middle">{escape(_cut(line))}</text>'
    yield "</g>"


def _cut(text: str) -> str:
    most = int(_WIDTH / _LETTER) - 2
    return text if len(text) <= most else text[: most - 1] + "…"


def _where(node: Node) -> str:
    loc = node.op.loc if node.op is not None else None
    return f"\nline {loc.line}" if loc is not None else ""


def _arrows(shown: Picture, at: Mapping[str, tuple[float, float]]) -> Iterator[str]:
    for arrow in shown.arrows:
        dash = {"dotted": ' stroke-dasharray="2 3"', "dashed": ' stroke-dasharray="6 3"'}.get(arrow.style, "")
        yield curve(at[arrow.source], at[arrow.target], arrow.colour or "#777", dash, arrow.label)


def curve(source: tuple[float, float], target: tuple[float, float], stroke: str, dash: str, label: str) -> str:
    """An arrow from the bottom of one box to the top of another."""
    (x1, y1), (x2, y2) = source, target
    start, end = (x1 + _WIDTH / 2, y1 + _HEIGHT), (x2 + _WIDTH / 2, y2)
    bend = max(20.0, (end[1] - start[1]) / 2)
    path = (f"M{start[0]:.0f},{start[1]:.0f} C{start[0]:.0f},{start[1] + bend:.0f} "
            f"{end[0]:.0f},{end[1] - bend:.0f} {end[0]:.0f},{end[1]:.0f}")
    return (f'<path d="{path}" fill="none" stroke="{stroke}"{dash} marker-end="url(#head)">'
            f"<title>{escape(label)}</title></path>")


# --- memory ------------------------------------------------------------------------------------------------


def memory_svg(found: Explanation) -> str:
    """The arena: each temporary a rectangle, from its first step to its last and over the bytes it takes."""
    blocks = [s for s in found.storages if s.space == "arena" and s.nbytes]
    if not blocks:
        return "<p>No temporaries.</p>"
    width, height, left = 760.0, 260.0, 90.0
    steps = max(s.last for s in blocks) + 1
    total = max(s.offset + (s.nbytes or 0) for s in blocks)
    body = [f'<text x="{left - 6:.0f}" y="{height:.0f}" text-anchor="end">0</text>',
            f'<text x="{left - 6:.0f}" y="14" text-anchor="end">{total:,} B</text>',
            f'<text x="{left:.0f}" y="{height + 18:.0f}">step 0</text>',
            f'<text x="{left + width:.0f}" y="{height + 18:.0f}" text-anchor="end">step {steps}</text>',
            f'<rect x="{left:.0f}" y="0" width="{width:.0f}" height="{height:.0f}" fill="none" stroke="#bbb"/>']
    for number, block in enumerate(blocks):
        body += _block(block, colour(number), left, width / steps, height, height / total)
    return svg(left + width + 10, height + 28, body)


def _block(
    block: StorageReport, fill: str, left: float, step: float, height: float, byte: float
) -> Sequence[str]:
    nbytes = block.nbytes or 0
    x, w = left + block.first * step, (block.last - block.first + 1) * step
    h = max(nbytes * byte, 1.0)
    y = height - block.offset * byte - h
    tip = f"{block.label}: {nbytes:,} bytes at {block.offset:,}, steps {block.first} to {block.last}"
    label = f'<text x="{x + 4:.1f}" y="{y + 14:.1f}">{escape(block.label)}</text>' if h > 16 and w > 60 else ""
    return [f'<g><title>{escape(tip)}</title><rect x="{x:.1f}" y="{y:.1f}" width="{w:.1f}" height="{h:.1f}" '
            f'fill="{fill}" stroke="#555"/>{label}</g>']


def svg(width: float, height: float, body: Sequence[str]) -> str:
    """A picture of that size."""
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="ui-monospace, monospace" font-size="11">'
            f"{''.join(body)}</svg>")
