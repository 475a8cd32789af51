"""OpenCL devices: the choice by name, and drivers that crash, hang or are not there."""

import os
import shutil
import subprocess
import sys
import time
from dataclasses import FrozenInstanceError, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from sparsec.config import settings
from sparsec.errors import DeviceNotFound, SparsecError
from sparsec.runtime import devices
from sparsec.runtime.devices import POCL, DeviceInfo, choose, drivers, find_device, open_device, probe

HAS_POCL = find_spec("pocl_binary_distribution") is not None
needs_pocl = pytest.mark.skipif(not HAS_POCL, reason="PoCL's wheel is not installed")
needs_gcc = pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc to build a driver with")

CPU = DeviceInfo(
    name="some cpu",
    kind="cpu",
    version="OpenCL 3.0",
    driver="1",
    platform=POCL,
    platform_version="OpenCL 3.0 PoCL 3.0",
    index=0,
    fp64=True,
    fp16=False,
    max_work_group_size=4096,
    local_mem_bytes=1 << 20,
    global_mem_bytes=1 << 32,
    max_alloc_bytes=1 << 30,
    compute_units=2,
    float_vector_width=8,
    unified_memory=True,
)
OTHER_CPU = replace(CPU, name="other cpu", platform="Vendor CPU Runtime", platform_version="OpenCL 2.1")
GPU = replace(CPU, name="some gpu", kind="gpu", platform="Vendor GPU", platform_version="OpenCL 3.0")
MALI = replace(GPU, name="Mali-G78", platform="ARM Platform", fp64=False)


@pytest.fixture(autouse=True)
def no_platform_named(monkeypatch):
    monkeypatch.delenv("SPARSEC_OPENCL_PLATFORM", raising=False)


@pytest.fixture
def vendors(tmp_path, monkeypatch):
    """A folder that the OpenCL loader reads its drivers from."""
    folder = tmp_path / "vendors"
    folder.mkdir()
    monkeypatch.setenv("OCL_ICD_VENDORS", str(folder))
    return folder


def add_driver(vendors: Path, name: str, body: str) -> None:
    """Adds a driver whose library runs `body` as soon as it is loaded."""
    source = vendors / f"{name}.c"
    source.write_text(
        "#include <stdlib.h>\n#include <unistd.h>\n"
        f"__attribute__((constructor)) static void load(void) {{ {body} }}\n"
    )
    library = vendors / f"lib{name}.so"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", library, source], check=True)
    (vendors / f"{name}.icd").write_text(f"{library}\n")


@pytest.mark.parametrize(
    ("there", "platform", "chosen"),
    [
        ([CPU], None, CPU),
        ([OTHER_CPU, CPU], None, CPU),  # PoCL by its name, wherever it stands in the list
        ([CPU, OTHER_CPU], None, CPU),
        ([OTHER_CPU], None, OTHER_CPU),
        ([CPU, GPU], None, GPU),
        ([GPU, CPU, MALI], None, GPU),
        ([CPU, GPU], POCL, CPU),
        ([CPU, GPU], "portable", CPU),
        ([GPU, CPU], "pocl", CPU),
        ([CPU, GPU, MALI], "ARM", MALI),
        ([OTHER_CPU, GPU], "vendor", GPU),  # fits both; a GPU goes first
        ([replace(GPU, platform="Vendor GPU Beta"), GPU], "vendor gpu", GPU),  # the full name goes first
    ],
)
def test_choice(there, platform, chosen):
    assert choose(there, platform) is chosen


def test_a_name_that_is_not_there_says_what_is():
    with pytest.raises(DeviceNotFound, match="'Nvidia'") as caught:
        choose([CPU, CPU, GPU], "Nvidia")
    assert f"'{POCL}', 'Vendor GPU'" in str(caught.value)
    assert isinstance(caught.value, SparsecError)


def test_no_device_says_how_to_get_one():
    with pytest.raises(DeviceNotFound, match="pocl-binary-distribution"):
        choose([])


def test_facts_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        CPU.fp64 = False  # type: ignore[misc]


def test_importing_this_module_does_not_load_opencl():
    code = "import sys, sparsec.runtime.devices; sys.exit('pyopencl' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@needs_pocl
