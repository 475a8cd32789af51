"""Loops and branches on run-time values; each is drawn whole (`body.py`) and then run by NumPy."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.fuzz.grammar import expressions as ex
from tests.fuzz.grammar.body import Body, Known, Lines, condition, element, indented, statements, whole_number
from tests.fuzz.grammar.scope import CHECK, Rejected, Scope, one_zero
from tests.fuzz.grammar.statements import statement

#: Turns of the longest loop; nested ones stay well below.
LONG, SHORT = 24, 6


def _body(scope: Scope) -> Body:
    """What may be named: some of the arrays, and the numbers that are there."""
    found = [n for n in scope.names if isinstance(scope.space[n], np.ndarray) and not scope.is_inexact(n)]
    if not found:
        raise Rejected
    chosen = scope.rng.sample(found, min(len(found), 3))
    arrays = {n: Known(x.shape, x.dtype, x.flags.writeable) for n in chosen if (x := scope.space[n]) is not None}
    items = {n: x.dtype for n in scope.names if isinstance(x := scope.space[n], np.generic)
             and x.dtype.kind in "iuf" and not scope.is_inexact(n)}
    return Body(scope, arrays, items=items)


def _carried(body: Body) -> Lines:
    """Variables that the loop will assign, with their first values."""
    scope, rng, lines = body.scope, body.rng, []
    for _ in range(rng.choice((0, 1, 1, 2))):
        kinds = [k.dtype for k in body.arrays.values() if k.dtype.kind in "iuf"]
        if kinds:
            name, dtype = scope.fresh("s"), rng.choice(kinds)
            plain = rng.choice(("0", "0", "1", "2", "0.0", "0.5") if dtype.kind == "f" else "0012")
            lines.append(f"{name} = {plain if rng.random() < 0.5 else f'np.{dtype.name}({plain})'}")
            body.scalars[name] = dtype
    if rng.random() < 0.5:
        name = scope.fresh("k")
        lines.append(f"{name} = {rng.choice('0012')}")
        body.counters.append(name)
    plain = [n for n, k in body.arrays.items() if k.dtype.kind in "if" and k.shape]
    if not all(n in scope.space and scope.space[n].flags.c_contiguous for n in body.arrays):
        # Another array in each turn may have another memory order, which only the run could tell.
        plain = [n for n in plain if len(body.arrays[n].shape) == 1]
    if plain and rng.random() < 0.3:
        source, name = rng.choice(plain), scope.fresh()
        lines.append(f"{name} = {rng.choice((f'np.copy({source})', f'{source} + 1', f'{source}[...] * 1'))}")
        known = body.arrays[source]
        body.arrays[name] = Known(known.shape, (np.zeros((), known.dtype) + 1).dtype, True)
        body.replaced.append(name)
    return lines


def _keep(scope: Scope, body: Body, lines: Lines) -> None:
    """Adds the whole statement; what it carries are variables from then on."""
    made = (*body.scalars, *body.counters, *body.replaced)
    scope.add("\n".join(lines), *made)


# --- ranges -----------------------------------------------------------------------------------------------


def _range(body: Body, most: int) -> tuple[str, int, int]:
    """A range as text, and the least and greatest value it may reach."""
    rng = body.rng
    dims = [d for k in body.arrays.values() for d in k.shape if 1 < d <= most] or [3]
    n = rng.choice(dims) if rng.random() < 0.8 else rng.randint(0, min(most, 7))
    style = rng.random()
    if style < 0.3 and body.ints:
        name, (low, high) = rng.choice(list(body.ints.items()))
        return rng.choice((
            (f"range({name})", 0, max(high - 1, 0)), (f"range({name} + 1)", 0, max(high, 0)),
            (f"range({name}, {n})", low, max(n - 1, low)), (f"range({name}, -1, -1)", min(low, 0), high),
            (f"range({name}, {max(high, 0) + 2}, 2)", low, max(high, 0) + 1),
        ))
    if style < 0.42:
        number, limit = whole_or_element(body), rng.randint(2, min(most, 5))
        return rng.choice(((f"range({number} % {limit})", 0, limit - 2),
                           (f"range({number} % {limit}, {limit})", 0, limit - 1),
                           (f"range({limit}, {number} % {limit}, -1)", 1, limit)))
    if style < 0.55 and most >= LONG:
        long = rng.randint(17, LONG)
        return rng.choice(((f"range({long})", 0, long - 1), (f"range({long}, 0, -1)", 1, long),
                           (f"range(0, {2 * long}, 2)", 0, 2 * long - 2)))
    return rng.choice((
        (f"range({n})", 0, n - 1), (f"range({n})", 0, n - 1), (f"range(1, {n})", 1, n - 1),
        (f"range({n - 1}, -1, -1)", 0, n - 1), (f"range({n - 1}, 0, -1)", 1, n - 1),
        (f"range(0, {n}, 2)", 0, n - 1), (f"range({n - 1}, -1, -2)", 0, n - 1), (f"range(-2, {n})", -2, n - 1),
    ))


def whole_or_element(body: Body) -> str:
    """An integer of the data where there is one."""
    found = [n for n, k in body.arrays.items() if k.dtype.kind in "iu" and 0 not in k.shape]
    if found:
        name = body.rng.choice(found)
        at = ", ".join(str(body.rng.randrange(d)) for d in body.arrays[name].shape) or "()"
        return f"{name}[{at}]"
    return whole_number(body)


def _over_arrays(body: Body, variables: Callable[[str], str]) -> tuple[str, Body]:
    """`for x in a`, `for k, x in enumerate(a)`, `for x, y in zip(a, b)`: the head, and what its body sees."""
    rng = body.rng
    name = body.pick(lambda k: len(k.shape) > 0 and 0 < k.shape[0] <= 8)
    known = body.arrays[name]
    inner = body.inside()
    item = variables("x")

    def see(variable: str, of: Known) -> None:
        if of.shape[1:]:
            inner.arrays[variable] = Known(of.shape[1:], of.dtype, of.writable)
        elif of.dtype.kind in "iuf":
            inner.items[variable] = of.dtype

    see(item, known)
    source = rng.choice((name, name, f"{name}[::-1]", f"{name}[1:]"))
    style = rng.random()
    if style < 0.4:
        return f"for {item} in {source}:", inner
    if style < 0.7:
        counter = variables("i")
        inner.ints[counter] = (0, known.shape[0] - 1)
        return f"for {counter}, {item} in enumerate({source}):", inner
    other = body.pick(lambda k: len(k.shape) > 0 and k.shape[0] > 0)
    second = variables("y")
    see(second, body.arrays[other])
    return f"for {item}, {second} in zip({source}, {other}):", inner


# --- statements -------------------------------------------------------------------------------------------


def _leaving(body: Body) -> Body:
    """A body in a loop may break and continue."""
    body.leave += [lambda b: "break", lambda b: "continue"]
    return body


def _for(body: Body, most: int) -> Lines:
    scope, rng = body.scope, body.rng
    if rng.random() < 0.3:
        head, inner = _over_arrays(body, scope.fresh)
    else:
        name = scope.fresh("i")
        text, low, high = _range(body, most)
        inner = body.inside()
        inner.ints[name] = (low, high)
        head = f"for {name} in {text}:"
    inner = _leaving(inner)
    inner.depth += 1
    nested = body.depth < 1 and rng.random() < 0.4
    lines = _nested(inner) if nested and rng.random() < 0.5 else []
    nested = nested and not lines
    lines += statements(inner, rng.choice((1, 2, 2, 3)))
    return [head, *indented([*lines, *(_nested(inner) if nested else [])])]


def _nested(body: Body) -> Lines:
    return (_while if body.rng.random() < 0.2 else _for)(body, SHORT)


def _while(body: Body, most: int) -> Lines:
    """A bounded `while`; its counter goes on first, so that `continue` cannot keep it from ending."""
    scope, rng = body.scope, body.rng
    name, turns = scope.fresh("n"), rng.choice((2, 3, 4, most))
    inner = _leaving(body.inside())
    inner.depth += 1
    inner.ints[name] = (1, turns)
    test = f"{name} < {turns}"
    first = [f"{name} += 1"]
    style = rng.random()
    if style < 0.6:
        test = rng.choice((f"{test} and {condition(body)}", f"{condition(body)} and {test}"))
    elif style < 0.75:
        test, first = "True", [f"if {name} >= {turns}:", "    break", f"{name} += 1"]
    lines = statements(inner, rng.choice((1, 2, 2)))
    if body.depth < 1 and rng.random() < 0.15:
        lines += _for(inner, SHORT)
    return [f"{name} = 0", f"while {test}:", *indented([*first, *lines])]


@statement(20)
def for_loop(scope: Scope) -> None:
    """A loop over a range or arrays, with carried variables."""
    body = _body(scope)
    head = _carried(body)
    _keep(scope, body, [*head, *_for(body, LONG)])


@statement(9)
def while_loop(scope: Scope) -> None:
    body = _body(scope)
    head = _carried(body)
    _keep(scope, body, [*head, *_while(body, LONG)])


@statement(9)
def value_branch(scope: Scope) -> None:
    """A branch on run-time values; both ways may bind a variable."""
    body = _body(scope)
    head = _carried(body)
    rng, test = scope.rng, condition(body)
    style = rng.random()
    made: tuple[str, ...] = ()
    one, two = statements(body.inside(depth=1), rng.choice((1, 2))), statements(body.inside(depth=1), 1)
    if style < 0.35:
        source = body.pick(lambda k: k.dtype.kind in "if" and len(k.shape) > 0)
        name = scope.fresh()
        forms = [f"{source} + 1", f"{source} * 2", f"-{source}", f"np.copy({source})", f"np.zeros_like({source})"]
        first, second = rng.choice(forms), rng.choice(forms)
        head.append(f"{CHECK}('laid_out_alike', ({first}, {second}))")  # what comes out of the branch has one layout
        one.append(f"{name} = {first}")
        two.append(f"{name} = {second}")
        made = (name,)
    lines = [f"if {test}:", *indented(one)]
    if style < 0.35 or rng.random() < 0.6:
        lines += ["else:", *indented(two)]
    scope.add("\n".join([*head, *lines]), *body.scalars, *body.counters, *body.replaced, *made)


@statement(6)
def chosen(scope: Scope) -> None:
    """`x if c else y`, of new arrays or of arrays that have other names too; `and` and `or` as conditions."""
    body = _body(scope)
    name, source = scope.fresh(), body.pick(lambda k: k.dtype.kind in "if" and len(k.shape) > 0)
    known = body.arrays[source]
    one, other = f"{source} * 1", scope.rng.choice((f"{source} + 1", f"-{source}", f"{source}[...] * 2"))
    if scope.rng.random() < 0.5:
        seen = [k for k, v in body.arrays.items() if v.shape == known.shape and v.dtype == known.dtype]
        forms = [*seen, f"{source}[::-1]", one]
        one, other = (scope.rng.choice(forms) for _ in range(2))
    if "[::-1]" in one + other:  # of arrays in different memory order, only values are kept
        scope.add(f"{name} = ({one} if {condition(body)} else {other}).any()", name)
        return
    # Which of two objects it is that show the same elements, nobody keeps.
    scope.add(f"{CHECK}('apart', ({one}, {other}))\n{name} = {one} if {condition(body)} else {other}", name)


@statement(6)
def returning(scope: Scope) -> None:
    """A function that returns from inside a loop or a branch, always values of one kind."""
    rng = scope.rng
    source = scope.pick_array(lambda x: x.ndim > 0 and x.size > 0 and x.dtype.kind in "iuf" and x.flags.writeable)
    x = scope.space[source]
    body = Body(scope, {"x": Known(x.shape, x.dtype, True)})
    head = _carried(body)
    body.replaced, body.counters = [], body.counters[:1]
    head = [line for line in head if line.split(" ")[0] in (*body.scalars, *body.counters)]
    body.arrays = {"x": Known(x.shape, x.dtype, True)}
    carried = [*body.scalars, *body.counters]

    def leave(inner: Body) -> str:
        first = element(inner, "x")
        return f"return {', '.join([f'{first} + 0', *carried])}"

    body.leave.append(leave)
    lines = (_for if rng.random() < 0.7 else _while)(body, LONG)
    function = f"helper{len(scope.helpers)}"
    code = "\n".join([f"def {function}(x):", *indented([*head, *lines, leave(body)])]) + "\n"
    made = [scope.fresh() for _ in range(1 + len(carried))]
    scope.define(code)
    scope.add(f"{', '.join(made)} = {function}({source})", *made)
    scope.helpers.append(scope.without_checks(code))


@statement(6)
def run_time_part(scope: Scope) -> None:
    """Arrays of a length that only the run knows, and what is computed from them. The grammar sees the
    lengths, the compiler does not: they are only returned, counted and written through."""
    rng = scope.rng
    name = scope.pick_array(lambda x: x.ndim > 0 and x.size > 0 and x.dtype.kind in "iuf")
    x = scope.space[name]
    counts = [n for n in scope.names if n[0] == "k" and isinstance(scope.space[n], int)]
    counts += [f"{n} % 4" for n in scope.names if isinstance(scope.space[n], (int, np.integer)) and n[0] != "k"]
    mask = f"{name} {rng.choice(ex.COMPARE)} {rng.choice('0123')}"
    # NumPy's positions in several axes lie interleaved in one array, ours do not: the sum has no such story.
    forms = [f"{name}[{mask}]", f"np.nonzero({mask})[0] + 0", f"np.flatnonzero({mask})"]
    if x.dtype.kind != "f" or (one_zero(x) and not scope.twice):
        forms.append(f"np.unique({name})")
    if counts:
        k = rng.choice(counts)
        forms += [f"{name}[:{k}]", f"{name}[{k}:]", f"{name}[{k}::-1]", f"{name}[..., :{k}]", f"{name}[{k}:0:-1]"] * 2
    part = scope.fresh("m")
    lines, made, numbers = [f"{part} = {rng.choice(forms)}"], [part], []
    for _ in range(rng.choice((0, 1, 1, 2))):
        more = ["{0}[::-1]", "{0}[1:]", "{0}[:-1]", "{0}[::2]", "{0} + 1", "{0} * {0}", "abs({0})", "len({0})",
                "np.where({0} > 1, {0}, 0)", "{0}[{0} > 0]", "{0}.size", "{0}.copy()"]
        if x.dtype.kind in "iu":
            more += ["{0}.sum()", "np.cumsum({0})", "np.sort({0})", "{0}.max(initial=0)"]
        following = scope.fresh("m")
        lines.append(f"{following} = {rng.choice(more).format(rng.choice(made))}")
        if not isinstance(_last_value(scope, lines), np.ndarray):
            numbers.append(following)
            break
        made.append(following)
    if rng.random() < 0.2 and x.flags.writeable:
        lines.append(f"{part}[...] = {ex.number(scope, x.dtype)}")
    scope.add("\n".join(lines))
    scope.only_returned += made + numbers


def _last_value(scope: Scope, lines: Lines) -> object:
    """The value that the last of these lines gives its variable. Raises what NumPy raises."""
    space = dict(scope.space)
    exec("\n".join(lines), space)
    return space[lines[-1].split(" ")[0]]
