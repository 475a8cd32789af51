"""`sparsec opt` and `sparsec run` on small texts: what they print, and what they say of bad input."""

import io

import numpy as np
import pytest

from sparsec.cli.main import main
from sparsec.ir.text import parse

CHAIN = """\
func @f(%x: f64[6] @x) {
  %a = slice %x {start=[1], size=[4], step=[1]} : f64[4] @x+1
  %b = slice %a {start=[0], size=[2], step=[2]} : f64[2] @x+1:(2)
  %c = neg %b : f64[2]
  %x1 = update %x, %b, %c : f64[6] @x
  return %c writes %x1
}
"""


@pytest.fixture
def chain(tmp_path):
    path = tmp_path / "chain.sir"
    path.write_text(CHAIN)
    return str(path)


def test_opt_without_passes_prints_the_text(chain, capsys):
    assert main(["opt", chain]) == 0
    assert capsys.readouterr().out == CHAIN


def test_opt_reads_standard_input(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdin", io.StringIO(CHAIN))
    assert main(["opt", "-"]) == 0
    assert capsys.readouterr().out == CHAIN


def test_opt_runs_passes_and_resumes_from_their_output(chain, tmp_path, capsys):
    assert main(["opt", chain, "-p", "resolve-views", "--verify-each"]) == 0
    resolved = capsys.readouterr().out
    assert "slice" not in resolved
    parse(resolved)
    again = tmp_path / "again.sir"
    again.write_text(resolved)
    assert main(["opt", str(again), "-p", "linearize,fuse"]) == 0
    assert "fused" in capsys.readouterr().out


def test_opt_prints_only_what_changed(chain, capsys):
    assert main(["opt", chain, "-p", "resolve-views,resolve-views", "--print-changed"]) == 0
    assert capsys.readouterr().out.count("// after resolve-views") == 1


def test_opt_prints_after_a_pass_and_times_it(chain, capsys):
    assert main(["opt", chain, "-p", "resolve-views", "--print-after", "resolve-views", "--time"]) == 0
    captured = capsys.readouterr()
    assert captured.out.count("func @f") == 2
    assert "ms  resolve-views" in captured.err


def test_opt_lists_passes(capsys):
    assert main(["opt", "--list"]) == 0
    assert "resolve-views" in capsys.readouterr().out


@pytest.mark.parametrize(("words", "message"), [
    (["opt", "CHAIN", "-p", "no-such-pass"], "no-such-pass"),
    (["opt", "CHAIN", "-p", "resolve-views{"], "cannot read the pipeline"),
    (["opt", "CHAIN", "--print-after", "fuse"], "not among the passes"),
    (["opt"], "no file is named"),
    (["opt", "nowhere.sir"], "cannot read nowhere.sir"),
    (["run", "CHAIN", "--args", "nowhere.npz"], "cannot read nowhere.npz"),
    (["run", "CHAIN", "--args", "CHAIN"], "no file of NumPy arrays"),
    (["run", "CHAIN", "--dim", "n"], "write N=SIZE"),
])
def test_bad_input_is_a_message(words, message, chain, capsys):
    assert main([chain if word == "CHAIN" else word for word in words]) == 1
    assert message in capsys.readouterr().err


def test_opt_shows_the_place_of_a_syntax_error(tmp_path, capsys):
    path = tmp_path / "bad.sir"
    path.write_text("func @f() {\n  %x = ?\n}\n")
    assert main(["opt", str(path)]) == 1
    message = capsys.readouterr().err
    assert f"{path}:2" in message
    assert "^" in message


def test_run_with_arguments_saves_results(chain, tmp_path, capsys):
    given, saved = tmp_path / "in.npz", tmp_path / "out.npz"
    np.savez(given, x=np.arange(6.0))
    assert main(["run", chain, "--args", str(given), "--out", str(saved)]) == 0
    assert "result 0: float64[2]" in capsys.readouterr().out
    with np.load(saved) as arrays:
        np.testing.assert_array_equal(arrays["result_0"], [-1, -3])
        np.testing.assert_array_equal(arrays["storage_x"], [0, -1, 2, -3, 4, 5])


def test_run_is_repeatable_by_seed(chain, capsys):
    outputs = []
    for seed in ("1", "1", "2"):
        assert main(["run", chain, "--seed", seed]) == 0
        outputs.append(capsys.readouterr().out)
    assert outputs[0] == outputs[1] != outputs[2]


def test_run_makes_valid_channel_indexes_and_dims(tmp_path, capsys):
    path = tmp_path / "sparse.sir"
    path.write_text(
        "func @f(%h: f32[k<=3 of 8 @%hi,n], %hi: i32[k<=3]) {\n  return %h, %hi\n}\n"
    )
    assert main(["run", str(path), "--dim", "n=2"]) == 0
    assert "result 0: float32[3, 2]" in capsys.readouterr().out
