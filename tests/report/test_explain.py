"""Explanations: what they say of small functions whose fate is known."""

import json

import numpy as np
import pytest

import sparsec
from sparsec.cli.main import main
from sparsec.errors import ConcretizationError
from sparsec.ir.loop_text import parse_kernel
from sparsec.ir.remarks import Topic, collect_remarks
from sparsec.passes.plan_memory import memory_report
from sparsec.report.vectors import loop_lines, native_code, obstacles

SOURCE = """\
import numpy as np


def shrink(boxes, scores):
    size = boxes[:, 2:] - boxes[:, :2]
    boxes[:, 2:] -= 0.5 * size
    scores[size[:, 0] < 1.0] = 0.0
    boxes[1:] = boxes[:-1]
    t = np.exp(boxes.T.reshape(-1))
    return t.sum()
"""


def shrink(boxes, scores):
    size = boxes[:, 2:] - boxes[:, :2]
    boxes[:, 2:] -= 0.5 * size
    scores[size[:, 0] < 1.0] = 0.0
    boxes[1:] = boxes[:-1]
    t = np.exp(boxes.T.reshape(-1))
    return t.sum()


FIRST = shrink.__code__.co_firstlineno


def explained(function, *args, **options):
    return sparsec.jit(function, **options).explain(*args)


@pytest.fixture(scope="module")
def report():
    return explained(shrink, np.zeros((1000, 4), np.float32), np.zeros(1000, np.float32))


def line(found, number):
    (report,) = (r for r in found.lines if r.line == FIRST + number)
    return report


def test_every_line_names_its_kernels(report):
    assert [line(report, n).kernels for n in range(1, 7)] == [(0,), (0,), (0,), (1, 2), (3, 4), (4,)]
    assert line(report, 2).text == "boxes[:, 2:] -= 0.5 * size"
    assert all(r.file == report.file == __file__ for r in report.lines)


def test_bytes_are_those_of_the_arrays(report):
    assert [line(report, n).traffic.moved for n in range(1, 4)] == [16000, 8000, 8000]
    assert line(report, 4).traffic.moved == 4 * 15984
    # Of the arguments, rows 1 to 999 are written anew; their last two columns were written before.
    assert line(report, 4).traffic.least == 999 * 2 * 4
    assert report.traffic.moved == sum(k.traffic.moved for k in report.kernels)
    assert report.traffic.least == 16000 + 4000 + 4000 + (8000 + 999 * 8) + 4
    assert report.traffic.exact
    assert report.kernels[0].reads == {"boxes": 16000, "scores": 4000}
    assert report.kernels[0].writes == {"boxes": 8000, "scores": 4000}


def facts(found, number):
    return [(f.topic, f.text) for f in line(found, number).facts]


def test_an_overlapping_write_is_not_in_place(report):
    wanted = "the write overwrites elements of boxes that it reads at other indexes"
    assert ("not in place", wanted) in facts(report, 4)
    assert not facts(report, 2)


def test_a_reshape_says_why_it_copies(report):
    assert ("copied", "the elements do not lie so that a view could have this shape") in facts(report, 5)


def test_kernels_say_why_they_are_not_one(report):
    reads = ("kernel 1 is not part of kernel 0: "
             "it reads elements of boxes that an earlier kernel makes at other indexes")
    assert ("not fused", reads) in facts(report, 4)
    assert [f.text for f in report.kernels[1].facts if f.topic == "not fused"] == [reads]
    assert not [f for f in report.kernels[0].facts if f.topic == "not fused"]


def test_the_memory_plan_is_the_plans():
    function = sparsec.jit(shrink)
    args = np.zeros((1000, 4), np.float32), np.zeros(1000, np.float32)
    found, planned = function.explain(*args), function.trace(*args).compilation.planned
    assert found.memory == memory_report(planned)
    arena = {s.name: (s.offset, s.nbytes) for s in found.storages if s.space == "arena"}
    assert arena == {p.storage: (p.offset, p.nbytes) for p in planned.plan if p.space == "arena"}
    assert all(0 < s.first <= s.last for s in found.storages if s.space == "arena")


def test_nothing_is_run_and_nothing_written():
    x = np.ones(5)

    def f(x):
        x += 1

    explained(f, x)
    assert (x == 1).all()


