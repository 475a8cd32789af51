"""Faults 54-59 and 75: leaked tracers, closures, random numbers, errors while tracing, nesting, indexes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from sparsec.frontend.trace import current_trace
from tests.programs.harness import backends, check, check_calls, check_refused, is_sparsec_error, jit

each_backend = pytest.mark.parametrize("backend", backends())

LEAKED: list = []
TABLE = np.arange(4.0)


def vector():
    return (np.arange(1.0, 6.0),)


def leaked(backend):
    """What a function keeps of its trace in an error that it raises."""

    def leak(x):
        raise LookupError(x * 2.0)

    with pytest.raises(LookupError) as caught:
        jit(leak, backend)(*vector())
    return caught.value.args[0]


@each_backend
def test_f54_leaked_through_an_error(backend):
    def use(x):
        return x + LEAKED[0]

    LEAKED[:] = [leaked(backend)]
    if backend == "numpy":
        return
    check_refused(use, vector, backend, "LeakedTracer")
    (found,) = LEAKED[:1]
    for access in (
        lambda: found + 1.0,
        lambda: np.sum(found),
        lambda: found[0],
        lambda: found.__setitem__(0, 1.0),
        lambda: np.asarray(found),
    ):
        with pytest.raises(Exception) as caught:
            access()
        assert is_sparsec_error(caught.value, "LeakedTracer")
    LEAKED.clear()


@each_backend
def test_f54_leaked_into_another_trace_of_the_same_function(backend):
    kept: dict[str, np.ndarray] = {}

    def f(x):
        if "first" in kept:
            return x + kept["first"]
        raise LookupError(x * 2.0)

    compiled = jit(f, backend)
    with pytest.raises(LookupError) as first:
        compiled(*vector())
    kept["first"] = first.value.args[0]
    if backend != "numpy":
        with pytest.raises(Exception) as caught:
            compiled(np.arange(5, dtype=np.float32))
        assert is_sparsec_error(caught.value, "LeakedTracer")


@each_backend
def test_f54_tracer_error_shows_the_line(backend):
    def use(x):
        return x + LEAKED[0]  # the line to show

    LEAKED[:] = [leaked(backend)]
    error = check_refused(use, vector, backend) if backend != "numpy" else None
    LEAKED.clear()
    if error is not None:
        assert "the line to show" in str(error)
        assert Path(__file__).name in str(error)


@each_backend
def test_f55_closure_array_written_after_compilation(backend):
    table = np.arange(5.0)

    def f(x):
        return x + table

    compiled = check(f, vector, backend)
    table[2] = 50.0
    check(f, vector, backend, compiled=compiled)
    table *= -1.0
    check(f, vector, backend, compiled=compiled)


@each_backend
def test_f55_closure_array_rebound(backend):
    table = np.arange(5.0)

    def f(x):
        return x + table

    compiled = check(f, vector, backend)
    table = np.full(5, 7.0)
    check(f, vector, backend, compiled=compiled)
    table = np.ones((2, 5), np.float32)
    check(f, vector, backend, compiled=compiled)


@each_backend
def test_f55_global_array(backend, monkeypatch):
    def f(x):
        return x[:4] * TABLE

    compiled = check(f, vector, backend)
    TABLE[0] += 10.0
    check(f, vector, backend, compiled=compiled)
    monkeypatch.setitem(globals(), "TABLE", np.full(4, 3.0))
    check(f, vector, backend, compiled=compiled)


@each_backend
def test_f55_closure_scalar(backend):
    scale = 2.0

    def f(x):
        return x * scale

    compiled = check(f, vector, backend)
    scale = 3
    check(f, vector, backend, compiled=compiled)


@each_backend
def test_f55_closure_array_written_by_the_function(backend):
    total = np.zeros(5)

    def f(x):
        total[:] += x
        return total + 0.0

    try:
        compiled = jit(f, backend)
        first = compiled(*vector())
    except Exception as error:
        assert is_sparsec_error(error)
        assert not total.any()
        return
    second = compiled(*vector())
    assert np.array_equal(first, np.arange(1.0, 6.0))
    assert np.array_equal(second, 2 * np.arange(1.0, 6.0))
    assert np.array_equal(total, second)


@each_backend
@pytest.mark.parametrize(
    "draw",
    [
        lambda n: np.random.rand(n),
        lambda n: np.random.default_rng().normal(size=n),
        lambda n: np.random.permutation(n) * 1.0,
        lambda n: random.random(),
    ],
    ids=["rand", "default_rng", "permutation", "random"],
)
def test_f56_random_numbers_are_not_frozen(draw, backend):
    def f(x):
        return x + draw(x.shape[0])

    compiled = jit(f, backend)
    results = []
    for _ in range(3):
        try:
            results.append(compiled(np.zeros(40)))
        except Exception as error:
            assert backend != "numpy"
            assert is_sparsec_error(error)
            return
    assert not np.array_equal(results[0], results[1])
    assert not np.array_equal(results[1], results[2])


@each_backend
def test_f56_seeded_generator(backend):
    def f(x):
        return x + np.random.default_rng(3).normal(size=5)

    check(f, vector, backend, may_refuse=True)


@each_backend
def test_f57_own_exception(backend):
    def f(x):
        x += 1.0
        if x.shape[0] == 5:
            raise KeyError("not five")
        return x * 2.0

    def four():
        return (np.arange(4.0),)

    compiled = check_calls(f, [four, vector, four, vector], backend, user_error=True)
    if backend != "numpy":
        (x,) = vector()
        with pytest.raises(KeyError):
            compiled(x)
        assert np.array_equal(x, *vector())
        assert current_trace() is None, "the function is still being traced"


@each_backend
def test_f57_another_thread_goes_on(backend):
    def f(x):
        if x.shape[0] == 5:
            raise KeyError("not five")
        return x * 2.0

    compiled = jit(f, backend)
    with pytest.raises(KeyError):
        compiled(*vector())
    results = []
    thread = threading.Thread(target=lambda: results.append(compiled(np.ones(2))), daemon=True)
    thread.start()
    thread.join(10)
    assert not thread.is_alive(), "the other thread waits for ever"
    assert results[0].tolist() == [2.0, 2.0]


@each_backend
@pytest.mark.parametrize(
    "bad",
    [
        lambda x: x + np.ones(7),
        lambda x: x.reshape(2, 2),
        lambda x: x.sum(axis=3),
        lambda x: x[1, 2],
        lambda x: x[9],
        lambda x: np.concatenate([x, x[None]]),
        lambda x: x @ np.ones(7),
        lambda x: x.transpose(0, 0),
        lambda x: np.add(x, x, out=np.zeros(3)),
        lambda x: np.stack([]),
    ],
    ids=lambda bad: None,
)
def test_f57_errors_from_numpy(bad, backend):
    def f(x, wrong):
        x[0] = 99.0
        if wrong:
            bad(x)
        return x + 1.0

    def right():
        return *vector(), False

    def wrong():
        return *vector(), True

    check_calls(f, [right, wrong, right, wrong], backend, static_argnames=("wrong",))


@each_backend
def test_f57_no_such_attribute(backend):
    def f(x, wrong):
        x += 1.0
        return x.no_such_method() if wrong else x * 2.0

    compiled = jit(f, backend, static_argnames=("wrong",))
    with pytest.raises(Exception) as caught:
        compiled(*vector(), True)
    assert isinstance(caught.value, AttributeError) or is_sparsec_error(caught.value)
    assert "no_such_method" in str(caught.value)
    check(f, lambda: (*vector(), False), backend, compiled=compiled)


@each_backend
def test_f57_first_call_fails(backend):
    def f(x, y):
        x *= 2.0
        return x + y

    def wrong():
        return *vector(), np.ones(3)

    def right():
        return *vector(), np.ones(5)

    check_calls(f, [wrong, right, wrong, right], backend)


@each_backend
def test_f57_wrong_number_of_arguments(backend):
    def f(x, y, *, scale=1.0):
        return (x + y) * scale

    def args():
        return *vector(), np.ones(5)

    compiled = jit(f, backend)
    for call in (
        lambda: compiled(*vector()),
        lambda: compiled(*args(), 3),
        lambda: compiled(*args(), size=3),
        lambda: compiled(*args(), y=3),
    ):
        with pytest.raises(TypeError):
            call()
    check(f, args, backend, compiled=compiled, kwargs={"scale": 2.0})
    check(f, args, backend, compiled=compiled)


@each_backend
def test_f58_recursion_on_static_values(backend):
    def halves(x):
        if x.shape[0] <= 1:
            return x * 1.0
        middle = x.shape[0] // 2
        left, right = halves(x[:middle]), halves(x[middle:])
        right += left.sum()
        return np.concatenate([left, right])

    check(halves, vector, backend)


@each_backend
def test_f58_endless_recursion(backend):
    def f(x):
        return f(x + 1.0)

    compiled = jit(f, backend)
    with pytest.raises(RecursionError if backend == "numpy" else Exception) as caught:
        compiled(*vector())
    assert isinstance(caught.value, RecursionError) or is_sparsec_error(caught.value)
    check(lambda x: x + 1.0, vector, backend)


@each_backend
def test_f58_jit_in_jit(backend):
    def scale_in_place(x):
        x *= 2.0
        return x[1:]

    inner = jit(scale_in_place, backend)

    def with_plain(x):
        v = scale_in_place(x)
        v += 1.0
        return x + 0.0, v

    def with_jitted(x):
        v = inner(x)
        v += 1.0
        return x + 0.0, v

    compiled = jit(with_jitted, backend)
    check(with_plain, vector, backend, compiled=compiled)
    check(scale_in_place, vector, backend, compiled=inner)
    check(with_plain, lambda: (np.arange(6.0, dtype=np.float32),), backend, compiled=compiled)


@each_backend
def test_f58_other_function_of_the_module(backend):
    check(outer_helper, vector, backend)


def outer_helper(x):
    inner_helper(x[::2])
    return inner_helper(x) + TABLE.sum()


def inner_helper(x, by=3.0):
    x += by
    return x.sum()


@each_backend
@pytest.mark.parametrize(
    "access",
    [
        lambda a: a[5],
        lambda a: a[-6],
        lambda a: a[2, 0],
        lambda a: a.__setitem__(7, 1.0),
        lambda a: a[[0, 5]],
        lambda a: a[np.array([1, -6])],
        lambda a: a.__setitem__([1, 9], 0.0),
        lambda a: a.take(5),
        lambda a: a[None, 1, 2],
        lambda a: a[np.ones(4, bool)],
        lambda a: a[0:2][3],
        lambda a: a[0.5],
        lambda a: a["x"],
    ],
    ids=lambda access: None,
)
def test_f59_static_index(access, backend):
    def f(a):
        a[0] = -1.0
        return access(a)

    compiled = check(f, vector, backend)
    if backend != "numpy":
        (a,) = vector()
        with pytest.raises((IndexError, TypeError)):
            compiled(a)
        assert np.array_equal(a, *vector())


@each_backend
@pytest.mark.parametrize("bad", [5, -6, 2**40, np.iinfo(np.int64).min])
def test_f59_index_from_data(bad, backend):
    def read(a, index):
        return a[index]

    def write(a, index):
        a[0] = -1.0
        a[index] = 7.0

    def update(a, index):
        a[index] += 1.0

    def take(a, index):
        return np.take(a, index)

    def good_args():
        return *vector(), np.array([4, 0, -5])

    def bad_args():
        return *vector(), np.array([1, 2, bad, 0])

    for fn in (read, write, update, take):
        compiled = check_calls(fn, [good_args, bad_args, good_args], backend)
        if backend != "numpy":
            a, index = bad_args()
            with pytest.raises(IndexError):
                compiled(a, index)
            assert np.array_equal(a, *vector())


@each_backend
def test_f59_scalar_index_from_data(backend):
    def f(a, i):
        return a[i[0]] * 2.0

    def at(i):
        return lambda: (*vector(), np.array([i]))

    check_calls(f, [at(0), at(-5), at(5), at(4)], backend)


@each_backend
def test_f59_index_into_nothing(backend):
    def f(a, index):
        return a[index]

    def empty_index():
        return np.zeros((0, 3)), np.zeros(0, dtype=np.int64)

    def some_index():
        return np.zeros((0, 3)), np.array([0])

    check_calls(f, [empty_index, some_index], backend)


@each_backend
def test_f59_two_dimensional_index(backend):
    def f(m, i, j):
        m[i, j] = 5.0
        return m[i[::-1], j]

    def args(i, j):
        return lambda: (np.zeros((3, 4)), np.array(i), np.array(j))

    calls = [args([0, 2], [3, -4]), args([0, 3], [0, 0]), args([0, 1], [0, 4]), args([-3, 1], [1, 2])]
    check_calls(f, calls, backend)


HASHED = """
import sys
import numpy as np
import tests.faults.plant
from tests.programs.harness import ir_text

def f(x, y, table):
    v = x[::2]
    v += np.exp(y[1:4]) * table["b"]
    z = np.where(x > 0, x, table["a"])
    z[1:] -= z[:-1]
    return {"z": z, "s": x.sum(), "v": v}, x.T @ x

args = np.ones(6), np.ones(5), {"b": np.ones(3), "a": np.zeros(6)}
for stage in ("trace", "loops", "llvm", "asm"):
    print(ir_text(f, *args, stage=stage))
"""


@pytest.mark.slow
@pytest.mark.skipif(not backends("cpu") or backends("cpu") == ["numpy"], reason="the cpu backend is left out")
def test_f75_hash_seed_changes_nothing(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(HASHED, encoding="utf-8")
    root = Path(__file__).parents[2]
    outputs = set()
    for seed in ("0", "1", "2", "77", "4294967295"):
        env = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": str(root)}
        done = subprocess.run(
            [sys.executable, str(program)], env=env, capture_output=True, text=True, timeout=120
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()
        outputs.add(done.stdout)
    assert len(outputs) == 1
