"""Evaluates a loop-IR expression on whole arrays at once: what the derived tests check lowerings with.

What the scalar table leaves undefined raises Undefined, in branches of a select that are not taken too: a
backend evaluates both.
"""

import numpy as np

from sparsec.ir.loop_interp import _FUNCTIONS
from sparsec.ir.loops import Apply, Const, Var


class Undefined(Exception):
    pass


def evaluate(expr, env):
    """The value of `expr`, an array, where `env` gives those of the variables by name."""
    with np.errstate(all="ignore"):
        return _value(expr, env, {})


def _value(expr, env, done):
    match expr:
        case Const(value, dtype):
            return np.array(value, dtype)
        case Var(name):
            return env[name]
    if id(expr) not in done:
        done[id(expr)] = _apply(expr, [_value(arg, env, done) for arg in expr.args])
    return done[id(expr)]


def _apply(expr: Apply, args):
    special = _SPECIAL.get(expr.fn)
    if special is not None:
        result = special(expr.dtype, *args)
    else:
        result = _FUNCTIONS[expr.fn](expr.dtype, *args)
    result = np.asarray(result)
    assert result.dtype == expr.dtype, (expr.fn, result.dtype, expr.dtype)
    return result


def _quotient(dtype, x, y):
    _divisible(dtype, x, y)
    quotient = np.asarray(np.floor_divide(x, y))
    inexact = (quotient * y != x) & ((x < 0) != (y < 0))
    return (quotient + inexact.astype(dtype)).astype(dtype)


def _divisible(dtype, x, y):
    overflow = (x == np.iinfo(dtype).min) & (y == -1) if dtype.kind == "i" else np.False_
    if np.any((y == 0) | overflow):
        raise Undefined("division")


def _remainder(dtype, x, y):
    _divisible(dtype, x, y)
    return np.fmod(x, y)


def _shift(ufunc):
    def shift(dtype, x, amount):
        if np.any((amount < 0) | (amount >= 8 * dtype.itemsize)):
            raise Undefined("shift")
        return ufunc(x, amount)

    return shift


def _cast(dtype, x):
    if dtype.kind in "iu" and x.dtype.kind == "f":
        info = np.iinfo(dtype)
        low, high = float(info.min), float(info.max) + (1 if dtype.itemsize < 8 else 0)
        if not np.all((np.trunc(x) >= low) & (x < high)):
            raise Undefined("cast")
    return x != 0 if dtype.kind == "b" else x.astype(dtype)


def _mul(dtype, x, y):
    if dtype.kind != "c":
        return x * y
    return _complex(dtype, x.real * y.real - x.imag * y.imag, x.real * y.imag + x.imag * y.real)


def _complex(dtype, re, im):
    return np.stack(np.broadcast_arrays(re, im), axis=-1).view(dtype)[..., 0]


_SPECIAL = {
    "quo": _quotient, "rem": _remainder, "shl": _shift(np.left_shift), "shr": _shift(np.right_shift),
    "cast": _cast,
    "select": lambda dtype, cond, x, y: np.where(cond, x, y), "mul": _mul, "complex": _complex,
}
