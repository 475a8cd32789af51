"""The record that describes one specialisation to the native half of a call, as tables of 64-bit words.

`codegen.stub` writes the code that reads records, `frontend.fastcall` fills them in, and `runtime.native` finds the
`Layout` of Python's and NumPy's objects. A record is a `Record`-shaped table; the tables that it points to have rows
of `WORDS`. Objects are held by whoever made the record.

    guards    what the trace read from outside: the same objects must still be there
    checks    what each value must be; a value is a positional argument, a captured array, an item of a container
              or an attribute of an object
    pairs     arrays that must not meet, or must lie at a fixed distance
    params    where the pointers of the compiled function come from
    results   the arrays, or scratch words, that it fills
    steps     a stack machine that makes the returned object

A size that only the call knows is an amount: a table of terms whose values are multiplied and added up. Each value is
the integer that one of the compiled function's pointers points to.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

__all__ = ["AMOUNT_WORDS", "ANY", "CONTIGUOUS", "LARGE_BYTES", "MAX_FACTORS", "MAX_LEAVES", "MAX_POINTERS",
           "MAX_RANK", "MAX_VALUES", "SCRATCH_BYTES", "TERM_WORDS", "WORDS", "WRITEABLE", "Check", "Guard", "Layout",
           "Pair", "Param", "Record", "Result", "Step"]

#: Sizes of the tables that a call keeps on the stack.
MAX_VALUES, MAX_POINTERS, MAX_LEAVES, MAX_RANK = 512, 256, 32, 64

#: Values that a term of an amount may multiply.
MAX_FACTORS = 4

#: Bytes for a scalar result, or for the words of an `ir.block`.
SCRATCH_BYTES = 16

#: Results of at least so many bytes get memory that is kept (`codegen.result_memory`); the C library keeps less.
LARGE_BYTES = 1 << 17

#: A stride that does not matter, since its axis has at most one element; a size that another check is about.
ANY = -(1 << 63)

#: Words in a row of a table of amounts (number of terms, terms), and of terms (factor, number of pointers, pointers,
#: each as its number, or as ~number where what is negative counts as 0).
AMOUNT_WORDS, TERM_WORDS = 2, 2 + MAX_FACTORS

#: NumPy's flags of an array.
CONTIGUOUS, WRITEABLE = 0x0001, 0x0400


@dataclass(frozen=True, slots=True)
class Layout:
    """Byte offsets of the fields that are read: of any object, of NumPy's arrays, of numbers, tuples and cells,
    and of the table in a jitted function."""

    type: int
    data: int
    rank: int
    dims: int
    strides: int
    descr: int
    flags: int
    number: int
    size: int
    items: int
    cell: int
    table: int


class Record(IntEnum):
    """Positions in a record. A table is its address and its number of rows."""

    ARGUMENTS = 0  # how many positional arguments
    VALUES = 1  # how many values: arguments, those by keyword, captured arrays, items and attributes
    ENTRY = 2  # address of the compiled function
    ARENA = 3  # bytes for temporaries
    RELEASE = 4  # 1: the GIL is released while it runs
    NOTIFY = 5  # object to call with the warning word when it is not 0
    GUARDS = 6
    GUARD_COUNT = 7
    CHECKS = 8
    CHECK_COUNT = 9
    PAIRS = 10
    PAIR_COUNT = 11
    PARAMS = 12
    PARAM_COUNT = 13
    RESULTS = 14
    RESULT_COUNT = 15
    STEPS = 16
    STEP_COUNT = 17
    CAPTURES = 18
    CAPTURE_COUNT = 19
    THREADS = 20  # how many may take part
    NAMES = 21  # table of the keywords in this order, interned
    NAME_COUNT = 22
    SIZE = 23


#: Words in a row of each table.
WORDS = {Record.GUARDS: 4, Record.CHECKS: 10, Record.PAIRS: 7, Record.PARAMS: 3, Record.RESULTS: 4, Record.STEPS: 10}


class Guard(IntEnum):
    """[kind, owner, name, value]: where the value is looked up; value 0: there must be none."""

    ENTRY = 0  # owner[name], a dict
    CELL = 1  # contents of a closure cell
    ATTRIBUTE = 2  # owner.name
    ITEM = 3  # owner[name], any container
    CONTEXT = 4  # a ContextVar


class Check(IntEnum):
    """[kind, value, ...] what a value must be."""

    SAME = 0  # object
    EQUAL = 1  # type, object: of exactly that type, and equal
    NUMBER = 2  # type
    TUPLE = 3  # type, size, first: the items become values from `first` on
    ARRAY = 4  # type, descr, rank, flag mask, flags, address mask, table of (dim or ANY, stride or ANY)
    LIST = 5  # type, size, first: as for a tuple
    DICT = 6  # type, size, first, table of keys: in this order
    OBJECT = 7  # type, count, first, table of names: the attributes become values
    INDEX = 8  # data, axis, cap, full, like: sorted unique numbers below `full`, as many as `data` and `like` have


class Param(IntEnum):
    """[value, kind, number]."""

    ARRAY = 0  # the data pointer, moved by so many bytes
    NUMBER = 1  # a scalar by value
    SIZE = 2  # the length of an axis


class Pair(IntEnum):
    """[kind, value, value, ...]."""

    APART = 0  # low, high, low, high: byte ranges around the data pointers that must not meet
    DISTANCE = 1  # bytes from the first to the second


class Result(IntEnum):
    """[kind, descr, rank, dims]."""

    ARRAY = 0
    SCRATCH = 1
    SIZED = 2  # the dims are amounts
    BLOCK = 3  # descr, bytes of an element: memory that the compiled function asks for; becomes a flat array
    LARGE = 4  # as ARRAY, in memory that is kept from call to call


class Step(IntEnum):
    """[kind, ...]: each pushes one object; the last three first take their parts from the stack."""

    CONSTANT = 0  # object
    VALUE = 1  # value
    AGAIN = 2  # number of an earlier leaf
    ROOT = 3  # result
    FLOAT = 4  # result
    INT = 5  # result
    BOOL = 6  # result
    COMPLEX = 7  # result
    SCALAR = 8  # result, descr
    VIEW = 9  # 1: of a value, 0: of a result; its number; pointer; offset; descr; rank; dims; strides; flags
    SIZED = 10  # as VIEW: 1 or 0; number; pointer; amounts of offset, dims, strides; descr; rank; flags; bytes of an
    # element; bytes of an element of the result: a copy if that is more than twice as large; 0: never
    TUPLE = 11  # count
    LIST = 12  # count
    DICT = 13  # count, table of keys
