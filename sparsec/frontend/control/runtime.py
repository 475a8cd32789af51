"""What staged code calls, by the names that `desugar` writes."""

from __future__ import annotations

from sparsec.frontend.control.branches import if_
from sparsec.frontend.control.expressions import and_, both, chain, choose, either, not_, or_
from sparsec.frontend.control.scope import Scope, locals_
from sparsec.frontend.control.signals import BREAK, CONTINUE, Return
from sparsec.frontend.control.statements import after, for_, go_on, unwrap, while_
from sparsec.frontend.desugar import names

__all__ = ["RUNTIME"]

RUNTIME = {
    names.IF: if_,
    names.WHILE: while_,
    names.FOR: for_,
    names.AFTER: after,
    names.GO_ON: go_on,
    names.UNWRAP: unwrap,
    names.CHOOSE: choose,
    names.AND: and_,
    names.OR: or_,
    names.BOTH: both,
    names.EITHER: either,
    names.NOT: not_,
    names.CHAIN: chain,
    names.RETURN: Return,
    names.BREAK: BREAK,
    names.CONTINUE: CONTINUE,
    names.SCOPE: Scope,
    names.LOCALS: locals_,
}
