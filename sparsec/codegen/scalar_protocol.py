"""What a backend must be able to write: the protocol between the one walk over loop IR and the builders.

A builder knows its language and nothing of the loop IR's scoping or legality; `emit.py` asks for one thing at
a time and hands back what it was given. `V` is whatever the builder calls a value: a register, a piece of
text. Bodies are passed as functions, to be called where the text of the body belongs.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar

from sparsec.ir.loops import Buffer, For
from sparsec.ir.types import DType

__all__ = ["ARITH", "BITS", "COMPARE", "MATH", "Builder"]

V = TypeVar("V")

#: The scalar functions by the builder method that writes them; the others have a method of their own name.
ARITH = frozenset(("add", "sub", "mul", "div", "quo", "rem", "fmod", "neg", "abs", "min", "max"))
BITS = frozenset(("and", "or", "xor", "not", "shl", "shr"))
COMPARE = frozenset(("eq", "ne", "lt", "le", "gt", "ge"))
MATH = frozenset((
    "sqrt", "floor", "ceil", "trunc", "rint", "copysign", "exp", "exp2", "expm1", "log", "log2", "log10",
    "log1p", "sin", "cos", "tan", "asin", "acos", "atan", "sinh", "cosh", "tanh", "asinh", "acosh", "atanh",
    "cbrt", "pow", "atan2", "hypot", "nextafter", "fma",
))  # fmt: skip


class Builder(Protocol[V]):
    """Writes one kernel, or the host body. Scalars first, then names, memory, control and effects."""

    def const(self, value: Any, dtype: DType) -> V: ...

    def arith(self, fn: str, args: Sequence[V], dtype: DType, *, wraps: bool) -> V:
        """`wraps` False: an index computation, which is known not to overflow."""

    def bits(self, fn: str, args: Sequence[V], dtype: DType) -> V: ...

    def compare(self, fn: str, x: V, y: V, dtype: DType) -> V:
        """`dtype` is the operands'."""

    def select(self, cond: V, x: V, y: V, dtype: DType) -> V: ...

    def cast(self, x: V, source: DType, dtype: DType) -> V: ...

    def bitcast(self, x: V, source: DType, dtype: DType) -> V: ...

    def math(self, fn: str, args: Sequence[V], dtype: DType) -> V: ...

    def let(self, name: str, value: V, dtype: DType) -> V:
        """A name for a value that is used more than once."""

    def mut(self, name: str, value: V, dtype: DType) -> V:
        """A scalar that changes; the result is for `get` and `assign` only."""

    def get(self, place: V, dtype: DType) -> V: ...

    def assign(self, place: V, value: V, dtype: DType) -> None: ...

    def load(self, buffer: Buffer, index: V, dtype: DType) -> V: ...

    def store(self, buffer: Buffer, index: V, value: V, dtype: DType) -> None: ...

    def alloc(self, buffer: Buffer) -> None: ...

    def loop(self, loop: For, start: V, stop: V, body: Callable[[V], None]) -> None: ...

    def while_(self, cond: Callable[[], V], body: Callable[[], None]) -> None: ...

    def if_(self, cond: V, then: Callable[[], None], orelse: Callable[[], None] | None) -> None: ...

    def fail(self, code: int) -> None: ...

    def note(self, flag: int) -> None: ...

    def prefetch(self, buffer: Buffer, index: V) -> None: ...

    def extern(
        self, name: str, buffers: Sequence[tuple[Buffer, V]], args: Sequence[V], dtype: DType
    ) -> None: ...

    def launch(self, kernel: str, buffers: Sequence[Buffer], scalars: Sequence[V]) -> None: ...

    def reserve(self, buffer: Buffer, nbytes: V, code: int) -> None: ...
