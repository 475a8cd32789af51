"""Calls that fail after a write leave their arguments as they were, without a copy in Python."""

import numpy as np
import pytest

import sparsec
from sparsec.errors import SparsecError
from sparsec.frontend.control import turns
from sparsec.ir.loop_interp import run
from sparsec.ir.loop_text import kernel_text, parse_program, program_text
from sparsec.ir.loop_verify import verify_program
from sparsec.passes.schedule import all_or_nothing as module


def scatter(x, at):
    for i in range(at.shape[0]):
        x[at[i]] = i
    return x


def ranges(x, at):
    """Temporaries of a size that only values tell."""
    for i in range(at.shape[0]):
        n = int(at[i])
        part = np.arange(n) * 0.5
        x[:n] += np.sqrt(part) + part[n - 1]


def stepping(x, at):
    """How long it goes on depends on values, and what is checked on a branch."""
    i = 0
    while at[i] > 0:
        if at[i] % 2:
            i = int(at[i])
        else:
            i += 1
        x[i] = -1.0
    return i


def chained(x, at):
    """What is checked depends on what was written."""
    for i in range(at.shape[0]):
        x[int(x[i])] = at[i]
    return x


CASES = {  # good and bad values of `at`
    scatter: ([3, 0, 7, 1, 1, 2, 5, 4, 0], [3, 0, 7, 1, 1, 2, 5, 4, 8]),
    ranges: ([3, 1, 7, 1, 1, 2, 5, 4, 8], [3, 1, 7, 1, 1, 2, 5, 4, 0]),
    stepping: ([2, 3, 0, 5, 1, 6, 0, 0, 1], [2, 3, 0, 5, 1, 17, 0, 0, 1]),
    chained: ([3, 0, 6, 1, 1, 2, 5, 4], [9, 0, 6, 1, 1, 2, 5, 4]),
}


@pytest.fixture(autouse=True)
def loops(monkeypatch):
    monkeypatch.setattr(turns, "UNROLL", 4)


def arguments(at):
    return (np.arange(8.0) * 3 + 1) % 8, np.array(at)


def compiled(fn, way, monkeypatch):
    """The function, and its program, made safe by running checks first ("first") or by keeping copies."""
    monkeypatch.setenv("SPARSEC_CACHE", "0")
    monkeypatch.setattr(module, "_BYTES", 0 if way == "first" else 1 << 40)
    jitted = sparsec.jit(fn)
    return jitted, jitted.lower(*arguments(CASES[fn][0])).compilation.safe


@pytest.mark.parametrize("way", ["first", "kept"])
@pytest.mark.parametrize("fn", CASES)
def test_a_late_error_leaves_arguments_alone(fn, way, monkeypatch):
    jitted, program = compiled(fn, way, monkeypatch)
    assert bool(program.restores) == (way == "kept" or fn is chained)
    assert parse_program(program_text(program)) == program
    verify_program(program)
    good, bad = CASES[fn]
    for at in (good, bad, good, bad, good, bad):  # in Python, then natively
        args, wanted = arguments(at), arguments(at)
        if at is good:
            np.testing.assert_equal(jitted(*args), fn(*wanted))
            np.testing.assert_equal(args, wanted)
        else:
            with pytest.raises((IndexError, SparsecError)):
                jitted(*args)
            np.testing.assert_equal(args, wanted)


@pytest.mark.parametrize("way", ["first", "kept"])
def test_the_interpreter_agrees(way, monkeypatch):
    _, program = compiled(scatter, way, monkeypatch)
    for at in CASES[scatter]:
        x, at = arguments(at)
        before = x.copy()
        status, _ = run(program, [x.view(np.uint8), at.view(np.uint8)], "shuffle")
        assert bool(status) == (at[-1] == 8)
        np.testing.assert_equal(x, before if status else scatter(before, at))


def test_checks_alone_write_nothing(monkeypatch):
    """What runs first has no use for what is written: square roots are not computed twice."""
    _, program = compiled(ranges, "first", monkeypatch)
    checks = [kernel for kernel in program.kernels if ".check" in kernel.name]
    assert checks
    assert not any("sqrt" in kernel_text(kernel) for kernel in checks)
