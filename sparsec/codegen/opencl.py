"""Loop IR to OpenCL C (1.2): one `__kernel` for each launch. The host body is the runtime's to run.

The text is meant to be read and compared: names are the program's, made harmless; expressions nest as they
did in the loop IR. What C leaves undefined is spelled out: the user's signed arithmetic goes through unsigned
types, where it wraps. float16 lives in `ushort` (a device need not have the type), bool in `uchar` in memory.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np

from sparsec.codegen.device_parts import Part, outline_externs, parts
from sparsec.codegen.emit import Emitter, illegal
from sparsec.codegen.gemm import part_dtype
from sparsec.errors import CompileError
from sparsec.ir.abi import DeviceKernel, DeviceSource
from sparsec.ir.loops import Buffer, Fail, For, Kernel, Launch, Program, walk_stmts
from sparsec.ir.types import DType

__all__ = ["opencl_source"]


def opencl_source(program: Program) -> DeviceSource:
    """The kernels of a program. Raises CompileError for a node that an earlier pass should have removed."""
    program = outline_externs(program)
    module = _Module(program)
    kernels = tuple((kernel.name, module.kernel(kernel)) for kernel in program.kernels)
    return DeviceSource(module.text(), program, kernels, module.fp64)


# --- types and values ------------------------------------------------------------------------------------

_INTEGERS = {1: "char", 2: "short", 4: "int", 8: "long"}


def _type(dtype: DType) -> str:
    """The C type of a value in a variable."""
    match dtype.kind:
        case "b":
            return "bool"
        case "i":
            return _INTEGERS[dtype.itemsize]
        case "u":
            return "u" + _INTEGERS[dtype.itemsize]
        case "f":
            return {2: "ushort", 4: "float", 8: "double"}[dtype.itemsize]
    illegal(f"a value of {dtype}", "legalize")


def _memory_type(dtype: DType) -> str:
    return "uchar" if dtype.kind == "b" else _type(part_dtype(dtype))


@dataclass(frozen=True, slots=True)
class _Text:
    """An expression: its C text, how tightly it binds, and whether its value stays while others change."""

    code: str
    level: int
    stable: bool = True

    def __str__(self) -> str:
        return self.code


# How tightly an operator binds: an operand that binds less is put in parentheses. Bit operators and
# comparisons bind least of all here, so that no reader needs C's table.
_ATOM, _UNARY, _MUL, _ADD, _LOW = 5, 4, 3, 2, 1


def _at(value: _Text, level: int) -> str:
    return value.code if value.level >= level else f"({value.code})"


def _literal(value: Any, dtype: DType) -> _Text:
    match dtype.kind:
        case "b":
            return _Text("true" if value else "false", _ATOM)
        case "i" | "u":
            return _integer_literal(int(value), dtype)
    if dtype.itemsize == 2:
        with np.errstate(all="ignore"):
            half = np.float16(value)
        bits = f"{int(half.view(np.uint16)):#06x}"
        return _Text(f"(ushort){_opaque(bits) if np.isnan(half) else bits}", _UNARY)
    suffix, name = ("f", "float") if dtype.itemsize == 4 else ("", "double")
    value = float(dtype.type(value))
    if not math.isfinite(value):
        bits = f"{int(dtype.type(value).view(np.dtype(f'u{dtype.itemsize}'))):#x}{'UL' if suffix == '' else 'u'}"
        return _Text(f"as_{name}{_opaque(bits) if math.isnan(value) else f'({bits})'}", _ATOM)
    code = repr(value)
    if len(code) > 8 or "e" in code or Decimal(code) != Decimal(value):  # not exact in a few digits
        code = value.hex()
    return _Text(code + suffix, _UNARY if code.startswith("-") else _ATOM)


def _opaque(bits: str) -> str:
    """The bits of a NaN that no compiler knows: PoCL's folds `floor(NaN)`, `exp(NaN)` and others to anything."""
    return f"({bits} | (get_global_size(0) == 0))"


def _integer_literal(value: int, dtype: DType) -> _Text:
    suffix = "" if dtype.itemsize < 8 else "L"
    if dtype.kind == "u" and dtype.itemsize >= 4:
        return _Text(f"{value}{'UL' if suffix else 'u'}", _ATOM)
    if value == -(1 << 31) or value == -(1 << 63):  # C has no such literal
        code = f"(-{-value - 1}{suffix} - 1)"
        return _Text(code, _ATOM)
    if dtype.itemsize < 4:
        return _Text(f"({_type(dtype)}){f'({value})' if value < 0 else value}", _UNARY)
    # A small long needs no suffix: an int literal is widened wherever it meets a long.
    return _Text(f"{value}{suffix}", _UNARY if value < 0 else _ATOM)


