"""Random NumPy programs, run through sparsec and through NumPy: `python -m tests.fuzz --help`.

generator      programs (`grammar/`) and their arguments (`data.py`), from a seed and nothing else
meaning        NumPy with every source copied first: what is right where its own loops decide
runner         one program through NumPy and through sparsec, everything visible compared
shrink         the smallest program that still differs
seeded         compilers broken on purpose: the fuzzer must notice
found/         programs that once differed, as tests
"""
