"""`ChannelSparse`: an array of which only some channels are stored, and the index that says which."""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from sparsec.errors import AxisOutOfRange, ChannelError

__all__ = ["ChannelSparse", "can_change", "from_dense"]


@dataclass(frozen=True, eq=False)
class ChannelSparse:
    """Channel `p` of `data` is channel `index[p]` of an array with `full` channels along `axis`; all others are 0.

    data: the live channels. index: int32, sorted, unique. cap: the most channels that may be live; a compiled
    function plans its memory by it and serves every index under it (default: `full`). static: the index is part of
    the program; functions are compiled for this very one, and all that depends on it is computed then.

    An index array is shared, not copied: two arguments with the same one are known to have the same channels. It is
    checked again at every call. Raises ChannelError for an index that is none.
    """

    data: np.ndarray[Any, Any]
    index: np.ndarray[Any, Any]
    full: int
    axis: int = 1
    cap: int = field(default=-1, kw_only=True)
    static: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        if type(self.data) is not np.ndarray:
            raise ChannelError(f"the data must be a NumPy array, not {type(self.data).__name__}")
        rank, axis, full, cap = self.data.ndim, *(_integer(n, getattr(self, n)) for n in ("axis", "full", "cap"))
        if not -rank <= axis < rank:
            raise AxisOutOfRange(f"axis {axis} is out of bounds for data of rank {rank}")
        index = _as_index(self.index)
        fixed = {
            "axis": axis % rank, "full": full, "index": _frozen(index) if self.static else index,
            "cap": full if cap == -1 else cap, "static": bool(self.static),
        }
        for name, value in fixed.items():
            object.__setattr__(self, name, value)
        self.check()

    def check(self) -> None:
        """Raises ChannelError where index, data and cap do not fit together (index arrays may be written to)."""
        live, full = len(self.index), self.full
        if live != self.data.shape[self.axis]:
            have = self.data.shape[self.axis]
            raise ChannelError(f"the index has {live} entries, but {have} channels are stored")
        if live > self.cap:
            raise ChannelError(
                f"{live} channels are live, but the cap is {self.cap}",
                hint="nothing is dropped: raise `cap=`, or a smaller `ratio=`",
            )
        if self.cap > full:
            raise ChannelError(f"the cap {self.cap} is more than all {full} channels")
        if live == 0:
            return
        index = self.index
        if live > 1 and not (index[1:] > index[:-1]).all():
            order = np.flatnonzero(index[1:] <= index[:-1])[0]
            what = "repeated" if index[order] == index[order + 1] else "not sorted"
            raise ChannelError(f"the channel index is {what} at entry {order + 1} ({index[order + 1]})",
                               hint="an index is sorted and names a channel once: `np.unique(index)`")
        if index[0] < 0 or index[-1] >= full:
            wrong = index[0] if index[0] < 0 else index[-1]
            raise ChannelError(f"channel {wrong} is out of range for {full} channels")

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in full."""
        stored = self.data.shape
        return (*stored[: self.axis], self.full, *stored[self.axis + 1 :])

    @property
    def ndim(self) -> int:
        return self.data.ndim

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.data.dtype

    @property
    def density(self) -> float:
        """Live channels over all channels."""
        return len(self.index) / self.full if self.full else 1.0

    @property
    def nbytes(self) -> int:
        """Bytes of the stored channels and their index."""
        return self.data.nbytes + self.index.nbytes

    def to_dense(self) -> np.ndarray[Any, Any]:
        """The array in full: zeros where none is stored. Raises ChannelError for an index that no longer is one."""
        self.check()
        out = np.zeros(self.shape, self.data.dtype)
        out[(slice(None),) * self.axis + (self.index,)] = self.data
        return out

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray[Any, Any]:
        """NumPy functions outside `jit` see the dense array."""
        if copy is False:
            raise ValueError("a ChannelSparse becomes an array by a copy only")
        return self.to_dense() if dtype is None else self.to_dense().astype(dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickled and copied in depth; an index that nobody can write to stays one."""
        parts = (self.data, self.index, self.full, self.axis, self.cap, self.static)
        return _restored, (*parts, not can_change(self.index))

    def __repr__(self) -> str:
        dims = [str(d) for d in self.shape]
        cap = "" if self.cap == self.full else f", cap {self.cap}"
        dims[self.axis] = f"{len(self.index)} of {self.full}"
        kind = "static " if self.static else ""
        return f"<{kind}ChannelSparse {self.dtype}[{', '.join(dims)}], axis {self.axis}{cap}, {self.nbytes} bytes>"


