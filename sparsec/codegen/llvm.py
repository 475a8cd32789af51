"""Loop IR to LLVM IR text: one internal function for each kernel, one exported entry for the host body.

    i32 entry(ptr pointers, ptr arena, ptr flags)

`pointers` holds the addresses of parameters and results (`sparsec.ir.abi`), `flags` two i32: notes are or-ed into
the first, the second says how many threads may take part. The result is 0, or the code of the `Fail` that stopped
the program. The text depends on nothing
but the program and the target's facts, so it is stable, can be diffed, and can be a cache key.

What the generated code promises: integers wrap; floats are computed as written (no fast-math flag, no
contraction); no access assumes more alignment than the buffer states.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.codegen.emit import Emitter, illegal, post_order
from sparsec.codegen.gemm import few_rows_kernel, gemm_kernel, has_few_rows, part_dtype
from sparsec.codegen.pool import SHARE
from sparsec.codegen.threads import Scalar, Shared, ThreadEmitter, sharing_functions
from sparsec.errors import CompileError
from sparsec.ir.abi import pointer_index
from sparsec.ir.loop_rewrite import index_step, reads, simplify, writes
from sparsec.ir.loops import (
    Apply,
    Assign,
    Body,
    Buffer,
    Const,
    Expr,
    Fail,
    For,
    Kernel,
    Launch,
    Let,
    Load,
    Mut,
    Note,
    Program,
    Reserve,
    Slot,
    Stmt,
    Store,
    While,
    exprs,
    walk_stmts,
)
from sparsec.ir.types import BOOL, F32, F64, I64, DType, dtype_name

__all__ = ["ENTRY", "LlvmBuilder", "LlvmTarget", "blas_symbol", "has_intrinsic", "llvm_text"]

ENTRY = "sparsec_entry"

#: Scratch memory lives on the stack; more than this belongs in the arena.
MAX_STACK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LlvmTarget:
    """Facts of the CPU that code is made for; the defaults fit every one.

    `blas_bits` is the width of the integers of the BLAS that will be linked in, 0 if there is none.
    """

    triple: str = ""
    data_layout: str = ""
    cpu: str = ""
    features: str = ""
    vector_bits: int = 0  # preferred; 0: LLVM's choice
    vector_bytes: int = 16  # what a vector register holds
    blas_bits: int = 0
    threads: bool = False  # whether loops may be shared out: then `pool.SHARE` will be linked in


def blas_symbol(function: str, dtype: DType) -> str:
    """The name under which generated code calls `gemm`, `syrk`, `gemv` or `dot` of `dtype`."""
    return f"sparsec_{function}_{dtype_name(dtype)}"


def llvm_text(program: Program, target: LlvmTarget | None = None) -> str:
    """The whole module. Raises CompileError for a node that an earlier pass should have removed."""
    return _Module(program, target or LlvmTarget()).text()


# --- values ----------------------------------------------------------------------------------------------


def _type(dtype: DType) -> str:
    """The LLVM type of a value in a register."""
    match dtype.kind:
        case "b":
            return "i1"
        case "i" | "u":
            return f"i{8 * dtype.itemsize}"
        case "f":
            return {2: "half", 4: "float", 8: "double"}[dtype.itemsize]
    illegal(f"a value of {dtype}", "legalize")


def _memory_type(dtype: DType) -> str:
    return "i8" if dtype.kind == "b" else _type(dtype)


def _constant(value: Any, dtype: DType) -> str:
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


class _Module:
    """Collects functions, declarations, constants and metadata of one program."""

    def __init__(self, program: Program, target: LlvmTarget) -> None:
        self.program = program
        self.target = target
        self.kernels = {kernel.name: kernel for kernel in program.kernels}
        self.symbols = {kernel.name: f"k{n}.{_safe(kernel.name)}" for n, kernel in enumerate(program.kernels)}
        if len(self.symbols) != len(program.kernels):
            raise CompileError(f"program {program.name!r} has two kernels of one name")
        self.declarations: dict[str, None] = {}
        self.functions: list[str] = []
        self.metadata: list[str] = []
        self.heap = 1 + max((slot.position for slot in program.slots if slot.role == "heap"), default=-1)
        self.reserves = any(isinstance(stmt, Reserve) for stmt in walk_stmts(program.body))
        self._gemms: set[str] = set()
        self._fixed = _fixed(program)

    def text(self) -> str:
        constants = self._constants()
        for kernel in self.program.kernels:
            self.functions.append(self._kernel(kernel, self.symbols[kernel.name]))
        entry = self._entry()
        parts = [self._header(), *constants, *self.functions, entry]
        if self.declarations:
            parts.append("\n".join(self.declarations))
        parts.append("\n".join([self._attributes(), *self.metadata]))
        return "\n\n".join(parts) + "\n"

    def _header(self) -> str:
        lines = [f"; program {_safe(self.program.name)}"]
        if self.target.data_layout:
            lines.append(f'target datalayout = "{self.target.data_layout}"')
        if self.target.triple:
            lines.append(f'target triple = "{self.target.triple}"')
        return "\n".join(lines)

    def _attributes(self) -> str:
        facts = ["nounwind"]
        for key, value in (("target-cpu", self.target.cpu), ("target-features", self.target.features)):
            if value:
                facts.append(f'"{key}"="{value}"')
        if self.target.vector_bits:
            facts.append(f'"prefer-vector-width"="{self.target.vector_bits}"')
        # A call costs a nanosecond; inlined kernels would lose what `noalias` says about their arguments.
        return f"attributes #0 = {{ {' '.join(facts)} }}\nattributes #1 = {{ noinline }}"

    def _constants(self) -> list[str]:
        return [
            f"{_const_name(n)} = internal unnamed_addr constant [{len(slot.data)} x i8] {_bytes(slot.data)}, "
            f"align {max(64, slot.buffer.align)}"
            for n, slot in enumerate(self.program.slots)
            if slot.role == "const"
        ]

    def declare(self, line: str) -> None:
        self.declarations.setdefault(f"declare {line}")

    def node(self, text: str) -> str:
        """A metadata node; returns its reference."""
        self.metadata.append(f"!{len(self.metadata)} = {text}")
        return f"!{len(self.metadata) - 1}"

    def _kernel(self, kernel: Kernel, symbol: str) -> str:
        emitter: type[Emitter[str]] = ThreadEmitter if self.target.threads else Emitter
        scalars = [Scalar(name) for name in kernel.scalars]
        return self._function(symbol, kernel.body, kernel.buffers, scalars, self._fixed.get(kernel.name, {}), emitter)

    def _function(
        self,
        symbol: str,
        body: Body,
        buffers: Sequence[Buffer],
        scalars: Sequence[Scalar],
        fixed: Mapping[str, str],
        emitter: type[Emitter[str]] = Emitter,
    ) -> str:
        """A function of its buffers, then its scalars, then the flags. `fixed`: buffers whose place is known."""
        from sparsec.codegen.lanes import LaneBuilder  # which builds on this file

        builder = LaneBuilder(self, notes=_has(body, Note))
        pointers = {buffer.name: f"%b{n}" for n, buffer in enumerate(buffers)}
        names = {scalar.var.name: f"%s{n}" for n, scalar in enumerate(scalars)}
        builder.pointers.update({**pointers, **fixed})
        emitter(builder, buffers, names, {scalar.var.name for scalar in scalars if not scalar.index}).body(body)
        builder.leave("0")
        parameters = [_parameter(buffer, pointers[buffer.name]) for buffer in buffers]
        parameters += [f"{_type(s.var.dtype)} {s.facts}{names[s.var.name]}" for s in scalars]
        parameters.append("ptr noalias %flags")
        return f"define internal i32 @{symbol}({', '.join(parameters)}) #0 #1 {{\n{builder.text()}\n}}"

    def shared(self, loop: Shared, fixed: Mapping[str, str]) -> str:
        """The function that has a loop's turns run by several threads (`threads.py`)."""
        symbol = f"shared{len(self.functions)}"
        scalars = (*loop.scalars, *loop.bounds)
        self.functions.append(self._function(f"{symbol}.part", (loop.part,), loop.buffers, scalars, fixed))
        types = [*("ptr" for _ in loop.buffers), *(_type(scalar.var.dtype) for scalar in loop.scalars)]
        self.functions += [f.text() for f in sharing_functions(symbol, f"{symbol}.part", types, loop)]
        self.declare(f"i32 @{SHARE}(ptr, ptr, i64, i64, i64, i32)")
        return symbol

    def _entry(self) -> str:
        builder = LlvmBuilder(self, notes=_has(self.program.body, Note))
        index = pointer_index(self.program)
        for n, slot in enumerate(self.program.slots):
            builder.pointers[slot.buffer.name] = self._slot(builder, n, slot, index)
            if slot.role in ("heap", "made"):
                builder.reserved.add(slot.buffer.name)
        Emitter(builder, [slot.buffer for slot in self.program.slots]).body(self.program.body)
        builder.leave("0")
        given = "ptr %pointers, ptr %arena, ptr %flags"
        entry = "sparsec_attempt" if self.program.restores else ENTRY
        linkage = "internal " if self.program.restores else ""
        if self.reserves:
            self.declare("ptr @sparsec_malloc(i64)")
            self.declare("void @sparsec_free(ptr)")
            self.functions.append(_RESERVE)
        if not self.heap:
            text = f"define {linkage}i32 @{entry}({given}) #0 {{\n{builder.text()}\n}}"
        else:
            body = f"define internal i32 @host({given}, ptr noalias %heap) #0 #1 {{\n{builder.text()}\n}}"
            text = f"{body}\n\n{_with_heap(self.heap, f'define {linkage}i32 @{entry}({given})')}"
        return f"{text}\n\n{self._restoring(index, entry, given)}" if self.program.restores else text

    def _restoring(self, index: dict[str, int], attempt: str, given: str) -> str:
        """The entry of a program some of whose parameters get back what they held if it fails."""
        self.declare("void @llvm.memcpy.p0.p0.i64(ptr, ptr, i64, i1)")
        slots = {slot.buffer.name: slot for slot in self.program.slots}
        lines, copies = [], []
        for k, restore in enumerate(self.program.restores):
            buffer = slots[restore.buffer].buffer
            lines += [f"%at{k} = getelementptr inbounds ptr, ptr %pointers, i64 {index[restore.buffer]}",
                      f"%held{k} = load ptr, ptr %at{k}, align 8",
                      f"%kept{k} = getelementptr inbounds i8, ptr %arena, i64 {slots[restore.kept].position}"]
            copies.append((f"ptr %held{k}", f"ptr %kept{k}", buffer.size * buffer.dtype.itemsize))
        copy = "call void @llvm.memcpy.p0.p0.i64({}, {}, i64 {}, i1 false)"
        lines += [copy.format(kept, held, nbytes) for held, kept, nbytes in copies]
        lines += [f"%status = call i32 @{attempt}(ptr %pointers, ptr %arena, ptr %flags)",
                  "%fine = icmp eq i32 %status, 0", "br i1 %fine, label %done, label %undo"]
        undo = [copy.format(held, kept, nbytes) for held, kept, nbytes in copies]
        blocks = (("entry", lines), ("undo", [*undo, "br label %done"]), ("done", ["ret i32 %status"]))
        body = "\n".join(f"{label}:\n" + "\n".join(f"  {line}" for line in block) for label, block in blocks)
        return f"define i32 @{ENTRY}({given}) #0 {{\n{body}\n}}"

    def _slot(self, builder: LlvmBuilder, n: int, slot: Slot, index: dict[str, int]) -> str:
        match slot.role:
            case "param" | "result" | "made":
                at = builder.op(f"getelementptr inbounds ptr, ptr %pointers, i64 {index[slot.buffer.name]}")
                return builder.op(f"load ptr, ptr {at}, align 8")
            case "arena":
                return builder.op(f"getelementptr inbounds i8, ptr %arena, i64 {slot.position}")
            case "const":
                return _const_name(n)
            case "heap":  # where the address stands: it changes
                return builder.op(f"getelementptr inbounds {{ ptr, i64 }}, ptr %heap, i64 {slot.position}")
        raise CompileError(f"a slot cannot have the role {slot.role!r}")

    def gemm(self, dtype: DType, args: Sequence[str]) -> str:
        """The function that multiplies matrices of `dtype`, made when first asked for. args: `GEMM_SCALARS`."""
        numbers = [int(arg) for arg in args if arg.lstrip("-").isdigit()]
        few = len(numbers) == len(args) and has_few_rows(dtype, numbers)
        name = f"gemm.{'few.' if few else ''}{dtype_name(dtype)}"
        if name not in self._gemms:
            self._gemms.add(name)
            bits = self.target.blas_bits if dtype.kind in "fc" and dtype.itemsize > 2 else 0
            fused = "+fma" in self.target.features.split(",")
            made = few_rows_kernel("gemm", dtype, fused) if few else gemm_kernel("gemm", dtype, bits)
            self.functions.append(self._kernel(made, name))
        return name


