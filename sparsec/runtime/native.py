"""Where Python and NumPy keep the fields that the native half of a call reads, and the objects it is put into.

    class Jitted(CallTarget): ...        an object with room for a native call function and its table
    enable(Jitted)                       lets Python use that function; False where it cannot
    load(Jitted, make_text, ...)         compiles it, or takes it from the cache
    attach(jitted, table)                from here on, calls are tried against the table's records first

Nothing is taken on trust: each field is compared with what Python says about a known object, in an order in
which no wrong guess can be followed. Where one differs (another interpreter, a later Python), calls stay in
Python: slower, and the same otherwise.
"""

from __future__ import annotations

import ctypes
import os
import sys
import sysconfig
from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from sparsec.ir.call_record import Layout
from sparsec.runtime.locks import ForkLock

__all__ = ["CallTarget", "address_of", "attach", "detach", "enable", "layout_of", "load", "scalar_in_place",
           "symbols"]

_WORD = 8
_HEAD = object.__basicsize__

# Py_TPFLAGS_*: what PyType_FromSpec is asked for.
_DEFAULT, _BASETYPE, _VECTORCALL = 1 << 18, 1 << 10, 1 << 11
# Slots and member types of the stable ABI.
_TP_CALL, _TP_MEMBERS, _T_PYSSIZET, _READONLY = 50, 72, 19, 1

# Of PyTypeObject.
_TP_VECTORCALL_OFFSET, _TP_FLAGS = 56, 168


def _word(address: int) -> int:
    return ctypes.c_size_t.from_address(address).value


def _supported() -> bool:
    """Whether this interpreter is one whose objects may have the layout that is then looked for."""
    return (
        sys.implementation.name == "cpython"
        and sys.version_info[:2] < (3, 15)
        and os.name == "posix"
        and ctypes.sizeof(ctypes.c_void_p) == _WORD
        and not sysconfig.get_config_var("Py_GIL_DISABLED")
        and not sysconfig.get_config_var("Py_DEBUG")
        and _HEAD == 16
    )


class _Member(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("type", ctypes.c_int), ("offset", ctypes.c_ssize_t),
                ("flags", ctypes.c_int), ("doc", ctypes.c_char_p))


class _Slot(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_int), ("function", ctypes.c_void_p))


class _Spec(ctypes.Structure):
    _fields_ = (("name", ctypes.c_char_p), ("basicsize", ctypes.c_int), ("itemsize", ctypes.c_int),
                ("flags", ctypes.c_uint), ("slots", ctypes.c_void_p))


_kept: list[Any] = []  # what C keeps pointers to


def _vectorcall_base() -> type:
    """A type with one word for a vectorcall function, which is null at first."""
    if not _supported():
        return object
    api = ctypes.pythonapi
    members = (_Member * 2)(_Member(b"__vectorcalloffset__", _T_PYSSIZET, _HEAD, _READONLY, None))
    call = ctypes.cast(api.PyVectorcall_Call, ctypes.c_void_p).value
    slots = (_Slot * 3)(_Slot(_TP_MEMBERS, ctypes.addressof(members)), _Slot(_TP_CALL, call))
    spec = _Spec(b"sparsec.runtime.native.VectorcallBase", _HEAD + _WORD, 0, _DEFAULT | _BASETYPE | _VECTORCALL,
                 ctypes.addressof(slots))
    _kept.extend((members, slots, spec))
    make = ctypes.PYFUNCTYPE(ctypes.py_object, ctypes.c_void_p)(("PyType_FromSpec", api))
    made: type = make(ctypes.addressof(spec))
    return made


if TYPE_CHECKING:
    _Base = object
else:
    _Base = _vectorcall_base()


class CallTarget(_Base):
    """An object that is called: in Python (`__call__`) until a native function is attached to it."""

    __slots__ = ("_table",)
    _table: tuple[Any, ...]


@cache
def enable(cls: type) -> bool:
    """Lets Python look for a native function in objects of this subclass of `CallTarget`.

    A class with a `__call__` in Python does not inherit that by itself. As long as an object's own function is
    null, Python calls `__call__` as ever.
    """
    if _Base is object or not issubclass(cls, CallTarget):
        return False
    flags = ctypes.c_ulong.from_address(id(cls) + _TP_FLAGS)
    if flags.value != cls.__flags__ or _word(id(cls) + _TP_VECTORCALL_OFFSET) != _HEAD:
        return False
    flags.value |= _VECTORCALL
    return bool(cls.__flags__ & _VECTORCALL)


