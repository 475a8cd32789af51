"""The warning word: what a computation met that is no error, one bit each, as NumPy's error state names them.

A kernel ors bits in with `Note`; the graph interpreter with `note`, into the word that `collect` watches.
What becomes
of the word (a RuntimeWarning, or nothing, by `np.errstate`) is the caller's business.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass

DIVIDE, OVERFLOW, INVALID = 1, 2, 4

#: Name in `np.errstate` -> bit.
BITS = {"divide": DIVIDE, "over": OVERFLOW, "invalid": INVALID}

#: The beginning of NumPy's warning text.
MESSAGES = {
    "divide": "divide by zero encountered", "over": "overflow encountered",
    "invalid": "invalid value encountered",
}


@dataclass
class Word:
    """A warning word under construction."""

    bits: int = 0


_WORD: ContextVar[Word | None] = ContextVar("sparsec_warning_word", default=None)


def names(bits: int) -> tuple[str, ...]:
    """The names of the bits set."""
    return tuple(name for name, bit in BITS.items() if bits & bit)


@contextmanager
def collect() -> Iterator[Word]:
    """Gathers what `note` reports inside the block."""
    word = Word()
    token = _WORD.set(word)
    try:
        yield word
    finally:
        _WORD.reset(token)


def note(name: str) -> None:
    """Sets the bit of `name` in the word that is being collected, if one is."""
    word = _WORD.get()
    if word is not None:
        word.bits |= BITS[name]
