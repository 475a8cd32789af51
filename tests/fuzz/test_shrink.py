"""The shrinker keeps what differs and drops the rest; a saved case reads back as the same program."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.found_case import load_case, save_case
from tests.fuzz.program import Program, generate
from tests.fuzz.recipe import Recipe, View, recipe_leaves
from tests.fuzz.runner import Config, Workshop, check_function, quiet
from tests.fuzz.seeded import SEEDED
from tests.fuzz.shrink import shrink

_WAY = Config("interp")


def _first_failure(workshop: Workshop, statements: int) -> tuple[Program, str]:
    for number in range(500):
        program = generate(5, number)
        message = workshop.check(program, (_WAY,)).mismatches.get(_WAY, "")
        if message.startswith("value: buffer") and program.source.count("\n") > statements:
            return program, message
    raise AssertionError("nothing found")


def test_a_lost_write_shrinks_to_one_write() -> None:
    workshop = Workshop()
    try:
        with SEEDED["the last write to an argument is lost"].broken():
            program, message = _first_failure(workshop, 9)
            small = shrink(program, _WAY, message, workshop, seconds=20)
            assert workshop.check(small, (_WAY,)).mismatches
        body = small.source.split("def f")[-1].strip().splitlines()
        assert len(body) <= 4, small.source
        views = [leaf for leaf in recipe_leaves(small.calls[0].args) if isinstance(leaf, View)]
        assert all(len(v.shape) <= 2 and max(v.shape, default=1) <= 3 for v in views), small.calls
        assert not workshop.check(small, (_WAY,)).mismatches
    finally:
        workshop.close()


def test_a_saved_case_reads_back(tmp_path: Path) -> None:
    for number in range(30):
        program = generate(6, number)
        f, again = load_case(save_case(program, 'value: "x"\ny', tmp_path))
        assert repr(again.calls) == repr(program.calls)
        assert again.inexact == program.inexact
        assert isinstance(again.calls[0], Recipe)
        with quiet():
            check_function(f, again, ())
