"""Control flow as calls: `if`, `while`, `for`, `and`, `or`, `not` and chained comparisons, rewritten.

    if c: A                 def then(): A
    else: B           ->    def orelse(): B
                            if_(c, then, orelse, scope(names, get, set))

Branches and loop bodies become inner functions over the same local variables (`nonlocal`), so that
`control/` may run them as Python would, or trace them into regions where a condition or a range is traced;
`get` and `set` are the variables that they assign. A jump (`return`, `break`, `continue`) becomes the value
of the inner function, and what follows a statement that may jump becomes one more inner function, `rest`,
called where no jump was taken: by the branches of an `if` themselves, or, where that would multiply it, once after
the `if`, unless the branch taken has jumped.

    statements    the rewriting of functions: what follows a statement, what its inner functions share
    expressions   operators that evaluate only some of their operands
    analysis      which names statements bind and read, and where they jump to
    nodes         calls, lambdas and functions as nodes
    names         what the rewritten code calls
"""

from sparsec.frontend.desugar.statements import desugar

__all__ = ["desugar"]
