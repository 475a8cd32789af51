"""Dims: the integers of shapes, strides and offsets, known or symbolic.

A dim is an `int`, or a polynomial over symbols, kept in one normal form so that `==` decides equality:
`n`, `n+1`, `6*%i-6`. A symbol may carry an upper bound (`n<=1000`), from which memory is planned. Symbols
whose name starts with `%` stand for an SSA integer (a loop variable, a checked index).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias


@dataclass(frozen=True, slots=True, order=True)
class Sym:
    """A symbol: a name, and the largest and smallest value it may take (`upper` -1: unbounded)."""

    name: str
    upper: int = -1
    lower: int = 0

    def __str__(self) -> str:
        return self.name


Monomial: TypeAlias = tuple[Sym, ...]  # sorted; the empty one is the constant term


@dataclass(frozen=True, slots=True)
class Poly:
    """A polynomial that is not a constant: sorted (monomial, nonzero coefficient) pairs."""

    terms: tuple[tuple[Monomial, int], ...]

    def __add__(self, other: Dim) -> Dim:
        return _normal([*self.terms, *_terms(other)])

    def __sub__(self, other: Dim) -> Dim:
        return self + (-1 * other)

    def __mul__(self, other: Dim) -> Dim:
        return _normal(
            (tuple(sorted((*m, *n))), a * b) for m, a in self.terms for n, b in _terms(other)
        )

    def __neg__(self) -> Dim:
        return self * -1

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: Dim) -> Dim:
        return -1 * self + other

    def __str__(self) -> str:
        return dim_text(self)


Dim: TypeAlias = int | Poly


def _terms(dim: Dim) -> Iterable[tuple[Monomial, int]]:
    if isinstance(dim, Poly):
        return dim.terms
    return [((), int(dim))]


def _normal(terms: Iterable[tuple[Monomial, int]]) -> Dim:
    total: dict[Monomial, int] = {}
    for monomial, factor in terms:
        total[monomial] = total.get(monomial, 0) + factor
    kept = sorted((m, c) for m, c in total.items() if c)
    if not kept:
        return 0
    if len(kept) == 1 and kept[0][0] == ():
        return kept[0][1]
    return Poly(tuple(kept))


def sym(name: str, upper: int = -1, lower: int = 0) -> Poly:
    """The dim that is just one symbol."""
    return Poly((((Sym(name, upper, lower),), 1),))


def as_sym(dim: Dim) -> Sym | None:
    """The symbol that `dim` consists of, or None."""
    if isinstance(dim, Poly) and len(dim.terms) == 1:
        monomial, factor = dim.terms[0]
        if factor == 1 and len(monomial) == 1:
            return monomial[0]
    return None


def symbols(dim: Dim) -> tuple[Sym, ...]:
    """The symbols in `dim`, each once, in order."""
    if not isinstance(dim, Poly):
        return ()
    return tuple(dict.fromkeys(s for monomial, _ in dim.terms for s in monomial))


def evaluate(dim: Dim, env: Mapping[str, int]) -> int:
    """The value of `dim` where `env` gives each symbol's; KeyError names a missing one."""
    if not isinstance(dim, Poly):
        return int(dim)
    total = 0
    for monomial, factor in dim.terms:
        for symbol in monomial:
            factor *= env[symbol.name]
        total += factor
    return total


def substitute(dim: Dim, env: Mapping[str, Dim]) -> Dim:
    """`dim` with each symbol that `env` names replaced."""
    if not isinstance(dim, Poly):
        return dim
    total: Dim = 0
    for monomial, factor in dim.terms:
        term: Dim = factor
        for symbol in monomial:
            term = term * env.get(symbol.name, Poly((((symbol,), 1),)))
        total = total + term
    return total


def upper_bound(dim: Dim) -> int | None:
    """The largest value that the symbols' bounds allow, or None where one is unbounded."""
    return _bound(dim, largest=True)


def lower_bound(dim: Dim) -> int | None:
    """The smallest value that the symbols' bounds allow, or None where one is unbounded."""
    return _bound(dim, largest=False)


def _bound(dim: Dim, *, largest: bool) -> int | None:
    total = 0
    for monomial, factor in _terms(dim):
        high = (factor > 0) == largest
        for symbol in monomial:
            if symbol.lower < 0 or (high and symbol.upper < 0):
                return None
            factor *= symbol.upper if high else symbol.lower
        total += factor
    return total


def product(dims: Iterable[Dim]) -> Dim:
    """The product; 1 for none (an element count)."""
    total: Dim = 1
    for dim in dims:
        total = total * dim
    return total


def quotient(dim: Dim, by: Dim) -> Dim | None:
    """`dim / by` where it is known to be whole, else None. `by` is an integer or one monomial."""
    divisors = list(_terms(by))
    if len(divisors) != 1 or by == 0:
        return None
    ((monomial, factor),) = divisors
    found: list[tuple[Monomial, int]] = []
    for symbols_, times in _terms(dim):
        rest = list(symbols_)
        for symbol in monomial:
            if symbol not in rest:
                return None
            rest.remove(symbol)
        if times % factor:
            return None
        found.append((tuple(rest), times // factor))
    return _normal(found)


def dim_text(dim: Dim) -> str:
    """`6*%i-6`; a lone bounded symbol shows its bound: `n<=1000`."""
    lone = as_sym(dim)
    if lone is not None:
        return f"{lone.name}<={lone.upper}" if lone.upper >= 0 else lone.name
    if not isinstance(dim, Poly):
        return str(int(dim))
    parts = []
    for monomial, factor in sorted(dim.terms, key=lambda t: (-len(t[0]), t)):
        names = "*".join(s.name for s in monomial)
        sign = "-" if factor < 0 else "+"
        size = abs(factor)
        body = names if names and size == 1 else f"{size}*{names}" if names else str(size)
        parts.append(f"{sign}{body}")
    return "".join(parts).removeprefix("+")


def shape_text(shape: Iterable[Dim]) -> str:
    """A shape as NumPy's messages write it: `(2,)`, `(2,3)`."""
    dims = [str(d) for d in shape]
    return f"({','.join(dims)}{',' * (len(dims) == 1)})"
