"""From NumPy-style Python to the graph IR: staging, tracing, the NumPy dispatch table, `jit`."""
