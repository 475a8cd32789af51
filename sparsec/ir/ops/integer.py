"""Common divisors and multiples: Euclid's loop per element."""

from __future__ import annotations

import numpy as np

from sparsec.ir.loops import Expr
from sparsec.ir.nest import NestBuilder
from sparsec.ir.ops import rules
from sparsec.ir.ops.declare import elementwise_nest


def _size(nest: NestBuilder, x: Expr) -> Expr:
    """|x| as unsigned, where the lowest integer has one too."""
    if x.dtype.kind == "u":
        return x
    return nest.let(nest.s.cast(nest.s.abs(x), np.dtype(f"u{x.dtype.itemsize}")))


def _divisor(nest: NestBuilder, x: Expr, y: Expr) -> Expr:
    s = nest.s
    a, b = nest.mut(x), nest.mut(y)
    zero = rules.like(x, 0)
    with nest.while_(s.ne(a, zero)):
        rest = nest.let(s.rem(b, rules.safe_divisor(b, a)))
        nest.assign(b, a)
        nest.assign(a, rest)
    return b


def _gcd(nest: NestBuilder, x: Expr, y: Expr) -> Expr:
    return nest.s.cast(_divisor(nest, _size(nest, x), _size(nest, y)), x.dtype)


def _lcm(nest: NestBuilder, x: Expr, y: Expr) -> Expr:
    s = nest.s
    a, b = _size(nest, x), _size(nest, y)
    divisor = nest.let(_divisor(nest, a, b))
    # Both are 0 where the divisor is: the product is 0 too.
    return s.cast(s.mul(s.quo(a, rules.safe_divisor(a, divisor)), b), x.dtype)


elementwise_nest("gcd", "The greatest common divisor; of 0 and 0 it is 0.", np.gcd, _gcd, kinds="iu", arity=2)
elementwise_nest("lcm", "The least common multiple, wrapping; 0 of 0.", np.lcm, _lcm, kinds="iu", arity=2)
