"""`x.view(dtype)`: the same bytes as other numbers, kept to what has one meaning.

Integers of every size share memory, and so do complex numbers and their parts. Bytes become floats or bools only in
an array that nobody else sees, and bytes of floats are only read where there is no NaN: the sign of a computed NaN
is nobody's business, and a bool that is written as another byte than 0 or 1 is True.
"""

from __future__ import annotations

import numpy as np

from tests.fuzz.grammar.scope import Rejected, Scope
from tests.fuzz.grammar.statements import statement

INTEGERS = ("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")
FLOATS = ("f4", "f8", "c8", "c16")
_PAIRS = {"f4": "c8", "f8": "c16", "c8": "f4", "c16": "f8"}


@statement(7)
def byte_view(scope: Scope) -> None:
    name = scope.pick_array(exact=False)
    made = scope.fresh()
    scope.add(f"{made} = {_viewed(scope, name)}", made)


def _viewed(scope: Scope, name: str) -> str:
    rng, x = scope.rng, scope.space[name]
    style = rng.random()
    if x.dtype.kind == "b":
        return f"{name}.copy().{as_dtype(scope, rng.choice(INTEGERS[:2]))}"
    if x.dtype.kind in "iu":
        if style < 0.7:
            return f"{name}.{as_dtype(scope, rng.choice(INTEGERS))}"
        if style < 0.85:
            return f"{name}.copy().{as_dtype(scope, rng.choice(FLOATS))}"
        return f"({name} & 1).astype('u1').{as_dtype(scope, 'b1')}"
    if style < 0.4:
        return f"{name}.{as_dtype(scope, _PAIRS[x.dtype.str[1:]])}"
    if scope.twice or scope.is_inexact(name) or np.isnan(x).any():
        raise Rejected
    return f"{name}.copy().{as_dtype(scope, rng.choice(INTEGERS))}"


def as_dtype(scope: Scope, dtype: str) -> str:
    """The call of `view`, which names a dtype in one of the ways there are."""
    named = f"np.{np.dtype(dtype).name}"
    return scope.rng.choice((f"view('{dtype}')", f"view({named})", f"view(dtype={named})"))
