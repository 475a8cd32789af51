"""The graph IR: immutable SSA with storage versions.

A `Value` is either a scalar or an array that lives in a storage. A *version* is a value that stands for the
whole contents of its storage; `update` consumes one and yields the next. Nodes are never changed: a pass
builds new ones, and values keep their identity (their name) across passes, so a dump can be followed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from sparsec.errors import Loc
from sparsec.ir.dims import Dim, Poly, symbols
from sparsec.ir.tensorref import TensorRef, contiguous_strides
from sparsec.ir.types import TensorType

#: int, float, complex, bool, str, None, np.dtype, Dim, or a tuple of these.
Attr = Any
Attrs = Mapping[str, Attr]


@dataclass(frozen=True, slots=True)
class Value:
    """An SSA value; `name` (without `%`) is unique in its function."""

    name: str
    type: TensorType

    def __hash__(self) -> int:
        return hash(self.name)

    @property
    def ref(self) -> TensorRef:
        """Where its elements lie: in a storage of its own unless the type says otherwise."""
        return self.type.ref or TensorRef(self.name, 0, contiguous_strides(self.type.shape))

    @property
    def storage(self) -> str:
        return self.type.ref.storage if self.type.ref is not None else self.name

    def __str__(self) -> str:
        return f"%{self.name}"


@dataclass(frozen=True, slots=True)
class Region:
    """A list of ops with block arguments; the values that it yields are its results.

    Regions see the values of the regions around them, as `for` and `if` bodies do in Python.
    """

    params: tuple[Value, ...]
    ops: tuple[Op, ...]
    yields: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class Op:
    """`results = name operands {attrs} regions`."""

    name: str
    operands: tuple[Value, ...]
    results: tuple[Value, ...]
    attrs: Attrs = field(default_factory=dict)
    regions: tuple[Region, ...] = ()
    loc: Loc | None = field(default=None, compare=False)

    def __hash__(self) -> int:
        return hash((self.name, self.results))

    @property
    def result(self) -> Value:
        """The only result."""
        (value,) = self.results
        return value


@dataclass(frozen=True, slots=True)
class Placement:
    """Where the planner put a storage: `space` is "arena", "param", "result", "const"; "scratch" for a temporary
    whose size the call decides: `nbytes` is then a dim over the function's i64 parameters; or "heap" for one whose
    size is known when the program comes to it: a dim over any i64 values; "made" is such a result."""

    storage: str
    space: str
    offset: int  # bytes in the arena; position among params, result storages, scratch or heap
    nbytes: Dim


@dataclass(frozen=True, slots=True)
class Func:
    """A traced function.

    `results` are what the caller gets. `writes` are the newest versions of those parameter storages that
    the function wrote: the caller's arrays hold them when the call is over. `constants` are parameter storages of
    which the caller promises that nobody ever writes to them; what is made of them can be kept between calls.
    """

    name: str
    params: tuple[Value, ...]
    ops: tuple[Op, ...]
    results: tuple[Value, ...]
    writes: tuple[Value, ...] = ()
    plan: tuple[Placement, ...] = ()
    loc: Loc | None = field(default=None, compare=False)
    constants: tuple[str, ...] = ()

    def with_ops(self, ops: Iterable[Op]) -> Func:
        return replace(self, ops=tuple(ops))

    @property
    def ends(self) -> tuple[Value, ...]:
        """All values that must survive: results and written versions."""
        return (*self.results, *self.writes)


def walk(ops: Iterable[Op]) -> Iterator[Op]:
    """All ops, those in regions included, in program order (an op before its regions)."""
    for op in ops:
        yield op
        for region in op.regions:
            yield from walk(region.ops)


def uses(op: Op) -> Iterator[Value]:
    """Operands of `op` and of everything in its regions, and the values those regions yield.

    Values defined inside are included: subtract them (`free_values`) to see what the op captures.
    """
    yield from op.operands
    for region in op.regions:
        for inner in region.ops:
            yield from uses(inner)
        yield from region.yields


def defined_inside(op: Op) -> set[Value]:
    """Block arguments and results in the regions of `op`."""
    inside: set[Value] = set()
    for region in op.regions:
        inside.update(region.params)
        for inner in region.ops:
            inside.update(inner.results)
            inside |= defined_inside(inner)
    return inside


def free_values(op: Op) -> tuple[Value, ...]:
    """Values from outside that `op` reads, itself or inside its regions; each once, in order."""
    inside = defined_inside(op)
    return tuple(v for v in dict.fromkeys(uses(op)) if v not in inside)


def symbol_uses(op: Op) -> tuple[str, ...]:
    """Names of the SSA values that types and attributes of `op` mention as symbols (`%i`)."""
    names: dict[str, None] = {}
    _note_op(op, names)
    return tuple(names)


def _note_op(op: Op, names: dict[str, None]) -> None:
    for value in op.attrs.values():
        _note_dims(value, names)
    for result in op.results:
        _note_type(result.type, names)
    for region in op.regions:
        for param in region.params:
            _note_type(param.type, names)
        for inner in region.ops:
            _note_op(inner, names)


def _note_type(type: TensorType, names: dict[str, None]) -> None:
    _note_dims(type.shape, names)
    if type.ref is not None:
        _note_dims(type.ref.offset, names)
        _note_dims(type.ref.strides, names)
    if type.channels is not None:
        names[type.channels.index.removeprefix("%")] = None


def _note_dims(item: Any, names: dict[str, None]) -> None:
    if isinstance(item, Poly):
        names.update((s.name[1:], None) for s in symbols(item) if s.name.startswith("%"))
    elif isinstance(item, tuple):
        for part in item:
            if part.__class__ is not int:
                _note_dims(part, names)


def value_symbols(*values: Value) -> tuple[str, ...]:
    """Names of the SSA values that the types of `values` mention."""
    names: dict[str, None] = {}
    for value in values:
        _note_type(value.type, names)
    return tuple(names)


def touched_storages(op: Op) -> set[str]:
    """Storages that an op, regions included, reads or writes; the integers behind its dims are read, too."""
    around = (*free_values(op), *op.results)
    # An integer that a symbol stands for is a scalar: a storage of its own, by its own name.
    return {v.storage for v in around} | set(symbol_uses(op)) | set(value_symbols(*around))


def definitions(func: Func) -> dict[str, Op]:
    """Name of a value -> the op that defines it, regions included; parameters are absent."""
    return {r.name: op for op in walk(func.ops) for r in op.results}


def users(func: Func) -> dict[str, list[Op]]:
    """Name of a value -> the ops (nested ones included) that have it as an operand or a symbol."""
    found: dict[str, list[Op]] = {}
    for op in walk(func.ops):
        names = dict.fromkeys([v.name for v in op.operands])
        for region in op.regions:
            names.update(dict.fromkeys(v.name for v in region.yields))
        names.update(dict.fromkeys(symbol_uses(replace(op, regions=()))))
        for name in names:
            found.setdefault(name, []).append(op)
    return found
