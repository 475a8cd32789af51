"""How far each function of our vector math is from the true value, and the table of docs/math.md.

    python -m benchmarks.math_accuracy                    # all functions, one float32 in 61
    python -m benchmarks.math_accuracy --step 1 exp log   # these, all 2**32 float32 numbers
    python -m benchmarks.math_accuracy --print            # the table of what was measured so far

float32 functions are compared with NumPy's in float64; float64 ones with the C library's in extended
precision, and the worst found are computed again with mpmath. Results are kept in
`benchmarks/math_accuracy.json`; the table in the docs is written from it.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.math_kernels import Compiled, numpy_function
from sparsec.codegen.vector_math import EXPANSIONS
from sparsec.ir.scalar import FNS

STORE = Path(__file__).with_suffix(".json")
DOCS = Path(__file__).parent.parent / "docs" / "math.md"
START, END = "<!-- accuracy: begin -->\n", "<!-- accuracy: end -->\n"
CHUNK = 1 << 16
F32, F64 = np.dtype("f4"), np.dtype("f8")


# --- errors ----------------------------------------------------------------------------------------------


def errors(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Units in the last place of the exact value; inf where a special value is another."""
    dtype = got.dtype
    info = np.finfo(dtype)
    with np.errstate(all="ignore"):
        want = exact.astype(dtype)
        off = np.abs(got.astype(exact.dtype) - exact) / units(exact, info)
    special = ~np.isfinite(want) | (exact == 0)
    if special.any():
        s = np.flatnonzero(special)
        g, w = got[s], want[s]
        same = (np.isnan(g) & np.isnan(w)) | ((g == w) & (np.signbit(g) == np.signbit(w)))
        off[s] = np.where(same, 0, np.inf)
    return off


def units(exact: np.ndarray, info: np.finfo) -> np.ndarray:
    """A unit in the last place at these values."""
    if exact.dtype == F64:  # faster than frexp: the bits of the exponent alone are a power of two
        power = (exact.view(np.uint64) & np.uint64(0x7FF << 52)).view(F64)
        return np.maximum(power, info.tiny) * float(info.eps)
    _, exponent = np.frexp(np.maximum(np.abs(exact), info.tiny))
    return np.ldexp(np.ones((), exact.dtype), exponent - (info.nmant + 1))


# --- arguments -------------------------------------------------------------------------------------------


def edges(dtype: np.dtype) -> np.ndarray:
    """Zeros, infinities, NaN, denormals, the ends of the range, and the neighbours of 1."""
    info = np.finfo(dtype)
    one = dtype.type(1)
    half = [
        0, info.smallest_subnormal, info.tiny / 4, info.tiny, np.nextafter(info.tiny, 0 * one), 0.25, 0.5, 1,
        np.nextafter(one, 0 * one), np.nextafter(one, 2 * one), 1.5, 2, 2.5, 3, 4, 10, 2.0**24, 2.0**24 + 1,
        2.0**53, 2.0**53 - 1, 1000, info.max / 2, info.max, np.inf, np.nan,
    ]  # fmt: skip
    return np.array([*half, *(-np.array(half))], dtype)


def random_arguments(dtype: np.dtype, count: int, rng: np.random.Generator) -> np.ndarray:
    """All magnitudes, the interesting ranges, the neighbourhood of 1 and of multiples of pi/2."""
    bits = rng.integers(0, 2 ** (8 * dtype.itemsize), count, dtype=f"u{dtype.itemsize}").view(dtype)
    reach = 110 if dtype == F32 else 760
    near_one = 1 + rng.uniform(-1, 1, count) * 2.0 ** rng.uniform(-30, 0, count)
    turns = np.round(rng.uniform(-1, 1, count) * 2.0 ** rng.uniform(0, 25, count)) * (np.pi / 2)
    parts = [rng.uniform(-r, r, count) for r in (1.2, 12, reach)]
    return np.concatenate([bits, *(p.astype(dtype) for p in (*parts, near_one, turns))])


def single_chunks(step: int) -> Iterator[np.ndarray]:
    """All float32 numbers, or one of each `step` in a row with the place changing, and the edges."""
    yield np.resize(edges(F32), CHUNK)
    lane = np.arange(CHUNK, dtype=np.uint64) * step
    rng = np.random.default_rng(1)
    for first in range(0, 1 << 32, CHUNK * step):
        place = lane + first + (rng.integers(0, step, CHUNK, dtype=np.uint64) if step > 1 else 0)
        yield np.minimum(place, (1 << 32) - 1).astype(np.uint32).view(F32)


