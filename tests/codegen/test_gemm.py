"""Matrix products: every layout of the strides, every dtype, BLAS and loops, kernel and host body."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from sparsec.codegen.llvm import llvm_text
from sparsec.ir.loops import Buffer, Extern, Launch, Program, Slot
from sparsec.ir.scalar import S, index
from sparsec.ir.types import DTYPES
from sparsec.runtime.blas import find_blas
from tests.codegen.running import compile_cpu, cpu_target, param, program, run_cpu, run_opencl

RNG = np.random.default_rng(5)
FLOATS = [DTYPES[n] for n in ("f32", "f64", "c64", "c128")]


def matrix(rows, cols, layout, dtype):
    """Memory, and a view of it with that layout: its strides and offset are what gemm is told."""
    match layout:
        case "rows":
            memory = np.zeros(rows * cols, dtype)
            view = memory.reshape(rows, cols)
        case "columns":
            memory = np.zeros(rows * cols, dtype)
            view = memory.reshape(cols, rows).T
        case "padded":
            memory = np.zeros(rows * (cols + 3), dtype)
            view = memory.reshape(rows, cols + 3)[:, 2 : 2 + cols]
        case "every other":
            memory = np.zeros(rows * cols * 4, dtype)
            view = memory.reshape(2 * rows, 2 * cols)[::2, 1::2]
        case "windows":  # each row overlaps the next
            memory = np.zeros(rows + cols, dtype)
            view = np.lib.stride_tricks.as_strided(memory, (rows, cols), (dtype.itemsize,) * 2)
        case "one row":
            memory = np.zeros(cols, dtype)
            view = np.broadcast_to(memory, (rows, cols))
        case "backwards":
            memory = np.zeros(rows * cols, dtype)
            view = memory.reshape(rows, cols)[::-1, ::-1]
    return memory, view


def place(memory, view):
    offset = (view.__array_interface__["data"][0] - memory.ctypes.data) // memory.itemsize if view.size else 0
    return offset, [stride // memory.itemsize for stride in view.strides]


LAYOUTS = ("rows", "columns", "padded", "every other", "backwards")


def gemm_call(dims, operands, dtype):
    m, n, k = dims
    places = [place(*operand) for operand in operands]
    numbers = [m, n, k, *(stride for _, strides in places for stride in strides)]
    buffers = tuple((name, index(offset)) for name, (offset, _) in zip("cab", places))
    return Extern("gemm", buffers, tuple(map(index, numbers)), dtype)


def check(run, dims, layouts, dtype, where="kernel"):
    m, n, k = dims
    shapes = ((m, n), (m, k), (k, n))
    operands = [matrix(*shape, layout, dtype) for shape, layout in zip(shapes, layouts)]
    for memory, _ in operands:
        values = RNG.integers(-5, 6, (2, memory.size))
        memory[:] = values[0] + 1j * values[1] if dtype.kind == "c" else values[0]
    (c_memory, c), (_, a), (_, b) = operands
    want_memory = c_memory.copy()
    offset, strides = place(c_memory, c)
    want = np.lib.stride_tricks.as_strided(
        want_memory[offset:], (m, n), [s * dtype.itemsize for s in strides]
    )
    want[...] = a @ b  # small integers: exact in every order
    slots = [param(name, memory, p, "rw" if name == "c" else "r") for p, (name, (memory, _)) in
             enumerate(zip("cab", operands))]  # fmt: skip
    call = gemm_call(dims, operands, dtype)
    if where == "kernel":
        made = program((call,), slots)
    else:
        made = Program("host", tuple(slots), (), (call,))
    assert run(made, [memory for memory, _ in operands]) == (0, 0)
    np.testing.assert_array_equal(c_memory, want_memory, err_msg=f"{dims} {layouts} {dtype}")


def run_loops(made, memory):
    return compile_cpu(made, blas=False).run([view.ctypes.data for view in memory])


RUNNERS = {"blas": run_cpu, "loops": run_loops, "opencl": run_opencl}


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("name", RUNNERS)
def test_layouts_of_the_operands(name, dtype):
    layouts = [(c, a, b) for c in ("rows", "columns") for a in LAYOUTS for b in LAYOUTS]
    layouts += [(c, "rows", "columns") for c in LAYOUTS]
    # A compilation for each takes its time: all of them for one dtype, a part for the others.
    step = {"blas": 1 if dtype == np.float32 else 4, "loops": 5, "opencl": 7}[name]
    for n, layout in enumerate(layouts[::step]):
        check(RUNNERS[name], (4, 5, 3), layout, dtype, where=("kernel", "host")[n % 2])


@pytest.mark.parametrize(
    "dims", [(1, 1, 1), (1, 5, 3), (4, 1, 3), (4, 5, 1), (4, 5, 0), (0, 5, 3), (4, 0, 3)], ids=str
)
@pytest.mark.parametrize("name", RUNNERS)
def test_thin_and_empty_matrices(name, dims):
    for layouts in (("rows", "rows", "rows"), ("padded", "columns", "every other")):
        check(RUNNERS[name], dims, layouts, DTYPES["f64"])


@pytest.mark.parametrize("dtype", [DTYPES[n] for n in ("i32", "i64", "u8")], ids=str)
@pytest.mark.parametrize("name", RUNNERS)
def test_integers_wrap(name, dtype):
    check(RUNNERS[name], (3, 4, 5), ("rows", "rows", "columns"), dtype)


@pytest.mark.parametrize("name", RUNNERS)
def test_operands_that_overlap_themselves(name):
    """Leading dimensions that no BLAS takes."""
    for layouts in (
        ("rows", "windows", "rows"),
        ("columns", "rows", "windows"),
        ("rows", "one row", "one row"),
    ):
        for dims in ((4, 5, 3), (1, 5, 3), (4, 5, 1)):
            check(RUNNERS[name], dims, layouts, DTYPES["f64"])


def test_larger_products():
    for dtype in FLOATS:
        check(run_cpu, (70, 90, 110), ("padded", "columns", "rows"), dtype)


@pytest.mark.parametrize("name", ["f32", "f64"])
def test_few_rows_read_a_large_matrix_as_it_lies(name):
    """Numbers of rows and of columns that no block divides."""
    for rows, layouts in ((2, ("rows", "rows", "rows")), (7, ("padded", "columns", "padded"))):
        dims = (rows, 517, 515)
        check(run_cpu, dims, layouts, DTYPES[name])
        check(run_loops, dims, layouts, DTYPES[name])
    memory = [np.zeros(shape, DTYPES[name]) for shape in ((2, 517), (2, 515), (515, 517))]
    call = gemm_call((2, 517, 515), [(x, x) for x in memory], DTYPES[name])
    slots = [param(x, y, p, "rw" if x == "c" else "r") for p, (x, y) in enumerate(zip("cab", memory))]
    assert f"@gemm.few.{name}(" in llvm_text(program((call,), slots), cpu_target())


def test_unaligned_operands_do_not_reach_blas():
    m = np.arange(9, dtype=np.float64)
    views = [np.zeros(73, np.uint8)[1:].view(np.float64) for _ in range(3)]
    for view in views:
        view[:] = m
    call = gemm_call((3, 3, 3), [(m, m.reshape(3, 3))] * 3, m.dtype)
    made = program((call,), [param(n, m, p, "rw" if n == "c" else "r") for p, n in enumerate("cab")])
    assert run_cpu(made, views) == (0, 0)
    np.testing.assert_array_equal(views[0].reshape(3, 3), m.reshape(3, 3) @ m.reshape(3, 3))


def test_strides_and_offsets_from_the_host():
    """Numbers that are known only when the program runs."""
    dtype = DTYPES["f32"]
    numbers = Buffer("n", DTYPES["i64"], 12, access="r")
    from sparsec.ir.loops import Load

    def number(p):
        return Load("n", index(p), DTYPES["i64"])

    call = Extern("gemm", tuple((x, number(p)) for p, x in enumerate("cab")),
                  tuple(number(p) for p in range(3, 12)), dtype)  # fmt: skip
    a, b = (RNG.integers(-5, 5, shape).astype(dtype) for shape in ((3, 4), (4, 2)))
    values = np.array([1, 0, 0, 3, 2, 4, 2, 1, 4, 1, 2, 1])
    memory = [np.zeros(7, dtype), a, b, values]
    slots = [param(x, y, p, "rw" if x == "c" else "r") for p, (x, y) in enumerate(zip("cab", memory))]
    made = Program("p", (*slots, Slot(numbers, "param", 3)), (), (call,))
    for run in (run_cpu, run_opencl):
        given = [x.copy() for x in memory]
        assert run(made, given) == (0, 0)
        np.testing.assert_array_equal(given[0][1:].reshape(3, 2), a @ b)


@pytest.mark.skipif(find_blas() is None, reason="no BLAS in this process")
def test_blas_is_called_where_it_can_be():
    m = np.zeros(9, np.float32)
    call = gemm_call((3, 3, 3), [(m, m.reshape(3, 3))] * 3, m.dtype)
    made = program((call,), [param(n, m, p, "rw" if n == "c" else "r") for p, n in enumerate("cab")])
    assert "call void @sparsec_gemm_f32(" in llvm_text(made, cpu_target())
    assert "sparsec_gemm_f32" not in llvm_text(made)


@pytest.mark.skipif(find_blas() is None, reason="no BLAS in this process")
@pytest.mark.parametrize("function", ["syrk", "gemv", "dot"])
def test_special_products_have_calls_of_their_own(function):
    m = np.zeros(9, np.float32)
    call = gemm_call((3, 3, 3), [(m, m.reshape(3, 3))] * 3, m.dtype)
    made = program((call,), [param(n, m, p, "rw" if n == "c" else "r") for p, n in enumerate("cab")])
    assert f"@sparsec_{function}_f32(" in llvm_text(made, cpu_target())


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
def test_vectors_of_every_layout(dtype):
    """A column, a row and an element of C, from vectors that BLAS takes and others."""
    for dims in ((4, 1, 3), (1, 5, 3), (1, 1, 6)):
        for layouts in (
            ("rows", "rows", "rows"), ("rows", "columns", "padded"), ("every other", "padded", "every other"),
            ("backwards", "rows", "rows"), ("rows", "rows", "backwards"), ("rows", "one row", "one row"),
        ):  # fmt: skip
            check(run_cpu, dims, layouts, dtype)


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize("layout", ["rows", "columns", "padded", "every other"])
@pytest.mark.parametrize("c_layout", ["rows", "padded", "columns"])
def test_a_matrix_times_its_own_transpose(dtype, layout, c_layout):
    (a_memory, a), (c_memory, c) = matrix(5, 3, layout, dtype), matrix(5, 5, c_layout, dtype)
    a_memory[:] = RNG.integers(-5, 6, a_memory.size) + (1j if dtype.kind == "c" else 0)
    call = gemm_call((5, 5, 3), [(c_memory, c), (a_memory, a), (a_memory, a.T)], dtype)
    call = replace(call, buffers=tuple((name, at) for name, (_, at) in zip("caa", call.buffers)))
    made = program((call,), [param("c", c_memory, 0, "rw"), param("a", a_memory, 1, "r")])
    assert run_cpu(made, [c_memory, a_memory]) == (0, 0)
    np.testing.assert_array_equal(c, a @ a.T.copy())


def test_batches_in_a_loop():
    from sparsec.ir.loops import For
    from sparsec.ir.scalar import var

    a, b = (RNG.integers(-5, 5, shape).astype(np.float32) for shape in ((6, 3, 4), (6, 4, 2)))
    c, t = np.zeros((6, 3, 2), np.float32), var("t")
    call = Extern("gemm", (("c", S.mul(t, index(6))), ("a", S.mul(t, index(12))), ("b", S.mul(t, index(8)))),
                  tuple(map(index, (3, 2, 4, 2, 1, 4, 1, 2, 1))), a.dtype)  # fmt: skip
    slots = [param(x, y, p, "rw" if x == "c" else "r") for p, (x, y) in enumerate(zip("cab", (c, a, b)))]
    made = program((For(t, index(0), index(6), 1, (call,), "parallel"),), slots)
    for run in (run_cpu, run_opencl):
        given = [x.copy().ravel() for x in (c, a, b)]
        assert run(made, given) == (0, 0)
        np.testing.assert_array_equal(given[0].reshape(6, 3, 2), a @ b)
    assert isinstance(made.body[0], Launch)
