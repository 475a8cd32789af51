"""Ranges and other things that a `for` goes over, where their length or elements are traced."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from sparsec.errors import ConcretizationError, ShapeError
from sparsec.frontend.array import Traced
from sparsec.frontend.convert import as_traced, cast, number
from sparsec.frontend.flat import Flat
from sparsec.frontend.locate import user_loc
from sparsec.frontend.mixed import without_mixed_ints
from sparsec.frontend.symbolic import as_int, count_of
from sparsec.frontend.trace import Trace
from sparsec.ir.dims import Dim, lower_bound, upper_bound
from sparsec.ir.graph import Value
from sparsec.ir.types import I64


@dataclass(frozen=True)
class TracedRange:
    """`range(start, stop, step)` with bounds that may be traced; `step` is a Python int."""

    start: Any
    stop: Any
    step: int

    @staticmethod
    def make(*bounds: Any) -> TracedRange:
        """`range(…)` for staged code. Raises ConcretizationError for a traced step."""
        bounds = without_mixed_ints(bounds)
        start, stop, step = (0, bounds[0], 1) if len(bounds) == 1 else (*bounds, 1)[:3]
        if isinstance(step, Traced):
            raise ConcretizationError("the step of a range must be static", loc=user_loc())
        if step == 0:
            raise ShapeError("range() arg 3 must not be zero", loc=user_loc())
        for bound in (start, stop):
            if isinstance(bound, Traced) and (bound.dtype.kind not in "iu" or bound.ndim):
                raise TypeError(f"'{bound.dtype}' object cannot be interpreted as an integer")
        return TracedRange(start, stop, int(step))

    def __contains__(self, x: Any) -> bool:
        raise ConcretizationError(
            "`in` a range with run-time bounds needs a concrete value", loc=user_loc(), hint="compare with the bounds"
        )

    def __iter__(self) -> NoReturn:
        raise ConcretizationError(
            "Python needs to know how many turns there are, but that is computed at run time", loc=user_loc(),
            hint="fill an array in a `for` statement: of a function without `del x`, `nonlocal` and `yield`, and "
            "without jumps out of `else`, `with`, `try` and `match`",
        )

    @staticmethod
    def of(span: range) -> TracedRange:
        return TracedRange(span.start, span.stop, span.step)

    def values(self, trace: Trace) -> tuple[Value, Value, Value]:
        """start, stop and step as i64 values."""
        return tuple(  # type: ignore[return-value]
            cast(trace, as_traced(b).read(), I64) if isinstance(b, Traced) else number(trace, int(b), I64)
            for b in (self.start, self.stop, self.step))

    def bounds(self) -> tuple[int | None, int | None]:
        """The least and the largest value that the loop variable may take, where known."""
        first = _limits(self.start)
        last = _limits(self.stop)
        if self.step > 0:
            return first[0], None if last[1] is None else max(last[1] - 1, first[0] or 0)
        return None if last[0] is None else last[0] + 1, first[1]

    def count(self) -> Any:
        """How many values there are: an int, or a traced one."""
        distance = self.stop - self.start if self.step > 0 else self.start - self.stop
        if not isinstance(distance, Traced):
            return len(range(self.start, self.stop, self.step))
        return count_of(distance.trace, distance, abs(self.step))

    @property
    def runs_once(self) -> bool:
        """Whether at least one turn is certain."""
        if isinstance(self.start, Traced) or isinstance(self.stop, Traced):
            return False
        return len(range(self.start, self.stop, self.step)) > 0

    def holds(self, index: Traced) -> Any:
        """Whether the loop goes on at this index."""
        return index < self.stop if self.step > 0 else index > self.stop


class Elements:
    """What a `for` goes over by position: `count` items (an int, or a traced one); item k is `item(k)`.

    sources: the arrays, or other Elements, whose items they are.
    """

    def __init__(self, count: Any, item: Callable[[Any], Any], sources: tuple[Any, ...] = ()) -> None:
        self.count, self.item, self.sources = count, item, sources
        self._rest: Iterator[Any] | None = None

    @property
    def span(self) -> range | TracedRange:
        """The positions."""
        return TracedRange(0, self.count, 1) if isinstance(self.count, Traced) else range(self.count)

    def __iter__(self) -> Iterator[Any]:
        if self._rest is None:
            if isinstance(self.count, Traced):
                raise ConcretizationError("the number of items is known only at run time", loc=user_loc(),
                                          hint="go over them with a `for` statement")
            self._rest = map(self.item, range(self.count))
        return self._rest

    def __next__(self) -> Any:
        return next(iter(self))

    @property
    def begun(self) -> bool:
        """Whether Python has taken items out."""
        return self._rest is not None


def elements(x: Any) -> Elements | None:
    """`x` by position, or None for what Python has to go over."""
    if isinstance(x, Elements):
        return None if x.begun else x
    if isinstance(x, range):
        return Elements(len(x), lambda k: x.start + k * x.step)
    if isinstance(x, TracedRange):
        return Elements(x.count(), lambda k: x.start + k * x.step)
    if isinstance(x, Flat):
        return Elements(as_int(x.base.trace, x.base.size), lambda k: x[k], (x.base,))
    if isinstance(x, Traced) and x.ndim:
        return Elements(as_int(x.trace, x.type.shape[0]), lambda k: x[k], (x,))
    return None


def _limits(bound: Any) -> tuple[int | None, int | None]:
    if not isinstance(bound, Traced):
        return int(bound), int(bound)
    dim: Dim | None = bound.dim
    return (None, None) if dim is None else (lower_bound(dim), upper_bound(dim))
