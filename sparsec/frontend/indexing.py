"""`x[key]` and `x[key] = value`: slices make views, integer arrays gather and scatter, masks select.

NumPy's rules: a basic key (ints, slices, None, Ellipsis) gives a view, or a scalar when ints name one element.
With an integer array in the key, the ints count as arrays too; the arrays broadcast together, and their axes
stand where the first of them was if they are neighbours, else in front.
"""

from __future__ import annotations

import functools
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.errors import IndexOutOfRange, ShapeError
from sparsec.frontend.array import Traced
from sparsec.frontend.assigned import assigned, assigned_number, checked_scalar, fit
from sparsec.frontend.concrete import concrete_value
from sparsec.frontend.convert import PYTHON_NUMBERS, as_traced, broadcast, cast, full
from sparsec.frontend.layout import MAX_RANK, order_like, order_of, stand_in
from sparsec.frontend.locate import user_loc
from sparsec.frontend.mixed import (
    Mixed,
    any_mixed,
    decide,
    dtype_of,
    replaced,
    settled,
    weak_of,
    without_mixed_ints,
)
from sparsec.frontend.symbolic import (
    broadcast_shapes,
    checked,
    index_dim,
    same_dim,
    slice_dims,
    true_positions,
    value_of,
)
from sparsec.frontend.trace import Trace
from sparsec.frontend.ufuncs import fresh_array, store
from sparsec.ir.dims import Dim, Poly, shape_text
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL, I64, DType


@dataclass(frozen=True, slots=True)
class Array:
    """An integer-array part of a key: indexes into one axis. `checked`: they are known to be in range."""

    index: Traced
    checked: bool = False


@dataclass(frozen=True, slots=True)
class Dynamic:
    """A traced integer scalar in a key: one index into one axis, as an int is."""

    index: Traced


@dataclass(frozen=True, slots=True)
class Mask:
    """A boolean-array part of a key: covers as many axes as it has."""

    mask: Traced


Part = int | slice | None | Dynamic | Array | Mask


def parse_key(x: Traced, key: Any) -> list[Part]:
    """The parts of a key, Ellipsis expanded, so that together they cover every axis of `x`."""
    items = list(key) if isinstance(key, tuple) else [key]
    parts = [Ellipsis if k is Ellipsis else _part(k) for k in items]
    used = sum(_axes(p) for p in parts if p is not Ellipsis)
    if used > x.ndim:
        raise IndexOutOfRange(
            f"too many indices for array: array is {x.ndim}-dimensional, but {used} were indexed",
            loc=user_loc(),
        )
    if x.ndim - used + len(parts) > MAX_RANK:
        raise IndexOutOfRange(f"number of dimensions must be within [0, {MAX_RANK}]", loc=user_loc())
    dots = [k for k, p in enumerate(parts) if p is Ellipsis]
    if len(dots) > 1:
        raise IndexOutOfRange("an index can only have a single ellipsis ('...')", loc=user_loc())
    at = dots[0] if dots else len(parts)
    return [*parts[:at], *[slice(None)] * (x.ndim - used), *parts[at + 1 :]]  # type: ignore[list-item]


def _axes(part: Any) -> int:
    if part is None:
        return 0
    return part.mask.ndim if isinstance(part, Mask) else 1


def _part(item: Any) -> Part:
    if item is None or isinstance(item, slice):
        return item
    if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
        return int(item)
    if isinstance(item, (float, str, complex, np.inexact)):
        raise _bad_index()
    if isinstance(item, list) and not item:
        item = np.zeros(0, np.int64)
    array = as_traced(item)
    if array.dtype == BOOL:
        return Mask(array)
    if array.is_scalar and array.dtype.kind in "iu":
        known = concrete_value(array)
        return Dynamic(array) if known is None else int(known)
    if array.dtype.kind not in "iu":
        raise _bad_index("arrays used as indices must be of integer (or boolean) type")
    return Array(array)


def _bad_index(message: str = "") -> IndexOutOfRange:
    return IndexOutOfRange(
        message
        or "only integers, slices (`:`), ellipsis (`...`), numpy.newaxis (`None`) and "
        "integer or boolean arrays are valid indices",
        loc=user_loc(),
    )


