"""Text tests of the graph IR: each file under tests/filetests says in its first line what is tried with it.

    // test: roundtrip                      prints as it stands (or as what follows `// ----`)
    // test: verify                         is valid
    // test: parse-error "expected a name"  cannot be read; the message has these words
    // test: verify-error "is defined twice"
    // test: form PLANNED                   is valid and has this form
    // test: form-error PLANNED "stale"     is valid and lacks it
    // test: edges                          has these dependency edges
    // test: pass canonicalize,cse          the passes give what follows `// ----`
    // run: f([1, 2], 3) == [2, 4]          in any file: the interpreter's results; several as a tuple
    // run: f([1, 2]) == 3 writes [2, 2]    and the flat storages that it wrote

`pytest --bless` rewrites what follows `// ----`.
"""

import importlib
import re
import shlex
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from sparsec.errors import ParseError, VerifyError
from sparsec.ir.deps import edges
from sparsec.ir.forms import Form, check_form
from sparsec.ir.graph import Func
from sparsec.ir.interp import interpret
from sparsec.ir.text import op_text, parse, to_text
from sparsec.ir.verify import verify

FOLDER = Path(__file__).parent / "filetests"
SEPARATOR = "// ----\n"
FILES = sorted(FOLDER.rglob("*.sir"))


class Case(NamedTuple):
    command: str
    args: list[str]
    source: str
    expected: str | None
    runs: list[str]


def read(path: Path) -> Case:
    source, separator, expected = path.read_text(encoding="utf-8").partition(SEPARATOR)
    first = source.split("\n", 1)[0]
    assert first.startswith("// test: "), f"{path} does not begin with `// test:`"
    command, *args = shlex.split(first.removeprefix("// test: "))
    runs = re.findall(r"^// run: (.*)$", source, re.MULTILINE)
    return Case(command, args, source, expected if separator else None, runs)


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(FOLDER).with_suffix("")))
def test_file(path: Path, request: pytest.FixtureRequest) -> None:
    case = read(path)
    output = COMMANDS[case.command](case, path)
    for line in case.runs:
        run(parse(case.source, path.name), line)
    if output is None:
        assert case.expected is None, "this test has no output to expect"
        return
    if request.config.getoption("--bless"):
        path.write_text(case.source + SEPARATOR + output, encoding="utf-8", newline="\n")
    else:
        assert output == case.expected, "if the change is meant, `pytest --bless` rewrites the file"


# --- commands --------------------------------------------------------------------------------------------


def valid(case: Case, path: Path) -> Func:
    func = parse(case.source, path.name)
    verify(func)
    check_roundtrip(func)
    return func


def check_roundtrip(func: Func) -> None:
    text = to_text(func)
    again = parse(text)
    assert to_text(again) == text
    assert again == func or "nan" in text


def do_roundtrip(case: Case, path: Path) -> str | None:
    func = parse(case.source, path.name)
    check_roundtrip(func)
    text = to_text(func)
    body = "".join(line for line in case.source.splitlines(keepends=True) if not line.startswith("//"))
    return None if case.expected is None and body == text else text


def do_verify(case: Case, path: Path) -> None:
    valid(case, path)


def do_parse_error(case: Case, path: Path) -> None:
    with pytest.raises(ParseError) as caught:
        parse(case.source, path.name)
    expect_words(case.args[0], caught.value.message)
    assert caught.value.loc.line > 1
    assert caught.value.loc.col >= 0


def do_verify_error(case: Case, path: Path) -> None:
    func = parse(case.source, path.name)
    check_roundtrip(func)
    with pytest.raises(VerifyError) as caught:
        verify(func)
    expect_words(case.args[0], caught.value.message)


def do_form(case: Case, path: Path) -> None:
    check_form(valid(case, path), Form[case.args[0]])


def do_form_error(case: Case, path: Path) -> None:
    func = valid(case, path)
    with pytest.raises(VerifyError) as caught:
        check_form(func, Form[case.args[0]])
    expect_words(case.args[1], caught.value.message)


def do_edges(case: Case, path: Path) -> str:
    func = valid(case, path)
    named = [f"{position}: {op_text(op)}" for position, op in enumerate(func.ops)]
    found = [f"{e.source} -> {e.target} {e.kind.value} @{e.storage}" for e in edges(func)]
    return "".join(f"// {line}\n" for line in (*named, *found))


def do_pass(case: Case, path: Path) -> str:
    pipeline = pytest.importorskip("sparsec.passes.pipeline", reason="no pipeline yet")
    base = importlib.import_module("sparsec.passes.base")
    func = valid(case, path)
    passes = base.parse_spec(case.args[0], pipeline.PASSES)
    start = max((p.requires for p in passes), default=Form.TRACED)
    return to_text(base.run_pipeline(func, passes, start=start, verify=True))


COMMANDS = {
    "roundtrip": do_roundtrip, "verify": do_verify, "form": do_form, "edges": do_edges, "pass": do_pass,
    "parse-error": do_parse_error, "verify-error": do_verify_error, "form-error": do_form_error,
}


def expect_words(words: str, message: str) -> None:
    assert words in message, f"expected {words!r} in {message!r}"


# --- run lines -------------------------------------------------------------------------------------------


def run(func: Func, line: str) -> None:
    """`f(args) == results [writes storages]`, in Python's literals plus nan and inf."""
    call, _, wanted = line.partition(" == ")
    wanted, _, writes = wanted.partition(" writes ")
    name, _, args = call.partition("(")
    assert name == func.name
    verify(func)
    literals = value(f"({args.removesuffix(')')},)") if args != ")" else ()
    given = [np.array(arg, p.type.dtype) for p, arg in zip(func.params, literals)]
    before = [a.copy() for a in given]
    results, written = interpret(func, given)
    compare(results, value(wanted))
    compare(written, value(writes) if writes else ())
    for array, old in zip(given, before):
        np.testing.assert_array_equal(array, old)


def value(text: str) -> Any:
    return eval(text, {"__builtins__": {}, "nan": np.nan, "inf": np.inf})


def compare(found: list[np.ndarray], wanted: Any) -> None:
    wanted = wanted if isinstance(wanted, tuple) else (wanted,)
    assert len(found) == len(wanted)
    for have, want in zip(found, wanted):
        np.testing.assert_array_equal(have, np.array(want, have.dtype), strict=True)


def test_there_are_files():
    assert len(FILES) > 50


def test_bless_rewrites_only_what_follows_the_separator(tmp_path):
    source = "// test: edges\nfunc @f() {\n  return\n}\n"
    path = tmp_path / "a.sir"
    path.write_text(source + SEPARATOR + "old")
    case = read(path)
    assert case.source == source
    assert case.expected == "old"
