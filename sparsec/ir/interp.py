"""The graph interpreter: the meaning of the IR, slow and obvious.

Every version of a storage has a flat buffer that nothing changes once it is made; an array value is a NumPy
view of its version's buffer at its ref. `update` copies the buffer and writes into the copy, so an old
version keeps its elements: pure value semantics. Every other op is its record's NumPy reference.

    (y,), (x,) = interpret(func, [np.arange(8.0)])

Arguments and written storages are flat: element 0 is the lowest address that the storage has.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from sparsec.errors import FAILURES, TOO_BIG, ArgumentError, CheckFailed, ShapeError, VerifyError, wrap
from sparsec.ir.dims import Dim, Poly, as_sym, evaluate, symbols
from sparsec.ir.graph import Attr, Func, Op, Region, Value
from sparsec.ir.ops.record import REGISTRY, Kind, OpRecord
from sparsec.ir.tensorref import TensorRef, is_contiguous, self_overlaps, span
from sparsec.ir.text import OP_MARK, op_error
from sparsec.ir.types import DType


def interpret(
    func: Func, args: Sequence[Any], dims: Mapping[str, int] | None = None, *, whole: bool = False
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Runs `func`; gives its results and the flat buffers of the storages that it wrote (`func.writes`).

    args: for each parameter its flat storage, or a scalar; for a parameter that is the whole of its storage
        in C order, an array of its shape will do. Parameters of one storage are given the same elements.
        Arguments are not changed.
    dims: values of symbols that the arguments' sizes do not tell.
    whole: give each result's whole storage, flat, instead of its elements.
    A result that is a view of a written storage is a view of its buffer in `writes`.
    """
    frame = _Frame(dict(dims or {}))
    frame.bind_params(func.params, args)
    frame.run(func.ops)
    results = frame.flats if whole else frame.arrays
    return [results[v.name] for v in func.results], [frame.flats[v.name] for v in func.writes]


class _State(NamedTuple):
    """A value on its way into or out of a region."""

    value: Value
    array: np.ndarray
    flat: np.ndarray


class _Dims(Mapping[str, int]):
    """Symbols by name; one that begins with `%` is the value of an SSA integer."""

    def __init__(self, frame: _Frame) -> None:
        self._frame = frame

    def __getitem__(self, name: str) -> int:
        if name.startswith("%"):
            return int(self._frame.arrays[name[1:]])
        return self._frame.symbols[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._frame.symbols)

    def __len__(self) -> int:
        return len(self._frame.symbols)


