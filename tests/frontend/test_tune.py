"""Tuning: candidates compute the same values, the winner is kept and used, and what cannot be tuned says so."""

import numpy as np
import pytest

import sparsec
from sparsec.cli.main import main
from sparsec.config import settings
from sparsec.errors import CompileError, ConfigError
from sparsec.frontend import tune as tuning
from sparsec.frontend.tune import tune
from sparsec.passes.choices import ALTERNATIVES, Choices
from sparsec.passes.pipeline import DEFAULT


def rows(x, y):
    x[:, 0::2] *= 2.0
    x[:, 0] += y
    return x.max(axis=1), np.exp(y)


def arguments():
    return np.linspace(0.0, 1.0, 400).reshape(100, 4), np.linspace(0.0, 1.0, 100)


@pytest.fixture(autouse=True)
def cache(tmp_path):
    with settings.override(cache=True, cache_dir=tmp_path, dump=None):
        yield


@pytest.fixture
def favourite(monkeypatch):
    """The search as it is, but for the clock: `columns=0` is twice as fast, everything else slower."""
    monkeypatch.setattr(tuning, "_ratio", lambda default, version, seconds: (
        2.0 if version.made.compilation.chosen == Choices(columns=0) else 0.5))


def test_the_winner_is_kept_and_used(favourite):
    function = sparsec.jit(rows)
    shown = []
    found = tune(function, arguments(), progress=shown.append)
    assert (found.choices, found.ratio) == (Choices(columns=0), 2.0)
    assert list(found.trials) == shown and len(shown) == sum(map(len, ALTERNATIVES.values()))
    for later in (function, sparsec.jit(rows)):
        assert later.trace(*arguments()).compilation.chosen == Choices(columns=0)
        mine, theirs = arguments(), arguments()
        for got, want in zip(later(*mine), rows(*theirs)):
            np.testing.assert_allclose(got, want, rtol=1e-15)
        np.testing.assert_array_equal(mine[0], theirs[0])


def test_other_arguments_and_backends_keep_the_defaults(favourite):
    tune(sparsec.jit(rows), arguments())
    other = np.ones((50, 4)), np.ones(50)
    assert sparsec.jit(rows).trace(*other).compilation.chosen == Choices()
    assert sparsec.jit(rows, backend="loops").trace(*arguments()).compilation.chosen == Choices()
    with settings.override(cache=False):
        assert sparsec.jit(rows).trace(*arguments()).compilation.chosen == Choices()


def test_the_arguments_are_not_written(favourite):
    args = arguments()
    tune(sparsec.jit(rows), args)
    np.testing.assert_array_equal(args[0], arguments()[0])


def test_nothing_faster_keeps_the_defaults(monkeypatch):
    monkeypatch.setattr(tuning, "_ratio", lambda *_: 1.0)
    found = tune(sparsec.jit(rows), arguments())
    assert (found.choices, found.ratio) == (Choices(), 1.0)
    assert sparsec.jit(rows).trace(*arguments()).compilation.chosen == Choices()


def test_a_candidate_with_other_values_is_an_error(monkeypatch):
    outcome = tuning._outcome
    calls = []

    def wrong(version):
        calls.append(version)
        result, arrays = outcome(version)
        return (result[0] + (len(calls) > 1), result[1]), arrays

    monkeypatch.setattr(tuning, "_outcome", wrong)
    with pytest.raises(CompileError, match="`rows` computes other values"):
        tune(sparsec.jit(rows), arguments())


def test_what_cannot_be_tuned_says_so():
    with pytest.raises(ConfigError, match="the interp backend is not tuned"):
        tune(sparsec.jit(rows, backend="interp"), arguments())
    with settings.override(cache=False), pytest.raises(ConfigError, match="no disk cache"):
        tune(sparsec.jit(rows), arguments())


def test_choices_read_back():
    assert str(Choices()) == "" and Choices.parse("") == Choices()
    for name, values in ALTERNATIVES.items():
        for value in values:
            choices = Choices(**{name: value, "max_ops": 16} if name != "max_ops" else {name: value})
            assert Choices.parse(str(choices)) == choices
    for text in ("speed=3", "columns", "columns=x"):
        with pytest.raises(ConfigError, match="is no choice"):
            Choices.parse(text)


def test_choices_are_options_of_the_passes():
    assert Choices().pipeline() == DEFAULT
    specs = [step.spec for step in Choices(max_ops=8, columns=2, interleave=1, pieces=1).pipeline()]
    assert {"fuse{max-ops=8}", "columns{most=2}", "interleave{most=1}", "pieces{most=1}"} <= set(specs)


def test_the_command_shows_progress_and_the_winner(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(tuning, "_ratio", lambda default, version, seconds: (
        1.5 if version.made.compilation.chosen.vector_bits == 128 else 0.9))
    path = tmp_path / "f.py"
    path.write_text("import numpy as np\n\n\ndef f(x):\n    return np.exp(x) * 2\n")
    assert main(["tune", f"{path}:f", "--spec", "f32[64]", "--seconds", "0.01"]) == 0
    text = capsys.readouterr().out
    assert "the same code" in text and "1.50 times as fast" in text
    assert text.splitlines()[-1] == "kept: vector-bits=128, 1.50 times as fast as the default choices"
    assert main(["tune", f"{path}:f", "--spec", "f32[64]", "--seconds", "0"]) == 1
    assert "write a number above 0" in capsys.readouterr().err