def test_lines_without_code_say_why():
    def f(x):
        np.exp(x)
        z = x[::2].copy()
        y = np.empty(5)
        y[:] = z * 0.5
        return y

    found = explained(f, np.ones(10))
    first = f.__code__.co_firstlineno
    said = {r.line - first: [fact.text for fact in r.facts] for r in found.lines if not r.kernels}
    assert said[1] == ["nobody needs its result"]
    assert said[2] == ["the copy is only read: the original serves as well"]
    assert said[3] == ["views, literals and fresh memory: nothing runs"]
    assert found.traffic.moved == found.traffic.least == 80


def test_the_same_thing_twice_is_computed_once():
    def f(x):
        y = np.exp(x)
        z = np.exp(x)
        return y * z

    found = explained(f, np.ones(10))
    first = f.__code__.co_firstlineno
    (twice,) = (r for r in found.lines if r.line == first + 2)
    assert [fact.text for fact in twice.facts] == [f"the same is computed in line {first + 1} already"]


def test_loops_tell_how_often_their_kernels_run():
    def f(x, n):
        for _ in range(40):
            x *= 2
        while x[0] > n:
            x -= 1

    found = explained(f, np.ones(1000), 3.0)
    first = f.__code__.co_firstlineno
    turns = {k.turns for k in found.kernels if (f.__code__.co_filename, first + 2) in k.lines}
    assert turns == {40}
    assert {k.turns for k in found.kernels if (f.__code__.co_filename, first + 4) in k.lines} == {None}
    by_line = {r.line - first: r for r in found.lines}
    assert by_line[2].traffic.moved >= 40 * 16000
    assert ("control flow", "a native loop") in [(x.topic, x.text) for x in by_line[1].facts]
    assert not found.traffic.exact


def test_dynamic_sizes_count_as_those_of_the_call():
    def f(x):
        return x * 2

    assert explained(f, np.ones(100), dynamic="x").traffic.moved == 1600


def test_a_check_behind_a_write_costs_a_copy():
    def f(x, i):
        x[0] = 1.0
        return x[i]

    found = explained(f, np.ones(10), np.int64(3))
    assert any("a check may fail after the first write" in note for note in found.notes)


def test_what_cannot_be_traced_is_an_error_with_its_line():
    def f(x):
        return [x] * int(x[0])

    with pytest.raises(ConcretizationError) as error:
        explained(f, np.ones(3))
    assert error.value.loc.line == f.__code__.co_firstlineno + 1


@pytest.mark.parametrize("backend", ["cpu", "opencl", "interp", "loops"])
def test_every_backend_can_be_explained(backend):
    found = explained(shrink, np.zeros((1000, 4), np.float32), np.zeros(1000, np.float32), backend=backend)
    assert found.backend == backend
    assert f"for {backend}" in str(found)
    assert len(found.kernels) == 5


def test_remarks_are_gathered_only_inside():
    from sparsec.ir.remarks import remark_value

    with collect_remarks() as found:
        with collect_remarks() as inner:
            remark_value(Topic.COPY, "inside", "x", None)
        remark_value(Topic.COPY, "outside", "y", None)
    remark_value(Topic.COPY, "nowhere", "z", None)
    assert [r.text for r in found] == ["outside"]
    assert [r.text for r in inner] == ["inside"]


# --- vectors -----------------------------------------------------------------------------------------------

OPTIMISED = """\
define internal fastcc void @k0.f_0(ptr %b0) {
  %1 = load <16 x float>, ptr %b0
  %2 = fadd <16 x float> %1, %1
  %3 = call <16 x float> @llvm.fma.v16f32(<16 x float> %1, <16 x float> %2, <16 x float> %2)
  store <16 x float> %3, ptr %b0
}
define internal fastcc void @"k1.odd name"(ptr %b0) {
  %1 = load double, ptr %b0
  %2 = tail call double @pow(double %1, double %1)
  store double %2, ptr %b0
}
define internal fastcc void @k2.f_2(ptr %b0) {
  tail call void @llvm.memcpy.p0.p0.i64(ptr %b0, ptr %b0, i64 80, i1 false)
}
define i32 @sparsec_entry(ptr %p) {
  %1 = fadd <4 x float> %1, %1
}
"""


