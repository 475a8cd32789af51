"""Which loops threads share, and how much work there is in them."""

import numpy as np
import pytest

from sparsec.codegen import threads
from sparsec.codegen.cost import body_cost
from sparsec.codegen.llvm import LlvmTarget, llvm_text
from sparsec.codegen.pool import SHARE
from sparsec.compiler import thread_pool
from sparsec.ir.loop_text import parse_kernel, parse_program
from sparsec.ir.loops import Const, For, Program, Var
from sparsec.ir.scalar import S, index, var
from sparsec.ir.types import I64
from sparsec.runtime.cpu import CpuExecutable, compile_object, host_cpu


def kernel_of(text):
    return parse_kernel(f"kernel @k(%x: global f32[64] r, %y: global f32[64] w; n) {{\n{text}\n}}\n")


def cost(text, **known):
    kernel = kernel_of(text)
    found = body_cost(kernel.body, {name: index(size) for name, size in known.items()})
    return int(found.value.real) if isinstance(found, Const) else found


COPY = "let a = %x[i]\n%y[i] = a"


def test_work_grows_with_every_loop_around_it():
    one = cost(f"for i in 0..1 {{\n{COPY}\n}}")
    assert one > 0
    assert cost(f"for i in 0..1000 {{\n{COPY}\n}}") == 1000 * one
    assert cost(f"for i in 0..1000 step 3 {{\n{COPY}\n}}") == 334 * one
    assert cost(f"for j in 0..7 {{\nfor i in 0..1000 {{\n{COPY}\n}}\n}}") == 7000 * one
    assert cost(f"for i in 0..n {{\n{COPY}\n}}", n=50) == 50 * one


def test_only_integers_are_counted_with():
    assert cost("let k = cast:i64(nan:f32 + 1.0:f32)\nfor i in 0..7 {\n" + COPY + "\n}") > 0


def test_a_block_is_no_longer_than_its_step():
    block = f"for b in 0..100000 step 256 {{\nlet e = min(b + 256, 100000)\nfor i in b..e {{\n{COPY}\n}}\n}}"
    plain = cost(f"for i in 0..100000 {{\n{COPY}\n}}")
    assert plain <= cost(block) < 1.02 * plain


def test_a_triangle_is_half_a_square():
    triangle = cost(f"for j in 0..1000 {{\nfor i in j..1000 {{\n{COPY}\n}}\n}}")
    assert triangle == cost(f"for j in 0..1000 {{\nfor i in 0..500 {{\n{COPY}\n}}\n}}")


def test_slow_functions_and_branches_weigh_more():
    def of(value):
        return cost(f"for i in 0..100 {{\nlet a = {value}\n%y[i] = a\n}}")

    assert of("%x[i]") < of("%x[i] + 1.0:f32") < of("div(%x[i], 3.0:f32)") < of("exp(%x[i])")
    assert cost(f"for i in 0..9 {{\nif %x[i] > 0.0:f32 {{\n{COPY}\n}}\n}}") > cost(f"for i in 0..9 {{\n{COPY}\n}}")


def test_a_size_of_the_call_stays_in_the_estimate():
    found = body_cost(kernel_of(f"for i in 0..n {{\n{COPY}\n}}").body, {"n": var("n")})
    one = cost(f"for i in 0..1 {{\n{COPY}\n}}")
    assert found == S.mul(S.max(Var("n", I64), index(0)), index(one))


# --- loops that are cut --------------------------------------------------------------------------------------


@pytest.fixture
def everything(monkeypatch):
    """Every parallel loop is worth it, and every turn may be handed out alone."""
    monkeypatch.setattr(threads, "WORTHWHILE", 0)
    monkeypatch.setattr(threads, "LEAST_CHUNK", 1)
    monkeypatch.setattr(threads, "_TURNS", 1)


def compiled(body, inputs="f64[4096]"):
    program: Program = parse_program(f"""program @p {{
  slot %x: global {inputs} rw = param 0
  slot %y: global f64[4096] rw = param 1
  failure value "one"
  failure value "two"
  kernel @k(%x: global {inputs} r, %y: global f64[4096] rw) {{
    {body}
  }}
  host {{
    launch @k(%x, %y)
  }}
}}
""")
    host = host_cpu()
    return llvm_text(program, LlvmTarget(host.triple, host.data_layout, host.cpu, host.features, threads=True))


