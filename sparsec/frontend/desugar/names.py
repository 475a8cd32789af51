"""Names that rewritten code calls; `control/runtime.py` provides them."""

PREFIX = "__sparsec_"

#: How the names of loop bodies begin.
BODY = PREFIX + "body"

IF, WHILE, FOR, AFTER, GO_ON, UNWRAP = (PREFIX + n for n in ("if", "while", "for", "after", "go_on", "unwrap"))
CHOOSE, AND, OR, NOT, CHAIN = (PREFIX + n for n in ("choose", "and", "or", "not", "chain"))
BOTH, EITHER = (PREFIX + n for n in ("both", "either"))
RETURN, BREAK, CONTINUE, SCOPE, LOCALS = (PREFIX + n for n in ("return", "break", "continue", "scope", "locals"))
