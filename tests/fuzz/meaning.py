"""What a program means where NumPy forgets to copy: every source is read in full before anything is written.

That is NumPy's own rule, and it holds nearly everywhere. Left to the order of its inner loops are

- an assignment to one axis from one axis of the same memory, with steps of one sign and different size;
- an index array or a mask that lies in the array written through it, and a mask of `np.copyto` that does;
- `np.add.at` and `np.copyto` onto the very source, which write arrays that must not be written.

`meant` copies in these places, so that NumPy gives the answer which does not depend on its loops.
"""

from __future__ import annotations

import ast
from types import CodeType
from typing import Any

import numpy as np

_COPIED, _WRITTEN = "_fuzz_copied", "_fuzz_written"
#: Functions whose first argument is written while the others are read.
_WRITERS = ("np.copyto", "np.putmask", "np.add.at")


def copied(x: Any) -> Any:
    """An array of its own, with the same elements in the same order (it decides who writes an element last);
    anything else as it is."""
    return x.copy(order="K") if isinstance(x, np.ndarray) else x


def written(x: Any) -> Any:
    """`x`, which has to be writable."""
    if isinstance(x, np.ndarray) and not x.flags.writeable:
        raise ValueError("assignment destination is read-only")
    return x


#: What the rewritten source calls.
NAMES = {_COPIED: copied, _WRITTEN: written}


def meant(source: str, filename: str = "<meant>") -> CodeType:
    """The code of a source text with all sources copied; `NAMES` have to be among its globals."""
    tree = _CopyFirst().visit(ast.parse(source))
    return compile(ast.fix_missing_locations(tree), filename, "exec")


def _call(name: str, argument: ast.expr) -> ast.expr:
    return ast.Call(ast.Name(name, ast.Load()), [argument], [])


def _copy_of(node: ast.expr) -> ast.expr:
    return node if isinstance(node, (ast.Constant, ast.Slice)) else _call(_COPIED, node)


class _CopyFirst(ast.NodeTransformer):
    """Swaps (`x[0], x[1] = x[1], x[0]`) stay: their sources are views, and seen to change."""

    def visit_Assign(self, node: ast.Assign) -> ast.Assign:
        self.generic_visit(node)
        if len(node.targets) == 1 and isinstance(node.targets[0], (ast.Subscript, ast.Attribute)):
            node.value = _copy_of(node.value)
            self._copy_key(node.targets[0])
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AugAssign:
        self.generic_visit(node)
        self._copy_key(node.target)
        return node

    def _copy_key(self, target: ast.expr) -> None:
        if not isinstance(target, ast.Subscript):
            return
        if isinstance(target.slice, ast.Tuple):
            target.slice.elts = [_copy_of(item) for item in target.slice.elts]
        else:
            target.slice = _copy_of(target.slice)

    def visit_Call(self, node: ast.Call) -> ast.Call:
        self.generic_visit(node)
        if node.args and ast.unparse(node.func) in _WRITERS:
            node.args = [_call(_WRITTEN, node.args[0]), *map(_copy_of, node.args[1:])]
            for keyword in node.keywords:
                keyword.value = _copy_of(keyword.value)
        return node
