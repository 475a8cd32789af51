"""What staged code calls, by the names that `desugar.py` writes."""

from __future__ import annotations

from sparsec.frontend import desugar
from sparsec.frontend.control.branches import if_
from sparsec.frontend.control.expressions import and_, both, chain, choose, either, not_, or_
from sparsec.frontend.control.scope import Scope, locals_
from sparsec.frontend.control.signals import BREAK, CONTINUE, Return
from sparsec.frontend.control.statements import after, for_, go_on, unwrap, while_

__all__ = ["RUNTIME"]

RUNTIME = {
    desugar.IF: if_,
    desugar.WHILE: while_,
    desugar.FOR: for_,
    desugar.AFTER: after,
    desugar.GO_ON: go_on,
    desugar.UNWRAP: unwrap,
    desugar.CHOOSE: choose,
    desugar.AND: and_,
    desugar.OR: or_,
    desugar.BOTH: both,
    desugar.EITHER: either,
    desugar.NOT: not_,
    desugar.CHAIN: chain,
    desugar.RETURN: Return,
    desugar.BREAK: BREAK,
    desugar.CONTINUE: CONTINUE,
    desugar.SCOPE: Scope,
    desugar.LOCALS: locals_,
}
