"""Threads: the same bits whatever their number, and a pool that survives whatever a process does."""

import ctypes
import os
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

import sparsec
from sparsec.codegen.pool import SHARE
from sparsec.compiler import thread_pool
from sparsec.config import settings
from sparsec.errors import ConfigError, IndexOutOfRange
from sparsec.runtime.cpu import CpuExecutable, compile_object, host_cpu

N = 300_000  # elements that are worth sharing

rng = np.random.default_rng(5)
X, Y = rng.standard_normal((2, N))
F = rng.standard_normal((3, 400, 1000)).astype(np.float32)


def polynomial(x, y):
    return np.exp(x) * y + x / (y * y + 1)


def huge_arguments(x, y):
    return np.sin(x * 1e6), np.cos(y)


def row_sums(f):
    return f.sum(axis=2), f.max(axis=1), np.argmax(f, axis=2)


def in_place(x, y):
    x[1:] += y[:-1]
    x[::2] *= 3
    return x


def few_rows(f):
    return f.transpose(0, 2, 1) * 2 - f[:, :1, :].transpose(0, 2, 1)


def interleaved(x, y):
    out = np.empty((len(x), 2))
    out[:, 0] = x - y
    out[:, 1] = x + y
    return out


def first_element(x, y):
    x -= x[0] * y
    return x


def noted(x, y):
    return x.astype(np.int32) // (y > 0).astype(np.int32)


def whole_sum(x, y):
    return (x * y).sum(), x.astype(np.float32).mean(), (x + 1j * y).sum(), -abs(x[:70_001:-1]).sum()


def extremes(x, y):
    return np.max(x * y), x.min(), np.argmax(x), np.argmin(-y), (x > 3).any(), (y < 9).all(), np.sum(x > 0)


def nan_extremes(f):
    g = f.copy()
    g[1, 100, 7] = np.nan
    return g.max(), g.argmax(), f[:, ::2].T.max(), f[:, ::2].T.argmin()


CASES = (polynomial, huge_arguments, in_place, interleaved, first_element, noted, whole_sum, extremes)


def bits(result):
    found = result if isinstance(result, tuple) else (result,)
    return [np.asarray(a).tobytes() for a in found]


