"""`for` and `while` whose trip count is large or known only at run time, traced once into one loop op.

The variables that the body assigns become block arguments, as do the storages that it writes. What kinds
they have is found by tracing: a body is traced again with wider kinds until they are stable.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from sparsec.errors import SparsecError
from sparsec.frontend.aliases import Held, inherit, mark_choice, shared
from sparsec.frontend.array import Traced
from sparsec.frontend.choices import Arrays, Carrier, Choice, alike, choose, maybe, storages_of
from sparsec.frontend.convert import as_bool
from sparsec.frontend.merge import (
    CannotStage,
    Kind,
    Mix,
    fits,
    flexed,
    is_array,
    is_scalar,
    join,
    kind_of,
    same,
    value_as,
    values_as,
    variable,
    varying,
    zeros_of,
)
from sparsec.frontend.mixed import Mixed, truth_of
from sparsec.frontend.mutation import Snapshot
from sparsec.frontend.ranges import TracedRange
from sparsec.frontend.regions import Block, emit_control, version_params
from sparsec.frontend.signals import (
    BROKE,
    GO_ON,
    RETURNED,
    Pending,
    Return,
    ReturnShape,
    Signal,
    code_of,
    codes_of,
    leaves_of,
    return_shape,
    returns,
)
from sparsec.frontend.trace import Conflict, Storage, Trace
from sparsec.frontend.tree import Tree, flatten, leaf_count, packed
from sparsec.frontend.undefined import Undefined
from sparsec.ir.dims import sym
from sparsec.ir.graph import Value
from sparsec.ir.types import BOOL, I64, TensorType

State = tuple[Any, ...]
Flat = list[Any]

_ATTEMPTS = 6


@dataclass
class Variables:
    """The variables that a loop body assigns: their values before, and the kinds of those that are carried.

    A tuple or list of values is carried by its leaves. `used` names those that are read outside the loop. walks: 1
    if the loop goes over something.
    """

    names: Sequence[str]
    before: State
    get: Callable[[], State]
    set: Callable[[State], None]
    used: Sequence[str] = ()
    walks: int = 0
    kinds: list[Kind | None] = field(default_factory=list)
    leaves: Flat = field(default_factory=list)
    trees: list[Tree] = field(default_factory=list)
    same_length: dict[tuple[int, int], tuple[int, int]] = field(default_factory=dict)
    entered: list[Storage | None] = field(default_factory=list)
    known: tuple[int, ...] = ()  # the leaves that are arrays which others can see
    watched: tuple[int, ...] = ()  # these, and those which the loop goes over
    _conflicts: dict[Storage, Conflict | None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.leaves, self.trees = _leaves(self.before)
        self.kinds = [varying(kind_of(x)) if is_scalar(x) else None for x in self.leaves]

    def now(self) -> Variables:
        """The variables as they are now, for a loop that begins here."""
        return Variables(self.names, self.get(), self.get, self.set, self.used, self.walks)

    def differ_from(self, earlier: Variables) -> bool:
        """Whether a variable is of another kind than it was."""
        return self.trees != earlier.trees or any(
            (is_scalar(x) or is_array(x)) != (is_scalar(y) or is_array(y)) or type(x) is not type(y)
            or ((is_scalar(x) or is_array(x)) and varying(kind_of(x)) != varying(kind_of(y)))
            for x, y in zip(self.leaves, earlier.leaves))

    def forget_unused(self, later: Variables) -> None:
        """Takes the values from variables that nobody reads after the loop, if they could not be one with those that
        the turns leave."""
        self.set(tuple(
            x if name in self.used or not _apart(name, x, y) else Undefined(name, "is of another kind after the loop")
            for name, x, y in zip(self.names, self.before, later.before)))

    def look_around(self, trace: Trace) -> None:
        """Notes which arrays others can see, while all variables still are as they were before the loop."""
        self._conflicts = {s: s.conflict for s in trace.live}
        arrays = [(k, x, name) for k, (x, name) in enumerate(zip(self.leaves, self.leaf_names)) if is_array(x)]
        self.known = tuple(k for k, x, name in arrays if shared(x, name, leaving=self.walks))
        self.watched = tuple(k for k, x, name in arrays if shared(x, name))

    def forget(self) -> None:
        """Takes back what a traced body, which is not used, has said about writes to arrays from before the loop."""
        for storage, conflict in self._conflicts.items():
            storage.conflict = conflict

    @property
    def leaf_names(self) -> list[str]:
        """The variable of each leaf."""
        return [n for n, tree in zip(self.names, self.trees) for _ in range(leaf_count(tree))]

    @property
    def types(self) -> list[TensorType]:
        """The types of the carried values."""
        return [t for kind in self.kinds if kind is not None for t in kind.types]

    def initial(self, trace: Trace) -> list[Value]:
        """The carried values before the first turn."""
        return self.values(trace, self.leaves)

    def values(self, trace: Trace, leaves: Flat) -> list[Value]:
        """The carried values of a state."""
        out: list[Value] = []
        for kind, x in zip(self.kinds, leaves):
            if kind is not None:
                out += zeros_of(trace, kind) if isinstance(x, Undefined) else values_as(trace, x, kind)
        return out

    def enter(self, trace: Trace, params: Sequence[Value]) -> None:
        """Sets the variables to the block's arguments."""
        values = iter(params)
        lengths: dict[tuple[int, int], Any] = {}
        made: list[Any] = []
        for k, (before, kind) in enumerate(zip(self.leaves, self.kinds)):
            if kind is None:
                made.append(before)
                continue
            known = {axis: lengths[root] for axis in kind.flexible
                     if (root := self.same_length.get((k, axis), (k, axis))) in lengths}
            made.append(variable(trace, values, kind, known))
            for axis in kind.flexible:
                lengths.setdefault(self.same_length.get((k, axis), (k, axis)), known[axis])
        self.entered = [x.storage if kind is not None and is_array(x) else None for x, kind in zip(made, self.kinds)]
        for k in self.known:
            if (entered := self.entered[k]) is not None:
                entered.maybe = frozenset(storages_of(self.leaves[k]))
        self.set(packed(self.trees, made))

    def widen(self, trace: Trace, after: State, runs_once: bool) -> bool:
        """Adapts the kinds to what a turn left; True if they changed. Raises CannotStage."""
        leaves, trees = _leaves(after)
        if trees != self.trees:
            if not self._made_by_the_body(trees):
                name = next(n for n, a, b in zip(self.names, self.trees, trees) if a != b)
                raise CannotStage(f"`{name}` has another structure after a turn")
            leaves = self._without_inner(after)
        names = self.leaf_names
        kinds = [self._kind(trace, k, names[k], x, runs_once) for k, x in enumerate(leaves)]
        groups = self._lengths(kinds, leaves)
        changed = kinds != self.kinds or groups != self.same_length
        self.kinds, self.same_length = kinds, groups
        return changed

    def _made_by_the_body(self, trees: list[Tree]) -> bool:
        """Whether only variables without a value before have a structure that they did not have."""
        return all(a == b or isinstance(x, Undefined) for x, a, b in zip(self.before, self.trees, trees))

    def _without_inner(self, after: State) -> Flat:
        """The leaves after a turn, containers that the body made left out."""
        seen = tuple(Undefined(n) if isinstance(b, Undefined) and isinstance(x, (tuple, list, dict)) else x
                     for n, b, x in zip(self.names, self.before, after))
        return _leaves(seen)[0]

    def leaves_after(self, after: State) -> Flat:
        """The leaves of what a turn left."""
        leaves, trees = _leaves(after)
        return leaves if trees == self.trees else self._without_inner(after)

    def _lengths(self, kinds: Sequence[Kind | None], after: Flat) -> dict[tuple[int, int], tuple[int, int]]:
        """Which lengths are equal before the loop and after each turn: they go by one name in the body."""
        first: dict[Any, tuple[int, int]] = {}
        found = {}
        for k, kind in enumerate(kinds):
            before, x = self.leaves[k], after[k]
            if kind is None or not is_array(x) or not is_array(before):
                continue
            for axis in kind.flexible:
                key = (before.type.shape[axis], x.type.shape[axis])
                found[k, axis] = first.setdefault(key, (k, axis))
        return {place: root for place, root in found.items() if place != root}

    def _kind(self, trace: Trace, k: int, name: str, after: Any, runs_once: bool) -> Kind | None:
        before, kind = self.leaves[k], self.kinds[k]
        if kind is not None:
            if not (is_scalar(after) or is_array(after)):
                raise CannotStage(f"`{name}` is {type(after).__name__} after a turn")
            # From what it is before: a known number may be all that there is of its kind.
            joined = flexed(trace, join(name, kind_of(before) if is_scalar(before) else kind, kind_of(after)))
            joined = join(name, kind, joined) if isinstance(kind, Mix) else varying(joined)
            if not fits(before, joined):
                raise CannotStage(f"`{name}` is {before} before the loop, which {joined.dtype} cannot hold")
            return joined
        if same(before, after):
            return None
        if isinstance(before, Undefined):
            return self._kind_of_new(trace, name, before, after) if runs_once else None
        if is_array(before) and is_array(after):
            return flexed(trace, join(name, kind_of(before), kind_of(after)))
        raise CannotStage(f"`{name}` is another {type(after).__name__} after each turn")

    def _kind_of_new(self, trace: Trace, name: str, before: Undefined, after: Any) -> Kind | None:
        """Made by the body of a loop that surely runs: handed on if it may be read after the loop."""
        if before.__dict__["why"] or name not in self.used:
            return None
        if is_scalar(after):
            return varying(kind_of(after))
        return flexed(trace, kind_of(after)) if is_array(after) else None

    def kept(self, k: int, after: Flat) -> list[Traced]:
        """The arrays from before the loop, which others can see, that leaf `k` may be after some turns."""
        return [self.leaves[m] for m in self._sources(k, after) if m in self.known]

    def _sources(self, k: int, after: Flat) -> list[int]:
        """The leaves that may have become leaf `k` after some turns."""
        seen: set[int] = set()
        todo = {k}
        while todo:
            last = after[todo.pop()]
            places = (last.storage, *last.storage.maybe) if is_array(last) else ()
            found = {m for m, storage in enumerate(self.entered) if storage is not None and storage in places}
            todo |= found - seen
            seen |= found
        return sorted(seen)

    def written(self, trace: Trace, k: int, after: Flat) -> bool:
        """Whether a turn writes to what may be the array that a leaf was before the loop."""
        users = [m for m in range(len(self.entered)) if m == k or k in self._sources(m, after)]
        entered = {self.entered[m] for m in users} - {None}
        return any(s.written for s in trace.live if not entered.isdisjoint((s, *s.maybe)))

    def replaced(self, after: Flat) -> bool:
        """Whether a leaf is an array that others can see if there is no turn, and another one after each turn."""
        return any(self.kinds[k] is not None and not self.kept(k, after) for k in self.known)

    def _left(self, trace: Trace, k: int, made: Any, after: Flat, ran: Value | bool) -> Any:
        """What a carried leaf is after the loop. ran: whether there was a turn."""
        before = self.leaves[k]
        if is_array(made):
            earlier = [self.leaves[m] for m in {k, *self._sources(k, after)}]
            made.storage.maybe |= {s for x in earlier if is_array(x) for s in maybe(x)}
            inherit(made, after[k])
        kept = self.kept(k, after)
        if k in self.known and ran is not True and not any(x is before for x in kept):
            if isinstance(ran, Value) and not kept and alike(made, before):
                return choose(trace, ran, made, before)
            kept.append(before)
        if kept:
            mark_choice(made, self.leaf_names[k], kept)
            made.storage.maybe |= {s for x in kept for s in storages_of(x)}
        return made

    def leave(self, trace: Trace, results: Sequence[Value], after: Flat, ran: Value | bool, runs_once: bool) -> None:
        """Sets the variables to what the loop leaves. runs_once: there is a turn for certain."""
        values = iter(results)
        final: list[Any] = []
        for k, (name, before, last, kind) in enumerate(zip(self.leaf_names, self.leaves, after, self.kinds)):
            if kind is not None:
                made = variable(trace, values, kind)
                if runs_once and isinstance(kind, Mix) and not isinstance(last, Mixed):
                    made = made.parts[kind.place(last)]  # no longer what it was before
                final.append(self._left(trace, k, made, after, ran))
            elif isinstance(before, Undefined) and not isinstance(last, Undefined):
                final.append(Undefined(name, "is assigned inside a traced loop only"))
            else:
                final.append(before)
        self.set(packed(self.trees, final))


