"""`python -m tests.fuzz`: random programs against NumPy.

    python -m tests.fuzz --count 1000 --backend interp,cpu --optimise both --jobs 2
    python -m tests.fuzz --show 4711          the program, its calls and its IR
    python -m tests.fuzz --start 4711 --count 1 --save
"""

from __future__ import annotations

import argparse
import sys

from tests.fuzz.found_case import case_text, save_case
from tests.fuzz.program import generate
from tests.fuzz.recipe import recipe_text
from tests.fuzz.runner import Config, Workshop, configs
from tests.fuzz.shrink import kind, shrink
from tests.fuzz.workers import Clock, Tally, run_parallel


def _options(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=1000, help="programs to run")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--start", type=int, default=0, help="number of the first program")
    parser.add_argument("--backend", default="interp", help="comma-separated: interp, loops, cpu, opencl")
    parser.add_argument("--optimise", choices=("on", "off", "both"), default="on")
    parser.add_argument("--time", type=float, default=0, help="stop after so many seconds")
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--stop-on-fail", action="store_true")
    parser.add_argument("--save", action="store_true", help="write shrunk programs to tests/fuzz/found/")
    parser.add_argument("--shrink", type=int, default=5, help="how many findings to shrink (0: none)")
    parser.add_argument("--seeded", action="store_true", help="how many programs find each seeded error")
    parser.add_argument("--show", type=int, metavar="NUMBER", help="print one program and leave")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> int:
    """Exit status 1 if anything differed."""
    options = _options(argv)
    if options.show is not None:
        program = generate(options.seed, options.show)
        print(program.source, *map(recipe_text, program.calls), sep="\n")
        return 0
    if options.seeded:
        return _seeded()
    ways = configs(options.backend.split(","), options.optimise)
    tally = _run(options, ways)
    _report(options, tally)
    return 1 if tally.mismatches else 0


def _seeded() -> int:
    from tests.fuzz.seeded import SEEDED, programs_needed

    missed = 0
    for name, case in SEEDED.items():
        needed = programs_needed(name)
        missed += needed is None
        print(f"{needed or 'not found':>9} {case.way}: {name}", flush=True)
    return 1 if missed else 0


def _run(options: argparse.Namespace, ways: list[Config]) -> Tally:
    clock, total = Clock(options.time), Tally()
    numbers = range(options.start, options.start + options.count)
    for part in run_parallel(options.seed, numbers, ways, options.jobs):
        total.add(part)
        for number, way, text in part.mismatches:
            print(f"program {number} ({way}): {text}", flush=True)
        if clock.speak():
            print(f"{total.programs} programs, {total.programs / clock.elapsed:.0f}/s, "
                  f"{len(total.mismatches)} differ, {total.refused_programs} refused", flush=True)
        if clock.over or (options.stop_on_fail and total.mismatches):
            break
    rate = total.programs / max(clock.elapsed, 1e-9)
    print(f"{total.programs} programs ({', '.join(map(str, ways))}) in {clock.elapsed:.1f} s, {rate:.0f}/s: "
          f"{len(total.mismatches)} differ, {total.refused_programs} refused, "
          f"in {total.raised} NumPy raised, in {total.order} NumPy's answer depends on its loops")
    return total


def _report(options: argparse.Namespace, tally: Tally) -> None:
    if tally.refused:
        print("refused because:")
    for reason, count in tally.refused.most_common(25):
        print(f"{count:7} {reason}")
    if not tally.mismatches:
        return
    print("differences:")
    found: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for number, way, text in sorted(tally.mismatches, key=lambda m: m[0]):
        found.setdefault((str(way), kind(text)), []).append((number, text))
    for (way, what), cases in found.items():
        print(f"{len(cases):7} {way} {what}: programs {', '.join(str(n) for n, _ in cases[:12])}")
    _shrink_some(options, tally)


#: What is worse comes first.
_ORDER = ("crash", "value", "sharing", "refused", "dtype", "structure", "type", "error", "writeable")


def _weight(mismatch: tuple[int, Config, str]) -> tuple[int, int]:
    number, _, text = mismatch
    return _ORDER.index(kind(text)) if kind(text) in _ORDER else len(_ORDER), number


def _shrink_some(options: argparse.Namespace, tally: Tally) -> None:
    """The first findings of each kind, small; findings that shrink to one program count once."""
    workshop, seen, spent = Workshop(), set(), 0
    by_kind: dict[str, int] = {}
    for number, way, text in sorted(tally.mismatches, key=_weight):
        by_kind[kind(text)] = by_kind.get(kind(text), 0) + 1
        enough = spent >= options.shrink or by_kind[kind(text)] > max(2, options.shrink // 3)
        if enough:
            continue
        spent += 1
        small = shrink(generate(options.seed, number), way, text, workshop)
        if small.source in seen:
            continue
        seen.add(small.source)
        message = text if kind(text) == "crash" else workshop.check(small, (way,)).mismatches.get(way, text)
        print(f"\n# program {number} of seed {options.seed}, {way}\n{case_text(small, message)}")
        if options.save:
            print(f"# saved as {save_case(small, message).name}")
    workshop.close()


if __name__ == "__main__":
    sys.exit(main())
