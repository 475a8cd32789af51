"""Properties that are computed once. Python's own takes one lock for all objects of a class until 3.12: two
functions could not be compiled at a time, and a child of a fork would wait for a thread that it does not have."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, TypeVar

__all__ = ["lazy"]

T = TypeVar("T")

if TYPE_CHECKING:
    from functools import cached_property as lazy
else:

    class lazy(Generic[T]):
        """`functools.cached_property` without a lock; whoever shares an object among threads has one."""

        def __init__(self, function: Callable[[Any], T]) -> None:
            self.function, self.__doc__ = function, function.__doc__

        def __set_name__(self, owner: type, name: str) -> None:
            self.name = name

        def __get__(self, instance: Any, owner: type | None = None) -> Any:
            if instance is None:
                return self
            value = instance.__dict__[self.name] = self.function(instance)
            return value