def _apart(name: str, x: Any, y: Any) -> bool:
    """Whether a variable cannot be joined of what it is on two paths."""
    try:
        if all(is_scalar(v) or is_array(v) for v in (x, y)):
            join(name, kind_of(x), kind_of(y))
    except CannotStage:
        return True
    return False


def _leaves(state: State) -> tuple[Flat, list[Tree]]:
    leaves: Flat = []
    trees = [flatten(x, leaves) for x in state]
    return leaves, trees


@dataclass
class Turn:
    """A traced body: its block, the variables after it, its signal."""

    block: Block
    params: list[Value]
    after: Flat
    signal: Signal


def stage_for(
    trace: Trace,
    span: TracedRange,
    body: Callable[[Any], Any],
    variables: Variables,
    functions: Sequence[Callable[..., Any]],
) -> Signal:
    """A loop over a range. functions: the user's, from which a body may reach containers.

    Raises CannotStage, with nothing changed, where no loop op can express it.
    """
    outer, containers = trace.versions(), Snapshot(functions)
    try:
        turn = _stable(
            trace, outer, variables, span.runs_once, lambda block: body(_counter(trace, block, span)), containers
        )
        if codes_of(turn.signal) != {GO_ON} and codes_of(turn.signal) != {2}:
            return _for_as_while(trace, outer, span, body, variables, containers)
        _check_private(trace, turn, variables, outer)
    except (CannotStage, SparsecError):
        undo(trace, outer, variables, containers)
        raise
    storages = turn.block.changed(outer)
    with turn.block.open():
        nexts = _next_values(trace, turn, variables)
    renamed = version_params(turn.block, storages, outer)
    yields = [*nexts, *(turn.block.versions[s] for s in storages)]
    trace.restore(outer)
    ran = _ran(trace, variables, turn, lambda: span.holds(span.start))
    initial = [*variables.initial(trace), *(outer[s] for s in storages)]
    bounds = span.values(trace)
    # Also if nothing is carried: a turn may raise.
    results = emit_control(trace, "for", (*bounds, *initial), [turn.block.finish(yields, renamed)])
    _close(trace, variables, storages, results, turn.after, ran, span.runs_once)
    return None


