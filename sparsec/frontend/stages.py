"""One specialisation, stage by stage, as `f.trace(...)` and `f.lower(...)` give it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sparsec.compiler import Compilation
from sparsec.errors import ArgumentError
from sparsec.frontend.arguments import Arguments
from sparsec.frontend.specialisation import Specialisation
from sparsec.ir.graph import Func
from sparsec.ir.loops import Kernel

__all__ = ["Compiled", "Stages"]


class Stages:
    """`.lower()`, `.compile()`, `.as_text(stage)`."""

    def __init__(self, specialisation: Specialisation, bind: Callable[..., Arguments]) -> None:
        self._specialisation, self._bind = specialisation, bind

    @property
    def func(self) -> Func:
        """The traced function in graph IR."""
        return self._specialisation.traced.func

    @property
    def compilation(self) -> Compilation:
        return self._specialisation.compilation

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        """The kernels that a call runs."""
        return self.compilation.kernels

    def lower(self) -> Stages:
        """Down to loop IR. Raises what lowering refuses."""
        self.compilation.program  # noqa: B018
        return self

    def compile(self) -> Compiled:
        """Down to something that runs."""
        self.compilation.runner  # noqa: B018
        return Compiled(self._specialisation, self._bind)

    def as_text(self, stage: str = "trace") -> str:
        """A stage as text: trace, a pass's name, graph, loops, legal, llvm, asm, opencl, or all."""
        return self.compilation.text(stage)

    def __repr__(self) -> str:
        return f"<sparsec stages of {self.func.name} for {self.compilation.backend}>"


class Compiled(Stages):
    """A compiled specialisation: call it with arguments of the same kind."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        call = self._bind(args, kwargs)
        if (
            not self._specialisation.serves(call)
            or call.specs != self._specialisation.traced.capture_specs[: len(call.specs)]
        ):
            raise ArgumentError(
                "these arguments are of another kind than this function was compiled for",
                hint="call the jitted function itself: it compiles what it needs",
            )
        return self._specialisation.run(call)
