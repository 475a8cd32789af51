"""`sparsec dump`: functions of files, specs of arguments, stages; and what it says of bad input."""

import re
import textwrap
import traceback
from pathlib import Path

import numpy as np
import pytest

import sparsec
from sparsec.cli.dump import example_arguments, load_function
from sparsec.cli.main import main
from sparsec.errors import ArgumentError, ParseError
from sparsec.ir.text import parse

PACKAGE = Path(sparsec.__file__).parent

SOURCE = """\
import numpy as np

import sparsec


def shifted(x, y, by=1):
    x[1:] += y[:-1] * by
    return x


@sparsec.jit(backend="interp", static_argnames="act")
def layer(x, w, act="none"):
    h = x @ w
    return np.maximum(h, 0) if act == "relu" else h


class Model:
    @staticmethod
    def scale(x, k):
        return x * k


number = 3
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "test.py"  # also the name of a module that everybody has
    path.write_text(SOURCE)
    return str(path)


def dump(capsys, *words):
    assert main(["dump", *words]) == 0
    return capsys.readouterr().out


def test_the_trace_parses_again(file, capsys):
    text = dump(capsys, f"{file}:shifted", "--spec", "f32[6], f32[6]")
    func = parse(text)
    assert func.name == "shifted"
    assert "update" in text and "%x" in text


def test_overlapping_arguments_share_a_storage(file, capsys):
    text = dump(capsys, f"{file}:shifted", "--spec", "f32[5] @s, f32[5] @s+1")
    assert len(parse(text).params) == 1


def test_scalars_and_literals(file, capsys):
    assert "f64" in dump(capsys, f"{file}:shifted", "--spec", "f32[6], f32[6], f64")
    assert "value=3" in dump(capsys, f"{file}:shifted", "--spec", "f32[6], f32[6], 3").replace(" ", "")
    assert dump(capsys, f"{file}:Model.scale", "--spec", "i32[2,2], True")


def test_static_arguments_choose_the_program(file, capsys):
    spec = ("--spec", "f32[2,3], f32[3,4]")
    assert "maximum" in dump(capsys, f"{file}:layer", *spec, "--static", "act=relu")
    assert "maximum" not in dump(capsys, f"{file}:layer", *spec)


@pytest.mark.parametrize("stage", ["graph", "loops", "fuse"])
def test_stages(file, capsys, stage):
    text = dump(capsys, f"{file}:shifted", "--spec", "f32[6], f32[6]", "--stage", stage)
    assert text.strip()


def test_native_stages(file, capsys):
    words = (f"{file}:shifted", "--spec", "f32[6], f32[6]", "--backend", "cpu")
    assert "define" in dump(capsys, *words, "--stage", "llvm")
    everything = dump(capsys, *words, "--stage", "all")
    assert "// ---- trace ----" in everything and "// ---- asm ----" in everything


def test_opencl_source(file, capsys):
    words = (f"{file}:shifted", "--spec", "f32[6], f32[6]", "--backend", "opencl", "--stage", "opencl")
    assert "kernel" in dump(capsys, *words)


def test_output_file(file, tmp_path, capsys):
    out = tmp_path / "out.txt"
    assert dump(capsys, f"{file}:shifted", "--spec", "f32[6], f32[6]", "-o", str(out)) == ""
    assert parse(out.read_text()).name == "shifted"


def test_specs():
    a, b, c, d, e = example_arguments('f32[2,3], i64, "a, b", -0.5, (1, [2])')
    assert a.shape == (2, 3) and a.dtype == np.float32
    assert type(b) is np.int64
    assert (c, d, e) == ("a, b", -0.5, (1, [2]))
    assert example_arguments("") == ()


def test_specs_of_views():
    x, y = example_arguments("f64[3] @x:(2), f64[2,2] @x+1:(1,2)")
    assert x.strides == (16,) and y.strides == (8, 16)
    assert np.shares_memory(x, y)


@pytest.mark.parametrize(
    "spec", ["f33[2]", "f32[2", "f32[n]", "f32 f32", "f32[2] @x, i32[2] @x", "f32[2],,f32", "f32[-2]"]
)
def test_bad_specs(spec):
    with pytest.raises((ParseError, ArgumentError)):
        example_arguments(spec)


@pytest.mark.parametrize(
    "place", ["", ":f", "FILE", "FILE:nothing", "FILE:number", "nowhere.py:f", "FILE:Model.no"]
)
def test_bad_functions(file, place):
    with pytest.raises(ArgumentError):
        load_function(place.replace("FILE", file))


def test_a_file_that_cannot_be_imported(tmp_path, capsys):
    path = tmp_path / "broken.py"
    path.write_text("def f(:\n")
    assert main(["dump", f"{path}:f"]) == 1
    assert "cannot import" in capsys.readouterr().err


def test_errors_show_the_line(tmp_path, capsys):
    path = tmp_path / "wrong.py"
    path.write_text(
        textwrap.dedent("""\
        def f(x, y):
            return x + y
    """)
    )
    assert main(["dump", f"{path}:f", "--spec", "f32[2], f32[3]"]) == 1
    message = capsys.readouterr().err
    assert "wrong.py:2" in message and "^" in message
    assert "error: [SP024] operands could not be broadcast together with shapes (2,) (3,)\n" in message


def test_unknown_stage(file, capsys):
    assert main(["dump", f"{file}:shifted", "--spec", "f32[6], f32[6]", "--stage", "nonsense"]) == 1
    assert "nonsense" in capsys.readouterr().err


RAISING = """
class Mine(Exception):
    pass

def check(x):
    if x.shape[0] > 2:
        raise Mine("too long")

def f(x):
    check(x)
    return x

def g(x):
    return {}["key"] + x
"""


@pytest.mark.parametrize(("name", "last", "lines"), [
    ("f", "Mine: too long", [10, 6, 7]), ("g", "KeyError: 'key'", [14]),
])
def test_what_the_function_itself_raises_is_shown_with_its_own_lines(tmp_path, capsys, name, last, lines):
    file = tmp_path / "raising.py"
    file.write_text(RAISING)
    assert main(["dump", f"{file}:{name}", "--spec", "f32[4]"]) == 1
    shown = capsys.readouterr().err
    assert shown.rstrip().endswith(last)
    assert re.findall(r'File "(.*)", line (\d+)', shown) == [(str(file), str(line)) for line in lines]


def test_a_jitted_call_shows_the_lines_of_what_the_function_raises():
    class Mine(Exception):
        pass

    def check(x):
        raise Mine(x.shape)

    def f(x):
        return check(x)

    with pytest.raises(Mine) as caught:
        sparsec.jit(f)(np.zeros(3))
    ours = [f.filename for f in traceback.extract_tb(caught.tb) if Path(f.filename).is_relative_to(PACKAGE)]
    assert len(ours) <= 1  # the call itself
