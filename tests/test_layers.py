"""The layers of sparsec: an import never goes up, and some neighbours never see each other.

Imports are read from the source, so one inside a function or under TYPE_CHECKING counts as well: a layer that
knows a higher one's names depends on it, whenever the import happens.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "sparsec"

# Lowest first. A part may import what is lower, and its own level; see APART.
LAYERS = (
    ("errors", "config"),
    ("ir",),
    ("passes", "codegen", "runtime"),
    ("compiler", "report"),
    ("frontend", "sparse", "nn", "numpy"),
    ("cli",),
)
# Parts of one level that never import each other; the level above is what joins them.
APART = {"passes", "codegen", "runtime"}
# The package's own names come from its whole public part, so only what lies above that may use them.
PUBLIC_LEVEL = next(level for level, parts in enumerate(LAYERS) if "frontend" in parts)
# They name the public face and the command, and nothing imports them from below.
EXEMPT = {"__init__", "__main__"}

LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}


def imported(tree: ast.AST, module: str, is_package: bool) -> Iterator[tuple[int, str]]:
    """Yields the line and dotted name of everything that a module imports."""
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from ((node.lineno, alias.name) for alias in names)
            case ast.ImportFrom(module=source, names=names, level=level):
                base = source or ""
                if level:
                    package = module.split(".") if is_package else module.split(".")[:-1]
                    base = ".".join([*package[: len(package) - level + 1], *([source] if source else [])])
                yield from ((node.lineno, f"{base}.{alias.name}") for alias in names)
            case ast.Call(
                func=ast.Name(id="import_module" | "__import__") | ast.Attribute(attr="import_module"),
                args=[argument, *_],
            ):
                # A name put together at run time counts by its constant beginning.
                first = argument.values[0] if isinstance(argument, ast.JoinedStr) else argument
                if isinstance(first, ast.Constant) and isinstance(first.value, str):
                    yield node.lineno, first.value.rstrip(".")


def faults(source: str, module: str, is_package: bool = False) -> list[str]:
    """What is wrong with the imports of one module of sparsec, a line for each edge."""
    part = module.split(".")[1]
    if part not in LEVEL:
        return [f"{module}: {part} has no layer; give it one in this test"]
    found = []
    for line, name in imported(ast.parse(source), module, is_package):
        root, _, rest = name.partition(".")
        if root != "sparsec":
            continue
        target = rest.partition(".")[0]
        if target not in LEVEL:  # a public name of the package, or the package itself
            if LEVEL[part] <= PUBLIC_LEVEL:
                found.append(f"{module}:{line} imports the public package ({name})")
        elif LEVEL[target] > LEVEL[part]:
            found.append(f"{module}:{line} imports {name}, which is above it")
        elif target != part and {target, part} <= APART:
            found.append(f"{module}:{line} imports {name}; {part} and {target} do not know each other")
    return found


def modules() -> list[tuple[Path, str, bool]]:
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        names = path.relative_to(PACKAGE.parent).with_suffix("").parts
        if len(names) == 2 and names[1] in EXEMPT:
            continue
        is_package = names[-1] == "__init__"
        found.append((path, ".".join(names[:-1] if is_package else names), is_package))
    return found


def test_imports_never_go_up():
    assert len(modules()) > 5  # it does read the package
    problems = [
        problem
        for path, module, is_package in modules()
        for problem in faults(path.read_text(encoding="utf-8"), module, is_package)
    ]
    assert not problems, "\n".join(problems)


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sparsec.ir.graph", "from sparsec.passes import fuse"),
        ("sparsec.ir.graph", "import sparsec.compiler"),
        ("sparsec.ir.graph", "import numpy, sparsec.cli.main as m"),
        ("sparsec.ir.graph", "from sparsec import frontend"),
        ("sparsec.ir.graph", "from sparsec import jit"),
        ("sparsec.ir.graph", "import sparsec"),
        ("sparsec.ir.graph", "from .. import nn"),
        ("sparsec.ir.ops.math", "from ...passes.fuse import fuse"),
        ("sparsec.ir.graph", "def f():\n    from sparsec.codegen import llvm"),
        ("sparsec.ir.graph", "if TYPE_CHECKING:\n    from sparsec.codegen import llvm"),
        ("sparsec.ir.graph", "import importlib\nimportlib.import_module('sparsec.cli.main')"),
        ("sparsec.ir.graph", "importlib.import_module(f'sparsec.cli.{name}')"),
        ("sparsec.config", "from sparsec.ir.types import Type"),
        ("sparsec.passes.fuse", "from sparsec.runtime import arena"),
        ("sparsec.codegen.llvm", "from ..passes import fuse"),
        ("sparsec.runtime.call", "import sparsec.codegen.llvm"),
        ("sparsec.compiler", "from sparsec.frontend.jit import jit"),
        ("sparsec.nn.layers", "from sparsec.cli import main"),
        ("sparsec.somewhere", ""),
    ],
)
def test_a_seeded_fault_is_found(module, source):
    assert len(faults(source, module)) == 1


def test_relative_imports_of_a_package_start_at_itself():
    assert faults("from .. import cli", "sparsec.ir", is_package=False) == []  # beyond the package
    assert len(faults("from .. import cli", "sparsec.ir.ops", is_package=True)) == 0
    assert len(faults("from ... import cli", "sparsec.ir.ops", is_package=True)) == 1


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("sparsec.ir.graph", "import numpy as np\nfrom sparsec.errors import VerifyError"),
        ("sparsec.ir.ops.math", "from ..types import Type\nfrom . import record"),
        ("sparsec.passes.fuse", "from sparsec.passes.base import Pass\nfrom sparsec.ir import graph"),
        ("sparsec.compiler", "from sparsec.passes import a\nfrom sparsec.codegen import b\n"),
        ("sparsec.compiler", "import sparsec.runtime.c"),
        ("sparsec.nn.layers", "from sparsec.frontend import jit"),
        ("sparsec.cli.dump", "from sparsec import jit\nimport sparsec"),
        ("sparsec.cli.main", "importlib.import_module(f'sparsec.cli.{name}')"),
        ("sparsec.ir.graph", "from sparsecular import cli\nimport_module(name)"),
    ],
)
def test_what_is_allowed(module, source):
    assert faults(source, module) == []
