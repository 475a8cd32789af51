"""Numbers in LLVM IR: types, constants, and the instructions that compute one value from others."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from sparsec.codegen.emit import illegal
from sparsec.ir.types import BOOL, F32, F64, DType

__all__ = ["Declares", "LlvmValues", "constant", "has_intrinsic", "memory_type", "suffix", "value_type"]



def value_type(dtype: DType) -> str:
    """The LLVM type of a value in a register."""
    match dtype.kind:
        case "b":
            return "i1"
        case "i" | "u":
            return f"i{8 * dtype.itemsize}"
        case "f":
            return {2: "half", 4: "float", 8: "double"}[dtype.itemsize]
    illegal(f"a value of {dtype}", "legalize")


def memory_type(dtype: DType) -> str:
    """The LLVM type of a value in memory."""
    return "i8" if dtype.kind == "b" else value_type(dtype)


def constant(value: Any, dtype: DType) -> str:
    """The text of a constant, bit for bit."""
    match dtype.kind:
        case "b":
            return "true" if value else "false"
        case "i" | "u":
            return str(int(value))
    with np.errstate(all="ignore"):
        exact = dtype.type(value)
    if dtype.itemsize == 2:
        return f"0xH{exact.view(np.uint16):04X}"
    # A float literal is written as the double of the same value.
    return f"0x{struct.unpack('<Q', struct.pack('<d', exact))[0]:016X}"


#: Functions with an LLVM intrinsic, which the optimiser knows how to vectorise.
_INTRINSICS = {
    "sqrt": "sqrt", "floor": "floor", "ceil": "ceil", "trunc": "trunc", "rint": "rint",
    "copysign": "copysign", "exp": "exp", "exp2": "exp2", "log": "log", "log2": "log2", "log10": "log10",
    "sin": "sin", "cos": "cos", "pow": "pow", "fma": "fma",
}  # fmt: skip


def has_intrinsic(fn: str) -> bool:
    """Whether a function of the scalar table is one that LLVM knows for vectors, too."""
    return fn in _INTRINSICS


_INT_OPS = {"add": "add", "sub": "sub", "mul": "mul"}
_FLOAT_OPS = {"add": "fadd", "sub": "fsub", "mul": "fmul", "div": "fdiv", "fmod": "frem"}
_FLOAT_COMPARE = {"eq": "oeq", "ne": "une", "lt": "olt", "le": "ole", "gt": "ogt", "ge": "oge"}


def suffix(kind: str) -> str:
    """What the name of an intrinsic calls a type: `v16f32` for `<16 x float>`."""
    if kind.startswith("<"):
        count, element = kind[1:-1].split(" x ")
        return f"v{count}{suffix(element)}"
    return {"float": "f32", "double": "f64", "half": "f16"}.get(kind, kind)


class Declares(Protocol):
    """The module around a function."""

    def declare(self, line: str) -> None:
        """Declares a function of another module, once."""


class LlvmValues:
    """Writes instructions of one function; a value is the text of an operand (`%v7`, `3`)."""

    def __init__(self, module: Declares) -> None:
        self._declares = module
        self._count = 0
        self._allocas: list[str] = []
        self._lines: list[str] = []

    def text(self) -> str:
        return "\n".join(["entry:", *self._allocas, *self._lines])

    def line(self, text: str) -> None:
        """An instruction without a result."""
        self._lines.append(f"  {text}")

    def fresh(self, prefix: str = "v") -> str:
        """A name that nothing has yet."""
        self._count += 1
        return f"{prefix}{self._count}"

    def op(self, text: str) -> str:
        """An instruction with a result."""
        name = f"%{self.fresh()}"
        self.line(f"{name} = {text}")
        return name

    def alloca(self, kind: str, count: int, align: int) -> str:
        """Room on the stack, for as long as the function runs."""
        name = f"%{self.fresh('a')}"
        shape = kind if count == 1 else f"[{count} x {kind}]"
        self._allocas.append(f"  {name} = alloca {shape}, align {align}")
        return name

    def const(self, value: Any, dtype: DType) -> str:
        return constant(value, dtype)

    def _kind(self, dtype: DType) -> str:
        """The LLVM type of what is being computed."""
        return value_type(dtype)

    def _literal(self, value: Any, dtype: DType) -> str:
        """A constant of that type."""
        return constant(value, dtype)

    def arith(self, fn: str, args: Sequence[str], dtype: DType, *, wraps: bool) -> str:
        if dtype.kind == "f":
            return self._float(fn, args, self._kind(dtype))
        return self._integer(fn, args, dtype, "" if wraps else " nsw")

    def _float(self, fn: str, args: Sequence[str], kind: str) -> str:
        if fn in _FLOAT_OPS:
            return self.op(f"{_FLOAT_OPS[fn]} {kind} {args[0]}, {args[1]}")
        if fn == "neg":
            return self.op(f"fneg {kind} {args[0]}")
        if fn == "abs":
            return self._call(f"llvm.fabs.{suffix(kind)}", kind, [(kind, args[0])])
        illegal(f"{fn} on floats", "the op's lowering")

    def _integer(self, fn: str, args: Sequence[str], dtype: DType, nsw: str) -> str:
        kind, signed = self._kind(dtype), dtype.kind == "i"
        match fn:
            case "add" | "sub" | "mul":
                return self.op(f"{_INT_OPS[fn]}{nsw} {kind} {args[0]}, {args[1]}")
            case "quo":
                return self.op(f"{'sdiv' if signed else 'udiv'} {kind} {args[0]}, {args[1]}")
            case "rem":
                return self.op(f"{'srem' if signed else 'urem'} {kind} {args[0]}, {args[1]}")
            case "neg":
                return self.op(f"sub {kind} {self._literal(0, dtype)}, {args[0]}")
            case "abs":
                return self._call(f"llvm.abs.{suffix(kind)}", kind, [(kind, args[0]), ("i1", "false")])
            case "min" | "max":
                name = f"llvm.{'s' if signed else 'u'}{fn}.{suffix(kind)}"
                return self._call(name, kind, [(kind, arg) for arg in args])
        illegal(f"{fn} on integers", "the op's lowering")

    def bits(self, fn: str, args: Sequence[str], dtype: DType) -> str:
        kind = self._kind(dtype)
        if fn == "not":
            return self.op(f"xor {kind} {args[0]}, {self._literal(-1 if dtype.kind != 'b' else True, dtype)}")
        name = {"shr": "ashr" if dtype.kind == "i" else "lshr"}.get(fn, fn)
        return self.op(f"{name} {kind} {args[0]}, {args[1]}")

    def compare(self, fn: str, x: str, y: str, dtype: DType) -> str:
        kind = self._kind(dtype)
        if dtype.kind == "f":
            return self.op(f"fcmp {_FLOAT_COMPARE[fn]} {kind} {x}, {y}")
        sign = "" if fn in ("eq", "ne") else "s" if dtype.kind == "i" else "u"
        return self.op(f"icmp {sign}{fn} {kind} {x}, {y}")

    def select(self, cond: str, x: str, y: str, dtype: DType) -> str:
        kind = self._kind(dtype)
        return self.op(f"select {self._kind(BOOL)} {cond}, {kind} {x}, {kind} {y}")

    def cast(self, x: str, source: DType, dtype: DType) -> str:
        old, new = self._kind(source), self._kind(dtype)
        if dtype.kind == "b":
            return self.compare("ne", x, self._literal(0, source), source)
        if source.kind == "f":
            return self._from_float(x, source, dtype)
        signed = source.kind == "i"
        if dtype.kind == "f":
            convert = "sitofp" if signed else "uitofp"
            if dtype.itemsize == 2:  # exact in float32, or infinite in float16 either way
                single = self._kind(F32)
                return self.op(f"fptrunc {single} {self.op(f'{convert} {old} {x} to {single}')} to {new}")
            return self.op(f"{convert} {old} {x} to {new}")
        if old == new:
            return x
        if source.kind == "b" or dtype.itemsize > source.itemsize:
            return self.op(f"{'sext' if signed else 'zext'} {old} {x} to {new}")
        return self.op(f"trunc {old} {x} to {new}")

    def _from_float(self, x: str, source: DType, dtype: DType) -> str:
        old, new = self._kind(source), self._kind(dtype)
        if dtype.kind in "iu":
            return self.op(f"{'fptosi' if dtype.kind == 'i' else 'fptoui'} {old} {x} to {new}")
        if dtype.itemsize > source.itemsize:
            return self.op(f"fpext {old} {x} to {new}")
        if (source.itemsize, dtype.itemsize) == (8, 2):
            return self._double_to_half(x)
        return self.op(f"fptrunc {old} {x} to {new}")

    def _double_to_half(self, x: str) -> str:
        """Rounds once, without the library function that LLVM would call and many systems lack.

        float64 is first rounded to odd in float32: toward zero, with the last bit set if that was inexact.
        Its 13 extra bits then decide the second rounding as the original would.
        """
        single = self.op(f"fptrunc double {x} to float")
        back = self.op(f"fpext float {single} to double")
        inexact = self.op(f"fcmp one double {back}, {x}")
        sizes = [self._call("llvm.fabs.f64", "double", [("double", v)]) for v in (back, x)]
        above = self.op(f"fcmp ogt double {sizes[0]}, {sizes[1]}")
        step = self.op(f"sext i1 {above} to i32")
        word = self.op(f"bitcast float {single} to i32")
        odd = self.op(f"or i32 {self.op(f'add i32 {word}, {step}')}, 1")
        chosen = self.op(f"select i1 {inexact}, i32 {odd}, i32 {word}")
        return self.op(f"fptrunc float {self.op(f'bitcast i32 {chosen} to float')} to half")

    def bitcast(self, x: str, source: DType, dtype: DType) -> str:
        old, new = self._kind(source), self._kind(dtype)
        return x if old == new else self.op(f"bitcast {old} {x} to {new}")

    def math(self, fn: str, args: Sequence[str], dtype: DType) -> str:
        kind = self._kind(dtype)
        operands = [(kind, arg) for arg in args]
        if fn in _INTRINSICS:
            return self._call(f"llvm.{_INTRINSICS[fn]}.{suffix(kind)}", kind, operands)
        result = self._call(fn + ("f" if dtype.itemsize == 4 else ""), kind, operands)
        return self._closer_cbrt(args[0], result) if fn == "cbrt" and dtype == F64 else result

    def _closer_cbrt(self, x: str, y: str) -> str:
        """One Newton step, for C libraries that are 3 ULP off; not where y*y*y would leave the range."""
        square = self.op(f"fmul double {y}, {y}")
        excess = self.op(f"fsub double {self.op(f'fmul double {square}, {y}')}, {x}")
        slope = self.op(f"fmul double {square}, {self._literal(3.0, F64)}")
        closer = self.op(f"fsub double {y}, {self.op(f'fdiv double {excess}, {slope}')}")
        size = self._call("llvm.fabs.f64", "double", [("double", x)])
        large = self.op(f"fcmp ogt double {size}, {self._literal(2.0**-900, F64)}")
        small = self.op(f"fcmp olt double {size}, {self._literal(2.0**1000, F64)}")
        return self.select(self.op(f"and i1 {large}, {small}"), closer, y, F64)

    def _call(self, name: str, kind: str, args: Sequence[tuple[str, str]]) -> str:
        pure = "" if name.startswith("llvm.") else " nounwind willreturn memory(none)"
        self._declares.declare(f"{kind} @{name}({', '.join(t for t, _ in args)}){pure}")
        return self.op(f"call {kind} @{name}({', '.join(f'{t} {v}' for t, v in args)})")
