"""The tools that passes over loops are made of."""

import random

import numpy as np
import pytest

from sparsec.ir.loop_interp import _Frame, evaluate
from sparsec.ir.loop_rewrite import (
    declared_names,
    map_body,
    map_expr,
    nodes,
    reads,
    rename,
    simplify,
    substitute,
    writes,
)
from sparsec.ir.loop_text import expr_text, kernel_text, parse_kernel
from sparsec.ir.loops import Apply, Const, For, Kernel
from sparsec.ir.scalar import S, index, var
from sparsec.ir.types import I64

TEXT = """\
kernel @k(%x: global f32[8] r, %y: global f32[8] w; n) {
  let a = n + 1
  alloc %t: private f32[2] rw
  for i in 0..a {
    mut s = %x[i]
    %t[0] = s
    s = s + %t[0]
    if s > 1.0:f32 {
      %y[i] = s
    }
  }
  extern gemm:f32(%y[a], %x[0], %x[n]; 1, 1, 1, 1, 1, 1, 1, 1, a)
}
"""
BODY = parse_kernel(TEXT).body


def test_questions():
    assert reads(BODY) == ("x", "t")
    assert writes(BODY) == ("t", "y")
    assert declared_names(BODY) == ("a", "i", "s")


def test_rename_reaches_everything():
    kernel = parse_kernel(TEXT)
    new = rename(BODY, {"a": "b", "i": "j", "s": "sum"}, {"t": "scratch", "x": "in", "y": "out"})
    text = kernel_text(Kernel("k", kernel.buffers, kernel.scalars, new))
    for old in ("a =", " i ", "s =", "%t", "%x[", "%y["):
        assert f" {old}" not in text
    back = rename(new, {"b": "a", "j": "i", "sum": "s"}, {"scratch": "t", "in": "x", "out": "y"})
    assert back == BODY


def test_substitute():
    (let, *_), kernel = substitute(BODY, {"n": index(7)}), parse_kernel(TEXT)
    assert let.value == Apply("add", (index(7), index(1)), I64)
    assert kernel.body == BODY


def test_map_body_goes_bottom_up_and_may_drop_statements():
    seen = []

    def note(stmt):
        seen.append(type(stmt).__name__)
        return () if isinstance(stmt, For) else (stmt,)

    assert [type(s).__name__ for s in map_body(BODY, note)] == ["Let", "Alloc", "Extern"]
    assert seen == ["Let", "Alloc", "Mut", "Store", "Assign", "Store", "If", "For", "Extern"]


def test_sharing_is_kept():
    x = S.add(var("n"), index(1))
    for _ in range(80):
        x = S.add(x, x)
    calls = []
    y = map_expr(x, lambda e: calls.append(e) or e)
    assert y is x and len(calls) == 83
    z = map_expr(x, lambda e: index(2) if isinstance(e, Const) else e)
    assert z.args[0] is z.args[1] and len(list(nodes(z))) == 83


i, j = var("i"), var("j")


@pytest.mark.parametrize(("expr", "text"), [
    (S.sub(S.add(S.mul(i, index(4)), index(1)), S.mul(i, index(4))), "1"),
    (S.add(S.add(index(3), i), S.add(j, j)), "i + j * 2 + 3"),
    (S.mul(S.add(i, index(2)), index(3)), "i * 3 + 6"),
    (S.sub(i, i), "0"),
    (S.sub(index(5), i), "i * -1 + 5"),
    (S.sub(S.add(i, index(1)), index(4)), "i - 3"),
    (S.sub(j, S.mul(index(2), i)), "j - i * 2"),
    (S.mul(S.mul(i, j), index(2)), "i * j * 2"),
    (S.neg(S.neg(i)), "i"),
    (S.mul(S.mul(i, index(1 << 62)), index(4)), "0"),
])  # fmt: skip
def test_simplify(expr, text):
    assert expr_text(simplify(expr)) == text


def test_simplify_keeps_the_value_where_it_wraps():
    rng = random.Random(3)
    extremes = (0, 1, -1, 2, 7, 2**63 - 1, -(2**63), 2**62)

    def build(depth):
        if depth == 0 or rng.random() < 0.2:
            return rng.choice([i, j, index(rng.choice(extremes))])
        fn = rng.choice(["add", "sub", "mul", "neg"])
        return Apply(fn, tuple(build(depth - 1) for _ in range(1 if fn == "neg" else 2)), I64)

    with np.errstate(all="ignore"):
        for _ in range(300):
            expr = build(4)
            short = simplify(expr)
            assert all(-(2**63) <= n.value < 2**63 for n in nodes(short) if isinstance(n, Const))
            names = {name: np.int64(rng.choice(extremes)) for name in "ij"}
            assert evaluate(short, _Frame(names)) == evaluate(expr, _Frame(names)), expr_text(expr)