# --- reading ---------------------------------------------------------------------------------------------


def getitem(x: Traced, key: Any) -> Traced:
    """`x[key]`: a view, a scalar, or a gathered copy. Raises IndexOutOfRange as NumPy does."""
    if (mixed := any_mixed((x, key))) is not None:
        key = without_mixed_ints(key)
        if (mixed := any_mixed((x, key))) is not None:
            return decide(mixed, lambda p: p[key] if x is mixed else getitem(x, replaced(key, mixed, p)))
    exact_ellipsis = _has_ellipsis(key)
    if x.is_scalar and exact_ellipsis:
        x = x.as_array()
    x, parts = _bools_with_axes(x, parse_key(x, key))
    parts = _masks_to_arrays(x, parts)
    if any(isinstance(p, Array) for p in parts):
        return _gather(x, parts)
    view = basic_view(x, parts)
    if view.shape == () and not exact_ellipsis:
        return Traced.scalar(x.trace, x.trace.op("copy", view.read()))
    return view


def basic_view(x: Traced, parts: list[Part]) -> Traced:
    """The view that ints, slices and Nones select."""
    start: list[Dim] = []
    size: list[Dim] = []
    step: list[int] = []
    shape: list[Dim] = []
    kept: list[int | None] = []  # the axis of `x` that each axis of the view is
    dims = iter(enumerate(x.shape))
    for part in parts:
        if part is None:
            shape.append(1)
            kept.append(None)
            continue
        axis, dim = next(dims)
        if isinstance(part, (int, Dynamic)):
            start.append(index_of(x.trace, part, dim, axis))
            size.append(1)
            step.append(1)
            continue
        first, count, stride = slice_range(x.trace, part, dim)  # type: ignore[arg-type]
        start.append(first)
        size.append(count)
        step.append(stride)
        shape.append(count)
        kept.append(axis)
    view = x
    if tuple(size) != x.shape or any(s != 1 for s in step):
        view = x.view("slice", start=tuple(start), size=tuple(size), step=tuple(step))
    if view.shape != tuple(shape):
        view = _with_axes(view, tuple(shape), kept)
    if view is x:  # a new view object: `y = x[:]; y += 1` writes, `y is x` is False
        view = Traced(x.trace, x.type, storage=x.storage, steps=x.steps, value=x.value, readonly=x.readonly)
    return view


def _with_axes(view: Traced, shape: tuple[Dim, ...], kept: list[int | None]) -> Traced:
    """The view less the axes of its ints, with those of its Nones. One without elements keeps its strides,
    which a reshape would not: they decide the memory order of what is computed from it."""
    ref = view.type.ref
    if 0 not in shape or ref is None:
        return view.view("reshape", shape=shape)
    strides = tuple(0 if axis is None else ref.strides[axis] for axis in kept)
    return view.view("view", offset=ref.offset, shape=shape, strides=strides)


def index_of(trace: Trace, index: int | Dynamic, dim: Dim, axis: int) -> Dim:
    """A nonnegative index. Raises IndexOutOfRange outside the axis, now or when the program runs."""
    if isinstance(index, Dynamic):
        return index_dim(trace, index.index, dim, axis)
    if isinstance(dim, Poly):
        size = value_of(trace, dim)
        inside = trace.op(
            "less" if index >= 0 else "greater_equal",
            trace.const(index, I64),
            size if index >= 0 else trace.op("neg", size),
        )
        trace.ops("check", inside, kind="index", message=f"index {index} is out of bounds for axis {axis}")
        return index + dim if index < 0 else index
    if not -dim <= index < dim:
        raise IndexOutOfRange(
            f"index {index} is out of bounds for axis {axis} with size {dim}", loc=user_loc()
        )
    return index + dim if index < 0 else index


