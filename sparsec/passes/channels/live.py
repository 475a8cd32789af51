"""What is known of a value of which some channels are stored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from sparsec.ir.dims import Dim
from sparsec.ir.graph import Value
from sparsec.ir.types import Channels, TensorType

__all__ = ["Live", "annotated"]


@dataclass(frozen=True, slots=True)
class Live:
    """Channel index[p] along `axis` is channel p of `data`; of `full` channels, those that are not live hold `fill`.

    The fill is a NumPy scalar. 0 means that the channel is absent; anything else (1 after `exp`) that it is known.
    """

    data: Value
    index: Value
    axis: int
    full: int
    fill: Any

    @property
    def count(self) -> Dim:
        """How many channels are live."""
        return self.index.type.shape[0]

    @property
    def shape(self) -> tuple[Dim, ...]:
        """The shape of the value in full."""
        stored = self.data.type.shape
        return (*stored[: self.axis], self.full, *stored[self.axis + 1 :])

    @property
    def absent(self) -> bool:
        """Whether channels that are not live are 0."""
        return bool(self.fill == 0)

    def element(self) -> Any:
        """The fill as a Python number, for an attribute."""
        return np.asarray(self.fill).item()


def annotated(type: TensorType, axis: int, full: int, index: Value) -> TensorType:
    """The type of compact data: `f32[1, k<=32 of 64 @%index, 8, 8]`."""
    return TensorType(type.dtype, type.shape, type.ref, Channels(axis, full, f"%{index.name}"))
