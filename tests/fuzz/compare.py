"""One run of a program, and whether two runs look the same from outside.

Seen are: the result's structure, types, dtypes, shapes and values; the arguments' whole buffers; where in
which buffer each returned array lies and which of them overlap; whether it may be written; the exception.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tests.fuzz.alarm import DoesNotEnd, ends_within
from tests.fuzz.recipe import Recipe
from tests.programs.harness import (
    Difference,
    Tolerance,
    is_sparsec_error,
    leaves,
    required_classes,
    same_values,
)

#: For values that carry rounding: what a few ULP of float32 may become after a product or two.
LOOSE = Tolerance(rtol=2e-5, atol=1e-6)
EXACT = Tolerance()
#: A typed refusal: sparsec says that it cannot, which is not wrong but must be rare.
REFUSALS = ("UnsupportedError", "UnsupportedDtype", "AliasError", "ArgumentError", "ConcretizationError",
            "SourceError", "DeviceError", "DeviceNotFound")


@dataclass
class Run:
    """A call and what became of it. `before` is what the buffers held."""

    args: tuple[Any, ...]
    roots: list[np.ndarray]
    result: Any = None
    error: BaseException | None = None
    before: list[np.ndarray] | None = None

    def untouched(self) -> bool:
        return self.before is not None and all(
            same_values(now, was, EXACT).all() for now, was in zip(self.roots, self.before))


def run(function: Callable[..., Any], recipe: Recipe) -> Run:
    args, roots = recipe.build()
    this = Run(args, roots, before=[r.copy() for r in roots])
    try:
        with ends_within():
            this.result = function(*args)
    except (Exception, DoesNotEnd) as error:
        this.error = error.with_traceback(None)
    return this


def refusal(error: BaseException | None) -> str:
    """Why sparsec refused, with what varies from program to program taken out; "" for every other outcome."""
    if error is None or not is_sparsec_error(error, *REFUSALS):
        return ""
    message = str(getattr(error, "message", error)).split("\n")[0]
    message = re.sub(r"%[\w.]+|\[[^]]*\]|\([^)]*\)|\d+", "#", message)
    return f"{type(error).__name__}: {message}"


def compare_runs(ours: Run, numpys: Run, inexact: bool) -> None:
    """Raises Difference unless both runs look the same."""
    if ours.error is not None:
        _compare_errors(ours, numpys)
        if ours.untouched():
            return  # NumPy may have written on its way to the error
    elif numpys.error is not None:
        raise Difference(f"result: {_short(ours.result)}, NumPy raises {_named(numpys.error)}")
    else:
        compare_values(ours.result, numpys.result, "result", LOOSE if inexact else EXACT)
    for k, (got, want) in enumerate(zip(ours.roots, numpys.roots)):
        compare_values(got, want, f"buffer {k}", LOOSE if inexact else EXACT)
    if ours.error is None:
        compare_places(ours, numpys)


def _compare_errors(ours: Run, numpys: Run) -> None:
    assert ours.error is not None
    if numpys.error is None:
        raise Difference(f"error: {_named(ours.error)}, NumPy returns {_short(numpys.result)}")
    missing = [c for c in required_classes(numpys.error) if not isinstance(ours.error, c)]
    if missing:
        raise Difference(f"error: {_named(ours.error)}, NumPy raises {_named(numpys.error)}")
    if not is_sparsec_error(ours.error) and type(ours.error) is not type(numpys.error):
        raise Difference(f"error: {_named(ours.error)} is not sparsec's, NumPy raises {_named(numpys.error)}")


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) < 100 else text[:97] + "..."


def compare_values(got: Any, want: Any, where: str, tolerance: Tolerance) -> None:
    if type(got) is not type(want):
        raise Difference(f"type: {where} is {type(got).__name__} {_short(got)}, "
                         f"NumPy's {type(want).__name__} {_short(want)}")
    if isinstance(want, (tuple, list, dict)):
        if len(got) != len(want) or (isinstance(want, dict) and list(got) != list(want)):
            raise Difference(f"structure: {where} is {_short(got)}, NumPy's {_short(want)}")
        for key in want if isinstance(want, dict) else range(len(want)):
            compare_values(got[key], want[key], f"{where}[{key!r}]", tolerance)
        return
    if isinstance(want, (np.ndarray, np.generic, float, complex)):
        one, other = np.asarray(got), np.asarray(want)
        if one.dtype != other.dtype or one.shape != other.shape:
            raise Difference(f"dtype: {where} is {one.dtype}{list(one.shape)}, "
                             f"NumPy's {other.dtype}{list(other.shape)}")
        same = same_values(one, other, tolerance)
        if not same.all():
            at = tuple(int(i) for i in np.argwhere(~same)[0])
            raise Difference(f"value: {where}, {int((~same).sum())} of {same.size} differ, "
                             f"first at {list(at)}: {one[at]!r}, NumPy's {other[at]!r}")
    elif got != want:
        raise Difference(f"value: {where} is {got!r}, NumPy's {want!r}")


# --- memory -----------------------------------------------------------------------------------------------


def _address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def _place(array: np.ndarray, roots: list[np.ndarray]) -> tuple[Any, ...]:
    """(root, byte offset, strides of dims longer than 1); root -1 is memory of the call's own."""
    strides = tuple(s for s, d in zip(array.strides, array.shape) if d > 1)
    at = _address(array)
    for k, root in enumerate(roots):
        if _address(root) <= at < _address(root) + root.nbytes:
            return k, at - _address(root), strides
    return -1, 0, strides


def compare_places(ours: Run, numpys: Run) -> None:
    """Sharing, strides, writability and identity of returned arrays."""
    got = [(w, x) for w, x in leaves(ours.result, "result") if isinstance(x, np.ndarray)]
    want = [(w, x) for w, x in leaves(numpys.result, "result") if isinstance(x, np.ndarray)]
    for (where, one), (_, other) in zip(got, want):
        if one.flags.writeable != other.flags.writeable:
            raise Difference(f"writeable: {where} {one.flags.writeable}, NumPy's {other.flags.writeable}")
        if other.size:
            mine, numpy_s = _place(one, ours.roots), _place(other, numpys.roots)
            if mine != numpy_s:
                what = "sharing" if mine[0] != numpy_s[0] else "layout"
                raise Difference(f"{what}: {where} lies at (buffer, byte, strides) {mine}, NumPy's {numpy_s}")
    for i, (where, one) in enumerate(got):
        for j in range(i):
            _compare_pair(where, one, got[j], want[i][1], want[j][1])


def _compare_pair(where: str, one: np.ndarray, near: tuple[str, np.ndarray], other: np.ndarray,
                  other_near: np.ndarray) -> None:
    if not one.size or not near[1].size:
        return
    mine, numpy_s = np.may_share_memory(one, near[1]), np.may_share_memory(other, other_near)
    if mine != numpy_s:
        raise Difference(f"sharing: {where} and {near[0]} {'overlap' if mine else 'are apart'}, NumPy's do "
                         f"{'' if numpy_s else 'not'}")
    if mine and _address(one) - _address(near[1]) != _address(other) - _address(other_near):
        raise Difference(f"layout: {where} lies elsewhere in {near[0]} than NumPy's")
    if (one is near[1]) != (other is other_near):
        raise Difference(f"identity: {where} is {'' if one is near[1] else 'not '}{near[0]}, "
                         "NumPy's otherwise")
