"""Rewrites of kernels: loop IR to loop IR, the same values."""
