"""Every op on operands of which only some channels are stored: the pass keeps what the op means.

Derived from the cases of the records, as tests/ops does: each operand in turn, and all that have its shape together,
become a `spread`, along each axis, with literal and with run-time indexes.
"""

import numpy as np
import pytest

from sparsec.ir.builder import Builder
from sparsec.ir.dims import sym
from sparsec.ir.interp import interpret
from sparsec.ir.ops.record import REGISTRY, Kind, Sparse
from sparsec.ir.types import I32, I64, TensorType, tensor
from sparsec.ir.verify import verify
from sparsec.passes.propagate import propagate_with_reasons
from tests.ops.samples import arrays

#: They take no arrays of floats, or none that a program may choose.
_LEFT_OUT = (Kind.CONST, Kind.CREATE, Kind.CHECK, Kind.CONTROL, Kind.INDEX, Kind.UPDATE)
OPS = [rec for rec in REGISTRY.values() if rec.kind not in _LEFT_OUT and rec.cases and rec.arity != 0]


def function(rec, case, xs, sparse, axis, kept, literal):
    """The op on spreads of the operands `sparse`, and the arguments that it then takes."""
    b, operands, args = Builder(), [], []
    full = xs[sparse[0]].shape[axis]
    index = np.flatnonzero(kept).astype("i4")
    size = len(index)
    if literal:
        channels = b.const(tuple(index.tolist()), tensor(I32, size))
    else:
        count = b.param(tensor(I64), "k")
        size = sym(f"%{count.name}", full, 0)
        channels = b.param(tensor(I32, size), "index")
        args += [np.array(len(index)), index]
    for k, x in enumerate(xs):
        if k not in sparse:
            operands.append(b.param(tensor(x.dtype, *x.shape)))
            args.append(x)
            continue
        stored = np.take(x, index, axis)
        shape = tuple(size if a == axis else d for a, d in enumerate(x.shape))
        data = b.param(TensorType(x.dtype, shape))
        operands.append(b.op("spread", data, channels, axis=axis, full=full))
        args.append(stored)
    results = b.ops_of(rec.name, *operands, **case.attrs)
    if rec.kind is Kind.VIEW:
        results = tuple(b.op("copy", r) for r in results)
    return b.func("f", results), args


def trials(rec):
    """Some cases with operands to be made sparse: (case, operands, positions, axis)."""
    for case in rec.cases[:12]:
        xs = arrays(rec, case)
        seen = set()
        for k, x in enumerate(xs):
            alike = tuple(j for j, y in enumerate(xs) if y.shape == x.shape and y.dtype == x.dtype)
            for sparse in {(k,), alike} - seen:
                seen.add(sparse)
                if x.size and not isinstance(case.shapes[k], np.ndarray):
                    yield from ((case, xs, sparse, axis) for axis in range(x.ndim))


@pytest.mark.parametrize("rec", OPS, ids=lambda r: r.name)
def test_propagation_keeps_the_meaning(rec):
    rng = np.random.default_rng(0)
    tried = 0
    for case, xs, sparse, axis in trials(rec):
        full = xs[sparse[0]].shape[axis]
        for literal in (True, False):
            kept = rng.random(full) < 0.6
            func, args = function(rec, case, xs, sparse, axis, kept, literal)
            made, _ = propagate_with_reasons(func)
            verify(made)
            wanted, _ = interpret(func, args)
            if rec.sparse is Sparse.KEEP and len(xs) > 1 and 0 in sparse:  # 0 / 0 in an absent channel
                wanted = [np.where(np.isnan(w), np.zeros_like(w), w) for w in wanted]
            for got, want in zip(interpret(made, args)[0], wanted, strict=True):
                np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6, err_msg=f"{case} {sparse} {axis}")
            tried += 1
    assert tried or all(isinstance(s, np.ndarray) or s == () for c in rec.cases for s in c.shapes)


CLAIMS = [r for r in OPS if r.sparse in (Sparse.KEEP, Sparse.UNION, Sparse.INTERSECT)]


@pytest.mark.parametrize("rec", CLAIMS, ids=lambda r: r.name)
def test_what_records_say_of_zero_is_so(rec):
    """KEEP: 0 where the first operand is; UNION: where all are; INTERSECT: where one is."""
    for case in rec.cases:
        xs = arrays(rec, case)
        each = {Sparse.KEEP: [(0,)], Sparse.UNION: [tuple(range(len(xs)))]}.get(
            rec.sparse, [(k,) for k in range(len(xs))])
        for zeros in each:
            given = [np.zeros_like(x) if k in zeros else x for k, x in enumerate(xs)]
            assert not np.any(rec.ref(*given, **{**rec.defaults, **case.attrs}))


@pytest.mark.parametrize("rec", [r for r in OPS if r.channelwise is not None], ids=lambda r: r.name)
def test_channelwise_ops_take_each_slice_for_itself(rec):
    for case in rec.cases:
        (x,), attrs = arrays(rec, case), {**rec.defaults, **case.attrs}
        for axis in rec.channelwise(attrs, x.ndim):
            if not x.size:
                continue
            half = np.arange(0, x.shape[axis], 2)
            whole = rec.ref(x, **attrs)
            np.testing.assert_array_equal(rec.ref(np.take(x, half, axis), **attrs), np.take(whole, half, axis))