def run(text, x, y, count):
    executable = CpuExecutable([compile_object(text)], thread_pool().symbols)
    return executable.run([x.ctypes.data, y.ctypes.data], threads=count)


def check(body, expected):
    """Runs a kernel with 1, 2 and 5 threads on x = 0, 1, 2, … and y = 1."""
    text = compiled(body)
    assert SHARE in text
    for count in (1, 2, 5):
        x, y = np.arange(4096.0), np.ones(4096)
        assert run(text, x, y, count) == (0, 0)
        np.testing.assert_array_equal(y, expected(np.arange(4096.0), np.ones(4096)))
    return text


def test_values_from_before_the_loop_are_handed_over(everything):
    # %y[7] is overwritten by some turn: its first value is what counts, as is that of the mut.
    check("""let s = %y[7]
    let t = %x[3] > 2.0
    mut m = 5.0
    m = m + s
    for i in 0..4096 bind(parallel) {
      let v = select:f64(t, %x[i] * s + m, 0.0)
      %y[i] = v
    }""", lambda x, y: x + 6)


def test_loops_after_and_inside_other_statements(everything):
    def expected(x, y):
        for k in range(3):
            y += x * k
        y[:10] = -y[:10]
        return y

    check("""for k in 0..3 {
      let f = cast:f64(k)
      for i in 0..4096 bind(parallel) {
        let v = %y[i] + %x[i] * f
        %y[i] = v
      }
    }
    for i in 0..10 bind(parallel) {
      let v = neg(%y[i])
      %y[i] = v
    }""", expected)


def test_steps_and_bounds(everything):
    def expected(x, y):
        y[5:4090:7] = x[5:4090:7]
        return y

    check("""for i in 5..4090 step 7 bind(parallel) {
      let v = %x[i]
      %y[i] = v
    }
    for i in 9..3 bind(parallel) {
      %y[i] = 0.0
    }""", expected)


FEW = """for i in 0..4 bind(parallel) {{
      {between}
      for j in 0..1024 bind(parallel) {{
        {inner}
        let v = %x[i * 1024 + j] * 2.0
        %y[i * 1024 + j] = v
      }}
    }}"""


def cut(text):
    """How many turns the shared loop has: the second last number of the call."""
    call = next(line for line in text.splitlines() if "call i32 @shared" in line and ".part" not in line)
    return int(call.split("i64 ")[-2].split(",")[0])


def test_an_inner_loop_with_more_turns_is_cut_instead(everything):
    assert cut(check(FEW.format(between="let u = %x[i]", inner=""), lambda x, y: 2 * x)) == 1024


@pytest.mark.parametrize(("between", "inner"), [
    ("let u = %y[i]", ""),  # every part would read it, and another might have written
    ("%y[i * 1024] = 3.0", ""),
    ("", "if %x[i] < 0.0 {\n fail 1\n }"),  # of two failures the first in order counts
])
def test_but_not_where_its_surroundings_cannot_be_repeated(everything, between, inner):
    assert cut(check(FEW.format(between=between, inner=inner), lambda x, y: 2 * x)) == 4


@pytest.mark.parametrize(("stop", "facts"), [(10, "range(i64 0, 12) "), (1 << 80, "")])
def test_llvm_is_told_where_turns_begin_and_end_if_it_has_such_numbers(stop, facts):
    first, last = threads._bounds(For(var("i"), index(0), index(stop), 1, (), "parallel"))
    assert first.facts == last.facts == facts


def test_a_loop_without_a_body(everything):
    text = compiled("for i in 0..4096 bind(parallel) {\n    }")
    x, y = np.zeros(4096), np.ones(4096)
    assert run(text, x, y, 3) == (0, 0)


def test_of_several_failures_the_first_in_order_is_reported(everything):
    text = compiled("""for i in 0..4096 bind(parallel) {
      if %x[i] == 1.0 {
        fail 1
      }
      if %x[i] == 2.0 {
        fail 2
      }
    }""")
    executable, rng = CpuExecutable([compile_object(text)], thread_pool().symbols), np.random.default_rng(0)
    for _ in range(200):
        x, y = np.zeros(4096), np.ones(4096)
        x[rng.integers(0, 4096, 3)] = 1
        x[rng.integers(0, 4096, 3)] = 2
        expected = int(x[np.flatnonzero(x)[0]])
        for count in (1, 2, 4):
            assert executable.run([x.ctypes.data, y.ctypes.data], threads=count) == (expected, 0)
