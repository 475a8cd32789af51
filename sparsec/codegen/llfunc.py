"""LLVM functions written by hand: a few words for memory, branches and loops, each of which writes its text.

    f = Function("i64", "sum", [("ptr", "table"), ("i64", "count")])
    total = f.variable("i64", "0")
    with f.loop("%count") as k:
        total.set(f.add(total.get(), f.load("i64", f.row("%table", k, 1))))
    f.ret(total.get())
    text = f.text()

A value is the text of an operand. A block that has ended (`ret`, `jump`) may be followed by nothing.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

__all__ = ["Function", "Variable", "module_text"]


@dataclass(frozen=True, slots=True)
class Variable:
    """A place on the stack; LLVM makes it a register."""

    owner: Function
    type: str
    place: str

    def get(self) -> str:
        return self.owner.load(self.type, self.place)

    def set(self, value: str) -> None:
        self.owner.store(self.type, value, self.place)


class Function:
    """One function under construction."""

    def __init__(self, returns: str, name: str, params: Sequence[tuple[str, str]], *, internal: bool = True) -> None:
        self.name = name
        self._head = f"define {'internal ' if internal else ''}{returns} @{name}(" + ", ".join(
            f"{t} %{n}" for t, n in params) + ") nounwind {"
        self._returns = returns
        self._stack: list[str] = []  # allocas, in the entry block
        self._lines: list[str] = []
        self._count = 0
        self._ended = False
        self.declared: dict[str, str] = {}  # what it calls: declarations by name

    def text(self) -> str:
        end = [] if self._ended else ["  unreachable"]
        return "\n".join([self._head, "entry:", *self._stack, *self._lines, *end, "}"])

    # --- values ---

    def op(self, text: str) -> str:
        """An instruction with a result."""
        name = self._fresh("%v")
        self._lines.append(f"  {name} = {text}")
        return name

    def _fresh(self, stem: str) -> str:
        self._count += 1
        return f"{stem}{self._count}"

    def add(self, a: str | int, b: str | int) -> str:
        return self.op(f"add i64 {a}, {b}")

    def sub(self, a: str | int, b: str | int) -> str:
        return self.op(f"sub i64 {a}, {b}")

    def both(self, a: str, b: str) -> str:
        return self.op(f"and i1 {a}, {b}")

    def either(self, a: str, b: str) -> str:
        return self.op(f"or i1 {a}, {b}")

    def compare(self, how: str, type: str, a: str | int, b: str | int) -> str:
        return self.op(f"icmp {how} {type} {a}, {b}")

    def is_null(self, pointer: str) -> str:
        return self.compare("eq", "ptr", pointer, "null")

    def address(self, pointer: str) -> str:
        return self.op(f"ptrtoint ptr {pointer} to i64")

    # --- memory ---

    def at(self, base: str, offset: str | int) -> str:
        """`base` plus bytes."""
        return base if offset == 0 else self.op(f"getelementptr i8, ptr {base}, i64 {offset}")

    def row(self, table: str, number: str | int, words: int) -> str:
        """Row `number` of a table whose rows have so many words."""
        return self.op(f"getelementptr [{words} x i64], ptr {table}, i64 {number}")

    def load(self, type: str, base: str, offset: str | int = 0) -> str:
        return self.op(f"load {type}, ptr {self.at(base, offset)}, align {4 if type == 'i32' else 8}")

    def word(self, base: str, number: int, type: str = "i64") -> str:
        """Word `number` of a row or record."""
        return self.load(type, base, 8 * number)

    def item(self, table: str, number: str | int, type: str = "ptr") -> str:
        """Word `number` of a table of single words."""
        return self.load(type, self.row(table, number, 1))

    def set_item(self, value: str, table: str, number: str | int, type: str = "ptr") -> None:
        self.store(type, value, self.row(table, number, 1))

    def store(self, type: str, value: str | int, base: str, offset: str | int = 0) -> None:
        self._lines.append(f"  store {type} {value}, ptr {self.at(base, offset)}, "
                           f"align {4 if type == 'i32' else 8}")

    def variable(self, type: str, start: str | int | None = None) -> Variable:
        made = Variable(self, type, self.array(type, 1))
        if start is not None:
            made.set(str(start))
        return made

    def array(self, type: str, count: int) -> str:
        """Uninitialised memory that lives as long as the call."""
        name = self._fresh("%s")
        self._stack.append(f"  {name} = alloca [{count} x {type}], align 16")
        return name

    # --- memory that other threads use: all in one order that every thread sees ---

    def peek(self, type: str, place: str) -> str:
        return self.op(f"load atomic {type}, ptr {place} seq_cst, align {4 if type == 'i32' else 8}")

    def poke(self, type: str, value: str | int, place: str) -> None:
        self._lines.append(f"  store atomic {type} {value}, ptr {place} seq_cst, align {4 if type == 'i32' else 8}")

    def fetch(self, how: str, type: str, place: str, value: str | int) -> str:
        """Changes memory by `add`, `sub`, `and`, `or`, `umin`; gives what was there before."""
        return self.op(f"atomicrmw {how} ptr {place}, {type} {value} seq_cst")

    def replaced(self, type: str, place: str, old: str | int, new: str | int) -> str:
        """Puts `new` in the place of `old`; whether that was there."""
        pair = self.op(f"cmpxchg ptr {place}, {type} {old}, {type} {new} seq_cst seq_cst")
        return self.op(f"extractvalue {{ {type}, i1 }} {pair}, 1")

    # --- calls ---

    def call(self, returns: str, name: str, *args: tuple[str, str | int]) -> str:
        """Calls a function of this module or, if none has the name, an outside one."""
        shown = ", ".join(f"{t} {v}" for t, v in args)
        self.declared.setdefault(name, f"declare {returns} @{name}({', '.join(t for t, _ in args)})")
        if returns == "void":
            self._lines.append(f"  call void @{name}({shown})")
            return ""
        return self.op(f"call {returns} @{name}({shown})")

    def call_at(self, returns: str, pointer: str, *args: tuple[str, str | int]) -> str:
        """Calls an address."""
        return self.op(f"call {returns} {pointer}({', '.join(f'{t} {v}' for t, v in args)})")

    # --- control ---

    def ret(self, value: str | int | None = None) -> None:
        self._end(f"ret {self._returns}" + (f" {value}" if value is not None else ""))

    def jump(self, label: str) -> None:
        self._end(f"br label %{label}")

    def label(self, stem: str = "b") -> str:
        return self._fresh(stem)

    def begin(self, label: str) -> None:
        """Starts a block; the one before flows into it."""
        if not self._ended:
            self.jump(label)
        self._lines.append(f"{label}:")
        self._ended = False

    def _end(self, text: str) -> None:
        self._lines.append(f"  {text}")
        self._ended = True

    def branch(self, condition: str, then: str, otherwise: str) -> None:
        self._end(f"br i1 {condition}, label %{then}, label %{otherwise}")

    def jump_if(self, condition: str, label: str) -> None:
        """Jumps if the condition holds, else goes on."""
        after = self.label()
        self.branch(condition, label, after)
        self.begin(after)

    def jump_unless(self, condition: str, label: str) -> None:
        """Jumps if the condition does not hold, else goes on."""
        after = self.label()
        self.branch(condition, after, label)
        self.begin(after)

    @contextmanager
    def when(self, condition: str) -> Iterator[None]:
        """The block runs if the condition holds."""
        then, after = self.label(), self.label()
        self.branch(condition, then, after)
        self.begin(then)
        yield
        self.begin(after)

    @contextmanager
    def unless(self, condition: str) -> Iterator[None]:
        """The block runs if the condition does not hold."""
        otherwise, after = self.label(), self.label()
        self.branch(condition, after, otherwise)
        self.begin(otherwise)
        yield
        self.begin(after)

    @contextmanager
    def forever(self) -> Iterator[str]:
        """Again and again, until the block branches to the label that it gets, which stands behind the loop."""
        head, after = self.label(), self.label()
        self.begin(head)
        yield after
        if not self._ended:
            self.jump(head)
        self.begin(after)

    @contextmanager
    def loop(self, count: str | int) -> Iterator[str]:
        """From 0 to count-1."""
        k = self.variable("i64", 0)
        head, body, after = self.label(), self.label(), self.label()
        self.begin(head)
        now = k.get()
        self.branch(self.compare("slt", "i64", now, count), body, after)
        self.begin(body)
        yield now
        if not self._ended:
            k.set(self.add(now, 1))
            self.jump(head)
        self.begin(after)

    def switch(self, value: str, cases: Sequence[tuple[int, str]], default: str) -> None:
        """Jumps to the label of the case."""
        rows = " ".join(f"i64 {n}, label %{label}" for n, label in cases)
        self._end(f"switch i64 {value}, label %{default} [ {rows} ]")


def module_text(globals: Sequence[str], functions: Sequence[Function]) -> str:
    """A module of these functions, with declarations of what they call and is not among them."""
    own = {f.name for f in functions}
    outside = {line for f in functions for name, line in f.declared.items() if name not in own}
    return "\n\n".join(["\n".join(globals), *(f.text() for f in functions), "\n".join(sorted(outside))]) + "\n"
