"""Statements: each function draws one and adds it to the scope, or raises Rejected (or what NumPy raises)."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.fuzz.grammar import expressions as ex
from tests.fuzz.grammar import keys
from tests.fuzz.grammar.scope import Rejected, Scope, fits_cast, tied_zeros
from tests.fuzz.meaning import meant

Statement = Callable[[Scope], None]
STATEMENTS: list[Statement] = []
WEIGHTS: list[int] = []


def statement(weight: int) -> Callable[[Statement], Statement]:
    """Adds a statement to the grammar."""

    def add(rule: Statement) -> Statement:
        STATEMENTS.append(rule)
        WEIGHTS.append(weight)
        return rule

    return add


def _define(scope: Scope, text: str) -> str:
    name = scope.fresh()
    scope.add(f"{name} = {text}", name)
    return name


def _writable(scope: Scope, exact: bool = False) -> str:
    """An array to write to. Rarely one that must not be written, for the error."""
    try:
        careless = scope.rng.random() < 0.01
        return scope.pick_array(lambda x: careless or x.flags.writeable, exact)
    except Rejected:
        return scope.pick_array(exact=exact)


# --- definitions ------------------------------------------------------------------------------------------


@statement(26)
def define_view(scope: Scope) -> None:
    name = scope.pick_array(exact=False)
    _define(scope, ex.view(scope, name))


@statement(24)
def define_elementwise(scope: Scope) -> None:
    _define(scope, ex.elementwise(scope))


@statement(7)
def define_reduction(scope: Scope) -> None:
    _define(scope, ex.reduction(scope))


@statement(10)
def define_other(scope: Scope) -> None:
    rules = (ex.scan, ex.ordering, ex.rearranged, ex.rearranged, ex.gather, ex.product, ex.creation)
    rule = scope.rng.choice(rules)
    _define(scope, rule(scope))


@statement(2)
def define_inexact(scope: Scope) -> None:
    """A transcendental function, a true float sum: from here on only copies and writes of it."""
    rng = scope.rng
    if scope.twice or rng.random() < 0.5:
        raise Rejected
    name = scope.pick_array(lambda x: x.dtype.kind == "f")
    if rng.random() < 0.75:
        text = f"{rng.choice(ex.INEXACT_UNARY)}({name})"
    else:
        text = rng.choice(("np.std({})", "{}.var()", "np.hypot({}, 2.0)", "np.linalg.norm({})",
                           "np.abs({}) ** 0.3")).format(name)
        x = scope.space[name]
        if x.size == 0 or not np.isfinite(x).all() or (np.abs(x) > 1e9).any():
            raise Rejected
    scope.mark_inexact(_define(scope, text))


# --- writes -----------------------------------------------------------------------------------------------


def _source(scope: Scope, shape: tuple[int, ...], target: str) -> str:
    """The right side of an assignment of this shape; often another view of the target itself."""
    rng, x = scope.rng, scope.space[target]
    style = rng.random()
    if style < 0.4 and x.ndim >= len(shape) and x.size and not scope.is_inexact(target):
        text = f"{target}[{keys.key_of_shape(rng, x.shape, shape)}]"
        if rng.random() < 0.3:
            text = rng.choice((f"-{text}", f"{text} + 1", f"{text} * 2", f"{text}.T"))
        return text
    text = ex.operand(scope, shape, x.dtype)
    if rng.random() < 0.1:
        text = f"{text} + {ex.number(scope, x.dtype)}"
    return text


def _check_cast(scope: Scope, text: str, target: np.ndarray) -> None:
    if target.dtype.kind in "iu":
        value = scope.value(text)
        if scope.twice and ex.kind(value) in "fc" and isinstance(value, (np.ndarray, np.generic)):
            raise Rejected
        if isinstance(value, (np.ndarray, np.generic)) and not fits_cast(value, target.dtype):
            raise Rejected


@statement(24)
def assign(scope: Scope) -> None:
    """`x[key] = source`, overlapping or not."""
    rng = scope.rng
    target = _writable(scope)
    x = scope.space[target]
    if rng.random() < 0.65:
        shape = keys.region(rng, x.shape)
        key = keys.key_of_shape(rng, x.shape, shape)
    else:
        key = keys.basic_key(rng, x.shape)
        shape = scope.value(f"np.shape({target}[{key}])")
    source = _source(scope, shape, target)
    _check_cast(scope, source, x)
    scope.add(f"{target}[{key}] = {source}")


@statement(4)
def assign_whole(scope: Scope) -> None:
    """Whole arrays: transposed onto themselves, reversed onto themselves, filled."""
    rng = scope.rng
    target = _writable(scope)
    x = scope.space[target]
    number = ex.number(scope, x.dtype)
    forms = ["{0}[...] = {1}", "{0}.fill({1})", "{0}[()] = {1}"]
    if x.ndim:
        forms += ["{0}[::-1] = {0}", "{0}[:] = {0}[::-1]", "{0}[1:] = {0}[:-1]", "{0}[:-1] = {0}[1:]",
                  "{0}[..., ::-1] = {0}"]
    if x.ndim > 1 and x.shape == x.shape[::-1]:
        forms += ["{0}[:] = {0}.T"] * 3
    if x.ndim and x.shape[0] > 1:
        forms.append("{0}[0], {0}[1] = {0}[1], {0}[0]")
    if x.dtype.kind == "c":
        forms += ["{0}.real = {0}.imag", "{0}.imag[...] = 1", "{0}.real[...] = {0}.imag"]
    scope.add(rng.choice(forms).format(target, number))


@statement(14)
def augment(scope: Scope) -> None:
    """`x[key] += source`, `x *= source`."""
    rng = scope.rng
    target = _writable(scope, exact=True)
    x = scope.space[target]
    place, shape = target, x.shape
    if rng.random() < 0.75:
        shape = keys.region(rng, x.shape)
        place = f"{target}[{keys.key_of_shape(rng, x.shape, shape)}]"
    source = _source(scope, shape, target)
    op = rng.choice(("+", "+", "-", "*", "/", "//", "%") if x.dtype.kind in "fc" else
                    ("+", "+", "-", "*", "//", "%", "&", "|", "^", ">>"))
    y = scope.value(source)
    if "c" in ex.kind(x) + ex.kind(y) and op not in "+-" and ex.inexact_product(scope, op, x, y):
        raise Rejected
    scope.add(f"{place} {op}= {source}")


@statement(9)
def ufunc_out(scope: Scope) -> None:
    """`np.add(x, y, out=z)`: aliased, cast, masked."""
    rng = scope.rng
    target = _writable(scope, exact=True)
    x = scope.space[target]
    place, shape = target, x.shape
    if rng.random() < 0.6:
        shape = keys.region(rng, x.shape)
        place = f"{target}[{keys.key_of_shape(rng, x.shape, shape)}]"
    one, two = _source(scope, shape, target), _source(scope, shape, target)
    values = scope.value(one), scope.value(two)
    if any(ex.kind(v) == "c" for v in values) or x.dtype.kind == "c":
        function = rng.choice(("add", "subtract"))
    else:
        function = rng.choice(("add", "subtract", "multiply", "maximum", "minimum", "floor_divide"))
    if function in ("maximum", "minimum") and (scope.twice or tied_zeros(*values)):
        raise Rejected
    options = [one, two, f"out={place}"]
    if rng.random() < 0.1:
        options = [one, f"out={place}"]
        function = rng.choice(("negative", "square", "absolute", "positive", "sign"))
        if x.dtype.kind == "c" or ex.kind(values[0]) == "c":
            raise Rejected
    if rng.random() < 0.3:
        options.append(f"where={_mask_of(scope, shape)}")
    if rng.random() < 0.2:
        options.append(f"casting='{rng.choice(('unsafe', 'same_kind'))}'")
    if x.dtype.kind in "iu" and any(ex.kind(v) in "f" for v in values):
        raise Rejected
    name = scope.fresh() if rng.random() < 0.3 else ""
    text = f"np.{function}({', '.join(options)})"
    if name:
        scope.add(f"{name} = {text}", name)
    else:
        scope.add(text)


def _mask_of(scope: Scope, shape: tuple[int, ...]) -> str:
    try:
        return scope.pick_array(lambda m: m.dtype == bool and ex.broadcasts(m.shape, shape))
    except Rejected:
        name = scope.pick_array(lambda x: ex.broadcasts(x.shape, shape) and x.dtype.kind != "c")
        return f"{name} {scope.rng.choice(ex.COMPARE)} {scope.rng.choice(('0', '1', '2'))}"


@statement(9)
def mask_write(scope: Scope) -> None:
    """`x[mask] = number`, `np.copyto`, `np.putmask`."""
    rng = scope.rng
    target = _writable(scope, exact=True)
    x = scope.space[target]
    if rng.random() < 0.25:
        target = f"{target}[{keys.key_of_shape(rng, x.shape, keys.region(rng, x.shape))}]"
    mask = _condition_of(scope, target)
    number = ex.number(scope, x.dtype)
    style = rng.random()
    if style < 0.72:
        scope.add(f"{target}[{mask}] = {number}")
    elif style < 0.88:
        source = _source(scope, np.shape(scope.value(target)), target.split("[")[0])
        _check_cast(scope, source, x)
        scope.add(f"np.copyto({target}, {source}, where={mask})")
    elif style < 0.93:
        scope.add(f"np.putmask({target}, {mask}, {number})")
    elif style < 0.97:
        scope.add(f"{target}[{mask}] {rng.choice('+-*')}= {number}")
    else:
        _masked_read(scope, target, mask)


def _masked_read(scope: Scope, target: str, mask: str) -> None:
    """A read whose shape depends on data. The grammar sees that shape; the compiler does not, so nothing may
    be built on it: the elements, or a value of them, are only returned."""
    x = scope.value(target)
    text = f"{target}[{mask}]"
    if x.dtype.kind in "iub":
        text += scope.rng.choice(("", ".sum()", " + 1", ".copy()", ".any()"))
    name = scope.fresh("m")
    scope.add(f"{name} = {text}")
    scope.only_returned.append(name)


def _condition_of(scope: Scope, text: str) -> str:
    if text in scope.space:
        return ex.condition(scope, text)
    if ex.kind(scope.value(text)) == "c":
        return f"{text} == 1"
    return f"{text} {scope.rng.choice(ex.COMPARE)} {scope.rng.choice(('0', '1', '2'))}"


@statement(8)
def scatter(scope: Scope) -> None:
    """Writes at integer arrays, duplicates included; the last one wins."""
    rng = scope.rng
    target = _writable(scope)
    x = scope.space[target]
    style = rng.random()
    if style < 0.75:
        key = keys.fancy_key(rng, x.shape)
    else:
        if not x.ndim or not x.shape[0]:
            raise Rejected
        key = f"{scope.pick_array(lambda i: i.dtype.kind in 'iu' and 0 < i.size < 40)} % {x.shape[0]}"
    shape = scope.value(f"np.shape({target}[{key}])")
    source = _source(scope, shape, target) if rng.random() < 0.7 else ex.number(scope, x.dtype)
    _check_cast(scope, source, x)
    if rng.random() < 0.2 and x.dtype.kind != "c" and not scope.is_inexact(target):
        scope.add(f"{target}[{key}] {rng.choice('+-')}= {source}")
    elif rng.random() < 0.06 and x.dtype.kind == "i" and ":" not in key:
        scope.add(f"np.add.at({target}, ({key},), 1)")
    else:
        scope.add(f"{target}[{key}] = {source}")


@statement(2)
def write_inexact(scope: Scope) -> None:
    """Carries rounding into an array; everything that lies in its memory counts as inexact from then on."""
    if not scope.any_inexact:
        raise Rejected
    source = scope.pick(scope.is_inexact_value, exact=False)
    shape = np.shape(scope.space[source])
    target = scope.pick_array(lambda x: x.dtype.kind == "f" and x.ndim >= len(shape) and x.flags.writeable,
                              exact=False)
    key = keys.key_of_shape(scope.rng, scope.space[target].shape, shape)
    scope.add(f"{target}[{key}] = {source}")
    scope.mark_inexact(target)


@statement(2)
def sort_in_place(scope: Scope) -> None:
    target = scope.pick_array(lambda x: x.ndim > 0 and x.dtype.kind != "c" and x.flags.writeable)
    ndim = scope.space[target].ndim
    scope.add(f"{target}.sort(axis={scope.rng.randint(-ndim, ndim - 1)}, kind='stable')")


# --- Python around it -------------------------------------------------------------------------------------


@statement(4)
def loop(scope: Scope) -> None:
    """A loop over a static range or over the rows of an array."""
    rng = scope.rng
    target = _writable(scope, exact=True)
    x = scope.space[target]
    if x.ndim == 0 or not 0 < x.shape[0] <= 5:
        raise Rejected
    n, other = x.shape[0], scope.pick_array(lambda y: y.shape == x.shape)
    op = "|" if x.dtype.kind == "b" else rng.choice("+-")
    scope.add(rng.choice((
        f"for k in range({n}):\n    {target}[k] {op}= {other}[{n} - 1 - k]",
        f"for k in range(1, {n}):\n    {target}[k] {op}= {target}[k - 1]",
        f"for k in range({n} - 2, -1, -1):\n    {target}[k] = {other}[k + 1]",
        f"for k, row in enumerate({target}):\n    {target}[k - 1] = row",
        f"for k in range(0, len({target}), 2):\n    {target}[k:k + 1] {op}= {other}[k]",
        f"for one, two in zip({target}, {other}[::-1]):\n    {target}[0] {op}= one\n    {target}[-1] = two",
    )))


@statement(3)
def branch(scope: Scope) -> None:
    """A branch on something static."""
    rng = scope.rng
    target = _writable(scope)
    x = scope.space[target]
    test = rng.choice((f"{target}.ndim > 1", f"{target}.shape[-1:] == (3,)", f"{target}.size % 2",
                       f"{target}.dtype == np.float64", f"len({target}.shape) == 2"))
    one, two = ex.number(scope, x.dtype), ex.number(scope, x.dtype)
    other = scope.pick_array()
    name = scope.fresh()
    scope.add(f"if {test}:\n    {target}[...] = {one}\n    {name} = {other}[..., ::-1]\n"
              f"else:\n    {name} = {other}[None]\n    {target}[..., :1] = {two}" if x.ndim and
              scope.space[other].ndim else f"{name} = {other} if {test} else {target}", name)


@statement(4)
def helper(scope: Scope) -> None:
    """A function of the module that writes its argument and returns a view of it."""
    rng = scope.rng
    target = _writable(scope, exact=True)
    x = scope.space[target]
    if x.ndim == 0:
        raise Rejected
    body, result = rng.choice((
        ("    x[1:] = x[:-1]\n", "x[::-1]"), ("    x[::2] += y[0]\n", "x.T"),
        ("    v = x[::-1]\n    v[:1] = y\n", "v"),
        ("    y = x[0] + y\n    x[-1] = y\n", "y"), ("", "x[..., 0], x"),
        ("    x[...] = x[::-1]\n", "x, y"),
    ))
    body = body.replace("y[0]", "y") if rng.random() < 0.5 else body
    function, name = f"helper{len(scope.helpers)}", scope.fresh()
    code = f"def {function}(x, y=1):\n{body}    return {result}\n"
    call = f"{function}({target}{rng.choice(('', ', y=2', f', {target}[-1]'))})"
    inner = rng.random() < 0.3
    exec(meant(code), scope.space)
    text = f"{name}, {name}b = {call}" if ", " in result else f"{name} = {call}"
    made = (name, f"{name}b") if ", " in result else (name,)
    scope.add(f"{code}{text}" if inner else text, *made)
    if not inner:
        scope.helpers.append(code)


@statement(3)
def rebind(scope: Scope) -> None:
    """Names for what has a name already, swapped names, containers."""
    rng = scope.rng
    one, two = scope.pick_array(exact=False), scope.pick_array(exact=False)
    name = scope.fresh()
    style = rng.random()
    if style < 0.3:
        scope.add(f"{name} = {one}", name)
    elif style < 0.5:
        scope.add(f"{name}, {name}b = {two}, {one}", name, f"{name}b")
    elif style < 0.7:
        scope.add(f"{name} = {{'x': {one}, 'y': {two}}}['y']", name)
    elif style < 0.85:
        scope.add(f"{name} = [{one}, {two}][{rng.randint(-2, 1)}]", name)
    else:
        scope.add(f"{name} = (lambda t: t[..., None])({one})", name)


@statement(1)
def mistake(scope: Scope) -> None:
    """Something that NumPy (mostly) refuses."""
    rng = scope.rng
    if rng.random() < 0.6:
        raise Rejected
    name = scope.pick_array()
    other = scope.pick_array()
    _define(scope, rng.choice((
        f"{name}[{scope.space[name].shape[0] if scope.space[name].ndim else 0}]", f"{name} + {other}",
        f"{name}.reshape(7, 2)", f"{name}.sum(axis={rng.randint(0, 5)})", f"{name}[..., ...]",
        f"np.concatenate(({name}, {other}))", f"{name}[[9]]", f"{name}.transpose(1, 0, 0)", f"-({name} > 0)",
        f"{name}[1.0]", f"np.broadcast_to({name}, (2, 7))", f"{name} & {other}",
        f"{name}[{other}]",
    )))
