"""What tracing a branch or a loop may have to take back: a body is traced before it is known whether it can be a
region, and more than once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from sparsec.errors import SparsecError
from sparsec.frontend.control.mutation import Snapshot
from sparsec.frontend.control.refuse import CannotStage
from sparsec.frontend.control.scope import Scope, State
from sparsec.frontend.trace import Conflict, Storage, Trace
from sparsec.ir.graph import Value

__all__ = ["Checkpoint"]


@dataclass(frozen=True)
class Checkpoint:
    """How things stood: variables, versions of storages, what is said about writes to them, Python's containers."""

    trace: Trace
    scope: Scope
    before: State
    versions: dict[Storage, Value]
    conflicts: dict[Storage, Conflict | None]
    containers: Snapshot

    @classmethod
    def take(cls, trace: Trace, scope: Scope, functions: Sequence[Callable[..., Any]]) -> Checkpoint:
        """Of this moment. functions: the user's, from which containers may be reached."""
        return cls(trace, scope, scope.get(), trace.versions(), {s: s.conflict for s in trace.live},
                   Snapshot(functions))

    def rewind(self) -> None:
        """Back to the versions, and to what was said about writes: the body is traced anew."""
        self.trace.restore(self.versions)
        for storage, conflict in self.conflicts.items():
            storage.conflict = conflict

    def undo(self) -> None:
        """Everything as it was."""
        self.rewind()
        self.scope.set(self.before)
        self.containers.restore()

    @contextmanager
    def all_or_nothing(self) -> Iterator[None]:
        """What raises has changed nothing."""
        try:
            yield
        except (CannotStage, SparsecError):
            self.undo()
            raise
