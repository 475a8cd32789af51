"""The largest value of a dim, where only the call knows it: over the function's own i64 parameters.

    func @f(%n: i64, %m: f64[%n]) { %k = minimum %i, %n … }        limit of 2*%k: 2*%n

A symbol with an upper bound of its own has that; a length that is a parameter is its own limit; another integer
parameter `%n` is at most `%n.or0`, which is 0 where it is negative; what an op makes is limited by what it is made
of. What nothing limits has no limit. A length is at most its limit, and 0 where that is negative.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from sparsec.ir.dims import Dim, Poly, Sym, lower_bound, product, sym, symbols, upper_bound
from sparsec.ir.graph import Func, Op, Value, walk
from sparsec.ir.types import I64, TensorType


def size_values(name: str, value: int) -> dict[str, int]:
    """What limits call the value of the integer parameter `name`."""
    return {f"%{name}": value, f"%{name}.or0": max(value, 0)}


def is_integer(param: Value) -> bool:
    """Whether a parameter is one i64, at the start of its memory: limits may be given in it."""
    return param.type.shape == () and param.type.dtype == I64 and param.ref.offset == 0


def makers(ops: Iterable[Op]) -> dict[str, Op]:
    """The op that makes each value, and for a loop's counter the loop."""
    made: dict[str, Op] = {}
    for op in walk(ops):
        made.update((r.name, op) for r in op.results)
        if op.name == "for":
            made[op.regions[0].params[0].name] = op
    return made


class Limits:
    """Limits of the dims of one function, or of what has been traced of one. `made`: see `makers`."""

    def __init__(self, params: Iterable[Value], made: Mapping[str, Op]) -> None:
        params = tuple(params)
        lengths = {s.name.removeprefix("%"): s for p in params for d in p.type.shape for s in symbols(d)}
        self._params: dict[str, Dim] = {}
        for p in params:
            if is_integer(p):
                found = lengths.get(p.name)
                known = found is not None and found.lower >= 0
                self._params[p.name] = _only(found) if known and found is not None else sym(f"%{p.name}.or0")
        self._made = made
        self._known: dict[str, Dim | None] = {}

    @staticmethod
    def of(func: Func) -> Limits:
        """The limits of a whole function."""
        return Limits(func.params, makers(func.ops))

    def dim(self, dim: Dim) -> Dim | None:
        """The largest value that `dim` may have: an int, or a dim over parameters; None if nothing tells."""
        bound = upper_bound(dim)
        if bound is not None or not isinstance(dim, Poly):
            return bound if bound is not None else dim
        total: Dim = 0
        for monomial, factor in dim.terms:
            if len(monomial) > 1 and any(s.lower < 0 for s in monomial):
                return None
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
        """The least value, for a term that is taken away; a parameter that is a length stands for itself."""
        if symbol.lower < 0:
            return None
        return _only(symbol) if symbol.name.removeprefix("%") in self._params else symbol.lower

    def _value(self, name: str) -> Dim | None:
        """The limit of an integer value."""
        if name in self._params:
            return self._params[name]
        if name not in self._known:
            self._known[name] = None  # a value of a loop may depend on itself
            op = self._made.get(name)
            self._known[name] = None if op is None else self._by_op(name, op)
        return self._known[name]

    def _by_op(self, name: str, op: Op) -> Dim | None:
        if op.regions:
            return self._by_region(name, op)
        values = [self._value(v.name) if v.type.shape == () else None for v in op.operands]
        match op.name:
            case "const":
                value = op.attrs["value"]
                return int(value) if isinstance(value, (int, bool)) else None
            case "copy" | "cast":
                return values[0] if op.operands[0].type.dtype.kind in "iub" else None
            case "minimum":
                return _smaller(values[0], values[1])
            case "maximum" | "where":
                return _larger(*values[-2:])
            case "add":
                return values[0] + values[1] if values[0] is not None and values[1] is not None else None
            case "sub" | "mul" | "floor_div":
                return self._by_number(op, values)
            case "sum":
                return self._count(op)
        return None

    def _by_region(self, name: str, op: Op) -> Dim | None:
        if op.name == "for" and name == op.regions[0].params[0].name:
            return _larger(*(self._value(v.name) for v in op.operands[:2]))
        if op.name not in ("fused", "if"):
            return None
        position = [r.name for r in op.results].index(name)
        yielded = [self._value(region.yields[position].name) for region in op.regions]
        return yielded[0] if len(yielded) == 1 else _larger(*yielded)

    def _by_number(self, op: Op, values: Sequence[Dim | None]) -> Dim | None:
        """`a - 2`, `a * 2`, `2 * a`, `a // 2`."""
        value, by = op.operands
        number = self._number(by)
        if op.name == "mul" and number is None:
            value, number, values = by, self._number(value), values[::-1]
        limit = values[0]
        if limit is None or number is None:
            return None
        if op.name == "sub":
            return limit - number
        if number <= 0:
            return None
        return limit * number if op.name == "mul" else _positive(limit)

    def _number(self, value: Value) -> int | None:
        op = self._made.get(value.name)
        known = op is not None and op.name == "const" and type(op.attrs["value"]) is int
        return op.attrs["value"] if known and op is not None else None

    def _count(self, op: Op) -> Dim | None:
        """How many elements of a mask can be true."""
        cast = self._made.get(op.operands[0].name)
        if cast is None or cast.name != "cast" or cast.operands[0].type.dtype.kind != "b":
            return None
        shape = op.operands[0].type.shape
        limits = [self.dim(shape[axis]) for axis in op.attrs["axes"]]
        if any(limit is None for limit in limits):
            return None
        return product(_positive(limit) for limit in limits if limit is not None)


def _only(symbol: Sym) -> Poly:
    return Poly((((symbol,), 1),))


def _smaller(a: Dim | None, b: Dim | None) -> Dim | None:
    """A limit of the smaller of two."""
    if a is None or b is None:
        return a if b is None else b
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return a if isinstance(a, int) else b


def _larger(a: Dim | None, b: Dim | None) -> Dim | None:
    """A limit of the larger of two: their sum, without what may be negative."""
    if a is None or b is None:
        return None
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return a if a == b else _positive(a) + _positive(b)


def _positive(limit: Dim) -> Dim:
    """At least the limit, and at least 0. The symbols of limits are not negative."""
    if not isinstance(limit, Poly):
        return max(limit, 0)
    low = lower_bound(limit)
    if low is not None and low >= 0:
        return limit
    total: Dim = 0
    for monomial, factor in limit.terms:
        if factor > 0:
            total = total + (Poly(((monomial, factor),)) if monomial else factor)
    return total


def may_have_sizes(func: Func) -> bool:
    """Whether the size of a parameter, a result or a temporary may depend on an integer parameter."""
    if not any(map(is_integer, func.params)):
        return False
    values = (*func.params, *(r for op in walk(func.ops) for r in op.results))
    return any(not v.type.is_static for v in values)


def made_results(func: Func) -> frozenset[int]:
    """Numbers of the result storages whose size nothing limits before the program runs."""
    if all(value.type.is_static for value in func.results):
        return frozenset()
    limits = Limits.of(func)
    types = {v.storage: v.type for op in walk(func.ops) for v in op.results if v.type.ref is None}
    params = {p.storage for p in func.params}
    storages = [name for name in dict.fromkeys(v.storage for v in func.results) if name not in params]
    return frozenset(k for k, name in enumerate(storages) if limits.nbytes(types[name]) is None)
