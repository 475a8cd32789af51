"""Schedules never change a value: programs before and after run alike, bit for bit, in the loop interpreter. Only
where lanes run along the taps of a window is a sum formed in another order."""

from dataclasses import replace

import numpy as np
import pytest

from sparsec.ir.builder import Builder
from sparsec.ir.loop_interp import run
from sparsec.ir.loop_rewrite import simplify
from sparsec.ir.loop_text import parse_program
from sparsec.ir.loop_verify import verify_program
from sparsec.ir.loops import Alloc, For, If, Prefetch, walk_stmts
from sparsec.ir.ops.record import record
from sparsec.ir.scalar import S, index, var
from sparsec.ir.types import tensor
from sparsec.passes.base import run_pipeline
from sparsec.passes.lower import lower_program
from sparsec.passes.pipeline import DEFAULT
from sparsec.passes.schedule.copies import Namer, jam, unroll
from sparsec.passes.schedule.decide import decided
from sparsec.passes.schedule.nests import cover, fuse, perfect_nest, strip
from sparsec.passes.schedule.register_block import Registers, register_blocks
from sparsec.passes.schedule.same_kernels import same_kernels

MACHINES = {"512 bits": Registers(64, 32), "256 bits": Registers(32, 16), "device": Registers(0, 0)}


def program(body, scalars="n"):
    return parse_program(f"""program @p {{ arena 0
        slot %x: global f32[64] r = param 0 slot %y: global f32[64] rw = param 1
        kernel @k(%x: global f32[64] r, %y: global f32[64] rw; {scalars}) {{ {body} }}
        host {{ launch @k(%x, %y; 5) }} }}""")


def statements(text):
    return program(text).kernels[0].body


def result(body):
    """What a body makes of `%y`; n is 5."""
    made = program("")
    made = replace(made, kernels=(replace(made.kernels[0], body=body),))
    verify_program(made)
    x, y = np.linspace(-1, 1, 64).astype(np.float32), np.zeros(64, np.float32)
    assert run(made, [x.view(np.uint8), y.view(np.uint8)], "shuffle") == (0, 0)
    return y


def same(before, after):
    np.testing.assert_array_equal(result(before), result(after))


ROWS = """for j in 0..7 bind(parallel) { let row = j * 8 mut s = 0.0:f32
    for p in 0..n { let v = %x[p] if v > 0.0:f32 { s = fma(v, %x[row + p], s) } } %y[row] = s }"""


def test_unrolled_and_jammed():
    (loop,) = statements(ROWS)
    names = Namer(["j", "row", "s", "p", "v", "n"])
    same((loop,), unroll(loop, names))
    beside = jam(loop.body, "j", [index(k) for k in range(7)], names)
    same((loop,), beside)
    (inner,) = (s for s in beside if isinstance(s, For))
    assert sum(1 for s in walk_stmts((inner,)) if hasattr(s, "var") and s.var.name == "v") == 1


@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 9])
@pytest.mark.parametrize("stop", ["7", "n"])
def test_stripped(size, stop):
    (loop,) = statements(f"for j in 0..{stop} bind(parallel) {{ %y[j * 2] = %x[j] }}")
    names = Namer(["j", "n"])

    def block(first, count):
        return jam(loop.body, "j", [S.add(first, index(k)) for k in range(count)], names)

    same((loop,), strip(loop, size, block, names))


@pytest.mark.parametrize("size", [1, 2, 3, 5, 7, 9])
@pytest.mark.parametrize("stop", ["7", "n"])
def test_covered_by_full_blocks(size, stop):
    """What the last block does again is left out: it adds to what is there."""
    (loop,) = statements(f"for j in 0..{stop} bind(parallel) {{ %y[j * 2] = %y[j * 2] + %x[j] + 1.0:f32 }}")

    def block(first, count, since):
        assert count in (1, size)
        body = loop.body if since is None else (If(S.ge(loop.var, since), loop.body),)
        return jam(body, "j", [S.add(first, index(k)) for k in range(count)], names)

    names = Namer(["j", "n"])
    if stop == "n" or size <= 7:
        same((loop,), cover(loop, size, block, names))


