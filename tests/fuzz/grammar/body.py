"""The bodies of loops and branches as text: statements that hold in every turn, whatever the indexes are.

Nothing here is run before the whole loop is: what a line needs of the values (a sum that is exact in every
order) stands before it as a call of `CHECK`, which raises Rejected in the turn where it does not hold. Checks
are no part of the program.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

import numpy as np

from tests.fuzz.grammar.scope import CHECK, Rejected, Scope

Lines = list[str]


@dataclass(frozen=True)
class Known:
    """An array that a body may use: its shape and dtype never change."""

    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    writable: bool


@dataclass
class Body:
    """What the lines of one block may name.

    ints: loop variables with their least and greatest value. scalars: carried ones by their dtype; items:
    elements that are only read. counters: Python ints that are carried. replaced: arrays that are bound
    anew. leave: statements that leave the block early, as the loop or function around it allows.
    """

    scope: Scope
    arrays: dict[str, Known]
    ints: dict[str, tuple[int, int]] = field(default_factory=dict)
    scalars: dict[str, np.dtype[Any]] = field(default_factory=dict)
    items: dict[str, np.dtype[Any]] = field(default_factory=dict)
    counters: list[str] = field(default_factory=list)
    replaced: list[str] = field(default_factory=list)
    leave: list[Callable[[Body], str]] = field(default_factory=list)
    depth: int = 0

    @property
    def rng(self) -> Random:
        return self.scope.rng

    def inside(self, **changes: Any) -> Body:
        """A block in this one, which sees what this one sees."""
        return replace(self, arrays=dict(self.arrays), ints=dict(self.ints), items=dict(self.items),
                       leave=list(self.leave), **changes)

    def pick(self, wanted: Callable[[Known], bool] = lambda k: True) -> str:
        found = [n for n, k in self.arrays.items() if wanted(k)]
        if not found:
            raise Rejected
        return self.rng.choice(found)

    def target(self, wanted: Callable[[Known], bool] = lambda k: True) -> str:
        return self.pick(lambda k: k.writable and wanted(k))


# --- indexes ----------------------------------------------------------------------------------------------


def whole_number(body: Body, bits: bool = True) -> str:
    """A Python int or an integer scalar that only the run knows; anything from a loop variable to an element."""
    rng = body.rng
    found = [*body.ints, *body.ints, *body.counters]
    if bits:
        found += [n for n, d in {**body.scalars, **body.items}.items() if d.kind in "iu"]
    if bits and rng.random() < 0.15:
        try:
            return element(body, body.pick(lambda k: k.dtype.kind in "iu" and 0 not in k.shape))
        except Rejected:
            pass
    if not found:
        raise Rejected
    return rng.choice(found)


def index(body: Body, dim: int) -> str:
    """An index into an axis that is in range in every turn."""
    rng = body.rng
    if dim == 0:
        raise Rejected
    inside = [n for n, (low, high) in body.ints.items() if low >= 0 and high < dim]
    if inside and rng.random() < 0.75:
        name = rng.choice(inside)
        if body.ints[name][0] > 0 and rng.random() < 0.35:
            return f"{name} - 1"
        return rng.choice((name, name, name, f"{dim - 1} - {name}", f"-1 - {name}", f"{name} - 1"))
    if rng.random() < 0.2:
        return str(rng.randint(-dim, dim - 1))
    number = whole_number(body)
    return rng.choice((f"{number} % {dim}", f"({number} + {rng.randint(1, 3)}) % {dim}"))


def element(body: Body, name: str) -> str:
    """One element of an array."""
    return f"{name}[{', '.join(index(body, d) for d in body.arrays[name].shape) or '()'}]"


def bound(body: Body) -> str:
    number = whole_number(body, bits=False)
    return body.rng.choice((number, number, number, f"{number} + 1", f"{number} - 1", f"-{number}"))


def symbolic_slice(body: Body, dim: int) -> str:
    """A slice whose bounds the run decides; often empty in the first turn."""
    rng = body.rng
    one = bound(body)
    return rng.choice((f":{one}", f"{one}:", f":{one}", f"{one}:", f"{one}::-1", f"{one}:0:-1", f":{one}:2",
                       f"{one}:{bound(body)}", f"1:{one}", f"{one}:{dim - 1}", f":{one}:-1"))


def part(body: Body, name: str, symbolic: float = 0.5) -> tuple[str, tuple[int, ...] | None]:
    """A view of an array and its shape; None where the run decides it."""
    shape = body.arrays[name].shape
    if not shape:
        raise Rejected
    axis = body.rng.randrange(len(shape))
    if body.rng.random() < symbolic:
        keys = [index(body, d) if body.rng.random() < 0.5 else ":" for d in shape]
        keys[axis] = symbolic_slice(body, shape[axis])
        return f"{name}[{', '.join(keys)}]", None
    key = index(body, shape[axis])
    return f"{name}[{', '.join([*[':'] * axis, key])}]", (*shape[:axis], *shape[axis + 1:])


# --- scalars and conditions -------------------------------------------------------------------------------


def number(body: Body, dtype: np.dtype[Any]) -> str:
    rng = body.rng
    if dtype.kind in "iu":
        return rng.choice(("0", "1", "2", "3", "5", "7"))
    return rng.choice(("0", "1", "-1", "2", "0.5", "-2.5", "np.nan", "-0.0", "10")) if dtype.kind != "b" else "True"


def scalar(body: Body, dtype: np.dtype[Any], deep: int = 0) -> str:
    """An expression with the value of a scalar of this dtype (or a Python number that takes it)."""
    rng = body.rng
    style = rng.random()
    if dtype.kind in "bc":
        try:
            return element(body, body.pick(lambda k: k.dtype == dtype and 0 not in k.shape))
        except Rejected:
            return number(body, dtype) if style < 0.5 or dtype.kind == "b" else "1"
    if style < 0.45 or deep > 1:
        named = [n for n, d in {**body.scalars, **body.items}.items() if d == dtype]
        if named and rng.random() < 0.6:
            return rng.choice(named)
        try:
            return element(body, body.pick(lambda k: k.dtype == dtype and 0 not in k.shape))
        except Rejected:
            return number(body, dtype)
    if style < 0.55:
        return number(body, dtype)
    if style < 0.65 and body.ints:
        return rng.choice(list(body.ints))
    if style < 0.7:
        return f"abs({scalar(body, dtype, deep + 1)})"
    one, two = scalar(body, dtype, deep + 1), scalar(body, dtype, deep + 1)
    if style < 0.78:
        return f"({one} if {condition(body, 1)} else {two})"
    op = rng.choice("+-*" if dtype.kind == "f" else "+-" if dtype.kind == "i" else "+")
    return f"({one} {op} {two})"


def condition(body: Body, deep: int = 0) -> str:
    """Something to branch on, mostly of run-time values."""
    rng = body.rng
    style = rng.random()
    if deep < 2 and style < 0.3:
        one, two = condition(body, deep + 1), condition(body, deep + 1)
        return rng.choice((f"({one} and {two})", f"({one} or {two})", f"(not {one})"))
    if style < 0.4 and (body.ints or body.counters):
        name = rng.choice([*body.ints, *body.counters])
        return rng.choice((f"{name} % 2 == 0", f"{name} > {rng.randint(0, 3)}", f"{name} == {rng.randint(0, 4)}",
                           f"{rng.randint(0, 2)} < {name} <= {rng.randint(2, 6)}", name))
    if style < 0.5:
        text, _ = part(body, body.pick(lambda k: k.dtype.kind != "c" and len(k.shape) > 0))
        return rng.choice((f"({text} > {rng.randint(0, 2)}).any()", f"({text} >= 0).all()", f"{text}.any()"))
    dtype = any_dtype(body)
    one, two = scalar(body, dtype, 1), scalar(body, dtype, 1)
    if style < 0.6:
        return f"{one} < {two} <= {scalar(body, dtype, 2)}"
    if style < 0.65:
        return one
    return f"{one} {rng.choice(('<', '<=', '>', '>=', '==', '!='))} {two}"


def any_dtype(body: Body) -> np.dtype[Any]:
    found = [k.dtype for k in body.arrays.values() if k.dtype.kind in "iuf"]
    found += [*body.scalars.values(), *body.items.values()]
    return body.rng.choice(found) if found else np.dtype(float)


# --- lines ------------------------------------------------------------------------------------------------


def write_element(body: Body) -> Lines:
    name = body.target(lambda k: 0 not in k.shape)
    dtype = body.arrays[name].dtype
    value = scalar(body, dtype)
    op = body.rng.choice(("", "", "+", "-", "*") if dtype.kind in "fi" else ("", "", "+") if dtype.kind in "uc" else
                         ("", "|"))
    return [f"{element(body, name)} {op}= {value}"]


def write_row(body: Body) -> Lines:
    """`a[i] = b[j] * 2`: a whole part of static shape."""
    name = body.target(lambda k: len(k.shape) > 0 and k.dtype.kind in "fi")
    place, shape = part(body, name, symbolic=0)
    dtype = body.arrays[name].dtype
    value = row(body, shape, dtype)
    return [f"{place} {body.rng.choice(('', '', '+', '-', '*'))}= {value}"]


def row(body: Body, shape: tuple[int, ...] | None, dtype: np.dtype[Any]) -> str:
    """An expression of this shape (or one that broadcasts to it)."""
    rng = body.rng
    found = []
    for name, known in body.arrays.items():
        if known.dtype == dtype and known.shape == shape:
            found.append(name)
        if known.dtype == dtype and known.shape and known.shape[0] and known.shape[1:] == shape:
            found += [f"{name}[{index(body, known.shape[0])}]"] * 2
    if not found or rng.random() < 0.15:
        return scalar(body, dtype)
    one, two = rng.choice(found), rng.choice(found)
    value = scalar(body, dtype, 1)
    return rng.choice((one, one, f"{one} * {value}", f"{one} + {two}", f"{one} - {two}", f"{two}[...]",
                       f"np.where({one} > {value}, {one}, {two})", f"-{one}", f"abs({two})"))


def write_slice(body: Body) -> Lines:
    """`a[:i] += b[:i]`: parts of run-time length."""
    rng = body.rng
    name = body.target(lambda k: len(k.shape) > 0 and k.dtype.kind in "fi")
    known = body.arrays[name]
    place, _ = part(body, name, symbolic=1)
    key = place[len(name):]
    others = [n for n, k in body.arrays.items() if k.shape == known.shape and k.dtype == known.dtype]
    other = rng.choice(others)
    value = scalar(body, known.dtype, 1)
    view = f"{other}{key}"
    source = rng.choice((value, value, view, view, f"{view} + {value}", f"{view}[::-1]", f"-{view}",
                         f"{place} * {value}", f"np.where({view} > {value}, {place}, 0)"))
    if len(known.shape) == 1 and body.ints and rng.random() < 0.3:
        k = rng.choice(list(body.ints))
        low, high = body.ints[k]
        if low >= 0 and high < known.shape[0]:
            place, source = rng.choice((
                (f"{name}[{k}:0:-1]", f"{other}[:{k}]"), (f"{name}[:{k}]", f"{other}[{k}:0:-1]"),
                (f"{name}[:{k}]", f"{other}[:{k}][::-1]"), (f"{name}[1:{k} + 1]", f"{other}[:{k}]"),
                (f"{name}[{k}:]", f"{other}[:{known.shape[0]} - {k}]"), (f"{name}[{k}::-1]", f"{other}[:{k} + 1]"),
            ))
    return [f"{place} {rng.choice(('', '', '+', '-'))}= {source}"]


def write_mask(body: Body) -> Lines:
    name = body.target(lambda k: len(k.shape) > 0 and k.dtype.kind in "fi")
    dtype = body.arrays[name].dtype
    mask = f"{name} {body.rng.choice(('<', '>', '==', '!='))} {scalar(body, dtype, 1)}"
    if body.rng.random() < 0.3:
        return [f"{name}[...] = np.where({mask}, {name}, {scalar(body, dtype, 1)})"]
    return [f"{name}[{mask}] {body.rng.choice(('', '', '+'))}= {number(body, dtype)}"]


def update_scalar(body: Body) -> Lines:
    if not body.scalars:
        raise Rejected
    rng = body.rng
    name = rng.choice(list(body.scalars))
    dtype = body.scalars[name]
    if rng.random() < 0.3:
        return folded(body, name, dtype)
    if rng.random() < 0.1:
        other = rng.choice([d for d in (any_dtype(body), dtype) if d.kind == dtype.kind] or [dtype])
        return [f"{name} = {rng.choice((number(body, dtype), scalar(body, other)))}"]
    if rng.random() < 0.5:
        return [f"{name} {rng.choice('+-') if dtype.kind != 'u' else '+'}= {scalar(body, dtype, 1)}"]
    return [f"{name} = {name} + {scalar(body, dtype)}" if rng.random() < 0.5 else
            f"{name} = {dtype_name(dtype)}({scalar(body, dtype)})"]


def folded(body: Body, name: str, dtype: np.dtype[Any]) -> Lines:
    """A reduction of a part of run-time length into a scalar."""
    source = body.pick(lambda k: k.dtype == dtype and len(k.shape) > 0)
    text, _ = part(body, source, symbolic=0.8)
    function = body.rng.choice(("sum", "sum", "max", "min"))
    if function != "sum":
        text = f"{text}.{function}(initial=0)"
        if dtype.kind == "f":
            return [f"{name} = {dtype_name(dtype)}(0)"] if body.scope.twice else [
                f"{CHECK}('one_zero', np.append({source}, 0))", f"{name} = {text}"]
        return [f"{name} = {text}"]
    if dtype.kind == "f":
        if body.scope.twice:
            raise Rejected
        return [f"{CHECK}('exact_sum', {text})", f"{name} += {text}.sum()"]
    return [f"{name} = {dtype_name(dtype)}({text}.sum() % 100)"] if dtype.itemsize < 8 else [
        f"{name} += {text}.sum()"]


def dtype_name(dtype: np.dtype[Any]) -> str:
    return f"np.{dtype.name}"


def count(body: Body) -> Lines:
    """A Python int that is carried; some of it from selections of run-time size."""
    rng = body.rng
    if not body.counters:
        raise Rejected
    name = rng.choice(body.counters)
    if rng.random() < 0.55:
        other = rng.choice([*body.ints, *body.counters, "1", "2"])
        return [rng.choice((f"{name} += 1", f"{name} += 1", f"{name} = {name} + {other}", f"{name} -= {other}",
                            f"{name} = ({name} * 3 + {other}) % 11"))]
    source, shape = part(body, body.pick(lambda k: k.dtype.kind in "iuf" and len(k.shape) > 0), symbolic=0.5)
    if shape == ():
        raise Rejected  # it has no length, and a compiler says so even where it is never asked
    test = f"{source} > {rng.randint(0, 2)}"
    size = rng.choice((f"len({source}[{test}])", f"np.nonzero({test})[0].size", f"{source}[{test}].size",
                       f"np.unique({source}).size", f"len({source})"))
    return [f"{name} += {size}"]


def replace_array(body: Body) -> Lines:
    """An array that is another one after each turn."""
    if not body.replaced:
        raise Rejected
    rng = body.rng
    name = rng.choice(body.replaced)
    known = body.arrays[name]
    value = row(body, known.shape, known.dtype)
    forms = [f"{name} + {value}", f"{name} * {scalar(body, known.dtype, 1)}", f"np.maximum({name}, {name} + 1)"]
    if known.shape:
        forms += [f"{name}[::-1] + 1", f"np.where({name} > 0, {name}, {value})", f"np.copy({name}[::-1])"]
    return [f"{name} = {rng.choice(forms)}"]


def alias(body: Body) -> Lines:
    """A view made in the turn, then something through it."""
    rng = body.rng
    source = body.pick(lambda k: len(k.shape) > 0 and k.dtype.kind in "fi")
    known = body.arrays[source]
    text, shape = part(body, source, symbolic=0.25)
    name = body.scope.fresh("t")
    value = scalar(body, known.dtype, 1)
    if shape is not None and shape:
        body.arrays[name] = Known(shape, known.dtype, known.writable)
    lines = [f"{name} = {text}"]
    if shape == () or not known.writable:
        return lines
    return [*lines, rng.choice((f"{name}[...] = {value}", f"{name} += {value}", f"{name}[:1] = {value}",
                                f"{name}[...] = {name}[::-1]", f"{name}[1:] = {name}[:-1]", f"{name} *= 2"))]


def view_bytes(body: Body) -> Lines:
    """Integers of another size at the place of an array's, then something through them."""
    rng = body.rng
    source = body.pick(lambda k: len(k.shape) > 0 and k.dtype.kind in "iu")
    known = body.arrays[source]
    text, shape = part(body, source, symbolic=0.2)
    dtype = np.dtype(rng.choice(("i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8")))
    name = body.scope.fresh("t")
    lines = [f"{name} = {text}.view('{dtype.str[1:]}')"]
    if shape:
        length = shape[-1] * known.dtype.itemsize // dtype.itemsize
        body.arrays[name] = Known((*shape[:-1], length), dtype, known.writable)
    if shape == () or not known.writable:
        return lines
    return [*lines, rng.choice((f"{name}[...] = {rng.randint(0, 100)}", f"{name} += {rng.randint(1, 9)}",
                                f"{name}[:1] = {rng.randint(0, 100)}", f"{name}[...] = {name}[::-1]",
                                f"{name}[1:] = {name}[:-1]", f"{name} ^= 5"))]


