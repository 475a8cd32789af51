"""How channel indexes pass through a program: the rules of the pass `propagate`, one idea per file."""
