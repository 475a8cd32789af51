"""`np.einsum`: transposes and diagonals, matrix products and broadcast products."""

from __future__ import annotations

import math
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsec.frontend.array import Traced
from sparsec.frontend.convert import broadcast, cast
from sparsec.frontend.dispatch import implements
from sparsec.frontend.numpy_api.products import product_value
from sparsec.frontend.numpy_api.support import (
    agreed,
    deliver,
    made,
    permuted,
    reshaped,
    result_dtype,
    returned,
    strong,
)
from sparsec.frontend.trace import Trace
from sparsec.ir.graph import Value
from sparsec.ir.types import F16, F32, DType


@implements(np.einsum)
def einsum(
    *operands: Any,
    out: Any = None,
    dtype: Any = None,
    order: str = "K",
    casting: str = "safe",
    optimize: Any = False,
) -> Any:
    """Pairs of operands from the left, each by one matrix product or one broadcast product.

    Without a sum, a single operand gives a view, as NumPy's does.
    """
    terms, result, arrays = parse_einsum(operands)
    found = result_dtype(*arrays) if dtype is None else np.dtype(dtype)
    for array in arrays:
        if not np.can_cast(array.dtype, found, casting):  # type: ignore[arg-type]
            raise TypeError(
                f"Iterator operand required copying or buffering, but casting {array.dtype} to {found} is "
                f"not allowed by '{casting}'"
            )
    parts = [_Part.of(a, t) for a, t in zip(arrays, terms)]
    if len(parts) == 1 and out is None and set(parts[0].labels) == set(result) and found == arrays[0].dtype:
        view = parts[0].ordered(result)
        return returned(view if view is not arrays[0] else view[...])
    sizes = _sizes(parts)
    parts = [p.astype(found).without_ones(sizes) for p in parts]
    total = parts[0].summed(set(result).union(*(p.labels for p in parts[1:])))
    for k, part in enumerate(parts[1:], 1):
        later = set(result).union(*(p.labels for p in parts[k + 1 :]))
        total = total.times(part.summed(later.union(total.labels)), later)
    shape = tuple(sizes[x] for x in result)
    final = total.spread(result)
    value = broadcast(final.trace, final.read(), shape)
    if value is final.read() and len(parts) > 1:
        return deliver(final, out, "np.einsum")
    return deliver(made(final.trace, final.trace.op("copy", value), shape), out, "np.einsum")


Label = str | int  # a letter, or the number of an axis below the ellipsis


def _sizes(parts: Sequence[_Part]) -> dict[Label, Any]:
    """The size of each label, where axes of length 1 broadcast. Raises where there are two others."""
    sizes: dict[Label, Any] = {}
    for part in parts:
        for label, size in zip(part.labels, part.array.shape):
            if size != 1 and sizes.setdefault(label, size) != 1:
                message = f"operands could not be broadcast together: index {label!r} has two sizes"
                sizes[label] = agreed(part.array.trace, sizes[label], size, message)
            elif size != 1 or label not in sizes:
                sizes[label] = size
    return sizes


def parse_einsum(operands: Sequence[Any]) -> tuple[list[list[Label]], list[Label], list[Traced]]:
    """The labels of every operand and of the result, ellipses written out."""
    if isinstance(operands[0], str):
        text = operands[0].replace(" ", "")
        arrays = [strong(a) for a in operands[1:]]
        left, arrow, right = text.partition("->")
        inputs = [_split_labels(t) for t in left.split(",")]
        output = _split_labels(right) if arrow else None
    else:
        pairs = len(operands) // 2 * 2
        arrays = [strong(a) for a in operands[:pairs:2]]
        inputs = [_named(t) for t in operands[1:pairs:2]]
        output = _named(operands[-1]) if len(operands) % 2 else None
    if len(inputs) != len(arrays):
        word = "fewer" if len(inputs) > len(arrays) else "more"
        raise ValueError(f"{word} operands provided to einstein sum function than specified in the subscripts string")
    terms = [_expand(t, a.ndim - (len(t) - (... in t))) for t, a in zip(inputs, arrays)]
    for term, array in zip(terms, arrays):
        if len(term) != array.ndim:
            raise ValueError(
                f"einstein sum subscripts have {len(term)} labels for an operand with {array.ndim} dimensions"
            )
    return terms, _result_labels(terms, output), arrays


def _result_labels(terms: Sequence[Sequence[Label]], output: list[Any] | None) -> list[Label]:
    """The labels of the result; without `output` those of the ellipses, then those that occur once, sorted."""
    dots = sorted({x for t in terms for x in t if isinstance(x, int)})
    if output is None:
        flat = [x for t in terms for x in t if isinstance(x, str)]
        return [*dots, *sorted(x for x in set(flat) if flat.count(x) == 1)]
    result = _expand(output, len(dots))
    if len(result) != len(set(result)):
        raise ValueError("einstein sum subscripts string includes output subscript multiple times")
    if unknown := [x for x in result if not any(x in t for t in terms)]:
        raise ValueError(
            f"einstein sum subscripts string included output subscript '{unknown[0]}' which never "
            "appeared in an input"
        )
    if set(dots) - set(result):
        raise ValueError("output has no ellipsis for the axes that the operands' ellipses broadcast")
    return result


