"""Runs a function through NumPy and through sparsec and compares everything that a caller can see.

`check` calls `make_args` twice, so that both runs own fresh memory with the same aliasing, and compares

- results: structure, container and scalar types, dtypes, shapes, values (bit by bit unless a tolerance is
  given; NaN equals NaN, the sign of zero counts), whether they may be written;
- every argument after the call, and the whole base array behind an argument that is a view;
- memory: which results share memory with which results and arguments, at which offset and strides;
- the class of the exception (after which sparsec, unlike NumPy, leaves every argument as it was), and the
  classes of the warnings.

`SPARSEC_TEST_BACKENDS=interp,cpu` limits the backends; `numpy` names the function itself, uncompiled.
"""

from __future__ import annotations

import builtins
import functools
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

__all__ = [
    "BACKENDS",
    "Difference",
    "Tolerance",
    "backends",
    "check",
    "check_calls",
    "check_refused",
    "compare",
    "ir_text",
    "is_sparsec_error",
    "jit",
]

MakeArgs = Callable[[], tuple[Any, ...]]

BACKENDS = ("interp", "cpu", "opencl")


def backends(*wanted: str) -> list[str]:
    """The backends to test (all, or those of `wanted`), less what the environment leaves out."""
    chosen = os.environ.get("SPARSEC_TEST_BACKENDS", ",".join(BACKENDS)).split(",")
    return [name for name in chosen if name and (name == "numpy" or not wanted or name in wanted)]


class Difference(AssertionError):
    """sparsec did something else than NumPy."""


@dataclass(frozen=True)
class Tolerance:
    """How far floating-point values may be off: all zero means not at all."""

    rtol: float = 0.0
    atol: float = 0.0
    ulp: int = 0

    def __bool__(self) -> bool:
        return bool(self.rtol or self.atol or self.ulp)


# --- the compiler under test: the only place that knows its API ---------------------------------------


def jit(fn: Callable[..., Any], backend: str, **options: Any) -> Callable[..., Any]:
    """`fn` compiled for `backend`."""
    if backend == "numpy":
        return functools.wraps(fn)(lambda *args, **kwargs: fn(*args, **kwargs))
    import sparsec

    return sparsec.jit(fn, backend=backend, **options)


def is_sparsec_error(error: BaseException, *names: str) -> bool:
    """Whether `error` is one of sparsec's (of a class with one of `names`, where any is given)."""
    from sparsec import errors

    if not isinstance(error, errors.SparsecError):
        return False
    return not names or any(isinstance(error, getattr(errors, name)) for name in names)


def ir_text(fn: Callable[..., Any], *args: Any, stage: str = "trace", backend: str = "cpu") -> str:
    """The text of one compilation stage of `fn` for `args`."""
    return jit(fn, backend).lower(*args).as_text(stage)


# --- walking values -----------------------------------------------------------------------------------


