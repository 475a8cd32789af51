"""Random NumPy programs, run through sparsec and through NumPy: `python -m tests.fuzz --help`.

generator      programs (`grammar/`) and their arguments (`data.py`), from a seed and nothing else
runner         one program through NumPy and through sparsec, everything visible compared
shrink         the smallest program that still differs
seeded         compilers broken on purpose: the fuzzer must notice
found/         programs that once differed, as tests
"""
