"""`sparsec doctor`: what this machine offers, what is broken, and whether sparsec can work here.

Everything that may crash is asked in a child process. The exit status is 0 when the CPU backend works; no
OpenCL device, or a broken one, is reported and is no failure.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from sparsec.config import Settings, settings
from sparsec.errors import ConfigError, DeviceNotFound
from sparsec.runtime import cpu_probe, devices
from sparsec.runtime.isolate import run_script

__all__ = ["Report", "add_arguments", "examine", "run"]

_CPU_TIMEOUT = 60.0  # a cold disk may need long to load LLVM

# The features that decide how a kernel is vectorised, of x86 and of Arm, narrowest first.
_VECTOR_FEATURES = (
    *("sse2", "sse4.2", "avx", "f16c", "fma", "avx2", "avx512f", "avx512bw", "avx512dq", "avx512vl"),
    *("avx512vnni", "avx512bf16", "avx512fp16", "neon", "fullfp16", "dotprod", "bf16", "i8mm", "sve", "sve2"),
)


@dataclass
class Report:
    """What was found. Every `problem` is empty where all is well."""

    python: dict[str, Any]
    cpu: dict[str, Any]
    opencl: dict[str, Any]
    cache: dict[str, Any]
    settings: dict[str, Any] = field(default_factory=dict)

    @property
    def usable(self) -> bool:
        """Whether the CPU backend works here."""
        return not self.cpu["problem"]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """What the subcommand takes."""
    parser.add_argument("--json", action="store_true", help="print the report as JSON")


def run(args: argparse.Namespace) -> int:
    """Prints the report; 0 when the CPU backend works."""
    report = examine()
    if args.json:
        print(json.dumps({"usable": report.usable, **asdict(report)}, indent=2))
    else:
        print("\n".join(_lines(report)))
    return 0 if report.usable else 1


def examine() -> Report:
    """Looks at this machine. Never raises for what it finds there."""
    return Report(_python(), _cpu(), _opencl(), _cache(), _settings())


def _python() -> dict[str, Any]:
    return {
        "version": platform.python_version(),
        "implementation": platform.python_implementation(),
        "executable": sys.executable,
        "system": f"{platform.system()} {platform.machine()}",
    }


def _cpu() -> dict[str, Any]:
    outcome = run_script(Path(cpu_probe.__file__), timeout=_CPU_TIMEOUT)
    if outcome.failure:
        last = outcome.stderr.splitlines()[-1:]
        return {"problem": ": ".join([f"the process that tries LLVM {outcome.failure}", *last])}
    features = outcome.answer["features"]
    vector = [name for name in _VECTOR_FEATURES if name in features]
    return {**outcome.answer, "vector_features": vector, "problem": ""}


def _opencl() -> dict[str, Any]:
    probed = devices.probe()
    chosen, problem, hint = None, probed.problem, probed.hint
    if probed.devices:
        try:
            chosen = devices.find_device().identity
        except (DeviceNotFound, ConfigError) as error:  # a platform is named that is not there
            problem, hint = error.message, error.hint
    # Each driver alone only where all of them together failed: then one of them is at fault.
    failed = bool(probed.problem) and probed.pyopencl is None
    return {
        "pyopencl": probed.pyopencl,
        "devices": [{**asdict(d), "chosen": d.identity == chosen} for d in probed.devices],
        "drivers": [
            {"file": str(d.file), "devices": [info.name for info in d.devices], "problem": d.problem}
            for d in (devices.drivers() if failed else ())
        ],
        "problem": problem,
        "hint": hint,
    }


def _cache() -> dict[str, Any]:
    try:
        folder = settings.cache_dir
    except ConfigError as error:
        return {"folder": None, "writable": False, "problem": error.message}
    problem = _why_not_writable(folder)
    return {"folder": str(folder), "writable": not problem, "problem": problem}


def _why_not_writable(folder: Path) -> str:
    """Why no file can be made in a folder, which need not exist yet. Leaves nothing behind."""
    existing = folder.absolute()
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    if not existing.is_dir():
        return f"{existing} is not a folder"
    try:
        # Tried and not asked for: permission bits say nothing of a read-only or a full disk.
        with tempfile.TemporaryFile(dir=existing) as file:
            file.write(b"x")
    except OSError as error:
        return f"no file can be made in {existing}: {error.strerror or error}"
    return ""


def _settings() -> dict[str, Any]:
    """The switches that the environment sets, and what is wrong with them."""
    found: dict[str, Any] = {}
    for switch in Settings.switches().values():
        if text := os.environ.get(switch.env):
            try:
                switch.from_environment()
                found[switch.env] = {"value": text, "problem": ""}
            except ConfigError as error:
                found[switch.env] = {"value": text, "problem": error.message}
    return found


def _lines(report: Report) -> list[str]:
    python, cpu = report.python, report.cpu
    lines = [f"Python    {python['version']} ({python['implementation']}, {python['system']})"]
    if cpu["problem"]:
        lines += [f"CPU       NOT USABLE: {cpu['problem']}"]
    else:
        lines += [
            f"NumPy     {cpu['numpy']}",
            f"LLVM      {cpu['llvm']} (llvmlite {cpu['llvmlite']})",
            f"CPU       {cpu['cpu']}: {' '.join(cpu['vector_features']) or 'no vector features known'}",
        ]
    lines += _opencl_lines(report.opencl)
    cache = report.cache
    lines.append(f"Cache     {cache['folder'] or ''} {'(writable)' if cache['writable'] else ''}".rstrip())
    if cache["problem"]:
        lines.append(f"          not usable, sparsec works without: {cache['problem']}")
    for name, setting in report.settings.items():
        lines.append(f"Setting   {name}={setting['value']}")
        if setting["problem"]:
            lines.append(f"          {setting['problem']}")
    lines.append("")
    lines.append("The CPU backend works." if report.usable else "The CPU backend does not work.")
    lines.append("The OpenCL backend works." if _has_device(report) else "The OpenCL backend has no device.")
    return lines


def _has_device(report: Report) -> bool:
    return any(device["chosen"] for device in report.opencl["devices"])


def _opencl_lines(opencl: dict[str, Any]) -> list[str]:
    version = f"pyopencl {opencl['pyopencl']}" if opencl["pyopencl"] else ""
    lines = [f"OpenCL    {opencl['problem'] or version}"]
    if opencl["problem"] and opencl["hint"] and not opencl["drivers"]:
        lines.append(f"          {opencl['hint']}")
    for device in opencl["devices"]:
        floats = " ".join(["fp32", *(name for name in ("fp64", "fp16") if device[name])])
        mark = "*" if device["chosen"] else " "
        lines += [
            f"        {mark} {device['platform']}: {device['name']} ({device['kind']})",
            f"            {device['version']}",
            f"            {device['compute_units']} compute units, {floats}, work group up to "
            f"{device['max_work_group_size']}, {device['local_mem_bytes'] // 1024} KiB local memory, "
            f"{'unified' if device['unified_memory'] else 'separate'} memory",
        ]
    for driver in opencl["drivers"]:
        state = driver["problem"] or f"works alone: {', '.join(driver['devices'])}"
        lines.append(f"          {driver['file']}: {state}")
    if opencl["drivers"] and (good := [d["file"] for d in opencl["drivers"] if not d["problem"]]):
        lines.append(f"          OCL_ICD_VENDORS={good[0]} uses that driver alone")
    return lines
