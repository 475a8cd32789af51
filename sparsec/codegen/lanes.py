"""`for i in 0..48 bind(vector)` as LLVM vectors: all turns go through the body side by side, one in each lane.

    for i in 0..32 bind(vector) {            %x0 = load <16 x float> …      lanes 0 to 15
      %y[i] = %x[i] * a               ->     %x1 = load <16 x float> …      lanes 16 to 31
    }                                        %p0 = fmul <16 x float> %x0, %a.splat …

A value that is the same in all lanes stays a scalar. One that differs is a vector in as many parts as its lanes
fill registers. Positions that move with the lane (`q * 3 + i`) stay a scalar and a step until a vector of them is
needed, so that neighbouring elements are one load. A branch that only some lanes take becomes a mask. Where a cell
is declared under a mask, the other lanes never read it, so nothing keeps them from being written.

Loops that cannot go in lockstep (`sparsec.ir.varying`) stay loops.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from sparsec.codegen.llvm_values import constant, has_intrinsic, memory_type, suffix, value_type
from sparsec.codegen.turned_copies import TurnedCopyBuilder
from sparsec.ir.loops import Buffer, Const, For, Store, walk_stmts
from sparsec.ir.types import BOOL, DTYPES, I64, DType
from sparsec.ir.varying import in_lockstep, varying_names

__all__ = ["LaneBuilder"]

Parts = tuple[str, ...]

_BYTE = DTYPES["u8"]


class _Lanes(str):
    """A value that differs between lanes: the registers of its parts."""

    parts: Parts

    def __new__(cls, parts: Parts) -> _Lanes:
        made = super().__new__(cls, "lanes")
        made.parts = parts
        return made


class _Ramp(str):
    """`base + lane * step`; `base` is a scalar, `step` is not 0."""

    base: str
    step: int

    def __new__(cls, base: str, step: int) -> _Ramp:
        made = super().__new__(cls, "ramp")
        made.base, made.step = base, step
        return made


class _Cell(str):
    """A `mut` with a value for each lane: where the parts are, and the mask under which it was declared."""

    parts: Parts
    mask: Parts | None

    def __new__(cls, parts: Parts, mask: Parts | None) -> _Cell:
        made = super().__new__(cls, "cell")
        made.parts, made.mask = parts, mask
        return made


def _differs(value: str) -> bool:
    return isinstance(value, _Lanes | _Ramp)


class LaneBuilder(TurnedCopyBuilder):
    """Writes one function; inside a vector loop, values may be `_Lanes` or `_Ramp`."""

    _sizes: tuple[int, ...] = ()  # lanes in each part; () outside of vector loops
    _width = 0  # of the part that is being computed; 0: a scalar
    _mask: Parts | None = None  # lanes that run; None: all
    _varying: frozenset[str] = frozenset()
    _needs_lane = False  # whether what was written since is right only if some lane runs

    # --- parts ---

    def _kind(self, dtype: DType) -> str:
        return f"<{self._width} x {value_type(dtype)}>" if self._width else value_type(dtype)

    def _literal(self, value: Any, dtype: DType) -> str:
        plain = constant(value, dtype)
        return f"splat ({value_type(dtype)} {plain})" if self._width else plain

    def _each(self, compute: Callable[..., str], *args: tuple[str, DType]) -> str:
        """`compute` on the operands of each part in turn; operands are scalars if none differs."""
        if not any(_differs(value) for value, _ in args):
            return compute(*(value for value, _ in args))
        operands = [self._parts(value, dtype) for value, dtype in args]
        found = []
        for number, size in enumerate(self._sizes):
            self._width = size
            found.append(compute(*(parts[number] for parts in operands)))
        self._width = 0
        return _Lanes(tuple(found))

    def _each_lane(self, compute: Callable[..., str], kinds: Sequence[str], result: str, args: Sequence[str]) -> str:
        """`compute` on the scalars of each lane in turn: for what has no vector form. Called for one part."""
        width, self._width = self._width, 0
        whole = "poison"
        for lane in range(width):
            scalars = [
                self.op(f"extractelement <{width} x {kind}> {arg}, i64 {lane}") for kind, arg in zip(kinds, args)
            ]
            whole = self.op(f"insertelement <{width} x {result}> {whole}, {result} {compute(*scalars)}, i64 {lane}")
        self._width = width
        return whole

    def _parts(self, value: str, dtype: DType) -> Parts:
        """The registers of a value; a scalar is spread over them."""
        if isinstance(value, _Lanes):
            return value.parts
        kind = value_type(dtype)
        if isinstance(value, _Ramp):
            return tuple(self._ramp_part(value, kind, number) for number in range(len(self._sizes)))
        if not value.startswith("%"):
            return tuple(f"splat ({kind} {value})" for _ in self._sizes)
        by_size = {size: self._splat(value, kind, size) for size in dict.fromkeys(self._sizes)}
        return tuple(by_size[size] for size in self._sizes)

    def _splat(self, value: str, kind: str, size: int) -> str:
        one = self.op(f"insertelement <{size} x {kind}> poison, {kind} {value}, i64 0")
        return self.op(
            f"shufflevector <{size} x {kind}> {one}, <{size} x {kind}> poison, <{size} x i32> zeroinitializer"
        )

    def _ramp_part(self, ramp: _Ramp, kind: str, number: int) -> str:
        first, size = sum(self._sizes[:number]), self._sizes[number]
        steps = ", ".join(f"{kind} {(first + lane) * ramp.step}" for lane in range(size))
        if not ramp.base.startswith("%"):
            base = f"splat ({kind} {ramp.base})"
        else:
            base = self._splat(ramp.base, kind, size)
        return self.op(f"add <{size} x {kind}> {base}, <{steps}>")

    # --- scalars ---

    def arith(self, fn: str, args: Sequence[str], dtype: DType, *, wraps: bool) -> str:
        ramp = self._ramp(fn, args, dtype, wraps=wraps)
        if ramp is not None:
            return ramp
        if fn in ("quo", "rem") and self._mask is not None:
            args = self._safe_division(args, dtype)
        scalar = super().arith
        return self._each(lambda *xs: scalar(fn, xs, dtype, wraps=wraps), *((x, dtype) for x in args))

    def _ramp(self, fn: str, args: Sequence[str], dtype: DType, *, wraps: bool) -> str | None:
        """The result as a ramp (or as a scalar, where the steps cancel), if it is one."""
        if dtype != I64 or fn not in ("add", "sub", "mul") or not any(isinstance(x, _Ramp) for x in args):
            return None
        if any(isinstance(x, _Lanes) for x in args):
            return None
        bases = [x.base if isinstance(x, _Ramp) else x for x in args]
        steps = [x.step if isinstance(x, _Ramp) else 0 for x in args]
        if fn == "mul":
            factor = args[1] if steps[0] else args[0]
            if isinstance(factor, _Ramp) or factor.startswith("%"):
                return None
            step = int(factor) * (steps[0] or steps[1])
        else:
            step = steps[0] + steps[1] if fn == "add" else steps[0] - steps[1]
        base = super().arith(fn, bases, dtype, wraps=wraps)
        return _Ramp(base, step) if step else base

    def _safe_division(self, args: Sequence[str], dtype: DType) -> Sequence[str]:
        """Lanes that do not run must not divide by zero, or overflow."""
        assert self._mask is not None
        x, y = args
        if not _differs(y) and not y.startswith("%") and int(y) > 0:
            return args
        self._needs_lane = self._needs_lane or not _differs(y)
        return [self.select(_Lanes(self._mask), v, "1", dtype) if _differs(v) else v for v in (x, y)]

    def bits(self, fn: str, args: Sequence[str], dtype: DType) -> str:
        scalar = super().bits
        return self._each(lambda *xs: scalar(fn, xs, dtype), *((x, dtype) for x in args))

    def compare(self, fn: str, x: str, y: str, dtype: DType) -> str:
        scalar = super().compare
        return self._each(lambda a, b: scalar(fn, a, b, dtype), (x, dtype), (y, dtype))

    def select(self, cond: str, x: str, y: str, dtype: DType) -> str:
        scalar = super().select
        return self._each(lambda c, a, b: scalar(c, a, b, dtype), (cond, BOOL), (x, dtype), (y, dtype))

    def cast(self, x: str, source: DType, dtype: DType) -> str:
        scalar = super().cast
        if isinstance(x, _Ramp) and dtype.kind in "iu" and dtype.itemsize < 8:
            narrow, kind = _Ramp(scalar(x.base, source, dtype), x.step), value_type(dtype)
            return _Lanes(tuple(self._ramp_part(narrow, kind, number) for number in range(len(self._sizes))))

        def convert(value: str) -> str:
            if self._width and (source.kind, dtype.kind, source.itemsize, dtype.itemsize) == ("f", "f", 8, 2):
                lane: Callable[..., str] = lambda x: scalar(x, source, dtype)  # noqa: E731
                return self._each_lane(lane, [value_type(source)], value_type(dtype), [value])
            return scalar(value, source, dtype)

        return self._each(convert, (x, source))

    def bitcast(self, x: str, source: DType, dtype: DType) -> str:
        scalar = super().bitcast
        return self._each(lambda value: scalar(value, source, dtype), (x, source))

    def math(self, fn: str, args: Sequence[str], dtype: DType) -> str:
        scalar = super().math

        def compute(*xs: str) -> str:
            if self._width and not has_intrinsic(fn):
                kind = value_type(dtype)
                return self._each_lane(lambda *ys: scalar(fn, ys, dtype), [kind] * len(xs), kind, xs)
            return scalar(fn, xs, dtype)

        return self._each(compute, *((x, dtype) for x in args))

    # --- names ---

    def mut(self, name: str, value: str, dtype: DType) -> str:
        if name not in self._varying:
            return super().mut(name, value, dtype)
        kind = value_type(dtype)
        parts = tuple(self.alloca(f"<{size} x {kind}>", 1, 64) for size in self._sizes)
        cell = _Cell(parts, self._mask)
        self.assign(cell, value, dtype)
        return cell

    def get(self, place: str, dtype: DType) -> str:
        if not isinstance(place, _Cell):
            return super().get(place, dtype)
        kind = value_type(dtype)
        return _Lanes(tuple(
            self.op(f"load <{size} x {kind}>, ptr {part}, align 64") for size, part in zip(self._sizes, place.parts)
        ))  # fmt: skip

    def assign(self, place: str, value: str, dtype: DType) -> None:
        if not isinstance(place, _Cell):
            super().assign(place, value, dtype)
            return
        if self._mask is not None and self._mask is not place.mask:
            value = self.select(_Lanes(self._mask), value, self.get(place, dtype), dtype)
        for size, part, new in zip(self._sizes, place.parts, self._parts(value, dtype)):
            self.line(f"store <{size} x {value_type(dtype)}> {new}, ptr {part}, align 64")

    # --- memory ---

    def load(self, buffer: Buffer, index: str, dtype: DType) -> str:
        if not _differs(index):
            self._needs_lane = self._needs_lane or self._mask is not None
            return super().load(buffer, index, dtype)
        memory, found = memory_type(dtype), []
        for number, (place, together) in enumerate(self._places(buffer, index, dtype)):
            kind = f"<{self._sizes[number]} x {memory}>"
            if together and self._mask is None:
                found.append(self.op(f"load {kind}, ptr {place}, align {self._align(buffer, dtype)}"))
            else:
                call = self._masked("load" if together else "gather", kind, buffer, place, dtype, number)
                found.append(self.op(f"call {kind} {call}, {kind} zeroinitializer)"))
        loaded = _Lanes(tuple(found))
        return self.compare("ne", loaded, "0", _BYTE) if dtype.kind == "b" else loaded

    def store(self, buffer: Buffer, index: str, value: str, dtype: DType) -> None:
        if not _differs(index) and not _differs(value):
            self._needs_lane = self._needs_lane or self._mask is not None
            super().store(buffer, index, value, dtype)
            return
        parts, memory = self._parts(value, dtype), memory_type(dtype)
        for number, (place, together) in enumerate(self._places(buffer, index, dtype)):
            size, part = self._sizes[number], parts[number]
            kind = f"<{size} x {memory}>"
            if dtype.kind == "b":
                part = self.op(f"zext <{size} x i1> {part} to {kind}")
            if together and self._mask is None:
                self.line(f"store {kind} {part}, ptr {place}, align {self._align(buffer, dtype)}")
            else:
                name = "store" if together else "scatter"
                self.line(f"call void {self._masked(name, kind, buffer, place, dtype, number, part)})")

    def _masked(
        self, name: str, kind: str, buffer: Buffer, place: str, dtype: DType, number: int, value: str = ""
    ) -> str:
        """A call of `llvm.masked.<name>` up to its mask."""
        size = self._sizes[number]
        bits = f"<{size} x i1>"
        mask = self._mask[number] if self._mask is not None else "splat (i1 true)"
        pointer, mangled = ("ptr", "p0") if name in ("load", "store") else (f"<{size} x ptr>", f"v{size}p0")
        symbol = f"@llvm.masked.{name}.{suffix(kind)}.{mangled}"
        if value:
            self._module.declare(f"void {symbol}({kind}, {pointer}, i32, {bits})")
        else:
            self._module.declare(f"{kind} {symbol}({pointer}, i32, {bits}, {kind})")
        given = f"{kind} {value}, " if value else ""
        return f"{symbol}({given}{pointer} {place}, i32 {self._align(buffer, dtype)}, {bits} {mask}"

    def _places(self, buffer: Buffer, index: str, dtype: DType) -> list[tuple[str, bool]]:
        """For each part the address of its first element, where they are neighbours, or else those of all."""
        kind, base = memory_type(dtype), self.pointers[buffer.name]
        if isinstance(index, _Ramp) and index.step == 1:
            # Lanes that do not run may lie outside of the buffer, and so may the first of them.
            first = self.op(f"getelementptr {kind}, ptr {base}, i64 {index.base}")
            starts = [sum(self._sizes[:number]) for number in range(len(self._sizes))]
            return [(self.op(f"getelementptr {kind}, ptr {first}, i64 {start}"), True) for start in starts]
        return [
            (self.op(f"getelementptr {kind}, ptr {base}, <{size} x i64> {part}"), False)
            for size, part in zip(self._sizes, self._parts(index, I64))
        ]

    @staticmethod
    def _align(buffer: Buffer, dtype: DType) -> int:
        return min(dtype.itemsize, max(buffer.align & -buffer.align, 1))

    # --- control ---

    def loop(self, loop: For, start: str, stop: str, body: Callable[[str], None]) -> None:
        alone = self._sizes or loop.bind != "vector" or not in_lockstep(loop)
        if alone or self.is_turned_copy(loop):
            if self._mask is not None:
                self._needs_lane = True
            super().loop(loop, start, stop, body)
            return
        self._sizes = self._split(loop)
        if not self._sizes:
            return
        self._varying = varying_names(loop.var.name, loop.body)
        body(_Ramp(start, 1))
        self._sizes, self._varying, self._needs_lane = (), frozenset(), False

    def _split(self, loop: For) -> tuple[int, ...]:
        """Lanes in each part, by the size of the elements that are stored."""
        assert isinstance(loop.start, Const) and isinstance(loop.stop, Const)
        turns = max(int(loop.stop.value.real) - int(loop.start.value.real), 0)
        sizes = [s.value.dtype.itemsize for s in walk_stmts(loop.body) if isinstance(s, Store)]
        full = max(self._module.target.vector_bytes // max(sizes, default=8), 1)
        return tuple(min(full, turns - first) for first in range(0, turns, full))

    def if_(self, cond: str, then: Callable[[], None], orelse: Callable[[], None] | None) -> None:
        if not _differs(cond):
            super().if_(cond, then, orelse)
            return
        self._branch(cond, then)
        if orelse:
            self._branch(self.bits("not", [cond], BOOL), orelse)

    def _branch(self, cond: str, body: Callable[[], None]) -> None:
        """A body for the lanes where `cond` holds; jumped over if there are none and that makes a difference."""
        outer, needed = self._mask, self._needs_lane
        if outer is not None:
            cond = self.bits("and", [_Lanes(outer), cond], BOOL)
        self._mask, self._needs_lane = self._parts(cond, BOOL), False
        inside, done = self.fresh("then"), self.fresh("done")
        at = len(self._lines)
        self._jump(inside)
        self._label(inside)
        body()
        self._jump(done)
        self._label(done)
        if self._needs_lane:
            after, self._lines[at:] = self._lines[at + 1 :], []
            self.line(f"br i1 {self._any(self._mask)}, label %{inside}, label %{done}")
            self._lines += after
        self._mask, self._needs_lane = outer, needed

    def _any(self, mask: Parts) -> str:
        """Whether a lane runs."""
        found = ""
        for size, part in zip(self._sizes, mask):
            word = self.op(f"bitcast <{size} x i1> {part} to i{size}")
            some = self.op(f"icmp ne i{size} {word}, 0")
            found = self.op(f"or i1 {found}, {some}") if found else some
        return found

    def while_(self, cond: Callable[[], str], body: Callable[[], None]) -> None:
        if self._mask is not None:
            self._needs_lane = True
        super().while_(cond, body)
