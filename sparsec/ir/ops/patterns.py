"""Convolutions whose kernels keep the taps of a pattern each, before it is decided how they are computed.

    %y = pruned_conv2d %x, %values, %channels, %patterns, %rows, %library {…}      filter by filter
    %y = reordered_conv2d %x, %values, %filters, %bounds, %library {…}             kernels that read the same together

The passes `compress-patterns`, `reorder-filters` and `share-loads` decide, and `lay-out-planes` writes it out in the
ops of `plane_sums.py` and `grouped_conv.py`. What is below those two are the lists that reordering needs, computed
from lists alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsec.errors import DTypeError, ShapeError
from sparsec.ir.dims import Dim
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Const, Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.conv import Pair
from sparsec.ir.ops.plane_layout import OUTPUTS, WINDOW, WINDOW_DEFAULTS, plane_layout
from sparsec.ir.ops.record import Kind, OpRecord, case, i32, record, register
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import I32, I64, TensorType, dtype_name


def _result(name: str, types: Sequence[TensorType], attrs: Attrs, outputs: Dim) -> list[TensorType]:
    x, values, *lists = types
    library = lists[3] if name == "pruned_conv2d" else lists[2]
    if x.rank != 4 or values.rank != 2 or library.rank != 2 or values.shape[1] != library.shape[1]:
        raise ShapeError(f"{name} takes [N,C,H,W], kernels and a library of patterns, not {x}, {values}, {library}")
    if x.dtype != values.dtype or x.dtype.kind != "f" or any(t.dtype != I32 for t in lists):
        raise DTypeError(f"{name} takes floats and i32 lists, not ({', '.join(dtype_name(t.dtype) for t in types)})")
    made = plane_layout(x.shape[2:], attrs["kernel"], attrs)
    return [TensorType(x.dtype, (x.shape[0], outputs, *made.size))]


def _work(types: Sequence[TensorType], attrs: Attrs) -> Dim:
    """Each stored value once for each output element of each image."""
    x, values, *_ = types
    height, width = plane_layout(x.shape[2:], attrs["kernel"], attrs).size
    return x.shape[0] * values.size * height * width


def _dense(
    values: np.ndarray, filters: np.ndarray, channels: np.ndarray, taps: np.ndarray, shape: Sequence[int]
) -> np.ndarray:
    outputs, inputs, height, width = shape
    whole = np.zeros((outputs, inputs, height * width), values.dtype)
    whole[filters[:, None], channels[:, None], taps] = values
    return whole.reshape(outputs, inputs, height, width)


def _convolved(x: np.ndarray, w: np.ndarray, window: Attrs) -> Any:
    conv = record("conv2d")
    return conv.ref(x, w, **{**conv.defaults, **window})  # type: ignore[misc]


def _pruned_array(
    x: np.ndarray, values: np.ndarray, channels: np.ndarray, patterns: np.ndarray, rows: np.ndarray,
    library: np.ndarray, kernel: Pair, compressed: bool, **window: Any,
) -> Any:
    filters = np.repeat(np.arange(len(rows) - 1), np.diff(rows))
    shape = (len(rows) - 1, x.shape[1], *kernel)
    return _convolved(x, _dense(values, filters, channels, library[patterns], shape), window)


_LIBRARY = i32([0, 4], [4, 5], [1, 7])
_SAME: dict[str, Any] = {"kernel": (3, 3), "padding": ((1, 1), (1, 1))}

register(OpRecord(
    name="pruned_conv2d", kind=Kind.NEST, arity=6, attrs=(*WINDOW, "compressed"),
    defaults={**WINDOW_DEFAULTS, "compressed": False}, work=_work,
    doc="`pruned_conv2d x, values, channels, patterns, rows, library`: a convolution whose filter o has the kernels "
        "rows[o] to rows[o+1]; kernel k has values[k] at the taps library[patterns[k]] of input channel channels[k]. "
        "`compressed`: a kernel is kept as one place and a pattern, not tap by tap.",
    infer=lambda types, attrs: _result("pruned_conv2d", types, attrs, types[4].shape[0] - 1),
    ref=_pruned_array,
    cases=(
        case((2, 3, 4, 5), (4, 2), i32(0, 2, 1, 2), i32(1, 0, 2, 2), i32(0, 2, 2, 4), _LIBRARY, dtypes="f4",
             ulp=8, **_SAME),
        case((1, 2, 5, 6), (2, 2), i32(0, 1), i32(1, 2), i32(0, 1, 2), _LIBRARY, compressed=True, ulp=8,
             kernel=(3, 3), stride=(2, 2)),
    ),
))  # fmt: skip


def _named(attrs: Attrs, lists: Sequence[Any]) -> dict[str, Any]:
    return dict(zip(attrs["extras"], lists))


def _reordered_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    x, values, filters, bounds, library, *extras = types
    if len(extras) != len(attrs["extras"]) or not set(attrs["extras"]) <= {"order"}:
        raise ShapeError(f"reordered_conv2d: {len(extras)} lists, named {list(attrs['extras'])}")
    groups = x.shape[1] * library.shape[0]
    if filters.shape != values.shape[:1] or bounds.shape != (-(-attrs["outputs"] // OUTPUTS), groups + 1):
        raise ShapeError(f"reordered_conv2d: {filters} in {bounds} for {library} and {x}")
    return _result("reordered_conv2d", types, attrs, attrs["outputs"])


def _reordered_array(
    x: np.ndarray, values: np.ndarray, filters: np.ndarray, bounds: np.ndarray, library: np.ndarray,
    *lists: np.ndarray, kernel: Pair, outputs: int, shared: bool, extras: Sequence[str], **window: Any,
) -> Any:
    named = dict(zip(extras, lists))
    groups = np.tile(np.arange(bounds.shape[1] - 1), len(bounds))
    channels, patterns = np.divmod(np.repeat(groups, np.diff(bounds, axis=1).reshape(-1)), len(library))
    values = values[named["order"]] if "order" in named else values
    return _convolved(x, _dense(values, filters, channels, library[patterns], (outputs, x.shape[1], *kernel)), window)


_BOUNDS = i32([0, 1, 1, 1, 1, 2, 3])

register(OpRecord(
    name="reordered_conv2d", kind=Kind.NEST, arity=(5, 6), attrs=(*WINDOW, "outputs", "shared", "extras"),
    defaults={**WINDOW_DEFAULTS, "shared": False, "extras": ()}, work=_work,
    doc="`reordered_conv2d x, values, filters, bounds, library`: as pruned_conv2d, kernels in groups of one input "
        "channel and one pattern, for a portion of the filters after the other: kernels bounds[q,c*P+p] to "
        "bounds[q,c*P+p+1] of portion q are those of channel c with pattern p, and belong to the outputs filters[k]. "
        "With the extra list `order` kernel k is stored as number order[k]. `shared`: what the kernels of a group "
        "read is loaded once.",
    infer=_reordered_types, ref=_reordered_array,
    cases=(
        case((2, 2, 4, 5), (3, 2), i32(0, 1, 0), _BOUNDS, _LIBRARY, dtypes="f4", ulp=8, outputs=2, **_SAME),
        case((1, 2, 7, 7), (3, 2), i32(0, 1, 0), _BOUNDS, _LIBRARY, i32(2, 0, 1), extras=("order",), shared=True,
             ulp=8, outputs=2, **_SAME),
        case((1, 2, 7, 7), (3, 2), i32(0, 1, 0), _BOUNDS, _LIBRARY, i32(2, 0, 1), extras=("order",), ulp=8,
             outputs=2, stride=(2, 1), **_SAME),
    ),
))  # fmt: skip


# --- lists -----------------------------------------------------------------------------------------------


def _lists(name: str, types: Sequence[TensorType], *ranks: int) -> None:
    if any(t.dtype != I32 for t in types) or tuple(t.rank for t in types) != ranks:
        raise DTypeError(f"{name} takes i32 lists of ranks {ranks}, not ({', '.join(map(str, types))})")


def _groups(channels: np.ndarray, patterns: np.ndarray, rows: np.ndarray, inputs: int, library: int) -> np.ndarray:
    """The group of each kernel, counted through all portions."""
    filters = np.repeat(np.arange(len(rows) - 1), np.diff(rows))
    return filters // OUTPUTS * (inputs * library) + channels * library + patterns  # type: ignore[no-any-return]


def _bounds_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    channels, patterns, rows = types
    _lists("kernel_bounds", types, 1, 1, 1)
    if channels.shape != patterns.shape or min(attrs["inputs"], attrs["library"]) < 0:
        raise ShapeError(f"kernel_bounds: {channels} with {patterns}")
    portions = -(-_number(rows.shape[0] - 1) // OUTPUTS)
    return [TensorType(I32, (portions, attrs["inputs"] * attrs["library"] + 1))]


def _number(size: Dim) -> int:
    if not isinstance(size, int):
        raise ShapeError(f"how many filters there are must be known, not {size}")
    return size


def _bounds_array(
    channels: np.ndarray, patterns: np.ndarray, rows: np.ndarray, inputs: int, library: int
) -> np.ndarray:
    group, each = np.sort(_groups(channels, patterns, rows, inputs, library)), inputs * library
    portions = -(-(len(rows) - 1) // OUTPUTS)
    first = each * np.arange(portions)[:, None]
    return np.searchsorted(group, first + np.arange(each + 1)).astype(np.int32)


def _kernels(nest: NestBuilder, rows: int) -> Any:
    """Loops over the filters and over the kernels of each; the caller has both variables."""
    last = S.sub(nest.shape(rows)[0], index(1))
    return nest.loop(last)


def _group(nest: NestBuilder, k: Expr, library: int) -> Expr:
    channel, pattern = (S.cast(nest.read(operand, k), I64) for operand in (0, 1))
    return nest.let(S.add(S.mul(channel, index(library)), pattern), "group")


def _range(nest: NestBuilder, o: Expr) -> tuple[Expr, Expr]:
    """The kernels of a filter: last and first."""
    first, last = (S.cast(nest.read(2, at), I64) for at in (o, S.add(o, index(1))))
    return last, first


def _bounds_lower(nest: NestBuilder, inputs: int, library: int) -> None:
    """Kernels are counted, group by group; then the counts are summed up."""
    portions, places = nest.result_shape()
    with nest.loop(portions) as q, nest.loop(places) as at:
        nest.write(0, (q, at), const(0, I32))
    with _kernels(nest, 2) as o:
        portion = nest.let(S.quo(o, index(OUTPUTS)))
        with nest.loop(*_range(nest, o)) as k:
            place = (portion, S.add(_group(nest, k, library), index(1)))
            nest.write(0, place, S.add(nest.read_result(0, *place), const(1, I32)))
    total = nest.mut(const(0, I32), "total")
    with nest.loop(portions) as q, nest.loop(places) as at:
        nest.assign(total, S.add(total, nest.read_result(0, q, at)))
        nest.write(0, (q, at), total)


_SOME = (i32(0, 2, 1, 2, 0), i32(1, 0, 2, 2, 1), i32(0, 2, 2, 4, 5))

register(OpRecord(
    name="kernel_bounds", kind=Kind.NEST, arity=3, attrs=("inputs", "library"),
    doc="`kernel_bounds channels, patterns, rows`: i32[Q, inputs*library+1], where the groups of one channel and one "
        "pattern begin in each portion of the filters, kernels in that order.",
    infer=_bounds_types, ref=_bounds_array, lower=_bounds_lower,
    cases=(case(*_SOME, inputs=3, library=3), case(i32(), i32(), i32(0, 0), inputs=1, library=2)),
))


def _order_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    _lists("kernel_order", types, 1, 1, 1, 2)
    return [TensorType(I32, (2, types[0].shape[0]))]


def _order_array(
    channels: np.ndarray, patterns: np.ndarray, rows: np.ndarray, bounds: np.ndarray, library: int
) -> np.ndarray:
    inputs = (bounds.shape[1] - 1) // max(library, 1)
    order = np.argsort(_groups(channels, patterns, rows, inputs, library), kind="stable")
    filters = np.repeat(np.arange(len(rows) - 1), np.diff(rows))
    return np.stack([order, filters[order]]).astype(np.int32)


def _order_lower(nest: NestBuilder, library: int) -> None:
    """Each kernel goes to the next place of its group."""
    portions, places = (_constant(size) for size in nest.shape(3))
    free = nest.scratch(I32, max(portions * (places - 1), 1), "free")
    with nest.loop(index(portions)) as q, nest.loop(index(places - 1)) as at:
        nest.store(free, S.add(S.mul(q, index(places - 1)), at), nest.read(3, q, at))
    with _kernels(nest, 2) as o:
        first = nest.let(S.mul(S.quo(o, index(OUTPUTS)), index(places - 1)))
        with nest.loop(*_range(nest, o)) as k:
            group = nest.let(S.add(first, _group(nest, k, library)))
            there = nest.load(free, group, I32)
            nest.store(free, group, S.add(there, const(1, I32)))
            for row, number in enumerate((k, o)):
                nest.write(0, (index(row), S.cast(there, I64)), S.cast(number, I32))


def _constant(size: Expr) -> int:
    assert isinstance(size, Const)
    return int(size.value.real)


register(OpRecord(
    name="kernel_order", kind=Kind.NEST, arity=4, attrs=("library",),
    doc="`kernel_order channels, patterns, rows, bounds`: i32[2,K], the kernels in the order of `kernel_bounds`, and "
        "the filter of each.",
    infer=_order_types, ref=_order_array, lower=_order_lower,
    cases=(
        case(*_SOME, _bounds_array(*_SOME, inputs=3, library=3), library=3),
        case(i32(), i32(), i32(0, 0), i32([0, 0, 0]), library=2),
    ),
))


def _of_each_types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    _lists("kernel_groups", types, 2)
    return [TensorType(I32, (attrs["count"],))]


def _of_each_array(bounds: np.ndarray, count: int) -> np.ndarray:
    counts = np.diff(bounds, axis=1)
    return np.repeat(np.tile(np.arange(counts.shape[1]), len(counts)), counts.reshape(-1)).astype(np.int32)


def _of_each_lower(nest: NestBuilder, count: int) -> None:
    portions, places = nest.shape(0)
    with nest.loop(portions) as q, nest.loop(S.sub(places, index(1))) as group:
        begin, end = (S.cast(nest.read(0, q, at), I64) for at in (group, S.add(group, index(1))))
        with nest.loop(end, begin) as k:
            nest.write(0, (k,), S.cast(group, I32))


register(OpRecord(
    name="kernel_groups", kind=Kind.NEST, attrs=("count",),
    doc="`kernel_groups bounds`: i32[count], the group of each kernel, from where groups begin.",
    infer=_of_each_types, ref=_of_each_array, lower=_of_each_lower,
    cases=(case(_BOUNDS, count=3), case(i32([0, 2, 2], [2, 2, 3]), count=3)),
))
