"""Tests derived from the op records: nothing here names an op, and a new one is tested by being declared.

For every case of every record: the inferred types are those of the NumPy reference, views have NumPy's
strides, the op survives its text form, and the graph and loop interpreters give what the reference gives.
Elementwise lowerings are tried on edge values of every dtype, gradients against finite differences.
"""

import itertools

import numpy as np
import pytest

from sparsec import errors
from sparsec.ir.builder import Builder
from sparsec.ir.dims import sym
from sparsec.ir.interp import interpret
from sparsec.ir.loop_interp import run
from sparsec.ir.ops.record import REGISTRY, Kind
from sparsec.ir.reader import parse
from sparsec.ir.scalar import S, var
from sparsec.ir.text import to_text
from sparsec.ir.types import dtype_name, tensor
from sparsec.ir.verify import verify
from sparsec.passes.base import run_pipeline
from sparsec.passes.lower import lower_program
from sparsec.passes.pipeline import DEFAULT, UNOPTIMISED
from tests.ops.evaluate import evaluate
from tests.ops.samples import arrays, edge_arrays, grids, near_reference, operand_types, same

CASES = [
    pytest.param(rec, case, id=f"{rec.name}-{number}")
    for rec in REGISTRY.values() for number, case in enumerate(rec.cases)
]
ELEMENTWISE = [rec for rec in REGISTRY.values() if rec.kind is Kind.ELEMENTWISE]
DIFFERENTIABLE = [rec for rec in REGISTRY.values() if rec.grad is not None and rec.kind is not Kind.VIEW]
NO_RESULT = (Kind.CHECK, Kind.CONTROL)
COMPUTING = [rec for rec in REGISTRY.values() if rec.kind not in NO_RESULT]


def attributes(rec, case):
    return {**rec.defaults, **case.attrs}


def reference(rec, case, xs):
    with np.errstate(all="ignore"):
        out = rec.ref(*xs, **attributes(rec, case))
    return [np.asarray(x) for x in (out if isinstance(out, tuple) else (out,))]


def function(rec, case, xs):
    """A function of the one op; a view comes back as a copy, an update as a write to its first parameter."""
    b = Builder()
    params = [b.param(tensor(x.dtype, *x.shape)) for x in xs]
    operands = list(params)
    if rec.kind is Kind.UPDATE:
        whole = params[0].type.shape
        operands[1] = b.op("slice", params[0], start=(0,) * len(whole), size=whole, step=(1,) * len(whole))
    if rec.kind is Kind.CONST:
        results = (b.const(case.attrs["value"], tensor(case.attrs["dtype"], *case.attrs["shape"])),)
    else:
        results = b.ops_of(rec.name, *operands, **case.attrs)
    if rec.kind is Kind.UPDATE:
        return b.func("f", (), results)
    if rec.kind in (Kind.VIEW, Kind.CONST):
        results = (b.op("copy", results[0]),)
    return b.func("f", results)


def by_interpreter(func, xs):
    """Results, or where there are none what the function wrote."""
    results, written = interpret(func, xs)
    return results or [flat.reshape(x.shape) for flat, x in zip(written, xs)]


def by_loops(func, xs, pipeline):
    """Results and written parameters of the lowered function, in the loop interpreter."""
    xs = [np.array(x, order="C") for x in xs]
    planned = run_pipeline(func, pipeline)
    outs = [np.zeros(v.type.static_shape, v.type.dtype) for v in func.results]
    pointers = [x.reshape(-1).view(np.uint8) for x in (*xs, *outs)]
    status, _ = run(lower_program(planned), pointers, order="shuffle")
    assert status == 0
    return outs if func.results else xs[:1]


def assert_same(got, want, ulp=0):
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    agree = same(got, want, ulp)
    assert np.all(agree), f"got {got[~agree][:5]}, want {want[~agree][:5]}"


def workspace(rec, results):
    """Results that carry meaning: NEST ops may have workspace behind their first."""
    return results[:1] if rec.kind is Kind.NEST else results