#: A block of memory (`ir.block`): its address and its bytes.
_RESERVE = """\
define internal i1 @reserve(ptr %block, i64 %nbytes) #0 {
entry:
  %place = getelementptr inbounds { ptr, i64 }, ptr %block, i64 0, i32 1
  %held = load i64, ptr %place, align 8
  %enough = icmp ule i64 %nbytes, %held
  br i1 %enough, label %done, label %grow
grow:
  %old = load ptr, ptr %block, align 8
  call void @sparsec_free(ptr %old)
  %new = call ptr @sparsec_malloc(i64 %nbytes)
  %none = icmp eq ptr %new, null
  %holds = select i1 %none, i64 0, i64 %nbytes
  store ptr %new, ptr %block, align 8
  store i64 %holds, ptr %place, align 8
  br i1 %none, label %failed, label %done
failed:
  ret i1 false
done:
  ret i1 true
}"""


def _with_heap(count: int, head: str) -> str:
    """The function around a program that reserves memory: it is given back however the program ends."""
    table = f"[{count} x {{ ptr, i64 }}]"
    lines = [f"%heap = alloca {table}, align 8", f"store {table} zeroinitializer, ptr %heap, align 8",
             "%status = call i32 @host(ptr %pointers, ptr %arena, ptr %flags, ptr %heap)"]
    for k in range(count):
        lines += [f"%at{k} = getelementptr inbounds {{ ptr, i64 }}, ptr %heap, i64 {k}",
                  f"%block{k} = load ptr, ptr %at{k}, align 8", f"call void @sparsec_free(ptr %block{k})"]
    body = "\n".join(f"  {line}" for line in (*lines, "ret i32 %status"))
    return f"{head} #0 {{\n{body}\n}}"


