"""`x.flat`: an array's elements in C order, whatever its layout."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from sparsec.errors import IndexOutOfRange, UnsupportedError
from sparsec.frontend.array import Traced
from sparsec.frontend.locate import user_loc


class Flat:
    """Reads are copies, as NumPy's are; writes reach the array, their values repeated as often as needed."""

    def __init__(self, base: Traced) -> None:
        self.base = base

    @property
    def _view(self) -> Traced | None:
        """All elements in a row, as a view; None for a layout that has no such view."""
        try:
            return self.base.view("reshape", shape=(self.base.size,))
        except ValueError:
            return None

    def copy(self) -> Traced:
        return self.base.flatten()  # type: ignore[no-any-return]

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        return func(*map(_plain, args), **{name: _plain(value) for name, value in kwargs.items()})

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *args: Any, **kwargs: Any) -> Any:
        return getattr(ufunc, method)(*map(_plain, args), **kwargs)

    def __len__(self) -> int:
        return self.base.size

    def __iter__(self) -> Iterator[Any]:
        return (self[k] for k in range(len(self)))

    def __getitem__(self, key: Any) -> Any:
        key, row = self._one_axis(key), self._view
        if row is None and _is_integer(key):
            return self.base[self._coordinates(key)]
        found = (self.base.flatten() if row is None else row)[key]
        return found if found.is_scalar else found.copy()

    def __setitem__(self, key: Any, value: Any) -> None:
        from sparsec.frontend.numpy_api.selecting import cycled
        from sparsec.frontend.numpy_api.support import made

        self.base.trace.check_writable(self.base)
        places, target = self._one_axis(key), self._view
        if target is None:
            target, places = self.base, self._coordinates(places) if _is_integer(places) else self._spots(places)
        region = target[places]
        shape = () if not isinstance(region, Traced) or region.is_scalar else region.shape
        count = math.prod(shape)
        if isinstance(count, int):
            row = made(self.base.trace, cycled(value, self.base, count), (count,))
            value = row.reshape(shape) if shape else row[0]
        target[places] = value

    def _spots(self, places: Any) -> Any:
        """The coordinates of known places of an array that is no contiguous row."""
        if not _known(places):
            what = "x.flat[...] = … on an array that is no contiguous row, at places that the program computes,"
            raise UnsupportedError(f"{what} is not supported", loc=user_loc(), hint="copy it first")
        return np.unravel_index(np.arange(self.base.size)[places], self.base.shape)

    def _coordinates(self, place: Any) -> Any:
        """Where the element at a place lies."""
        size = self.base.size
        place = np.where(place < 0, place + size, place) if isinstance(place, Traced) else place % size  # type: ignore[operator]
        return np.unravel_index(place, self.base.shape)

    def _one_axis(self, key: Any) -> Any:
        if isinstance(key, tuple):
            if len(key) != 1:
                raise IndexOutOfRange("too many indices for flat iterator: flat iterator is 1-dimensional, but "
                                      f"{len(key)} were indexed", loc=user_loc())
            (key,) = key
        if isinstance(key, int) and not -len(self) <= key < len(self):
            raise IndexOutOfRange(f"index {key} is out of bounds for size {len(self)}", loc=user_loc())
        return key


def _plain(x: Any) -> Any:
    """An argument as NumPy's functions see it: a copy of all elements."""
    return x.copy() if isinstance(x, Flat) else x


def _is_integer(key: Any) -> bool:
    return isinstance(key, (int, np.integer)) or (
        isinstance(key, Traced) and key.ndim == 0 and key.dtype.kind in "iu")


def _known(key: Any) -> bool:
    """Whether a key is known while tracing."""
    if isinstance(key, slice):
        return all(_known(k) for k in (key.start, key.stop, key.step))
    if isinstance(key, (list, tuple)):
        return all(map(_known, key))
    return key is None or key is Ellipsis or isinstance(key, (int, np.integer))
