"""Names that change hands: swapped, chosen and bound anew in branches and loops, and written through all of them."""

from __future__ import annotations

from tests.fuzz.grammar.body import Body, Known, Lines, condition, indented
from tests.fuzz.grammar.control import _body
from tests.fuzz.grammar.scope import Scope
from tests.fuzz.grammar.statements import statement


@statement(6)
def rebinding(scope: Scope) -> None:
    """A few names of arrays of one shape. Where their memory order may differ, only values are kept of them."""
    rng, body = scope.rng, _body(scope)
    source = body.pick(lambda k: k.dtype.kind in "if" and len(k.shape) == 1 and k.shape[0] > 1 and k.writable)
    known = body.arrays[source]
    plain = scope.space[source].strides == (known.dtype.itemsize,) and rng.random() < 0.6
    names = [scope.fresh() for _ in range(3)]
    first = [source, f"{source} + 1", f"{source} * 1"] + ([] if plain else [f"{source}[::-1]"])
    lines = [f"{name} = {rng.choice(first)}" for name in names]
    body.arrays |= {name: Known(known.shape, known.dtype, True) for name in names}
    users = _Names(body, source, names, plain)
    for _ in range(rng.choice((2, 3, 4))):
        lines += users.line(0)
    if plain:
        scope.add("\n".join(lines), *names)
        return
    values = [scope.fresh() for _ in names]
    lines += [f"{value} = {name}[{rng.randrange(known.shape[0])}]" for value, name in zip(values, names)]
    scope.add("\n".join(lines), *values)


class _Names:
    """What may happen to the names."""

    def __init__(self, body: Body, source: str, names: list[str], plain: bool) -> None:
        self.body, self.rng, self.source, self.names = body, body.rng, source, names
        self.plain, self.length = plain, body.arrays[source].shape[0]
        self._loops = 0

    def line(self, depth: int) -> Lines:
        style = self.rng.random()
        if style < 0.25:
            return [f"{self.rng.choice(self.names)} = {self.array()}"]
        if style < 0.4:
            one, other = self.rng.sample(self.names, 2)
            return [self.rng.choice((f"{one}, {other} = {other}, {one}", f"{one}, {other} = {self.array()}, {one}"))]
        if style < 0.6 or depth == 2:
            return [self.write()]
        if style < 0.8:
            lines = [f"if {condition(self.body)}:", *self.block(depth)]
            return lines + (["else:", *self.block(depth)] if self.rng.random() < 0.5 else [])
        return self.loop(depth)

    def block(self, depth: int) -> Lines:
        count = self.rng.choice((1, 1, 2))
        return indented([line for _ in range(count) for line in self.line(depth + 1)])

    def loop(self, depth: int) -> Lines:
        self._loops += 1
        turns = self.rng.choice(("2", "3", f"len({self.source}[{self.source} > 1])"))
        lines = [f"for {self.body.scope.fresh('i')} in range({turns}):", *self.block(depth)]
        if self.rng.random() < 0.25:
            leave = self.rng.choice(("break", "continue"))
            lines += indented([f"if {condition(self.body)}:", *indented([leave]), *self.line(2)])
        return lines

    def array(self) -> str:
        name, other = (self.rng.choice([self.source, *self.names]) for _ in range(2))
        forms = [name, name, f"{name} + 1", f"np.copy({name})", f"np.maximum({name}, {other})",
                 f"({name} if {condition(self.body)} else {other})", f"[{name}, {other}][{self.rng.randrange(2)}]"]
        return self.rng.choice(forms if self.plain else [*forms, f"{name}[::-1]", f"{name}[::-1] + 1"])

    def write(self) -> str:
        name, other = (self.rng.choice([self.source, *self.names]) for _ in range(2))
        at = self.rng.randrange(self.length)
        return self.rng.choice((f"{name}[{at}] = {self.rng.randrange(9)}", f"{name}[1:] = {other}[:-1]",
                                f"{name}[...] = {other}", f"np.add({other}, 1, out={name})", f"{name}[:1] *= 2",
                                f"{name} += 1"))
