"""Which channels of a traced value are live, while the function is still being traced.

The pass `propagate` answers this for a whole function; here its rules are asked about the ops so far, and the index
that they find is computed in the trace too. So results can be returned as `ChannelSparse`, and a layer that treats
absent channels apart can say so in the program, which keeps plain dense meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice

import numpy as np

from sparsec.frontend.trace import Trace
from sparsec.ir.builder import Names
from sparsec.ir.dims import Dim, Poly, substitute, sym, symbols, upper_bound
from sparsec.ir.graph import Value
from sparsec.ir.types import I32
from sparsec.passes.channels.flow import Flow
from sparsec.passes.channels.live import Live
from sparsec.passes.channels.rules import ChannelRules

__all__ = ["Channels", "LiveChannels"]


@dataclass(frozen=True, slots=True)
class Channels:
    """The live channels of a value: `index` in the trace; `listed`, where they are known now; at most `cap`."""

    index: Value
    axis: int
    full: int
    cap: int
    listed: np.ndarray | None


class _Shadows(Names):
    """Names that no value of the trace has."""

    def fresh(self, stem: str = "") -> str:
        return super().fresh(f"~{stem}")


class LiveChannels:
    """Follows a trace, op by op."""

    def __init__(self, trace: Trace) -> None:
        self._trace = trace
        self._flow = Flow(_Shadows(), ChannelRules())
        self._seen = 0
        self._cloned: dict[str, Value] = {}

    def of(self, value: Value) -> Channels | None:
        """The live channels of a value; None where it is dense."""
        self._follow()
        live = self._flow.live(value)
        if live is None or not live.absent:
            return None
        cap = _bound(live)
        listed = self._flow.indexes.literals.get(live.index.name)
        return Channels(self._clone(live.index), live.axis, live.full, cap, listed)

    def _follow(self) -> None:
        made = self._trace.made
        for op in list(dict.fromkeys(islice(made.values(), self._seen, None))):
            self._flow.add(op)
        self._seen = len(made)

    def _clone(self, value: Value) -> Value:
        """An index of the shadow program, computed in the trace."""
        trace = self._trace
        if value in trace.builder.params:
            return value
        if value.name in trace.made and trace.visible(value):
            return value
        known = self._cloned.get(value.name)
        if known is not None and trace.visible(known):
            return known
        op = self._flow.made[value.name]
        if op.name == "const":
            made = trace.const(op.attrs["value"], I32, tuple(op.attrs["shape"]))
        else:
            operands = [self._clone(v) for v in op.operands]
            attrs = {key: self._attr(item) for key, item in op.attrs.items()}
            made = trace.op(op.name, *operands, **attrs)
        self._cloned[value.name] = made
        return made

    def _attr(self, item: object) -> object:
        """An attribute under the names of the trace."""
        if not isinstance(item, Poly):
            return item
        env: Mapping[str, Dim] = {
            s.name: sym(f"%{self._clone(self._size(s.name)).name}", s.upper, s.lower) for s in symbols(item)
        }
        return substitute(item, env)

    def _size(self, name: str) -> Value:
        made = self._flow.made.get(name.removeprefix("%"))
        if made is not None:
            return made.result
        return next(p for p in self._trace.builder.params if f"%{p.name}" == name)


def _bound(live: Live) -> int:
    most = upper_bound(live.count)
    return live.full if most is None else min(most, live.full)

