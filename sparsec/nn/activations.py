"""Activations: element by element. Those that give 0 for 0 keep channels apart, which no rule has to say."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from sparsec.nn.program import as_array, wrong

__all__ = [
    "celu", "elu", "gelu", "hardsigmoid", "hardswish", "hardtanh", "leaky_relu", "logsigmoid", "mish", "prelu",
    "relu", "relu6", "selu", "sigmoid", "silu", "softplus", "softsign", "tanh",
]


def relu(input: Any) -> Any:
    """max(x, 0)."""
    return np.maximum(as_array(input), 0)


def relu6(input: Any) -> Any:
    """min(max(x, 0), 6)."""
    return hardtanh(input, 0, 6)


def hardtanh(input: Any, min_val: float = -1.0, max_val: float = 1.0) -> Any:
    """x, held between two numbers."""
    if min_val > max_val:
        raise wrong(f"hardtanh: {min_val} is more than {max_val}")
    return np.minimum(np.maximum(as_array(input), min_val), max_val)


def leaky_relu(input: Any, negative_slope: float = 0.01) -> Any:
    """x where it is positive, a part of it elsewhere."""
    x = as_array(input)
    return np.where(x > 0, x, x * negative_slope)


def prelu(input: Any, weight: Any) -> Any:
    """x where it is positive, weight * x elsewhere. weight: [1], or [C] for the channels of x: [N, C, ...]."""
    x, factors = as_array(input), as_array(weight)
    channels = int(x.shape[1]) if x.ndim > 1 else 1
    if factors.ndim != 1 or int(factors.shape[0]) not in (1, channels):
        raise wrong(f"prelu: a weight of shape {tuple(factors.shape)} for {channels} channels")
    shape = (1, -1, *(1,) * (x.ndim - 2)) if x.ndim > 1 else (1,)
    return np.where(x > 0, x, x * factors.reshape(shape))


def elu(input: Any, alpha: float = 1.0) -> Any:
    """x where it is positive, alpha * (exp(x) - 1) elsewhere."""
    x = as_array(input)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0)))


def celu(input: Any, alpha: float = 1.0) -> Any:
    """x where it is positive, alpha * (exp(x / alpha) - 1) elsewhere."""
    x = as_array(input)
    return np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / alpha))


def selu(input: Any) -> Any:
    """elu times a factor, both such that layers keep mean 0 and variance 1 (Klambauer et al., 2017)."""
    return 1.0507009873554804934193349852946 * elu(input, 1.6732632423543772848170429916717)


def softsign(input: Any) -> Any:
    """x / (1 + |x|)."""
    x = as_array(input)
    return x / (1 + np.abs(x))


def logsigmoid(input: Any) -> Any:
    """log(sigmoid(x)), also where the sigmoid is 0 to all digits; -log(2) in an absent channel."""
    x = as_array(input)
    return np.minimum(x, 0) - np.log1p(np.exp(-np.abs(x)))


def sigmoid(input: Any) -> Any:
    """1 / (1 + exp(-x)); 0.5 in an absent channel."""
    return 1 / (1 + np.exp(-as_array(input)))


def silu(input: Any) -> Any:
    """x * sigmoid(x)."""
    x = as_array(input)
    return x * sigmoid(x)


def tanh(input: Any) -> Any:
    """The hyperbolic tangent."""
    return np.tanh(as_array(input))


def softplus(input: Any, beta: float = 1.0, threshold: float = 20.0) -> Any:
    """log(1 + exp(beta * x)) / beta; x where beta * x is above the threshold."""
    x = as_array(input)
    scaled = x * beta
    return np.where(scaled > threshold, x, np.log1p(np.exp(np.minimum(scaled, threshold))) / beta)


def mish(input: Any) -> Any:
    """x * tanh(softplus(x))."""
    x = as_array(input)
    return x * np.tanh(softplus(x))


def hardsigmoid(input: Any) -> Any:
    """min(max(x + 3, 0), 6) / 6; 0.5 in an absent channel."""
    return relu6(as_array(input) + 3) / 6


def hardswish(input: Any) -> Any:
    """x * hardsigmoid(x)."""
    x = as_array(input)
    return x * hardsigmoid(x)


def gelu(input: Any, approximate: str = "none") -> Any:
    """x times the normal distribution's cumulative function; approximate="tanh" for the usual approximation."""
    x = as_array(input)
    if approximate == "tanh":
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)
        return 0.5 * x * (1 + np.tanh(inner))
    if approximate != "none":
        raise wrong(f"gelu: approximate is 'none' or 'tanh', not {approximate!r}")
    return x * 0.5 * (1 + _erf(x * math.sqrt(0.5)))


# Rational approximations by W. J. Cody (Mathematics of Computation 23, 1969): erf near 0, erfc far from it.
_NEAR = (
    (1.85777706184603153e-1, 3.16112374387056560, 1.13864154151050156e2, 3.77485237685302021e2,
     3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
_FAR = (
    (2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
     2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
     1.23033935479799725e3),
    (1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2, 1.62138957456669019e3,
     3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3, 1.23033935480374942e3),
)
_SWITCH, _LAST = 0.46875, 6.0  # behind the last, erf is 1 in float64


def _erf(x: Any) -> Any:
    """The error function."""
    size = np.minimum(np.abs(x), _LAST)
    square = np.minimum(size, _SWITCH) ** 2
    near = x * _ratio(_NEAR, square)
    far = 1 - np.exp(-(size * size)) * _ratio(_FAR, size)
    return np.where(size < _SWITCH, near, np.copysign(far, x))


def _ratio(of: tuple[tuple[float, ...], tuple[float, ...]], x: Any) -> Any:
    """A quotient of polynomials, highest power first."""
    above, below = (_polynomial(coefficients, x) for coefficients in of)
    return above / below


def _polynomial(coefficients: tuple[float, ...], x: Any) -> Any:
    total = coefficients[0] * x
    for c in coefficients[1:-1]:
        total = (total + c) * x
    return total + coefficients[-1]