def _ran(trace: Trace, variables: Variables, turn: Turn, test: Callable[[], Any]) -> Value | bool:
    """Whether there is a turn, where a variable depends on it. test: of the first turn, as the program stands now."""
    if not variables.replaced(turn.after):
        return True
    now = variables.get()
    variables.set(variables.before)
    found = test()
    variables.set(now)
    return found if isinstance(found, bool) else _test_of(trace, found)


def _counter(trace: Trace, block: Block, span: TracedRange) -> Traced:
    """The loop variable: a Python int, known to lie within the range."""
    value = block.params[0] if block.params else None
    assert value is not None
    low, high = span.bounds()
    made = Traced.scalar(trace, value, int)
    made.dim = sym(f"%{value.name}", -1 if high is None else high, -1 if low is None else low)
    return made


def _stable(
    trace: Trace,
    outer: dict[Storage, Value],
    variables: Variables,
    runs_once: bool,
    run: Callable[[Block], Any],
    containers: Snapshot,
    counter: bool = True,
) -> Turn:
    """Traces the body until the kinds of the carried variables no longer change."""
    variables.set(variables.before)
    variables.look_around(trace)
    for _ in range(_ATTEMPTS):
        trace.restore(outer)
        variables.forget()
        block = Block(trace)
        trace.loops += 1
        try:
            with block.open():
                if counter:
                    block.param(Value("", _scalar_type(I64)))
                params = [block.param(Value("", t)) for t in variables.types]
                variables.enter(trace, params)
                signal = run(block)
                after = variables.get()
        finally:
            trace.loops -= 1
        containers.check("it")
        if not variables.widen(trace, after, runs_once):
            return Turn(block, params, variables.leaves_after(after), signal)
    raise CannotStage("the kinds of its variables do not settle")


