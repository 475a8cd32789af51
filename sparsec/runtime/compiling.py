"""The modules of a large program, compiled side by side by processes of their own.

    objects = compile_objects(llvm_modules(program, target))

LLVM through llvmlite is entered by one thread at a time, so other threads would not help. A process starts in a
fraction of the time that a large program takes, and works while this one still writes the next module. It sees
LLVM text only, answers with an object file, and ends when it is told nothing more; where none can be started,
everything is compiled here. Whoever compiles, the object files are the same.
"""

from __future__ import annotations

import struct
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import chain, islice
from pathlib import Path
from queue import SimpleQueue
from typing import IO

from sparsec.config import settings
from sparsec.errors import CompileError
from sparsec.runtime.cpu import compile_object

__all__ = ["compile_objects", "serve"]

#: From so many modules on, helpers are worth their start.
_FEWEST = 3

_READY, _DONE, _REFUSED = b"r", b"d", b"x"

_PROGRAM = "import sys; sys.path[:] = {path!r}; from sparsec.runtime.compiling import serve; serve()"


def compile_objects(modules: Iterable[str]) -> tuple[bytes, ...]:
    """What `compile_object` makes of each module. Raises as it does; whatever is raised, no process is left."""
    texts = iter(modules)
    first = list(islice(texts, _FEWEST))
    if len(first) < _FEWEST or settings.compile_jobs < 2 or not _has_python():
        return tuple(compile_object(text) for text in chain(first, texts))
    with _Team(settings.compile_jobs) as team:
        return team.compile(chain(first, texts))


def _has_python() -> bool:
    """Whether `sys.executable` starts a Python: in a program that brings its own, it starts that program."""
    return bool(sys.executable) and not getattr(sys, "frozen", False)


class _Team:
    """Some helpers, and a thread of this process for each that waits for it."""

    def __init__(self, count: int) -> None:
        self._helpers = [_Helper() for _ in range(count)]
        self._free: SimpleQueue[_Helper] = SimpleQueue()
        for helper in self._helpers:
            self._free.put(helper)
        self._threads = ThreadPoolExecutor(count)

    def __enter__(self) -> _Team:
        return self

    def __exit__(self, *error: object) -> None:
        for helper in self._helpers:
            helper.kill()
        self._threads.shutdown(cancel_futures=True)  # none waits for a dead process
        for helper in self._helpers:
            helper.close()

    def compile(self, texts: Iterable[str]) -> tuple[bytes, ...]:
        """The object files, in order. Texts are taken as fast as they come."""
        return tuple(self._threads.map(self._compile, texts))

    def _compile(self, text: str) -> bytes:
        helper = self._free.get()
        try:
            made = helper.compile(text)
        finally:
            self._free.put(helper)
        return compile_object(text) if made is None else made


class _Helper:
    """Another process that compiles one module after the other."""

    def __init__(self) -> None:
        path = [str(Path(__file__).parents[2]), *sys.path]
        command = [sys.executable, "-S", "-c", _PROGRAM.format(path=path)]
        self._process: subprocess.Popen[bytes] | None = None
        with suppress(OSError):  # a session of its own: Ctrl-C is for the one who asked
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        self._ready: bool | None = None

    def compile(self, text: str) -> bytes | None:
        """The object file; None if the process has not come up. Raises CompileError if LLVM refuses, or falls."""
        if self._process is None or self._process.stdin is None or self._process.stdout is None:
            return None
        if self._ready is None:
            self._ready = self._process.stdout.read(1) == _READY
        if not self._ready:
            return None
        try:
            _send(self._process.stdin, text.encode())
            answer = self._process.stdout.read(1)
            found = _receive(self._process.stdout)
        except (OSError, EOFError):
            raise CompileError("LLVM came to an end before it had compiled a module") from None
        if answer != _DONE:
            raise CompileError(found.decode())
        return found

    def kill(self) -> None:
        """Ends the process, whatever it is at."""
        if self._process is not None:
            self._process.kill()

    def close(self) -> None:
        """Waits for the end of the process, and gives its pipes back."""
        if self._process is not None:
            with suppress(OSError), self._process:  # what it did not read is lost
                pass


def serve() -> None:
    """Compiles what comes on stdin until nothing more comes."""
    given, answers = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # what a library prints is no answer
    answers.write(_READY)
    answers.flush()
    while True:
        try:
            text = _receive(given).decode()
        except EOFError:
            return
        try:
            kind, found = _DONE, compile_object(text)
        except CompileError as error:
            kind, found = _REFUSED, str(error).encode()
        answers.write(kind)
        _send(answers, found)


def _send(stream: IO[bytes], data: bytes) -> None:
    stream.write(struct.pack("<Q", len(data)))
    stream.write(data)
    stream.flush()


def _receive(stream: IO[bytes]) -> bytes:
    """What was sent. Raises EOFError if that is not all of it."""
    (size,) = struct.unpack("<Q", _all_of(stream, 8))
    return _all_of(stream, size)


def _all_of(stream: IO[bytes], size: int) -> bytes:
    data = stream.read(size)
    if len(data) < size:
        raise EOFError
    return data
