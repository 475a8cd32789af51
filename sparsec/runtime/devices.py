"""OpenCL devices: which there are, which one to use, and the way to open it.

Drivers are loaded by a child process first (`probe`): a broken one must not take the user's program along.
Only when that went well does `open_device` load them here. A platform is chosen by name, never by number:
the order in which a machine lists its platforms is nobody's promise.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sparsec.config import settings
from sparsec.errors import DeviceError, DeviceNotFound
from sparsec.runtime import opencl_probe
from sparsec.runtime.isolate import run_script

__all__ = [
    "POCL",
    "DeviceInfo",
    "Driver",
    "Probe",
    "choose",
    "drivers",
    "find_device",
    "open_device",
    "probe",
]

#: The platform that needs no hardware: OpenCL on the CPU.
POCL = "Portable Computing Language"

#: Seconds for all drivers to answer. A GPU driver that wakes its device may need several.
PROBE_TIMEOUT = 30.0

# What changes the loader's answer; a probe is remembered for as long as these stay.
_LOADER_VARIABLES = ("OCL_ICD_VENDORS", "OPENCL_VENDOR_PATH", "OCL_ICD_FILENAMES", "POCL_DEVICES")
_SYSTEM_VENDORS = "/etc/OpenCL/vendors"

_INSTALL_POCL = "`pip install pocl-binary-distribution` installs a device that needs no hardware"


@dataclass(frozen=True, slots=True)
class DeviceInfo:
    """What is known of an OpenCL device. Plain facts: it can be kept, compared and sent to a process."""

    name: str
    kind: str  # gpu, cpu, accelerator or other
    version: str
    driver: str
    platform: str
    platform_version: str
    index: int  # among the devices of its platform
    fp64: bool
    fp16: bool
    max_work_group_size: int
    local_mem_bytes: int
    global_mem_bytes: int
    max_alloc_bytes: int
    compute_units: int
    float_vector_width: int
    unified_memory: bool

    @property
    def identity(self) -> tuple[str, str, str, str, int]:
        """What tells this device from the others; the rest, such as free memory, may differ per process."""
        return self.platform, self.platform_version, self.name, self.driver, self.index


@dataclass(frozen=True, slots=True)
class Probe:
    """The devices of this machine, and what went wrong in asking for them (empty if nothing did)."""

    devices: tuple[DeviceInfo, ...]
    problem: str = ""
    hint: str = ""  # what to do about the problem
    pyopencl: str | None = None  # its version


@dataclass(frozen=True, slots=True)
class Driver:
    """An ICD file, which names a driver to the OpenCL loader, and what happens when it alone is loaded."""

    file: Path
    devices: tuple[DeviceInfo, ...]
    problem: str = ""


def probe(timeout: float = PROBE_TIMEOUT) -> Probe:
    """Asks a child process for the devices of this machine. Never raises; remembers the answer."""
    return _probe(timeout, tuple(os.environ.get(name) for name in _LOADER_VARIABLES))


@lru_cache(maxsize=16)
def _probe(timeout: float, environment: tuple[str | None, ...]) -> Probe:
    """environment: what decides which drivers are found; a change of it asks anew."""
    return _ask_child(timeout)


def _ask_child(timeout: float, env: dict[str, str] | None = None) -> Probe:
    outcome = run_script(Path(opencl_probe.__file__), timeout=timeout, env=env)
    if outcome.failure:
        last = outcome.stderr.splitlines()[-1:]
        problem = ": ".join([f"the process that loads the OpenCL drivers {outcome.failure}", *last])
        return Probe((), problem, "`sparsec doctor` loads each driver alone and shows which one is at fault")
    version = outcome.answer["pyopencl"]
    if version is None:
        return Probe((), "pyopencl is not installed", "`pip install pyopencl`")
    devices = tuple(DeviceInfo(**facts) for facts in outcome.answer["devices"])
    if not devices:
        return Probe((), "no OpenCL driver is installed", _INSTALL_POCL, version)
    return Probe(devices, pyopencl=version)


def drivers() -> list[Driver]:
    """Loads every driver alone, each in its own child, to tell a broken one from those it hides."""
    found = []
    for file in _icd_files():
        alone = _ask_child(PROBE_TIMEOUT, env={"OCL_ICD_VENDORS": str(file)})
        found.append(Driver(file, alone.devices, alone.problem))
    return found


def _icd_files() -> list[Path]:
    """The ICD files that the loader would read. None where drivers are not found through files."""
    if sys.platform in ("win32", "darwin"):
        return []
    asked = os.environ.get("OCL_ICD_VENDORS") or os.environ.get("OPENCL_VENDOR_PATH")
    if asked and Path(asked).is_file():
        return [Path(asked)]
    folders = [Path(asked or _SYSTEM_VENDORS)]
    # The loader that comes with pyopencl also looks beside itself, which is where PoCL's wheel puts its file;
    # but not when it was sent to a folder that does not exist.
    if (not asked or Path(asked).is_dir()) and (spec := find_spec("pyopencl")) is not None and spec.origin:
        folders.append(Path(spec.origin).parent / ".libs")
    return [file.absolute() for folder in folders for file in sorted(folder.glob("*.icd"))]


def choose(devices: Sequence[DeviceInfo], platform: str | None = None) -> DeviceInfo:
    """The device to use: of the platform so named, else a GPU, else PoCL, else the first.

    A name may be a part of the platform's name or version in any case: `pocl` is found too.
    """
    if platform is not None:
        wanted = platform.strip().casefold()
        # A full name goes before a part, so that no name is shadowed by a longer one.
        for fits in (
            lambda device: wanted == device.platform.casefold(),
            lambda device: wanted in device.platform.casefold(),
            lambda device: wanted in device.platform_version.casefold(),
        ):
            if named := [device for device in devices if fits(device)]:
                return _gpu_first(named)
        names = ", ".join(dict.fromkeys(repr(device.platform) for device in devices)) or "none"
        raise DeviceNotFound(
            f"there is no OpenCL platform named {platform!r}", hint=f"platforms with a device: {names}"
        )
    if not devices:
        raise DeviceNotFound("there is no OpenCL device", hint=_INSTALL_POCL)
    pocl = [device for device in devices if device.platform == POCL]
    best = _gpu_first(devices)
    return best if best.kind == "gpu" or not pocl else pocl[0]


def _gpu_first(devices: Sequence[DeviceInfo]) -> DeviceInfo:
    return min(devices, key=lambda device: device.kind != "gpu")  # min keeps the order among equals


def find_device(platform: str | None = None) -> DeviceInfo:
    """The device to use on this machine. A platform named here goes before `settings.opencl_platform`."""
    wanted = platform if platform is not None else settings.opencl_platform
    probed = probe()
    if not probed.devices:
        raise DeviceNotFound(f"there is no OpenCL device: {probed.problem}", hint=probed.hint)
    return choose(probed.devices, wanted)


def open_device(info: DeviceInfo | None = None) -> Any:
    """The `pyopencl.Device` with these facts; by default, of the device that `find_device` chooses."""
    wanted = info if info is not None else find_device()
    # Imported here, for it loads every driver, and only the OpenCL backend needs it.
    import pyopencl as cl

    try:
        for device, facts in opencl_probe.all_devices(cl):
            if DeviceInfo(**facts).identity == wanted.identity:
                return device
    except cl.Error as error:
        raise DeviceError(f"the OpenCL drivers cannot be asked for their devices: {error}") from error
    raise DeviceNotFound(f"the OpenCL device {wanted.name!r} of {wanted.platform!r} is not there any more")
