"""Operands for the derived tests: those of a record's cases, and edge values of every dtype."""

import itertools

import numpy as np

from sparsec.ir.types import DTYPES, tensor


def arrays(rec, case):
    """The operands of a case. Random numbers are seeded by the op's name: every run tests the same."""
    rng = np.random.default_rng(sum(map(ord, rec.name)))
    dtypes = itertools.chain(case.dtypes, itertools.repeat(case.dtypes[-1]))
    return [
        x if isinstance(x, np.ndarray) else _random(rng, x, np.dtype(d)) for x, d in zip(case.shapes, dtypes)
    ]


def _random(rng, shape, dtype):
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    if dtype.kind in "iu":
        return rng.integers(0 if dtype.kind == "u" else -5, 6, shape).astype(dtype)
    # Within the domain of every function, and not at a kink.
    value = rng.uniform(0.1, 0.9, shape)
    return (value + 1j * rng.uniform(-0.9, 0.9, shape) if dtype.kind == "c" else value).astype(dtype)


def edges(dtype):
    """Numbers at which a lowering goes wrong first."""
    dtype = np.dtype(dtype)
    match dtype.kind:
        case "b":
            return np.array([False, True])
        case "i" | "u":
            info = np.iinfo(dtype)
            bits = 8 * dtype.itemsize
            near = [0, 1, 2, 3, 5, 7, 8, bits - 1, bits, bits + 1, 100]
            near += [info.max, info.max - 1, info.max // 2, info.max // 3]
            near += [126, 127, 148, 149, 150, 1022, 1023, 1024, 1073, 1074, 1075, 2100]
            if dtype.kind == "i":
                near += [-n for n in near if n > 100]
                near += [-1, -2, -3, -5, -7, -8, -bits, -100, info.min, info.min + 1, info.min // 2]
            return np.array([n for n in dict.fromkeys(near) if info.min <= n <= info.max], dtype)
        case "c":
            part = _float_edges(np.dtype(f"f{dtype.itemsize // 2}"), few=True)
            grid = np.empty((len(part), len(part)), dtype)
            grid.real, grid.imag = part[:, None], part[None, :]
            return grid.reshape(-1)
    return _float_edges(dtype)


def _float_edges(dtype, few=False):
    info = np.finfo(dtype)
    sizes = [0.0, 0.5, 1.0, 2.5, np.inf]
    if not few:
        sizes += [
            0.3, 1.5, 2.0, 3.0, 3.5, 7.0, 10.0, 88.0, 100.25, 127.0, 255.9, 300.0, 1e-3, info.max, info.tiny,
            info.smallest_subnormal, info.tiny / 4, info.eps, 1 + info.eps, 1 - info.epsneg, 0.49999997, 1e30,
            65504.0, 65519.9, 65520.0, 2.0**31, 2.0**31 - 1, 2.0**32, 3e9, 2.0**53, 2.0**63, 1.5 * 2.0**63,
            2.0**64,
            1e10, 1e19, 1e300, 2.0**-24, 2.0**-25 * 1.0000001, 1 + 2.0**-11 + 2.0**-40,
        ]
    with np.errstate(all="ignore"):
        both = np.array([*sizes, *(-s for s in sizes), np.nan]).astype(dtype)
    _, first = np.unique(both.view(f"u{dtype.itemsize}"), return_index=True)
    return both[np.sort(first)]


def edge_arrays(rec, case, seed):
    """The operands of a case with edge values in place of its random ones."""
    rng = np.random.default_rng(seed)
    dtypes = itertools.chain(case.dtypes, itertools.repeat(case.dtypes[-1]))
    return [
        x if isinstance(x, np.ndarray) else rng.choice(edges(d), x) for x, d in zip(case.shapes, dtypes)
    ]


def grids(types):
    """All combinations of edge values of operands of these dtypes, one flat array per operand."""
    axes = [edges(d) for d in types]
    if len(types) > 2:
        axes = [a if a.dtype.kind == "b" else a[:9] for a in axes]
    return [np.ascontiguousarray(g.reshape(-1)) for g in np.meshgrid(*axes, indexing="ij")]


def operand_types(rec):
    """Every tuple of operand dtypes that an elementwise op takes, of one dtype each or as in its cases."""
    arity = rec.arity if isinstance(rec.arity, int) else rec.arity[0]
    same = [(d,) * arity for d in DTYPES.values()]
    listed = [
        tuple(np.dtype(d) for d in (*case.dtypes, *(case.dtypes[-1:] * arity)))[:arity] for case in rec.cases
    ]
    attrs = rec.cases[0].attrs if rec.cases else {}
    return [types for types in dict.fromkeys([*same, *listed]) if _takes(rec, types, attrs)]


def _takes(rec, types, attrs):
    try:
        rec.infer([tensor(d, 2) for d in types], {**rec.defaults, **attrs})
    except (TypeError, ValueError):
        return False
    return True


def same(got, want, ulp=0):
    """Which elements agree: NaN with NaN, zeros by sign, the rest within `ulp` of each other.

    Complex numbers that may be inexact are compared as a whole: a part that cancels has no digits of its own.
    """
    if got.dtype.kind == "c":
        exact = same(got.real, want.real) & same(got.imag, want.imag)
        if not ulp:
            return exact
        with np.errstate(all="ignore"):
            bound = np.finfo(got.dtype).eps * ulp * np.abs(want) + 8 * np.finfo(got.dtype).tiny
            near = np.abs(got - want) <= bound
        return exact | near | (same(got.real, want.real, ulp) & same(got.imag, want.imag, ulp))
    if got.dtype.kind != "f":
        return got == want
    nan = np.isnan(got) & np.isnan(want)
    exact = (got == want) & (np.signbit(got) == np.signbit(want))
    return nan | exact | ((_order(got, want) <= ulp) if ulp else False)


def _order(got, want):
    """Distance in floats that lie between."""
    bits = np.dtype(f"i{got.dtype.itemsize}")
    def rank(x):
        n = np.ascontiguousarray(x).view(bits).astype(object)
        low = int(np.iinfo(bits).min)
        return np.where(n < 0, low - n, n)
    finite = np.isfinite(got) & np.isfinite(want)
    distance = np.abs(rank(got) - rank(want))
    return np.where(finite, distance, 1 << 62).astype(np.float64)


def near_reference(rec, attrs, xs, got, want, ulp):
    """Which elements are right. An exact op must agree exactly.

    One that may be off by `ulp` may also be off by what one ulp in an operand makes of the result: where
    terms
    cancel, no implementation is closer. Complex functions are tried where C99 says what they are: on NaN, and
    for two operands on infinities, it leaves much open, as the sign of a zero beside a NaN.
    """
    ok = same(got, want, ulp)
    if not ulp or np.all(ok):
        return ok
    if want.dtype.kind == "c":
        open_ = [np.isnan(x) if len(xs) == 1 else ~np.isfinite(x) for x in xs]
        return ok | np.logical_or.reduce(open_) | _same_beside_nan(got, want)
    return ok | _between_neighbours(rec, attrs, xs, got)


def _same_beside_nan(got, want):
    re, im = (np.isnan(p) & np.isnan(q) for p, q in ((got.real, want.real), (got.imag, want.imag)))
    return (re & (got.imag == want.imag)) | (im & (got.real == want.real))


def _between_neighbours(rec, attrs, xs, got):
    if any(x.dtype.kind != "f" for x in xs):
        return np.False_
    values = []
    with np.errstate(all="ignore"):
        for direction in itertools.product((-np.inf, 0, np.inf), repeat=len(xs)):
            moved = [np.nextafter(x, x.dtype.type(d)) if d else x for x, d in zip(xs, direction)]
            values.append(rec.ref(*moved, **attrs))
        return (got >= np.min(values, axis=0)) & (got <= np.max(values, axis=0))