def test_fused_loops_walk_neighbours():
    (stmt,) = statements("""for y in 0..4 bind(parallel) { for x in 0..7 bind(parallel) {
        %y[y * 7 + x] = %x[x * 7 + y] } }""")
    nest = perfect_nest(stmt)
    loop, body = fuse(*nest.loops, nest.body, Namer(["x", "y"]))
    same((stmt,), (For(loop.var, loop.start, loop.stop, 1, body),))
    assert simplify(body[0].index) == loop.var


def test_quotient_and_remainder_together_are_the_number():
    q, c = var("q"), index(7)
    both = S.add(S.mul(S.quo(q, c), index(14)), S.add(S.mul(S.rem(q, c), index(2)), index(3)))
    assert simplify(both) == S.add(S.mul(q, index(2)), index(3))
    other = S.add(S.mul(S.quo(q, c), index(13)), S.mul(S.rem(q, c), index(2)))
    assert simplify(other) == other


def test_conditions_that_ranges_decide():
    body = statements("""for i in 0..8 { let at = rem(i, 4) * 2 + 1
        if and(at >= 1, at < n) { %y[i] = 1.0:f32 } else { if i < 4 { if i <= 3 { %y[i] = 2.0:f32 } } else {
        if and(i >= 4, at <= 7) { %y[i] = 3.0:f32 } } }
        if quo(i, 3) > 2 { %y[i] = 9.0:f32 }
        if rem(i, 4) * 2 - 3 >= 0 { %y[i + 8] = 1.0:f32 } if rem(i, 4) * 2 + 1 < 4 { %y[i + 16] = 1.0:f32 }
        if and(i >= 2, i < 4) { if quo(i, 2) * 2 < 4 { %y[i + 24] = 1.0:f32 } } }""")
    made = decided(body)
    same(body, made)
    conditions = [[s.cond for s in walk_stmts(b) if isinstance(s, If)] for b in (body, made)]
    assert [len(c) for c in conditions] == [9, 5]
    asked = S.rem(var("i"), index(4))
    assert conditions[1][0] == S.lt(var("at"), var("n"))
    assert conditions[1][2:4] == [S.ge(asked, index(2)), S.lt(asked, index(2))]


# --- whole convolutions ----------------------------------------------------------------------------------


def lowered(shapes, attrs):
    rng = np.random.default_rng(0)
    args = [s if isinstance(s, np.ndarray) else rng.uniform(-1, 1, s).astype(np.float32) for s in shapes]
    b = Builder()
    made = b.op("conv2d", *(b.param(tensor(a.dtype, *a.shape)) for a in args), **attrs)
    func = b.func("f", (made,))
    return lower_program(run_pipeline(func, DEFAULT)), args, made.type.static_shape


def outcome(made, args, shape):
    verify_program(made)
    out = np.full(shape, np.nan, np.float32)
    status = run(made, [np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in (*args, out)], "shuffle")
    assert status == (0, 0)
    return out


SAME = {"padding": ((1, 1), (1, 1))}
LISTS = [np.array(x, np.int32) for x in ([1, 4], [0, 2, 3, 5, 6])]
CONVOLUTIONS = {
    "pixels and rows left over": ([(1, 2, 5, 7), (11, 2, 3, 3)], SAME),
    "one block": ([(1, 2, 4, 4), (4, 2, 3, 3)], SAME),
    "no padding": ([(1, 2, 6, 9), (3, 2, 3, 3)], {}),
    "strides": ([(1, 2, 7, 6), (3, 2, 3, 3)], {**SAME, "stride": (2, 2)}),
    "large window": ([(1, 1, 7, 5), (2, 1, 5, 7)], {"padding": ((2, 2), (3, 3))}),
    "1x1": ([(2, 3, 5, 5), (9, 3, 1, 1)], {}),
    "depthwise": ([(1, 4, 5, 4), (4, 1, 3, 3)], {**SAME, "groups": 4}),
    "groups": ([(1, 4, 5, 4), (6, 2, 3, 3)], {**SAME, "groups": 2}),
    "lists": ([(1, 2, 5, 4), (7, 5, 3, 3), *LISTS], {**SAME, "extras": ("inputs", "rows"), "in_channels": 5}),
    "one pixel": ([(1, 3, 1, 1), (4, 3, 1, 1)], {}),
}


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_blocks_keep_every_bit(name, machine):
    made, args, shape = lowered(*CONVOLUTIONS[name])
    blocked = register_blocks(made, MACHINES[machine])
    np.testing.assert_array_equal(outcome(blocked, args, shape), outcome(made, args, shape))


