"""One record per op: everything that sparsec knows about it, declared once.

From a record come its builder, text form, verifier, interpreter case, docs row, lowering and derived tests.
Passes ask about `kind` and the declared effects, never about names. A wrong or missing rule fails at import.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparsec.ir.dims import Dim
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Expr
from sparsec.ir.scalar import ScalarBuilder
from sparsec.ir.tensorref import TensorRef
from sparsec.ir.types import DType, TensorType


class Kind(enum.Enum):
    """What an op does to memory; supplies the defaults that fusion and planning go by."""

    CONST = "const"  # a literal
    CREATE = "create"  # new storage without reading any (`empty`, `iota`)
    VIEW = "view"  # metadata only
    ELEMENTWISE = "elementwise"  # result[i] = f(x[i], y[i], …); scalars broadcast
    MAP = "map"  # result[i] = f(i, reads of operands at computed indexes)
    REDUCE = "reduce"  # folds axes away
    NEST = "nest"  # writes its own loops: scan, sort, matrix product
    UPDATE = "update"  # the next version of its first operand's storage
    CHECK = "check"  # may fail; must run before later writes to arguments
    CONTROL = "control"  # regions: for, while, if, fused
    INDEX = "index"  # index flow of channel-sparse tensors


class Sparse(enum.Enum):
    """How a channel index passes through an op (docs/sparsity.md)."""

    KEEP = "keep"  # 0 wherever the first operand is, whatever the others are there
    UNION = "union"  # 0 where all operands are
    INTERSECT = "intersect"  # 0 where one operand is
    GATHER_PARAMS = "gather-params"  # the channels that an index names, of operands that have all
    CONTRACT = "contract"  # sums over the channels: reads its other operands through the index
    REPLACE = "replace"  # the channels of the result are those of another operand
    DENSIFY = "densify"  # a value in every channel


@dataclass(frozen=True, slots=True)
class Case:
    """An example call, from which tests are derived: operand shapes (or arrays), dtypes, attributes."""

    shapes: tuple[Any, ...]
    dtypes: tuple[str, ...] = ("f8",)
    attrs: Mapping[str, Any] = field(default_factory=dict)
    ulp: int = 0  # allowed distance between a backend and `ref`; 0 is bit-exact


def case(*shapes: Any, dtypes: str | tuple[str, ...] = "f8", ulp: int = 0, **attrs: Any) -> Case:
    """`case((3,4), (3,4), dtypes="f4")`; one dtype serves all operands. An ndarray is taken as it is."""
    return Case(shapes, (dtypes,) if isinstance(dtypes, str) else dtypes, attrs, ulp)


def i32(*numbers: Any) -> np.ndarray:
    """An i32 list, as an operand of a case."""
    return np.array(numbers, np.int32)


@dataclass(frozen=True, slots=True)
class Fold:
    """The lowering of a reduction: one or more accumulators, folded in C order.

    `init(dtype, attrs)` gives the starting scalars, `step(s, accs, x, i)` the next ones for element `x` with
    flat position `i` (i64) among the reduced, `finish(s, accs)` the result. `pairwise` asks for the
    error-bounded summation order instead of the plain one (float sums).

    `merge(s, accs, others)` gives the accumulators of all elements from those of two parts, whose elements may
    take turns in any way. `merges` are the kinds of dtype for which the result is the same then.
    """

    init: Callable[[DType, Attrs], tuple[Expr, ...]]
    step: Callable[[ScalarBuilder, tuple[Expr, ...], Expr, Expr], tuple[Expr, ...]]
    finish: Callable[[ScalarBuilder, tuple[Expr, ...]], Expr] = lambda s, accs: accs[0]
    pairwise: bool = False
    merge: Callable[[ScalarBuilder, tuple[Expr, ...], tuple[Expr, ...]], tuple[Expr, ...]] | None = None
    merges: str = ""  # dtype kinds for which `merge` is exact


Infer = Callable[[Sequence[TensorType], Attrs], Sequence[TensorType]]


@dataclass(frozen=True)
class OpRecord:
    """The declaration of an op.

    name, kind, doc: what it is called, what it does to memory, one sentence.
    infer: operand types and attributes to result types (dtype and shape; refs are the view rule's).
        Raises SparsecError subclasses (or ValueError/TypeError/IndexError) for what NumPy refuses.
    ref: the meaning. NumPy arrays as positional, attributes as keyword arguments, to an array or a tuple.
    attrs: names of the attributes; `required` unless they have an entry in `defaults`.
    arity: number of operands, or (least, most); most -1 is unbounded.
    view: for VIEW, (operand ref, operand shape, result shape, attrs) to the result's ref; None if none exists.
    lower: ELEMENTWISE (s, *scalars, **attrs) to an Expr; MAP (s, index, reads, **attrs) to an Expr, where
        `reads[k](*index)` loads operand k, and `reads[k](*index, given=(cond, number))` does where cond holds, and
        is the number elsewhere; REDUCE a `Fold`; NEST, UPDATE, CHECK (nest builder, **attrs).
        An UPDATE of a region (see there) takes (s, old element, value, **attrs) to the new element instead.
    region: for UPDATE, operand 1 is the view that is written, operand 2 its new elements (or one scalar).
        Without it the op writes its result 0, in place in operand 0's storage, with loops of its own.
    pointwise: for MAP, positions of operands that are read at the result's own index only.
    looks: for a MAP, attributes to the axes whose index it uses in a way of its own; along all others it reads
        its first operand at the result's index. None: along any.
    once: for a NEST with one result, whether it writes each element once, through the nest: ops that read the
        result element for element may then be applied to an element before it is stored.
    seen: for a MAP that looks at its index, (attrs, shape, start, steps) to the attributes of the op that gives
        the view of its result whose element i is element `start + sum(i[j] * steps[j])`; None if none does.
    channelwise: for an op with loops of its own, (attrs, rank) to the axes of its operand along which it treats
        every slice for itself: a channel index on one of them passes through as `sparse` says.
    work: (operand types, attributes) to its number of multiply-adds, for an op that is a sum of products whose second
        operand, and what follows it, are weights.
    sparse, grad: how channel indexes pass through; the gradient rule (builder, op, result gradients) to
        operand gradients.
    numpy: the NumPy functions that it implements one to one.
    cases: example calls; the derived tests run them on every interpreter and backend.
    """

    name: str
    kind: Kind
    doc: str
    infer: Infer
    ref: Callable[..., Any] | None = None
    attrs: tuple[str, ...] = ()
    defaults: Mapping[str, Any] = field(default_factory=dict)
    arity: int | tuple[int, int] = 1
    view: Callable[[TensorRef, tuple[Any, ...], tuple[Any, ...], Attrs], TensorRef | None] | None = None
    lower: Any = None
    pointwise: tuple[int, ...] = ()
    looks: Callable[[Attrs], tuple[int, ...]] | None = None
    seen: Callable[[Attrs, tuple[int, ...], tuple[int, ...], tuple[tuple[int, ...], ...]], Attrs | None] | None = None
    region: bool = False
    once: bool = False
    channelwise: Callable[[Attrs, int], tuple[int, ...]] | None = None
    work: Callable[[Sequence[TensorType], Attrs], Dim] | None = None
    sparse: Sparse = Sparse.DENSIFY
    grad: Callable[..., Any] | None = None
    numpy: tuple[str, ...] = ()
    cases: tuple[Case, ...] = ()

    def __post_init__(self) -> None:
        if self.kind is Kind.VIEW and self.view is None:
            raise TypeError(f"view op {self.name} has no view rule")
        if self.kind is not Kind.CONTROL and self.ref is None:
            raise TypeError(f"op {self.name} has no NumPy reference")
        if unknown := set(self.defaults) - set(self.attrs):
            raise TypeError(f"op {self.name} has defaults for unknown attributes {sorted(unknown)}")
        if not self.doc:
            raise TypeError(f"op {self.name} has no doc")


REGISTRY: dict[str, OpRecord] = {}


def register(record: OpRecord) -> OpRecord:
    """Adds a record to the registry and returns it; a name can be taken once."""
    if record.name in REGISTRY:
        raise TypeError(f"op {record.name} is declared twice")
    REGISTRY[record.name] = record
    return record


def record(name: str) -> OpRecord:
    """The record of an op. Raises KeyError for a name that no op has."""
    return REGISTRY[name]
