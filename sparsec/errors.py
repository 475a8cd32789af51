"""Every error that sparsec raises, and the user's source location that each one carries.

A class here derives from `SparsecError` and, where Python has a class that fits, from that class too, so
that `except IndexError` keeps working when a function moves from NumPy to sparsec. Raise the narrowest one.
"""

from __future__ import annotations

import linecache
from dataclasses import dataclass, field

import numpy as np


@dataclass(frozen=True, slots=True)
class Loc:
    """A place in the user's source: file, 1-based line, 0-based column span (`col < 0`: unknown).

    `source` is the line itself, for text that is in no file.
    """

    file: str
    line: int
    col: int = -1
    end_col: int = -1
    source: str = field(default="", compare=False, repr=False)

    def __str__(self) -> str:
        return f"{self.file}:{self.line}"

    def show(self) -> str:
        """The source line with a caret under the expression; empty if the source is not at hand."""
        text = self.source or linecache.getline(self.file, self.line).rstrip("\n")
        if not text.strip():
            return ""
        shown = text.expandtabs(4)
        if self.col < 0:
            return f"    {shown.strip()}"
        # AST columns count UTF-8 bytes; carets count characters.
        raw = text.encode()
        start = len(raw[: self.col].decode(errors="replace").expandtabs(4))
        end = max(self.end_col, self.col + 1)
        stop = len(raw[:end].decode(errors="replace").expandtabs(4))
        stop = min(max(stop, start + 1), max(len(shown), start + 1))
        indent = len(shown) - len(shown.lstrip())
        return f"    {shown.lstrip()}\n    {' ' * (start - indent)}{'^' * (stop - start)}"


class SparsecError(Exception):
    """Base of all. `code` is stable and searchable; `loc` is the user's line; `hint` says what to do."""

    code = "SP000"

    def __init__(self, message: str, *, loc: Loc | None = None, hint: str = "") -> None:
        super().__init__(message)
        self.message, self.loc, self.hint = message, loc, hint

    def __str__(self) -> str:
        lines = [f"[{self.code}] {self.message}"]
        if self.loc is not None:
            lines.append(f"  at {self.loc}")
            lines.extend(filter(None, [self.loc.show()]))
        if self.hint:
            lines.append(f"  help: {self.hint}")
        return "\n".join(lines)


class ConfigError(SparsecError, ValueError):
    """A switch (environment variable or option) has a value it cannot have."""

    code = "SP001"


class ParseError(SparsecError, ValueError):
    """IR text or a type spec that does not follow the grammar; `loc` names the line and column."""

    code = "SP010"


class VerifyError(SparsecError, ValueError):
    """An IR that breaks a structural rule, an op's rule, or the form that a pass needs."""

    code = "SP011"


class CompileError(SparsecError, RuntimeError):
    """A code generator refused what it was given: a defect of sparsec, never of the user's program."""

    code = "SP012"


class InterpreterError(SparsecError, RuntimeError):
    """Loops that do what the loop IR leaves undefined (an element out of bounds, a division by zero)."""

    code = "SP013"


class CheckFailed(Exception):
    """An interpreter's `check` op met False. The caller makes it the error of its kind, with the line."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind, self.message = kind, message


class UnsupportedError(SparsecError, NotImplementedError):
    """A NumPy function, argument or Python construct that sparsec cannot compile (yet)."""

    code = "SP020"


class UnsupportedDtype(SparsecError, TypeError):
    """A dtype outside bool, integers, floats and complex64/128, or one that this op or device lacks."""

    code = "SP021"


class DTypeError(SparsecError, TypeError):
    """NumPy refuses these operand types (`-` on bool, a cast that `same_kind` forbids, …)."""

    code = "SP022"


class ArgumentError(SparsecError, TypeError):
    """An argument that a compiled function cannot take (array subclass, unhashable static, …)."""

    code = "SP023"


class ShapeError(SparsecError, ValueError):
    """Shapes that do not fit together, or a value that NumPy refuses with ValueError."""

    code = "SP024"


class IndexOutOfRange(SparsecError, IndexError):
    """An index outside its axis, found while tracing or while running; nothing was written."""

    code = "SP025"


class AxisOutOfRange(IndexOutOfRange, np.exceptions.AxisError):
    """An axis number that the array does not have."""

    code = "SP029"


class LinAlgFailed(ShapeError, np.linalg.LinAlgError):
    """A matrix that is not square, singular, or not positive definite."""

    code = "SP044"


class ValueOverflow(SparsecError, OverflowError):
    """A Python integer that the array's dtype cannot hold (NEP 50)."""

    code = "SP026"


