"""The BLAS that NumPy brings along, by the addresses of its products.

NumPy's wheels carry an OpenBLAS under names of their own; a NumPy of a distribution links the system's. Both
are found through the library that NumPy has loaded anyway, so nothing new enters the process.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

__all__ = ["Blas", "find_blas"]

#: BLAS letter of each dtype, by sparsec's name of it.
_LETTERS = {"f32": "s", "f64": "d", "c64": "c", "c128": "z"}

#: What generated code calls, and its name in a BLAS; `dot` of complex numbers hands its result on by pointer.
_FUNCTIONS = ("gemm", "syrk", "gemv", "dot")
_COMPLEX_NAMES = {"dot": "dotu_sub"}

# Name patterns, and the width of the integers that the names promise.
_NAMES = (
    ("scipy_cblas_{}64_", 64),
    ("cblas_{}64_", 64),
    ("cblas_{}_64", 64),
    ("scipy_cblas_{}", 32),
    ("cblas_{}", 32),
)


@dataclass(frozen=True, slots=True)
class Blas:
    """`functions` holds ((function, dtype name), address); `bits` is the width of its integers."""

    functions: tuple[tuple[tuple[str, str], int], ...]
    bits: int

    @property
    def symbols(self) -> dict[str, int]:
        """Addresses by the names under which generated code calls them."""
        return {f"sparsec_{function}_{dtype}": address for (function, dtype), address in self.functions}


@lru_cache(maxsize=1)
def find_blas() -> Blas | None:
    """The BLAS of this process, or None where it cannot be found."""
    for library in _libraries():
        for pattern, bits in _NAMES:
            found = {
                (function, dtype): _lookup(library, pattern.format(letter + _name(function, letter)))
                for function in _FUNCTIONS
                for dtype, letter in _LETTERS.items()
            }
            if all(found.values()):
                return Blas(tuple(found.items()), bits)
    return None


def _name(function: str, letter: str) -> str:
    return _COMPLEX_NAMES.get(function, function) if letter in "cz" else function


def _lookup(library: ctypes.CDLL, name: str) -> int:
    try:
        return ctypes.cast(library[name], ctypes.c_void_p).value or 0
    except AttributeError:
        return 0


def _libraries() -> Iterator[ctypes.CDLL]:
    """NumPy's own extension, through which its dependencies are seen, then what its wheel carries."""
    home = Path(np.__file__).parent
    folders = (home / "_core", home / "linalg", home.parent / "numpy.libs", home / ".dylibs")
    patterns = ("_multiarray_umath*", "_umath_linalg*", "*blas*", "*blas*")
    for folder, pattern in zip(folders, patterns):
        for file in sorted(folder.glob(pattern)):
            if file.suffix in (".so", ".dylib", ".pyd", ".dll"):
                try:
                    yield ctypes.CDLL(str(file))
                except OSError:
                    continue