@pytest.mark.parametrize(
    ("fn", "args"), [*((fn, (X, Y)) for fn in CASES), *((fn, (F,)) for fn in (row_sums, few_rows, nan_extremes))],
    ids=lambda x: getattr(x, "__name__", ""),
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_results_do_not_depend_on_the_number_of_threads(fn, args):
    compiled, found = sparsec.jit(fn), []
    for count in (1, 2, 3, 8):
        jobs = thread_pool().jobs
        with settings.override(num_threads=count):
            given = tuple(a.copy() for a in args)
            result = compiled(*given)
        assert (thread_pool().jobs > jobs) == (count > 1)  # the pool had a part in it
        found.append(bits(result) + bits(given))
    assert found[0] == found[1] == found[2] == found[3]


def test_values_are_those_of_numpy():
    with settings.override(num_threads=4):
        given = X.copy(), Y
        np.testing.assert_array_equal(sparsec.jit(in_place)(*given), in_place(X.copy(), Y))
        np.testing.assert_array_equal(sparsec.jit(first_element)(X.copy(), Y), first_element(X.copy(), Y))
        np.testing.assert_array_equal(sparsec.jit(few_rows)(F), few_rows(F))
        for fn, args in ((whole_sum, (X, Y)), (extremes, (X, Y)), (nan_extremes, (F,))):
            assert bits(sparsec.jit(fn)(*args)) == bits(fn(*args))


def test_others_do_some_of_the_work():
    compiled, before = sparsec.jit(polynomial), None
    end = time.monotonic() + 60
    with settings.override(num_threads=2):
        while before is None or thread_pool().helped == before:
            before = thread_pool().helped if before is None else before
            compiled(X, Y)
            assert time.monotonic() < end


def test_a_warning_is_given_once_and_from_every_chunk():
    compiled, y = sparsec.jit(noted), np.ones(N)
    with settings.override(num_threads=3):
        y[-1] = -1
        with pytest.warns(RuntimeWarning, match="divide by zero") as found:
            compiled(X, y)
    assert len(found) == 1


# --- what is shared, and what is not -------------------------------------------------------------------------


def test_little_work_is_left_to_one_thread():
    compiled = sparsec.jit(polynomial)
    assert SHARE not in compiled.trace(X[:100], Y[:100]).as_text("llvm")
    assert SHARE in compiled.trace(X, Y).as_text("llvm")


def test_sizes_of_a_call_decide_at_run_time():
    compiled = sparsec.jit(polynomial, dynamic=("x", "y"))
    with settings.override(num_threads=2):
        compiled(X[:100], Y[:100])
        jobs = thread_pool().jobs
        small = compiled(X[:5000], Y[:5000])
        assert thread_pool().jobs == jobs
        large = compiled(X, Y)
        assert thread_pool().jobs > jobs
    np.testing.assert_array_equal(small, sparsec.jit(polynomial)(X[:5000], Y[:5000]))
    np.testing.assert_array_equal(large, sparsec.jit(polynomial)(X, Y))


_LITTLE = """
import numpy as np, sparsec
from sparsec.compiler import thread_pool
f = sparsec.jit(lambda x: x + 1)
x = np.zeros(120_000)
sparsec.set_num_threads(2)
f(x)
print(*((f(x), thread_pool().jobs)[1] for _ in range(7)), thread_pool().workers)
"""


def test_nobody_is_woken_for_little_work_but_now_and_then():
    done = subprocess.run([sys.executable, "-c", _LITTLE], capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("0 0 0 0 0 0 1 1\n", "")


def test_a_size_of_the_call_is_not_asked_for_where_memory_bounds_it():
    def tail(x, k):
        x[k:] += 1.0

    compiled = sparsec.jit(tail, dynamic=("k",))
    assert SHARE not in compiled.trace(X[:1000], 5).as_text("llvm")
    assert SHARE in compiled.trace(X, 5).as_text("llvm")


def test_a_product_stays_with_its_library():
    compiled = sparsec.jit(lambda a, b: a @ b)
    assert SHARE not in compiled.trace(F, F.transpose(0, 2, 1).copy()).as_text("llvm")


# --- settings ------------------------------------------------------------------------------------------------


def test_the_number_of_threads_holds_for_native_calls_too():
    compiled = sparsec.jit(polynomial)
    try:
        for count in (2, 1, 2, 1):
            sparsec.set_num_threads(count)
            assert sparsec.get_num_threads() == count
            for _ in range(4):  # in Python, then natively
                jobs = thread_pool().jobs
                compiled(X, Y)
                assert (thread_pool().jobs > jobs) == (count > 1)
        with settings.override(num_threads=2):
            jobs = thread_pool().jobs
            compiled(X, Y)
            assert thread_pool().jobs == jobs + 1
    finally:
        settings.reset()


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", None, True])
def test_a_bad_number_is_refused(count):
    with pytest.raises(ConfigError, match="num_threads must be an integer of at least 1") as found:
        sparsec.set_num_threads(count)
    assert isinstance(found.value, ValueError)


def test_the_environment_says_how_many(monkeypatch):
    monkeypatch.setenv("SPARSEC_NUM_THREADS", "5")
    assert sparsec.get_num_threads() == 5
    monkeypatch.setenv("SPARSEC_NUM_THREADS", "many")
    with pytest.raises(ConfigError, match="SPARSEC_NUM_THREADS"):
        sparsec.get_num_threads()
    monkeypatch.delenv("SPARSEC_NUM_THREADS")
    if sys.platform == "linux":
        assert sparsec.get_num_threads() == len(os.sched_getaffinity(0))


def test_more_threads_than_there_can_be():
    compiled = sparsec.jit(polynomial)
    with settings.override(num_threads=10**12):
        np.testing.assert_array_equal(compiled(X, Y), compiled(X, Y))


# --- failures ------------------------------------------------------------------------------------------------


def test_a_failed_check_is_reported_and_nothing_is_written():
    def pick(x, at, out):
        out[:] = x[at]

    at = np.arange(N)
    at[[7, N // 2, N - 1]] = 10 * N
    compiled, out = sparsec.jit(pick), np.zeros(N)
    with settings.override(num_threads=3):
        for _ in range(5):
            with pytest.raises(IndexOutOfRange):
                compiled(X, at, out)
            assert not out.any()
        at[at == 10 * N] = 0
        compiled(X, at, out)
        np.testing.assert_array_equal(out, X[at])


# --- the pool in a process -----------------------------------------------------------------------------------


def test_many_threads_of_python_call_at_once():
    compiled = sparsec.jit(polynomial)
    expected, wrong = bits(compiled(X, Y)), []

    def call():
        for _ in range(20):
            if bits(compiled(X, Y)) != expected:
                wrong.append(threading.current_thread().name)

    with settings.override(num_threads=3):
        compiled(X, Y)
    settings.num_threads = 3
    try:
        callers = [threading.Thread(target=call) for _ in range(8)]
        for caller in callers:
            caller.start()
        for caller in callers:
            caller.join()
    finally:
        settings.reset()
    assert not wrong


def native(text: str, name: str, *arguments: type) -> tuple:
    executable = CpuExecutable([compile_object(text)], thread_pool().symbols, entry=name)
    return executable, ctypes.CFUNCTYPE(ctypes.c_int32, *arguments)(executable.address)


NESTED = """
declare i32 @sparsec_share(ptr, ptr, i64, i64, i64, i32)
define internal i32 @count(ptr %place, i64 %begin, i64 %end) {
  %turns = sub i64 %end, %begin
  atomicrmw add ptr %place, i64 %turns seq_cst
  ret i32 0
}
define internal i32 @outer(ptr %place, i64 %begin, i64 %end) {
  %turns = sub i64 %end, %begin
  %inner = mul i64 %turns, 10
  %work = mul i64 %turns, 1000000000
  %status = call i32 @sparsec_share(ptr @count, ptr %place, i64 %inner, i64 1, i64 %work, i32 4)
  ret i32 %status
}
define i32 @run(ptr %place, i64 %turns) {
  %work = mul i64 %turns, 1000000000
  %status = call i32 @sparsec_share(ptr @outer, ptr %place, i64 %turns, i64 1, i64 %work, i32 4)
  ret i32 %status
}
"""


def test_a_job_inside_a_job_is_done_by_whoever_finds_it():
    _keep, run = native(NESTED, "run", ctypes.c_void_p, ctypes.c_int64)
    for turns in (0, 1, 2, 7, 1000):
        total = ctypes.c_int64(0)
        for _ in range(50):
            assert run(ctypes.addressof(total), turns) == 0
        assert total.value == 50 * 10 * turns


MODES = """
declare void @llvm.x86.sse.stmxcsr(ptr)
declare void @llvm.x86.sse.ldmxcsr(ptr)
define i32 @flush(i32 %on) {
  %word = alloca i32
  call void @llvm.x86.sse.stmxcsr(ptr %word)
  %old = load i32, ptr %word
  %off = and i32 %old, -32833
  %new = or i32 %off, %on
  store i32 %new, ptr %word
  call void @llvm.x86.sse.ldmxcsr(ptr %word)
  ret i32 %old
}
"""


@pytest.mark.skipif("x86_64" not in host_cpu().triple, reason="the control word of x86")
def test_every_thread_treats_denormals_as_the_caller_does():
    compiled = sparsec.jit(lambda x: x * 0.5)
    tiny = np.full(N, 1.5 * np.finfo(np.float64).tiny)
    _keep, flush = native(MODES, "flush", ctypes.c_int32)
    for word, expected in ((0x8040, 0.0), (0, tiny[0] / 2), (0x8040, 0.0)):
        with settings.override(num_threads=4):
            compiled(tiny)
            flush(word)
            try:
                found = [compiled(tiny).copy() for _ in range(10)]
            finally:
                flush(0)
        assert all((f.view(np.int64) == np.float64(expected).view(np.int64)).all() for f in found)


def test_the_child_of_a_fork_makes_threads_of_its_own():
    compiled = sparsec.jit(polynomial)
    expected, stop = bits(compiled(X, Y)), threading.Event()

    def busy():
        while not stop.is_set():
            compiled(X, Y)

    settings.num_threads = 3
    other = threading.Thread(target=busy)
    other.start()
    try:
        for _ in range(5):
            time.sleep(0.01)
            child = os.fork()
            if child == 0:
                pool, good = thread_pool(), False
                try:
                    good = pool.workers == 0 and all(bits(compiled(X, Y)) == expected for _ in range(5))
                    good = good and pool.workers == 2
                finally:
                    os._exit(0 if good else 1)
            end = time.monotonic() + 60
            while (status := os.waitpid(child, os.WNOHANG))[0] == 0 and time.monotonic() < end:
                time.sleep(0.002)
            if status[0] == 0:
                os.kill(child, 9)
                os.waitpid(child, 0)
            assert status == (child, 0)
    finally:
        stop.set()
        other.join()
        settings.reset()
    assert bits(compiled(X, Y)) == expected


_EXIT = """
import threading, numpy as np, sparsec
f = sparsec.jit(lambda x: np.exp(x) + 1)
x = np.zeros(300_000)
sparsec.set_num_threads(3)
f(x)
def forever():
    while True:
        f(x)
threading.Thread(target=forever, daemon=True).start()
f(x)
print("done", flush=True)
"""


def test_a_process_ends_while_threads_are_at_work():
    done = subprocess.run([sys.executable, "-c", _EXIT], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")