def branch(body: Body) -> Lines:
    """`if`, `elif`, `else`, perhaps leaving the loop."""
    rng = body.rng
    if body.depth > 2:
        raise Rejected
    lines = [f"if {condition(body)}:", *block(body, leave=True)]
    if rng.random() < 0.25:
        lines += [f"elif {condition(body)}:", *block(body, leave=True)]
    if rng.random() < 0.5:
        lines += ["else:", *block(body)]
    return lines


def block(body: Body, leave: bool = False) -> Lines:
    inner = body.inside(depth=body.depth + 1)
    lines = statements(inner, body.rng.choice((1, 1, 2)))
    if leave and body.leave and body.rng.random() < 0.35:
        lines.append(body.rng.choice(body.leave)(body))
    return indented(lines)


def indented(lines: Lines) -> Lines:
    return ["    " + line for line in lines]


RULES: list[tuple[int, Callable[[Body], Lines]]] = [
    (14, write_element), (12, write_row), (14, write_slice), (4, write_mask), (14, update_scalar), (8, count),
    (6, replace_array), (8, alias), (4, view_bytes), (12, branch),
]


def statements(body: Body, wanted: int) -> Lines:
    """So many statements; at least one."""
    lines: Lines = []
    rules, weights = [r for _, r in RULES], [w for w, _ in RULES]
    made = 0
    for _ in range(wanted * 6):
        if made == wanted:
            break
        try:
            lines += body.rng.choices(rules, weights)[0](body)
            made += 1
        except Rejected:
            continue
    if not made:
        raise Rejected
    return lines