def slice_range(trace: Trace, part: slice, dim: Dim) -> tuple[Dim, Dim, int]:
    """(first index, count, step) of a slice; an empty one with static bounds starts at 0."""
    ends = [_known(b) for b in (part.start, part.stop, part.step)]
    if any(isinstance(b, Traced) and b.ndim for b in ends):
        raise _bad_slice(TypeError("only integer scalar arrays can be converted to a scalar index"))
    if isinstance(dim, Poly) or any(isinstance(b, Traced) for b in ends):
        return slice_dims(trace, slice(*ends), dim)
    try:
        bounds = slice(*(None if b is None else operator.index(b) for b in ends))
    except TypeError as error:
        raise _bad_slice(error) from None
    try:
        first, last, step = bounds.indices(dim)
    except ValueError as error:
        raise ShapeError(str(error), loc=user_loc()) from None
    count = len(range(first, last, step))
    return (first, count, step) if count else (0, 0, 1)


def _known(bound: Any) -> Any:
    """A traced bound whose value is known while tracing, as that value."""
    if not isinstance(bound, Traced):
        return bound
    known = concrete_value(bound) if bound.dtype.kind in "iu" and bound.ndim == 0 else None
    return bound if known is None else int(known)


def _bad_slice(error: TypeError) -> IndexOutOfRange:
    from sparsec.errors import DTypeError

    return DTypeError(str(error), loc=user_loc())  # type: ignore[return-value]


def _bools_with_axes(x: Traced, parts: list[Part]) -> tuple[Traced, list[Part]]:
    """A bool in a key selects from a new axis of length 1: `x[b]` is `x[None][[b]]`. Of several, all have to hold."""
    tests = [p.mask.read() if isinstance(p, Mask) and p.mask.ndim == 0 else None for p in parts]
    places = [k for k, test in enumerate(tests) if test is not None]
    if not places:
        return x, parts
    trace = x.trace
    test = functools.reduce(lambda a, b: trace.op("logical_and", a, b), [t for t in tests if t is not None])
    parts = [_where_true(trace, p, test) if k not in places else p for k, p in enumerate(parts)]
    always = _must_hold(trace, test, [p for k, p in enumerate(parts) if k not in places])
    spread = trace.op("copy", trace.op("broadcast", test, shape=(1,)))
    for k in places:
        axis = sum(_axes(p) for p in parts[:k])
        x = basic_view(x, [*[slice(None)] * axis, None, *[slice(None)] * (x.ndim - axis)])
        first = k == places[0] and not always
        parts = [*parts[:k], Mask(Traced.fresh(trace, spread)) if first else Array(as_traced([0])), *parts[k + 1 :]]
    return x, parts


def _where_true(trace: Trace, part: Part, test: Value) -> Part:
    """A mask beside a bool: nothing of it if the bool is false, which goes with at most one true element."""
    if not isinstance(part, Mask):
        return part
    mask = part.mask.read()
    count = trace.op("sum", trace.op("cast", mask, dtype=I64), axes=tuple(range(mask.type.rank)))
    few = trace.op("less_equal", count, trace.const(1, I64))
    trace.ops("check", trace.op("logical_or", test, few), kind="index", message=_APART)
    return Mask(Traced.fresh(trace, trace.op("logical_and", mask, test)))


_APART = "shape mismatch: indexing arrays could not be broadcast together"


def _must_hold(trace: Trace, test: Value, others: list[Part]) -> bool:
    """Whether a bool beside index arrays has to be true: one that is not selects nothing, which only arrays go with
    whose last length is 1 (or 0). The program then stops where it is false."""
    last = _broadcast_shape([p.index for p in others if isinstance(p, Array)])[-1:]
    if last not in ((), (0,), (1,)):
        trace.ops("check", test, kind="index", message=_APART)
    return any(isinstance(p, Mask) for p in others) or last not in ((), (1,))


