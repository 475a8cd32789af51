"""One OpenCL kernel, written scalar by scalar as `emit.py` walks the loops."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, Protocol

import numpy as np

from sparsec.codegen.device_parts import Part
from sparsec.codegen.emit import Emitter, illegal
from sparsec.codegen.gemm import part_dtype
from sparsec.codegen.opencl_text import (
    ADD,
    ATOM,
    BIT_OPERATORS,
    COMPARISONS,
    LOW,
    MUL,
    OPERATORS,
    UNARY,
    Text,
    at_level,
    identifier,
    is_literal,
    literal,
    value_type,
)
from sparsec.errors import CompileError
from sparsec.ir.loops import Buffer, For, Kernel
from sparsec.ir.types import DType

__all__ = ["OpenClBuilder"]


class _File(Protocol):
    """The file that a kernel is part of: it takes note of what its kernels need."""

    can_fail: bool

    def type(self, dtype: DType) -> str: ...
    def memory_type(self, dtype: DType) -> str: ...
    def helper(self, name: str) -> str: ...
    def alias(self, ctype: str) -> str: ...


class OpenClBuilder:
    """Writes one kernel; a value is the text of an expression."""

    def __init__(self, file: _File, part: Part) -> None:
        self._file = file
        self._part = part
        self._lines: list[str] = []
        self._depth = 1
        self._live: set[str] = {"status"}
        self._buffers: dict[str, tuple[str, str]] = {}  # C name and address space

    def kernel(self, name: str, kernel: Kernel, elements: tuple[int, ...]) -> str:
        """The text of one launch of `kernel`."""
        params: list[str] = []
        for buffer, element in zip(kernel.buffers, elements):
            params.extend(self._parameter(buffer, in_arena=element != 0))
        scalars = {}
        for scalar in kernel.scalars:
            scalars[scalar.name] = Text(self._name(scalar.name), ATOM)
            params.append(f"const long {scalars[scalar.name]}")
        params.append("__global int *restrict status")
        if self._file.can_fail:
            self._line("if (status[0] != 0) return;")
        Emitter(self, kernel.buffers, scalars).body(self._part.body)
        head = f"__kernel void {name}(\n    " + ",\n    ".join(params) + ") {"
        return "\n".join([head, *self._lines, "}"])

    def _parameter(self, buffer: Buffer, *, in_arena: bool) -> list[str]:
        ctype = self._file.memory_type(buffer.dtype)
        const = "const " if buffer.access == "r" else ""
        name = self._name(buffer.name)
        self._buffers[buffer.name] = (name, f"__global {const}")
        if not in_arena:
            return [f"__global {const}{ctype} *restrict {name}"]
        base, first = self._name(f"{name}_base"), self._name(f"{name}_first")
        self._line(f"__global {const}{ctype} *{name} = {base} + {first};")
        return [f"__global {const}{ctype} *restrict {base}", f"const long {first}"]

    def _work_items(self, stop: Text, body: Callable[[Text], None]) -> None:
        """The loop whose turns are work-items. A range that the host could not count is walked in strides."""
        name = Text(self._name("gid"), ATOM)
        if self._part.items is not None:
            self._line(f"const long {name} = get_global_id(0);")
            head = f"if ({name} < {at_level(stop, ADD)})"
        else:
            stop = self._declare("items", stop, "long")
            head = f"for (long {name} = get_global_id(0); {name} < {stop}; {name} += get_global_size(0))"
        with self._block(head):
            body(name)

    # --- lines and names ---

    def _line(self, text: str) -> None:
        self._lines.append("  " * self._depth + text)

    @contextmanager
    def _block(self, head: str) -> Iterator[None]:
        live = set(self._live)
        self._line(f"{head} {{")
        self._depth += 1
        yield
        self._depth -= 1
        self._line("}")
        self._live = live

    def _name(self, wanted: str) -> str:
        stem = unique = identifier(wanted)
        count = 0
        while unique in self._live:
            count += 1
            unique = f"{stem}_{count}"
        self._live.add(unique)
        return unique

    def _declare(self, name: str, value: Text, ctype: str) -> Text:
        unique = self._name(name)
        self._line(f"const {ctype} {unique} = {value};")
        return Text(unique, ATOM)

    # --- scalars ---

    def const(self, value: Any, dtype: DType) -> Text:
        self._file.type(dtype)
        if dtype == np.int64 and -(1 << 31) < int(value) < 1 << 31:
            return Text(str(int(value)), UNARY if value < 0 else ATOM)
        return literal(value, dtype)

    def _infix(self, operator: str, level: int, x: Text, y: Text) -> Text:
        right = level if operator in ("+", "*") and level < MUL else level + 1
        return Text(f"{at_level(x, level)} {operator} {at_level(y, right)}", level, x.stable and y.stable)

    def _call(self, name: str, *args: Text) -> Text:
        return Text(f"{name}({', '.join(map(str, args))})", ATOM, all(arg.stable for arg in args))

    def _as(self, ctype: str, value: Text) -> Text:
        return Text(f"({ctype}){at_level(value, UNARY)}", UNARY, value.stable)

    def _narrow(self, value: Text, dtype: DType) -> Text:
        """C computes small integers as int; the result is brought back to its own type."""
        return self._as(value_type(dtype), value) if dtype.itemsize < 4 and dtype.kind in "iu" else value

    def _unsigned(self, value: Text, dtype: DType) -> Text:
        return self._as("ulong" if dtype.itemsize == 8 else "uint", value)

    def arith(self, fn: str, args: Sequence[Text], dtype: DType, *, wraps: bool) -> Text:
        if dtype.kind == "f":
            return self._float(fn, args)
        x, y = self._exact(args[0], dtype), args[-1]
        match fn:
            case "add" | "sub" | "mul":
                operator, level = OPERATORS[fn]
                if not wraps:
                    x = args[0] if not is_literal(y) else x
                if not wraps or (dtype.kind == "u" and dtype.itemsize >= 4):
                    return self._infix(operator, level, x, y)
                wide = self._infix(operator, level, self._unsigned(x, dtype), self._unsigned(y, dtype))
                return self._as(value_type(dtype), wide)
            case "quo":
                return self._narrow(self._infix("/", MUL, x, y), dtype)
            case "rem":
                return self._narrow(self._infix("%", MUL, x, y), dtype)
            case "neg":
                negated = f"-{at_level(self._unsigned(x, dtype), ATOM)}"
                return self._as(value_type(dtype), Text(negated, UNARY, x.stable))
            case "abs":
                return x if dtype.kind == "u" else self._absolute(x, dtype)
            case "min" | "max":
                return self._call(fn, x, self._exact(y, dtype))
        illegal(f"{fn} on integers", "the op's lowering")

    def _absolute(self, x: Text, dtype: DType) -> Text:
        """Not by `abs`: a driver may take it that the least number, too, becomes positive."""
        x = self._declare("t", x, value_type(dtype))
        below = self.compare("lt", x, self.const(0, dtype), dtype)
        return self.select(below, self.arith("neg", [x], dtype, wraps=True), x, dtype)

    def _exact(self, value: Text, dtype: DType) -> Text:
        """A long that C takes for one: a literal without suffix is an int, and so would be 2 * 3."""
        if dtype == np.int64 and is_literal(value):
            return replace(value, code=f"{value.code}L")
        return value

    def _float(self, fn: str, args: Sequence[Text]) -> Text:
        match fn:
            case "add" | "sub" | "mul" | "div":
                # Parentheses on every nesting to the right: float operations do not associate.
                operator, level = OPERATORS[fn]
                x, y = args
                return Text(f"{at_level(x, level)} {operator} {at_level(y, level + 1)}", level, x.stable and y.stable)
            case "fmod":
                return self._call("fmod", *args)
            case "neg":
                return Text(f"-{at_level(args[0], ATOM)}", UNARY, args[0].stable)
            case "abs":
                return self._call("fabs", *args)
        illegal(f"{fn} on floats", "the op's lowering")

    def bits(self, fn: str, args: Sequence[Text], dtype: DType) -> Text:
        x, y = self._exact(args[0], dtype), args[-1]
        if fn == "not":
            operator = "!" if dtype.kind == "b" else "~"
            return self._narrow(Text(f"{operator}{at_level(x, ATOM)}", UNARY, x.stable), dtype)
        if fn == "shl" and dtype.kind == "i":
            return self._as(value_type(dtype), self._low("<<", self._unsigned(x, dtype), y))
        return self._narrow(self._low(BIT_OPERATORS[fn], x, y), dtype)

    def _low(self, operator: str, x: Text, y: Text) -> Text:
        return Text(f"{at_level(x, ADD)} {operator} {at_level(y, ADD)}", LOW, x.stable and y.stable)

    def compare(self, fn: str, x: Text, y: Text, dtype: DType) -> Text:
        if dtype.kind == "f" and dtype.itemsize == 2:
            illegal("a comparison of float16", "legalize")
        return self._low(COMPARISONS[fn], x, y)

    def select(self, cond: Text, x: Text, y: Text, dtype: DType) -> Text:
        texts = (at_level(value, LOW + 1) for value in (cond, self._exact(x, dtype), y))
        chosen = Text("{} ? {} : {}".format(*texts), 0, cond.stable and x.stable and y.stable)
        return self._narrow(chosen, dtype)

    def cast(self, x: Text, source: DType, dtype: DType) -> Text:
        self._file.type(dtype)
        if source.kind == "f" and source.itemsize == 2:
            single = self._call(self._file.helper("half_to_float"), x)
            return single if dtype == np.float32 else self.cast(single, np.dtype("f4"), dtype)
        if dtype.kind == "b":
            return self._low("!=", x, literal(0, source))
        if dtype.kind == "f" and dtype.itemsize == 2:
            if source == np.float64:
                return self._call(self._file.helper("double_to_half"), x)
            single = x if source == np.float32 else self._as("float", x)
            return self._call(self._file.helper("float_to_half"), single)
        return self._as(value_type(dtype), x)

    def bitcast(self, x: Text, source: DType, dtype: DType) -> Text:
        old, new = self._file.type(source), self._file.type(dtype)
        return x if old == new else self._call(f"as_{new}", self._exact(x, source))

    def math(self, fn: str, args: Sequence[Text], dtype: DType) -> Text:
        return self._call(fn, *args)

    # --- names ---

    def let(self, name: str, value: Text, dtype: DType) -> Text:
        return self._declare(name, value, self._file.type(dtype))

    def mut(self, name: str, value: Text, dtype: DType) -> Text:
        unique = self._name(name)
        self._line(f"{self._file.type(dtype)} {unique} = {value};")
        return Text(unique, ATOM, stable=False)

    def get(self, place: Text, dtype: DType) -> Text:
        return place

    def assign(self, place: Text, value: Text, dtype: DType) -> None:
        self._line(f"{place} = {value};")

    # --- memory ---

    def load(self, buffer: Buffer, index: Text, dtype: DType) -> Text:
        place, convert = self._place(buffer, index, dtype)
        if dtype.kind == "b":
            return Text(f"{place} != 0", LOW, stable=False)
        return Text(f"as_{convert}({place})" if convert else place, ATOM, stable=False)

    def store(self, buffer: Buffer, index: Text, value: Text, dtype: DType) -> None:
        place, convert = self._place(buffer, index, dtype)
        if dtype.kind == "b":
            value = self._as("uchar", Text(f"({value})", ATOM))
        if convert:
            declared = self._file.memory_type(buffer.dtype)
            value = self._call(f"as_{declared}", self._exact(value, dtype))
        self._line(f"{place} = {value};")

    def _place(self, buffer: Buffer, index: Text, dtype: DType) -> tuple[str, str]:
        """The element as an lvalue, and the type as which its bits are then read (empty: its own)."""
        name, space = self._buffers[buffer.name]
        declared, wanted = self._file.memory_type(buffer.dtype), self._file.memory_type(dtype)
        if declared == wanted:
            return f"{name}[{index}]", ""
        if part_dtype(buffer.dtype).itemsize == dtype.itemsize:
            return f"{name}[{index}]", wanted
        return f"(({space}{self._file.alias(wanted)} *){name})[{index}]", ""

    def alloc(self, buffer: Buffer) -> None:
        if buffer.size < 0:
            raise CompileError(f"the size of scratch buffer %{buffer.name} is not known")
        name = self._name(buffer.name)
        self._buffers[buffer.name] = (name, "")
        size = max(buffer.size, 1) * (2 if buffer.dtype.kind == "c" else 1)
        # As wide as its widest reader could want.
        self._line(f"__attribute__((aligned(16))) {self._file.memory_type(buffer.dtype)} {name}[{size}];")

    # --- control ---

    def loop(self, loop: For, start: Text, stop: Text, body: Callable[[Text], None]) -> None:
        if loop is self._part.work:
            self._work_items(stop, body)
            return
        if not stop.stable:  # C would look again in each turn
            stop = self._declare("stop", stop, self._file.type(loop.var.dtype))
        if loop.bind == "unroll":
            self._line("#pragma unroll")
        live = set(self._live)
        name = Text(self._name(loop.var.name), ATOM)
        order = "<" if loop.step > 0 else ">"
        step = {1: f"++{name}", -1: f"--{name}"}.get(loop.step)
        if step is None:
            step = f"{name} {'+' if loop.step > 0 else '-'}= {abs(loop.step)}"
        ctype = self._file.type(loop.var.dtype)
        with self._block(f"for ({ctype} {name} = {start}; {name} {order} {at_level(stop, ADD)}; {step})"):
            body(name)
        self._live = live

    def while_(self, cond: Callable[[], Text], body: Callable[[], None]) -> None:
        with self._block("while (true)"):
            self._line(f"if (!({cond()})) break;")
            body()

    def if_(self, cond: Text, then: Callable[[], None], orelse: Callable[[], None] | None) -> None:
        with self._block(f"if ({cond})"):
            then()
        if orelse:
            self._lines[-1] += " else {"
            with self._else():
                orelse()

    @contextmanager
    def _else(self) -> Iterator[None]:
        live = set(self._live)
        self._depth += 1
        yield
        self._depth -= 1
        self._line("}")
        self._live = live

    # --- effects ---

    def fail(self, code: int) -> None:
        if code <= 0:
            raise CompileError(f"Fail({code}): the code must be positive")
        self._line(f"atomic_cmpxchg(&status[0], 0, {code});")
        self._line("return;")

    def prefetch(self, buffer: Buffer, index: Text) -> None:
        """Nothing: others among the many work-items run while one waits."""

    def note(self, flag: int) -> None:
        self._line(f"atomic_or(&status[1], {flag});")

    def extern(
        self, name: str, buffers: Sequence[tuple[Buffer, Text]], args: Sequence[Text], dtype: DType
    ) -> None:
        illegal(f"the library function {name!r}", "legalize")

    def launch(self, kernel: str, buffers: Sequence[Buffer], scalars: Sequence[Text]) -> None:
        illegal("a launch inside a kernel", "lower-to-loops")

    def reserve(self, buffer: Buffer, nbytes: Text, code: int) -> None:
        illegal("memory reserved inside a kernel", "lower-to-loops")
