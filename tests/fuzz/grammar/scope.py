"""What a program has computed so far. Every statement is run by NumPy as soon as it is drawn.

So the grammar knows each variable's dtype, shape and value; a statement that NumPy refuses is drawn again.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np

from tests.fuzz.meaning import NAMES, meant

MAX_ELEMENTS = 400
#: Python ints beyond these are another matter (tests of their own): they outgrow 64 bits.
MAX_INT = 1 << 40
#: What a line says before another whose meaning has to be checked in each turn of a loop: no part of programs.
CHECK = "_fuzz_check"
#: Numbers and finite elements up to here make float sums and products exact in any order.
_EXACT = 256


class Rejected(Exception):
    """This statement cannot be made here; draw another."""


class Scope:
    """Variables by name, and the statements that made them.

    `twice`: the program will also be called with other values, so nothing may rely on the values seen.
    `inexact`: roots and names whose values carry rounding that NumPy and sparsec need not share.
    """

    def __init__(self, rng: Random, values: dict[str, Any], twice: bool) -> None:
        self.rng, self.twice = rng, twice
        self.space: dict[str, Any] = {"np": np, CHECK: _check, **NAMES, **values}
        self.names = list(values)
        self.chunks: list[str] = []
        self.helpers: list[str] = []
        self.only_returned: list[str] = []
        self.attempt = ""  # the statement that NumPy refused last
        self._count = 0
        self._inexact: list[Any] = []

    # --- variables ---

    def fresh(self, prefix: str = "v") -> str:
        self._count += 1
        return f"{prefix}{self._count}"

    def pick(self, wanted: Callable[[Any], bool] = lambda x: True, exact: bool = True) -> str:
        """A variable; later ones are likelier. Raises Rejected where none fits."""
        found = [n for n in self.names if wanted(self.space[n]) and not (exact and self.is_inexact(n))]
        if not found:
            raise Rejected
        if len(found) > 2 and self.rng.random() < 0.4:
            found = found[-2:]
        return self.rng.choice(found)

    def pick_array(self, wanted: Callable[[np.ndarray], bool] = lambda x: True, exact: bool = True) -> str:
        return self.pick(lambda x: isinstance(x, np.ndarray) and wanted(x), exact)

    def value(self, text: str) -> Any:
        """The value of an expression now. Raises what NumPy raises."""
        return eval(text, self.space)

    # --- exactness ---

    def is_inexact(self, name: str) -> bool:
        if not self._inexact:
            return False
        value = self.space[name]
        mark = root(value) if isinstance(value, np.ndarray) else name
        return any(mark is m or (type(m) is type(mark) is str and mark == m) for m in self._inexact)

    def is_inexact_value(self, value: Any) -> bool:
        return any(value is self.space[n] and self.is_inexact(n) for n in self.names)

    def mark_inexact(self, name: str) -> None:
        value = self.space[name]
        self._inexact.append(root(value) if isinstance(value, np.ndarray) else name)

    @property
    def any_inexact(self) -> bool:
        return bool(self._inexact)

    # --- statements ---

    def add(self, text: str, *made: str) -> None:
        """Runs a statement and keeps it; `made` are the variables that it defines. Raises what NumPy does, or
        Rejected; a statement of several lines has not happened then."""
        self.attempt = self.without_checks(text)
        undo = self._undo() if "\n" in text else lambda: None
        try:
            exec(meant(text), self.space)
            for name in made:
                _check_variable(self.space[name])
        except Rejected:
            self.attempt = ""
            undo()
            raise
        except Exception:
            undo()
            raise
        self.chunks.append(self.attempt)
        self.attempt = ""
        self.names.extend(n for n in made if n not in self.names)

    def define(self, code: str) -> None:
        """Makes a function known to the statements that follow; it is no part of the program yet."""
        exec(meant(code), self.space)

    @staticmethod
    def without_checks(text: str) -> str:
        return "\n".join(line for line in text.split("\n") if not line.lstrip().startswith(CHECK))

    def _undo(self) -> Callable[[], None]:
        """Puts variables and memory back to what they are now."""
        space = dict(self.space)
        roots = {id(r): r for x in space.values() if isinstance(x, np.ndarray) for r in (root(x),)}
        kept = [(r, r.copy()) for r in roots.values() if r.flags.writeable]

        def undo() -> None:
            self.space.clear()
            self.space.update(space)
            for array, before in kept:
                array[...] = before

        return undo


def _check_variable(value: Any) -> None:
    """Raises Rejected for what a program may not hold."""
    if isinstance(value, np.ndarray) and (value.size > MAX_ELEMENTS or value.ndim > 6):
        raise Rejected
    if not isinstance(value, (np.ndarray, np.generic, int, float, complex)) or not _supported(value):
        raise Rejected
    if isinstance(value, int) and abs(value) > MAX_INT:
        raise Rejected


def _check(test: str, value: Any) -> None:
    """Raises Rejected where a value is not what the next line needs."""
    if not {"exact_sum": exact_sum, "one_zero": one_zero, "laid_out_alike": laid_out_alike,
            "apart": apart}[test](value):
        raise Rejected


def _supported(value: Any) -> bool:
    dtype = getattr(value, "dtype", None)
    return dtype is None or (dtype.kind in "biufc" and dtype.char not in "gGe")


def root(array: np.ndarray) -> Any:
    """The array that owns the memory."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def exact_sum(x: Any) -> bool:
    """Whether the finite elements add up exactly in every order."""
    x = np.asarray(x)
    if x.dtype.kind not in "fc":
        return True
    parts = x.reshape(-1).view(f"f{x.itemsize // 2}") if x.dtype.kind == "c" else x
    finite = parts[np.isfinite(parts)]
    return bool((np.abs(finite) <= _EXACT).all() and (finite * 8 == np.trunc(finite * 8)).all())


