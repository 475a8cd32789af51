"""The verifier: what every function must satisfy, whatever its form (`forms.py` has the rest).

Values are defined once, before use and where they are visible; operands, attributes and result types follow
each op's record; a view lies where its view rule says, an update writes to its version's storage; block
arguments, yields and results agree; symbols have one meaning; channel indexes name what they should.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import numpy as np

from sparsec.errors import SparsecError, VerifyError
from sparsec.ir.builder import infer_types
from sparsec.ir.dims import Dim, Poly, Sym, lower_bound, symbols, upper_bound
from sparsec.ir.graph import Func, Op, Region, Value
from sparsec.ir.ops.control import FIXED_OPERANDS, REGIONS
from sparsec.ir.ops.record import REGISTRY, Kind, OpRecord
from sparsec.ir.tensorref import span
from sparsec.ir.text import OP_MARK, op_error
from sparsec.ir.types import BOOL, I32, I64, MAX_RANK, TensorType, is_supported


def verify(func: Func) -> None:
    """Raises VerifyError, with the op and the user's line, for the first rule that `func` breaks."""
    try:
        _Verifier(func).run()
    except VerifyError as error:
        error.loc = error.loc or func.loc
        raise


class _Verifier:
    """Walks the function once, in program order."""

    def __init__(self, func: Func) -> None:
        self.func = func
        self.names: set[str] = set()
        self.visible: dict[str, Value] = {}
        self.newest: list[str] = []  # names of `visible`, in order
        self.symbols: dict[str, Sym] = {}
        self.bytes: dict[str, int | None] = {}  # what is known of each storage's size
        self.constants: dict[str, Any] = {}

    def run(self) -> None:
        func = self.func
        for param in func.params:
            self.define(param)
            self.note_size(param)
        for param in func.params:
            self.check_type(param)
        self.ops(func.ops)
        for value in func.ends:
            self.use(value)
        self.check_writes()

    def check_writes(self) -> None:
        storages = [v.storage for v in self.func.writes]
        of_params = {p.storage for p in self.func.params}
        for value in self.func.writes:
            if value.storage not in of_params:
                why = f"@{value.storage} is no parameter's storage"
                raise VerifyError(f"%{value.name} is written back, but {why}")
            if storages.count(value.storage) > 1:
                raise VerifyError(f"two versions of @{value.storage} are written back")
        for name in self.func.constants:
            if name not in of_params or name in storages:
                raise VerifyError(f"@{name} is no constant: only parameters are that nobody writes to")

    # --- values ------------------------------------------------------------------------------------------

    def define(self, value: Value) -> None:
        if value.name in self.names:
            raise VerifyError(f"%{value.name} is defined twice")
        if value.type.ref is not None and len(value.type.ref.strides) != value.type.rank:
            count = len(value.type.ref.strides)
            raise VerifyError(f"%{value.name} has {count} strides for {value.type.rank} axes")
        self.names.add(value.name)
        self.visible[value.name] = value
        self.newest.append(value.name)

    def use(self, value: Value) -> None:
        defined = self.visible.get(value.name)
        if defined is None:
            inside = value.name in self.names
            where = "outside the region that defines it" if inside else "before it is defined"
            raise VerifyError(f"%{value.name} is used {where}")
        if defined.type != value.type:
            raise VerifyError(f"%{value.name} is used as {value.type}, but defined as {defined.type}")

    @contextmanager
    def scope(self) -> Iterator[None]:
        """What is defined inside is not visible after it."""
        outside, known = len(self.newest), dict(self.symbols)
        yield
        for name in self.newest[outside:]:
            del self.visible[name]
        del self.newest[outside:]
        self.symbols = known

    # --- ops ---------------------------------------------------------------------------------------------

    def ops(self, ops: Sequence[Op]) -> None:
        for op in ops:
            try:
                self.op(op)
            except VerifyError as error:
                raise error if OP_MARK in error.message else op_error(op, error.message) from None

    def op(self, op: Op) -> None:
        rec = REGISTRY.get(op.name)
        if rec is None:
            raise VerifyError(f"there is no op {op.name}")
        for value in op.operands:
            self.use(value)
        self.check_arity(rec, op)
        self.check_attrs(rec, op)
        if rec.kind is Kind.CONTROL:
            self.control(op)
        else:
            self.check_results(rec, op)
        for result in op.results:
            self.define(result)
            self.check_storage(rec, result)
            self.check_type(result)
        if rec.kind is Kind.CONST:
            self.constants[op.result.name] = op.attrs["value"]

    def check_arity(self, rec: OpRecord, op: Op) -> None:
        least, most = rec.arity if isinstance(rec.arity, tuple) else (rec.arity, rec.arity)
        count = len(op.operands)
        if count < least or count > most >= 0:
            wanted = f"at least {least}" if most < 0 else f"{least} to {most}" if least < most else f"{least}"
            raise VerifyError(f"{op.name} takes {wanted} operands, got {count}")
        if len(op.regions) != REGIONS.get(op.name, 0):
            raise VerifyError(f"{op.name} has {REGIONS.get(op.name, 0)} regions, got {len(op.regions)}")

    def check_attrs(self, rec: OpRecord, op: Op) -> None:
        if missing := [key for key in rec.attrs if key not in op.attrs]:
            raise VerifyError(f"{op.name} lacks the attribute {missing[0]}")
        if unknown := [key for key in op.attrs if key not in rec.attrs]:
            raise VerifyError(f"{op.name} has no attribute {unknown[0]}")
        for value in op.attrs.values():
            self.check_symbols(value, define=False)

    def check_results(self, rec: OpRecord, op: Op) -> None:
        try:
            expected = infer_types(rec, op.operands, dict(op.attrs))
        except SparsecError as error:
            raise VerifyError(error.message) from error
        except Exception as error:
            # A rule may fail in any way on attributes that it never expected.
            raise VerifyError(f"{type(error).__name__}: {error}") from error
        if len(expected) != len(op.results):
            raise VerifyError(f"{op.name} has {len(expected)} results, not {len(op.results)}")
        for position, (result, want) in enumerate(zip(op.results, expected)):
            have = result.type
            if (have.dtype, have.shape) != (want.dtype, want.shape):
                raise VerifyError(f"%{result.name} must be {want.fresh()}, not {have.fresh()}")
            placed = rec.kind is Kind.VIEW or (rec.kind is Kind.UPDATE and position == 0)
            if placed and result.ref != want.ref:
                raise VerifyError(f"%{result.name} must lie at {want}, not at {have.with_ref(result.ref)}")
        if rec.kind is Kind.UPDATE:
            self.check_region(op)

    def check_region(self, op: Op) -> None:
        version, region = op.operands[:2]
        if region.storage != version.storage:
            raise VerifyError(f"the region %{region.name} is of @{region.storage}, not of @{version.storage}")

    # --- types -------------------------------------------------------------------------------------------

    def check_type(self, value: Value) -> None:
        kind = value.type
        if not is_supported(kind.dtype):
            raise VerifyError(f"%{value.name}: dtype {kind.dtype} is not supported")
        if kind.rank > MAX_RANK:
            raise VerifyError(f"%{value.name} has {kind.rank} axes; NumPy has at most {MAX_RANK}")
        if any(not isinstance(d, Poly) and d < 0 for d in kind.shape):
            raise VerifyError(f"%{value.name}: negative dimensions are not allowed")
        self.check_symbols(kind.shape, define=True)
        if kind.ref is not None:
            self.check_symbols((kind.ref.offset, *kind.ref.strides), define=False)
            self.check_extent(value)
        self.check_channels(value)

    def check_symbols(self, item: Any, *, define: bool) -> None:
        """Every symbol is known, or defined by a shape; a name has one pair of bounds."""
        if isinstance(item, tuple):
            for part in item:
                self.check_symbols(part, define=define)
        for symbol in symbols(item) if isinstance(item, Poly) else ():
            if symbol.name.startswith("%"):
                self.check_integer(symbol.name[1:])
            elif symbol.name not in self.symbols and not define:
                raise VerifyError(f"symbol {symbol.name} is used, but no shape before defines it")
            if self.symbols.setdefault(symbol.name, symbol) != symbol:
                raise VerifyError(f"symbol {symbol.name} has two bounds")

    def check_integer(self, name: str) -> None:
        value = self.visible.get(name)
        if value is None:
            raise VerifyError(f"symbol %{name} names no visible value")
        if value.type.rank or value.type.dtype.kind not in "iu":
            raise VerifyError(f"symbol %{name} must name an integer scalar, not {value.type}")

    def check_channels(self, value: Value) -> None:
        channels = value.type.channels
        if channels is None:
            return
        if not 0 <= channels.axis < value.type.rank:
            raise VerifyError(f"%{value.name} has no axis {channels.axis} for its channels")
        stored = value.type.shape[channels.axis]
        if (upper_bound(stored) or 0) > channels.full:
            raise VerifyError(f"%{value.name} stores up to {upper_bound(stored)} of {channels.full} channels")
        name = channels.index.removeprefix("%")
        index = self.visible.get(name)
        if index is None:
            raise VerifyError(f"channel index %{name} is not defined here")
        if index.type.dtype != I32 or index.type.shape != (stored,):
            raise VerifyError(f"channel index %{name} must be i32[{stored}], not {index.type}")
        listed = self.constants.get(name)
        if isinstance(listed, tuple) and not _is_index(listed, channels.full):
            raise VerifyError(f"channel index %{name} is not sorted, unique and below {channels.full}")

    # --- storages ----------------------------------------------------------------------------------------

    def check_storage(self, rec: OpRecord, result: Value) -> None:
        """An op that computes begins a storage; one that another value began has a version already."""
        if rec.kind in (Kind.VIEW, Kind.UPDATE, Kind.CONTROL) and result.type.ref is not None:
            return
        if result.storage in self.bytes:
            raise VerifyError(f"%{result.name} begins a storage, but @{result.storage} is there already")
        self.note_size(result)

    def note_size(self, value: Value) -> None:
        """A storage reaches as far as the values that begin it do."""
        size = None
        if value.type.is_static and not _is_symbolic(value):
            size = span(value.ref, value.type.static_shape)[1] * value.type.dtype.itemsize
        before = self.bytes.get(value.storage, 0)
        self.bytes[value.storage] = None if size is None or before is None else max(size, before)

    def check_extent(self, value: Value) -> None:
        """A static view lies inside its storage; one that may be empty need not begin there."""
        offset = value.ref.offset
        may_be_empty = any((lower_bound(d) or 0) < 1 for d in value.type.shape)
        if not isinstance(offset, Poly) and offset < 0 and not may_be_empty:
            raise VerifyError(f"%{value.name} begins before its storage")
        if _is_symbolic(value) or 0 in value.type.shape:
            return
        first, last = span(value.ref, value.type.static_shape)
        size = self.bytes.get(value.storage)
        if first < 0 or (size is not None and last * value.type.dtype.itemsize > size):
            raise VerifyError(f"%{value.name}: {value.type} reaches outside @{value.storage}")

    # --- control -----------------------------------------------------------------------------------------

    def control(self, op: Op) -> None:
        fixed = FIXED_OPERANDS[op.name]
        carried = op.operands[fixed:]
        match op.name:
            case "for":
                for value in op.operands[:3]:
                    _must_be(value, I64)
                self.region(op.regions[0], carried, loop_var=True)
                _agree(op.regions[0].params[1:], op.regions[0].yields)
                _agree(op.results, op.regions[0].params[1:])
            case "while":
                cond, body = op.regions
                self.region(cond, carried)
                self.region(body, carried)
                if len(cond.yields) != 1:
                    raise VerifyError("the condition of `while` yields one bool")
                _must_be(cond.yields[0], BOOL)
                _agree(cond.params, body.yields)
                _agree(body.params, body.yields)
                _agree(op.results, body.params)
            case _:
                for value in op.operands:
                    _must_be(value, BOOL)
                for region in op.regions:
                    self.region(region, ())
                    _agree(op.results, region.yields)

    def region(self, region: Region, carried: Sequence[Value], *, loop_var: bool = False) -> None:
        params = region.params
        with self.scope():
            for param in params:
                self.define(param)
            if loop_var:
                if not params:
                    raise VerifyError("the region of `for` has no parameter for its variable")
                _must_be(params[0], I64)
                params = params[1:]
            _agree(params, carried)
            for param in region.params:
                if param.type.ref is None:
                    self.note_size(param)
                self.check_type(param)
            self.ops(region.ops)
            for value in region.yields:
                self.use(value)


