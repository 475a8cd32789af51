"""Running on an OpenCL device: what is copied, what is refused, what errors look like."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from sparsec.codegen.opencl import opencl_source
from sparsec.config import settings
from sparsec.errors import DeviceError
from sparsec.ir.loop_text import parse_program
from sparsec.runtime.opencl import OpenClExecutable
from tests.codegen.running import pocl
from tests.programs.harness import backends, check

SOURCE = """
program @p {
  slot %x: global f32[4] r = param 0
  slot %y: global f32[4] rw = param 1
  slot %z: global f32[4] w = result 0
  kernel @k(%x: global f32[4] r, %y: global f32[4] rw, %z: global f32[4] w) {
    for i in 0..4 bind(parallel) { %z[i] = %x[i] + %y[i] %y[i] = 0.0:f32 }
  }
  host { launch @k(%x, %y, %z) }
}"""


def source():
    return opencl_source(parse_program(SOURCE))


def memory():
    x, y, z = np.arange(4, dtype=np.float32), np.ones(4, np.float32), np.zeros(4, np.float32)
    return [view.view(np.uint8) for view in (x, y, z)]


def test_what_was_written_comes_back():
    executable = OpenClExecutable(source(), pocl())
    x, y, z = memory()
    x.flags.writeable = False
    assert executable.run([x, y, z]) == (0, 0)
    assert z.view(np.float32).tolist() == [1, 2, 3, 4] and not y.any()
    x, y, z = memory()
    assert executable.run([x, y, z]) == (0, 0) and z.view(np.float32).tolist() == [1, 2, 3, 4]


def test_empty_arrays():
    made = parse_program(SOURCE.replace("[4]", "[0]").replace("0..4", "0..0"))
    executable = OpenClExecutable(opencl_source(made), pocl())
    assert executable.run([np.zeros(0, np.uint8)] * 3) == (0, 0)


def test_the_number_of_buffers_is_checked():
    with pytest.raises(TypeError, match="3 buffers"):
        OpenClExecutable(source(), pocl()).run([])


def test_threads_share_an_executable():
    executable = OpenClExecutable(source(), pocl())
    wrong = []

    def work():
        for _ in range(5):
            x, y, z = memory()
            if executable.run([x, y, z]) != (0, 0) or z.view(np.float32).tolist() != [1, 2, 3, 4]:
                wrong.append(z)

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_build_failure_tells_and_keeps_the_source(tmp_path):
    broken = replace(source(), text="this is not C")
    with pytest.raises(DeviceError, match="cannot build") as caught, settings.override(dump=tmp_path):
        OpenClExecutable(broken, pocl())
    assert "SPARSEC_DUMP" in caught.value.hint or str(tmp_path) in caught.value.hint
    assert (tmp_path / "p.cl").read_text() == "this is not C"
    assert (tmp_path / "p.log").read_text()


def test_float64_needs_a_device_that_has_it():
    made = opencl_source(parse_program(SOURCE.replace("f32", "f64")))
    assert made.fp64 and "cl_khr_fp64" in made.text and not source().fp64
    with pytest.raises(DeviceError, match="float64"):
        OpenClExecutable(made, replace(pocl(), fp64=False))


def test_results_are_not_touched_after_a_failure():
    made = parse_program("""
    program @p {
      slot %y: global f32[4] rw = param 0
      failure index "a"
      kernel @k(%y: global f32[4] rw) {
        for i in 0..4 bind(parallel) { %y[i] = 7.0:f32 if i == 2 { fail 1 } }
      }
      host { launch @k(%y) }
    }""")
    y = np.ones(4, np.float32)
    assert OpenClExecutable(opencl_source(made), pocl()).run([y.view(np.uint8)]) == (1, 0)
    assert y.tolist() == [1, 1, 1, 1]


FORKING = """
import os
from sparsec.errors import DeviceError
from sparsec.runtime.opencl import OpenClExecutable
from tests.codegen.running import pocl
from tests.runtime.test_opencl import memory, source

kept = OpenClExecutable(source(), pocl())
child = os.fork()
if child == 0:
    for attempt in (lambda: kept.run(memory()), lambda: OpenClExecutable(source(), pocl())):
        try:
            attempt()
        except DeviceError as error:
            assert "forked" in str(error)
        else:
            os._exit(1)
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
assert kept.run(memory()) == (0, 0)
print("fine")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_fork_is_refused_not_hung():
    pocl()
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKING],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout.strip() == "fine", done.stderr


@pytest.mark.parametrize("backend", backends("opencl"))
def test_functions_of_a_literal_nan(backend):
    """PoCL's compiler gives anything for some of them where it sees the NaN."""

    def f(x):
        return np.floor(x / np.nan), np.exp(x * np.nan), np.trunc(x - np.nan), x // np.nan

    check(f, lambda: (np.array([1.0, 2.0]),), backend, check_warnings=False)
