"""Sizes that only the call knows, as tables of sums of products of the integers that it passes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from sparsec.frontend.fastcall.writer import Writer, need
from sparsec.ir.call_record import AMOUNT_WORDS, MAX_FACTORS, TERM_WORDS
from sparsec.ir.dims import Dim, Poly
from sparsec.ir.limits import is_integer, size_values

__all__ = ["amounts", "given"]


def given(w: Writer) -> dict[str, int]:
    """The symbols of integers that are passed by value: where an amount finds them."""
    found: dict[str, int] = {}
    for k, param in enumerate(w.traced.func.params):
        if is_integer(param) and k not in w.traced.written:  # it is read before the program runs, and behind it
            plain, from_zero = size_values(param.name, 0)
            found |= {plain: k, from_zero: ~k}
    return found


def amounts(w: Writer, dims: Sequence[Dim], places: Mapping[str, int]) -> int:
    """The address of a table of amounts. places: pointers by symbol."""
    rows = []
    for dim in dims:
        terms = []
        for monomial, factor in dim.terms if isinstance(dim, Poly) else (((), dim),):
            need(len(monomial) <= MAX_FACTORS and all(s.name in places for s in monomial))
            terms.append([factor, len(monomial), *(places[s.name] for s in monomial)])
        rows.append([len(terms), w.table(terms, TERM_WORDS)])
    return w.table(rows, AMOUNT_WORDS)