def _split_labels(text: str) -> list[Any]:
    head, dots, tail = text.partition("...")
    if not (head + tail).isalpha() and head + tail:
        raise ValueError(
            f"invalid subscript in {text!r} of einstein sum subscripts string, subscripts must be letters"
        )
    return [*head, *([...] if dots else []), *tail]


def _named(labels: Sequence[Any]) -> list[Any]:
    """The list form of subscripts: numbers stand for letters, in their order."""
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
    return [... if x is ... else alphabet[operator.index(x)] for x in labels]


def _expand(labels: list[Any], missing: int) -> list[Label]:
    """The ellipsis as numbers that count from the right, so that operands of different ranks broadcast."""
    found: list[Label] = []
    for label in labels:
        if label is ...:
            found.extend(range(-missing, 0))
        else:
            found.append(label)
    return found


class _Part:
    """An array whose axes have labels, each once."""

    def __init__(self, array: Traced, labels: Sequence[Label]) -> None:
        self.array, self.labels = array, list(labels)

    @staticmethod
    def of(array: Traced, labels: Sequence[Label]) -> _Part:
        """Repeated labels become diagonals."""
        names = list(labels)
        while repeated := next((x for x in names if names.count(x) > 1), None):
            first = names.index(repeated)
            second = names.index(repeated, first + 1)
            if array.shape[first] != array.shape[second]:
                raise ValueError(
                    f"dimensions in operand for collapsing index '{repeated}' don't match "
                    f"({array.shape[first]} != {array.shape[second]})"
                )
            array = array.view("diagonal", offset=0, axis1=first, axis2=second)
            names = [x for k, x in enumerate(names) if k not in (first, second)] + [repeated]
        return _Part(array, names)

    def astype(self, dtype: DType) -> _Part:
        return self if dtype == self.array.dtype else _Part(self.array.astype(dtype), self.labels)

    def ordered(self, labels: Sequence[Label]) -> Traced:
        """The array with its axes in this order."""
        return permuted(self.array, [self.labels.index(x) for x in labels])

    def without_ones(self, sizes: dict[Label, int]) -> _Part:
        """Axes of length 1 that broadcast are left out."""
        drop = [k for k, x in enumerate(self.labels) if self.array.shape[k] == 1 and sizes[x] != 1]
        if not drop:
            return self
        keep = [k for k in range(len(self.labels)) if k not in drop]
        return _Part(
            reshaped(self.array, [self.array.shape[k] for k in keep]), [self.labels[k] for k in keep]
        )

    def summed(self, needed: set[Label]) -> _Part:
        """Labels that nothing needs any more are summed away."""
        axes = tuple(k for k, x in enumerate(self.labels) if x not in needed)
        if not axes:
            return self
        trace, dtype = self.array.trace, self.array.dtype
        value = _sum(trace, self.array.read(), axes, dtype)
        return _Part(Traced.fresh(trace, value), [x for x in self.labels if x in needed])

    def times(self, other: _Part, later: set[Label]) -> _Part:
        """The product, summed over labels that both have and nothing later needs."""
        shared = [x for x in self.labels if x in other.labels and x not in later]
        both = [x for x in self.labels if x in other.labels and x in later]
        mine = [x for x in self.labels if x not in other.labels]
        others = [x for x in other.labels if x not in self.labels]
        if not shared:
            labels = [*both, *mine, *others]
            return _Part(np.multiply(self.spread(labels), other.spread(labels)), labels)  # type: ignore[arg-type]

        def size(part: _Part, labels: Sequence[Label]) -> tuple[int, ...]:
            return tuple(part.array.shape[part.labels.index(x)] for x in labels)

        batch, rows, depth, columns = size(self, both), size(self, mine), size(self, shared), size(other, others)
        a = reshaped(self.ordered([*both, *mine, *shared]), (*batch, math.prod(rows), math.prod(depth)))
        b = reshaped(
            other.ordered([*both, *shared, *others]),
            (*size(other, both), math.prod(size(other, shared)), math.prod(columns)),
        )
        value = Traced.fresh(a.trace, product_value(a, b, a.dtype))
        # Lengths that a check found equal may have come out under the other operand's name.
        return _Part(reshaped(value, (*value.shape[: len(both)], *rows, *columns)), [*both, *mine, *others])

    def spread(self, labels: Sequence[Label]) -> Traced:
        """The array with these axes, length 1 where it has no such label."""
        ordered = self.ordered([x for x in labels if x in self.labels])
        return (
            ordered[tuple(slice(None) if x in self.labels else None for x in labels)] if labels else ordered
        )


def _sum(trace: Trace, value: Value, axes: tuple[int, ...], dtype: DType) -> Value:
    """A sum without NumPy's widening of small integers; on bool it is `or`, as in NumPy's einsum."""
    if dtype.kind == "b":
        return trace.op("any", value, axes=axes)
    if dtype == F16:
        return cast(trace, trace.op("sum", cast(trace, value, F32), axes=axes), F16)
    return trace.op("sum", value, axes=axes)
