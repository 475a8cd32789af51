"""Computes the coefficients of `sparsec.codegen.vector_math`, and writes them as a Python file.

    python tools/fit_vector_math.py > sparsec/codegen/vector_math/coefficients.py

Needs mpmath. Every polynomial interpolates its function in the Chebyshev nodes of its interval, in 400 bits;
that is within a small factor of the minimax error (Trefethen, "Approximation Theory and Approximation
Practice", 2013, theorem 16.1), and the degrees leave room for it. Only then is each coefficient rounded.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

import mpmath as mp

mp.mp.prec = 400
Real = mp.mpf
DIGITS = {4: 24, 8: 53}


def rounded(x: Real, bits: int) -> float:
    """The nearest number with so many significant bits."""
    if x == 0:
        return 0.0
    _, exponent = mp.frexp(x)
    return float(mp.ldexp(mp.nint(mp.ldexp(x, bits - exponent)), exponent - bits))


def fit(function: Callable[[Real], Real], low: Real, high: Real, degree: int) -> list[Real]:
    """Coefficients of the interpolating polynomial, lowest first."""
    count = degree + 1
    half, middle = (high - low) / 2, (high + low) / 2
    nodes = [middle + half * mp.cos(mp.pi * (2 * j + 1) / (2 * count)) for j in range(count)]
    system = mp.matrix(count, count)
    for row, x in enumerate(nodes):
        for column in range(count):
            system[row, column] = x**column
    return list(mp.lu_solve(system, mp.matrix([function(x) for x in nodes])))


# --- what is approximated --------------------------------------------------------------------------------

HALF_LN2 = mp.log(2) / 2 * mp.mpf("1.01")
#: s*s where f = m - 1, s = f / (2 + f) and m is within a factor sqrt(2) of 1.
LOG_Z = ((mp.sqrt(2) - 1) / (mp.sqrt(2) + 1)) ** 2 * mp.mpf("1.01")
LOG_F = (mp.sqrt(mp.mpf("0.5")) - 1, mp.sqrt(2) - 1)
QUARTER_TURN = (mp.pi / 4) ** 2 * mp.mpf("1.03")


def _near_zero(function: Callable[[Real], Real]) -> Callable[[Real], Real]:
    """The nodes never are 0, but some lie near enough for digits to cancel."""

    def careful(x: Real) -> Real:
        with mp.workprec(900):
            return function(mp.mpf(x))

    return careful


def _log_series(s: Real) -> Real:
    return mp.log((1 + s) / (1 - s))


#: name: (what it is, function, interval, degree for float32, degree for float64 or 0 if there is none)
POLYNOMIALS: dict[str, tuple[str, Callable[[Real], Real], Real, Real, int, int]] = {
    "EXP": ("(exp(r) - 1 - r) / r**2", lambda r: (mp.exp(r) - 1 - r) / r**2, -HALF_LN2, HALF_LN2, 4, 9),
    "EXP2": ("(2**r - 1) / r", lambda r: (mp.mpf(2) ** r - 1) / r, mp.mpf("-0.5"), mp.mpf("0.5"), 5, 10),
    "LOG": (
        "(log((1 + s) / (1 - s)) - 2 s) / s**3, z = s**2",
        lambda z: (_log_series(mp.sqrt(z)) - 2 * mp.sqrt(z)) / mp.sqrt(z) ** 3, mp.mpf(0), LOG_Z, 2, 6,
    ),
    "LOG_TAIL": (
        "(log((1 + s) / (1 - s)) - 2 s - 2/3 s**3) / s**5, z = s**2",
        lambda z: (_log_series(mp.sqrt(z)) - 2 * mp.sqrt(z) - 2 * mp.sqrt(z) ** 3 / 3) / mp.sqrt(z) ** 5,
        mp.mpf(0), LOG_Z, 2, 7,
    ),
    "LOG10_SINGLE": (
        "log10(1 + f) / f less the first part of 1 / log 10",
        lambda f: mp.log10(1 + f) / f - rounded(1 / mp.log(10), 24), *LOG_F, 9, 0,
    ),
    "SIN": (
        "(sin(r) - r) / r**3, z = r**2",
        lambda z: (mp.sin(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) ** 3, mp.mpf(0), QUARTER_TURN, 2, 5,
    ),
    "COS": (
        "(cos(r) - 1 + z/2) / z**2, z = r**2",
        lambda z: (mp.cos(mp.sqrt(z)) - 1 + z / 2) / z**2, mp.mpf(0), QUARTER_TURN, 2, 5,
    ),
    "ASIN": (
        "(asin(s) - s) / s**3, z = s**2",
        lambda z: (mp.asin(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) ** 3, mp.mpf(0), mp.mpf("0.25"), 5, 13,
    ),
    "ATAN": (
        "(atan(t) - t) / t**3, z = t**2",
        lambda z: (mp.atan(mp.sqrt(z)) - mp.sqrt(z)) / mp.sqrt(z) ** 3, mp.mpf(0), mp.mpf(1), 9, 21,
    ),
    "RCBRT": (
        "m ** (-1/3), to begin with", lambda m: m ** (-mp.mpf(1) / 3),
        mp.mpf(2) ** mp.mpf("-1.5"), mp.mpf(2) ** mp.mpf("1.5"), 5, 5,
    ),
}  # fmt: skip

#: Constants as sums of floats. bits None: each part is the nearest float. "short": the first part has
#: so few bits that its product with an exponent of the dtype is exact.
CONSTANTS: dict[str, tuple[str, Real, str, int]] = {
    "LN2": ("log 2", mp.log(2), "", 2),
    "LN2_SHORT": ("log 2; exponents times the first part are exact", mp.log(2), "short", 2),
    "LOG10_2_SHORT": ("log10 2; as above", mp.log10(2), "short", 2),
    "LOG2_E": ("1 / log 2", 1 / mp.log(2), "", 2),
    "LOG10_E": ("1 / log 10", 1 / mp.log(10), "", 2),
    "TWO_THIRDS": ("2/3", mp.mpf(2) / 3, "", 2),
    "HALF_PI": ("pi / 2", mp.pi / 2, "", 3),
    "PI": ("pi", mp.pi, "", 2),
    "TWO_OVER_PI": ("2 / pi", 2 / mp.pi, "", 1),
}

SHORT = {4: 15, 8: 41}


def parts(x: Real, size: int, mode: str, count: int) -> list[float]:
    """A number as a sum of floats."""
    found: list[float] = []
    for n in range(count):
        bits = SHORT[size] if mode == "short" and n == 0 else DIGITS[size]
        found.append(rounded(x, bits))
        x -= mp.mpf(found[-1])
    return found


def _line(values: list[float], size: int) -> str:
    for value in values:
        assert size == 8 or struct.unpack("<f", struct.pack("<f", value))[0] == value
    return "\n".join(f"        {value!r}," for value in values)


def main() -> None:
    """Prints the file."""
    print('"""Coefficients of the polynomials, by item size of the dtype; lowest power first.\n')
    print("Written by tools/fit_vector_math.py, which says how they are found. Do not edit.\n")
    print('Each float32 number is given as the float64 of the same value.\n"""\n')
    print("# ruff: noqa: E501, FURB152, RUF100\n")
    print("Table = dict[int, tuple[float, ...]]\n")
    for name, (doc, x, mode, count) in CONSTANTS.items():
        print(f"#: {doc}")
        _table(name, {size: parts(x, size, mode, count) for size in DIGITS})
    for name, (doc, function, low, high, single, double) in POLYNOMIALS.items():
        print(f"#: {doc}, on [{mp.nstr(low, 5)}, {mp.nstr(high, 5)}]")
        degrees = {size: degree for size, degree in ((4, single), (8, double)) if degree}
        fits = {size: fit(_near_zero(function), low, high, degree) for size, degree in degrees.items()}
        _table(name, {size: [rounded(c, DIGITS[size]) for c in found] for size, found in fits.items()})


def _table(name: str, values: dict[int, list[float]]) -> None:
    print(f"{name}: Table = {{")
    for size, found in values.items():
        print(f"    {size}: (\n{_line(found, size)}\n    ),")
    print("}\n")


if __name__ == "__main__":
    main()
