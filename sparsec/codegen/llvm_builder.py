"""One function in LLVM IR: memory, loops and effects, as the emitter asks for them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sparsec.codegen.emit import illegal
from sparsec.codegen.gemm import part_dtype
from sparsec.codegen.llvm_blas import LlvmBlas
from sparsec.codegen.llvm_facts import order_free, order_shows, wants_masked_tail
from sparsec.codegen.llvm_values import memory_type, value_type
from sparsec.codegen.threads import Shared
from sparsec.errors import CompileError
from sparsec.ir.loops import INDEPENDENT, Body, Buffer, Fail, For, walk_stmts
from sparsec.ir.types import DType

if TYPE_CHECKING:
    from sparsec.codegen.llvm import Module

__all__ = ["LlvmBuilder", "has"]

#: Scratch memory lives on the stack; more than this belongs in the arena.
MAX_STACK_BYTES = 1 << 20


class LlvmBuilder(LlvmBlas):
    """Writes one function: memory, control and effects around its values."""

    def __init__(self, module: Module, *, notes: bool) -> None:
        super().__init__(module, module.target.blas_bits)
        self._module = module
        self._block = "entry"
        self._stack = 0
        self._groups: list[str] = []  # access groups of the parallel loops around
        self._private: set[str] = set()
        self.pointers: dict[str, str] = {}
        self.reserved: set[str] = set()  # buffers whose pointer is where their address stands
        # Notes gather in a register and reach the flag word once, when the function is left: a store in a
        # loop would keep it from being vectorised.
        self._notes = self.alloca("i32", 1, 4) if notes else ""
        if notes:
            self.line(f"store i32 0, ptr {self._notes}")

    def _label(self, label: str) -> None:
        self._lines.append(f"{label}:")
        self._block = label

    def _jump(self, label: str, loop: str = "") -> None:
        self.line(f"br label %{label}{loop}")

    # --- names ---

    def let(self, name: str, value: str, dtype: DType) -> str:
        return value

    def mut(self, name: str, value: str, dtype: DType) -> str:
        place = self.alloca(value_type(dtype), 1, dtype.itemsize)
        self.assign(place, value, dtype)
        return place

    def get(self, place: str, dtype: DType) -> str:
        return self.op(f"load {value_type(dtype)}, ptr {place}, align {dtype.itemsize}")

    def assign(self, place: str, value: str, dtype: DType) -> None:
        self.line(f"store {value_type(dtype)} {value}, ptr {place}, align {dtype.itemsize}")

    # --- memory ---

    def load(self, buffer: Buffer, index: str, dtype: DType) -> str:
        kind = memory_type(dtype)
        value = self.op(f"load {kind}, ptr {self._address(buffer, index, kind)}{self._access(buffer, dtype)}")
        return self.op(f"icmp ne i8 {value}, 0") if dtype.kind == "b" else value

    def store(self, buffer: Buffer, index: str, value: str, dtype: DType) -> None:
        kind = memory_type(dtype)
        if dtype.kind == "b":
            value = self.op(f"zext i1 {value} to i8")
        at = self._address(buffer, index, kind)
        self.line(f"store {kind} {value}, ptr {at}{self._access(buffer, dtype)}")

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
        kind = memory_type(buffer.dtype)
        align = max(64, buffer.align & -buffer.align)
        self.pointers[buffer.name] = self.alloca(kind, max(buffer.size, 1), align)
        self._private.add(buffer.name)

    # --- control ---

    def loop(self, loop: For, start: str, stop: str, body: Callable[[str], None]) -> None:
        head, inside, latch, done = (self.fresh(n) for n in ("head", "body", "next", "done"))
        kind, before = value_type(loop.var.dtype), self._block
        counter, following = f"%{self.fresh('i')}", f"%{self.fresh('i')}"
        self._jump(head)
        self._label(head)
        self.line(f"{counter} = phi {kind} [ {start}, %{before} ], [ {following}, %{latch} ]")
        signed = "u" if loop.var.dtype.kind == "u" else "s"
        more = self.op(f"icmp {signed}{'lt' if loop.step > 0 else 'gt'} {kind} {counter}, {stop}")
        self.line(f"br i1 {more}, label %{inside}, label %{done}")
        self._label(inside)
        promised = loop.bind in INDEPENDENT and order_shows(loop.body)
        group = self._module.node("distinct !{}") if promised else ""
        outer = self._groups
        self._groups = [*outer, group] if group else outer
        body(counter)
        self._groups = outer
        self._jump(latch)
        self._label(latch)
        nsw = " nsw" if signed == "s" else ""
        self.line(f"{following} = add{nsw} {kind} {counter}, {loop.step}")
        self._jump(head, self._loop_facts(loop, group))
        self._label(done)

    def _loop_facts(self, loop: For, group: str) -> str:
        facts = []
        if group:
            facts.append(f'!{{!"llvm.loop.parallel_accesses", {group}}}')
        if loop.bind == "vector" and order_free(loop):
            facts.append('!{!"llvm.loop.vectorize.enable", i1 true}')
        if loop.bind == "unroll":
            facts.append('!{!"llvm.loop.unroll.enable"}')
        if self._module.target.vector_bits >= 512 and group and wants_masked_tail(loop):
            facts.append('!{!"llvm.loop.vectorize.predicate.enable", i1 true}')
        if not facts:
            return ""
        nodes = ", ".join(self._module.node(fact) for fact in facts)
        itself = f"!{len(self._module.metadata)}"  # what makes one loop's facts differ from another's
        return f", !llvm.loop {self._module.node(f'distinct !{{{itself}, {nodes}}}')}"

    def while_(self, cond: Callable[[], str], body: Callable[[], None]) -> None:
        head, inside, done = (self.fresh(n) for n in ("head", "body", "done"))
        self._jump(head)
        self._label(head)
        self.line(f"br i1 {cond()}, label %{inside}, label %{done}")
        self._label(inside)
        body()
        self._jump(head)
        self._label(done)

    def if_(self, cond: str, then: Callable[[], None], orelse: Callable[[], None] | None) -> None:
        yes, no, done = (self.fresh(n) for n in ("then", "else", "done"))
        self.line(f"br i1 {cond}, label %{yes}, label %{no if orelse else done}")
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
        self.line(f"ret i32 {code}")

    def fail(self, code: int) -> None:
        if code <= 0:
            raise CompileError(f"Fail({code}): the code must be positive")
        self.leave(str(code))
        self._label(self.fresh("dead"))

    def note(self, flag: int) -> None:
        old = self.op(f"load i32, ptr {self._notes}")
        self.line(f"store i32 {self.op(f'or i32 {old}, {flag}')}, ptr {self._notes}")

    def prefetch(self, buffer: Buffer, index: str) -> None:
        at = self.op(f"getelementptr {memory_type(buffer.dtype)}, ptr {self._base(buffer)}, i64 {index}")
        self._module.declare("void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.line(f"call void @llvm.prefetch.p0(ptr {at}, i32 0, i32 3, i32 1)")

    def launch(self, kernel: str, buffers: Sequence[Buffer], scalars: Sequence[str]) -> None:
        known = self._module.kernels.get(kernel)
        if known is None:
            raise CompileError(f"launch of @{kernel}, which the program does not have")
        if len(buffers) != len(known.buffers) or len(scalars) != len(known.scalars):
            raise CompileError(f"launch of @{kernel} with the wrong number of arguments")
        args = [f"ptr {self._base(buffer)}" for buffer in buffers]
        args += [f"i64 {scalar}" for scalar in scalars]
        self._checked_call(self._module.symbols[kernel], args, can_fail=has(known.body, Fail))

    def reserve(self, buffer: Buffer, nbytes: str, code: int) -> None:
        stop, go_on = self.fresh("failed"), self.fresh("passed")
        fine = self.op(f"call i1 @reserve(ptr {self.pointers[buffer.name]}, i64 {nbytes})")
        self.line(f"br i1 {fine}, label %{go_on}, label %{stop}")
        self._label(stop)
        self.leave(str(code))
        self._label(go_on)

    def share(self, loop: Shared, scalars: Sequence[str], start: str, turns: str, work: str) -> None:
        """Runs a loop whose turns several threads may share. `work`: its picoseconds, about."""
        args = [f"ptr {self.pointers[buffer.name]}" for buffer in loop.buffers]
        args += [f"{value_type(scalar.var.dtype)} {value}" for scalar, value in zip(loop.scalars, scalars)]
        args += [f"i64 {value}" for value in (start, turns, work)]
        places = {buffer.name: self.pointers[buffer.name] for buffer in loop.buffers}
        fixed = {name: place for name, place in places.items() if place.startswith("@")}
        self._checked_call(self._module.shared(loop, fixed), args, can_fail=has((loop.part,), Fail))

    def _checked_call(self, symbol: str, args: list[str], *, can_fail: bool) -> None:
        status = self.op(f"call i32 @{symbol}({', '.join([*args, 'ptr %flags'])})")
        if not can_fail:
            return
        stop, go_on = self.fresh("failed"), self.fresh("passed")
        failed = self.op(f"icmp ne i32 {status}, 0")
        self.line(f"br i1 {failed}, label %{stop}, label %{go_on}")
        self._label(stop)
        self.leave(status)
        self._label(go_on)

    def extern(
        self, name: str, buffers: Sequence[tuple[Buffer, str]], args: Sequence[str], dtype: DType
    ) -> None:
        if name == "gemm":
            self._gemm(buffers, args, dtype)
        else:
            self.blas(name, [f"ptr {self._base(buffer)}" for buffer, _ in buffers], args, dtype)

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


def has(body: Body, kind: type) -> bool:
    """Whether a statement of that kind stands anywhere in `body`."""
    return any(isinstance(stmt, kind) for stmt in walk_stmts(body))
