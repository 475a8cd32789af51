"""What cannot be one region: Python runs it where it is static, else it is the user's error."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sparsec.errors import ConcretizationError
from sparsec.frontend.locate import user_loc

__all__ = ["FILL", "ONE_KIND", "SAME_KIND", "CannotStage", "refused"]

#: Hints.
ONE_KIND = "give the variable one kind on both paths, or use np.where"
FILL = "fill an array that is made before, and count what is in it"
SAME_KIND = "keep the kind of every variable the same in each turn"


class CannotStage(Exception):
    """A loop or branch that cannot become a region; Python can still run it where it is static."""

    def __init__(self, what: str, hint: str = "") -> None:
        super().__init__(what)
        self.what, self.hint = what, hint


@contextmanager
def refused(what: str, hint: str) -> Iterator[None]:
    """What cannot be one region is the user's error here: Python cannot run it either."""
    try:
        yield
    except CannotStage as why:
        raise ConcretizationError(f"{what}, and {why.what}", loc=user_loc(), hint=why.hint or hint) from None