def test_pocl_is_found_and_opens():
    found = find_device(POCL)
    assert found.platform == POCL and found.kind == "cpu" and found.unified_memory
    assert found.compute_units >= 1 and found.max_work_group_size >= 1 and found.local_mem_bytes > 0
    device = open_device(found)
    assert device.name.strip() == found.name
    assert device.max_work_group_size == found.max_work_group_size


@needs_pocl
def test_the_setting_names_the_platform(monkeypatch):
    monkeypatch.setenv("SPARSEC_OPENCL_PLATFORM", "pocl")
    assert find_device().platform == POCL
    with settings.override(opencl_platform="no such platform"):
        assert find_device("pocl").platform == POCL  # the argument goes before the setting
        with pytest.raises(DeviceNotFound, match="no such platform"):
            find_device()


@needs_pocl
def test_a_device_that_is_gone():
    with pytest.raises(DeviceNotFound, match="Mali-G78"):
        open_device(MALI)


@needs_pocl
def test_the_answer_is_remembered_until_the_environment_changes(monkeypatch):
    before = probe()
    assert probe() is before
    monkeypatch.setenv("OCL_ICD_VENDORS", os.devnull)
    assert probe() is not before


def test_no_driver_at_all(monkeypatch, tmp_path):
    monkeypatch.setenv("OCL_ICD_VENDORS", str(tmp_path / "nothing"))
    assert probe().devices == ()
    assert "no OpenCL driver" in probe().problem
    assert drivers() == []
    with pytest.raises(DeviceNotFound, match="pocl-binary-distribution"):
        find_device()


def test_a_file_that_names_no_library_is_passed_over(vendors):
    (vendors / "bogus.icd").write_text("libthatdoesnotexist.so.1\n")
    answer = probe()
    assert "crashed" not in answer.problem
    assert bool(answer.devices) == HAS_POCL
    assert "no OpenCL driver" in drivers()[0].problem


@pytest.mark.parametrize("content", [b"", b"\n", bytes(range(256))], ids=["empty", "blank", "binary"])
def test_a_broken_file_is_named(vendors, content):
    # Some loaders crash on these by themselves; whatever happens, it happens in the child.
    (vendors / "broken.icd").write_bytes(content)
    answer = probe()
    assert bool(answer.devices) != bool(answer.problem)
    assert [driver.file.name for driver in drivers() if driver.problem] == ["broken.icd"]


@needs_gcc
def test_a_driver_that_crashes(vendors):
    add_driver(vendors, "crash", "abort();")
    assert "crashed (SIGABRT)" in probe().problem
    assert probe().devices == ()
    with pytest.raises(DeviceNotFound, match="SIGABRT") as caught:
        find_device()
    assert "sparsec doctor" in str(caught.value)
    with pytest.raises(DeviceNotFound):
        open_device()  # must not load the drivers here


@needs_gcc
def test_the_driver_at_fault_is_told_from_the_others(vendors):
    add_driver(vendors, "crash", "abort();")
    add_driver(vendors, "harmless", "")
    by_name = {driver.file.stem: driver for driver in drivers()}
    assert "SIGABRT" in by_name["crash"].problem
    assert "no OpenCL driver" in by_name["harmless"].problem
    if HAS_POCL:
        assert by_name["pocl"].problem == ""
        assert by_name["pocl"].devices[0].platform == POCL


@needs_gcc
def test_a_driver_that_hangs(vendors):
    add_driver(vendors, "hang", "sleep(60);")
    begin = time.monotonic()
    answer = probe(timeout=1.0)
    assert time.monotonic() - begin < 30
    assert "did not answer within 1 s" in answer.problem


def test_pyopencl_not_installed(monkeypatch, tmp_path):
    # A folder first on the path whose pyopencl is, to Python, a module that does not exist.
    (tmp_path / "pyopencl.py").write_text("raise ModuleNotFoundError(name='pyopencl')\n")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    answer = devices._ask_child(30.0)
    assert answer.problem == "pyopencl is not installed"
    assert "pip install pyopencl" in answer.hint
