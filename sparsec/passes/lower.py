"""A PLANNED function to a loop-IR program: a kernel for every `fused` op, a host body that launches them.

    program = lower_program(func, {"x": 32})

The program's pointers: one for each parameter, at element 0 of its storage; then one for each result storage
that is no parameter's, in order of first appearance among the results.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from sparsec.errors import TOO_BIG
from sparsec.ir.builder import Names
from sparsec.ir.dims import Dim, Poly, product
from sparsec.ir.graph import Func, Op, Placement, Region, Value, touched_storages, walk
from sparsec.ir.loops import (
    Body,
    Buffer,
    Const,
    Expr,
    Fail,
    Failure,
    For,
    If,
    Kernel,
    Let,
    Load,
    Program,
    Reserve,
    Slot,
    Stmt,
    Var,
    While,
)
from sparsec.ir.ops.control import FIXED_OPERANDS
from sparsec.ir.ops.record import Kind, record
from sparsec.ir.remarks import Topic, remark
from sparsec.ir.scalar import S, const, index
from sparsec.ir.tensorref import contiguous_strides
from sparsec.ir.types import F64, I64, DType
from sparsec.passes.accesses import is_kernel
from sparsec.passes.address import SymbolExpr, address, dim_expr
from sparsec.passes.lower_kernel import KernelWriter, Place, Surroundings
from sparsec.passes.lower_loops import lower_loops
from sparsec.passes.lower_nest import lower_nest
from sparsec.passes.plan_memory import ALIGN, arena_bytes, param_bytes, storage_types

__all__ = ["lower_program"]

#: As many bytes as can be counted, about: NumPy refuses larger arrays before it asks for memory.
MAX_BYTES = 2.0**63 - 2.0**20


def lower_program(func: Func, alignments: Mapping[str, int] | None = None, *, lanes: bool = True) -> Program:
    """The program of a PLANNED function. alignments: bytes, by storage name, that may be assumed of arguments
    and results; an element's size where it says nothing. lanes: reductions are written for vector units, with
    several folds in small arrays; a device with many work-items has no use for that."""
    return _ProgramWriter(func, alignments or {}, lanes).write()


class _ProgramWriter:
    """A program under construction."""

    def __init__(self, func: Func, alignments: Mapping[str, int], lanes: bool) -> None:
        self.func, self.alignments, self.lanes = func, alignments, lanes
        self.places: dict[str, Placement] = {p.storage: p for p in func.plan}
        self.dtypes: dict[str, DType] = {p.storage: p.type.dtype for p in func.params}
        self.made = storage_types(func)
        self.dtypes.update((name, t.dtype) for name, t in self.made.items())
        self.literals = {op.result.storage: op for op in walk(func.ops) if record(op.name).kind is Kind.CONST}
        self.values = {p.name: p for p in func.params}
        for op in walk(func.ops):
            self.values.update((v.name, v) for v in (*op.results, *(p for r in op.regions for p in r.params)))
        self.slots: dict[str, Slot] = {}
        self.shared: dict[tuple[str, int], str] = {}  # slots of scratch and heap, by their number
        self.reserved: set[str] = set()  # heap storages that have been met
        self.kernels: list[Kernel] = []
        self.failures: list[Failure] = []
        self.on_heap = {name for name, place in self.places.items() if place.space in ("heap", "made")}
        self.counters: dict[str, Expr] = {}  # host loop variables by value name
        self.names = Names(set(self.places))

    def write(self) -> Program:
        self._pointer_slots()
        body = self._ops(self.func.ops)
        return Program(
            self.func.name, tuple(self.slots.values()), tuple(self.kernels), body, arena_bytes(self.func),
            tuple(self.failures),
        )

    # --- slots ---

    def _pointer_slots(self) -> None:
        """Every parameter has a pointer; of those that share a storage, kernels use the first."""
        for position, param in enumerate(self.func.params):
            name = param.storage if param.storage not in self.slots else self.names.fresh(f"{param.name}.ptr")
            buffer = self._buffer(name, param.storage)
            if name != param.storage or not param.type.is_static:
                buffer = replace(buffer, size=_elements(param))
            self.slots[name] = Slot(buffer, "param", position, columns=self._columns(param, name))
        for place in self.func.plan:
            if place.space in ("result", "made"):
                buffer = self._buffer(place.storage, place.storage)
                self.slots[place.storage] = Slot(buffer, place.space, place.offset)

    def _columns(self, param: Value, name: str) -> int:
        """The length of a constant's rows, if it is a matrix that lies there row by row."""
        others = param.type.shape[1:]
        whole = param.ref.offset == 0 and param.ref.strides == contiguous_strides(param.type.shape)
        if name not in self.func.constants or not others or not whole or 0 in others:
            return 0
        size = product(others)
        return size if isinstance(size, int) else 0

    def _buffer(self, name: str, storage: str) -> Buffer:
        dtype = self.dtypes[storage]
        place = self.places[storage]
        align = ALIGN if place.space == "arena" else self.alignments.get(storage, dtype.itemsize)
        access = "r" if place.space == "const" else "rw"
        size = place.nbytes // dtype.itemsize if isinstance(place.nbytes, int) else -1
        return Buffer(name, dtype, size, "global", access, align)

    def slot(self, storage: str) -> Slot:
        """The slot of a storage; one for a literal or a temporary is made when it is first asked for."""
        place = self.places[storage]
        if place.space in ("scratch", "heap"):
            return self._shared_slot(place)
        if storage not in self.slots:
            buffer = self._buffer(storage, storage)
            data = _const_bytes(self.literals[storage]) if place.space == "const" else b""
            self.slots[storage] = Slot(buffer, place.space, place.offset, data)
        return self.slots[storage]

    def _shared_slot(self, place: Placement) -> Slot:
        """Storages that share memory share the slot. Scratch comes as one more result each."""
        name = self.shared.setdefault((place.space, place.offset), place.storage)
        if name not in self.slots:
            results = sum(p.space in ("result", "made") for p in self.func.plan)
            role, first = ("result", results) if place.space == "scratch" else ("heap", 0)
            self.slots[name] = Slot(replace(self._buffer(name, name), size=-1), role, first + place.offset)
        return self.slots[name]

    def _place(self, storage: str) -> Place:
        slot = self.slot(storage)
        key = (slot.role, slot.position) if slot.role == "arena" else slot.buffer.name
        return Place(slot.buffer.name if slot.role != "arena" else storage, key, slot.buffer)

    # --- the host body ---

    def _ops(self, ops: Sequence[Op]) -> Body:
        body: list[Stmt] = []
        for op in ops:
            body += self._reserve(op)
            if is_kernel(op):
                body += self._kernel(op)
            elif op.regions:
                body += self._control(op)
        return tuple(body)

    def _reserve(self, op: Op) -> list[Stmt]:
        """Asks for the heap memory of the storages that are touched here for the first time."""
        if record(op.name).kind in (Kind.CONST, Kind.CREATE, Kind.VIEW) or not self.on_heap:
            return []
        touched = touched_storages(op) | {p.storage for region in op.regions for p in region.params}
        return [stmt for name in sorted(touched & self.on_heap - self.reserved) for stmt in self._reserved(name, op)]

    def _reserved(self, storage: str, op: Op) -> list[Stmt]:
        self.reserved.add(storage)
        size = self.places[storage].nbytes
        huge = self._fail_code("value", TOO_BIG, op)
        code = self._fail_code("memory", f"no memory for an array of type {self.made[storage].fresh()}", op)
        too_big = S.gt(_about(size, lambda s: self._symbol(s.name[1:])), const(MAX_BYTES, F64))
        nbytes = dim_expr(size, lambda s: self._symbol(s.name[1:]))
        return [If(too_big, (Fail(huge),)), Reserve(self.slot(storage).buffer.name, nbytes, code)]

    def _kernel(self, op: Op) -> Body:
        region = op.regions[0]
        k = KernelWriter(f"{self.func.name}_{len(self.kernels)}", self._surroundings())
        shown = {inside.name: outside for inside, outside in zip(region.yields, op.results)}
        work = [o for o in region.ops if record(o.name).kind is not Kind.VIEW]
        if _brings_loops(work[0]):
            lower_nest(k, work[0], work[1:], shown)
        else:
            lower_loops(k, region.ops, shown)
        kernel, launch = k.finish(work)
        if not kernel.body:
            return ()
        self.kernels.append(kernel)
        remark(Topic.KERNEL, "", op, kernel.name)
        return (launch,)

    def _surroundings(self) -> Surroundings:
        counters = dict(self.counters)
        return Surroundings(self._place, self.literals, self._symbol, counters, self._fail_code, self.lanes)

    def _fail_code(self, kind: str, message: str, op: Op) -> int:
        failure = Failure(kind, message, op.loc)
        if failure not in self.failures:
            self.failures.append(failure)
        return self.failures.index(failure) + 1

    def _symbol(self, name: str) -> Expr:
        """The value of an SSA integer on the host, as i64."""
        if name in self.counters:
            return self.counters[name]
        return S.cast(self._host_value(self.values[name]), I64)

    def _host_value(self, value: Value) -> Expr:
        """A scalar on the host: a loop variable, a literal, or a load."""
        if value.name in self.counters:
            return self.counters[value.name]
        literal = self.literals.get(value.storage)
        if literal is not None:
            number = literal.attrs["value"]
            dtype = I64 if value.type.dtype.kind in "iu" else value.type.dtype
            return const(number[0] if isinstance(number, tuple) else number, dtype)
        where = address(value.ref, (), lambda s: self._symbol(s.name[1:]))
        return Load(self.slot(value.storage).buffer.name, where, value.type.dtype)

    # --- control flow ---

    def _control(self, op: Op) -> list[Stmt]:
        fixed = FIXED_OPERANDS[op.name]
        carried = op.operands[fixed:]
        match len(op.regions), fixed:
            case 1, _:
                return self._for(op, carried)
            case 2, 0:
                return self._while(op, carried)
        then, orelse = op.regions
        return [If(self._host_value(op.operands[0]), self._branch(op, then), self._branch(op, orelse))]

    def _branch(self, op: Op, region: Region) -> Body:
        return (*self._ops(region.ops), *self._copies(region.yields, op.results))

    def _for(self, op: Op, carried: Sequence[Value]) -> list[Stmt]:
        region = op.regions[0]
        start, stop, step = (self._host_value(v) for v in op.operands[:3])
        counter, *params = region.params
        var = Var(self.names.fresh(counter.name), I64)
        self.counters[counter.name] = var
        before = self._copies(carried, params)
        body = (*self._ops(region.ops), *self._copies(region.yields, params))
        after = self._copies(params, op.results)
        if isinstance(step, Const):
            return [*before, For(var, start, stop, int(step.value.real), body), *after]
        # Which way the loop runs is known at run time only: count the turns.
        turn = Var(self.names.fresh("turn"), I64)
        body = (Let(var, S.add(start, S.mul(turn, step))), *body)
        return [*before, For(turn, index(0), _turns(start, stop, step), 1, body), *after]

    def _while(self, op: Op, carried: Sequence[Value]) -> list[Stmt]:
        """The condition is computed before the loop and again at the end of each turn."""
        test, turn = op.regions
        enter = [*self._copies(carried, test.params), *self._ops(test.ops)]
        cond = self._host_value(test.yields[0])
        given = self._copies(test.params, turn.params)
        taken = self._copies(turn.yields, test.params)
        body = (*given, *self._ops(turn.ops), *taken, *self._ops(test.ops))
        return [*enter, While(cond, body), *self._copies(test.params, op.results)]

    def _copies(self, sources: Sequence[Value], targets: Sequence[Value]) -> list[Stmt]:
        """Hands values on to storages of their own; those that name a storage are in place already, and so are
        those that the plan gave one place.

        No source lies in a target of the same hand-over (`a, b = b, a`): linearize saw to that.
        """
        pairs = [(s, t) for s, t in zip(sources, targets) if s.storage != t.storage and not self._stays(s, t)]
        return [stmt for source, target in pairs for stmt in self._copy(source, target)]

    def _stays(self, source: Value, target: Value) -> bool:
        """Whether the plan put both in one place: only such as are handed on are alive together there."""
        one, other = self.places.get(source.storage), self.places.get(target.storage)
        if one is None or other is None or one.space != "arena":
            return False
        return (one.space, one.offset) == (other.space, other.offset)

    def _copy(self, source: Value, target: Value) -> list[Stmt]:
        inside = Value(f"{target.name}.copied", target.type.fresh())
        op = Op("copy", (source,), (inside,))
        return list(self._kernel(Op("fused", (), (target,), {}, (Region((), (op,), (inside,)),))))


