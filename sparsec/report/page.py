"""A report as one HTML page that needs nothing else: no scripts, no other files."""

from __future__ import annotations

from collections.abc import Iterator
from html import escape

from sparsec.report.channels import channels_svg
from sparsec.report.model import Explanation
from sparsec.report.picture import colour, graph_svg, memory_svg
from sparsec.report.text import head_lines, kernel_facts, line_facts, memory_lines, short_path

__all__ = ["to_html"]

_STYLE = """
body { font: 14px/1.45 system-ui, sans-serif; color: #222; background: #fff; margin: 2em auto; max-width: 72em;
       padding: 0 1em; }
h1 { font: 600 18px ui-monospace, monospace; } h2 { font-size: 16px; margin-top: 2em; }
table { border-collapse: collapse; width: 100%; } td { vertical-align: top; padding: 3px 8px; }
tr.line td { border-top: 1px solid #ddd; } td.number { color: #777; text-align: right; }
code, td.code { font-family: ui-monospace, monospace; white-space: pre-wrap; }
ul { margin: 0; padding-left: 1.1em; color: #444; } .kernel { display: inline-block; min-width: 1.3em;
     text-align: center; border: 1px solid #999; border-radius: 4px; margin-right: 3px; font-size: 12px; }
.picture { overflow-x: auto; border: 1px solid #ddd; padding: 6px; }
"""

_LEGEND = (
    "Boxes are ops of the traced function in the colour of their kernel; a thick one writes (the next version of its "
    "storage), a dotted one is a view. Solid arrows are values, dotted ones places; dashed ones order what no value "
    "orders: orange WAR, red WAW, and gray reads of the same elements."
)


def to_html(found: Explanation) -> str:
    """The whole page."""
    title, *rest = head_lines(found)
    return "\n".join((
        "<!doctype html>", '<html lang="en"><head><meta charset="utf-8">', f"<title>{escape(title)}</title>",
        f"<style>{_STYLE}</style></head><body>", f"<h1>{escape(title)}</h1>",
        *(f"<p>{escape(line)}</p>" for line in rest),
        "<h2>Source</h2>", *_source(found), "<h2>Kernels</h2>", *_kernels(found),
        "<h2>Memory</h2>", *(f"<p>{escape(line.strip())}</p>" for line in memory_lines(found) if line.strip()),
        f'<div class="picture">{memory_svg(found)}</div>',
        *_channels(found),
        "<h2>Versions, views and dependencies</h2>",
        f"<p>{_LEGEND}</p>",
        f'<div class="picture">{graph_svg(found)}</div>', "</body></html>", "",
    ))


def _channels(found: Explanation) -> Iterator[str]:
    if found.channels:
        yield f'<h2>Channels</h2><div class="picture">{channels_svg(found)}</div>'


def _source(found: Explanation) -> Iterator[str]:
    yield "<table>"
    file = None
    for line in found.lines:
        if line.file != file:
            file = line.file
            yield f'<tr><td></td><td colspan="2"><b>{escape(short_path(file))}</b></td></tr>'
        chips = "".join(map(_chip, line.kernels))
        facts = "".join(f"<li>{escape(text)}</li>" for text in line_facts(line))
        yield (f'<tr class="line"><td class="number">{line.line}</td><td class="code">{escape(line.text)}</td>'
               f"<td>{chips}<ul>{facts}</ul></td></tr>")
    yield "</table>"


def _kernels(found: Explanation) -> Iterator[str]:
    yield "<table>"
    for kernel in found.kernels:
        facts = "".join(f"<li>{escape(text)}</li>" for text in kernel_facts(kernel))
        lines = ", ".join(str(line) for _, line in kernel.lines)
        yield (f'<tr class="line"><td>{_chip(kernel.number)}</td><td class="code">{escape(kernel.name)}</td>'
               f"<td>lines {lines}<ul>{facts}</ul></td></tr>")
    yield "</table>"


def _chip(kernel: int) -> str:
    return f'<span class="kernel" style="background:{colour(kernel)}">{kernel}</span>'
