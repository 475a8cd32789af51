"""What the processes of `test_system.py` call."""

import numpy as np

import sparsec
import tests.faults.plant

assert tests.faults.plant  # breaks sparsec where `seeded.py` says so

__all__ = ["grows", "halve", "long_to_compile", "long_to_compile_jit", "np", "pick", "slow", "sorts", "sparsec"]


@sparsec.jit
def halve(x):
    return x / 2


def long_to_compile(x):
    total = np.zeros_like(x)
    for k in range(12):
        y = np.exp(-np.abs(x - k)) * np.sin(x * k)
        total[k::3] += y[k::3] * np.sqrt(y[k::3] ** 2 + 1)
        total = np.where(total > k, total - y, np.cumsum(y))
    return total


long_to_compile_jit = sparsec.jit(long_to_compile)


@sparsec.jit
def slow(x):
    for _ in range(30):
        x = np.sqrt(x * x + 1.0)
    return x


@sparsec.jit
def grows(x):
    x += 1
    x -= 1
    return np.broadcast_to(x, (16, x.shape[0])).reshape(-1) * 2.0


@sparsec.jit
def sorts(x):
    y = np.sort(x)
    return np.cumsum(y[::-1]) + np.sort(y * 2)


@sparsec.jit
def pick(x, i):
    return x[i]