def _masks_to_arrays(x: Traced, parts: list[Part]) -> list[Part]:
    """Masks as the positions of their true elements: known now, or counted when the program runs."""
    out: list[Part] = []
    axis = 0
    for part in parts:
        if not isinstance(part, Mask):
            out.append(part)
            axis += _axes(part)
            continue
        _check_mask(x, part.mask, axis)
        axis += part.mask.ndim
        known: np.ndarray | None
        if part.mask.type.size == 0:  # whatever its other lengths are when it runs
            known = np.zeros([d if isinstance(d, int) else 0 for d in part.mask.shape], bool)
        else:
            known = concrete_value(part.mask)
        if known is None:
            positions = true_positions(x.trace, part.mask.read())
            out.extend(
                Array(Traced(x.trace, p.type.with_ref(p.ref), storage=x.trace.new_storage(p)), checked=True)
                for p in positions
            )
            continue
        out.extend(
            Array(as_traced(list(k.tolist()) if k.size else np.zeros(0, np.int64))) for k in np.nonzero(known)
        )
    return out


@dataclass(frozen=True, slots=True)
class Selection:
    """An advanced key, resolved: `region` is the basic view below it, `indexes` one i64 value per axis of
    `region`, each of the result's `shape` or a scalar."""

    region: Traced
    indexes: tuple[Value, ...]
    shape: tuple[Any, ...]
    sample: tuple[Any, ...]  # a key of the same kind for the region's stand-in


def select(x: Traced, parts: list[Part]) -> Selection:
    """Resolves a key with integer arrays: bounds are checked, negative indexes wrapped, axes placed."""
    trace = x.trace
    basic: list[Part] = []
    arrays: dict[int, Traced | int] = {}  # axis of the region -> its index
    sure: set[int] = set()  # axes whose indexes are known to be in range
    position: list[int] = []  # where, among the key's result axes, arrays stand
    for axis, part in enumerate(parts):
        if isinstance(part, (int, Array, Dynamic)):
            if isinstance(part, Array) and part.checked:
                sure.add(axis)
            arrays[axis] = part if isinstance(part, int) else part.index
            position.append(axis)
            basic.append(slice(None))
        else:
            basic.append(part)
    region = basic_view(x, basic)
    common = _broadcast_shape(list(arrays.values()))
    adjacent = position == list(range(position[0], position[0] + len(position)))
    rest = [k for k in range(region.ndim) if k not in arrays]
    front = sum(1 for k in rest if k < position[0]) if adjacent else 0
    shape = (*(region.shape[k] for k in rest[:front]), *common, *(region.shape[k] for k in rest[front:]))
    indexes = []
    for k in range(region.ndim):
        if k in arrays:
            index = arrays[k].read() if k in sure else checked_index(trace, arrays[k], region.shape[k], k)  # type: ignore[union-attr]
            indexes.append(_place(trace, index, common, front, shape))
        else:
            at = rest.index(k)
            at = at if at < front else at + len(common)
            indexes.append(trace.op("iota", dtype=I64, shape=shape, axis=at))
    sample = tuple(_sample_key(arrays[k]) if k in arrays else slice(None) for k in range(region.ndim))
    return Selection(region, tuple(indexes), shape, sample)


def _sample_key(index: Traced | int) -> Any:
    return 0 if isinstance(index, int) or index.is_scalar else stand_in(index).astype(np.intp, order="K")


def _broadcast_shape(indexes: list[Traced | int]) -> tuple[Dim, ...]:
    shapes = [() if isinstance(i, int) else i.shape for i in indexes]
    try:
        return broadcast_shapes(*shapes)
    except ShapeError:
        text = " ".join(map(shape_text, shapes))
        raise IndexOutOfRange(
            f"shape mismatch: indexing arrays could not be broadcast together with shapes {text}",
            loc=user_loc(),
        ) from None


def _place(trace: Trace, index: Value, common: tuple[Dim, ...], front: int, shape: tuple[Dim, ...]) -> Value:
    """An index of (at most) shape `common` put at axis `front` of the result shape."""
    if index.type.shape == ():
        return index
    index = broadcast(trace, index, common)
    behind = len(shape) - front - len(common)
    if behind:
        index = trace.op("copy", index) if index.type.ref is not None else index
        index = trace.op("reshape", index, shape=(*common, *[1] * behind))
    return broadcast(trace, index, shape)