def _fixed(program: Program) -> dict[str, dict[str, str]]:
    """By kernel, the buffers that are one literal wherever it is launched: its code may look into that."""
    literals = {slot.buffer.name: _const_name(n) for n, slot in enumerate(program.slots) if slot.role == "const"}
    passed: dict[str, list[set[str]]] = {}
    for stmt in walk_stmts(program.body):
        if isinstance(stmt, Launch):
            for places, slot in zip(passed.setdefault(stmt.kernel, [set() for _ in stmt.buffers]), stmt.buffers):
                places.add(literals.get(slot, ""))
    return {kernel.name: {buffer.name: place for buffer, places in zip(kernel.buffers, passed.get(kernel.name, ()))
                          if len(places) == 1 and (place := next(iter(places)))} for kernel in program.kernels}


def _safe(name: str) -> str:
    """A name that can stand in LLVM text and in a symbol table, whatever it was."""
    return re.sub(r"[^A-Za-z0-9_.]", "_", name)


def _const_name(n: int) -> str:
    return f"@c{n}"


def _bytes(data: bytes) -> str:
    if not any(data):
        return "zeroinitializer"
    plain = b" !#$%&'()*+,-./:;<=>?@[]^_`{|}~"
    shown = "".join(chr(x) if (x < 128 and chr(x).isalnum()) or x in plain else f"\\{x:02X}" for x in data)
    return f'c"{shown}"'