# --- fields ------------------------------------------------------------------------------------------------


class _NoMatch(Exception):
    pass


def _expect(condition: bool) -> None:
    if not condition:
        raise _NoMatch


@cache
def layout_of(cls: type) -> Layout | None:
    """The fields of this process's objects, and of the table in objects of `cls`; None where one is not found."""
    if not enable(cls):
        return None
    try:
        return Layout(type=_type_offset(), **_array_offsets(), number=_number_offset(), **_tuple_offsets(),
                       cell=_cell_offset(), table=_table_offset(cls))
    except _NoMatch:
        return None


def _type_offset() -> int:
    probe = np.empty(1)
    _expect(_word(id(probe) + 8) == id(np.ndarray) and _word(id(1.5) + 8) == id(float))
    return 8


def _array_offsets() -> dict[str, int]:
    base = np.arange(30, dtype=np.int16).reshape(2, 3, 5)
    for probe in (base[:, ::-1, ::2], np.ones((4, 1), np.float32), np.zeros(())):
        here = id(probe)
        _expect(np.ndarray.__basicsize__ >= 72)
        _expect(_word(here + 16) == probe.__array_interface__["data"][0])
        _expect(ctypes.c_int.from_address(here + 24).value == probe.ndim)
        _expect(_word(here + 56) == id(probe.dtype))
        _expect(_word(here + 48) == (0 if probe.base is None else id(probe.base)))
        _expect(ctypes.c_int.from_address(here + 64).value & 0xFFFF == probe.flags.num & 0xFFFF)
        if probe.ndim:  # by now it is an array, whose dims and strides are pointers
            for offset, wanted in ((32, probe.shape), (40, probe.strides)):
                _expect(_word(here + offset) != 0)
                seen = (ctypes.c_ssize_t * probe.ndim).from_address(_word(here + offset))
                _expect(tuple(seen) == wanted)
    return {"data": 16, "rank": 24, "dims": 32, "strides": 40, "descr": 56, "flags": 64}


def _address_of() -> Callable[[np.ndarray], int]:
    """The fastest way to an array's data pointer."""
    if _Base is not object:
        try:
            offset = _array_offsets()["data"]
        except _NoMatch:
            pass
        else:
            read = ctypes.c_size_t.from_address
            return lambda array: read(id(array) + offset).value
    return lambda array: int(array.__array_interface__["data"][0])


def _number_offset() -> int:
    for value in (1.25, -3e300):
        _expect(ctypes.c_double.from_address(id(value) + _HEAD).value == value)
    pair = 1.5 - 2.25j
    _expect(tuple((ctypes.c_double * 2).from_address(id(pair) + _HEAD)) == (1.5, -2.25))
    return _HEAD


@cache
def scalar_in_place(kind: Any) -> bool:
    """Whether a NumPy scalar of this class keeps its value right behind its head."""
    try:
        dtype = np.dtype(kind)
        size = dtype.itemsize
        for pattern in (b"\x01", b"\x00") if dtype.kind == "b" else (bytes(range(1, size + 1)), b"\x7e" * size):
            probe = np.frombuffer(pattern, dtype)[0]
            if type(probe) is not kind or kind.__basicsize__ < _HEAD + size:
                return False
            if ctypes.string_at(id(probe) + _HEAD, size) != pattern:
                return False
    except (TypeError, ValueError):
        return False
    return True


def _tuple_offsets() -> dict[str, int]:
    first, second = object(), object()
    probe = (first, second, first)
    _expect(_word(id(probe) + 16) == 3)
    for items in (24, 32):  # a later Python keeps the hash in between
        if items + 3 * _WORD <= sys.getsizeof(probe) and (
                [_word(id(probe) + items + _WORD * k) for k in range(3)] == [id(x) for x in probe]):
            return {"size": 16, "items": items}
    raise _NoMatch


def _cell_offset() -> int:
    import types

    content = object()
    cell = types.CellType(content)
    _expect(_word(id(cell) + 16) == id(content))
    return 16


def _table_offset(cls: type) -> int:
    mark = (object(),)
    probe: Any = object.__new__(cls)
    probe._table = mark
    places = range(_HEAD + _WORD, cls.__basicsize__, _WORD)
    found = [p for p in places if _word(id(probe) + p) == id(mark)]
    _expect(len(found) == 1 and _word(id(probe) + _HEAD) == 0)
    return found[0]