class ReadOnlyError(SparsecError, ValueError):
    """A write to a read-only array, or to a broadcast view; nothing was written."""

    code = "SP027"


class AliasError(SparsecError, ValueError):
    """Arguments that overlap in a way that one storage cannot express (different dtypes, say)."""

    code = "SP028"


class ConcretizationError(SparsecError, TypeError):
    """Python needs a concrete value (`if`, `int()`, a shape) where the program has a traced one."""

    code = "SP030"


class LeakedTracer(SparsecError, RuntimeError):
    """A traced array used after its trace ended, or inside another trace."""

    code = "SP031"


class SourceError(SparsecError, TypeError):
    """The source of a function cannot be staged (no source, or a construct with no meaning here)."""

    code = "SP032"


class OutOfMemory(SparsecError, MemoryError):
    """A plan or an array that does not fit in memory, or in the limit that the user set."""

    code = "SP040"


class DeviceNotFound(SparsecError, RuntimeError):
    """No OpenCL device of the kind asked for."""

    code = "SP050"


class DeviceError(SparsecError, RuntimeError):
    """An OpenCL device that failed, or that lacks what a kernel needs (fp64, say)."""

    code = "SP051"


class ChannelError(SparsecError, ValueError):
    """A channel index that is none (unsorted, repeated, out of range, of the wrong length, more live channels
    than the cap), or data that does not fit it."""

    code = "SP060"


class WeightError(SparsecError, ValueError):
    """A sparse weight whose parts do not fit together, or a way of pruning that a weight does not allow."""

    code = "SP061"


class DivisionByZero(SparsecError, ZeroDivisionError):
    """A Python number divided by a traced zero."""

    code = "SP041"


class AssertionFailed(SparsecError, AssertionError):
    """An `assert` of the program about run-time values that does not hold."""

    code = "SP042"


class ProgramError(SparsecError, RuntimeError):
    """A RuntimeError of the program's own, raised where run-time values say so."""

    code = "SP043"


class AttributeMissing(SparsecError, AttributeError):
    """An attribute that an array or number lacks (which of Python's or NumPy's it is, run-time values may decide)."""

    code = "SP045"


#: What a failed check of a program raises, by its kind.
FAILURES: dict[str, type[SparsecError]] = {
    "index": IndexOutOfRange, "value": ShapeError, "overflow": ValueOverflow, "zero-division": DivisionByZero,
    "assertion": AssertionFailed, "memory": OutOfMemory, "runtime": ProgramError, "type": DTypeError,
    "axis": AxisOutOfRange, "read-only": ReadOnlyError, "linalg": LinAlgFailed,
    "attribute": AttributeMissing,
}

#: What NumPy says of an array with more bytes than can be counted.
TOO_BIG = "array is too big; `arr.size * arr.dtype.itemsize` is larger than the maximum possible size."

#: Which sparsec class carries a Python exception that NumPy raised about shapes, types or indexes.
_WRAPPERS: tuple[tuple[type[Exception], type[SparsecError]], ...] = (
    (IndexError, IndexOutOfRange),
    (OverflowError, ValueOverflow),
    (ZeroDivisionError, DivisionByZero),
    (np.linalg.LinAlgError, LinAlgFailed),
    (MemoryError, OutOfMemory),
    (TypeError, DTypeError),
    (ValueError, ShapeError),
)


def wrap(error: Exception, loc: Loc | None = None) -> SparsecError | None:
    """The sparsec error that carries `error`, or None where none fits (the caller then re-raises)."""
    if isinstance(error, SparsecError):
        return error
    if isinstance(error, IndexError) and isinstance(error, ValueError):
        return AxisOutOfRange(str(error), loc=loc)
    for python_class, ours in _WRAPPERS:
        if isinstance(error, python_class):
            return ours(str(error), loc=loc)
    return None
