"""Lists the OpenCL devices of this machine; run as a script in a child process, where a driver may crash.

It stands alone on purpose: importing sparsec would cost the child more than its question.
"""

from __future__ import annotations

import json
import sys
from typing import Any


def device_facts(device: Any, index: int) -> dict[str, Any]:
    """What sparsec wants to know about a `pyopencl.Device`, the number `index` of its platform."""
    platform = device.platform
    extensions = device.extensions.split()
    return {
        "name": device.name.strip(),
        "kind": _kind(device),
        "version": device.version.strip(),
        "driver": device.driver_version.strip(),
        "platform": platform.name.strip(),
        "platform_version": platform.version.strip(),
        "index": index,
        # OpenCL 1.x knows the extension, later versions the configuration; a device without may refuse both.
        "fp64": "cl_khr_fp64" in extensions or bool(_ask(device, "double_fp_config", 0)),
        "fp16": "cl_khr_fp16" in extensions,
        "max_work_group_size": device.max_work_group_size,
        "local_mem_bytes": device.local_mem_size,
        "global_mem_bytes": device.global_mem_size,
        "max_alloc_bytes": device.max_mem_alloc_size,
        "compute_units": device.max_compute_units,
        "float_vector_width": _ask(device, "preferred_vector_width_float", 1),
        # Deprecated since OpenCL 2.0 and still the only question that every version answers.
        "unified_memory": bool(_ask(device, "host_unified_memory", _kind(device) == "cpu")),
    }


def all_devices(cl: Any) -> list[tuple[Any, dict[str, Any]]]:
    """Every device that `cl` (the pyopencl module) shows, with its facts."""
    try:
        platforms = cl.get_platforms()
    except cl.Error as error:
        # Having no platform at all is reported as an error by the loader.
        if "PLATFORM_NOT_FOUND" in str(error):
            return []
        raise
    found = []
    seen = set()
    for platform in platforms:
        try:
            devices = platform.get_devices()
        except cl.Error:
            continue  # a platform may stand there with no device; the others still count
        for index, device in enumerate(devices):
            # A driver that two ICD files name is loaded once and listed twice.
            if device.int_ptr not in seen:
                seen.add(device.int_ptr)
                found.append((device, device_facts(device, index)))
    return found


def _kind(device: Any) -> str:
    for bit, kind in ((4, "gpu"), (2, "cpu"), (8, "accelerator")):  # CL_DEVICE_TYPE_*
        if device.type & bit:
            return kind
    return "other"


def _ask(device: Any, question: str, default: Any) -> Any:
    try:
        return getattr(device, question)
    except Exception:  # noqa: BLE001 - drivers refuse optional questions in many ways
        return default


def _no_core_file() -> None:
    try:
        import resource
    except ImportError:
        return
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def main(result: str) -> None:
    """Writes `{"pyopencl": version, "devices": [...]}`, where None for a version means not installed."""
    _no_core_file()
    answer: dict[str, Any] = {"pyopencl": None, "devices": []}
    try:
        import pyopencl as cl
    except ModuleNotFoundError as error:
        if error.name != "pyopencl":
            raise
    else:
        answer["pyopencl"] = cl.VERSION_TEXT
        answer["devices"] = [facts for _, facts in all_devices(cl)]
    with open(result, "w", encoding="utf-8") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    main(sys.argv[1])
