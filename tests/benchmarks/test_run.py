"""Every benchmark can be imported, and runs on the least that it can be asked for; how fast is not tested."""

import importlib
import json
import pkgutil
import sys

import numpy as np
import pytest

import benchmarks
import sparsec
from benchmarks import (
    calls,
    compile_time,
    control_flow,
    dense_layers,
    math_accuracy,
    math_speed,
    memory,
    packed,
    pruned,
    resnet,
    threads,
)  # fmt: skip
from benchmarks.npbench.__main__ import main as run_suite
from benchmarks.postprocess import CASES
from benchmarks.postprocess import __main__ as postprocess

#: What only some benchmarks compare against.
_OPTIONAL = {"jax", "mpmath", "numba", "onnx", "onnxruntime", "torch"}


@pytest.mark.parametrize("name", [m.name for m in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.")])
def test_it_can_be_imported(name):
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        assert error.name in _OPTIONAL


def test_a_call():
    case = next(case for case in calls.CASES if case.name == "x[1:]")
    found = calls.measure(case, 1, 3)
    assert {"numpy", "sparsec"} <= set(found) and calls._row(case, found).startswith("| `x[1:]` |")


def test_compile_times(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["compile_time", "--sizes", "2,3", "--only", "chain", "--repeat", "1"])
    assert compile_time.main() == 0
    assert "n^k" in capsys.readouterr().out


@pytest.mark.parametrize(("layer", "shape"), [(dense_layers.out_in, (3, 4)), (dense_layers.in_out, (4, 3))])
def test_dense_layers(layer, shape):
    x, w = np.ones((2, 4), np.float32), np.ones(shape, np.float32)
    dense, half = dense_layers.times(layer, x, w, [0.5], 1)
    assert dense > 0 and half > 0


def test_packed_weights():
    x, w = np.ones((1, 8, 2, 2), np.float32), np.ones((8, 8, 1, 1), np.float32)
    plain, fixed = packed.times(x, (w, sparsec.constant(w)), 1, np.zeros(0, np.float32))
    assert plain > 0 and fixed > 0


def test_wrong_values_of_a_call_are_told():
    case = calls.CASES[0]
    with pytest.raises(AssertionError, match="wrong on x \\+ y"):
        calls._check(case, "sparsec", lambda x, y: x - y, lambda a: a)


def test_loops_that_only_the_run_knows():
    made = [control_flow.measure("cholesky", tool, 6).split() for tool in ("numpy", "sparsec")]
    assert [row[1] for row in made] == ["numpy", "sparsec"]
    assert float(made[0][-1]) == pytest.approx(float(made[1][-1]), rel=1e-9)


def test_functions_of_mathematics():
    best = math_speed.times(math_speed.calls("exp", np.dtype("f4")), 1)
    assert {"own", "lib", "numpy"} <= set(best) and min(best.values()) > 0
    values = np.array([0.5, 1.0])
    assert math_accuracy.errors(np.exp(values), np.exp(values.astype(np.longdouble))).max() < 1


def test_pruned_layers():
    (row,) = pruned.unstructured_rows([(4, 3)], [0.5], 1)
    assert row["layer"] == "4@3" and row["faster"]["0.5"] > 0


def test_a_large_function_by_threads():
    row = threads.measure("bbox_flip", CASES["bbox_flip"], 0.0)
    assert row["numpy"] > 0 and row["two"] > 0
    assert threads.geomean([1.0, 4.0]) == pytest.approx(2.0)


def test_a_postprocessing_function():
    row = postprocess.measure("bbox_flip", CASES["bbox_flip"], "tiny", 0.0)
    assert row["ratio"] > 0 and "bbox_flip" in postprocess.line(row)
    assert "| bbox_flip | tiny |" in postprocess.markdown([row])


def test_reports_of_networks():
    text = resnet.report({1: {"sparsec dense": 6.0, "sparsec sparse": 2.0}})
    assert "| sparse against dense | >= 3 | 3.00 |" in text
    assert memory._settled() > 0


def test_a_suite_of_kernels(tmp_path, monkeypatch, capsys):
    """An NPBench checkout of one kernel."""
    (tmp_path / "bench_info").mkdir()
    (tmp_path / "bench_info" / "twice.json").write_text(json.dumps({"benchmark": {
        "short_name": "twice", "relative_path": "twice", "module_name": "twice", "func_name": "twice",
        "parameters": {"S": {"N": 5}}, "input_args": ["x"],
        "init": {"func_name": "initialize", "input_args": ["N"], "output_args": ["x"]},
    }}))
    home = tmp_path / "npbench" / "benchmarks" / "twice"
    home.mkdir(parents=True)
    (home / "twice.py").write_text("import numpy as np\ndef initialize(N):\n    return np.arange(N)\n")
    (home / "twice_numpy.py").write_text("def twice(x):\n    x *= 2\n")
    monkeypatch.setattr(sys, "path", list(sys.path))
    monkeypatch.setattr(sys, "argv", ["npbench", str(tmp_path)])
    assert run_suite() == 0
    assert "1 of 1 equal" in capsys.readouterr().out
