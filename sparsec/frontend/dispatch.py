"""Which function of ours computes a NumPy function on traced arrays.

    @implements(np.roll)
    def roll(a, shift, axis=None): ...

Rules have NumPy's own signature and use traced arrays as NumPy code uses arrays, so most are short programs
over a few primitive ones. Families live in `numpy_api/`; importing that package fills the table.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from sparsec.errors import SparsecError, UnsupportedError
from sparsec.frontend.array import Traced
from sparsec.frontend.locate import user_loc
from sparsec.frontend.mixed import Mixed, any_mixed, decide, dtype_of, replaced, settled, without_mixed_ints

Rule = Callable[..., Any]

#: NumPy function -> rule.
TABLE: dict[Any, Rule] = {}
#: Functions that make arrays: under tracing they always make traced ones, even from static arguments.
CREATORS: set[Any] = set()
#: Method name of `np.ndarray` -> rule (self first).
METHODS: dict[str, Rule] = {}
#: Class of NumPy's objects that are subscripted (`np.r_[…]`) -> rule (object, key).
SUBSCRIPTS: dict[type, Rule] = {}


def implements(*functions: Any, method: str | None = None, creates: bool = False) -> Callable[[Rule], Rule]:
    """Registers a rule for NumPy functions, and for an array method of that name.

    creates: the function makes an array from static arguments (`np.zeros`).
    """

    def add(rule: Rule) -> Rule:
        for function in functions:
            TABLE[function] = rule
            if creates:
                CREATORS.add(function)
        if method is not None:
            METHODS[method] = rule
        return rule

    return add


def method(*names: str) -> Callable[[Rule], Rule]:
    """Registers a rule for array methods only."""

    def add(rule: Rule) -> Rule:
        METHODS.update(dict.fromkeys(names, rule))
        return rule

    return add


def lookup(function: Any) -> Rule | None:
    """The rule for a NumPy function, or None."""
    try:
        return TABLE.get(function)
    except TypeError:  # unhashable callables are nobody's NumPy function
        return None


def apply(name: str, rule: Rule, /, *args: Any, **kwargs: Any) -> Any:
    """Calls a rule. Raises UnsupportedError where it needs a length as a number that only the run will know."""
    if (mixed := any_mixed((*args, *kwargs.values()))) is not None:
        return _on_mixed(name, rule, args, kwargs, mixed)
    try:
        return rule(*args, **kwargs)
    except TypeError as error:
        words = str(error)
        if isinstance(error, SparsecError) or not ("Poly" in words or "symbolic dims" in words):
            raise
        raise UnsupportedError(
            f"{name} of an array whose length is known only at run time is not supported", loc=user_loc(),
            hint="select with np.where instead of a mask, which keeps the length",
        ) from error


#: Functions that take lengths or distances, and in which position: the type of these integers does not matter.
_LENGTHS = {"np.zeros": 0, "np.ones": 0, "np.empty": 0, "np.reshape": 1, "ndarray.reshape": 1, "np.roll": 1,
            "np.repeat": 1, "np.tile": 1}


def _on_mixed(name: str, rule: Rule, args: tuple[Any, ...], kwargs: dict[str, Any], mixed: Mixed) -> Any:
    """A call with a scalar that is Python's or NumPy's, as the run decides: settled where that is all the same."""
    first = _LENGTHS.get(name, len(args))
    whole = (*args[:first], *without_mixed_ints(args[first : first + 1]), *args[first + 1 :])
    if any_mixed(whole) is not any_mixed(args):
        return apply(name, rule, *whole, **kwargs)
    dtypes = {dtype_of(p) for p in mixed.parts}
    alone = all(x is mixed or not isinstance(x, (Traced, np.ndarray, np.generic, tuple, list))
                for x in (*args, *kwargs.values()))
    if len(dtypes) == 1 and alone and (value := settled(mixed, *dtypes)) is not None:
        one = Traced.scalar(mixed.trace, value)
        return apply(name, rule, *replaced(args, mixed, one), **replaced(kwargs, mixed, one))
    return decide(mixed, lambda p: apply(name, rule, *replaced(args, mixed, p), **replaced(kwargs, mixed, p)))


def call_numpy(function: Any, args: Iterable[Any], kwargs: dict[str, Any]) -> Any:
    """`__array_function__` for traced arguments. Raises UnsupportedError naming what has no rule."""
    rule = lookup(function)
    if rule is None:
        raise unsupported(function)
    return apply(qualified_name(function), rule, *args, **kwargs)


def unsupported(function: Any) -> UnsupportedError:
    """The error for a NumPy function that sparsec does not know."""
    return UnsupportedError(f"{qualified_name(function)} is not supported", loc=user_loc(),
                            hint="`sparsec ops` lists what is")


def qualified_name(function: Any) -> str:
    """`np.linalg.svd` for NumPy's functions."""
    name = getattr(function, "__name__", repr(function))
    module = getattr(function, "__module__", None) or ("numpy" if isinstance(function, np.ufunc) else "")
    return f"{module}.{name}".replace("numpy", "np", 1).lstrip(".")


def holds_traced(value: Any) -> bool:
    """Whether a (nested) argument contains a traced array."""
    if isinstance(value, Traced):
        return True
    if isinstance(value, (tuple, list)):
        return any(holds_traced(v) for v in value)
    if isinstance(value, dict):
        return any(holds_traced(v) for v in value.values())
    return isinstance(value, slice) and holds_traced((value.start, value.stop, value.step))


def holds_array(value: Any) -> bool:
    """Whether a (nested) argument contains a traced array or an ndarray."""
    if isinstance(value, (Traced, np.ndarray)):
        return True
    if isinstance(value, (tuple, list)):
        return any(holds_array(v) for v in value)
    return isinstance(value, dict) and any(holds_array(v) for v in value.values())
