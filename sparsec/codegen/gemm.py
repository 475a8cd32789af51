"""`Extern("gemm")` spelled out in loop IR: when a BLAS call may compute it, and the plain loops otherwise.

The operands of `gemm` are C, A and B, each with a row and a column stride in elements:

    C[i*sc0 + j*sc1] = sum over p of A[i*sa0 + p*sa1] * B[p*sb0 + j*sb1]      i < m, j < n, p < k

A BLAS wants a unit stride in one axis of A and of B, and rows of C; a C with unit columns is the product of
the transposes. Where C has one column (or one row, of the transposes), only the matrix needs a unit stride: gemv
reads it once, which gemm does not. The product of a matrix and its own transpose is symmetric: syrk computes half
of it. Complex elements are pairs of floats here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from sparsec.errors import CompileError
from sparsec.ir.loops import Assign, Body, Buffer, Expr, Extern, For, If, Kernel, Let, Load, Mut, Store, Var
from sparsec.ir.scalar import S, index, var
from sparsec.ir.types import BOOL, DType

__all__ = ["GEMM_SCALARS", "few_rows_kernel", "gemm_kernel", "gemm_loops", "has_few_rows", "part_dtype"]

GEMM_SCALARS = ("m", "n", "k", "sc0", "sc1", "sa0", "sa1", "sb0", "sb1")

_ONE = index(1)


def part_dtype(dtype: DType) -> DType:
    """The float of which a complex element has two; any other dtype itself."""
    return np.dtype(f"f{dtype.itemsize // 2}") if dtype.kind == "c" else dtype


@dataclass(frozen=True, slots=True)
class _Matrix:
    buffer: str
    row: Expr
    col: Expr
    first: Expr

    def at(self, i: Expr, j: Expr) -> Expr:
        return S.add(S.add(S.mul(i, self.row), S.mul(j, self.col)), self.first)

    @property
    def transposed(self) -> _Matrix:
        return _Matrix(self.buffer, self.col, self.row, self.first)


def gemm_kernel(name: str, dtype: DType, blas_bits: int) -> Kernel:
    """C = A @ B through BLAS where the strides allow it. `blas_bits`: width of its integers; 0: no BLAS.

    Two more scalars: `aligned` is not 0 if the pointers are multiples of the element's size, `same` if A and B
    begin at one address.
    """
    m, n, k, sc0, sc1, sa0, sa1, sb0, sb1 = (var(s) for s in GEMM_SCALARS)
    zero = index(0)
    c, a, b = (_Matrix(*x) for x in (("c", sc0, sc1, zero), ("a", sa0, sa1, zero), ("b", sb0, sb1, zero)))
    body = _rows_first(dtype, (m, n, k), c, a, b)
    if blas_bits:
        flipped = _with_blas(dtype, (n, m, k), c.transposed, b.transposed, a.transposed, body)
        either = _with_blas(dtype, (m, n, k), c, a, b, flipped)
        either = _with_syrk(dtype, (m, n, k), c, a, b, either)
        either = _with_gemv(dtype, (n, m, k), c.transposed, b.transposed, a.transposed, either)
        either = _with_gemv(dtype, (m, n, k), c, a, b, either)
        either = _with_dot(dtype, (m, n, k), c, a, b, either)
        usable = [S.ne(var("aligned"), index(0)), *(S.gt(d, index(0)) for d in (m, n, k))]
        if blas_bits < 64:
            limit = index(2**31)
            usable += [S.lt(x, limit) for x in (m, n, k, sc0, sc1, sa0, sa1, sb0, sb1)]
        body = (If(_all(usable), either, body),)
    buffers = tuple(Buffer(x, dtype, -1, access="rw" if x == "c" else "r") for x in "cab")
    return Kernel(name, buffers, tuple(var(s) for s in (*GEMM_SCALARS, "aligned", "same")), body)


def has_few_rows(dtype: DType, numbers: Sequence[int]) -> bool:
    """Whether a product had better read B once, as it lies, than have a BLAS rearrange it first: C has a few
    rows, C and B consecutive columns, and B does not fit into a cache. numbers: `GEMM_SCALARS`."""
    m, n, k, _, c_col, _, _, b_row, b_col = numbers
    consecutive = c_col == b_col == 1 and b_row >= n
    return dtype.kind == "f" and 1 < m <= 16 and n >= 64 and consecutive and n * k * dtype.itemsize >= 1 << 20


#: Rows of C and of B that `few_rows_kernel` takes at a time: their elements are in registers.
_FEW, _DEEP = 4, 8


def few_rows_kernel(name: str, dtype: DType, fused: bool) -> Kernel:
    """C = A @ B where `has_few_rows`; sums over increasing p. fused: there is a fused multiply-add.

        for p in blocks of 8 { for i in blocks of 4 { for j { C[i:i+4, j] += A[i:i+4, p:p+8] @ B[p:p+8, j] } } }
    """
    m, n, k, c_row, _, a_row, a_col, b_row, _ = (var(s) for s in GEMM_SCALARS)
    zero = index(0)
    c, a, b = _Matrix("c", c_row, _ONE, zero), _Matrix("a", a_row, a_col, zero), _Matrix("b", b_row, _ONE, zero)
    i, j = var("i"), var("j")

    def block(rows: int, depth: int) -> Body:
        return _few_rows_block(dtype, (rows, depth, n), c, a, b, fused)

    def row_blocks(depth: int) -> Body:
        whole = S.sub(m, S.rem(m, index(_FEW)))
        return (For(i, zero, whole, _FEW, block(_FEW, depth)), For(i, whole, m, 1, block(1, depth)))

    whole = S.sub(k, S.rem(k, index(_DEEP)))
    clear = _loop("i", m, (_loop("j", n, (Store("c", c.at(i, j), S.const(0, dtype)),), "parallel"),))
    deep = For(var("p"), zero, whole, _DEEP, row_blocks(_DEEP))
    body = (clear, deep, For(var("p"), whole, k, 1, row_blocks(1)))
    buffers = tuple(Buffer(x, dtype, -1, access="rw" if x == "c" else "r") for x in "cab")
    return Kernel(name, buffers, tuple(var(s) for s in (*GEMM_SCALARS, "aligned", "same")), body)


def _few_rows_block(
    dtype: DType, sizes: tuple[int, int, Expr], c: _Matrix, a: _Matrix, b: _Matrix, fused: bool
) -> Body:
    """`rows` rows of C, from i, take in `depth` rows of B, from p."""
    rows, depth, n = sizes
    i, p, j = var("i"), var("p"), var("j")
    factors = {(r, q): Var(f"a{r}_{q}", dtype) for r in range(rows) for q in range(depth)}
    before = [
        Let(name, Load("a", a.at(S.add(i, index(r)), S.add(p, index(q))), dtype))
        for (r, q), name in factors.items()
    ]
    values = [Var(f"b{q}", dtype) for q in range(depth)]
    inside: list[Let | Store] = [
        Let(value, Load("b", b.at(S.add(p, index(q)), j), dtype)) for q, value in enumerate(values)
    ]
    places = [c.at(S.add(i, index(r)), j) for r in range(rows)]
    totals = []
    for r, place in enumerate(places):
        total: Expr = Load("c", place, dtype)
        for q, value in enumerate(values):
            x, y = factors[r, q], value
            total = S.fma(x, y, total) if fused else S.add(total, S.mul(x, y))
        totals.append(Var(f"c{r}", dtype))
        inside.append(Let(totals[-1], total))
    inside += [Store("c", place, total) for place, total in zip(places, totals)]
    return (*before, _loop("j", n, tuple(inside), "parallel"))


def _all(conds: list[Expr]) -> Expr:
    result = conds[0]
    for cond in conds[1:]:
        result = S.__getattr__("and")(result, cond)
    return result


def _or(x: Expr, y: Expr) -> Expr:
    return S.__getattr__("or")(x, y)


def _layout(matrix: _Matrix, rows: Expr, cols: Expr) -> tuple[Expr, Expr]:
    """Whether the rows are consecutive and do not overlap, and the leading dimension then."""
    unit = _or(S.eq(matrix.col, _ONE), S.eq(cols, _ONE))
    one_row = S.eq(rows, _ONE)
    apart = _or(one_row, S.ge(matrix.row, cols))
    return _all([unit, apart]), S.select(one_row, cols, matrix.row)


def _with_blas(
    dtype: DType, dims: tuple[Expr, Expr, Expr], c: _Matrix, a: _Matrix, b: _Matrix, otherwise: Body
) -> Body:
    """The BLAS call for row-major C, else `otherwise`."""
    m, n, k = dims
    c_rows, ldc = _layout(c, m, n)
    a_rows, lda = _layout(a, m, k)
    a_cols, lda_t = _layout(a.transposed, k, m)
    b_rows, ldb = _layout(b, k, n)
    b_cols, ldb_t = _layout(b.transposed, n, k)
    call = Extern(
        "cblas_gemm",
        tuple((x.buffer, index(0)) for x in (c, a, b)),
        (a_rows, b_rows, m, n, k, S.select(a_rows, lda, lda_t), S.select(b_rows, ldb, ldb_t), ldc),
        dtype,
    )
    fits = _all([c_rows, _or(a_rows, a_cols), _or(b_rows, b_cols)])
    return (If(fits, (call,), otherwise),)


def _with_syrk(
    dtype: DType, dims: tuple[Expr, Expr, Expr], c: _Matrix, a: _Matrix, b: _Matrix, otherwise: Body
) -> Body:
    """The BLAS call for the upper half of A times its own transpose, and a copy of that half; else `otherwise`."""
    m, n, k = dims
    c_rows, ldc = _layout(c, m, n)
    a_rows, lda = _layout(a, m, k)
    a_cols, lda_t = _layout(a.transposed, k, m)
    call = Extern(
        "cblas_syrk",
        tuple((x.buffer, index(0)) for x in (c, a)),
        (a_rows, n, k, S.select(a_rows, lda, lda_t), ldc),
        dtype,
    )
    i, j = var("i"), var("j")
    mirror = _loop("i", n, (_loop("j", i, tuple(_store(dtype, c, i, j, _element(dtype, c, j, i)))),))
    transposed = [S.ne(var("same"), index(0)), S.eq(m, n), S.eq(a.row, b.col), S.eq(a.col, b.row)]
    return (If(_all([*transposed, c_rows, _or(a_rows, a_cols)]), (call, mirror), otherwise),)


def _with_gemv(
    dtype: DType, dims: tuple[Expr, Expr, Expr], c: _Matrix, a: _Matrix, b: _Matrix, otherwise: Body
) -> Body:
    """The BLAS call for a C of one column, else `otherwise`."""
    m, n, k = dims
    y_step, x_step = _step(c.row, m), _step(b.row, k)
    a_rows, lda = _layout(a, m, k)
    a_cols, lda_t = _layout(a.transposed, k, m)
    call = Extern(
        "cblas_gemv",
        tuple((x.buffer, index(0)) for x in (c, a, b)),
        (a_rows, S.select(a_rows, m, k), S.select(a_rows, k, m), S.select(a_rows, lda, lda_t), x_step, y_step),
        dtype,
    )
    fits = [S.eq(n, _ONE), _or(a_rows, a_cols), *(S.gt(step, index(0)) for step in (x_step, y_step))]
    return (If(_all(fits), (call,), otherwise),)


def _with_dot(
    dtype: DType, dims: tuple[Expr, Expr, Expr], c: _Matrix, a: _Matrix, b: _Matrix, otherwise: Body
) -> Body:
    """The BLAS call for a C of one element, else `otherwise`."""
    m, n, k = dims
    steps = _step(a.col, k), _step(b.row, k)
    call = Extern("cblas_dot", tuple((x.buffer, index(0)) for x in (c, a, b)), (k, *steps), dtype)
    fits = [S.eq(m, _ONE), S.eq(n, _ONE), *(S.gt(step, index(0)) for step in steps)]
    return (If(_all(fits), (call,), otherwise),)


def _step(stride: Expr, count: Expr) -> Expr:
    """The stride of a vector; that of a single element is never used, and may be what no BLAS takes."""
    return S.select(S.eq(count, _ONE), _ONE, stride)


def _loop(name: str, stop: Expr, body: Body, bind: str = "seq") -> For:
    return For(var(name), index(0), stop, 1, body, bind)


def _rows_first(dtype: DType, dims: tuple[Expr, Expr, Expr], c: _Matrix, a: _Matrix, b: _Matrix) -> Body:
    """Loops for a CPU: the innermost runs along rows of B and C, which vectorises; each sum still goes over
    increasing p."""
    m, n, k = dims
    i, p, j = var("i"), var("p"), var("j")
    zero = tuple(_store(dtype, c, i, j, _zero(dtype)))
    into = tuple(
        _store(
            dtype,
            c,
            i,
            j,
            _fma(dtype, _element(dtype, c, i, j), _element(dtype, a, i, p), _element(dtype, b, p, j)),
        )
    )
    return (_loop("i", m, (_loop("j", n, zero), _loop("p", k, (_loop("j", n, into),)))),)


def gemm_loops(stmt: Extern) -> Body:
    """The product by independent work-items, one for each element of C."""
    m, n, k, sc0, sc1, sa0, sa1, sb0, sb1 = stmt.args
    (c_name, c_first), (a_name, a_first), (b_name, b_first) = stmt.buffers
    c, a, b = (
        _Matrix(c_name, sc0, sc1, c_first),
        _Matrix(a_name, sa0, sa1, a_first),
        _Matrix(b_name, sb0, sb1, b_first),
    )
    i, p, j = var("gemm_i"), var("gemm_p"), var("gemm_j")
    part = part_dtype(stmt.dtype)
    sums = [Var(f"gemm_sum{q}", part) for q in range(len(_zero(stmt.dtype)))]
    total = _fma(stmt.dtype, list(sums), _element(stmt.dtype, a, i, p), _element(stmt.dtype, b, p, j))
    temps = [Var(f"gemm_new{q}", part) for q in range(len(sums))]
    body: Body = (
        *(Mut(s, z) for s, z in zip(sums, _zero(stmt.dtype))),
        _loop("gemm_p", k, (
            *(Mut(t, v) for t, v in zip(temps, total)),
            *(Assign(s, t) for s, t in zip(sums, temps)),
        )),
        *_store(stmt.dtype, c, i, j, list(sums)),
    )  # fmt: skip
    return (_loop("gemm_i", m, (_loop("gemm_j", n, body, "parallel"),), "parallel"),)


# Elements are lists of parts: one, or the real and imaginary one.


def _zero(dtype: DType) -> list[Expr]:
    if dtype.kind == "c":
        return [S.const(0.0, part_dtype(dtype))] * 2
    return [S.const(0, dtype)]


def _element(dtype: DType, matrix: _Matrix, i: Expr, j: Expr) -> list[Expr]:
    at = matrix.at(i, j)
    if dtype.kind != "c":
        return [Load(matrix.buffer, at, dtype)]
    return [Load(matrix.buffer, S.add(S.mul(at, index(2)), index(q)), part_dtype(dtype)) for q in (0, 1)]


def _store(dtype: DType, matrix: _Matrix, i: Expr, j: Expr, value: list[Expr]) -> Iterator[Store | Mut]:
    at = matrix.at(i, j)
    if dtype.kind != "c":
        yield Store(matrix.buffer, at, value[0])
        return
    # Both parts are computed before either is stored: the sums read what is overwritten.
    names = [Var(f"part{q}", part_dtype(dtype)) for q in (0, 1)]
    yield from (Mut(name, part) for name, part in zip(names, value))
    for q in (0, 1):
        yield Store(matrix.buffer, S.add(S.mul(at, index(2)), index(q)), names[q])


def _fma(dtype: DType, total: list[Expr], x: list[Expr], y: list[Expr]) -> list[Expr]:
    """total + x*y, rounded after each operation."""
    if dtype.kind == "c":
        re = S.sub(S.mul(x[0], y[0]), S.mul(x[1], y[1]))
        im = S.add(S.mul(x[0], y[1]), S.mul(x[1], y[0]))
        return [S.add(total[0], re), S.add(total[1], im)]
    if dtype == BOOL:
        return [_or(total[0], _all([x[0], y[0]]))]
    if dtype.kind == "f" and dtype.itemsize == 2:
        raise CompileError("gemm on float16 reached code generation", hint="legalize should have removed it")
    return [S.add(total[0], S.mul(x[0], y[0]))]
