"""The fenced blocks of the documents are run: `sir` ones are read, checked, printed back; `python` ones run.

A block that is no complete example has another (or no) language behind its fence.
"""

import re
from pathlib import Path

import pytest

from sparsec.config import Settings, Switch
from sparsec.ir.loop_text import kernel_text, parse_kernel, parse_program, program_text
from sparsec.ir.loop_verify import verify_kernel, verify_program
from sparsec.ir.text import parse, to_text
from sparsec.ir.verify import verify
from sparsec.passes.pipeline import DEFAULT

ROOT = Path(__file__).parent.parent
DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]

READERS = {
    "func": (parse, verify, to_text),
    "kernel": (parse_kernel, verify_kernel, kernel_text),
    "program": (parse_program, verify_program, program_text),
}


def blocks(language):
    """Each block with this language, named by file and line."""
    for path in DOCS:
        text = path.read_text(encoding="utf-8")
        for match in re.finditer(rf"^```{language}\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
            line = text.count("\n", 0, match.start()) + 1
            yield pytest.param(match[1], str(path), line, id=f"{path.name}:{line}")


@pytest.mark.parametrize(("source", "path", "line"), list(blocks("sir")))
def test_sir_block(source, path, line):
    read, check, show = READERS[source.split(maxsplit=1)[0]]
    tree = read(source, path)
    check(tree)
    text = show(tree)
    assert read(text) == tree
    assert without_comments(text) == without_comments(source)


@pytest.mark.parametrize(("source", "path", "line"), list(blocks("python")))
def test_python_block(source, path, line):
    # Blank lines before it make tracebacks show the document's own line numbers.
    exec(compile("\n" * line + source, path, "exec"), {"__name__": "docs"})


def test_links_lead_somewhere():
    for path in DOCS:
        for target in re.findall(r"\]\(([^)#:]+)[^):]*\)", path.read_text(encoding="utf-8")):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_index_lists_every_document():
    index = (ROOT / "docs" / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"\]\(([a-z-]+\.md)\)", index)) == {p.name for p in DOCS} - {"README.md"}


def without_comments(text):
    return [re.sub(r"\s*//.*", "", line) for line in text.splitlines()]


def test_there_are_blocks():
    assert len(list(blocks("sir"))) >= 10
    assert len(list(blocks("python"))) >= 5


def test_all_passes_and_settings_are_listed():
    passes = (ROOT / "docs" / "passes.md").read_text(encoding="utf-8")
    listed = re.findall(r"^\| `([a-z-]+)(?:{[^`]*})?` \| `(\w+)` \| (?:`(\w+)`)?", passes, re.MULTILINE)
    in_order = {p.name: (p.requires.name, p.ensures.name if p.ensures else "") for p in DEFAULT}
    assert listed == [(name, *forms) for name, forms in in_order.items()]
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `SPARSEC_([A-Z_]+)`", readme, re.MULTILINE)) == {
        name.upper() for name, switch in vars(Settings).items() if isinstance(switch, Switch)}