def _parameter(buffer: Buffer, name: str) -> str:
    words = ["ptr noalias"]
    if buffer.access == "r":
        words.append("readonly")
    if buffer.align > 1:
        words.append(f"align {buffer.align & -buffer.align}")
    return " ".join([*words, name])


def _has(body: Body, kind: type) -> bool:
    return any(isinstance(stmt, kind) for stmt in walk_stmts(body))


# --- one function ----------------------------------------------------------------------------------------


class LlvmBuilder:
    """Writes one function; a value is the text of an operand (`%v7`, `3`)."""

    def __init__(self, module: _Module, *, notes: bool) -> None:
        self._module = module
        self._count = 0
        self._block = "entry"
        self._allocas: list[str] = []
        self._lines: list[str] = []
        self._stack = 0
        self._groups: list[str] = []  # access groups of the parallel loops around
        self._private: set[str] = set()
        self.pointers: dict[str, str] = {}
        self.reserved: set[str] = set()  # buffers whose pointer is where their address stands
        # Notes gather in a register and reach the flag word once, when the function is left: a store in a
        # loop would keep it from being vectorised.
        self._notes = self._alloca("i32", 1, 4) if notes else ""
        if notes:
            self._line(f"store i32 0, ptr {self._notes}")

    def text(self) -> str:
        return "\n".join(["entry:", *self._allocas, *self._lines])

    def _line(self, text: str) -> None:
        self._lines.append(f"  {text}")

    def _fresh(self, prefix: str = "v") -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def op(self, text: str) -> str:
        """An instruction with a result."""
        name = f"%{self._fresh()}"
        self._line(f"{name} = {text}")
        return name

    def _label(self, label: str) -> None:
        self._lines.append(f"{label}:")
        self._block = label

    def _jump(self, label: str, loop: str = "") -> None:
        self._line(f"br label %{label}{loop}")

    def _alloca(self, kind: str, count: int, align: int) -> str:
        name = f"%{self._fresh('a')}"
        shape = kind if count == 1 else f"[{count} x {kind}]"
        self._allocas.append(f"  {name} = alloca {shape}, align {align}")
        return name

    # --- scalars ---

    def const(self, value: Any, dtype: DType) -> str:
        return _constant(value, dtype)

    def _kind(self, dtype: DType) -> str:
        """The LLVM type of what is being computed."""
        return _type(dtype)

    def _literal(self, value: Any, dtype: DType) -> str:
        """A constant of that type."""
        return _constant(value, dtype)

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
            return self._call(f"llvm.fabs.{_suffix(kind)}", kind, [(kind, args[0])])
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
                return self._call(f"llvm.abs.{_suffix(kind)}", kind, [(kind, args[0]), ("i1", "false")])
            case "min" | "max":
                name = f"llvm.{'s' if signed else 'u'}{fn}.{_suffix(kind)}"
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
            return self._call(f"llvm.{_INTRINSICS[fn]}.{_suffix(kind)}", kind, operands)
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
        self._module.declare(f"{kind} @{name}({', '.join(t for t, _ in args)}){pure}")
        return self.op(f"call {kind} @{name}({', '.join(f'{t} {v}' for t, v in args)})")

    # --- names ---

    def let(self, name: str, value: str, dtype: DType) -> str:
        return value

    def mut(self, name: str, value: str, dtype: DType) -> str:
        place = self._alloca(_type(dtype), 1, dtype.itemsize)
        self.assign(place, value, dtype)
        return place

    def get(self, place: str, dtype: DType) -> str:
        return self.op(f"load {_type(dtype)}, ptr {place}, align {dtype.itemsize}")

    def assign(self, place: str, value: str, dtype: DType) -> None:
        self._line(f"store {_type(dtype)} {value}, ptr {place}, align {dtype.itemsize}")

    # --- memory ---

    def load(self, buffer: Buffer, index: str, dtype: DType) -> str:
        kind = _memory_type(dtype)
        value = self.op(f"load {kind}, ptr {self._address(buffer, index, kind)}{self._access(buffer, dtype)}")
        return self.op(f"icmp ne i8 {value}, 0") if dtype.kind == "b" else value

    def store(self, buffer: Buffer, index: str, value: str, dtype: DType) -> None:
        kind = _memory_type(dtype)
        if dtype.kind == "b":
            value = self.op(f"zext i1 {value} to i8")
        at = self._address(buffer, index, kind)
        self._line(f"store {kind} {value}, ptr {at}{self._access(buffer, dtype)}")

    def _address(self, buffer: Buffer, index: str, kind: str) -> str:
        return self.op(f"getelementptr inbounds {kind}, ptr {self._base(buffer)}, i64 {index}")

    def _base(self, buffer: Buffer) -> str:
        """The address of a buffer's first element."""
        place = self.pointers[buffer.name]
        return self.op(f"load ptr, ptr {place}, align 8") if buffer.name in self.reserved else place

    def _access(self, buffer: Buffer, dtype: DType) -> str:
        stated = max(buffer.align & -buffer.align, 1)
        text = f", align {min(dtype.itemsize, stated)}"
        if self._groups and buffer.name not in self._private:
            groups = self._groups[0] if len(self._groups) == 1 else f"!{{{', '.join(self._groups)}}}"
            text += f", !llvm.access.group {groups}"
        return text

    def alloc(self, buffer: Buffer) -> None:
        if buffer.size < 0:
            raise CompileError(f"the size of scratch buffer %{buffer.name} is not known")
        self._stack += buffer.size * buffer.dtype.itemsize
        if self._stack > MAX_STACK_BYTES:
            illegal(f"{self._stack} bytes of scratch memory in one kernel", "the memory planner")
        kind = _memory_type(buffer.dtype)
        align = max(64, buffer.align & -buffer.align)
        self.pointers[buffer.name] = self._alloca(kind, max(buffer.size, 1), align)
        self._private.add(buffer.name)

    # --- control ---

    def loop(self, loop: For, start: str, stop: str, body: Callable[[str], None]) -> None:
        head, inside, latch, done = (self._fresh(n) for n in ("head", "body", "next", "done"))
        kind, before = _type(loop.var.dtype), self._block
        counter, following = f"%{self._fresh('i')}", f"%{self._fresh('i')}"
        self._jump(head)
        self._label(head)
        self._line(f"{counter} = phi {kind} [ {start}, %{before} ], [ {following}, %{latch} ]")
        signed = "u" if loop.var.dtype.kind == "u" else "s"
        more = self.op(f"icmp {signed}{'lt' if loop.step > 0 else 'gt'} {kind} {counter}, {stop}")
        self._line(f"br i1 {more}, label %{inside}, label %{done}")
        self._label(inside)
        promised = loop.bind in _INDEPENDENT and _order_shows(loop.body)
        group = self._module.node("distinct !{}") if promised else ""
        outer = self._groups
        self._groups = [*outer, group] if group else outer
        body(counter)
        self._groups = outer
        self._jump(latch)
        self._label(latch)
        nsw = " nsw" if signed == "s" else ""
        self._line(f"{following} = add{nsw} {kind} {counter}, {loop.step}")
        self._jump(head, self._loop_facts(loop, group))
        self._label(done)

    def _loop_facts(self, loop: For, group: str) -> str:
        facts = []
        if group:
            facts.append(f'!{{!"llvm.loop.parallel_accesses", {group}}}')
        if loop.bind == "vector" and _order_free(loop):
            facts.append('!{!"llvm.loop.vectorize.enable", i1 true}')
        if loop.bind == "unroll":
            facts.append('!{!"llvm.loop.unroll.enable"}')
        if self._module.target.vector_bits >= 512 and group and _wants_masked_tail(loop):
            facts.append('!{!"llvm.loop.vectorize.predicate.enable", i1 true}')
        if not facts:
            return ""
        nodes = ", ".join(self._module.node(fact) for fact in facts)
        itself = f"!{len(self._module.metadata)}"  # what makes one loop's facts differ from another's
        return f", !llvm.loop {self._module.node(f'distinct !{{{itself}, {nodes}}}')}"

    def while_(self, cond: Callable[[], str], body: Callable[[], None]) -> None:
        head, inside, done = (self._fresh(n) for n in ("head", "body", "done"))
        self._jump(head)
        self._label(head)
        self._line(f"br i1 {cond()}, label %{inside}, label %{done}")
        self._label(inside)
        body()
        self._jump(head)
        self._label(done)

    def if_(self, cond: str, then: Callable[[], None], orelse: Callable[[], None] | None) -> None:
        yes, no, done = (self._fresh(n) for n in ("then", "else", "done"))
        self._line(f"br i1 {cond}, label %{yes}, label %{no if orelse else done}")
        self._label(yes)
        then()
        self._jump(done)
        if orelse:
            self._label(no)
            orelse()
            self._jump(done)
        self._label(done)

    # --- effects ---

    def leave(self, code: str) -> None:
        """Returns, with the notes delivered."""
        if self._notes:
            notes = self.op(f"load i32, ptr {self._notes}")
            self.op(f"atomicrmw or ptr %flags, i32 {notes} monotonic")
        self._line(f"ret i32 {code}")

    def fail(self, code: int) -> None:
        if code <= 0:
            raise CompileError(f"Fail({code}): the code must be positive")
        self.leave(str(code))
        self._label(self._fresh("dead"))

    def note(self, flag: int) -> None:
        old = self.op(f"load i32, ptr {self._notes}")
        self._line(f"store i32 {self.op(f'or i32 {old}, {flag}')}, ptr {self._notes}")

    def launch(self, kernel: str, buffers: Sequence[Buffer], scalars: Sequence[str]) -> None:
        known = self._module.kernels.get(kernel)
        if known is None:
            raise CompileError(f"launch of @{kernel}, which the program does not have")
        if len(buffers) != len(known.buffers) or len(scalars) != len(known.scalars):
            raise CompileError(f"launch of @{kernel} with the wrong number of arguments")
        args = [f"ptr {self._base(buffer)}" for buffer in buffers]
        args += [f"i64 {scalar}" for scalar in scalars]
        self._checked_call(self._module.symbols[kernel], args, can_fail=_has(known.body, Fail))

    def reserve(self, buffer: Buffer, nbytes: str, code: int) -> None:
        stop, go_on = self._fresh("failed"), self._fresh("passed")
        fine = self.op(f"call i1 @reserve(ptr {self.pointers[buffer.name]}, i64 {nbytes})")
        self._line(f"br i1 {fine}, label %{go_on}, label %{stop}")
        self._label(stop)
        self.leave(str(code))
        self._label(go_on)

    def share(self, loop: Shared, scalars: Sequence[str], start: str, turns: str, work: str) -> None:
        """Runs a loop whose turns several threads may share. `work`: its picoseconds, about."""
        args = [f"ptr {self.pointers[buffer.name]}" for buffer in loop.buffers]
        args += [f"{_type(scalar.var.dtype)} {value}" for scalar, value in zip(loop.scalars, scalars)]
        args += [f"i64 {value}" for value in (start, turns, work)]
        places = {buffer.name: self.pointers[buffer.name] for buffer in loop.buffers}
        fixed = {name: place for name, place in places.items() if place.startswith("@")}
        self._checked_call(self._module.shared(loop, fixed), args, can_fail=_has((loop.part,), Fail))

    def _checked_call(self, symbol: str, args: list[str], *, can_fail: bool) -> None:
        status = self.op(f"call i32 @{symbol}({', '.join([*args, 'ptr %flags'])})")
        if not can_fail:
            return
        stop, go_on = self._fresh("failed"), self._fresh("passed")
        failed = self.op(f"icmp ne i32 {status}, 0")
        self._line(f"br i1 {failed}, label %{stop}, label %{go_on}")
        self._label(stop)
        self.leave(status)
        self._label(go_on)

    def extern(
        self, name: str, buffers: Sequence[tuple[Buffer, str]], args: Sequence[str], dtype: DType
    ) -> None:
        pointers = [f"ptr {self._base(buffer)}" for buffer, _ in buffers]
        match name:
            case "gemm":
                self._gemm(buffers, args, dtype)
            case "cblas_gemm":
                self._cblas_gemm(pointers, args, dtype)
            case "cblas_syrk":
                self._cblas_syrk(pointers, args, dtype)
            case "cblas_gemv":
                self._cblas_gemv(pointers, args, dtype)
            case "cblas_dot":
                self._cblas_dot(pointers, args, dtype)
            case _:
                illegal(f"the library function {name!r}", "legalize")

    def _gemm(self, buffers: Sequence[tuple[Buffer, str]], args: Sequence[str], dtype: DType) -> None:
        symbol = self._module.gemm(dtype, args)
        element = f"[{dtype.itemsize} x i8]"
        pointers = [self._address(buffer, first, element) for buffer, first in buffers]
        words = [self.op(f"ptrtoint ptr {pointer} to i64") for pointer in pointers]
        low = self.op(f"or i64 {self.op(f'or i64 {words[0]}, {words[1]}')}, {words[2]}")
        low = self.op(f"and i64 {low}, {part_dtype(dtype).itemsize - 1}")
        aligned = self.op(f"zext i1 {self.op(f'icmp eq i64 {low}, 0')} to i64")
        same = self.op(f"zext i1 {self.op(f'icmp eq ptr {pointers[1]}, {pointers[2]}')} to i64")
        operands = [*(f"ptr {p}" for p in pointers), *(f"i64 {a}" for a in (*args, aligned, same))]
        self._checked_call(symbol, operands, can_fail=False)

    def _cblas_gemm(self, pointers: list[str], args: Sequence[str], dtype: DType) -> None:
        """`cblas_?gemm(RowMajor, …)` with alpha 1 and beta 0."""
        a_rows, b_rows, *sizes = args
        c, a, b = pointers
        m, n, k, lda, ldb, ldc = self._blas_words(sizes)
        one, zero = self._blas_factor(1.0, dtype), self._blas_factor(0.0, dtype)
        modes = [self._blas_mode(a_rows), self._blas_mode(b_rows)]
        operands = ["i32 101", *modes, m, n, k, one, a, lda, b, ldb, zero, c, ldc]
        self._blas_call("void", "gemm", operands, dtype)

    def _cblas_syrk(self, pointers: list[str], args: Sequence[str], dtype: DType) -> None:
        """`cblas_?syrk(RowMajor, Upper, …)` with alpha 1 and beta 0."""
        a_rows, *sizes = args
        c, a = pointers
        n, k, lda, ldc = self._blas_words(sizes)
        one, zero = self._blas_factor(1.0, dtype), self._blas_factor(0.0, dtype)
        operands = ["i32 101", "i32 121", self._blas_mode(a_rows), n, k, one, a, lda, zero, c, ldc]
        self._blas_call("void", "syrk", operands, dtype)

    def _cblas_gemv(self, pointers: list[str], args: Sequence[str], dtype: DType) -> None:
        """`cblas_?gemv(RowMajor, …)` with alpha 1 and beta 0."""
        a_rows, *sizes = args
        y, a, x = pointers
        rows, cols, lda, x_step, y_step = self._blas_words(sizes)
        one, zero = self._blas_factor(1.0, dtype), self._blas_factor(0.0, dtype)
        operands = ["i32 101", self._blas_mode(a_rows), rows, cols, one, a, lda, x, x_step, zero, y, y_step]
        self._blas_call("void", "gemv", operands, dtype)

    def _cblas_dot(self, pointers: list[str], args: Sequence[str], dtype: DType) -> None:
        """`cblas_?dot`, or `cblas_?dotu_sub` of complex vectors, into the one element of C."""
        c, x, y = pointers
        k, x_step, y_step = self._blas_words(args)
        operands = [k, x, x_step, y, y_step]
        if dtype.kind == "c":
            self._blas_call("void", "dot", [*operands, c], dtype)
            return
        kind = _type(dtype)
        total = self._blas_call(kind, "dot", operands, dtype)
        self._line(f"store {kind} {total}, {c}, align {dtype.itemsize}")

    def _blas_call(self, result: str, function: str, operands: Sequence[str], dtype: DType) -> str:
        symbol = blas_symbol(function, dtype)
        self._module.declare(f"{result} @{symbol}({', '.join(operand.split()[0] for operand in operands)})")
        call = f"call {result} @{symbol}({', '.join(operands)})"
        if result != "void":
            return self.op(call)
        self._line(call)
        return ""

    def _blas_words(self, sizes: Sequence[str]) -> list[str]:
        """i64 values as operands of the width that the BLAS takes."""
        word = f"i{self._module.target.blas_bits}"
        if word != "i64":
            sizes = [self.op(f"trunc i64 {size} to {word}") for size in sizes]
        return [f"{word} {size}" for size in sizes]

    def _blas_mode(self, rows: str) -> str:
        """NoTrans where the rows are consecutive, else Trans."""
        return f"i32 {self.op(f'select i1 {rows}, i32 111, i32 112')}"

    def _blas_factor(self, value: float, dtype: DType) -> str:
        """A factor by value; complex ones go by pointer."""
        kind = _type(part_dtype(dtype))
        literal = _constant(value, part_dtype(dtype))
        if dtype.kind != "c":
            return f"{kind} {literal}"
        place = self._alloca(kind, 2, 16)
        zero = _constant(0.0, part_dtype(dtype))
        self._line(f"store [2 x {kind}] [{kind} {literal}, {kind} {zero}], ptr {place}")
        return f"ptr {place}"


