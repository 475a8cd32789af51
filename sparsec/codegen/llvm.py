"""Loop IR to LLVM IR text: one function for each kernel, one exported entry for the host body.

    i32 entry(ptr pointers, ptr arena, ptr flags)

A large program is several modules, so that they can be compiled side by side (`runtime.compiling`).

`pointers` holds the addresses of parameters and results (`sparsec.ir.abi`), `flags` two i32: notes are or-ed into
the first, the second says how many threads may take part. The result is 0, or the code of the `Fail` that stopped
the program. The text depends on nothing but the program and the target's facts, so it is stable, can be diffed, and
can be a cache key.

What the generated code promises: integers wrap; floats are computed as written (no fast-math flag, no
contraction); no access assumes more alignment than the buffer states.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sparsec.codegen.emit import Emitter
from sparsec.codegen.gemm import few_rows_kernel, gemm_kernel, has_few_rows
from sparsec.codegen.llvm_builder import LlvmBuilder, has
from sparsec.codegen.llvm_facts import picks_elements
from sparsec.codegen.llvm_values import value_type
from sparsec.codegen.pool import SHARE
from sparsec.codegen.threads import Scalar, Shared, ThreadEmitter, sharing_functions
from sparsec.errors import CompileError
from sparsec.ir.abi import pointer_index
from sparsec.ir.loops import (
    Body,
    Buffer,
    Kernel,
    Launch,
    Note,
    Program,
    Reserve,
    Slot,
    walk_stmts,
)
from sparsec.ir.types import DType, dtype_name

__all__ = ["ENTRY", "LlvmTarget", "Module", "llvm_modules", "llvm_text"]

ENTRY = "sparsec_entry"

#: Statements of a module, at least, before another one is begun: some 200 ms of LLVM's time.
_PART = 1000


@dataclass(frozen=True, slots=True)
class LlvmTarget:
    """Facts of the CPU that code is made for; the defaults fit every one.

    `blas_bits` is the width of the integers of the BLAS that will be linked in, 0 if there is none. `slow_gather`:
    loads of single elements beat the instruction that gathers a vector of them.
    """

    triple: str = ""
    data_layout: str = ""
    cpu: str = ""
    features: str = ""
    vector_bits: int = 0  # preferred; 0: LLVM's choice
    vector_bytes: int = 16  # what a vector register holds
    blas_bits: int = 0
    slow_gather: bool = False
    threads: bool = False  # whether loops may be shared out: then `pool.SHARE` will be linked in


def llvm_text(program: Program, target: LlvmTarget | None = None) -> str:
    """The program as one module. Raises CompileError for a node that an earlier pass should have removed."""
    return Module(program, target or LlvmTarget(), program.kernels).text()


def llvm_modules(program: Program, target: LlvmTarget | None = None) -> Iterator[str]:
    """The program as modules that are linked when they are loaded; a small one is one. Raises as `llvm_text` does."""
    *parts, last = _parts(program)
    for part in parts:
        yield Module(program, target or LlvmTarget(), part, entry=False).text()
    yield Module(program, target or LlvmTarget(), last).text()


def _parts(program: Program) -> list[tuple[Kernel, ...]]:
    """The kernels by module. What they are depends on the program alone, as all that is made does."""
    parts: list[tuple[Kernel, ...]] = [()]
    size = 0
    for kernel in program.kernels:
        if size >= _PART:
            parts.append(())
            size = 0
        parts[-1] += (kernel,)
        size += sum(1 for _ in walk_stmts(kernel.body))
    return parts


class Module:
    """Collects functions, declarations, constants and metadata of one module: of these kernels of a program and,
    with `entry`, of its host body."""

    def __init__(
        self, program: Program, target: LlvmTarget, kernels: Sequence[Kernel], *, entry: bool = True
    ) -> None:
        self.program = program
        self.target = target
        self.entry = entry
        self.kernels = {kernel.name: kernel for kernel in program.kernels}
        self.own = kernels
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

    @property
    def whole(self) -> bool:
        """Whether this is all of the program: then nobody else calls its kernels."""
        return len(self.own) == len(self.kernels)

    def text(self) -> str:
        constants = self._constants()
        for kernel in self.own:
            self.functions.append(self._kernel(kernel, self.symbols[kernel.name], "internal " if self.whole else ""))
        entry = [self._entry()] if self.entry else []
        parts = [self._header(), *constants, *self.functions, *entry]
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
        groups = [facts, ["noinline"]]
        if self.target.slow_gather:
            features = ",".join(filter(None, (self.target.features, "+prefer-no-gather")))
            groups.append([*(f for f in facts if "target-features" not in f), f'"target-features"="{features}"'])
        return "\n".join(f"attributes #{n} = {{ {' '.join(group)} }}" for n, group in enumerate(groups))

    def _constants(self) -> list[str]:
        """The literals: in the module of the entry. The others know what is in those that their kernels look into."""
        seen = {place for kernel in self.own for place in self._fixed.get(kernel.name, {}).values()}
        linkage = "internal" if self.whole else "" if self.entry else "available_externally"
        return [
            f"{_const_name(n)} = {linkage} unnamed_addr constant [{len(slot.data)} x i8] {_bytes(slot.data)}, "
            f"align {max(64, slot.buffer.align)}"
            for n, slot in enumerate(self.program.slots)
            if slot.role == "const" and (self.entry or _const_name(n) in seen)
        ]

    def declare(self, line: str) -> None:
        self.declarations.setdefault(f"declare {line}")

    def node(self, text: str) -> str:
        """A metadata node; returns its reference."""
        self.metadata.append(f"!{len(self.metadata)} = {text}")
        return f"!{len(self.metadata) - 1}"

    def _kernel(self, kernel: Kernel, symbol: str, linkage: str = "internal ") -> str:
        emitter: type[Emitter[str]] = ThreadEmitter if self.target.threads else Emitter
        scalars = [Scalar(name) for name in kernel.scalars]
        fixed = self._fixed.get(kernel.name, {})
        return self._function(symbol, kernel.body, kernel.buffers, scalars, fixed, emitter, linkage)

    def _function(
        self,
        symbol: str,
        body: Body,
        buffers: Sequence[Buffer],
        scalars: Sequence[Scalar],
        fixed: Mapping[str, str],
        emitter: type[Emitter[str]] = Emitter,
        linkage: str = "internal ",
    ) -> str:
        """A function of its buffers, then its scalars, then the flags. `fixed`: buffers whose place is known."""
        from sparsec.codegen.lanes import LaneBuilder  # which builds on this file

        builder = LaneBuilder(self, notes=has(body, Note))
        pointers = {buffer.name: f"%b{n}" for n, buffer in enumerate(buffers)}
        names = {scalar.var.name: f"%s{n}" for n, scalar in enumerate(scalars)}
        builder.pointers.update({**pointers, **fixed})
        emitter(builder, buffers, names, {scalar.var.name for scalar in scalars if not scalar.index}).body(body)
        builder.leave("0")
        parameters = [_parameter(buffer, pointers[buffer.name]) for buffer in buffers]
        parameters += [f"{value_type(s.var.dtype)} {s.facts}{names[s.var.name]}" for s in scalars]
        parameters.append("ptr noalias %flags")
        facts = "#2" if self.target.slow_gather and picks_elements(body) else "#0"
        return f"define {linkage}i32 @{symbol}({', '.join(parameters)}) {facts} #1 {{\n{builder.text()}\n}}"

    def shared(self, loop: Shared, fixed: Mapping[str, str]) -> str:
        """The function that has a loop's turns run by several threads (`threads.py`)."""
        symbol = f"shared{len(self.functions)}"
        scalars = (*loop.scalars, *loop.bounds)
        self.functions.append(self._function(f"{symbol}.part", (loop.part,), loop.buffers, scalars, fixed))
        types = [*("ptr" for _ in loop.buffers), *(value_type(scalar.var.dtype) for scalar in loop.scalars)]
        self.functions += [f.text() for f in sharing_functions(symbol, f"{symbol}.part", types, loop)]
        self.declare(f"i32 @{SHARE}(ptr, ptr, i64, i64, i64, i32)")
        return symbol

    def _entry(self) -> str:
        builder = LlvmBuilder(self, notes=has(self.program.body, Note))
        index = pointer_index(self.program)
        own = {kernel.name for kernel in self.own}
        for kernel in self.kernels.values():
            if kernel.name not in own:
                types = [*("ptr" for _ in kernel.buffers), *(value_type(v.dtype) for v in kernel.scalars), "ptr"]
                self.declare(f"i32 @{self.symbols[kernel.name]}({', '.join(types)})")
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