class _Frame:
    """The values of one run: `arrays` by name, and the buffer of the version that each lives in."""

    def __init__(self, symbols: dict[str, int]) -> None:
        self.arrays: dict[str, np.ndarray] = {}
        self.flats: dict[str, np.ndarray] = {}
        self.symbols = symbols
        self.dims = _Dims(self)

    # --- values ------------------------------------------------------------------------------------------

    def state(self, value: Value) -> _State:
        return _State(value, self.arrays[value.name], self.flats[value.name])

    def define(self, value: Value, array: np.ndarray) -> None:
        """`value` is a new storage that holds the elements of `array`."""
        want = value.type
        if array.dtype != want.dtype or not self.fits(want.shape, array.shape):
            raise VerifyError(f"%{value.name} is {array.dtype}{list(array.shape)}, its type says {want}")
        if want.ref is None or (want.ref.offset == 0 and is_contiguous(want.ref, want.shape)):
            whole = np.ascontiguousarray(array).reshape(array.shape)
            self.arrays[value.name], self.flats[value.name] = whole, whole.reshape(-1)
            return
        ref, shape = self.at(want.ref, want.shape)
        flat = np.zeros(span(ref, shape)[1], want.dtype)
        _view(flat, want.dtype, ref, shape)[...] = array
        self.bind(value, flat)

    def bind(self, value: Value, flat: np.ndarray) -> None:
        """`value` is the view at its ref of a version whose buffer is `flat`."""
        self.arrays[value.name] = _view(flat, value.type.dtype, *self.at(value.ref, value.type.shape))
        self.flats[value.name] = flat

    def pass_on(self, value: Value, state: _State) -> None:
        """`value` becomes what `state` is: the same version if its type names a storage, else a new array."""
        if value.type.ref is None:
            self.define(value, state.array.copy())
            return
        given = state.value
        if value.storage != given.storage or not self.fits(value.type.shape, state.array.shape):
            raise VerifyError(f"%{value.name}: {value.type} cannot be %{given.name}: {given.type}")
        self.bind(value, state.flat)

    # --- dims --------------------------------------------------------------------------------------------

    def number(self, dim: Dim) -> int:
        if not isinstance(dim, Poly):
            return int(dim)
        try:
            return evaluate(dim, self.dims)
        except KeyError as error:
            raise VerifyError(f"symbol {error.args[0]} has no value in {dim}") from None

    def at(self, ref: TensorRef, shape: Sequence[Dim]) -> tuple[TensorRef, tuple[int, ...]]:
        """`ref` and `shape` as numbers."""
        offset, strides = self.number(ref.offset), tuple(map(self.number, ref.strides))
        return TensorRef(ref.storage, offset, strides), tuple(map(self.number, shape))

    def fits(self, shape: Sequence[Dim], actual: Sequence[int]) -> bool:
        """Whether `actual` is an instance of `shape`; gives new symbols their values."""
        return len(shape) == len(actual) and all(map(self.unify, shape, actual))

    def unify(self, dim: Dim, actual: int) -> bool:
        if not isinstance(dim, Poly):
            return dim == actual
        unknown = [s for s in symbols(dim) if not s.name.startswith("%") and s.name not in self.symbols]
        if not unknown:
            return self.number(dim) == actual
        symbol = unknown[0]
        if len(unknown) > 1:
            raise VerifyError(f"{dim} = {actual} does not tell {symbol.name}")
        found = actual if as_sym(dim) is not None else self.solve(dim, symbol.name, actual)
        if found < symbol.lower or found > symbol.upper >= 0:
            raise VerifyError(f"{symbol.name} is {found}, not from {symbol.lower} to {symbol.upper}")
        self.symbols[symbol.name] = found
        return True

    def solve(self, dim: Dim, name: str, actual: int) -> int:
        """The value of symbol `name` that makes `dim` equal to `actual`; `dim` must be linear in it."""
        at = [evaluate(dim, {**{s.name: self.dims[s.name] for s in symbols(dim) if s.name != name}, name: k})
              for k in (0, 1, 2)]
        slope = at[1] - at[0]
        if at[2] - at[1] != slope or slope == 0 or (actual - at[0]) % slope:
            raise VerifyError(f"{dim} = {actual} does not tell {name}")
        return (actual - at[0]) // slope

    # --- parameters --------------------------------------------------------------------------------------

    def bind_params(self, params: Sequence[Value], args: Sequence[Any]) -> None:
        if len(params) != len(args):
            raise ArgumentError(f"{len(params)} parameters, {len(args)} arguments")
        arrays = [_argument(p, a) for p, a in zip(params, args)]
        flats: dict[str, np.ndarray] = {}
        for param, array in zip(params, arrays):
            # Parameters may share a storage; the longest buffer holds what all of them see.
            if array.nbytes > flats.get(param.storage, array[:0] if array.ndim else np.empty(0)).nbytes:
                flats[param.storage] = np.array(array, order="C").reshape(-1)
            flats.setdefault(param.storage, np.array(array, order="C").reshape(-1))
        scalars = [p for p in params if p.type.shape == () and p.type.ref is None]
        for param in scalars:  # dims may mention them
            self.bind(param, flats[param.storage])
        self.learn_dims(params, arrays)
        for param in params:
            if param not in scalars:
                self.bind(param, flats[param.storage])

    def learn_dims(self, params: Sequence[Value], arrays: Sequence[np.ndarray]) -> None:
        """Symbols' values from shapes where the arguments have them, then from the sizes of flat buffers."""
        storages = [p.storage for p in params]
        for param, array in zip(params, arrays):
            shape = param.type.shape
            # The buffer of a storage that several share may be longer than this one's part of it.
            alone = array.ndim != 1 or storages.count(param.storage) == 1
            whole = is_contiguous(param.ref, shape) and param.ref.offset == 0
            if alone and whole and array.ndim == len(shape):
                for dim, actual in zip(shape, array.shape):
                    known = not isinstance(dim, Poly) or as_sym(dim) is not None
                    if known and not self.unify(dim, actual):
                        raise ShapeError(f"%{param.name} has shape {array.shape}, its type says {param.type}")
        for param, array in zip(params, arrays):
            for symbol in _dims_of(param):
                if symbol not in self.symbols and not symbol.startswith("%"):
                    self.symbols[symbol] = self.largest(param, symbol, array.size)

    def largest(self, param: Value, symbol: str, size: int) -> int:
        """The largest value of `symbol` for which `param` lies inside a buffer of `size` elements."""

        def fits(candidate: int) -> bool:
            self.symbols[symbol] = candidate
            ref, shape = self.at(param.ref, param.type.shape)
            del self.symbols[symbol]
            low, high = span(ref, shape)
            return low >= 0 and high <= size and all(d >= 0 for d in shape)

        low, high = 0, size + 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if fits(middle) else (low, middle)
        return low

    # --- ops ---------------------------------------------------------------------------------------------

    def run(self, ops: Sequence[Op]) -> None:
        for op in ops:
            try:
                self.run_op(op)
            except CheckFailed as failed:
                raise FAILURES[failed.kind](failed.message, loc=op.loc) from None
            except VerifyError as error:
                # One that comes out of a region already names its op.
                raise error if OP_MARK in error.message else op_error(op, error.message) from None
            except Exception as error:
                wrapped = wrap(error, op.loc)
                if wrapped is None:
                    raise
                wrapped.loc = wrapped.loc or op.loc
                if wrapped is error:
                    raise
                raise wrapped from error

    def run_op(self, op: Op) -> None:
        rec = REGISTRY.get(op.name)
        if rec is None:
            raise VerifyError(f"there is no op {op.name}")
        match rec.kind:
            case Kind.VIEW:
                self.bind(op.result, self.flats[op.operands[0].name])
            case Kind.UPDATE if rec.region:
                self.bind(op.result, self.updated(*op.operands))
            case Kind.UPDATE:
                self.rewrite(rec, op)
            case Kind.CONTROL:
                _CONTROL[op.name](self, op)
            case _:
                self.compute(rec, op)

    def compute(self, rec: OpRecord, op: Op) -> None:
        outs = self.outputs(rec, op, [self.arrays[v.name] for v in op.operands])
        for value, array in zip(op.results, outs):
            # A reference may hand its operand back, or a view of it; a result is a storage of its own.
            self.define(value, array if array.base is None and array.flags.owndata else array.copy())

    def rewrite(self, rec: OpRecord, op: Op) -> None:
        """An update with loops of its own: its reference gives the next contents of the whole storage.

        The region is only a place: the reference sees it as a view of the version's contents.
        """
        version, region, *rest = op.operands
        flat = self.flats[version.name].copy()
        place = _view(flat, region.type.dtype, *self.at(region.ref, region.type.shape))
        elements, *others = self.outputs(rec, op, [flat, place, *(self.arrays[v.name] for v in rest)])
        self.bind(op.results[0], elements.reshape(-1))
        for value, array in zip(op.results[1:], others):
            self.define(value, array.copy())

    def outputs(self, rec: OpRecord, op: Op, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What the op's NumPy reference gives for `arrays`."""
        assert rec.ref is not None
        attrs = {key: self.attr(value) for key, value in op.attrs.items()}
        with np.errstate(all="ignore"):
            outs = rec.ref(*arrays, **attrs)
        if not isinstance(outs, tuple):
            outs = () if outs is None else (outs,)
        if len(outs) != len(op.results):
            raise VerifyError(f"the reference of {op.name} gives {len(outs)} results")
        return [np.asarray(out) for out in outs]

    def updated(self, version: Value, region: Value, value: Value) -> np.ndarray:
        """The buffer of the next version. Where the region overlaps itself, the last in C order wins."""
        flat, array = self.flats[version.name].copy(), self.arrays[value.name]
        ref, shape = self.at(region.ref, region.type.shape)
        target = _view(flat, region.type.dtype, ref, shape)
        if not self_overlaps(ref, shape):
            target[...] = array
            return flat
        positions = np.full(shape, ref.offset)
        for axis, (dim, stride) in enumerate(zip(shape, ref.strides)):
            steps = np.arange(dim) * int(stride)  # type: ignore[arg-type]
            positions += steps.reshape([-1 if k == axis else 1 for k in range(len(shape))])
        elements = _view(flat, region.type.dtype, TensorRef("", 0, (1,)), (flat.nbytes // target.itemsize,))
        for position, element in zip(positions.flat, np.broadcast_to(array, shape).flat):
            elements[position] = element
        return flat

    def attr(self, value: Attr) -> Attr:
        if isinstance(value, Poly):
            return self.number(value)
        return tuple(map(self.attr, value)) if isinstance(value, tuple) else value

    # --- control -----------------------------------------------------------------------------------------

    def region(self, region: Region, states: Sequence[_State]) -> list[_State]:
        """Runs a region; symbols that it defines end with it."""
        outside = dict(self.symbols)
        for param, state in zip(region.params, states):
            self.pass_on(param, state)
        self.run(region.ops)
        yields = [self.state(v) for v in region.yields]
        self.symbols = outside
        return yields

    def finish(self, op: Op, states: Sequence[_State]) -> None:
        for result, state in zip(op.results, states):
            self.pass_on(result, state)

    def run_for(self, op: Op) -> None:
        start, stop, step = (int(self.arrays[v.name]) for v in op.operands[:3])
        if step == 0:
            raise ShapeError("range() arg 3 must not be zero")
        states = [self.state(v) for v in op.operands[3:]]
        for i in range(start, stop, step):
            states = self.region(op.regions[0], [_scalar(op.regions[0].params[0], i), *states])
        self.finish(op, states)

    def run_while(self, op: Op) -> None:
        states = [self.state(v) for v in op.operands]
        while self.region(op.regions[0], states)[0].array:
            states = self.region(op.regions[1], states)
        self.finish(op, states)

    def run_if(self, op: Op) -> None:
        taken = 0 if self.arrays[op.operands[0].name] else 1
        self.finish(op, self.region(op.regions[taken], ()))

    def run_fused(self, op: Op) -> None:
        self.finish(op, self.region(op.regions[0], ()))


_CONTROL: dict[str, Callable[[_Frame, Op], None]] = {
    "for": _Frame.run_for, "while": _Frame.run_while, "if": _Frame.run_if, "fused": _Frame.run_fused,
}


def _view(flat: np.ndarray, dtype: DType, ref: TensorRef, shape: tuple[int, ...]) -> np.ndarray:
    """The elements at `ref`. NumPy checks that they lie inside the buffer."""
    if min(shape, default=1) < 0:
        raise ShapeError(f"negative dimensions are not allowed: {shape}")
    if 0 in shape:
        return np.empty(shape, dtype)
    size = dtype.itemsize
    if math.prod(shape) * size >= 1 << 63:
        raise ShapeError(TOO_BIG)
    strides = tuple(int(s) * size for s in ref.strides)  # type: ignore[arg-type]
    try:
        return np.ndarray(shape, dtype, flat, int(ref.offset) * size, strides)  # type: ignore[arg-type]
    except (ValueError, TypeError):
        where = f"{shape} at {ref.offset}:{ref.strides}"
        raise VerifyError(f"view {where} leaves @{ref.storage} ({flat.nbytes // size} elements)") from None


def _argument(param: Value, arg: Any) -> np.ndarray:
    array = np.asarray(arg) if isinstance(arg, np.ndarray | np.generic) else np.asarray(arg, param.type.dtype)
    if array.dtype != param.type.dtype:
        raise ArgumentError(f"%{param.name} is {array.dtype}, its type says {param.type}")
    return array


def _scalar(param: Value, number: int) -> _State:
    array = np.asarray(number, param.type.dtype)
    return _State(param, array, array.reshape(-1))


def _dims_of(param: Value) -> list[str]:
    """Names of the symbols in a parameter's type, in order."""
    dims = (*param.type.shape, param.ref.offset, *param.ref.strides)
    return list(dict.fromkeys(s.name for d in dims for s in symbols(d)))
