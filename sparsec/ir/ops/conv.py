"""Two-dimensional convolution, of which any channels may be left out on either side.

    %y = conv2d %x, %w {padding=[[1,1],[1,1]]}                             all channels
    %y = conv2d %x, %w, %in {extras=["inputs"], in_channels=64, …}         x holds the channels that %in lists
    %y = conv2d %x, %w, %in, %out {extras=["inputs", "rows"], …}           and only rows %out of w are computed

Weights are read where they lie, through the lists: no compact copy of them is ever made. What lies around the
image counts as zeros.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.errors import DTypeError, ShapeError
from sparsec.ir.dims import Dim, Poly, evaluate, product
from sparsec.ir.graph import Attrs
from sparsec.ir.loops import Const, Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops.phases import regroup
from sparsec.ir.ops.record import Case, Kind, OpRecord, Sparse, case, i32, register
from sparsec.ir.scalar import S, const, index
from sparsec.ir.types import F32, F64, I32, I64, TensorType, dtype_name

Pair = tuple[int, int]
Named = Mapping[str, Any]

#: Index lists that may follow the operands x and w, in this order.
EXTRAS = ("inputs", "rows", "outputs")

_DOC = (
    "x[N,C,H,W], w[O,I,R,S] and index lists to [N,rows,OH,OW]: cross-correlation with zeros around x; f32 or f64. "
    "`padding` is ((top, bottom), (left, right)). `extras` names the i32 lists that follow, sorted: `inputs`, the "
    "input channel that each channel of x is; `rows`, the row of w behind each result channel; `outputs`, the "
    "output channel that each row of w is (needed with groups). `in_channels` and `out_channels` count all "
    "channels; 0: as the operands say. An empty list of inputs gives zeros. With `extent`, the images of this height "
    "and width are given as their `phases` of the stride, or, with `columns`, as the `tap_columns` of the window."
)


@dataclass(frozen=True, slots=True)
class _Window:
    """Where the taps of one axis lie: output `o` reads input `o * stride + r * dilation - before`."""

    taps: int
    stride: int
    dilation: int
    before: int
    after: int

    def size(self, extent: Dim) -> Dim:
        """Outputs along the axis. Raises ShapeError where the window is larger than the padded input."""
        room = extent + self.before + self.after - self.dilation * (self.taps - 1) - 1
        if isinstance(room, Poly):
            if self.stride != 1:
                raise ShapeError(f"conv2d: stride {self.stride} over an axis of unknown size {extent}")
            return room + 1
        if room < 0:
            raise ShapeError(
                f"conv2d: a window of {self.dilation * (self.taps - 1) + 1} does not fit into "
                f"{extent + self.before + self.after} elements, padding included"
            )
        return room // self.stride + 1


def windows(kernel: Sequence[int], attrs: Attrs) -> tuple[_Window, _Window]:
    """The windows of both axes. Raises ShapeError for numbers that make none."""
    stride, padding, dilation = attrs["stride"], attrs["padding"], attrs["dilation"]
    if min(*stride, *dilation) < 1 or min(*padding[0], *padding[1]) < 0 or min(kernel) < 1:
        raise ShapeError(
            f"conv2d: kernel {tuple(kernel)}, stride {stride} and dilation {dilation} must be positive, "
            f"padding {padding} not negative"
        )
    y, x = (_Window(kernel[k], stride[k], dilation[k], *padding[k]) for k in (0, 1))
    return y, x


def _types(types: Sequence[TensorType], attrs: Attrs) -> list[TensorType]:
    x, w, *lists = types
    if x.dtype != w.dtype or x.dtype not in (F32, F64) or any(t.dtype != I32 for t in lists):
        names = ", ".join(dtype_name(t.dtype) for t in types)
        raise DTypeError(f"conv2d does not take ({names})", hint="two of float32 or float64, lists of int32")
    if x.rank != (6 if attrs["extent"] else 4) or w.rank != 4 or any(t.rank != 1 for t in lists):
        ranks = ", ".join(str(t.rank) for t in types)
        raise ShapeError(f"conv2d takes [N,C,H,W], [O,I,R,S] and lists, not ranks {ranks}")
    by_name = _named(attrs["extras"], lists)
    _check_channels(x, w, by_name, attrs)
    kernel = [d for d in w.shape[2:] if not isinstance(d, Poly)]
    if len(kernel) != 2:
        raise ShapeError(f"conv2d: the kernel of {w} has no fixed size")
    y_window, x_window = windows(kernel, attrs)
    rows = by_name["rows"].shape[0] if "rows" in by_name else w.shape[0]
    height, width = attrs["extent"] or x.shape[2:]
    return [TensorType(x.dtype, (x.shape[0], rows, y_window.size(height), x_window.size(width)))]


def _named(extras: Sequence[str], lists: Sequence[TensorType]) -> dict[str, TensorType]:
    if list(extras) != [name for name in EXTRAS if name in extras] or len(extras) != len(lists):
        raise ShapeError(f"conv2d: {len(lists)} lists, named {list(extras)}", hint=f"in order, of {list(EXTRAS)}")
    return dict(zip(extras, lists))


def _check_channels(x: TensorType, w: TensorType, lists: dict[str, TensorType], attrs: Attrs) -> None:
    """Raises ShapeError where counts of channels do not fit."""
    groups, inner = attrs["groups"], w.shape[1]
    if groups < 1 or isinstance(inner, Poly):
        raise ShapeError(f"conv2d: {groups} groups of {inner} channels")
    full_in = attrs["in_channels"] or groups * inner
    full_out: Dim = attrs["out_channels"] or w.shape[0]
    if full_in != groups * inner:
        raise ShapeError(f"conv2d: weights {w} with {groups} groups are not for {full_in} input channels")
    want_in = lists["inputs"].shape[0] if "inputs" in lists else full_in
    if x.shape[1] != want_in:
        raise ShapeError(f"conv2d: the input has {x.shape[1]} channels, not {want_in}")
    if "outputs" in lists:
        if lists["outputs"].shape != w.shape[:1]:
            raise ShapeError(f"conv2d: {lists['outputs'].shape[0]} outputs for {w.shape[0]} rows of weights")
    elif full_out != w.shape[0] and groups > 1:
        raise ShapeError(f"conv2d: which of {full_out} output channels the {w.shape[0]} rows are must be told")
    if groups > 1 and (isinstance(full_out, Poly) or full_out % groups):
        raise ShapeError(f"conv2d: {full_out} output channels in {groups} groups")


def _work(types: Sequence[TensorType], attrs: Attrs) -> Dim:
    """Every tap of every channel that the operands hold, for each result element."""
    (made,) = _types(types, attrs)
    x, w, *_ = types
    channels = x.shape[1] if attrs["groups"] == 1 else w.shape[1]
    return made.size * channels * product(w.shape[2:])


# --- the meaning -----------------------------------------------------------------------------------------


def _reference(
    x: np.ndarray, w: np.ndarray, *lists: np.ndarray, stride: Pair, padding: tuple[Pair, Pair], dilation: Pair,
    groups: int, extras: Sequence[str], in_channels: int, out_channels: int, extent: Pair | tuple[()], columns: bool,
) -> np.ndarray:
    """Channels and rows are put in their places first; then it is the dense convolution, summed in float64."""
    named = dict(zip(extras, lists))
    x = regroup(x, stride, extent) if extent and not columns else x
    attrs = {"stride": stride, "padding": padding, "dilation": dilation}
    y_window, x_window = windows(w.shape[2:], attrs)
    rows = named.get("rows", np.arange(len(w)))
    group = named.get("outputs", np.arange(len(w)))[rows] // max((out_channels or len(w)) // groups, 1)
    full = np.zeros((len(x), w.shape[1] * groups, *x.shape[2:]))
    full[:, named.get("inputs", slice(None))] = x
    full = full if columns else np.pad(full, ((0, 0), (0, 0), *padding))
    lengths = extent or x.shape[2:]
    size = [evaluate(window.size(length), {}) for window, length in zip((y_window, x_window), lengths)]
    result = np.zeros((len(x), len(rows), *size))
    for g in range(groups):
        members = np.flatnonzero(group == g)
        for r, s in np.ndindex(*w.shape[2:]):
            own = full[:, g * w.shape[1] : (g + 1) * w.shape[1]]
            below, phase = divmod(r * dilation[0], stride[0])
            if columns:
                own = own[:, :, phase, s, below:]
            else:
                own = own[:, :, r * dilation[0] :: stride[0], s * dilation[1] :: stride[1]]
            seen = own[:, :, : size[0], : size[1]]
            result[:, members] += np.einsum("ncyx,oc->noyx", seen, w[rows[members], :, r, s], optimize=True)
    return result.astype(x.dtype)


# --- loops -----------------------------------------------------------------------------------------------


def _lower(
    nest: NestBuilder, stride: Pair, padding: tuple[Pair, Pair], dilation: Pair, groups: int,
    extras: Sequence[str], in_channels: int, out_channels: int, extent: Pair | tuple[()], columns: bool,
) -> None:
    """One sum for each result element, over input channels, then taps, in order. Where the rows of a group lie
    together, groups have a loop of their own."""
    where = {name: 2 + k for k, name in enumerate(extras)}
    _, channels, *_, height, width = nest.shape(0)
    if extent:
        height, width = map(index, extent)
    form = _Columns if columns else _Phases if extent else _Image
    image = form(height, width, stride, padding, dilation)
    rows, inner, *kernel = nest.shape(1)
    images, made, *size = nest.result_shape()
    per_group = _quotient(index(out_channels) if out_channels else rows, groups)
    together = groups > 1 and not {"rows", "outputs"} & set(where)

    def listed(name: str, at: Expr) -> Expr:
        return S.cast(nest.read(where[name], at), I64) if name in where else at

    channel_loops = (index(groups), per_group) if together else (made,)
    with nest.loops((images, *channel_loops, *size), bind="parallel") as (n, *at, y, x):
        j = S.add(S.mul(at[0], per_group), at[1]) if together else at[0]
        row = nest.let(listed("rows", j), "row")
        base: Expr = index(0)
        first, last = base, channels
        if groups > 1:
            group = at[0] if together else S.quo(listed("outputs", row), per_group)
            base = nest.let(S.mul(group, inner), "base")
            first, last = base, nest.let(S.add(base, inner))
            if "inputs" in where:
                first, last = (_lower_bound(nest, where["inputs"], channels, bound) for bound in (first, last))
        total = nest.mut(const(0, nest.result_dtype()), "total")
        with nest.loop(last, first) as p:
            channel = nest.let(S.sub(listed("inputs", p), base), "c")
            with nest.loop(kernel[0]) as r, nest.loop(kernel[1]) as s:
                element = _guarded(nest, image.holds(y, x, r, s), (n, p, *image.place(y, x, r, s)))
                weight = nest.read(1, row, channel, r, s)
                nest.assign(total, S.fma(element, weight, total))
        nest.write(0, (n, j, y, x), total)


def _quotient(count: Expr, by: int) -> Expr:
    if isinstance(count, Const):
        return index(int(count.value.real) // by)
    return S.quo(count, index(by))  # type: ignore[no-any-return]


@dataclass(frozen=True, slots=True)
class _Image:
    """Where tap (r, s) of output (y, x) finds its element in a channel of the input."""

    height: Expr
    width: Expr
    stride: Pair
    padding: tuple[Pair, Pair]
    dilation: Pair

    def holds(self, y: Expr, x: Expr, r: Expr, s: Expr) -> Expr | None:
        """What must be asked to know that the tap lies in the image."""
        row, column = _Image.place(self, y, x, r, s)
        return _all(_within(row, self.height, self.padding[0]), _within(column, self.width, self.padding[1]))

    def place(self, y: Expr, x: Expr, r: Expr, s: Expr) -> tuple[Expr, ...]:
        (top, _), (left, _) = self.padding
        return _tap(y, self.stride[0], r, self.dilation[0], top), _tap(x, self.stride[1], s, self.dilation[1], left)


class _Phases(_Image):
    """The same where the input is given as the `phases` of the stride."""

    def place(self, y: Expr, x: Expr, r: Expr, s: Expr) -> tuple[Expr, ...]:
        (top, _), (left, _) = self.padding
        a, row = _in_phase(y, self.stride[0], r, self.dilation[0], top)
        b, column = _in_phase(x, self.stride[1], s, self.dilation[1], left)
        return a, b, row, column


class _Columns(_Image):
    """The same where the input is given as the `tap_columns` of the window, margins included."""

    def holds(self, y: Expr, x: Expr, r: Expr, s: Expr) -> Expr | None:
        return None

    def place(self, y: Expr, x: Expr, r: Expr, s: Expr) -> tuple[Expr, ...]:
        a, row = _in_phase(y, self.stride[0], r, self.dilation[0], 0)
        return a, s, row, x


def _tap(at: Expr, stride: int, tap: Expr, dilation: int, before: int) -> Expr:
    place = S.add(S.mul(at, index(stride)), S.mul(tap, index(dilation)))
    return S.sub(place, index(before))


def _in_phase(at: Expr, stride: int, tap: Expr, dilation: int, before: int) -> tuple[Expr, Expr]:
    """The phase that a tap reads, and the place in it: `_tap` without the remainder by the stride."""
    whole = -(-before // stride)  # so that what is divided is not negative
    moved = S.add(S.mul(tap, index(dilation)), index(whole * stride - before))
    there = S.sub(S.add(at, S.quo(moved, index(stride))), index(whole))
    return S.rem(moved, index(stride)), there


def _within(at: Expr, extent: Expr, padding: Pair) -> Expr | None:
    """What must be asked to know that a tap lies in the image."""
    return _all(S.ge(at, index(0)) if padding[0] else None, S.lt(at, extent) if padding[1] else None)


def _all(*conds: Expr | None) -> Expr | None:
    found: Expr | None = None
    for cond in conds:
        if cond is not None:
            found = cond if found is None else S.logical_and(found, cond)
    return found


def _guarded(nest: NestBuilder, inside: Expr | None, at: tuple[Expr, ...]) -> Expr:
    """The element of x, or zero where it lies outside."""
    if inside is None:
        return nest.read(0, *at)
    element = nest.mut(const(0, nest.operand_dtype(0)), "x")
    with nest.if_(inside):
        nest.assign(element, nest.read(0, *at))
    return element


def _lower_bound(nest: NestBuilder, operand: int, count: Expr, bound: Expr) -> Expr:
    """How many numbers of a sorted list are less than `bound`: a binary search."""
    low, high = nest.mut(index(0), "low"), nest.mut(count, "high")
    with nest.while_(S.lt(low, high)):
        middle = nest.let(S.quo(S.add(low, high), index(2)))
        found = S.cast(nest.read(operand, middle), I64)
        with nest.if_(S.lt(found, bound)):
            nest.assign(low, S.add(middle, index(1)))
        with nest.else_():
            nest.assign(high, middle)
    return low


# --- cases -----------------------------------------------------------------------------------------------


def _conv(x: tuple[int, ...], w: tuple[int, ...], *lists: np.ndarray, dtypes: str = "f4", **attrs: Any) -> Case:
    return case(x, w, *lists, dtypes=dtypes, ulp=8, **attrs)


def _cases() -> tuple[Case, ...]:
    same: Named = {"padding": ((1, 1), (1, 1))}
    chosen: list[Named] = [{"extras": names} for names in (EXTRAS[:1], EXTRAS[1:2], EXTRAS[2:], EXTRAS[:2], EXTRAS)]
    ins, rows, outs, both, every = chosen
    return (
        _conv((1, 2, 5, 4), (3, 2, 3, 3)), _conv((1, 2, 5, 4), (3, 2, 3, 3), dtypes="f8", **same),
        _conv((2, 3, 4, 5), (4, 3, 3, 3), **same), _conv((2, 3, 4, 5), (4, 3, 1, 1)),
        _conv((1, 3, 9, 8), (2, 3, 7, 7), padding=((3, 3), (3, 3)), stride=(2, 2)),
        _conv((1, 2, 7, 6), (2, 2, 3, 3), stride=(2, 2), **same),
        _conv((1, 3, 5, 6), (2, 3, 1, 1), stride=(2, 2)),
        _conv((1, 2, 6, 7), (2, 2, 3, 2), padding=((0, 2), (1, 0)), stride=(1, 3), dilation=(2, 1)),
        _conv((1, 2, 1, 1), (2, 2, 3, 3), **same), _conv((1, 2, 5, 19), (1, 2, 3, 3), **same),
        _conv((1, 4, 4, 4), (6, 2, 3, 3), groups=2, **same),
        _conv((1, 4, 4, 4), (4, 1, 3, 3), groups=4, **same),
        _conv((1, 3, 5, 5), (6, 1, 3, 3), groups=3, stride=(2, 2), **same),
        # Lists: on each side, on both, empty, with groups (one of them without any input).
        _conv((1, 2, 4, 4), (3, 5, 3, 3), i32(1, 4), in_channels=5, **ins, **same),
        _conv((2, 3, 4, 4), (5, 3, 1, 1), i32(0, 3, 4), out_channels=5, **rows),
        _conv((1, 2, 4, 4), (5, 4, 3, 3), i32(0, 3), i32(1, 2, 4), in_channels=4, out_channels=5, **both, **same),
        _conv((1, 0, 4, 4), (3, 5, 3, 3), i32(), in_channels=5, **ins, **same),
        _conv((1, 2, 4, 4), (5, 2, 3, 3), i32(), **rows, **same),
        _conv((1, 3, 4, 4), (6, 2, 3, 3), i32(0, 1, 5), in_channels=6, groups=3, **ins, **same),
        _conv((1, 4, 4, 4), (3, 2, 3, 3), i32(1, 4, 5), out_channels=6, groups=2, **outs, **same),
        _conv((1, 3, 4, 4), (3, 1, 3, 3), i32(1, 3, 4), i32(0, 2), i32(0, 1, 4), in_channels=5,
              out_channels=5, groups=5, **every, **same),
        _conv((0, 2, 4, 4), (3, 2, 3, 3)), _conv((1, 2, 4, 4), (0, 2, 3, 3)), _conv((1, 0, 4, 4), (2, 0, 3, 3)),
        _conv((1, 2, 0, 3), (2, 2, 1, 3), padding=((1, 0), (1, 1))),
        # Phases: all of them, and one.
        _conv((1, 2, 2, 2, 4, 3), (3, 2, 3, 3), stride=(2, 2), extent=(7, 6), **same),
        _conv((2, 2, 1, 1, 3, 3), (3, 2, 1, 1), stride=(2, 3), extent=(5, 7)),
        _conv((1, 1, 2, 2, 5, 5), (2, 1, 7, 7), stride=(2, 2), extent=(9, 8), padding=((3, 3), (3, 3))),
        # Columns of the taps.
        _conv((1, 2, 1, 3, 6, 5), (3, 2, 3, 3), extent=(4, 5), columns=True, **same),
        _conv((1, 2, 2, 3, 4, 3), (3, 5, 3, 3), i32(1, 4), stride=(2, 2), extent=(5, 6), columns=True,
              in_channels=5, **ins, **same),
    )  # fmt: skip


register(OpRecord(
    name="conv2d", kind=Kind.NEST, once=True, arity=(2, 5), numpy=(), sparse=Sparse.REPLACE, doc=_DOC, work=_work,
    attrs=("stride", "padding", "dilation", "groups", "extras", "in_channels", "out_channels", "extent", "columns"),
    defaults={
        "stride": (1, 1), "padding": ((0, 0), (0, 0)), "dilation": (1, 1), "groups": 1, "extras": (),
        "in_channels": 0, "out_channels": 0, "extent": (), "columns": False,
    },
    infer=_types, ref=_reference, lower=_lower, cases=_cases(),
))