def _restored(data: Any, index: Any, full: int, axis: int, cap: int, static: bool, frozen: bool) -> ChannelSparse:
    if frozen:  # in place: copies of arguments that share an index share one, too
        index.flags.writeable = False
    return ChannelSparse(data, index, full, axis, cap=cap, static=static)


def _integer(name: str, given: Any) -> int:
    """A number of channels or an axis. Raises ChannelError for what is no integer."""
    try:
        return operator.index(given)
    except TypeError:
        raise ChannelError(f"{name} is an integer, not {given!r}") from None


def _plain(given: Any, name: str) -> np.ndarray[Any, Any]:
    """An array of what is given. Raises ChannelError for masked arrays, of which it would show what is hidden."""
    if isinstance(given, np.ma.MaskedArray):
        raise ChannelError(f"{name} is a plain array, not a masked one")
    try:
        return np.asarray(given)
    except ValueError as error:
        raise ChannelError(f"{name} is an array: {error}") from None


def _as_index(given: Any) -> np.ndarray[Any, Any]:
    """The index as int32; the very object where it is one already."""
    if type(given) is np.ndarray and given.dtype == np.int32 and given.ndim == 1 and given.flags.c_contiguous:
        return given
    found = _plain(given, "a channel index")
    if found.ndim != 1:
        raise ChannelError(f"a channel index is a vector, not an array of rank {found.ndim}")
    if found.size == 0:
        return np.zeros(0, np.int32)
    if found.dtype.kind not in "iu":
        raise ChannelError(f"a channel index holds integers, not {found.dtype}")
    if found.max() > np.iinfo(np.int32).max or found.min() < 0:
        raise ChannelError(f"channel {found.max() if found.min() >= 0 else found.min()} is out of range")
    return _frozen(found.astype(np.int32))


def can_change(index: np.ndarray[Any, Any]) -> bool:
    """Whether the entries may be written to, through this array or one that it is a view of."""
    memory: Any = index
    while isinstance(memory, np.ndarray):
        if memory.flags.writeable:
            return True
        memory = memory.base
    return not isinstance(memory, bytes | None)


def _frozen(index: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The index, in memory that nobody writes to."""
    if can_change(index):
        index = index.copy()
        index.flags.writeable = False
    return index


def from_dense(
    x: Any, keep: Sequence[int] | np.ndarray[Any, Any] | None = None, *, ratio: float | None = None, axis: int = 1,
    static: bool = False,
) -> ChannelSparse:
    """The kept channels of an array along `axis`.

    keep: the channels to keep, as a list of them or a bool mask over all; default: those that are not all zero.
    ratio: the share of channels that is given up, from 0 to 1: at most ceil(C * (1 - ratio)) channels, and at least
        one, may be live. Default: as many as there are.
    static: compile functions for these very channels.

    Raises ChannelError for channels that are none, or more of them than the ratio allows.
    """
    dense, axis = _plain(x, "what channels are taken of"), _integer("axis", axis)
    if not -dense.ndim <= axis < dense.ndim:
        raise AxisOutOfRange(f"axis {axis} is out of bounds for an array of rank {dense.ndim}")
    axis %= dense.ndim
    full = dense.shape[axis]
    if ratio is not None and not (isinstance(ratio, numbers.Real) and 0 <= ratio <= 1):
        raise ChannelError(f"a ratio is from 0 to 1, not {ratio!r}")
    index = _kept(dense, keep, axis)
    if index.size and index[-1] >= full:
        raise ChannelError(f"channel {index[-1]} is out of range for {full} channels")
    cap = full if ratio is None else min(full, max(1, math.ceil(full * (1 - ratio) - 1e-9)))
    data = np.ascontiguousarray(np.take(dense, index, axis))
    return ChannelSparse(data, index, full, axis, cap=cap, static=static)


def _kept(dense: np.ndarray[Any, Any], keep: Any, axis: int) -> np.ndarray[Any, Any]:
    full = dense.shape[axis]
    if keep is None:
        others = tuple(k for k in range(dense.ndim) if k != axis)
        keep = (dense != 0).any(axis=others)
    listed = _plain(keep, "what is kept")
    if listed.dtype == np.bool_:
        if listed.shape != (full,):
            raise ChannelError(f"a mask over {full} channels has shape ({full},), not {listed.shape}")
        listed = np.flatnonzero(listed)
    index = _as_index(listed)
    if index.size > 1 and not (index[1:] > index[:-1]).all():
        raise ChannelError("the channels to keep are not sorted, or repeated", hint="`np.unique(keep)`")
    return _frozen(index)
