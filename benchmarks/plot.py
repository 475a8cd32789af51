"""Plots as SVG text, without any library: dots on a logarithmic scale, and lines."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

__all__ = ["dots", "lines"]

_COLOURS = ("#1f5fa8", "#d1495b", "#2e8b57", "#b8860b", "#6a4c93", "#777777")


def _text(x: float, y: float, words: str, anchor: str = "start", size: int = 12) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}">{escape(words)}</text>'


def _page(width: float, height: float, parts: Sequence[str]) -> str:
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
            f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="sans-serif" fill="#222">'
            f'<rect width="100%" height="100%" fill="#ffffff"/>\n' + "\n".join(parts) + "\n</svg>\n")


def _legend(names: Sequence[str], x: float, y: float) -> list[str]:
    out = []
    for k, name in enumerate(names):
        out.append(f'<circle cx="{x:.1f}" cy="{y - 4:.1f}" r="5" fill="{_COLOURS[k % len(_COLOURS)]}"/>')
        out.append(_text(x + 10, y, name))
        x += 26 + 7.2 * len(name)
    return out


def dots(title: str, rows: Mapping[str, Mapping[str, float]], series: Sequence[str], unit: str = "x") -> str:
    """A line for each row, a dot on it for each series that has a value, on a logarithmic scale."""
    values = [v for row in rows.values() for v in row.values() if v > 0]
    low = math.floor(math.log10(min(values, default=1)))
    high = max(math.ceil(math.log10(max(values, default=1))), low + 1)
    left, width, step, top = 150.0, 560.0, 22.0, 64.0
    bottom = top + step * len(rows)

    def at(value: float) -> float:
        return left + (math.log10(value) - low) / (high - low) * width

    parts = [_text(12, 22, title, size=15), *_legend(series, 16, 44)]
    for power in range(low, high + 1):
        x = at(10.0**power)
        parts.append(f'<line x1="{x:.1f}" y1="{top - 8:.1f}" x2="{x:.1f}" y2="{bottom:.1f}" stroke="#ddd"/>')
        parts.append(_text(x, bottom + 16, f"{10.0**power:g}{unit}", "middle"))
    for k, (name, row) in enumerate(rows.items()):
        y = top + step * k + step / 2
        parts.append(_text(left - 8, y + 4, name, "end"))
        parts.append(f'<line x1="{left:.1f}" y1="{y:.1f}" x2="{left + width:.1f}" y2="{y:.1f}" stroke="#eee"/>')
        for n, one in enumerate(series):
            if row.get(one, 0) > 0:
                colour = _COLOURS[n % len(_COLOURS)]
                parts.append(f'<circle cx="{at(row[one]):.1f}" cy="{y:.1f}" r="5" fill="{colour}">'
                             f"<title>{escape(one)}: {row[one]:.3g}{unit}</title></circle>")
    return _page(left + width + 40, bottom + 30, parts)


def lines(title: str, series: Mapping[str, Sequence[tuple[float, float]]], x_name: str, y_name: str) -> str:
    """A line through the points of each series, both axes from 0."""
    points = [p for line in series.values() for p in line]
    right = max((x for x, _ in points), default=1.0) or 1.0
    high = max((y for _, y in points), default=1.0) or 1.0
    left, top, width, height = 70.0, 64.0, 560.0, 300.0

    def at(x: float, y: float) -> tuple[float, float]:
        return left + x / right * width, top + height - y / high * height

    parts = [_text(12, 22, title, size=15), *_legend(list(series), 16, 44)]
    for k in range(6):
        x, y = at(right * k / 5, high * k / 5)
        parts.append(f'<line x1="{left}" y1="{y:.1f}" x2="{left + width}" y2="{y:.1f}" stroke="#ddd"/>')
        parts += [_text(left - 8, y + 4, f"{high * k / 5:.3g}", "end"),
                  _text(x, top + height + 18, f"{right * k / 5:.3g}", "middle")]
    parts += [_text(left + width / 2, top + height + 38, x_name, "middle"), _text(12, top - 6, y_name)]
    for n, line in enumerate(series.values()):
        colour = _COLOURS[n % len(_COLOURS)]
        where = [at(x, y) for x, y in sorted(line)]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in where)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>' for x, y in where]
    return _page(left + width + 30, top + height + 50, parts)