def _agree(targets: Sequence[Value], sources: Sequence[Value]) -> None:
    """Each target can be given its source: same dtype and shape, and the same place if it names one."""
    if len(targets) != len(sources):
        raise VerifyError(f"{len(sources)} values for {len(targets)}: {_list(sources)} for {_list(targets)}")
    for target, source in zip(targets, sources):
        have, want = source.type, target.type
        same_place = want.ref is None or want.ref == source.ref
        if (have.dtype, have.shape) != (want.dtype, want.shape) or not same_place:
            raise VerifyError(f"%{target.name}: {want} cannot be given %{source.name}: {have}")


def _must_be(value: Value, dtype: np.dtype[Any]) -> None:
    if value.type.dtype != dtype or value.type.rank:
        raise VerifyError(f"%{value.name} must be {TensorType(dtype)}, not {value.type}")


def _list(values: Sequence[Value]) -> str:
    return "(" + ", ".join(map(str, values)) + ")"


def _is_symbolic(value: Value) -> bool:
    dims: tuple[Dim, ...] = (*value.type.shape, value.ref.offset, *value.ref.strides)
    return any(isinstance(d, Poly) for d in dims)


def _is_index(listed: tuple[Any, ...], full: int) -> bool:
    """Sorted, unique channel numbers."""
    rising = all(a < b for a, b in pairwise(listed))
    return rising and (not listed or (listed[0] >= 0 and listed[-1] < full))
