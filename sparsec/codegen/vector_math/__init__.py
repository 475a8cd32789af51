"""Our own vector math: each function of the scalar table as branch-free arithmetic of the loop IR.

A library's functions take one number at a time; these are made of operations that vector units have, so the
loop around them vectorises, and every backend computes the same bits. `expand` puts them into programs.
"""

from __future__ import annotations

from sparsec.codegen.vector_math.expand import EXPANSIONS, expand_math

__all__ = ["EXPANSIONS", "expand_math"]