def _is_literal(value: _Text) -> bool:
    return re.fullmatch(r"-?\d+", value.code) is not None


_OPERATORS = {"add": ("+", _ADD), "sub": ("-", _ADD), "mul": ("*", _MUL), "div": ("/", _MUL)}
_BIT_OPERATORS = {"and": "&", "or": "|", "xor": "^", "shl": "<<", "shr": ">>"}
_COMPARISONS = {"eq": "==", "ne": "!=", "lt": "<", "le": "<=", "gt": ">", "ge": ">="}

#: What a variable may not be called: words of OpenCL C, functions and names that the emitted text uses.
_RESERVED_TEXT = """
auto break case char const continue default do double else enum extern float for goto if inline int long
register restrict return short signed sizeof static struct switch typedef union unsigned void volatile while
bool uchar ushort uint ulong half size_t ptrdiff_t intptr_t uintptr_t global local constant private generic
kernel read_only write_only read_write true false complex imaginary quad event_t sampler_t pipe
abs min max fabs fmod sqrt floor ceil trunc rint copysign exp exp2 expm1 log log2 log10 log1p sin cos tan asin
acos atan sinh cosh tanh asinh acosh atanh cbrt pow atan2 hypot nextafter fma status atomic_or atomic_cmpxchg
get_global_id get_global_size vload_half vstore_half_rte half_to_float float_to_half double_to_half
as_char as_uchar as_short as_ushort as_int as_uint as_long as_ulong as_float as_double
linux unix
"""
_RESERVED = frozenset(_RESERVED_TEXT.split())


_VECTOR = r"(u?(char|short|int|long)|float|double|half|bool|quad)\d|image"


def _identifier(name: str) -> str:
    """A name that is sure to mean nothing in OpenCL C, as near to `name` as can be."""
    name = re.sub(r"[^A-Za-z0-9_]", "_", name)
    # Capitals and leading underscores are where macros live; a type's name with digits is a vector type.
    if not re.match(r"[a-z]", name) or re.match(_VECTOR, name):
        name = f"v_{name.lstrip('_')}"
    return f"{name}_" if name in _RESERVED else name


# --- the module ------------------------------------------------------------------------------------------

_HALF_TO_FLOAT = """\
float half_to_float(ushort bits) {
  return vload_half(0, (const half *)&bits);
}"""
_TO_HALF = """\
ushort %s_to_half(%s x) {
  ushort bits;
  vstore_half_rte(x, 0, (half *)&bits);
  return bits;
}"""


