"""Pipelines as text, forms, dumps, and what the passes report."""

import os
import subprocess
import sys

import numpy as np
import pytest

from sparsec.config import settings
from sparsec.errors import ConfigError, OutOfMemory, VerifyError
from sparsec.ir.forms import Form
from sparsec.ir.graph import Func
from sparsec.ir.loop_text import program_text
from sparsec.ir.text import parse, to_text
from sparsec.passes.base import Pass, check_forms, run_pipeline
from sparsec.passes.fuse import Fuse, fuse_with_decisions
from sparsec.passes.linearize import Linearize
from sparsec.passes.lower import lower_program
from sparsec.passes.pipeline import DEFAULT, PASSES, UNOPTIMISED, parse_pipeline
from sparsec.passes.plan_memory import PlanMemory, memory_report
from sparsec.passes.resolve_views import ResolveViews
from tests.passes.programs import random_program

REVERSED_TWICE = """
func @f(%x: f32[1024]) {
  %a = exp %x : f32[1024]
  %r = slice %a {start=[1023], size=[1024], step=[-1]} : f32[1024] @a+1023:(-1)
  %b = neg %r : f32[1024]
  %q = slice %b {start=[1023], size=[1024], step=[-1]} : f32[1024] @b+1023:(-1)
  %c = exp %q : f32[1024]
  %s = slice %c {start=[1023], size=[1024], step=[-1]} : f32[1024] @c+1023:(-1)
  %d = neg %s : f32[1024]
  return %d
}
"""


#: Without `inline`, which would compute this program in one kernel.
IN_STEPS = tuple(p for p in DEFAULT if p.name != "inline")


@pytest.mark.parametrize("text", [
    "canonicalize", "fuse{max-ops=8}", "canonicalize,fuse{max-ops=8},plan-memory{limit=4096}",
])
def test_specs_read_back(text):
    assert ",".join(p.spec for p in parse_pipeline(text)) == text


def test_spaces_and_defaults_are_left_out():
    assert [p.spec for p in parse_pipeline(" cse , fuse{ max-ops = 64 }")] == ["cse", "fuse"]
    assert parse_pipeline("default") == DEFAULT
    assert parse_pipeline("unoptimised") == UNOPTIMISED


@pytest.mark.parametrize(("text", "words"), [
    ("canonicalise", "no pass 'canonicalise'"), ("fuse{most=3}", "no option 'most'"),
    ("fuse{max-ops=many}", "must be a int"), ("fuse{max-ops=8", "cannot read"), ("cse dce", "cannot read"),
])
def test_broken_specs(text, words):
    with pytest.raises(ConfigError, match=words):
        parse_pipeline(text)


def test_a_pass_out_of_order_is_refused_before_anything_runs():
    ran = []

    class Spy(Pass):
        name = "spy"

        def run(self, func: Func) -> Func:
            ran.append(func)
            return func

    with pytest.raises(VerifyError, match="fuse needs the form VIEWS_RESOLVED, but gets TRACED"):
        run_pipeline(parse(REVERSED_TWICE), [Spy(), Fuse()])
    assert ran == []


def test_the_pipelines_fit():
    assert check_forms(DEFAULT) == check_forms(UNOPTIMISED) == Form.PLANNED
    assert all(name == cls.name for name, cls in PASSES.items())


def test_a_pass_that_breaks_the_ir_is_named():
    class Breaker(Pass):
        name = "breaker"

        def run(self, func: Func) -> Func:
            return func.with_ops(func.ops[1:])

    with pytest.raises(VerifyError, match="after pass breaker: %a is used before it is defined"):
        run_pipeline(parse(REVERSED_TWICE), [Breaker()], verify=True)


def test_dumps_read_back(tmp_path):
    with settings.override(dump=tmp_path):
        last = run_pipeline(parse(REVERSED_TWICE), UNOPTIMISED)
    files = sorted((tmp_path / "f").iterdir())
    assert [f.name for f in files] == [f"{n:02d}-{p.name}.sir" for n, p in enumerate(UNOPTIMISED, 1)]
    assert to_text(parse(files[-1].read_text())) == to_text(last)


def test_memory_report():
    func = run_pipeline(parse(REVERSED_TWICE), IN_STEPS)
    report = memory_report(func)
    # Reversed reads cannot be in place: two arrays are alive at a time, never three.
    assert (report.peak, report.lower_bound, report.naive, report.results) == (8192, 8192, 12288, 4096)


def test_memory_limit():
    func = run_pipeline(parse(REVERSED_TWICE), IN_STEPS[:-1])
    assert PlanMemory(limit=12288).run(func).plan
    with pytest.raises(OutOfMemory, match="8192 bytes of temporaries and 4096 of results"):
        PlanMemory(limit=12287).run(func)


def test_decisions_say_why():
    func = run_pipeline(parse(REVERSED_TWICE), [ResolveViews(), Linearize()])
    _, decisions = fuse_with_decisions(func)
    assert [d.op.result.name for d in decisions] == ["b", "c", "d"]
    assert decisions[0].reason == "it reads elements of @a that an earlier kernel makes at other indexes"


def test_a_long_program_takes_linear_time():
    def ops(count):
        return sum(1 for op in run_pipeline(chain(count), DEFAULT).ops if op.regions)

    assert ops(10) == 1
    assert ops(400) == 7  # 64 ops to a kernel


def chain(count):
    lines = [f"%v{n + 1} = neg %v{n} : f32[8]" for n in range(count)]
    return parse("func @f(%v0: f32[8]) {\n" + "\n".join(lines) + f"\nreturn %v{count}\n}}")


def test_hash_seed_changes_nothing():
    code = "from tests.passes.test_base import everything; print(everything())"
    texts = {
        subprocess.run([sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
                       capture_output=True, text=True).stdout
        for seed in ("1", "2")
    }
    assert len(texts) == 1
    assert len(texts.pop()) > 5000


def everything():
    found = []
    for seed in range(8):
        func = run_pipeline(random_program(seed)[0], DEFAULT)
        found += [to_text(func), program_text(lower_program(func))]
    return "\n".join(found)


def test_alignments_are_stated():
    func = run_pipeline(parse(REVERSED_TWICE), IN_STEPS)
    aligns = {s.buffer.name: s.buffer.align for s in lower_program(func, {"x": 32}).slots}
    assert (aligns["x"], aligns["a"], aligns["d"]) == (32, 64, np.dtype("f4").itemsize)