# --- every case ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rec", COMPUTING, ids=lambda r: r.name)
def test_every_op_that_computes_has_cases(rec):
    assert rec.cases or rec.name in ("empty", "update")


@pytest.mark.parametrize(("rec", "case"), CASES)
def test_infer_tells_what_the_reference_gives(rec, case):
    xs = arrays(rec, case)
    types = rec.infer([tensor(x.dtype, *x.shape) for x in xs], attributes(rec, case))
    if rec.kind in NO_RESULT:
        assert types == []
        return
    for inferred, array in zip(types, reference(rec, case, xs), strict=True):
        assert (inferred.dtype, inferred.shape) == (array.dtype, array.shape)


@pytest.mark.parametrize(("rec", "case"), [c for c in CASES if c.values[0].kind is Kind.ELEMENTWISE])
def test_elementwise_ops_take_symbolic_dims(rec, case):
    xs, n = arrays(rec, case), sym("n")
    types = [tensor(x.dtype, *((n,) if x.shape else ())) for x in xs]
    (result,) = rec.infer(types, attributes(rec, case))
    assert result.shape == ((n,) if any(x.shape for x in xs) else ())


@pytest.mark.parametrize(("rec", "case"), [c for c in CASES if c.values[0].kind is Kind.VIEW])
def test_views_have_numpys_strides(rec, case):
    (x,) = arrays(rec, case)
    b = Builder()
    result = b.op(rec.name, b.param(tensor(x.dtype, *x.shape)), **case.attrs)
    (want,) = reference(rec, case, [x])
    ref, item = result.ref, want.dtype.itemsize
    if want.size:
        offset = want.__array_interface__["data"][0] - x.__array_interface__["data"][0]
        assert ref.offset * item == offset
        strides = [(s, w // item) for s, w, d in zip(ref.strides, want.strides, want.shape) if d > 1]
        assert all(s == w for s, w in strides)


@pytest.mark.parametrize(("rec", "case"), CASES)
def test_text_reads_back_as_the_same(rec, case):
    func = function(rec, case, arrays(rec, case))
    verify(func)
    text = to_text(func)
    assert to_text(parse(text)) == text
    assert parse(text) == func


@pytest.mark.parametrize(("rec", "case"), CASES)
def test_interpreters_give_the_reference(rec, case):
    xs = arrays(rec, case)
    func = function(rec, case, xs)
    if rec.kind in NO_RESULT:
        assert by_interpreter(func, [x.copy() for x in xs]) == []
        return
    want = reference(rec, case, xs)
    for got, array in zip(by_interpreter(func, xs), want, strict=True):
        assert_same(got, np.array(array))
    for pipeline in (UNOPTIMISED, DEFAULT):
        got = by_loops(func, xs, pipeline)
        for array, expected in zip(workspace(rec, got), workspace(rec, want), strict=True):
            assert_same(array, np.array(expected), case.ulp)


LOOPS = [c for c in CASES if c.values[0].kind in (Kind.REDUCE, Kind.NEST) and not c.values[1].ulp]


@pytest.mark.parametrize(("rec", "case"), LOOPS)
def test_exact_loops_on_edge_values(rec, case):
    """Folds, scans, sorts and loops per element: NaN, infinities, signs of zero, integers that overflow."""
    for seed in range(4):
        xs = edge_arrays(rec, case, seed)
        func, want = function(rec, case, xs), reference(rec, case, xs)
        got = by_loops(func, xs, UNOPTIMISED)
        for array, expected in zip(workspace(rec, got), workspace(rec, want), strict=True):
            assert_same(array, np.array(expected))


@pytest.mark.parametrize("rec", [r for r in COMPUTING if r.kind is Kind.REDUCE], ids=lambda r: r.name)
def test_reductions_of_nothing_have_a_value_where_numpys_have(rec):
    case = rec.cases[0]
    x = np.zeros((0, 3), case.dtypes[0])
    try:
        rec.ref(x, axes=(0,))
    except ValueError:
        with pytest.raises(errors.ShapeError):
            rec.infer([tensor(x.dtype, *x.shape)], {"axes": (0,)})
    else:
        assert rec.infer([tensor(x.dtype, *x.shape)], {"axes": (0,)})[0].shape == (3,)


# --- elementwise lowerings on edge values ----------------------------------------------------------------


def edge_cases(rec):
    attrs = [dict(pairs) for pairs in dict.fromkeys(tuple(case.attrs.items()) for case in rec.cases)]
    for types, values in itertools.product(operand_types(rec), attrs or [{}]):
        try:
            rec.infer([tensor(d, 2) for d in types], values)
        except errors.SparsecError:
            continue
        yield types, values


@pytest.mark.parametrize("rec", ELEMENTWISE, ids=lambda r: r.name)
def test_elementwise_lowerings_on_edge_values(rec):
    tried = 0
    for types, attrs in edge_cases(rec):
        xs = grids(types)
        names = [f"x{k}" for k in range(len(xs))]
        expr = rec.lower(S, *(var(n, x.dtype) for n, x in zip(names, xs)), **attrs)
        got = np.broadcast_to(evaluate(expr, dict(zip(names, xs))), xs[0].shape)
        with np.errstate(all="ignore"):
            want = np.asarray(rec.ref(*xs, **attrs))
        assert got.dtype == want.dtype == expr.dtype
        ulp = max((c.ulp for c in rec.cases if np.dtype(c.dtypes[0]) == types[0]), default=0)
        wrong = np.flatnonzero(~near_reference(rec, attrs, xs, got, want, ulp))
        shown = [(*(x[i] for x in xs), got[i], want[i]) for i in wrong[:5]]
        assert not shown, f"{', '.join(map(dtype_name, types))} {attrs}: operands, got, want: {shown}"
        tried += 1
    assert tried


# --- gradients -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rec", DIFFERENTIABLE, ids=lambda r: r.name)
def test_gradients_match_finite_differences(rec):
    tried = 0
    for case in rec.cases:
        xs = arrays(rec, case)
        if any(x.dtype != np.float64 or not x.size for x in xs) or not case.shapes:
            continue
        if attributes(rec, case).get("dtype", np.dtype(np.float64)) != np.float64:
            continue
        xs = shifted_into_domain(rec, case, xs)
        func, seed = backward(rec, case, xs)
        got = by_interpreter(func, [*xs, seed])
        for k, gradient in enumerate(got):
            np.testing.assert_allclose(gradient, slope(rec, case, xs, k, seed), rtol=1e-5, atol=1e-6)
        tried += 1
        if tried == 3:
            break
    assert tried


def shifted_into_domain(rec, case, xs):
    """The operands lie in (0, 1); a function that is not defined there is on (1, 2)."""
    if np.all(np.isfinite(reference(rec, case, xs)[0])):
        return xs
    return [x + 1 for x in xs]


def backward(rec, case, xs):
    b = Builder()
    operands = [b.param(tensor(x.dtype, *x.shape)) for x in xs]
    result = b.op(rec.name, *operands, **case.attrs)
    seed = np.random.default_rng(1).uniform(0.5, 1.5, result.type.static_shape)
    gradient = b.param(tensor(seed.dtype, *seed.shape))
    return b.func("f", tuple(rec.grad(b, b.ops[-1], gradient))), seed


def slope(rec, case, xs, k, seed, step=1e-6):
    """The derivative of sum(result * seed) by operand k, from both sides."""
    found = np.zeros_like(xs[k])
    for at in np.ndindex(xs[k].shape):
        ends = []
        for sign in (-1, 1):
            moved = [x.copy() for x in xs]
            moved[k][at] += sign * step
            ends.append(np.sum(reference(rec, case, moved)[0] * seed))
        found[at] = (ends[1] - ends[0]) / (2 * step)
    return found
