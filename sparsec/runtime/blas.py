"""The BLAS that NumPy brings along, by the addresses of its matrix products.

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

# Name patterns, and the width of the integers that the names promise.
_NAMES = (
    ("scipy_cblas_{}gemm64_", 64),
    ("cblas_{}gemm64_", 64),
    ("cblas_{}gemm_64", 64),
    ("scipy_cblas_{}gemm", 32),
    ("cblas_{}gemm", 32),
)


@dataclass(frozen=True, slots=True)
class Blas:
    """`gemm` holds (dtype name, address of `cblas_?gemm`); `bits` is the width of its integers."""

    gemm: tuple[tuple[str, int], ...]
    bits: int

    @property
    def symbols(self) -> dict[str, int]:
        """Addresses by the names under which generated code calls them."""
        return {f"sparsec_gemm_{dtype}": address for dtype, address in self.gemm}


@lru_cache(maxsize=1)
def find_blas() -> Blas | None:
    """The BLAS of this process, or None where it cannot be found."""
    for library in _libraries():
        for pattern, bits in _NAMES:
            found = {d: _lookup(library, pattern.format(letter)) for d, letter in _LETTERS.items()}
            if all(found.values()):
                return Blas(tuple(found.items()), bits)
    return None


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
