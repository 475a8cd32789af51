"""The comparison with peers: its tables and pictures, and that every version of a function computes the same."""

import copy
from xml.etree import ElementTree

import numpy as np
import pytest

from benchmarks import plot
from benchmarks.machine import machine_facts
from benchmarks.peers import measure, table
from benchmarks.peers.__main__ import put_into_readme, rounded
from benchmarks.peers.contenders import respelled
from benchmarks.postprocess import CASES


def result(first, least, mark=""):
    return {"first": first, "min": least, "median": least * 1.1, "mark": mark}


DATA = {
    "machine": {"date": "2026-01-02", "cpu": "Some CPU", "llvm_cpu": "generic", "usable_cpus": "2", "python": "3.11"},
    "versions": {"numpy": "2.0", "sparsec": "0.1"},
    "rows": [
        {"name": "nms", "size": "small", "threads": 1, "bytes": 100, "copy": 5.0, "results": {
            "numpy": result(0.1, 80.0), "sparsec": result(0.2, 10.0), "jax": result(0.3, 20.0),
            "torch.compile": result(2.0, 16.0, "e"), "numba": {"problem": "FAIL", "why": "TypingError"}}},
        {"name": "focus", "size": "small", "threads": 1, "bytes": 0, "copy": None, "results": {
            "numpy": result(0.1, 40.0), "sparsec": result(0.4, 20.0), "jax": {"problem": "!", "why": "values"},
            "torch.compile": result(1.0, 2000.0), "numba": result(1.0, 10.0)}},
    ],
}


def test_the_table_shows_everything():
    lines = table.markdown(DATA).splitlines()
    (nms,) = (line for line in lines if line.startswith("| nms "))
    assert nms == "| nms | 80.0 | 10.0 | FAIL | 16.0e | 20.0 | 8.00 | 1.60 | 50% |"
    (focus,) = (line for line in lines if line.startswith("| focus "))
    assert focus == "| focus | 40.0 | 20.0 | 10.0 | 2000 | ! | 2.00 | 0.50 |  |"
    (mean,) = (line for line in lines if line.startswith("| **geometric mean"))
    assert mean == "| **geometric mean over NumPy** | 1.00 | 4.00 | 4.00 (1 of 2) | 0.32 | 4.00 (1 of 2) | | | |"


def test_what_binds_a_function_is_shown_where_it_was_measured():
    rows = copy.deepcopy(DATA["rows"])
    rows[0]["alone"], rows[1]["alone"] = 4.0, None
    lines = table.markdown({**DATA, "rows": rows}).splitlines()
    (heads,) = (line for line in lines if line.startswith("| function "))
    (nms,) = (line for line in lines if line.startswith("| nms "))
    (focus,) = (line for line in lines if line.startswith("| focus "))
    assert heads.endswith("| of copy bandwidth | computing alone, of copy time |")
    assert nms.endswith("| 8.00 | 1.60 | 50% | 80% |") and focus.endswith("| 2.00 | 0.50 |  |  |")


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.cached])
def test_the_cached_size_has_the_rows_of_the_large_one(name):
    """So that the code is the same: only the longest of the axes of anything is shorter, and all of it fits."""
    case = CASES[name]
    large, cached = ([np.asarray(x) for x in case.make(size, 0)] for size in ("large", case.cached))
    with np.errstate(all="ignore"):
        result = case.fn(*case.make(case.cached, 0))
    assert sum(x.nbytes for x in (*cached, result)) <= 1 << 20
    for one, other in zip(large, cached, strict=True):
        assert one.ndim == other.ndim and one.dtype == other.dtype
        assert sum(a != b for a, b in zip(one.shape, other.shape)) <= 1


def test_the_summary_goes_between_the_marks(tmp_path):
    readme = tmp_path / "README.md"
    readme.write_text("before\n<!-- peers -->\nold\n<!-- /peers -->\nafter\n")
    put_into_readme(DATA, readme)
    put_into_readme(DATA, readme)
    text = readme.read_text()
    assert text.startswith("before\n<!-- peers -->\n2026-01-02, Some CPU (generic, 2 usable CPUs)")
    assert text.endswith("<!-- /peers -->\nafter\n") and "old" not in text
    assert text.count("| **sparsec** | **4.00** | 0.30 s |") == 1
    readme.write_text("nothing")
    with pytest.raises(SystemExit, match="<!-- peers -->"):
        put_into_readme(DATA, readme)