def _scalar_type(dtype: Any) -> Any:
    from sparsec.ir.types import tensor

    return tensor(dtype)


def _next_values(trace: Trace, turn: Turn, variables: Variables) -> list[Value]:
    return variables.values(trace, turn.after)


def _check_private(trace: Trace, turn: Turn, variables: Variables, outer: dict[Storage, Value]) -> None:
    """A carried array is passed on by value: nobody else may see it change, or change with it."""
    changed = turn.block.changed(outer)
    leaves = zip(variables.leaf_names, variables.kinds, turn.after, variables.leaves)
    for k, (name, kind, after, before) in enumerate(leaves):
        if kind is None or kind.shape is None:
            continue
        assert isinstance(after, Traced)
        if after.storage in outer or isinstance(after.storage, Choice):
            raise CannotStage(f"`{name}` becomes another existing array")
        if after.storage is not None and any(s in after.storage.maybe for s in changed):
            raise CannotStage(f"`{name}` may become another existing array, which is written")
        elsewhere = is_array(before) and any(s in changed for s in storages_of(before))
        if elsewhere or (k in variables.watched and variables.written(trace, k, turn.after)):
            raise CannotStage(f"`{name}` is both written in place and replaced")
        others = [x for m, x in enumerate(turn.after) if m != k and variables.kinds[m] is not None and is_array(x)]
        if any(x.storage is after.storage for x in others):
            raise CannotStage(f"`{name}` shares its elements with another variable after a turn")


