"""Expressions of as many parts as Python itself takes."""

import importlib.util
import threading

import numpy as np
import pytest

from sparsec.errors import SourceError
from sparsec.frontend import stage
from tests.programs.harness import backends, check, jit


def function(folder, terms):
    """A function whose result is one sum of so many terms."""
    path = folder / f"long_{terms}.py"
    path.write_text("def f(x):\n    return " + " + ".join(f"x[{k % 3}] * {k}.5" for k in range(terms)) + "\n")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.f


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
def test_a_sum_of_a_thousand_terms(tmp_path, backend):
    check(function(tmp_path, 1000), lambda: (np.arange(1.0, 4.0),), backend)


def test_in_a_thread(tmp_path):
    f, results = function(tmp_path, 700), []
    thread = threading.Thread(target=lambda: results.append(jit(f, "interp")(np.ones(3))))
    thread.start()
    thread.join()
    assert results == [f(np.ones(3))]


def test_more_than_can_be_rewritten_is_a_typed_error(tmp_path, monkeypatch):
    monkeypatch.setattr(stage, "_DEPTH", 0)
    f = function(tmp_path, 900)
    with pytest.raises(SourceError) as caught:
        jit(f, "interp")(np.ones(3))
    assert "give names" in str(caught.value) and str(caught.value.loc).endswith("long_900.py:1")