def double_chunks(name: str, dtype: np.dtype, rounds: int) -> Iterator[list[np.ndarray]]:
    """Random arguments and pairs of edges."""
    arity = FNS[name].arity
    for n in range(rounds):
        rng = np.random.default_rng(n)
        drawn = [rng.permutation(random_arguments(dtype, CHUNK // 6, rng)) for _ in range(arity)]
        ends = np.meshgrid(*[edges(dtype)] * arity)
        args = [np.resize(np.concatenate([e.ravel(), d]), CHUNK) for e, d in zip(ends, drawn)]
        if name == "pow" and n % 2:  # more results within range
            with np.errstate(all="ignore"):
                args = [np.abs(args[0]) ** dtype.type(0.1), args[1]]
        yield args


# --- measuring -------------------------------------------------------------------------------------------


def worst(name: str, dtype: np.dtype, chunks: Iterator[list[np.ndarray]]) -> dict[str, object]:
    """The largest error, where it is, and how many special values are wrong."""
    ours, reference = Compiled(name, dtype, CHUNK), numpy_function(name)
    wide = F64 if dtype == F32 else np.dtype(np.longdouble)
    largest, theirs, at, wrong, count = 0.0, 0.0, [], 0, 0
    for n, args in enumerate(chunks):
        with np.errstate(all="ignore"):
            exact = reference(*(a.astype(wide) for a in args))
            numpy_off = errors(reference(*args), exact) if n % 16 == 0 or n < 100 else np.zeros(1)
        off = errors(ours(*args), exact)
        bad = np.isinf(off)
        wrong += int(bad.sum())
        off[bad] = 0
        place = int(np.argmax(off))
        if off[place] > largest:
            largest, at = float(off[place]), [float(a[place]) for a in args]
        theirs = max(theirs, float(numpy_off[np.isfinite(numpy_off)].max()))
        count += args[0].size
    if dtype == F64 and at:
        largest = by_mpmath(name, at, float(ours(*(np.full(CHUNK, a) for a in at))[0]), largest)
    return {"ulp": round(largest, 3), "at": at, "wrong": wrong, "count": count, "numpy": round(theirs, 2)}


def by_mpmath(name: str, args: list[float], got: float, fallback: float) -> float:
    """The error by mpmath, if it is installed."""
    try:
        import mpmath as mp
    except ModuleNotFoundError:
        return fallback
    with mp.workprec(400):
        function = {
            "exp2": lambda x: mp.mpf(2) ** x, "log2": lambda x: mp.log(x, 2), "cbrt": mp.cbrt,
            "pow": lambda x, y: x**y, "hypot": mp.hypot,
        }.get(name) or getattr(mp, name)  # fmt: skip
        signed = [-1 if name == "cbrt" and args[0] < 0 else 1, *args]
        exact = signed[0] * function(*(mp.mpf(abs(a) if name == "cbrt" else a) for a in args))
        _, exponent = mp.frexp(exact)
        unit = mp.ldexp(1, max(int(exponent) - 53, -1074))
        return float(abs(mp.mpf(got) - exact) / unit)


def measure(name: str, step: int, rounds: int) -> dict[str, dict[str, object]]:
    """Both widths of one function."""
    if FNS[name].arity == 1:
        single = worst(name, F32, ([x] for x in single_chunks(step)))
        single["all"] = step == 1
    else:
        single = worst(name, F32, double_chunks(name, F32, rounds))
    return {"f32": single, "f64": worst(name, F64, double_chunks(name, F64, rounds))}


# --- the table -------------------------------------------------------------------------------------------


def table(results: dict[str, dict[str, dict]]) -> str:
    """Markdown."""
    lines = [
        "| function | float32: max ULP | inputs | NumPy's "
        "| float64: max ULP | inputs | NumPy's | wrong special values |",
        "|---|---|---|---|---|---|---|---|",
    ]  # fmt: skip
    for name in EXPANSIONS:
        if name not in results:
            continue
        single, double = results[name]["f32"], results[name]["f64"]
        inputs = "all 2^32" if single.get("all") else f"{single['count'] / 1e6:.0f} M"
        lines.append(
            f"| {name} | {single['ulp']:.2f} | {inputs} | {single['numpy']:.2f} | {double['ulp']:.2f} | "
            f"{double['count'] / 1e6:.1f} M | {double['numpy']:.2f} | {single['wrong'] + double['wrong']} |"
        )
    return "\n".join(lines) + "\n"


def write_docs(text: str) -> None:
    """Puts the table between its marks."""
    page = DOCS.read_text(encoding="utf-8")
    before, rest = page.split(START)
    after = rest.split(END)[1]
    DOCS.write_text(f"{before}{START}{text}{END}{after}", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("names", nargs="*", help="functions; default: all")
    parser.add_argument("--step", type=int, default=61, help="one float32 in so many (1: all)")
    parser.add_argument("--rounds", type=int, default=16, help="chunks of 65536 random arguments")
    parser.add_argument("--print", action="store_true", help="measure nothing")
    options = parser.parse_args()
    results = json.loads(STORE.read_text()) if STORE.exists() else {}
    for name in [] if options.print else options.names or list(EXPANSIONS):
        found = measure(name, options.step, options.rounds)
        results[name] = found
        print(f"{name}: {found}", flush=True)
        kept = json.loads(STORE.read_text()) if STORE.exists() else {}
        STORE.write_text(json.dumps(kept | {name: found}, indent=1, sort_keys=True) + "\n")
    print(table(results))
    if DOCS.exists():
        write_docs(table(results))


if __name__ == "__main__":
    main()
