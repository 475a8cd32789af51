"""Control flow of staged code: run by Python where it is static, traced into regions where it is not.

What rewritten code calls (`desugar/`), and how a statement is run:

    runtime       the calls by name
    expressions   `and`, `or`, `not`, `a < b < c`, `a if c else b`
    statements    `for`, `while`, and what follows statements that may jump
    turns         a loop: turn by turn, as one op, or as one op after some turns
    branches      `if`, on a traced condition as one op
    loops         `for` and `while` as one op
    scope         the variables that a statement assigns
    signals       jumps as values
    truth         a condition as a bool or a traced scalar
    refuse        what cannot be one region
    checkpoint    what tracing may have to take back

What becomes of values, arrays and Python objects where control flow joins:

    variables     those that a loop carries
    merge         numbers and arrays: one SSA value, and of which kind
    choices       arrays that others can see: whichever it is
    aliases       who else can see an array
    mutation      Python's containers: left as they were
    regions       blocks of ops, with the storages that they write as arguments
"""