def _close(
    trace: Trace, variables: Variables, storages: Sequence[Storage], results: Sequence[Value], after: Flat,
    ran: Value | bool, runs_once: bool,
) -> None:
    count = len(variables.types)
    for storage, version in zip(storages, results[count:]):
        trace.advance(storage, version)
    variables.leave(trace, results[:count], after, ran, runs_once)


def undo(trace: Trace, outer: dict[Storage, Value], variables: Variables, containers: Snapshot) -> None:
    """Everything as it was: versions, variables, containers."""
    trace.restore(outer)
    variables.forget()
    variables.set(variables.before)
    containers.restore()


# --- while, and loops with jumps ---------------------------------------------------------------------------


def stage_while(
    trace: Trace, cond: Callable[[], Any], body: Callable[[], Any], variables: Variables
) -> Signal:
    """A loop on a traced condition. Raises CannotStage, with nothing changed, where no op can express it."""
    outer, containers = trace.versions(), Snapshot([cond, body])
    try:
        return _while(trace, outer, lambda _: cond(), lambda _: body(), variables, None, containers)
    except (CannotStage, SparsecError):
        undo(trace, outer, variables, containers)
        raise


def _for_as_while(
    trace: Trace,
    outer: dict[Storage, Value],
    span: TracedRange,
    body: Callable[[Any], Any],
    variables: Variables,
    containers: Snapshot,
) -> Signal:
    """A loop over a range that may be left early: a `while` that counts."""
    return _while(trace, outer, lambda i: span.holds(i), body, variables, span, containers)


def _while(
    trace: Trace,
    outer: dict[Storage, Value],
    cond: Callable[[Any], Any],
    body: Callable[[Any], Any],
    variables: Variables,
    span: TracedRange | None,
    containers: Snapshot,
) -> Signal:
    """Carried: the counter of a range, the variables, the jump code, the returned leaves, the storages."""
    head = [I64] if span is not None else []

    def run(block: Block) -> Any:
        return body(_counter(trace, block, span) if span is not None else None)

    turn = _stable(trace, outer, variables, False, run, containers, counter=span is not None)
    _check_private(trace, turn, variables, outer)
    codes = codes_of(turn.signal) - {2}
    jumps = bool(codes & {BROKE, RETURNED})
    carrier = Carrier(trace, turn.block, outer)
    shape = _returned(turn, carrier) if returns(turn.signal) else None
    storages = turn.block.changed(outer)
    extra = [Kind(I64)] * jumps + [kind for kind in (shape.traced if shape else ()) if isinstance(kind, Kind)]
    extra += carrier.kinds
    for kind in extra:
        with turn.block.open():
            for type in kind.types:
                turn.block.param(Value("", type))
    with turn.block.open():
        yields = _while_yields(trace, turn, variables, span, jumps, shape)
        yields += [trace.op("copy", value) for value in carrier.values]
    renamed = version_params(turn.block, storages, outer)
    yields += [turn.block.versions[s] for s in storages]
    test_region = _test(trace, outer, cond, variables, head, extra, storages, jumps, span)
    trace.restore(outer)
    ran = _ran(trace, variables, turn, lambda: cond(span.start if span is not None else None))
    initial = [
        *([span.values(trace)[0]] if span is not None else []),
        *variables.initial(trace),
        *(v for k in extra for v in zeros_of(trace, k)),
        *(outer[s] for s in storages),
    ]
    results = emit_control(trace, "while", initial, [test_region, turn.block.finish(yields, renamed)])
    results = results[len(head) :]
    count = len(variables.types)
    width = sum(len(kind.types) for kind in extra)
    rest = results[count:]
    code = rest[0] if jumps else None
    own = width - len(carrier.values)
    leaves, carried = iter(rest[int(jumps) : own]), rest[own:width]
    _close(trace, variables, storages, (*results[:count], *rest[width:]), turn.after, ran,
           span is not None and span.runs_once)
    value = None if shape is None else shape.build([
        variable(trace, leaves, kind) if isinstance(kind, Kind) else kind.builds[0](carried) for kind in shape.traced
    ])
    return None if code is None else Pending(Traced.scalar(trace, code, int), codes_of(turn.signal) | {GO_ON}, value)