def test_disturbed_batches_are_left_out():
    quiet, disturbed = [(10.0, 10.0), (12.0, 11.9), (11.0, 11.0)], [(9.0, 5.0), (30.0, 10.0)]
    found = measure._figures([*quiet, *disturbed], "e")
    assert found == {"min": 10.0, "median": 11.0, "mark": "e", "batches": 5, "quiet": 3}
    assert measure._figures([*quiet[:2], *disturbed], "") == {
        "min": 9.0, "median": 11.0, "mark": "~", "batches": 4, "quiet": 2}


def test_a_busy_machine_is_owned_up_to():
    rows = copy.deepcopy(DATA["rows"])
    rows[0]["results"]["jax"]["mark"] = "~"
    text = table.summary({**DATA, "rows": rows})
    assert "The machine was busy: 1 of 8 figures are too large" in text
    assert "busy" not in table.summary(DATA)


def test_numbers_are_rounded():
    assert rounded({"a": [1.23456789, {"b": 1234567.0}], "c": "x", "d": 3}) == {
        "a": [1.235, {"b": 1235000.0}], "c": "x", "d": 3}


def test_a_row_has_the_right_values_before_times():
    found = measure.row(CASES["bbox_flip"], "tiny", 0.0)
    ours, numpy = found["results"]["sparsec"], found["results"]["numpy"]
    assert ours["mark"] == "" and ours["min"] > 0 and numpy["median"] >= numpy["min"]
    assert found["bytes"] == 2 * 3 * 4 * 4 and found["copy"] > 0 and found["alone"] is None


def test_wrong_values_are_not_timed():
    from benchmarks.peers.contenders import Contender

    case = CASES["bbox_flip"]
    given = case.make("tiny", 0)
    want = case.fn(*copy.deepcopy(given))
    wrong = Contender("numpy", lambda: want + 1, given)
    assert measure._checked(wrong, case, want, given) == ({"problem": "!", "why": "values differ from NumPy's"}, 0)
    changed = Contender("numpy", lambda: want, (given[0] + 1, *given[1:]))
    assert measure._checked(changed, case, want, given)[0]["problem"] == "!"

    def refuse():
        raise TypeError("no")

    assert measure._checked(Contender("numpy", refuse, given), case, want, given)[0]["problem"] == "FAIL"


@pytest.mark.filterwarnings("ignore:Passing more than 2 positional arguments:DeprecationWarning")
@pytest.mark.parametrize("name", list(CASES))
def test_another_spelling_computes_the_same(name):
    case = CASES[name]
    ours, theirs = case.make("tiny", 0), case.make("tiny", 0)
    with np.errstate(all="ignore"):
        want, got = case.fn(*ours), respelled(case.fn)(*theirs)
    np.testing.assert_array_equal(want, got)
    assert all(np.array_equal(a, b) for a, b in zip(ours, theirs))


@pytest.mark.parametrize("name", list(CASES))
@pytest.mark.parametrize("tool", ["torch", "jax"])
def test_peers_compute_the_same(tool, name):
    pytest.importorskip(tool)
    from benchmarks.peers import contenders

    case = CASES[name]
    given = case.make("tiny", 0)
    wanted = copy.deepcopy(given)
    with np.errstate(all="ignore"):
        want = case.fn(*wanted)
    made = {"torch": contenders._torch, "jax": contenders._jax}[tool](case, copy.deepcopy(given))
    assert measure._checked(made, case, want, wanted)[0].get("problem") is None


def test_pictures_are_svg():
    names = ["a", "b"]
    for text in (plot.dots("times", {"f": {"a": 2.0, "b": 0.5}, "g": {"a": 30.0}}, names),
                 plot.lines("growth", {"a": [(1, 2.0), (10, 20.0)], "b": [(1, 1.0)]}, "n", "s")):
        root = ElementTree.fromstring(text)
        circles = [e for e in root.iter() if e.tag.endswith("circle")]
        assert len(circles) == 2 + 3  # the legend and the points


def test_the_machine_has_no_name():
    import socket

    facts = machine_facts()
    assert set(facts) == {"date", "cpu", "llvm_cpu", "usable_cpus", "system", "python"}
    assert socket.gethostname() not in " ".join(facts.values())
