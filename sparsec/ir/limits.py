"""The largest value of a dim, where only the call knows it: over the function's own i64 parameters.

    func @f(%n: i64, %m: f64[%n]) { %k = minimum %i, %n … }        limit of 2*%k: 2*%n

A symbol with an upper bound of its own has that; a parameter is its own limit; another integer has what the op
that makes it allows. What nothing limits has none.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sparsec.ir.dims import Dim, Poly, Sym, as_sym, product, sym, upper_bound
from sparsec.ir.graph import Op, Value, walk
from sparsec.ir.types import I64, TensorType


class Limits:
    """Limits of the dims of one function (or of what has been traced of one)."""

    def __init__(self, params: Iterable[Value], ops: Iterable[Op]) -> None:
        self._params = {p.name for p in params if p.type.shape == () and p.type.dtype == I64}
        self._made: dict[str, Op] = {}
        self._counters: dict[str, Op] = {}
        for op in walk(ops):
            self._made.update((r.name, op) for r in op.results)
            if op.name == "for":
                self._counters[op.regions[0].params[0].name] = op
        self._known: dict[str, Dim | None] = {}

    def dim(self, dim: Dim) -> Dim | None:
        """The largest value that `dim` may have: an int, or a dim over parameters; None if nothing tells."""
        bound = upper_bound(dim)
        if bound is not None or not isinstance(dim, Poly):
            return bound if bound is not None else dim
        total: Dim = 0
        for monomial, factor in dim.terms:
            term: Dim = factor
            for symbol in monomial:
                limit = self._symbol(symbol) if factor > 0 else self._least(symbol)
                if limit is None:
                    return None
                term = term * limit
            total = total + term
        return total

    def nbytes(self, type: TensorType) -> Dim | None:
        """The most bytes that the elements of a type may take."""
        limits = [self.dim(d) for d in type.shape]
        if any(limit is None for limit in limits):
            return None
        return product(max(d, 0) if isinstance(d, int) else d for d in limits if d is not None) * type.dtype.itemsize

    def _symbol(self, symbol: Sym) -> Dim | None:
        if symbol.upper >= 0:
            return symbol.upper
        return self._value(symbol.name.removeprefix("%"))

    def _least(self, symbol: Sym) -> Dim | None:
        """The least value, for a term that is taken away; a parameter stands for itself."""
        if symbol.name.removeprefix("%") in self._params:
            return sym(symbol.name, symbol.upper, symbol.lower)
        return symbol.lower if symbol.lower >= 0 else None

    def _value(self, name: str) -> Dim | None:
        """The limit of an integer value."""
        if name in self._params:
            return sym(f"%{name}")
        if name not in self._known:
            self._known[name] = None  # a value of a loop may depend on itself
            self._known[name] = self._by_op(name)
        return self._known[name]

    def _by_op(self, name: str) -> Dim | None:
        loop = self._counters.get(name)
        if loop is not None:
            start, stop = (self._value(v.name) for v in loop.operands[:2])
            return _larger(start, stop)
        op = self._made.get(name)
        if op is None:
            return None
        values = [self._value(v.name) if v.type.shape == () else None for v in op.operands]
        match op.name:
            case "const":
                value = op.attrs["value"]
                return int(value) if isinstance(value, (int, bool)) else None
            case "copy" | "cast":
                return values[0] if op.operands[0].type.dtype.kind in "iub" else None
            case "minimum":
                return _smaller(*values)
            case "maximum" | "where":
                return _larger(*values[-2:])
            case "add":
                return values[0] + values[1] if values[0] is not None and values[1] is not None else None
            case "mul":
                return product(values) if all(isinstance(v, Poly) or (v or -1) > 0 for v in values) else None  # type: ignore[arg-type]
            case "sub":
                return self._difference(op, values)
            case "floor_div":
                return values[0] if isinstance(values[1], int) and values[1] > 0 else None
            case "sum":
                return self._count(op)
        return None

    def _difference(self, op: Op, values: Sequence[Dim | None]) -> Dim | None:
        taken = self._made.get(op.operands[1].name)
        if values[0] is None or taken is None or taken.name != "const" or not isinstance(values[1], int):
            return None
        return values[0] - values[1]

    def _count(self, op: Op) -> Dim | None:
        """How many elements of a mask can be true."""
        cast = self._made.get(op.operands[0].name)
        if cast is None or cast.name != "cast" or cast.operands[0].type.dtype.kind != "b":
            return None
        shape = op.operands[0].type.shape
        limits = [self.dim(shape[axis]) for axis in op.attrs["axes"]]
        return None if None in limits else product(limit for limit in limits if limit is not None)


def _smaller(a: Dim | None, b: Dim | None) -> Dim | None:
    """A limit of the smaller of two."""
    if a is None or b is None:
        return a if b is None else b
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return a if isinstance(a, int) else b


def _larger(a: Dim | None, b: Dim | None) -> Dim | None:
    """A limit of the larger of two. Lengths are not negative: their sum limits both."""
    if a is None or b is None:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    if a == b:
        return a
    whole, rest = (a, b) if isinstance(a, Poly) else (b, a)
    if isinstance(rest, int):
        # n or 0: n. A parameter that is a length is at least 2.
        return whole + max(rest, 0)
    return whole + rest if as_sym(whole) is not None and as_sym(rest) is not None else None
