"""A small matrix copied turned: rows are loaded as they lie in memory, and turned in registers.

    for i in 0..16 bind(vector) {                      %a = load <4 x float> of row 0, …, of row 15
      let row = cast:i64(%rows[j + i])                 %b = those of rows 0, 4, 8 and 12 as one, …, of 3, 7, 11, 15
      for t in 0..9 {                            ->    %c = shufflevector %b, …
        %tile[t * 16 + i] = %w[row * 4608 + t]         store <16 x float> %c  for column 0, …, 8
    } }

In lanes each column would be gathered element by element, which takes several times as long. Rows may lie anywhere;
the copy goes to private memory, which overlaps none of them. What shuffles do within a quarter of a register is
cheap: four columns are turned at a time, or two of eight bytes. Where they are not a multiple of that, the last ones
are loaded along with some a second time; where there are fewer, they are loaded one by one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from sparsec.codegen.llvm_builder import LlvmBuilder
from sparsec.codegen.llvm_values import memory_type
from sparsec.ir.loop_rewrite import index_step, nodes
from sparsec.ir.loops import Buffer, Const, For, Let, Load, Store, Var
from sparsec.ir.types import DType

__all__ = ["TurnedCopyBuilder"]

#: Bytes within which shuffles are cheap.
_QUARTER = 16


@dataclass(slots=True)
class _Element:
    """Where one element of a copy comes from and goes to. column: the turn of the inner loop that tells."""

    column: int
    inside: bool = False
    source: str = ""
    place: str = ""


class TurnedCopyBuilder(LlvmBuilder):
    """Writes one function; loops that are turned copies become loads of rows, and shuffles."""

    _element: _Element | None = None  # the one that is being looked at

    def loop(self, loop: For, start: str, stop: str, body: Callable[[str], None]) -> None:
        if self._element is not None:
            self._element.inside = True
            body(str(self._element.column))
            return
        shape = self._shape(loop)
        if shape is None:
            super().loop(loop, start, stop, body)
            return
        rows, columns, dtype = shape
        width = max(self._module.target.vector_bytes, _QUARTER) // dtype.itemsize
        for first in range(0, rows, width):
            self._turned(range(first, min(first + width, rows)), columns, dtype, body)

    def load(self, buffer: Buffer, index: str, dtype: DType) -> str:
        if self._element is None or not self._element.inside:
            return super().load(buffer, index, dtype)
        self._element.source = self._address(buffer, index, memory_type(dtype))
        return "poison"

    def store(self, buffer: Buffer, index: str, value: str, dtype: DType) -> None:
        if self._element is None:
            super().store(buffer, index, value, dtype)
        else:
            self._element.place = self._address(buffer, index, memory_type(dtype))

    def is_turned_copy(self, loop: For) -> bool:
        """Whether `loop` writes a loop as rows and shuffles; inside of one that is, every loop is a part of it."""
        return self._element is not None or self._shape(loop) is not None

    def _shape(self, loop: For) -> tuple[int, int, DType] | None:
        """Rows, columns and dtype of a turned copy; None where a loop is none."""
        *lets, inner = loop.body or (None,)
        if loop.bind != "vector" or not isinstance(inner, For) or not all(isinstance(let, Let) for let in lets):
            return None
        rows, columns, store = _turns(loop), _turns(inner), inner.body[0] if len(inner.body) == 1 else None
        if not isinstance(store, Store) or not isinstance(store.value, Load):
            return None
        source, dtype = store.value, store.value.dtype
        named = {let.var.name for let in lets if isinstance(let, Let)}
        plain = not any(isinstance(node, Load) for at in (store.index, source.index) for node in nodes(at))
        fixed = not any(isinstance(node, Var) and node.name in named for node in nodes(store.index))
        along = index_step(store.index, loop.var) == 1 and index_step(source.index, inner.var) == 1
        own = store.buffer in self._private and source.buffer not in (store.buffer, *self.reserved)
        lanes = _QUARTER // dtype.itemsize
        whole = lanes in (2, 4) and columns > 0 and rows >= lanes and not rows & (rows - 1)
        return (rows, columns, dtype) if plain and fixed and along and own and whole and dtype.kind == "f" else None

    def _turned(self, rows: range, columns: int, dtype: DType, body: Callable[[str], None]) -> None:
        """As many rows as a register has lanes, or fewer."""
        kind, lanes = memory_type(dtype), _QUARTER // dtype.itemsize
        places = [self._seen(rows[0], column, body).place for column in range(columns)]
        sources = [self._seen(row, 0, body).source for row in rows]
        groups = range(0, columns, lanes) if columns >= lanes else range(0)
        made: dict[int, str] = {}
        for first in groups:
            begin = min(first, columns - lanes)
            parts = [self._part(source, kind, begin, lanes, dtype) for source in sources]
            made.update(enumerate(self._shuffled(parts, kind, lanes), begin))
        for column, place in enumerate(places):
            whole = made[column] if column in made else self._gathered(sources, kind, column, dtype)
            self.line(f"store <{len(rows)} x {kind}> {whole}, ptr {place}, align {dtype.itemsize}")

    def _seen(self, row: int, column: int, body: Callable[[str], None]) -> _Element:
        self._element = _Element(column)
        body(str(row))
        seen, self._element = self._element, None
        return seen

    def _part(self, source: str, kind: str, first: int, lanes: int, dtype: DType) -> str:
        """Some neighbours of a row."""
        at = self.op(f"getelementptr {kind}, ptr {source}, i64 {first}")
        return self.op(f"load <{lanes} x {kind}>, ptr {at}, align {dtype.itemsize}")

    def _gathered(self, sources: Sequence[str], kind: str, column: int, dtype: DType) -> str:
        """One column, element by element."""
        whole = "poison"
        for lane, source in enumerate(sources):
            at = self.op(f"getelementptr {kind}, ptr {source}, i64 {column}")
            one = self.op(f"load {kind}, ptr {at}, align {dtype.itemsize}")
            whole = self.op(f"insertelement <{len(sources)} x {kind}> {whole}, {kind} {one}, i64 {lane}")
        return whole

    def _shuffled(self, parts: Sequence[str], kind: str, lanes: int) -> list[str]:
        """The columns of `lanes` neighbours of each row."""
        rows = [self._joined(parts[k::lanes], kind, lanes) for k in range(lanes)]
        if lanes == 2:
            return self._halves(rows[0], rows[1], kind, len(parts), 1, lanes)
        low, high = (self._halves(rows[k], rows[k + 1], kind, len(parts), 1, lanes) for k in (0, 2))
        pairs = (self._halves(a, b, kind, len(parts), 2, lanes) for a, b in zip(low, high))
        return [column for pair in pairs for column in pair]

    def _halves(self, a: str, b: str, kind: str, count: int, unit: int, lanes: int) -> list[str]:
        """Of each quarter of two registers the first halves, units of them in turn; and the second halves."""

        def picked(lane: int, half: int) -> int:
            quarter, at = lane - lane % lanes, lane % lanes
            return quarter + half + at // (2 * unit) * unit + at % unit + (count if at // unit % 2 else 0)

        return [self._shuffle(a, b, kind, count, [picked(n, half) for n in range(count)]) for half in (0, lanes // 2)]

    def _joined(self, parts: Sequence[str], kind: str, lanes: int) -> str:
        """One register of the neighbours of several rows; of two after two."""
        joined = list(parts)
        while len(joined) > 1:
            pairs = list(zip(joined[::2], joined[1::2]))
            whole = [self._shuffle(a, b, kind, lanes, range(2 * lanes)) for a, b in pairs]
            joined, lanes = whole + joined[2 * len(pairs) :], 2 * lanes
        return joined[0]

    def _shuffle(self, a: str, b: str, kind: str, count: int, picked: Sequence[int]) -> str:
        places = ", ".join(f"i32 {place}" for place in picked)
        both = f"<{count} x {kind}> {a}, <{count} x {kind}> {b}"
        return self.op(f"shufflevector {both}, <{len(picked)} x i32> <{places}>")


def _turns(loop: For) -> int:
    """How many turns a loop from 0 in steps of 1 makes; 0 where that is not known."""
    known = isinstance(loop.start, Const) and isinstance(loop.stop, Const) and loop.step == 1
    return int(loop.stop.value.real) if known and not int(loop.start.value.real) else 0  # type: ignore[union-attr]
