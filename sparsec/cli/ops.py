"""`sparsec ops`: every op of the graph IR and every NumPy function, supported or not.

    sparsec ops                       tables for the eye
    sparsec ops where                 what is known of one op or NumPy function
    sparsec ops --format markdown     docs/numpy.md

The tables are generated: ops from their records, functions from the dispatch table and NumPy's public names.
"""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.errors import ArgumentError
from sparsec.frontend import tracing as _tracing  # fills the dispatch table
from sparsec.frontend.array import Traced
from sparsec.frontend.dispatch import METHODS, TABLE
from sparsec.frontend.methods import PROPERTIES
from sparsec.frontend.ufunc_rules import COMPOSITE, OP_OF_UFUNC
from sparsec.ir.ops.record import REGISTRY, OpRecord

__all__ = ["Function", "add_arguments", "functions", "markdown", "methods", "run"]

assert _tracing

_SUPPORTED, _REFUSED, _ABSENT = "supported", "refused", "not supported"
#: Public names of NumPy that compute nothing from arrays: files, printing, settings, business days, …
_OUT_OF_SCOPE = [
    "array2string",
    "array_repr",
    "array_str",
    "asmatrix",
    "bmat",
    "base_repr",
    "binary_repr",
    "busday_count",
    "busday_offset",
    "is_busday",
    "datetime_as_string",
    "datetime_data",
    "format_float_positional",
    "format_float_scientific",
    "frompyfunc",
    "from_dlpack",
    "frombuffer",
    "fromfile",
    "fromiter",
    "fromregex",
    "fromstring",
    "genfromtxt",
    "get_include",
    "get_printoptions",
    "getbufsize",
    "geterr",
    "geterrcall",
    "info",
    "load",
    "loadtxt",
    "mintypecode",
    "nested_iters",
    "printoptions",
    "save",
    "savetxt",
    "savez",
    "savez_compressed",
    "set_printoptions",
    "setbufsize",
    "seterr",
    "seterrcall",
    "show_config",
    "show_runtime",
    "test",
    "typename",
    "isnat",
]


@dataclass(frozen=True)
class Function:
    """A public function of NumPy: its name without `np.`, whether it is supported, and what to know of it."""

    name: str
    kind: str  # ufunc or function
    status: str
    note: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    parser.add_argument("name", nargs="?", help="one op, NumPy function or array method")
    parser.add_argument("--format", choices=["table", "markdown"], default="table")


def run(args: argparse.Namespace) -> int:
    """Prints the tables, or what is known of one name."""
    if args.name is not None:
        print(describe(args.name))
    else:
        print(markdown() if args.format == "markdown" else table(), end="")
    return 0


# --- what there is ---------------------------------------------------------------------------------------


def functions() -> list[Function]:
    """NumPy's public functions and those of np.linalg, by name."""
    found = [_function(np, name, "") for name in np.__all__ if name not in _OUT_OF_SCOPE]
    found += [_function(np.linalg, name, "linalg.") for name in np.linalg.__all__]
    return sorted((f for f in found if f is not None), key=lambda f: f.name)


def _function(module: Any, name: str, prefix: str) -> Function | None:
    function = getattr(module, name)
    if not callable(function) or inspect.isclass(function):
        return None
    kind = "ufunc" if isinstance(function, np.ufunc) else "function"
    rule = TABLE.get(function)
    if rule is not None:
        why = getattr(rule, "refused", "")
        return Function(
            prefix + name, kind, _REFUSED if why else _SUPPORTED, why or _first_line(rule.__doc__)
        )
    computed = kind == "ufunc" and (function.__name__ in OP_OF_UFUNC or function.__name__ in COMPOSITE)
    return Function(prefix + name, kind, _SUPPORTED if computed else _ABSENT)


def methods() -> list[Function]:
    """The public methods and properties of arrays, by name."""
    found = []
    for name in sorted(n for n in dir(np.ndarray) if not n.startswith("_")):
        known = name in METHODS or name in PROPERTIES or hasattr(Traced, name)
        note = _first_line(METHODS[name].__doc__) if name in METHODS else ""
        found.append(Function(name, "method", _SUPPORTED if known else _ABSENT, note))
    return found


def _first_line(doc: str | None) -> str:
    """The first sentence of a docstring, which may run over two lines."""
    text = " ".join((doc or "").strip().split("\n\n")[0].split())
    return text.rstrip(".")


def ops() -> list[OpRecord]:
    """The records of all ops, by kind and name."""
    return sorted(REGISTRY.values(), key=lambda r: (r.kind.value, r.name))


# --- for the eye -----------------------------------------------------------------------------------------