#: The address of an array's first element.
address_of = _address_of()

# --- functions ---------------------------------------------------------------------------------------------

_PYTHON = (
    "PyBool_FromLong", "PyCapsule_GetPointer", "PyCapsule_New", "PyComplex_FromDoubles", "PyContextVar_Get",
    "PyDict_GetItemWithError", "PyDict_New",
    "PyDict_Next", "PyDict_SetItem", "PyDict_Size", "PyErr_Clear", "PyErr_NoMemory", "PyEval_RestoreThread",
    "PyEval_SaveThread", "PyFloat_FromDouble", "PyList_GetItem", "PyList_New", "PyList_SetItem",
    "PyList_Size", "PyLong_FromLongLong", "PyObject_CallOneArg", "PyObject_GetAttr", "PyObject_GetItem",
    "PyObject_RichCompareBool", "PyObject_VectorcallMethod", "PyTuple_New", "PyTuple_SetItem", "PyTuple_Size",
    "Py_DecRef", "Py_IncRef",
)  # fmt: skip

# Positions in NumPy's table of functions, which NumPy 2 keeps as they are.
_NUMPY = {"PyArray_Scalar": 60, "PyArray_NewCopy": 85, "PyArray_NewFromDescr": 94, "PyArray_SetBaseObject": 282,
          "PyDataMem_SetHandler": 304}
_ARRAY_TYPE, _ABI_VERSION, _ABI = 2, 0, 0x2000000


@lru_cache(maxsize=1)
def symbols() -> dict[str, int] | None:
    """Addresses by the names that the native half uses; None where one is missing."""
    try:
        api = ctypes.pythonapi
        found = {f"sparsec_{name}": _address(getattr(api, name)) for name in _PYTHON}
        found.update({f"sparsec_{name}": address for name, address in _numpy_functions().items()})
        c = ctypes.CDLL(None)
        names = ("malloc", "free", "posix_memalign", "madvise")
        found |= {f"sparsec_{name}": _address(getattr(c, name)) for name in names}
        name = sys.intern("__call__")
        _kept.append(name)
        found |= {"sparsec_array_type": id(np.ndarray), "sparsec_call_name": id(name)}
        return found if all(found.values()) else None
    except (AttributeError, OSError, ImportError, _NoMatch):
        return None


def _address(function: Any) -> int:
    return ctypes.cast(function, ctypes.c_void_p).value or 0


def _numpy_functions() -> dict[str, int]:
    from numpy._core import _multiarray_umath  # type: ignore[attr-defined]

    pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi))
    table = pointer(_multiarray_umath._ARRAY_API, None)
    _expect(bool(table))
    _expect(_word(table + _WORD * _ARRAY_TYPE) == id(np.ndarray))
    version = ctypes.PYFUNCTYPE(ctypes.c_uint)(_word(table + _WORD * _ABI_VERSION))
    _expect(version() == _ABI)
    return {name: _word(table + _WORD * place) for name, place in _NUMPY.items()}


# --- the function itself -----------------------------------------------------------------------------------

_lock = ForkLock()
_loaded: dict[type, int] = {}


def load(cls: type, make_text: Callable[[Layout], str], name: str, compiled: Callable[[str], bytes]) -> int:
    """The address of the native call function for objects of `cls`; 0 where there can be none.

    make_text: its LLVM text for this layout. compiled: the object code of a text, from a cache if it has it.
    It is made once, and stays until the process ends: an object may be called when little else is left.
    """
    with _lock:
        if cls not in _loaded:
            _loaded[cls] = _load(cls, make_text, name, compiled)
        return _loaded[cls]


def _load(cls: type, make_text: Callable[[Layout], str], name: str, compiled: Callable[[str], bytes]) -> int:
    from sparsec.runtime.cpu import CpuExecutable

    fields, names = layout_of(cls), symbols()
    if fields is None or names is None:
        return 0
    text = make_text(fields)
    made = CpuExecutable([compiled(text)], names, entry=name)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(made))
    return made.address


def attach(target: CallTarget, table: Sequence[Any], function: int) -> None:
    """Puts a table into an object: a tuple whose first item is the array of its records' addresses."""
    target._table = tuple(table)
    ctypes.c_size_t.from_address(id(target) + _HEAD).value = function


def detach(target: CallTarget) -> None:
    """Takes the table away: the object is called in Python again."""
    if hasattr(target, "_table"):
        del target._table