_INDEPENDENT = ("parallel", "vector", "group", "local")


def _suffix(kind: str) -> str:
    """What the name of an intrinsic calls a type: `v16f32` for `<16 x float>`."""
    if kind.startswith("<"):
        count, element = kind[1:-1].split(" x ")
        return f"v{count}{_suffix(element)}"
    return {"float": "f32", "double": "f64", "half": "f16"}.get(kind, kind)


def _order_shows(body: Body) -> bool:
    """Whether no turn comes back to what it has stored, as far as indexes tell.

    LLVM takes a loop whose turns are independent for one without any dependence, also inside a turn: when it
    joins strided accesses into wide ones, it moves them past each other.
    """
    stored: list[tuple[str, Expr]] = []

    def apart(buffer: str, at: Expr) -> bool:
        return all(name != buffer or _differ(index, at) for name, index in stored)

    for stmt in walk_stmts(body):
        inner = stmt.body if isinstance(stmt, (For, While)) else ()
        carries = isinstance(stmt, While) or (isinstance(stmt, For) and stmt.bind not in _INDEPENDENT)
        if carries and set(reads(inner)) & set(writes(inner)):
            return False
        for node in post_order(exprs(stmt)):
            if isinstance(node, Load) and not apart(node.buffer, node.index):
                return False
        if isinstance(stmt, Store):
            if not apart(stmt.buffer, stmt.index):
                return False
            stored.append((stmt.buffer, stmt.index))
    return True