def checked_index(trace: Trace, index: Traced | int, dim: int, axis: int) -> Value:
    """An i64 index value in range: known ones are checked now, others by a `check` at run time."""
    known = np.asarray(index) if isinstance(index, int) else concrete_value(index)
    if known is not None and not isinstance(dim, Poly):
        bad = (known < -dim) | (known >= dim)
        if bad.any():
            raise IndexOutOfRange(
                f"index {known[bad].flat[0]} is out of bounds for axis {axis} with size {dim}", loc=user_loc()
            )
        wrapped = np.where(known < 0, known + dim, known)
        return trace.const(
            tuple(wrapped.ravel().tolist()) if wrapped.ndim else wrapped.item(), I64, wrapped.shape
        )
    assert isinstance(index, Traced)
    value = cast(trace, index.read(), I64)
    if index.type.size == 0:
        return value
    return checked(trace, value, dim, axis)


def _gather(x: Traced, parts: list[Part]) -> Traced:
    chosen = select(x, parts)
    trace = x.trace
    source = chosen.region.read()
    if 0 in chosen.shape:
        return Traced.fresh(trace, trace.op("empty", dtype=x.dtype, shape=chosen.shape))
    layout = order_of(stand_in(chosen.region)[chosen.sample])
    indexes = chosen.indexes
    if layout is not None:
        indexes = tuple(i if i.type.shape == () else trace.op("transpose", i, perm=layout) for i in indexes)
    value = trace.op("gather", source, *indexes)
    laid = chosen.shape if layout is None else tuple(chosen.shape[p] for p in layout)
    if value.type.shape != laid:
        value = full(trace, value, laid)
    if chosen.shape == () and all(not isinstance(p, Array) or p.index.ndim == 0 for p in parts):
        return Traced.scalar(trace, value)
    return fresh_array(trace, value, layout)


# --- writing ---------------------------------------------------------------------------------------------


def setitem(x: Traced, key: Any, value: Any) -> None:
    """`x[key] = value`. Raises what NumPy raises; nothing is written then."""
    trace = x.trace
    trace.check_open()
    if any_mixed((key, value)) is not None:
        key, value = without_mixed_ints(key), _stored(x, value)
        if (mixed := any_mixed((key, value))) is not None:
            decide(mixed, lambda p: setitem(x, replaced(key, mixed, p), replaced(value, mixed, p)))
            return
    trace.check_writable(x)
    x, parts = _bools_with_axes(x, parse_key(x, key))
    masks = [p for p in parts if isinstance(p, Mask) and p.mask.type.size != 0]
    if (
        len(masks) == 1
        and not any(isinstance(p, Array) for p in parts)
        and concrete_value(masks[0].mask) is None
        and _write_mask(x, parts, masks[0], value)
    ):
        return
    parts = _masks_to_arrays(x, parts)
    if any(isinstance(p, Array) for p in parts):
        _scatter(x, parts, value)
        return
    region = basic_view(x, parts)
    if region.shape == () and not _has_ellipsis(key) and isinstance(value, (Traced, np.ndarray)) and value.ndim:
        raise ShapeError("setting an array element with a sequence.", loc=user_loc())
    store(trace, region, assigned(trace, value, region))


def _stored(x: Traced, value: Any) -> Any:
    """A scalar of several kinds as one of the dtype into which it is stored, where each kind becomes the same."""
    if not isinstance(value, Mixed) or (any(dtype_of(p).kind == "c" for p in value.parts) and x.dtype.kind != "c"):
        return value
    if x.dtype.kind in "iu" and any(not _just_cast(p, x.dtype) for p in value.parts):
        return value
    one = settled(value, x.dtype)
    return value if one is None else Traced.scalar(x.trace, one)


def _just_cast(part: Any, target: DType) -> bool:
    """Whether storing a scalar into integers cannot fail, once it is known to fit."""
    if type(part) in PYTHON_NUMBERS:
        return type(part) is not float
    return weak_of(part) is None and not checked_scalar(dtype_of(part), target)


def _has_ellipsis(key: Any) -> bool:
    return key is Ellipsis or (isinstance(key, tuple) and any(k is Ellipsis for k in key))


