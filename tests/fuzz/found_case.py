"""Found programs as files: written by the fuzzer, read by `test_found.py`."""

from __future__ import annotations

import hashlib
import importlib.util
from pathlib import Path
from typing import Any

from tests.fuzz.program import Program
from tests.fuzz.recipe import recipe_text

FOUND = Path(__file__).parent / "found"


def case_text(program: Program, message: str) -> str:
    """The source of a case: what differed, the calls, the function."""
    calls = "".join(f"    {recipe_text(c, '    ')},\n" for c in program.calls)
    imports = sorted({"Recipe"} | {n for n in ("Buffer", "View", "Scalar", "Same") if f"{n}(" in calls})
    numbers = [n for n in ("inf", "nan") if n in calls.replace("-inf", "inf")]
    staged = "STAGED = True\n" if program.staged else ""
    first = f"from math import {', '.join(numbers)}\n\n" if numbers else ""
    return (f'"""{_one_line(message)}"""\n\n{first}{_numpy_import(program.source, bool(numbers))}'
            f"from tests.fuzz.recipe import {', '.join(imports)}\n\n"
            f"CALLS = (\n{calls})\nINEXACT = {program.inexact}\n{staged}\n\n{_body(program.source)}")


def _numpy_import(source: str, blank: bool) -> str:
    return "import numpy as np\n\n" if "np." in _body(source) else ""


def _body(source: str) -> str:
    return source.replace("import numpy as np\n", "", 1).strip("\n").replace("\n\ndef ", "\n\n\ndef ") + "\n"


def _one_line(text: str) -> str:
    text = " ".join(text.replace("\\", "/").replace('"', "'").split())
    return text if len(text) < 100 else text[:97] + "..."


def save_case(program: Program, message: str, folder: Path = FOUND) -> Path:
    """Writes the case under a name that depends on its text alone."""
    text = case_text(program, message)
    name = hashlib.sha256(text.encode()).hexdigest()[:10]
    folder.mkdir(exist_ok=True)
    path = folder / f"case_{name}.py"
    path.write_text(text, encoding="utf-8", newline="\n")
    return path


def load_case(path: Path) -> tuple[Any, Program]:
    """The function of a case, and its program (whose source is the file)."""
    spec = importlib.util.spec_from_file_location(f"sparsec_fuzz_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.f, Program(path.read_text(encoding="utf-8"), module.CALLS, module.INEXACT,
                             getattr(module, "STAGED", False))
