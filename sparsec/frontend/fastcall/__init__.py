"""Calls without Python: the records of a function's specialisations, by which native code recognises its calls and
runs them (`ir.call_record` says what a record is, `codegen.stub` writes the code that reads it).

    writer     tables under construction
    checks     what each value of a call must be
    fits       what must hold around them: what was read from outside, how arrays lie to each other
    pointers   what compiled code is given
    amounts    sizes that only the call knows
    steps      the object that is returned
    record     all of these in one record
    attach     records in front of a function

What a record cannot say (temporaries of run-time size, runs on copies) is served by `Specialisation.run` as ever.
"""

from sparsec.frontend.fastcall.attach import accelerate

__all__ = ["accelerate"]