class _Module:
    """The text of all kernels, and what they need from the file."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.fp64 = False
        self.can_fail = any(
            isinstance(stmt, Fail) for kernel in program.kernels for stmt in walk_stmts(kernel.body)
        )
        self._helpers: dict[str, str] = {}
        self._kernels: list[str] = []
        self._names: set[str] = set()
        self._in_arena = self._arena_bound()

    def text(self) -> str:
        head = ["#pragma OPENCL FP_CONTRACT OFF"]
        if self.fp64:
            head.append("#pragma OPENCL EXTENSION cl_khr_fp64 : enable")
        return "\n\n".join(["\n".join(head), *self._helpers.values(), *self._kernels]) + "\n"

    def type(self, dtype: DType) -> str:
        """The C type of a value; takes note of what the file must enable."""
        self._see(dtype)
        return _type(dtype)

    def memory_type(self, dtype: DType) -> str:
        self._see(dtype)
        return _memory_type(dtype)

    def _see(self, dtype: DType) -> None:
        if part_dtype(dtype) == np.float64:
            self.fp64 = True

    def helper(self, name: str) -> str:
        texts = {
            "half_to_float": _HALF_TO_FLOAT,
            "float_to_half": _TO_HALF % ("float", "float"),
            "double_to_half": _TO_HALF % ("double", "double"),
        }
        self._helpers.setdefault(name, texts[name])
        return name

    def alias(self, ctype: str) -> str:
        """A type that may look at memory of another type; without it C lets the compiler reorder them."""
        name = f"any_{ctype}"
        self._helpers.setdefault(name, f"typedef {ctype} __attribute__((may_alias)) {name};")
        return name

    def _arena_bound(self) -> set[tuple[str, int]]:
        """(kernel, buffer number) that some launch binds to the arena: these come with an offset."""
        arena = {slot.buffer.name for slot in self.program.slots if slot.role == "arena"}
        return {
            (stmt.kernel, n)
            for stmt in walk_stmts(self.program.body)
            if isinstance(stmt, Launch)
            for n, buffer in enumerate(stmt.buffers)
            if buffer in arena
        }

    def kernel(self, kernel: Kernel) -> tuple[DeviceKernel, ...]:
        """Writes the launches of one kernel."""
        pieces = parts(kernel)
        elements = tuple(
            part_dtype(buffer.dtype).itemsize if (kernel.name, n) in self._in_arena else 0
            for n, buffer in enumerate(kernel.buffers)
        )
        launches = []
        for n, part in enumerate(pieces):
            name = self._kernel_name(kernel.name if len(pieces) == 1 else f"{kernel.name}_part{n}")
            self._kernels.append(OpenClBuilder(self, part).kernel(name, kernel, elements))
            launches.append(DeviceKernel(name, part.items, elements))
        return tuple(launches)

    def _kernel_name(self, name: str) -> str:
        # The prefix keeps a function called `exp` from redefining OpenCL's.
        stem = unique = "sparsec_" + re.sub(r"[^A-Za-z0-9_]", "_", name)
        count = 0
        while unique in self._names:
            count += 1
            unique = f"{stem}_{count}"
        self._names.add(unique)
        return unique


# --- one kernel ------------------------------------------------------------------------------------------


class OpenClBuilder:
    """Writes one kernel; a value is the text of an expression."""

    def __init__(self, module: _Module, part: Part) -> None:
        self._module = module
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
            scalars[scalar.name] = _Text(self._name(scalar.name), _ATOM)
            params.append(f"const long {scalars[scalar.name]}")
        params.append("__global int *restrict status")
        if self._module.can_fail:
            self._line("if (status[0] != 0) return;")
        Emitter(self, kernel.buffers, scalars).body(self._part.body)
        head = f"__kernel void {name}(\n    " + ",\n    ".join(params) + ") {"
        return "\n".join([head, *self._lines, "}"])

    def _parameter(self, buffer: Buffer, *, in_arena: bool) -> list[str]:
        ctype = self._module.memory_type(buffer.dtype)
        const = "const " if buffer.access == "r" else ""
        name = self._name(buffer.name)
        self._buffers[buffer.name] = (name, f"__global {const}")
        if not in_arena:
            return [f"__global {const}{ctype} *restrict {name}"]
        base, first = self._name(f"{name}_base"), self._name(f"{name}_first")
        self._line(f"__global {const}{ctype} *{name} = {base} + {first};")
        return [f"__global {const}{ctype} *restrict {base}", f"const long {first}"]

    def _work_items(self, loop: For, stop: _Text, body: Callable[[_Text], None]) -> None:
        """The loop whose turns are work-items. A range that the host could not count is walked in strides."""
        name = _Text(self._name("gid"), _ATOM)
        if self._part.items is not None:
            self._line(f"const long {name} = get_global_id(0);")
            head = f"if ({name} < {_at(stop, _ADD)})"
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
        stem = unique = _identifier(wanted)
        count = 0
        while unique in self._live:
            count += 1
            unique = f"{stem}_{count}"
        self._live.add(unique)
        return unique

    def _declare(self, name: str, value: _Text, ctype: str) -> _Text:
        unique = self._name(name)
        self._line(f"const {ctype} {unique} = {value};")
        return _Text(unique, _ATOM)

    # --- scalars ---

    def const(self, value: Any, dtype: DType) -> _Text:
        self._module.type(dtype)
        if dtype == np.int64 and -(1 << 31) < int(value) < 1 << 31:
            return _Text(str(int(value)), _UNARY if value < 0 else _ATOM)
        return _literal(value, dtype)

    def _infix(self, operator: str, level: int, x: _Text, y: _Text) -> _Text:
        right = level if operator in ("+", "*") and level < _MUL else level + 1
        return _Text(f"{_at(x, level)} {operator} {_at(y, right)}", level, x.stable and y.stable)

    def _call(self, name: str, *args: _Text) -> _Text:
        return _Text(f"{name}({', '.join(map(str, args))})", _ATOM, all(arg.stable for arg in args))

    def _as(self, ctype: str, value: _Text) -> _Text:
        return _Text(f"({ctype}){_at(value, _UNARY)}", _UNARY, value.stable)

    def _narrow(self, value: _Text, dtype: DType) -> _Text:
        """C computes small integers as int; the result is brought back to its own type."""
        return self._as(_type(dtype), value) if dtype.itemsize < 4 and dtype.kind in "iu" else value

    def _unsigned(self, value: _Text, dtype: DType) -> _Text:
        return self._as("ulong" if dtype.itemsize == 8 else "uint", value)

    def arith(self, fn: str, args: Sequence[_Text], dtype: DType, *, wraps: bool) -> _Text:
        if dtype.kind == "f":
            return self._float(fn, args)
        x, y = self._exact(args[0], dtype), args[-1]
        match fn:
            case "add" | "sub" | "mul":
                operator, level = _OPERATORS[fn]
                if not wraps:
                    x = args[0] if not _is_literal(y) else x
                if not wraps or (dtype.kind == "u" and dtype.itemsize >= 4):
                    return self._infix(operator, level, x, y)
                wide = self._infix(operator, level, self._unsigned(x, dtype), self._unsigned(y, dtype))
                return self._as(_type(dtype), wide)
            case "quo":
                return self._narrow(self._infix("/", _MUL, x, y), dtype)
            case "rem":
                return self._narrow(self._infix("%", _MUL, x, y), dtype)
            case "neg":
                negated = f"-{_at(self._unsigned(x, dtype), _ATOM)}"
                return self._as(_type(dtype), _Text(negated, _UNARY, x.stable))
            case "abs":
                return x if dtype.kind == "u" else self._as(_type(dtype), self._call("abs", x))
            case "min" | "max":
                return self._call(fn, x, self._exact(y, dtype))
        illegal(f"{fn} on integers", "the op's lowering")

    def _exact(self, value: _Text, dtype: DType) -> _Text:
        """A long that C takes for one: a literal without suffix is an int, and so would be 2 * 3."""
        if dtype == np.int64 and _is_literal(value):
            return replace(value, code=f"{value.code}L")
        return value

    def _float(self, fn: str, args: Sequence[_Text]) -> _Text:
        match fn:
            case "add" | "sub" | "mul" | "div":
                # Parentheses on every nesting to the right: float operations do not associate.
                operator, level = _OPERATORS[fn]
                x, y = args
                return _Text(f"{_at(x, level)} {operator} {_at(y, level + 1)}", level, x.stable and y.stable)
            case "fmod":
                return self._call("fmod", *args)
            case "neg":
                return _Text(f"-{_at(args[0], _ATOM)}", _UNARY, args[0].stable)
            case "abs":
                return self._call("fabs", *args)
        illegal(f"{fn} on floats", "the op's lowering")

    def bits(self, fn: str, args: Sequence[_Text], dtype: DType) -> _Text:
        x, y = self._exact(args[0], dtype), args[-1]
        if fn == "not":
            operator = "!" if dtype.kind == "b" else "~"
            return self._narrow(_Text(f"{operator}{_at(x, _ATOM)}", _UNARY, x.stable), dtype)
        if fn == "shl" and dtype.kind == "i":
            return self._as(_type(dtype), self._low("<<", self._unsigned(x, dtype), y))
        return self._narrow(self._low(_BIT_OPERATORS[fn], x, y), dtype)

    def _low(self, operator: str, x: _Text, y: _Text) -> _Text:
        return _Text(f"{_at(x, _ADD)} {operator} {_at(y, _ADD)}", _LOW, x.stable and y.stable)

    def compare(self, fn: str, x: _Text, y: _Text, dtype: DType) -> _Text:
        if dtype.kind == "f" and dtype.itemsize == 2:
            illegal("a comparison of float16", "legalize")
        return self._low(_COMPARISONS[fn], x, y)

    def select(self, cond: _Text, x: _Text, y: _Text, dtype: DType) -> _Text:
        texts = (_at(value, _LOW + 1) for value in (cond, self._exact(x, dtype), y))
        chosen = _Text("{} ? {} : {}".format(*texts), 0, cond.stable and x.stable and y.stable)
        return self._narrow(chosen, dtype)

    def cast(self, x: _Text, source: DType, dtype: DType) -> _Text:
        self._module.type(dtype)
        if source.kind == "f" and source.itemsize == 2:
            single = self._call(self._module.helper("half_to_float"), x)
            return single if dtype == np.float32 else self.cast(single, np.dtype("f4"), dtype)
        if dtype.kind == "b":
            return self._low("!=", x, _literal(0, source))
        if dtype.kind == "f" and dtype.itemsize == 2:
            if source == np.float64:
                return self._call(self._module.helper("double_to_half"), x)
            single = x if source == np.float32 else self._as("float", x)
            return self._call(self._module.helper("float_to_half"), single)
        return self._as(_type(dtype), x)

    def bitcast(self, x: _Text, source: DType, dtype: DType) -> _Text:
        old, new = self._module.type(source), self._module.type(dtype)
        return x if old == new else self._call(f"as_{new}", self._exact(x, source))

    def math(self, fn: str, args: Sequence[_Text], dtype: DType) -> _Text:
        return self._call(fn, *args)

    # --- names ---

    def let(self, name: str, value: _Text, dtype: DType) -> _Text:
        return self._declare(name, value, self._module.type(dtype))

    def mut(self, name: str, value: _Text, dtype: DType) -> _Text:
        unique = self._name(name)
        self._line(f"{self._module.type(dtype)} {unique} = {value};")
        return _Text(unique, _ATOM, stable=False)

    def get(self, place: _Text, dtype: DType) -> _Text:
        return place

    def assign(self, place: _Text, value: _Text, dtype: DType) -> None:
        self._line(f"{place} = {value};")

    # --- memory ---

    def load(self, buffer: Buffer, index: _Text, dtype: DType) -> _Text:
        place, convert = self._place(buffer, index, dtype)
        if dtype.kind == "b":
            return _Text(f"{place} != 0", _LOW, stable=False)
        return _Text(f"as_{convert}({place})" if convert else place, _ATOM, stable=False)

    def store(self, buffer: Buffer, index: _Text, value: _Text, dtype: DType) -> None:
        place, convert = self._place(buffer, index, dtype)
        if dtype.kind == "b":
            value = self._as("uchar", _Text(f"({value})", _ATOM))
        if convert:
            declared = self._module.memory_type(buffer.dtype)
            value = self._call(f"as_{declared}", self._exact(value, dtype))
        self._line(f"{place} = {value};")

    def _place(self, buffer: Buffer, index: _Text, dtype: DType) -> tuple[str, str]:
        """The element as an lvalue, and the type as which its bits are then read (empty: its own)."""
        name, space = self._buffers[buffer.name]
        declared, wanted = self._module.memory_type(buffer.dtype), self._module.memory_type(dtype)
        if declared == wanted:
            return f"{name}[{index}]", ""
        if part_dtype(buffer.dtype).itemsize == dtype.itemsize:
            return f"{name}[{index}]", wanted
        return f"(({space}{self._module.alias(wanted)} *){name})[{index}]", ""

    def alloc(self, buffer: Buffer) -> None:
        if buffer.size < 0:
            raise CompileError(f"the size of scratch buffer %{buffer.name} is not known")
        name = self._name(buffer.name)
        self._buffers[buffer.name] = (name, "")
        size = max(buffer.size, 1) * (2 if buffer.dtype.kind == "c" else 1)
        # As wide as its widest reader could want.
        self._line(f"__attribute__((aligned(16))) {self._module.memory_type(buffer.dtype)} {name}[{size}];")

    # --- control ---

    def loop(self, loop: For, start: _Text, stop: _Text, body: Callable[[_Text], None]) -> None:
        if loop is self._part.work:
            self._work_items(loop, stop, body)
            return
        if not stop.stable:  # C would look again in each turn
            stop = self._declare("stop", stop, self._module.type(loop.var.dtype))
        if loop.bind == "unroll":
            self._line("#pragma unroll")
        live = set(self._live)
        name = _Text(self._name(loop.var.name), _ATOM)
        order = "<" if loop.step > 0 else ">"
        step = {1: f"++{name}", -1: f"--{name}"}.get(loop.step)
        if step is None:
            step = f"{name} {'+' if loop.step > 0 else '-'}= {abs(loop.step)}"
        ctype = self._module.type(loop.var.dtype)
        with self._block(f"for ({ctype} {name} = {start}; {name} {order} {_at(stop, _ADD)}; {step})"):
            body(name)
        self._live = live

    def while_(self, cond: Callable[[], _Text], body: Callable[[], None]) -> None:
        with self._block("while (true)"):
            self._line(f"if (!({cond()})) break;")
            body()

    def if_(self, cond: _Text, then: Callable[[], None], orelse: Callable[[], None] | None) -> None:
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

    def note(self, flag: int) -> None:
        self._line(f"atomic_or(&status[1], {flag});")

    def extern(
        self, name: str, buffers: Sequence[tuple[Buffer, _Text]], args: Sequence[_Text], dtype: DType
    ) -> None:
        illegal(f"the library function {name!r}", "legalize")

    def launch(self, kernel: str, buffers: Sequence[Buffer], scalars: Sequence[_Text]) -> None:
        illegal("a launch inside a kernel", "lower-to-loops")

    def reserve(self, buffer: Buffer, nbytes: _Text, code: int) -> None:
        illegal("memory reserved inside a kernel", "lower-to-loops")
