"""Twelve small programs about views; no NumPy compiler we know of gets all of them right."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = ["TWELVE", "Program"]


def p1_write_through_view(a):
    v = a[1:3]
    v += 10.0
    return a * 2


def p2_view_of_view(a):
    v = a.T[::2]
    v[:, 1:] = -1.0
    return a + 0


def p3_overlapping_copy(a):
    a[1:] = a[:-1]


def p4_read_write_read(a):
    v = a[0]
    s = v.sum()
    a[0] = 7.0
    return s + v.sum()


def p5_reshape_copies(a):
    return a.T.reshape(-1)


def p6_data_dependent_shape(a):
    return a[a > 2].sum() + a[a > 2].shape[0]


def p7_returned_view(a):
    return a[1:]


def p8_valid_flags():
    f = np.zeros((4, 4))
    f[:2] = 1
    f[:, :2] += 1
    return f.reshape(-1)


def p9_negative_strides(a):
    v = a[::-1]
    v[:2] = 9
    return a + 0


def p10_aliased_arguments(x, y):
    x *= 2
    return x + y


def p11_aliased_out(a):
    return np.add(a, 1, out=a[::-1])


def p12_overlapping_update(a):
    a[1:] += a[:-1]


def matrix() -> tuple[Any, ...]:
    return (np.arange(16.0).reshape(4, 4),)


def nothing() -> tuple[Any, ...]:
    return ()


def distinct_pair() -> tuple[Any, ...]:
    return np.arange(16.0).reshape(4, 4), np.arange(16.0, 32.0).reshape(4, 4)


def overlapping_pair() -> tuple[Any, ...]:
    both = np.arange(24.0).reshape(6, 4)
    return both[:4], both[2:6]


@dataclass(frozen=True)
class Program:
    """A function and the calls to make, in order, of one compiled function."""

    fn: Callable[..., Any]
    calls: tuple[Callable[[], tuple[Any, ...]], ...] = (matrix,)
    data_dependent: bool = False


TWELVE: dict[str, Program] = {
    "P1": Program(p1_write_through_view),
    "P2": Program(p2_view_of_view),
    "P3": Program(p3_overlapping_copy),
    "P4": Program(p4_read_write_read),
    "P5": Program(p5_reshape_copies),
    "P6": Program(p6_data_dependent_shape, data_dependent=True),
    "P7": Program(p7_returned_view),
    "P8": Program(p8_valid_flags, (nothing,)),
    "P9": Program(p9_negative_strides),
    # The second call must not reuse what was compiled for arguments that do not overlap.
    "P10": Program(p10_aliased_arguments, (distinct_pair, overlapping_pair, distinct_pair)),
    "P11": Program(p11_aliased_out),
    "P12": Program(p12_overlapping_update),
}
