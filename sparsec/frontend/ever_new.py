"""Calls that give something else every time: asked once, while tracing, their answer would be frozen."""

from __future__ import annotations

import datetime
import os
import time
import uuid
from typing import Any

import numpy as np

from sparsec.errors import UnsupportedError
from sparsec.frontend.dispatch import qualified_name
from sparsec.frontend.locate import user_loc

_EVER_NEW: tuple[Any, ...] = (
    time.time, time.time_ns, time.monotonic, time.monotonic_ns, time.perf_counter, time.perf_counter_ns,
    time.process_time, time.process_time_ns, time.localtime, time.gmtime, time.strftime, os.urandom, uuid.uuid1,
    uuid.uuid4, input, open, np.load, np.loadtxt, np.genfromtxt, np.fromfile,
)
_EVER_NEW_METHODS = ("now", "utcnow", "today")  # of the classes of `datetime`


def refuse_ever_new(function: Any) -> None:
    """Raises UnsupportedError for clocks, random numbers, files and input."""
    owner = getattr(function, "__self__", None)
    module = getattr(function, "__module__", None) or type(owner).__module__ or ""
    homes = (module, type(owner).__module__)
    dated = isinstance(owner, type) and issubclass(owner, datetime.date) and function.__name__ in _EVER_NEW_METHODS
    if dated or any(function is f for f in _EVER_NEW):
        raise UnsupportedError(
            f"{qualified_name(function)}: what it gives while the function is traced would be frozen",
            loc=user_loc(),
            hint="call it outside and pass the result as an argument",
        )
    if any(home in ("random", "secrets") or home.startswith("numpy.random") for home in homes):
        raise UnsupportedError(
            f"{qualified_name(function)}: random numbers drawn while tracing would be frozen",
            loc=user_loc(),
            hint="draw them outside and pass them as an argument",
        )