def _check_mask(x: Traced, mask: Traced, axis: int) -> None:
    """Raises IndexOutOfRange where a mask that begins at `axis` has another length than what it masks."""
    for k, (have, want) in enumerate(zip(x.shape[axis:], mask.shape), axis):
        if have == want or mask.type.size == 0:  # NumPy lets empty masks pass
            continue
        what = (f"boolean index did not match indexed array along axis {k}; size of axis is {have} but size of "
                f"corresponding boolean axis is {want}")
        if not isinstance(have, Poly) and not isinstance(want, Poly):
            raise IndexOutOfRange(what, loc=user_loc())
        same_dim(x.trace, have, want, what, "index")


def _write_mask(x: Traced, parts: list[Part], part: Mask, value: Any) -> bool:
    """`x[mask] = value` as a choice between new and old elements; False where the value has one element for
    each selected one."""
    trace = x.trace
    at = parts.index(part)
    mask = part.mask
    axis = sum(_axes(p) for p in parts[:at])
    _check_mask(x, mask, axis)
    others = [p for p in parts if p is not part]
    plain = all(p == slice(None) for p in others)
    stretched = [*parts[:at], *[slice(None)] * mask.ndim, *parts[at + 1 :]]
    region = basic_view(x, stretched)
    rest = len([p for p in parts[at + 1 :] if p is None or isinstance(p, slice)])
    spread = mask.read()
    if rest:
        spread = as_view(trace, spread, (*mask.shape, *[1] * rest))
    if type(value) in PYTHON_NUMBERS:
        new = assigned_number(trace, value, region)
    else:
        array = as_traced(value)
        if array.ndim and not (plain and at == 0 and _fits_rest(array.shape, region.shape[mask.ndim :])):
            return False
        new = assigned(trace, array, region) if array.weak else array.read()
        if new.type.shape not in ((), region.shape):
            new = fit(trace, new, (1,) * mask.ndim + region.shape[mask.ndim :])
    store(trace, region, new, spread)
    return True


def as_view(trace: Trace, value: Value, shape: tuple[int, ...]) -> Value:
    """`value` reshaped, copied first where a view is impossible."""
    try:
        return trace.op("reshape", value, shape=shape)
    except ValueError:
        return trace.op("reshape", trace.op("copy", value), shape=shape)


def _fits_rest(shape: tuple[int, ...], rest: tuple[int, ...]) -> bool:
    """Whether a right side broadcasts against (count, *rest) whatever count is."""
    if len(shape) > len(rest) + 1 or (len(shape) == len(rest) + 1 and shape[0] != 1):
        return False
    tail = shape[-len(rest) :] if rest else ()
    return all(have in (want, 1) for have, want in zip(reversed(tail), reversed(rest), strict=False))


def _scatter(x: Traced, parts: list[Part], value: Any) -> None:
    trace = x.trace
    chosen = select(x, parts)
    region = chosen.region
    target = Traced(trace, region.type, storage=region.storage, steps=region.steps, readonly=region.readonly)
    if type(value) in PYTHON_NUMBERS:
        new = assigned_number(trace, value, target)
    elif isinstance(value, Traced) and value.weak:
        new = assigned(trace, value, target)
    else:
        new = fit(trace, cast(trace, as_traced(value).read(), x.dtype), chosen.shape)
    if 0 in chosen.shape:
        return
    indexes = chosen.indexes
    order = _writing_order(chosen, parts, value)
    if order is not None:
        indexes = tuple(i if i.type.shape == () else trace.op("transpose", i, perm=order) for i in indexes)
        new = new if new.type.shape == () else trace.op("transpose", new, perm=order)
    trace.scatter(target, indexes, new)


def _writing_order(chosen: Selection, parts: list[Part], value: Any) -> tuple[int, ...] | None:
    """The axes of the selection in the order in which NumPy walks them: it decides who writes an element last.

    That is C order, unless every axis is selected by arrays and they and the value agree on another.
    """
    arrays = [p.index for p in parts if isinstance(p, Array)]
    if len(arrays) != len(parts) or not isinstance(value, Traced):
        return None
    return order_like([*arrays, value], chosen.shape)
