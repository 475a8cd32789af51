"""Runs the NumPy kernels of an NPBench checkout through sparsec; see `__main__.py`."""