def test_vectors_are_read_from_the_code():
    found = native_code(OPTIMISED)
    assert {n: (c.vector, c.bits, c.calls, c.block_copy) for n, c in found.items()} == {
        0: ("16 x f32", 512, (), False), 1: ("", 0, ("pow",), False), 2: ("", 0, (), True),
    }


@pytest.mark.parametrize(("body", "reason"), [
    ("for i in 0..100 { %x[i + 1] = %x[i] }", "turns read what others may have written to @x"),
    ("mut m = 0.0:f32 for i in 0..100 { let a = %x[i] m = m + a } %y[0] = m",
     "each turn needs what the one before accumulated"),
    ("for i in 0..25 { %y[i] = %x[i * 4] }", "its elements of @x are no neighbours"),
    ("for i in 0..4 { %y[i] = %x[i] }", "a loop has 4 turns only"),
    ("for i in 0..100 { let a = %x[i] if a < 0.0:f32 { %y[i] = a } }", "it branches"),
    ("%y[0] = %x[0]", "there is no loop"),
])
def test_what_keeps_loops_from_vectors(body, reason):
    text = f"kernel @f(%x: global f32[101] rw, %y: global f32[100] w) {{ {body} }}"
    assert reason in obstacles(parse_kernel(text))


def test_nothing_keeps_a_plain_loop():
    kernel = parse_kernel("kernel @f(%x: global f32[100] r, %y: global f32[100] w) "
                          "{ for i in 0..100 bind(parallel) { %y[i] = %x[i] } }")
    assert obstacles(kernel) == ()
    assert loop_lines(kernel) == ("100 parallel",)


# --- the command -------------------------------------------------------------------------------------------


@pytest.fixture
def place(tmp_path):
    path = tmp_path / "boxes.py"
    path.write_text(SOURCE)
    return f"{path}:shrink"


SPEC = ("--spec", "f32[1000,4], f32[1000]")


def test_the_command_prints_the_report(place, capsys):
    assert main(["explain", place, *SPEC]) == 0
    text = capsys.readouterr().out
    head, *rest = text.splitlines()
    assert head == "shrink(boxes: f32[1000,4], scores: f32[1000]) -> f32  for cpu"
    assert rest[0].startswith("5 kernels; ")
    assert "   8  boxes[1:] = boxes[:-1]" in text
    assert "not in place: the write overwrites elements of boxes that it reads at other indexes" in text
    assert "temporaries 16,000 B at the peak; no plan needs less than 16,000 B; 32,000 B without sharing" in text


def test_json_is_the_report(place, capsys, report):
    assert main(["explain", place, *SPEC, "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["traffic"] == {"moved": report.traffic.moved, "least": report.traffic.least, "exact": True}
    assert [list(k["reads"].values()) for k in data["kernels"]] == [list(k.reads.values()) for k in report.kernels]
    assert [x["kernels"] for x in data["lines"]] == [list(x.kernels) for x in report.lines]


def test_the_page_stands_by_itself(place, tmp_path, capsys):
    from xml.etree import ElementTree

    page = tmp_path / "page.html"
    assert main(["explain", place, *SPEC, "--html", "-o", str(page)]) == 0
    text = page.read_text(encoding="utf-8")
    assert "<script" not in text and "http" not in text.replace("http://www.w3.org/2000/svg", "")
    assert "boxes[:, 2:] -= 0.5 * size" in text and "&lt; 1.0" in text
    pictures = [ElementTree.fromstring(part + "</svg>") for part in _between(text, "<svg", "</svg>")]
    rects = [len(list(p.iter("{http://www.w3.org/2000/svg}rect"))) for p in pictures]
    assert rects[0] == 1 + 2  # the arena and its two temporaries
    assert rects[1] > 10


def _between(text, start, end):
    return [start + part.split(end)[0] for part in text.split(start)[1:]]


def test_dot_is_coloured_by_kernel(place, capsys):
    assert main(["explain", place, *SPEC, "--dot"]) == 0
    text = capsys.readouterr().out
    assert text.startswith('digraph "shrink" {')
    assert "fillcolor=" in text


def test_a_wrong_function_is_an_error(place, capsys):
    assert main(["explain", place.replace("shrink", "grow"), *SPEC]) == 1
    assert "has no grow" in capsys.readouterr().err
