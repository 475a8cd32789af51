"""Bugs about ranks, sizes, strides, alignment and dtypes: faults 21 to 35."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from sparsec.codegen.llvm_builder import LlvmBuilder
from sparsec.frontend import arguments, spec, specialisation, ufunc_reduce, ufuncs
from sparsec.frontend.arguments import Arguments, Binder, Static
from sparsec.frontend.indexing import keys, read, views, write
from sparsec.ir.tensorref import contiguous_strides
from sparsec.ir.types import is_supported
from tests.faults.bugs import VALUES, bug


def misread(plant: Any, wrong: Any) -> None:
    """Lets sparsec see an argument that does not lie in C order as `wrong` says."""
    seen = spec._spec
    plant.setattr(spec, "_spec", lambda array, *rest: wrong(seen(array, *rest)))


@bug("an element of an array is an array, not a scalar", 21, shows="ndarray .*NumPy gives float64")
def _(plant):
    for module in (read, write):
        plant.setattr(module, "has_ellipsis", lambda key: True)


@bug("the maximum of nothing is 0", 22, shows="NumPy raises ValueError")
def _(plant):
    exact = ufunc_reduce._empty_value

    def wrong(trace: Any, ufunc: np.ufunc, start: Any, loop: Any) -> Any:
        return trace.const(0, loop) if ufunc.identity is None else exact(trace, ufunc, start, loop)

    plant.setattr(ufunc_reduce, "_empty_value", wrong)


@bug("the product of nothing is 0", 22)
def _(plant):
    plant.setattr(ufunc_reduce, "_empty_value", lambda trace, ufunc, start, loop: trace.const(0, loop))


@bug("an empty slice has an element", 23, shows="NumPy gives float64.0.")
def _(plant):
    exact = views.slice_range

    def wrong(trace: Any, part: slice, dim: Any) -> Any:
        first, count, step = exact(trace, part, dim)
        return (first, 1, step) if count == 0 and dim else (first, count, step)

    plant.setattr(views, "slice_range", wrong)


@bug("an array that runs backwards is read forwards", 24)
def _(plant):
    add = spec._add_one
    plant.setattr(spec, "_add_one", lambda trace, s, name: add(
        trace, replace(s, strides=tuple(map(abs, s.strides)), offset=0), name))


@bug("strides are not asked for", 25, 26)
def _(plant):
    misread(plant, lambda s: replace(s, strides=contiguous_strides(s.shape)))


@bug("every array is taken for an aligned one", 27, shows="assumes alignment")
def _(plant):
    made = spec._spec, spec._lone
    plant.setattr(spec, "_spec", lambda *args: replace(made[0](*args), aligned=True))
    plant.setattr(spec, "_lone", lambda *args: replace(made[1](*args), aligned=True))


@bug("the byte order is not looked at", 28)
def _(plant):
    plant.setattr(spec, "is_supported", lambda dtype: is_supported(dtype.newbyteorder("=")))
    misread(plant, lambda s: replace(s, dtype=np.dtype(s.dtype).newbyteorder("=").str))
    lone = spec._lone
    plant.setattr(spec, "_lone", lambda *args: replace(
        lone(*args), dtype=np.dtype(lone(*args).dtype).newbyteorder("=").str))


@bug("a date is taken for the integer behind it", 30, shows="not refused")
def _(plant):
    bind = Binder.bind

    def integers(self: Any, args: Any, kwargs: Any) -> Any:
        args = tuple(a.view("i8") if isinstance(a, np.ndarray) and a.dtype.kind in "mM" else a for a in args)
        return bind(self, args, kwargs)

    plant.setattr(Binder, "bind", integers)


@bug("rarer floats become float64", 31, shows="values differ|NumPy gives")
def _(plant):
    bind = Binder.bind

    def doubles(self: Any, args: Any, kwargs: Any) -> Any:
        args = tuple(a.astype("f8") if isinstance(a, np.ndarray) and a.dtype.char in "ge" else a for a in args)
        return bind(self, args, kwargs)

    plant.setattr(Binder, "bind", doubles)


@bug("an array subclass is taken as a plain array", 32, shows="not refused|NumPy gives|values differ")
def _(plant):
    bind = Binder.bind

    def plain(self: Any, args: Any, kwargs: Any) -> Any:
        return bind(self, tuple(np.asarray(a) if isinstance(a, np.ndarray) else a for a in args), kwargs)

    plant.setattr(Binder, "bind", plain)


@bug("the number of axes is not limited", 33, shows="not one of sparsec's errors|NumPy raises")
def _(plant):
    for module in (spec, keys, ufuncs):
        plant.setattr(module, "MAX_RANK", 1000)


@bug("elements are counted in 31 bits", 34, shows="assert")
def _(plant):
    load = LlvmBuilder.load

    def narrow(self: Any, buffer: Any, index: str, dtype: Any) -> str:
        return load(self, buffer, self.op(f"and i64 {index}, {2**31 - 1}"), dtype)

    plant.setattr(LlvmBuilder, "load", narrow)


@bug("memory that cannot be had is NumPy's own error", 34, shows="expected|is_sparsec_error")
def _(plant):
    plant.setattr(specialisation, "allocate", np.empty)


def blur_key(plant: Any, blur: Any) -> None:
    """Makes specialisations that differ only in what `blur` takes out of the arrays' specs one."""
    made = Arguments.__init__

    def forgetful(self: Any, *args: Any) -> None:
        made(self, *args)
        tree, kinds, specs = self.key
        self.key = (tree, kinds, tuple(map(blur, specs)))

    plant.setattr(Arguments, "__init__", forgetful)


@bug("the key has the item size in the place of the dtype", 35, shows=f"{VALUES}|NumPy gives")
def _(plant):
    blur_key(plant, lambda s: replace(s, dtype=s.dtype[2:]))


@bug("the key has the size in the place of the shape", 35, shows=f"{VALUES}|NumPy gives")
def _(plant):
    blur_key(plant, lambda s: replace(s, shape=(int(np.prod(s.shape)),), strides=()))


@bug("the key takes 2, 2.0 and True for one", 35, shows="NumPy gives")
def _(plant):
    plant.setattr(Static, "__eq__", lambda self, other: self.value == other.value)
    plant.setattr(Static, "__hash__", lambda self: hash(self.value))
    plant.setattr(arguments, "Static", Static)
