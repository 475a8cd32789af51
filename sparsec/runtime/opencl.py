"""Runs OpenCL kernels: one program built for one device, called with host memory.

    executable = OpenClExecutable(source)
    status, notes = executable.run([x_bytes, y_bytes, result_bytes])

Parameters are copied to the device, kernels run in order, and what was written comes back only if no `Fail`
was met. There is one context for each device and process; a device buffer lives for one call.
"""

from __future__ import annotations

import os
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsec.config import settings
from sparsec.errors import DeviceError, OutOfMemory
from sparsec.ir.abi import DeviceKernel, DeviceSource, pointer_index, pointer_slots
from sparsec.ir.block import fill
from sparsec.ir.loops import Slot, Var
from sparsec.ir.types import DType
from sparsec.runtime.devices import DeviceInfo, find_device, open_device
from sparsec.runtime.host_body import Stopped, evaluate, run_host_body

__all__ = ["OpenClExecutable"]

_GROUP = 64  # work-items of a group: a few vectors of any GPU
_STRIDED_ITEMS = 1 << 14  # for a range that only the kernel knows

# Kernels are launched by one thread at a time: arguments are set on an object that all share.
_lock = threading.RLock()
_contexts: dict[tuple[int, tuple[Any, ...]], tuple[Any, Any]] = {}


def _context(info: DeviceInfo) -> tuple[Any, Any]:
    """The context and device for these facts, opened once in a process."""
    import pyopencl as cl

    with _lock:
        if any(pid != os.getpid() for pid, _ in _contexts):
            raise DeviceError(
                "OpenCL was used before this process was forked, and does not survive that",
                hint='start the process anew: multiprocessing.set_start_method("spawn")',
            )
        key = (os.getpid(), info.identity)
        if key not in _contexts:
            device = open_device(info)
            with _device_errors("opening the device"):
                _contexts[key] = cl.Context([device]), device
        return _contexts[key]


@contextmanager
def _device_errors(doing: str) -> Iterator[None]:
    """pyopencl's errors as ours."""
    import pyopencl as cl

    try:
        yield
    except cl.MemoryError as error:
        raise OutOfMemory(f"the OpenCL device has too little memory: {error}") from error
    except cl.Error as error:
        raise DeviceError(f"{doing} failed: {error}") from error


class OpenClExecutable:
    """A program built for one device; by default, the one that `sparsec.runtime.devices` chooses."""

    def __init__(self, source: DeviceSource, device: DeviceInfo | None = None) -> None:
        self.source = source
        self.info = device if device is not None else find_device()
        if source.fp64 and not self.info.fp64:
            raise DeviceError(
                f"the program computes in float64, which {self.info.name} cannot",
                hint="use float32 arrays, or another device",
            )
        import pyopencl as cl

        self._pid = os.getpid()
        self._context, self._device = _context(self.info)
        with _lock:
            self._program = _build(source, self._context, self._device)
            with _device_errors("preparing the kernels"):
                self._queue = cl.CommandQueue(self._context)
                self._kernels = {
                    launch.name: cl.Kernel(self._program, launch.name)
                    for _, launches in source.kernels
                    for launch in launches
                }
                self._constants = {
                    slot.buffer.name: self._constant(slot)
                    for slot in source.program.slots
                    if slot.role == "const"
                }
        self._pointers = pointer_slots(source.program)
        self._launches = dict(source.kernels)

    def _constant(self, slot: Slot) -> Any:
        import pyopencl as cl

        flags = cl.mem_flags.READ_ONLY | cl.mem_flags.COPY_HOST_PTR
        return cl.Buffer(self._context, flags, hostbuf=np.frombuffer(slot.data or b"\0", np.uint8))

    def run(self, memory: Sequence[np.ndarray[Any, Any]]) -> tuple[int, int]:
        """Runs on host memory: contiguous uint8 arrays, for parameters, then for results (`sparsec.ir.abi`).

        Returns the status (0, or the code of a `Fail`; then nothing was written) and the or of all notes.
        """
        if len(memory) != len(self._pointers):
            raise TypeError(f"{len(self._pointers)} buffers are needed, got {len(memory)}")
        if os.getpid() != self._pid:
            _context(self.info)  # says why not
        with _lock, _device_errors("running the kernels"):
            call = _Call(self, memory)
            try:
                return call.run()
            finally:
                call.release()


def _build(source: DeviceSource, context: Any, device: Any) -> Any:
    import pyopencl as cl

    options = ["-cl-std=CL1.2"]
    exact = cl.device_fp_config.CORRECTLY_ROUNDED_DIVIDE_SQRT
    if device.single_fp_config & exact:
        options.append("-cl-fp32-correctly-rounded-divide-sqrt")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", cl.CompilerWarning)
            return cl.Program(context, source.text).build(options, devices=[device], cache_dir=False)
    except cl.Error as error:
        saved = _save(source, str(error))
        raise DeviceError(
            f"{device.name} cannot build the kernels: {error}",
            hint=saved or "set SPARSEC_DUMP to a folder to keep the source",
        ) from error


def _save(source: DeviceSource, log: str) -> str:
    """Puts the source and the build log where SPARSEC_DUMP says; tells where."""
    folder: Path | None = settings.dump
    if folder is None:
        return ""
    stem = "".join(c if c.isalnum() or c in "_-" else "_" for c in source.program.name) or "program"
    path = folder / f"{stem}.cl"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path.write_text(source.text)
        path.with_suffix(".log").write_text(log)
    except OSError as error:
        return f"the source could not be saved: {error}"
    return f"the source is in {path}, the build log beside it"


