"""Our own exp, log, sin, …: how close, at which edges, alike on every backend, and in vectors."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
import pytest

import sparsec
from sparsec.codegen.legalize import legalize
from sparsec.codegen.llvm import llvm_text
from sparsec.codegen.target import CPU, MALI, OPENCL
from sparsec.codegen.vector_math import EXPANSIONS
from sparsec.codegen.vector_math.circular import FAST
from sparsec.codegen.vector_math.expand import PERIODIC
from sparsec.ir.loop_rewrite import nodes
from sparsec.ir.loop_verify import verify_program
from sparsec.ir.loops import Apply, Assign, For, If, Let, Load, Mut, Store, Var, While, exprs, walk_stmts
from sparsec.ir.scalar import FNS, S, apply, const, index, var
from sparsec.ir.types import BOOL, F32, F64
from sparsec.runtime.cpu import CpuExecutable, compile_object
from tests.codegen.running import (
    cpu_target,
    elementwise,
    optimised,
    param,
    program,
    run_cpu,
    run_interp,
    run_opencl,
)
from tests.codegen.test_scalars import NUMPY_NAMES, distance

OWN, PLAIN = replace(CPU, own_math=True), replace(CPU, own_math=False)
#: At most 1 ULP for these, 2 for the others.
WITHIN_ONE = {"exp", "exp2", "log", "log2", "log10", "log1p"}
WIDE = {F32: F64, F64: np.dtype(np.longdouble)}
widths = pytest.mark.parametrize("dtype", [F32, F64], ids=str)
functions = pytest.mark.parametrize("name", EXPANSIONS)


def compiled(name, dtype, count, target=OWN):
    made = elementwise([lambda *a: apply(name, *a)], [np.empty(count, dtype)] * FNS[name].arity, [dtype])
    legal = legalize(made, target)
    verify_program(legal)
    return legal


def call(name, args, target=OWN, run=run_cpu):
    out = np.empty_like(args[0])
    assert run(compiled(name, out.dtype, out.size, target), [*(a.copy() for a in args), out]) == (0, 0)
    return out


def edges(dtype):
    info, one = np.finfo(dtype), dtype.type(1)
    half = [0, info.smallest_subnormal, info.tiny / 4, info.tiny, 0.25, 0.5, 1, np.nextafter(one, 0 * one),
            np.nextafter(one, 2 * one), 1.5, 2, 3, 10, 2.0**24 + 1, 1000, info.max, np.inf, np.nan]  # fmt: skip
    return np.array([*half, *(-np.array(half))], dtype)


def sample(dtype, count, seed):
    rng = np.random.default_rng(seed)
    bits = rng.integers(0, 2 ** (8 * dtype.itemsize), count, dtype=f"u{dtype.itemsize}").view(dtype)
    reach = 110 if dtype == F32 else 760
    near_one = 1 + rng.uniform(-1, 1, count) * 2.0 ** rng.uniform(-30, 0, count)
    turns = np.round(rng.uniform(-2e4, 2e4, count)) * (np.pi / 2)
    parts = [*(rng.uniform(-r, r, count) for r in (1.2, 12, reach)), near_one, turns]
    return np.concatenate([bits, *(p.astype(dtype) for p in parts)])


def arguments(name, dtype, count, seed=1):
    """Edges, or all pairs of edges, and samples."""
    x = sample(dtype, count, seed)
    if FNS[name].arity == 1:
        return [np.concatenate([edges(dtype), x])]
    a, b = np.meshgrid(edges(dtype), edges(dtype))
    y = np.random.default_rng(seed).permutation(x)
    x = np.where(np.arange(x.size) % 2, np.abs(x), x)  # pow is NaN for most negative numbers
    return [np.concatenate([a.ravel(), x]), np.concatenate([b.ravel(), y])]


def true_values(name, args):
    wide = WIDE[args[0].dtype]
    with np.errstate(all="ignore"):
        return getattr(np, NUMPY_NAMES.get(name, name))(*(a.astype(wide) for a in args))


def same_bits(got, want):
    assert np.array_equal(np.isnan(got), np.isnan(want))
    known = ~np.isnan(want)
    bits = f"u{got.dtype.itemsize}"
    np.testing.assert_array_equal(got[known].view(bits), want[known].view(bits))


@widths
@functions
def test_close_to_the_true_value_and_right_at_the_edges(name, dtype):
    if dtype == F64 and np.finfo(np.longdouble).nmant <= 52:
        pytest.skip("nothing wider than float64 to compare with")
    args = arguments(name, dtype, 4000)
    off = distance(call(name, args), true_values(name, args), dtype)
    worst = np.nanargmax(off)
    assert off[worst] <= (1 if name in WITHIN_ONE else 2), [a[worst] for a in args]


@widths
@functions
def test_every_backend_computes_the_same_bits(name, dtype):
    args = arguments(name, dtype, 12)
    if name in PERIODIC:  # beyond, it is the library's
        args = [np.where(np.abs(args[0]) <= FAST[dtype.itemsize], args[0], dtype.type(1))]
    elif len(args) == 2:
        args = [a[::7] for a in args]
    want = call(name, args)
    same_bits(call(name, args, run=run_interp), want)
    same_bits(call(name, args, replace(OPENCL, own_math=True), run_opencl), want)


@widths
@functions
def test_no_result_depends_on_its_place(name, dtype):
    """Every remainder of a vector, at every offset, and every width of vectors."""
    args = [a[-600:] for a in arguments(name, dtype, 400)]
    want = call(name, args)
    for start, count in ((1, 1), (2, 15), (3, 17), (40, 257), (41, 299)):
        same_bits(call(name, [a[start : start + count] for a in args]), want[start : start + count])
    for bits in (128, 256, 512):
        text = llvm_text(compiled(name, dtype, 600), replace(cpu_target(), vector_bits=bits))
        out = np.empty(600, dtype)
        CpuExecutable([compile_object(text)]).run([*(a.ctypes.data for a in args), out.ctypes.data])
        same_bits(out, want)


@widths
@functions
def test_loops_become_vectors(name, dtype):
    text = optimised(compiled(name, dtype, 4096))
    lanes = max(int(n) for n in re.findall(r"<(\d+) x (?:float|double)>", text))
    assert lanes * dtype.itemsize >= (64 if cpu_target().vector_bits == 512 else 16)
    if name not in PERIODIC:
        assert not re.search(rf"@(llvm\.)?{name}f?(\.v\d+f\d\d)?\(", text)


@widths
@pytest.mark.parametrize("name", sorted(PERIODIC))
def test_huge_arguments_leave_their_neighbours_alone(name, dtype):
    x = np.random.default_rng(5).uniform(-50, 50, 1000).astype(dtype)
    plain = call(name, [x])
    mixed = x.copy()
    mixed[[3, 4, 300, 999]] = [1e5, np.finfo(dtype).max, -1e30, np.inf]
    got = call(name, [mixed])
    usual = mixed == x
    same_bits(got[usual], plain[usual])
    off = distance(got, true_values(name, [mixed]), dtype)
    assert off.max() <= 2


def test_arguments_that_are_computed_are_kept():
    def turned(x, y):
        return given(x / y, x + y)

    def given(quotient, total):
        return np.sin(quotient) - np.cos(quotient) * np.sin(total)

    rng = np.random.default_rng(6)
    x, y = rng.uniform(-9, 9, 700).astype(F32), rng.uniform(0.1, 3, 700).astype(F32)
    for far in ([], [0, 255, 256, 699]):
        x[far] = [1e9, -np.inf, 3e6, np.nan][: len(far)]
        same_bits(sparsec.jit(turned)(x, y), sparsec.jit(given)(x / y, x + y))
    assert sparsec.jit(turned).lower(x, y).as_text("legal").count("alloc %kept") == 1


def functions_left(legal):
    return {
        node.fn
        for kernel in legal.kernels
        for stmt in walk_stmts(kernel.body)
        for expr in exprs(stmt)
        for node in nodes(expr)
        if isinstance(node, Apply) and node.fn in EXPANSIONS
    }


def test_the_flag_decides():
    assert functions_left(compiled("exp", F32, 100, PLAIN)) == {"exp"}
    assert functions_left(compiled("exp", F32, 100, OWN)) == set()
    assert functions_left(compiled("sin", F32, 100, OWN)) == {"sin"}


@functions
def test_float32_needs_no_doubles(name):
    compiled(name, F32, 100, replace(MALI, own_math=True))


# --- statements around a function ------------------------------------------------------------------------

X = np.linspace(-3, 3, 300)


def run_body(body, arrays, target=OWN):
    slots = [param(f"x{n}", a, n) for n, a in enumerate(arrays)]
    legal = legalize(program(tuple(body), slots), target)
    verify_program(legal)
    copies = [a.copy() for a in arrays]
    assert run_cpu(legal, copies) == (0, 0)
    return copies, legal


def element(buffer, at):
    return Load(buffer, at, F64)


def test_in_place():
    i = var("i")
    body = [For(i, index(0), index(300), 1, (Store("x0", i, S.sin(element("x0", i))),), "parallel")]
    (got,), legal = run_body(body, [X])
    np.testing.assert_allclose(got, np.sin(X), rtol=1e-15)
    assert "block" in str(legal)


def test_a_value_carried_from_turn_to_turn():
    """Here the argument is not known before the loop runs."""
    i = var("i")
    step = Store("x0", S.add(i, index(1)), S.mul(S.sin(element("x0", i)), const(1e9, F64)))
    (got,), _ = run_body([For(i, index(0), index(40), 1, (step,))], [np.full(41, 0.7)])
    want = np.full(41, 0.7)
    for n in range(40):
        want[n + 1] = np.sin(want[n]) * 1e9
    np.testing.assert_allclose(got[:3], want[:3], rtol=1e-6)
    one = np.sin(got[:-1]) * 1e9
    np.testing.assert_allclose(got[1:], one, rtol=1e-15)


def test_an_accumulator_as_argument():
    i, total = var("i"), Var("total", F64)
    body = [
        Mut(total, const(0.5, F64)),
        For(i, index(0), index(100), 1, (Assign(total, S.add(S.cos(total), element("x0", i))),)),
        Store("x0", index(0), total),
    ]
    (got,), _ = run_body(body, [X])
    want = 0.5
    for n in range(100):
        want = np.cos(want) + X[n]
    np.testing.assert_allclose(got[0], want, rtol=1e-9)


def test_a_condition_that_is_computed_again():
    x = Var("x", F64)
    body = [
        Mut(x, const(0.0, F64)),
        While(S.lt(S.exp(x), const(100.0, F64)), (Assign(x, S.add(x, const(0.25, F64))),)),
        If(S.gt(S.tanh(x), const(0.5, F64)), (Store("x0", index(0), x),)),
    ]
    (got,), _ = run_body(body, [X])
    assert got[0] == 4.75


def test_one_value_used_twice_and_nested():
    i, y = var("i"), Var("y", F64)
    body = [
        For(
            i, index(0), index(300), 1,
            (
                Let(y, S.sin(S.exp(element("x0", i)))),
                Store("x1", i, S.add(S.mul(y, y), S.cos(S.sin(y)))),
                Let(Var("b", BOOL), S.gt(y, const(0.0, F64))),
            ),
            "parallel",
        )
    ]  # fmt: skip
    (_, got), _ = run_body(body, [X, X])
    y = np.sin(np.exp(X))
    np.testing.assert_allclose(got, y * y + np.cos(np.sin(y)), rtol=1e-14)


def test_a_store_before_the_argument_is_read():
    """The look ahead would see the old value."""
    i = var("i")
    body = [
        For(
            i, index(0), index(300), 1,
            (
                Store("x1", i, S.mul(element("x0", i), const(1e12, F64))),
                Store("x0", i, S.sin(element("x1", i))),
            ),
            "parallel",
        )
    ]  # fmt: skip
    (got, _), _ = run_body(body, [X, np.zeros(300)])
    np.testing.assert_allclose(got, np.sin(X * 1e12), rtol=1e-15)


@widths
def test_exact_results_are_exact(dtype):
    info = np.finfo(dtype)
    low, high = int(np.log2(float(info.smallest_subnormal))), info.maxexp
    k = np.arange(low, high).astype(dtype)
    powers = np.ldexp(dtype.type(1), k.astype(int)).astype(dtype)
    same_bits(call("log2", [powers]), k)
    same_bits(call("exp2", [k]), powers)
    tens = np.arange(0, 11 if dtype == F32 else 23).astype(dtype)
    same_bits(call("log10", [np.array([10.0 ** int(n) for n in tens], dtype)]), tens)
    whole = np.arange(1, 200).astype(dtype)
    same_bits(call("cbrt", [whole**3]), whole)
    bases, exponents = (v.ravel().astype(dtype) for v in np.meshgrid(np.arange(-12, 12), np.arange(0, 6)))
    same_bits(call("pow", [bases, exponents]), bases**exponents)