def describe(name: str) -> str:
    """All that is known of one name. Raises ArgumentError for a name that is nowhere."""
    plain = name.removeprefix("np.").removeprefix("numpy.")
    lines: list[str] = []
    if plain in REGISTRY:
        lines += _describe_op(REGISTRY[plain])
    for f in functions():
        if f.name == plain:
            lines.append(f"np.{f.name}: {f.status}" + (f" ({f.note})" if f.note else ""))
    for f in methods():
        if f.name == plain.removeprefix("ndarray."):
            lines.append(f"ndarray.{f.name}: {f.status}" + (f" ({f.note})" if f.note else ""))
    if not lines:
        raise ArgumentError(
            f"there is no op, NumPy function or array method {name!r}", hint="`sparsec ops` lists all"
        )
    return "\n".join(lines)


def _describe_op(record: OpRecord) -> list[str]:
    attrs = ", ".join(f"{a}={record.defaults[a]!r}" if a in record.defaults else a for a in record.attrs)
    return [
        f"op {record.name}: {record.doc}",
        f"  kind {record.kind.value}, operands {_arity(record)}, sparse {record.sparse.value}",
        f"  attributes: {attrs or 'none'}",
        f"  NumPy: {', '.join(f'np.{n}' for n in record.numpy) or 'none'}",
    ]


def _arity(record: OpRecord) -> str:
    if isinstance(record.arity, int):
        return str(record.arity)
    least, most = record.arity
    return f"{least} or more" if most < 0 else f"{least} to {most}"


def table() -> str:
    """Two tables for a terminal."""
    rows = [(r.name, r.kind.value, _arity(r), ", ".join(r.attrs), r.sparse.value, r.doc) for r in ops()]
    text = _aligned(("op", "kind", "operands", "attributes", "sparse", "what it is"), rows)
    text += "\n" + _aligned(
        ("NumPy function", "status", "note"), [(f"np.{f.name}", f.status, f.note) for f in functions()]
    )
    return (
        text
        + "\n"
        + _aligned(("array method", "status", "note"), [(f.name, f.status, f.note) for f in methods()])
    )


def _aligned(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    everything = [head, *rows]
    widths = [max(len(row[k]) for row in everything) for k in range(len(head) - 1)]
    lines = [
        "  ".join([*(f"{cell:{w}}" for cell, w in zip(row, widths)), row[-1]]).rstrip() for row in everything
    ]
    return "\n".join(lines) + "\n"


# --- docs/numpy.md ---------------------------------------------------------------------------------------

_HEAD = """\
# What is supported

Generated by `sparsec ops --format markdown` from the dispatch table, the op records and the public names of
NumPy {version}; `pytest tests/test_cli_ops.py --bless` refreshes it.

A NumPy function whose arguments are all known while tracing (`np.tril_indices(3)`, `np.result_type("f4")`) is
called as it is, whether it stands here or not. With a traced array, a function that is not supported is an
`UnsupportedError` that names it and shows the line; nothing falls back to NumPy silently. A function that is
supported may refuse single values of an argument in the same way.
"""


def markdown() -> str:
    """The text of docs/numpy.md."""
    found = functions()
    parts = [_HEAD.format(version=numpy_version())]
    ufuncs = [f.name for f in found if f.kind == "ufunc" and f.status == _SUPPORTED]
    parts.append(f"## Ufuncs\n\n{_names(ufuncs)}\n")
    plain = [f for f in found if f.kind == "function" and f.status == _SUPPORTED]
    parts.append(f"## Functions\n\n{_names([f.name for f in plain])}\n")
    noted = [(f"`np.{f.name}`", f.note) for f in found if f.status == _SUPPORTED and f.note]
    parts.append("### Notes\n\n" + _rows(("function", "note"), noted))
    arrays = methods()
    there, absent = ([f.name for f in arrays if f.status == s] for s in (_SUPPORTED, _ABSENT))
    parts.append(f"## Array methods and properties\n\n{_names(there, '')}\n")
    parts.append(f"Not supported: {_names(absent, '')}\n")
    refused = [(f"`np.{f.name}`", f.note) for f in found if f.status == _REFUSED]
    parts.append("## Refused\n\n" + _rows(("function", "why"), refused))
    parts.append(f"## Not supported\n\n{_names([f.name for f in found if f.status == _ABSENT])}\n")
    rows = [
        (f"`{r.name}`", r.kind.value, _names(r.attrs, ""), r.sparse.value, _names(r.numpy), r.doc)
        for r in ops()
    ]
    parts.append(
        "## Ops of the graph IR\n\n"
        + _rows(("op", "kind", "attributes", "sparse", "NumPy", "what it is"), rows)
    )
    return "\n".join(parts)


def numpy_version() -> str:
    """Major and minor version of the NumPy that the tables are about."""
    return ".".join(np.__version__.split(".")[:2])


def _names(names: Iterable[str], prefix: str = "np.") -> str:
    return ", ".join(f"`{prefix}{name}`" for name in names)


def _rows(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return (
        "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)
        + "\n"
    )
