"""The driver: from a traced function to something that runs, every step named, each of them printable.

    compilation = Compilation(func, "cpu")
    print(compilation.text("loops"))
    compilation.runner.run(param_addresses, result_addresses)

The only module that joins passes, code generators and runtimes.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import TYPE_CHECKING, Any

from sparsec.config import say, settings
from sparsec.errors import ConfigError, UnsupportedError
from sparsec.ir.graph import Func
from sparsec.ir.late import may_fail_late, reserves_late
from sparsec.ir.lazy import lazy
from sparsec.ir.limits import made_results, may_have_sizes
from sparsec.ir.loops import Kernel, Program, scratch_bytes
from sparsec.runtime.runners import CpuRunner, GraphRunner, LoopRunner, OpenClRunner, Runner
from sparsec.runtime.sized import SizedRunner, param_elements, pointer_bytes

if TYPE_CHECKING:
    from sparsec.codegen.target import Target
    from sparsec.passes.base import Pass
    from sparsec.passes.choices import Choices
    from sparsec.passes.schedule.packed_weights import Packing
    from sparsec.passes.schedule.register_block import Registers
    from sparsec.runtime.stored import StoredCode
    from sparsec.runtime.threads import Pool

__all__ = ["BACKENDS", "STAGES", "Compilation", "thread_pool"]

#: Backend name -> name of its target record.
BACKENDS = {"cpu": "cpu", "opencl": "opencl", "interp": "interp", "loops": "interp"}

#: Stages that every backend can show, then those of one backend.
STAGES = ("trace", "graph", "loops", "scheduled", "legal", "llvm", "llvm-opt", "asm", "opencl")


@dataclass
class Compilation:
    """One function on its way down. Every stage is made once, when first asked for.

    backend: cpu, opencl, interp (the graph interpreter) or loops (the loop interpreter).
    alignments: bytes that may be assumed of a parameter's address, by storage; default: its item size.
    """

    func: Func
    backend: str = "cpu"
    alignments: Mapping[str, int] = field(default_factory=dict)
    optimise: bool = True
    choices: Choices | None = None  # None: what `sparsec tune` has kept for this function, else the defaults

    def __post_init__(self) -> None:
        if self.backend not in BACKENDS:
            raise ConfigError(f"backend {self.backend!r} is not one of {', '.join(BACKENDS)}")

    # --- from the trace to loops ---

    @lazy
    def planned(self) -> Func:
        """The graph after all passes."""
        from sparsec.passes.base import run_pipeline
        from sparsec.passes.pipeline import UNOPTIMISED

        planned = run_pipeline(self.func, self.pipeline if self.optimise else UNOPTIMISED)
        if {p.offset for p in planned.plan if p.space == "made"} != self.made:
            raise UnsupportedError("the size of a result has no upper bound after all passes", loc=self.func.loc)
        return planned

    @property
    def pipeline(self) -> tuple[Pass, ...]:
        """The passes over the graph, with what they need to know of the choices and the machine."""
        wide = self._registers.wide if self.backend == "cpu" else 0
        return self.chosen.pipeline(self.packs, wide)

    @lazy
    def program(self) -> Program:
        """Loop IR, for any target; reductions are written for vector units where those are not work-items."""
        from sparsec.passes.lower import lower_program

        return lower_program(self.planned, self.alignments, lanes=self.backend != "opencl" and self.chosen.lanes)

    @lazy
    def safe(self) -> Program | None:
        """The program that leaves parameters as they were if it fails; None where its runner has to see to that."""
        from sparsec.passes.schedule.all_or_nothing import all_or_nothing

        program = self.program
        if not program.failures or not (may_fail_late(self.func) or reserves_late(program)):
            return program
        return all_or_nothing(program) if self.backend == "cpu" else None

    @property
    def kernels(self) -> tuple[Kernel, ...]:
        return self.program.kernels

    @lazy
    def made(self) -> frozenset[int]:
        """Numbers of the result storages whose size only the program can tell."""
        return made_results(self.func)

    # --- loops for the target ---

    @property
    def target(self) -> Target:
        """What is known of the machine."""
        from sparsec.codegen.target import TARGETS

        target = TARGETS[BACKENDS[self.backend]]
        if target.kind != "cpu":
            return target
        from sparsec.runtime.cpu import host_cpu

        host = host_cpu()
        return replace(
            target, own_math=target.own_math and host.has_fma, vector_bytes=host.vector_bytes,
            vector_registers=host.vector_registers,
        )

    @lazy
    def _packed(self) -> tuple[Program, tuple[Packing, ...]]:
        """The program with its constant weights in the order in which they are read best."""
        from sparsec.passes.plan_memory import memory_report
        from sparsec.passes.schedule.packed_weights import pack_weights
        from sparsec.passes.schedule.same_kernels import same_kernels

        program = same_kernels(self.safe or self.program)
        if not self.packs:
            return program, ()
        limit, plan = self.chosen.limit, memory_report(self.planned)
        return pack_weights(program, self._registers, max(limit - plan.peak - plan.results, 0) if limit else -1)

    @lazy
    def scheduled(self) -> Program:
        """Loop IR in the order that suits the target."""
        from sparsec.passes.schedule.few_streams import few_streams
        from sparsec.passes.schedule.register_block import register_blocks
        from sparsec.passes.schedule.shared_rows import shared_rows
        from sparsec.passes.schedule.short_rows import short_rows
        from sparsec.passes.schedule.side_by_side import side_by_side

        program, _ = self._packed
        if self.target.kind != "cpu":
            return register_blocks(program, self._registers)
        return shared_rows(few_streams(side_by_side(register_blocks(short_rows(program), self._registers))))

    @property
    def _registers(self) -> Registers:
        """What blocks of sums may use."""
        from sparsec.passes.schedule.register_block import Registers

        target = self.target
        registers = min(self.chosen.registers or target.vector_registers, target.vector_registers)
        return Registers(target.vector_bytes if registers else 0, registers)

    @lazy
    def legal(self) -> Program:
        """Loop IR that the backend's target can express."""
        from sparsec.codegen.legalize import legalize

        return legalize(self.scheduled, self.target)

    # --- code ---

    @lazy
    def opencl(self) -> Any:
        """The OpenCL C source with what a device needs to launch it."""
        from sparsec.codegen.opencl import opencl_source

        return opencl_source(self.legal)

    @lazy
    def llvm(self) -> tuple[str, ...]:
        """The LLVM modules of the CPU backend."""
        return tuple(self._written())

    def _written(self) -> Iterator[str]:
        """The LLVM text of the CPU backend, module by module."""
        from sparsec.codegen.llvm import LlvmTarget, llvm_modules
        from sparsec.runtime.blas import find_blas
        from sparsec.runtime.cpu import host_cpu
        from sparsec.runtime.threads import has_threads

        host, blas = host_cpu(), find_blas()
        target = LlvmTarget(
            host.triple, host.data_layout, host.cpu, host.features,
            vector_bits=self.chosen.vector_bits or host.vector_bits, vector_bytes=host.vector_bytes,
            blas_bits=blas.bits if blas else 0, slow_gather=host.slow_gather, threads=has_threads(),
        )
        return llvm_modules(self.legal, target)

    @lazy
    def stored(self) -> StoredCode:
        """Native code for this machine and what a call needs beside it; from the disk if it has been made
        before from the same traced function, and then no stage in between is."""
        from sparsec.runtime.stored import cache_key, load_or_make

        key = cache_key("cpu", *self._identity, str(self.optimise), str(self.chosen))
        return load_or_make(key, self._make_stored)

    def _make_stored(self) -> StoredCode:
        from sparsec.codegen.pool import SHARE
        from sparsec.ir.work import statements
        from sparsec.runtime.compiling import compile_objects
        from sparsec.runtime.stored import StoredCode

        program = self.legal
        objects = compile_objects(self._written())
        return StoredCode(
            objects, program.arena_bytes, program.failures, statements(program), late=self.safe is None,
            threads=any(SHARE.encode() in code for code in objects),
            packed=tuple((slot.position, (slot.columns, slot.block)) for slot in program.slots if slot.block),
        )

    @lazy
    def executable(self) -> Any:
        """The native code of the CPU backend, loaded."""
        from sparsec.runtime.blas import find_blas
        from sparsec.runtime.cpu import CpuExecutable

        blas = find_blas()
        symbols = {**(blas.symbols if blas else {}), **(thread_pool().symbols if self.stored.threads else {})}
        return CpuExecutable(self.stored.objects, symbols)

    # --- running it ---

    @lazy
    def runner(self) -> Runner:
        """The executable form. Compiles it. Where `made` says so, a result's address is that of an `ir.block`."""
        began = perf_counter()
        made = self._make_runner()
        if settings.debug:
            params = ", ".join(str(p.type) for p in self.func.params)
            seconds = perf_counter() - began
            say(1, f"sparsec: {self.func.name}({params}) for {self.backend}: {1e3 * seconds:.1f} ms")
        if settings.debug >= 4:
            for stage in self.own_stages[2:]:
                say(4, f"// ---- {stage} ----\n{self.text(stage)}")
        return made

    def _make_runner(self) -> Runner:
        if self.backend == "interp":
            return GraphRunner(self.func, self.made)
        if not may_have_sizes(self.func):
            return self._runner
        return SizedRunner(self._runner, self.func, pointer_bytes(self.planned))

    @property
    def _runner(self) -> Runner:
        match self.backend:
            case "loops":
                return LoopRunner(self.program)
            case "opencl":
                return OpenClRunner(self.legal, self.opencl)
        return CpuRunner(self.stored, self.executable)

    # --- what a search may decide ---

    @lazy
    def chosen(self) -> Choices:
        """What is decided of what a search may decide."""
        from sparsec.passes.choices import Choices
        from sparsec.runtime.cache import disk_cache

        if self.choices is not None or self.backend != "cpu" or not self.optimise:
            # Few rows at a time are few work-items: there, both products are computed one by one.
            return self.choices or Choices(both_products=self.backend != "opencl")
        cache = disk_cache()
        kept = cache.get(self.choices_key) if cache is not None else None
        return Choices.parse(kept.decode()) if kept else Choices()

    @property
    def choices_key(self) -> str:
        """Where the disk cache keeps the choices for this function."""
        from sparsec.runtime.stored import cache_key

        return cache_key("choices", *self._identity)

    @lazy
    def _identity(self) -> tuple[str, str]:
        """Texts that say which function this is, for which arguments."""
        from sparsec.ir.text import to_text

        return to_text(self.func), ", ".join(f"{name}: {self.alignments[name]}" for name in sorted(self.alignments))

    # --- constants in a second order ---

    @property
    def packs(self) -> bool:
        """Whether constants may be repacked: what is packed is memory of this process, for CPUs."""
        return bool(self.func.constants) and self.backend == "cpu" and self.optimise and self.chosen.pack

    @property
    def packings(self) -> tuple[Packing, ...]:
        """What was decided of each constant weight."""
        return self._packed[1] if self.packs else ()

    @property
    def blocks(self) -> Mapping[int, tuple[int, int]]:
        """The parameters, by number, that the compiled program gets packed: columns, and rows in a block."""
        return dict(self.stored.packed) if self.packs else {}

    def packed_bytes(self, sizes: Mapping[str, int]) -> int:
        """Bytes of packed copies beside the parameters, for these values of the function's symbols."""
        from sparsec.passes.schedule.packed_weights import packed_elements

        total = 0
        for slot in self.scheduled.slots if self.packs else ():
            if slot.block:
                rows = param_elements(self.func.params[slot.position], sizes) // slot.columns
                total += packed_elements(rows, slot.columns, slot.block) * slot.buffer.dtype.itemsize
        return total

    @property
    def scratch(self) -> int:
        """Bytes that the largest kernel keeps on the stack of each thread, on a CPU."""
        return max(map(scratch_bytes, self.scheduled.kernels), default=0) if self.backend == "cpu" else 0

    # --- its text ---

    def text(self, stage: str) -> str:
        """The text of a stage; `all` gives every one that this backend has. Raises ConfigError."""
        from sparsec.ir.loop_text import program_text as loop_text
        from sparsec.ir.text import to_text

        match stage:
            case "trace":
                return to_text(self.func)
            case "graph":
                return to_text(self.planned)
            case "loops":
                return loop_text(self.program)
            case "scheduled":
                return loop_text(self.scheduled)
            case "legal":
                return loop_text(self.legal)
            case "llvm":
                return "\n".join(self.llvm)
            case "llvm-opt" | "asm":
                from sparsec.runtime.cpu import assembly, optimised_text

                return "\n".join(map(assembly if stage == "asm" else optimised_text, self.llvm))
            case "opencl":
                return str(self.opencl.text)
            case "all":
                return "\n".join(f"// ---- {s} ----\n{self.text(s)}" for s in self.own_stages)
        return self._after_pass(stage)

    @property
    def own_stages(self) -> tuple[str, ...]:
        """The stages of this backend, in order."""
        native = ("opencl",) if self.backend == "opencl" else ("llvm", "asm") if self.backend == "cpu" else ()
        return ("trace", "graph", "loops", "scheduled", "legal", *native) if native else ("trace", "graph", "loops")

    def _after_pass(self, name: str) -> str:
        from sparsec.ir.text import to_text
        from sparsec.passes.base import run_pipeline

        shown: dict[str, str] = {}
        run_pipeline(self.func, self.pipeline, observe=lambda step, func: shown.update({step.name: to_text(func)}))
        if name not in shown:
            raise ConfigError(
                f"there is no stage {name!r}", hint=f"stages: {', '.join((*STAGES, 'all', *shown))}"
            )
        return shown[name]


def thread_pool() -> Pool:
    """The thread pool of this process; loads it. Raises CompileError where there are no threads."""
    from sparsec.codegen.pool import SHARE, pool_text
    from sparsec.runtime.cpu import compile_object
    from sparsec.runtime.stored import cached_object
    from sparsec.runtime.threads import load_pool

    # Without optimisation it is made ten times as fast, and hardly slower.
    return load_pool(pool_text, SHARE, lambda text: cached_object(text, lambda t: compile_object(t, 0)))