def _about(dim: Dim, symbol: SymbolExpr) -> Expr:
    """A dim that may be more than an i64 holds, as a float."""
    total: Expr = const(0.0, F64)
    for monomial, factor in dim.terms if isinstance(dim, Poly) else (((), dim),):
        term: Expr = const(float(factor), F64)
        for each in monomial:
            term = S.mul(term, S.cast(symbol(each), F64))
        total = S.add(total, term)
    return total


def _brings_loops(op: Op) -> bool:
    rec = record(op.name)
    return rec.kind in (Kind.NEST, Kind.INDEX) or (rec.kind is Kind.UPDATE and not rec.region)


def _turns(start: Expr, stop: Expr, step: Expr) -> Expr:
    """The length of Python's range(start, stop, step); step 0 is refused before."""
    up = S.gt(step, index(0))
    size = S.select(up, step, S.select(S.lt(step, index(0)), S.neg(step), index(1)))
    way = S.select(up, S.sub(stop, start), S.sub(start, stop))
    return S.quo(S.add(way, S.sub(size, index(1))), size)


def _elements(param: Value) -> int:
    """How far a parameter reaches in its storage; -1 where only the call can tell."""
    nbytes = param_bytes(param)
    return nbytes // param.type.dtype.itemsize if isinstance(nbytes, int) and param.type.is_static else -1


def _const_bytes(op: Op) -> bytes:
    shape = tuple(int(d) for d in op.attrs["shape"] if not isinstance(d, Poly))
    with np.errstate(all="ignore"):
        flat = np.array(op.attrs["value"], op.attrs["dtype"])
    spread = np.broadcast_to(flat.reshape(-1), (math.prod(shape),)) if flat.size == 1 else flat
    return spread.tobytes()


