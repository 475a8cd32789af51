"""Many programs over several processes. A worker that dies (native code can) is a finding, not the end."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import multiprocessing.connection
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from tests.fuzz.program import generate
from tests.fuzz.runner import Config, Workshop, collect_garbage, crash_text

#: A worker is replaced after so many programs, which bounds what leaks can cost.
LIFE = 5000
_CHUNK = 25


@dataclass
class Tally:
    """What a run of programs gave. `mismatches`: (program number, configuration, message)."""

    programs: int = 0
    raised: int = 0
    order: int = 0
    mismatches: list[tuple[int, Config, str]] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)
    refused_programs: int = 0

    def add(self, other: Tally) -> None:
        self.programs += other.programs
        self.raised += other.raised
        self.order += other.order
        self.mismatches += other.mismatches
        self.refused += other.refused
        self.refused_programs += other.refused_programs


def run_range(seed: int, numbers: range, ways: list[Config], workshop: Workshop,
              note: Callable[[int, int], None] = lambda number, way: None) -> Tally:
    """The programs with these numbers, in this process. `note` is told what runs next: number, way."""
    tally = Tally()
    for number in numbers:
        note(number, 0)
        outcome = workshop.check(generate(seed, number), ways, functools.partial(note, number))
        tally.programs += 1
        tally.raised += outcome.raised
        tally.order += outcome.order
        tally.mismatches += [(number, way, text) for way, text in outcome.mismatches.items()]
        tally.refused.update(outcome.refused.values())
        tally.refused_programs += bool(outcome.refused)
        collect_garbage(number)
    return tally


def _work(pipe: Any, current: Any, seed: int, ways: list[Config]) -> None:
    """A worker: ranges in, tallies out, until None."""
    workshop = Workshop()

    def note(number: int, way: int) -> None:
        current.value = number * len(ways) + way

    try:
        while (numbers := pipe.recv()) is not None:
            pipe.send(run_range(seed, numbers, ways, workshop, note))
    except (EOFError, KeyboardInterrupt):
        pass
    finally:
        workshop.close()


class _Worker:
    def __init__(self, seed: int, ways: list[Config]) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, theirs = context.Pipe()
        self.current = context.Value("q", -1)
        self.process = context.Process(target=_work, args=(theirs, self.current, seed, ways), daemon=True)
        self.process.start()
        theirs.close()
        self.numbers = range(0)
        self.done = 0

    def give(self, numbers: range) -> None:
        self.numbers = numbers
        self.pipe.send(numbers)

    def stop(self) -> None:
        with contextlib.suppress(OSError):
            self.pipe.send(None)
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()

    def died(self, ways: list[Config]) -> tuple[Tally, range]:
        """A tally that blames the program that was running, and the numbers that are left of the chunk."""
        self.process.join()
        if (self.process.exitcode or 0) >= 0:
            raise RuntimeError("a worker failed by itself: its traceback is above")
        number, way = divmod(max(self.current.value, self.numbers.start * len(ways)), len(ways))
        text = crash_text(self.process.exitcode)
        before = number - self.numbers.start
        return Tally(before + 1, mismatches=[(number, ways[way], text)]), range(number + 1, self.numbers.stop)


def run_parallel(seed: int, numbers: range, ways: list[Config], jobs: int) -> Iterator[Tally]:
    """Tallies as they come in; the programs do not depend on the number of jobs."""
    todo = [range(a, min(a + _CHUNK, numbers.stop)) for a in range(numbers.start, numbers.stop, _CHUNK)][::-1]
    workers = [_Worker(seed, ways) for _ in range(min(jobs, len(todo)))]
    try:
        for worker in workers:
            worker.give(todo.pop())
        while workers:
            ready = multiprocessing.connection.wait([w.pipe for w in workers])
            for worker in [w for w in workers if w.pipe in ready]:
                tally, replaced = _receive(worker, todo, seed, ways)
                workers.remove(worker)
                if todo:
                    replaced = replaced or worker
                    replaced.give(todo.pop())
                    workers.append(replaced)
                elif replaced is not None:
                    replaced.stop()
                else:
                    worker.stop()
                yield tally
    finally:
        for worker in workers:
            worker.process.kill()


def _receive(
    worker: _Worker, todo: list[range], seed: int, ways: list[Config]
) -> tuple[Tally, _Worker | None]:
    """The worker's tally, and another worker if this one died or is old."""
    try:
        tally = worker.pipe.recv()
    except (EOFError, ConnectionError):
        tally, left = worker.died(ways)
        if left:
            todo.append(left)
        return tally, _Worker(seed, ways)
    worker.done += tally.programs
    if worker.done < LIFE or not todo:
        return tally, None
    worker.stop()
    return tally, _Worker(seed, ways)


class Clock:
    """Programs per second, and when to say so."""

    def __init__(self, seconds: float) -> None:
        self.started = self._said = time.monotonic()
        self.end = self.started + seconds if seconds else float("inf")

    @property
    def elapsed(self) -> float:
        return time.monotonic() - self.started

    @property
    def over(self) -> bool:
        return time.monotonic() > self.end

    def speak(self) -> bool:
        """True every few seconds."""
        if time.monotonic() - self._said < 5:
            return False
        self._said = time.monotonic()
        return True
