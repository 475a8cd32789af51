"""A fixed share of the random programs, split so that several processes can run it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.fuzz.alarm import DoesNotEnd, ends_within
from tests.fuzz.program import generate
from tests.fuzz.recipe import recipe_text
from tests.fuzz.runner import Workshop, configs
from tests.fuzz.shrink import shrink
from tests.fuzz.workers import Tally, run_range
from tests.programs.harness import backends

_SEED = 20
#: backend -> (programs, test items they are split into).
_SHARE = {"interp": (600, 6), "cpu": (60, 6), "opencl": (8, 4)}
#: Refusals must stay rare: the share of programs that may be refused.
_REFUSED = 0.2

_ITEMS = [pytest.param(backend, range(count * k // items, count * (k + 1) // items),
                       id=f"{backend}-{k}", marks=[pytest.mark.slow] if backend != "interp" else [])
          for backend, (count, items) in _SHARE.items() for k in range(items)]


@pytest.mark.parametrize(("backend", "numbers"), _ITEMS)
def test_random_programs(backend: str, numbers: range) -> None:
    if backend not in backends():
        pytest.skip(f"{backend} is left out")
    workshop = Workshop()
    try:
        ways = configs([backend], "on" if backend == "opencl" else "both")
        tally = run_range(_SEED, numbers, ways, workshop)
        if tally.mismatches:
            pytest.fail(_story(tally, workshop), pytrace=False)
    finally:
        workshop.close()
    assert tally.refused_programs <= max(_REFUSED * tally.programs, 3), tally.refused.most_common(5)


def _story(tally: Tally, workshop: Workshop) -> str:
    number, way, text = tally.mismatches[0]
    small = shrink(generate(_SEED, number), way, text, workshop, seconds=10)
    again = f"python -m tests.fuzz --seed {_SEED} --start {number} --count 1 --backend {way.backend} --save"
    head = f"{len(tally.mismatches)} programs differ; {number} ({way}): {text}"
    return "\n".join((head, small.source, *map(recipe_text, small.calls), again))


def test_programs_depend_on_their_seed_alone() -> None:
    assert [generate(3, k) for k in range(40)] != [generate(4, k) for k in range(40)]
    assert repr([generate(3, k) for k in range(40)]) == repr([generate(3, k) for k in range(40)])


_DIGEST = """
import hashlib
from tests.fuzz.program import generate
print(hashlib.sha256(repr([generate(3, k) for k in range(150)]).encode()).hexdigest())
"""


def test_programs_do_not_depend_on_the_hash_seed() -> None:
    found = {
        subprocess.run([sys.executable, "-c", _DIGEST], env={**os.environ, "PYTHONHASHSEED": seed}, check=True,
                       capture_output=True, text=True, cwd=Path(__file__).parents[2]).stdout
        for seed in ("0", "1", "77")
    }
    assert len(found) == 1


def test_a_program_that_does_not_end_is_stopped() -> None:
    with pytest.raises(DoesNotEnd), ends_within(0.05):
        while True:
            np.zeros(3).sum()
    with ends_within(0.05):
        pass
    sum(range(10**6))  # the clock stands still again