@pytest.mark.parametrize("name", [n for n in CONVOLUTIONS if n != "one pixel"])
def test_vectors_are_used(name):
    made, *_ = lowered(*CONVOLUTIONS[name])
    *_, kernel = register_blocks(made, MACHINES["512 bits"]).kernels
    assert any(isinstance(s, For) and s.bind == "vector" for s in walk_stmts(kernel.body))


def test_other_kernels_stay_as_they_are():
    b = Builder()
    x = b.param(tensor(np.dtype("f4"), 6, 7))
    func = b.func("f", (b.op("sum", b.op("exp", x), axes=(1,)), b.op("matmul", x, b.op("transpose", x, perm=(1, 0)))))
    made = lower_program(run_pipeline(func, DEFAULT))
    assert register_blocks(made, MACHINES["512 bits"]) == made


def test_the_reference_is_what_blocks_compute():
    shapes, attrs = CONVOLUTIONS["pixels and rows left over"]
    made, args, shape = lowered(shapes, attrs)
    rec = record("conv2d")
    want = rec.ref(*args, **{**rec.defaults, **attrs})
    np.testing.assert_allclose(outcome(register_blocks(made, MACHINES["512 bits"]), args, shape), want, 1e-5, 1e-6)


@pytest.mark.parametrize("lists", [(), LISTS[:1]])
def test_a_pixel_that_is_left_over_has_lanes_along_its_taps(lists):
    extras = {"extras": ("inputs",), "in_channels": 5} if lists else {}
    made, args, shape = lowered([(1, 2, 7, 7), (9, 5 if lists else 2, 3, 3), *lists], {**SAME, **extras})
    blocked = register_blocks(made, MACHINES["512 bits"])
    taps = [s.buffer.size for s in walk_stmts(blocked.kernels[-1].body) if isinstance(s, Alloc)]
    assert taps and set(taps) == {16}
    np.testing.assert_allclose(outcome(blocked, args, shape), outcome(made, args, shape), 1e-5, 1e-6)


@pytest.mark.parametrize(("taps", "asks"), [(1, True), (3, False)])
def test_pixels_that_are_read_for_one_tap_are_asked_for_early(taps, asks):
    margin = taps // 2
    made, *_ = lowered([(1, 4, 8, 8), (9, 4, taps, taps)], {"padding": ((margin, margin), (margin, margin))})
    (kernel,) = register_blocks(made, MACHINES["512 bits"]).kernels
    asked = {s.buffer for s in walk_stmts(kernel.body) if isinstance(s, Prefetch)}
    assert asked == ({made.slots[0].buffer.name} if asks else set())


def test_same_kernels_are_one():
    def kernel(name, x, y, factor):
        return f"""kernel @{name}(%{x}: global f32[64] r, %{y}: global f32[64] rw; n) {{
            for {y} in 0..n {{ let {x} = %{x}[{y}] * {factor}:f32 %{y}[{y}] = {x} }} }}"""

    made = parse_program(f"""program @p {{ arena 0
        slot %x: global f32[64] r = param 0 slot %y: global f32[64] rw = param 1
        {kernel("f", "x", "y", 2.0)} {kernel("g", "a", "b", 2.0)} {kernel("h", "x", "y", 0.5)}
        host {{ launch @f(%x, %y; 4) launch @g(%x, %y; 5) launch @h(%x, %y; 3) }} }}""")
    once = same_kernels(made)
    assert [k.name for k in once.kernels] == ["f", "h"]
    assert [(launch.kernel, launch.buffers) for launch in once.body] == [
        ("f", ("x", "y")), ("f", ("x", "y")), ("h", ("x", "y"))
    ]  # fmt: skip


def test_kernels_of_different_literals_stay_apart():
    made = parse_program("""program @p { arena 0
        slot %y: global f32[2] rw = param 0 slot %z: global f32[2] rw = param 1
        slot %c: global f32[2] r = const 0 "0000803f0000803f" slot %d: global f32[2] r = const 1 "0000004000000040"
        kernel @f(%c: global f32[2] r, %y: global f32[2] rw) { %y[0] = %c[0] }
        kernel @g(%d: global f32[2] r, %z: global f32[2] rw) { %z[0] = %d[0] }
        host { launch @f(%c, %y) launch @g(%d, %z) } }""")
    assert len(same_kernels(made).kernels) == 2