def _differ(a: Expr, b: Expr) -> bool:
    """Whether two positions are a known distance apart, other than none."""
    distance = simplify(Apply("sub", (a, b), I64))
    return isinstance(distance, Const) and distance.value != 0


def _order_free(loop: For) -> bool:
    """Whether LLVM may be told to vectorise: that also allows it to reorder sums and memory accesses, so
    nothing may be carried from one turn to the next."""
    declared: set[str] = set()
    stored: set[str] = set()
    loaded: set[str] = set()
    for stmt in walk_stmts(loop.body):
        loaded.update(_loaded(stmt))
        match stmt:
            case Mut(var=var):
                declared.add(var.name)
            case Assign(var=var) if var.name not in declared:
                return False
            case Store(buffer=buffer):
                if buffer in stored:
                    return False
                stored.add(buffer)
    return not stored & loaded


def _wants_masked_tail(loop: For) -> bool:
    """Whether the last vector of a loop had better be a masked one than single elements: in a short loop whose
    length no vector divides, over neighbouring elements (of others, masks make gathers)."""
    if not (isinstance(loop.start, Const) and isinstance(loop.stop, Const)) or loop.step != 1:
        return False
    turns = int(loop.stop.value.real - loop.start.value.real)
    if not 16 < turns < 512 or turns % 16 == 0:
        return False
    for stmt in loop.body:
        if not isinstance(stmt, Let | Store):
            return False
        places = [node for node in post_order(exprs(stmt)) if isinstance(node, Load)]
        sizes = [(node.index, node.dtype) for node in places]
        if isinstance(stmt, Store):
            sizes.append((stmt.index, stmt.value.dtype))
        if any(dtype.itemsize < 4 or index_step(at, loop.var) not in (0, 1) for at, dtype in sizes):
            return False
    return True


def _loaded(stmt: Stmt) -> set[str]:
    """Buffers that the expressions of `stmt` read."""
    return {node.buffer for node in post_order(exprs(stmt)) if isinstance(node, Load)}