def _while_yields(
    trace: Trace,
    turn: Turn,
    variables: Variables,
    span: TracedRange | None,
    jumps: bool,
    shape: ReturnShape | None,
) -> list[Value]:
    out: list[Value] = []
    if span is not None:
        out.append(trace.op("add", turn.block.params[0], span.values(trace)[2]))
    out += _next_values(trace, turn, variables)
    if jumps:
        out.append(value_as(trace, code_of(turn.signal), Kind(I64)))
    if shape is not None:
        assert isinstance(turn.signal, (Return, Pending))
        for leaf, kind in zip(leaves_of(turn.signal.value, shape), shape.traced):
            if isinstance(kind, Kind):
                out += values_as(trace, leaf, kind)
    return out


def _returned(turn: Turn, carrier: Carrier) -> ReturnShape:
    """The form of what a turn returns. Arrays that others can see are handed on as what they are."""
    assert isinstance(turn.signal, (Return, Pending))
    held = Held(turn.signal.value, carrier.outer)

    def by_reference(column: Sequence[Any]) -> Arrays | None:
        (x,) = column
        if any(s in carrier.outer for own in storages_of(x) for s in own.maybe):
            raise CannotStage("it returns an array that may be the one from before the loop")
        return None if held.private(x, "") else Arrays((carrier.add(x),))

    return return_shape([turn.signal.value], by_reference)


def _test(
    trace: Trace,
    outer: dict[Storage, Value],
    cond: Callable[[Any], Any],
    variables: Variables,
    head: list[Any],
    extra: Sequence[Kind],
    storages: Sequence[Storage],
    jumps: bool,
    span: TracedRange | None,
) -> Any:
    """The region that decides whether another turn is made."""
    trace.restore(outer)
    block, of_the_body = Block(trace), variables.entered
    trace.loops += 1
    try:
        with block.open():
            for dtype in head:
                block.param(Value("", _scalar_type(dtype)))
            params = [block.param(Value("", t)) for t in variables.types]
            more = [block.param(Value("", t)) for kind in extra for t in kind.types]
            variables.enter(trace, params)
            index = Traced.scalar(trace, block.params[0], int) if head else None
            result = cond(index)
            test = _test_of(trace, result)
            if jumps:
                left = [trace.op("equal", more[0], trace.const(c, I64)) for c in (BROKE, RETURNED)]
                stays = trace.op("logical_not", trace.op("logical_or", *left))
                test = trace.op("logical_and", test, stays)
    finally:
        trace.loops -= 1
        variables.entered = of_the_body
    if block.changed(outer):
        raise CannotStage("its condition writes an array")
    renamed = version_params(block, storages, outer)
    return block.finish([test], renamed)


def _test_of(trace: Trace, x: Any) -> Value:
    """The truth of a condition's result."""
    if isinstance(x, Mixed):
        return truth_of(x)
    if isinstance(x, Traced):
        return as_bool(trace, x.as_scalar().value)
    return trace.const(bool(x), BOOL)
