"""What a local variable holds while it has no value: any use of it is an error that says why."""

from __future__ import annotations

from typing import Any

from sparsec.errors import ConcretizationError, Loc
from sparsec.frontend.locate import user_loc


class Undefined:
    """No value (yet), which is Python's own error; or, with `why`, none that tracing can express, since `loc`."""

    name: str
    why: str
    loc: Loc | None

    def __init__(self, name: str = "", why: str = "") -> None:
        self.__dict__.update(name=name, why=why, loc=user_loc() if why else None)

    def error(self, loc: Loc | None) -> Exception:
        """What using it at `loc` raises: UnboundLocalError, or ConcretizationError that says why."""
        if self.why:
            return ConcretizationError(
                f"variable `{self.name}` {self.why}",
                loc=loc,
                hint="give it one kind of value on all paths, before the loop or in both branches",
            )
        return UnboundLocalError(
            f"cannot access local variable '{self.name}' where it is not associated with a value"
        )

    def refuse(self, *args: Any, **kwargs: Any) -> Any:
        raise self.error(user_loc())

    __getattr__ = __getitem__ = __setitem__ = __call__ = __iter__ = __len__ = __bool__ = __array__ = refuse
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = refuse
    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = refuse  # type: ignore[assignment]
    __neg__ = __index__ = __float__ = __int__ = refuse
    __hash__ = None  # type: ignore[assignment]