def leaves(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Every non-container in `value`, with how to reach it."""
    if isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from leaves(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            yield from leaves(item, f"{path}[{key!r}]")
    else:
        yield path, value


def arrays(value: Any, path: str) -> list[tuple[str, np.ndarray]]:
    return [(where, leaf) for where, leaf in leaves(value, path) if isinstance(leaf, np.ndarray)]


def owner(array: np.ndarray) -> np.ndarray | None:
    """The array at the end of the chain of bases, where it is not `array` itself."""
    found, base = None, array.base
    while base is not None:
        if isinstance(base, np.ndarray):
            found = base
        base = getattr(base, "base", None)
    return found


def shares(one: np.ndarray, other: np.ndarray) -> bool:
    try:
        return np.shares_memory(one, other, max_work=100_000)
    except np.exceptions.TooHardError:
        return np.may_share_memory(one, other)


def placement(array: np.ndarray, reference: np.ndarray) -> tuple[Any, ...]:
    """Where `array` lies, seen from `reference`: offset, and stride of every dim longer than one."""
    offset = array.__array_interface__["data"][0] - reference.__array_interface__["data"][0]
    return offset, tuple(stride for stride, n in zip(array.strides, array.shape) if n > 1)


# --- comparing ----------------------------------------------------------------------------------------


def ulp_distance(got: np.ndarray, want: np.ndarray) -> np.ndarray:
    """Representable numbers between each pair of floats, as float64."""
    width = {2: np.int16, 4: np.int32, 8: np.int64}[want.dtype.itemsize]
    ordered = []
    for array in (got, want):
        bits = np.ascontiguousarray(array).view(width)
        magnitude = (bits & np.iinfo(width).max).astype(np.float64)
        ordered.append(np.where(bits < 0, -magnitude, magnitude))
    return np.abs(ordered[0] - ordered[1])


def same_values(got: np.ndarray, want: np.ndarray, tolerance: Tolerance) -> np.ndarray:
    """Where two arrays of one dtype and shape agree."""
    if want.dtype.kind == "c":
        return same_values(got.real, want.real, tolerance) & same_values(got.imag, want.imag, tolerance)
    if want.dtype.kind != "f":
        return np.asarray(got == want)
    with np.errstate(all="ignore"):
        same = (got == want) & (np.signbit(got) == np.signbit(want))
        same |= np.isnan(got) & np.isnan(want)
        if tolerance:
            finite = np.isfinite(got) & np.isfinite(want)
            near = np.abs(got - want) <= tolerance.atol + tolerance.rtol * np.abs(want)
            if tolerance.ulp:
                native = want.dtype.newbyteorder("=")
                near |= ulp_distance(got.astype(native), want.astype(native)) <= tolerance.ulp
            same |= finite & near
    return np.asarray(same)


def compare(got: Any, want: Any, where: str = "result", tolerance: Tolerance = Tolerance()) -> None:
    """Raises Difference unless `got` is what NumPy gave."""
    if type(got) is not type(want):
        raise Difference(f"{where}: {type(got).__name__} {got!r}, NumPy gives {type(want).__name__} {want!r}")
    if isinstance(want, (tuple, list)):
        if len(got) != len(want):
            raise Difference(f"{where}: {len(got)} items, NumPy gives {len(want)}")
        for index, (one, other) in enumerate(zip(got, want)):
            compare(one, other, f"{where}[{index}]", tolerance)
    elif isinstance(want, dict):
        if list(got) != list(want):
            raise Difference(f"{where}: keys {list(got)}, NumPy gives {list(want)}")
        for key in want:
            compare(got[key], want[key], f"{where}[{key!r}]", tolerance)
    elif isinstance(want, (np.ndarray, np.generic)):
        if got.dtype != want.dtype or got.shape != want.shape:
            raise Difference(
                f"{where}: {got.dtype}{list(got.shape)}, NumPy gives {want.dtype}{list(want.shape)}"
            )
        same = same_values(np.asarray(got), np.asarray(want), tolerance)
        if not same.all():
            at = tuple(int(i) for i in np.argwhere(~same)[0])
            raise Difference(
                f"{where}: {int((~same).sum())} of {same.size} values differ, first at {list(at)}: "
                f"{np.asarray(got)[at]!r}, NumPy gives {np.asarray(want)[at]!r}"
            )
    elif isinstance(want, (float, complex)):
        compare(np.asarray(got), np.asarray(want), where, tolerance)
    elif got != want:
        raise Difference(f"{where}: {got!r}, NumPy gives {want!r}")


@dataclass
class Run:
    """One call and everything that can be seen of it."""

    args: tuple[Any, ...]
    before: list[tuple[str, np.ndarray]] = field(default_factory=list)
    result: Any = None
    error: Exception | None = None
    warned: set[type[Warning]] = field(default_factory=set)

    def memory(self) -> list[tuple[str, np.ndarray]]:
        """The arguments, and what they are views of."""
        found = arrays(self.args, "argument ")
        found += [(f"base of {where}", base) for where, array in found if (base := owner(array)) is not None]
        return found

    def untouched(self) -> bool:
        now = dict(self.memory())
        return all(same_values(now[where], was, Tolerance()).all() for where, was in self.before)


def run(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> Run:
    this = Run(args)
    this.before = [(where, array.copy()) for where, array in this.memory()]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            this.result = fn(*args, **kwargs)
        except Exception as error:
            this.error = error
    this.warned = {warning.category for warning in caught}
    return this


def required_classes(error: BaseException) -> tuple[type, ...]:
    """The Python classes that an error standing for `error` must have: its nearest built-in ancestors."""
    found = [cls for cls in type(error).__mro__ if cls.__module__ == builtins.__name__]
    found = [cls for cls in found if cls not in (Exception, BaseException, object)]
    return tuple(cls for cls in found if not any(cls is not c and issubclass(c, cls) for c in found))


def describe(run: Run) -> str:
    if run.error is None:
        return f"returns {run.result!r}"
    return f"raises {type(run.error).__name__}: {run.error}"


def compare_runs(
    ours: Run,
    numpys: Run,
    *,
    backend: str,
    tolerance: Tolerance = Tolerance(),
    may_refuse: bool | Sequence[str] = False,
    user_error: bool = False,
    check_warnings: bool = True,
    check_memory: bool = True,
) -> None:
    """Raises Difference unless the two runs look the same from outside; see `check`."""
    if ours.error is not None:
        refused = bool(may_refuse) and backend != "numpy"
        if refused and is_sparsec_error(ours.error, *(may_refuse if may_refuse is not True else ())):
            if not ours.untouched():
                raise Difference("the refused call wrote its arguments") from ours.error
            return
        if numpys.error is None:
            raise Difference(f"{describe(ours)}; NumPy {describe(numpys)}") from ours.error
        if backend != "numpy" and not user_error and not is_sparsec_error(ours.error):
            raise Difference(f"{describe(ours)}: not one of sparsec's errors") from ours.error
        for cls in required_classes(numpys.error):
            if not isinstance(ours.error, cls):
                raise Difference(f"{describe(ours)}: no {cls.__name__}; NumPy {describe(numpys)}")
        if ours.untouched():
            return  # NumPy may have written on its way to the error; sparsec has not
        if backend != "numpy":
            raise Difference(f"{describe(ours)}, but wrote its arguments") from ours.error
    elif numpys.error is not None:
        raise Difference(f"{describe(ours)}; NumPy {describe(numpys)}")
    else:
        compare(ours.result, numpys.result, "result", tolerance)

    for (where, got), (_, want) in zip(ours.memory(), numpys.memory(), strict=True):
        compare(got, want, where, tolerance)
    if check_warnings and ours.warned != numpys.warned:
        names = [sorted(cls.__name__ for cls in run.warned) for run in (ours, numpys)]
        raise Difference(f"warns {names[0]}, NumPy {names[1]}")
    if ours.error is None and check_memory:
        compare_memory(ours, numpys)


def compare_memory(ours: Run, numpys: Run) -> None:
    """Which results are views of which arguments and results, where they lie, whether they can be written."""
    got, want = arrays(ours.result, "result"), arrays(numpys.result, "result")
    for (where, one), (_, other) in zip(got, want, strict=True):
        if one.flags.writeable != other.flags.writeable:
            raise Difference(f"{where}: writeable is {one.flags.writeable}, NumPy's {other.flags.writeable}")
    got_all, want_all = got + ours.memory(), want + numpys.memory()
    for i, ((where, one), (_, other)) in enumerate(zip(got, want)):
        for (near, one2), (_, other2) in zip(got_all[i + 1 :], want_all[i + 1 :], strict=True):
            mine, numpy_s = shares(one, one2), shares(other, other2)
            if mine != numpy_s:
                verb = "shares" if mine else "does not share"
                raise Difference(
                    f"{where} {verb} memory with {near}; NumPy's {'does' if numpy_s else 'does not'}"
                )
            if mine and placement(one, one2) != placement(other, other2):
                raise Difference(
                    f"{where} lies at offset, strides {placement(one, one2)} of {near}, "
                    f"NumPy's at {placement(other, other2)}"
                )


# --- entry points -------------------------------------------------------------------------------------


def check_calls(
    fn: Callable[..., Any],
    calls: Sequence[MakeArgs],
    backend: str,
    *,
    rtol: float = 0.0,
    atol: float = 0.0,
    ulp: int = 0,
    kwargs: dict[str, Any] | None = None,
    compiled: Callable[..., Any] | None = None,
    may_refuse: bool | Sequence[str] = False,
    user_error: bool = False,
    check_warnings: bool = True,
    check_memory: bool = True,
    **jit_options: Any,
) -> Callable[..., Any]:
    """One compiled function, called once for each of `calls`, against NumPy; gives the compiled function.

    `may_refuse`: a sparsec error (of one of the classes named) with untouched arguments is right as well.
    `user_error`: the exception is the program's own and arrives as it is. `kwargs` holds no arrays.
    """
    compiled = compiled or jit(fn, backend, **jit_options)
    for number, make_args in enumerate(calls):
        numpys = run(fn, make_args(), kwargs or {})
        ours = run(compiled, make_args(), kwargs or {})
        try:
            compare_runs(
                ours,
                numpys,
                backend=backend,
                tolerance=Tolerance(rtol, atol, ulp),
                may_refuse=may_refuse,
                user_error=user_error,
                check_warnings=check_warnings,
                check_memory=check_memory,
            )
        except Difference as error:
            if len(calls) > 1:
                raise Difference(f"call {number}: {error}") from error
            raise
    return compiled


def check(fn: Callable[..., Any], make_args: MakeArgs, backend: str, **options: Any) -> Callable[..., Any]:
    """`fn(*make_args())` against NumPy; options as for `check_calls`, others go to `sparsec.jit`."""
    return check_calls(fn, [make_args], backend, **options)


def check_refused(
    fn: Callable[..., Any],
    make_args: MakeArgs,
    backend: str,
    *names: str,
    base: type[Exception] = Exception,
    kwargs: dict[str, Any] | None = None,
    **jit_options: Any,
) -> BaseException | None:
    """sparsec must refuse with an error (one of `names`, also a `base`), arguments untouched; returns it.

    On the pseudo-backend `numpy` the call is only made: NumPy may take what sparsec refuses.
    """
    this = run(jit(fn, backend, **jit_options), make_args(), kwargs or {})
    if backend == "numpy":
        return this.error
    if this.error is None:
        raise Difference(f"not refused: {describe(this)}")
    if not is_sparsec_error(this.error, *names) or not isinstance(this.error, base):
        wanted = " or ".join(names) or "SparsecError"
        raise Difference(f"{describe(this)}; expected {wanted}, a {base.__name__}") from this.error
    if not this.untouched():
        raise Difference("the refused call wrote its arguments") from this.error
    return this.error
