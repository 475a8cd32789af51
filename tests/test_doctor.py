"""`sparsec doctor` on machines in every state, and the command line around it."""

import json
import shutil
import subprocess
import sys
from importlib.util import find_spec

import pytest

from sparsec.cli import doctor, main
from sparsec.runtime import devices
from sparsec.runtime.isolate import Outcome

HAS_POCL = find_spec("pocl_binary_distribution") is not None


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch, tmp_path):
    for name in ("SPARSEC_OPENCL_PLATFORM", "SPARSEC_DEBUG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SPARSEC_CACHE_DIR", str(tmp_path / "cache"))


def run(capsys, *words):
    status = main.main(["doctor", *words])
    return status, capsys.readouterr().out


def test_this_machine(capsys, tmp_path):
    status, out = run(capsys)
    assert status == 0
    for word in ("Python ", "NumPy ", "llvmlite", "LLVM ", "CPU ", "OpenCL ", str(tmp_path / "cache")):
        assert word in out
    assert "The CPU backend works." in out
    assert not (tmp_path / "cache").exists()  # looking changes nothing


def test_json_says_the_same(capsys):
    status, out = run(capsys, "--json")
    report = json.loads(out)
    assert status == 0 and report["usable"] is True
    assert report["python"]["version"] == ".".join(map(str, sys.version_info[:3]))
    assert report["cpu"]["cpu"] and report["cpu"]["problem"] == ""
    assert set(report["cpu"]["vector_features"]) <= set(report["cpu"]["features"])
    assert report["cache"]["writable"] is True


@pytest.mark.skipif(not HAS_POCL, reason="PoCL's wheel is not installed")
def test_only_pocl(capsys, monkeypatch):
    libs = next(iter(find_spec("pyopencl").submodule_search_locations)) + "/.libs"
    monkeypatch.setenv("OCL_ICD_VENDORS", f"{libs}/pocl.icd")
    status, out = run(capsys)
    assert status == 0
    assert f"* {devices.POCL}" in out
    assert "The OpenCL backend works." in out


def test_no_driver(capsys, monkeypatch, tmp_path):
    monkeypatch.setenv("OCL_ICD_VENDORS", str(tmp_path / "nothing"))
    status, out = run(capsys)
    assert status == 0
    assert "no OpenCL driver is installed" in out and "pip install pocl-binary-distribution" in out
    assert "The OpenCL backend has no device." in out


@pytest.mark.skipif(shutil.which("gcc") is None, reason="no gcc to build a driver with")
def test_a_driver_that_crashes_is_named(capsys, monkeypatch, tmp_path):
    source = tmp_path / "crash.c"
    source.write_text(
        "#include <stdlib.h>\n__attribute__((constructor)) static void load(void) { abort(); }\n"
    )
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", tmp_path / "libcrash.so", source], check=True)
    (tmp_path / "crash.icd").write_text(f"{tmp_path}/libcrash.so\n")
    monkeypatch.setenv("OCL_ICD_VENDORS", str(tmp_path))
    status, out = run(capsys)
    assert status == 0
    assert "crashed (SIGABRT)" in out and str(tmp_path / "crash.icd") in out
    assert ("works alone" in out and "uses that driver alone" in out) == HAS_POCL

    drivers = json.loads(run(capsys, "--json")[1])["opencl"]["drivers"]
    assert [d["file"] for d in drivers if d["problem"]] == [str(tmp_path / "crash.icd")]


def test_a_named_platform_that_is_not_there(capsys, monkeypatch):
    monkeypatch.setenv("SPARSEC_OPENCL_PLATFORM", "no such platform")
    status, out = run(capsys)
    assert status == 0
    assert "The OpenCL backend has no device." in out
    if HAS_POCL:
        assert "there is no OpenCL platform named 'no such platform'" in out and devices.POCL in out


def test_bad_switches_are_shown_and_do_not_stop_it(capsys, monkeypatch):
    monkeypatch.setenv("SPARSEC_DEBUG", "loud")
    monkeypatch.setenv("SPARSEC_CACHE_DIR", __file__)
    status, out = run(capsys)
    assert status == 0
    assert "SPARSEC_DEBUG must be an integer from 0 to 4, not 'loud'" in out
    assert "SPARSEC_CACHE_DIR must be a folder" in out


def test_a_cache_folder_below_a_file_is_not_usable(capsys, monkeypatch, tmp_path):
    (tmp_path / "file").touch()
    monkeypatch.setenv("SPARSEC_CACHE_DIR", str(tmp_path / "file" / "cache"))
    status, out = run(capsys)
    assert status == 0  # sparsec works without a cache
    assert f"{tmp_path / 'file'} is not a folder" in out


def test_a_cache_folder_that_cannot_be_written(monkeypatch, tmp_path):
    def refuse(dir):
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr(doctor.tempfile, "TemporaryFile", refuse)
    assert "Read-only file system" in doctor._why_not_writable(tmp_path / "not" / "yet")


def test_an_unusable_cpu_backend_is_a_failure(capsys, monkeypatch):
    died = Outcome(None, "crashed (SIGSEGV)", "some noise\nImportError: libLLVM")
    monkeypatch.setattr(doctor, "run_script", lambda *args, **kwargs: died)
    status, out = run(capsys)
    assert status == 1
    assert "NOT USABLE: the process that tries LLVM crashed (SIGSEGV): ImportError: libLLVM" in out
    assert "The CPU backend does not work." in out
    status, out = run(capsys, "--json")
    assert status == 1 and json.loads(out)["usable"] is False