@dataclass(slots=True)
class _Place:
    """A program buffer on the device; `offset` in bytes."""

    buffer: Any
    offset: int = 0


class _Call:
    """One run: the device buffers, and the `Host` that the host body commands."""

    def __init__(self, executable: OpenClExecutable, memory: Sequence[np.ndarray[Any, Any]]) -> None:
        self._executable = executable
        self._program = executable.source.program
        self._queue = executable._queue
        self._memory = memory
        self._slots = {slot.buffer.name: slot for slot in self._program.slots}
        self._owned: list[Any] = []
        self._notes = 0
        self._status = self._new(8)
        self._device = [self._new(view.nbytes) for view in memory]
        arena = self._new(self._program.arena_bytes) if self._program.arena_bytes else None
        index = pointer_index(self._program)
        self._places = {
            name: _Place(self._device[index[name]]) if name in index
            else _Place(arena, slot.position) if slot.role == "arena"
            else _Place(executable._constants[name])
            for name, slot in self._slots.items()
            if slot.role not in ("heap", "made")
        }  # fmt: skip

    def _new(self, size: int) -> Any:
        import pyopencl as cl

        buffer = cl.Buffer(self._executable._context, cl.mem_flags.READ_WRITE, max(size, 1))
        self._owned.append(buffer)
        return buffer

    def release(self) -> None:
        """Gives the device memory back."""
        for buffer in self._owned:
            buffer.release()

    def run(self) -> tuple[int, int]:
        self._copy(self._status, np.zeros(2, np.int32))
        for slot, view, buffer in zip(self._executable._pointers, self._memory, self._device):
            if slot.role == "param":
                self._copy(buffer, view)
        try:
            run_host_body(self._program.body, self)
        except Stopped as stopped:
            # A kernel before it may have failed first.
            status, notes = self._words()
            return status or stopped.code, notes
        status, notes = self._words()
        if status == 0:
            self._bring_back()
        return status, notes

    def _words(self) -> tuple[int, int]:
        words = np.empty(2, np.int32)
        self._copy(words, self._status)
        return int(words[0]), int(words[1]) | self._notes

    def _bring_back(self) -> None:
        names = pointer_index(self._program)
        written = {
            position
            for name, position in names.items()
            if self._slots[name].role == "result" or "w" in self._slots[name].buffer.access
        }
        for position in sorted(written):
            self._copy(self._memory[position], self._device[position])
        for name in (name for name, slot in self._slots.items() if slot.role == "made"):
            made = np.empty(self._places[name].buffer.size, np.uint8)
            self._copy(made, self._places[name].buffer)
            fill(self._memory[names[name]], made)

    def _copy(self, target: Any, source: Any, **where: int) -> None:
        import pyopencl as cl

        host = target if isinstance(target, np.ndarray) else source
        if host.nbytes:
            cl.enqueue_copy(self._queue, target, source, is_blocking=True, **where)

    # --- what the host body commands ---

    def launch(self, kernel: str, buffers: Sequence[str], scalars: Sequence[int]) -> None:
        """Enqueues the launches that a kernel became."""
        params = next(k.scalars for k in self._program.kernels if k.name == kernel)
        for launch in self._executable._launches[kernel]:
            self._enqueue(launch, buffers, params, scalars)

    def _enqueue(
        self, launch: DeviceKernel, buffers: Sequence[str], params: Sequence[Var], scalars: Sequence[int]
    ) -> None:
        import pyopencl as cl

        items = _STRIDED_ITEMS
        if launch.items is not None:
            values = {param.name: np.int64(value) for param, value in zip(params, scalars)}
            items = int(evaluate(launch.items, values))
        if items <= 0:
            return
        args: list[Any] = []
        for name, element in zip(buffers, launch.elements):
            place = self._places[name]
            args.append(place.buffer)
            if element:
                first, rest = divmod(place.offset, element)
                if rest:
                    raise DeviceError(f"buffer %{name} is not aligned in the arena")
                args.append(np.int64(first))
        args.extend(np.int64(scalar) for scalar in scalars)
        kernel = self._executable._kernels[launch.name]
        kernel.set_args(*args, self._status)
        group = 1 if items == 1 else min(_GROUP, self._executable.info.max_work_group_size)
        size = -(-items // group) * group
        cl.enqueue_nd_range_kernel(self._queue, kernel, (size,), (group,))

    def load(self, buffer: str, index: int, dtype: DType) -> Any:
        """Reads one element back, after all launches so far. Stops the program if one of them failed."""
        status, _ = self._words()
        if status:
            raise Stopped(status)
        value = np.empty(1, dtype)
        place = self._places[buffer]
        offset = place.offset + index * dtype.itemsize
        self._copy(value, place.buffer, src_offset=offset)
        return value[0]

    def store(self, buffer: str, index: int, value: Any, dtype: DType) -> None:
        """Writes one element, after all launches so far."""
        place = self._places[buffer]
        self._copy(place.buffer, np.full(1, value, dtype), dst_offset=place.offset + index * dtype.itemsize)

    def reserve(self, buffer: str, nbytes: int) -> bool:
        """Lets a buffer hold so many bytes; False where the device has no such memory."""
        held = self._places.get(buffer)
        if held is not None and held.buffer.size >= nbytes:
            return True
        if nbytes > self._executable._device.max_mem_alloc_size:
            return False
        self._places[buffer] = _Place(self._new(nbytes))
        if held is not None:
            self._queue.finish()  # kernels that are on their way may use it
            self._owned.remove(held.buffer)
            held.buffer.release()
        return True

    def note(self, flag: int) -> None:
        """Adds to the notes."""
        self._notes |= flag
