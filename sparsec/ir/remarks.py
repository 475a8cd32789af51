"""What the compiler decides, noted at the moment it does: for reports, which then need not guess.

    with collect_remarks() as found:
        planned = run_pipeline(func, DEFAULT)
    found[0].text                                  "it reads elements of @a that …"

Where nobody collects, a remark costs one look at a context variable.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

from sparsec.errors import Loc
from sparsec.ir.graph import Op

__all__ = ["Remark", "Topic", "collect_remarks", "remark", "remark_value"]


class Topic(enum.Enum):
    """What a remark answers."""

    FUSION = "not fused"  # why the op is in no earlier kernel
    COPY = "copied"  # why the program makes a copy
    WRITE = "not in place"  # why a write works on a copy, or of one
    GONE = "no code"  # why the op needs none
    MOVED = "computed elsewhere"  # where its value is computed instead
    MEMORY = "in memory"  # why a temporary needs memory
    PLACE = "in place"  # whose memory a storage takes over
    KERNEL = "kernel"  # which kernel a `fused` op has become
    CHANNELS = "channels"  # an op whose result is an index, or has some channels only
    WHOLE = "made whole"  # why all channels are needed; subject: the value that has them


@dataclass(frozen=True, slots=True)
class Remark:
    """One decision. `value`: the op's first result. `subject`: a storage, a kernel or another op's result, as
    the topic has it."""

    topic: Topic
    text: str
    loc: Loc | None
    value: str = ""
    subject: str = ""
    op: Op | None = None


_FOUND: ContextVar[list[Remark] | None] = ContextVar("sparsec_remarks", default=None)


@contextmanager
def collect_remarks() -> Iterator[list[Remark]]:
    """Gathers the remarks that are made inside the block."""
    found: list[Remark] = []
    token = _FOUND.set(found)
    try:
        yield found
    finally:
        _FOUND.reset(token)


def remark(topic: Topic, text: str, op: Op, subject: str = "") -> None:
    """Notes a decision about an op, if somebody collects."""
    found = _FOUND.get()
    if found is not None:
        found.append(Remark(topic, text, op.loc, op.results[0].name if op.results else "", subject, op))


def remark_value(topic: Topic, text: str, value: str, loc: Loc | None) -> None:
    """Notes a decision about the op that makes `value`, where the op itself is not at hand."""
    found = _FOUND.get()
    if found is not None:
        found.append(Remark(topic, text, loc, value))