def exact_product(x: Any) -> bool:
    """Whether products of elements are exact and their zeros have one sign."""
    x = np.asarray(x)
    if x.dtype.kind not in "fc":
        return True
    if x.dtype.kind == "c" or x.size > 60 or not np.isfinite(x).all():
        return False
    return bool((np.abs(x) <= 2).all() and (x == np.trunc(x)).all())


def one_zero(*operands: Any) -> bool:
    """Whether there are no zeros of both signs: NumPy's order of them depends on the loop it takes."""
    seen = set()
    for x in operands:
        x = np.asarray(x)
        if x.dtype.kind == "c":
            return False
        if x.dtype.kind == "f":
            seen |= set(np.signbit(x[x == 0]).tolist())
        else:
            seen |= {False} if (x == 0).any() else set()
    return len(seen) < 2


def tied_zeros(x: Any, y: Any) -> bool:
    """Whether somewhere one operand is 0.0 and the other -0.0: NumPy's maximum depends on its loop."""
    if np.asarray(x).dtype.kind not in "fc" and np.asarray(y).dtype.kind not in "fc":
        return False
    return bool(((x == 0) & (y == 0) & (np.signbit(x * 1.0) != np.signbit(y * 1.0))).any())


def laid_out_alike(pair: tuple[Any, Any]) -> bool:
    """Whether two new arrays of one shape have the same memory order."""
    x, y = pair
    return all(s == t for s, t, d in zip(x.strides, y.strides, x.shape) if d > 1)


def apart(pair: tuple[Any, Any]) -> bool:
    """Whether two arrays of one shape are one object, or do not lie at the same place."""
    x, y = pair
    return x is y or x.strides != y.strides or x.__array_interface__["data"] != y.__array_interface__["data"]


def fits_cast(x: Any, dtype: Any) -> bool:
    """Whether NumPy's conversion of these values does not depend on the loop it takes (see the op `cast`)."""
    x, dtype = np.asarray(x), np.dtype(dtype)
    if x.dtype.kind not in "fc" or dtype.kind not in "iu":
        return True
    x = x.real
    info = np.iinfo(dtype)
    return bool((np.isfinite(x) & (x > info.min - 1.0) & (x < float(info.max))).all())
