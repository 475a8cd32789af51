"""The native half of a call: checks a call against the records of a function's specialisations and runs the one
that fits, without a line of Python (`ir.call_record` says what a record is).

    PyObject *sparsec_call(self, args, nargsf, kwnames)      the vectorcall of a jitted function

What it does not know (another kind of argument, no memory, a check that failed) it leaves to the object's own
`__call__`, which starts from the beginning: nothing has been written by then. It serves every specialisation, so a
program pays for it once. In the order of a call:

    call      tries the records, then `__call__`
    attempt   one record, from its checks to the result
    fits      the keywords, what was read from outside, how the arguments' arrays lie to each other
    checks    each argument, and what is in containers
    arena     memory for temporaries
    arrays    new arrays and views
    blocks    memory that the compiled function has asked for, as arrays
    steps     the object that is returned
"""

from sparsec.codegen.stub.call import CALL, stub_text

__all__ = ["CALL", "stub_text"]
