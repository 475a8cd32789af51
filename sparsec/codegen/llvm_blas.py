"""Calls of the BLAS that is linked in."""

from __future__ import annotations

from collections.abc import Sequence

from sparsec.codegen.emit import illegal
from sparsec.codegen.gemm import part_dtype
from sparsec.codegen.llvm_values import Declares, LlvmValues, constant, value_type
from sparsec.ir.types import DType, dtype_name

__all__ = ["LlvmBlas", "blas_symbol"]


def blas_symbol(function: str, dtype: DType) -> str:
    """The name under which generated code calls `gemm`, `syrk`, `gemv` or `dot` of `dtype`."""
    return f"sparsec_{function}_{dtype_name(dtype)}"


class LlvmBlas(LlvmValues):
    """`bits`: the width of the integers that the BLAS takes."""

    def __init__(self, module: Declares, bits: int) -> None:
        super().__init__(module)
        self._blas_bits = bits

    def blas(self, name: str, pointers: list[str], args: Sequence[str], dtype: DType) -> None:
        """A function of the BLAS on `pointers`, the result first; `args` are i64 values."""
        match name:
            case "cblas_gemm":
                self._cblas_gemm(pointers, args, dtype)
            case "cblas_syrk":
                self._cblas_syrk(pointers, args, dtype)
            case "cblas_gemv":
                self._cblas_gemv(pointers, args, dtype)
            case "cblas_dot":
                self._cblas_dot(pointers, args, dtype)
            case _:
                illegal(f"the library function {name!r}", "legalize")

    def _cblas_gemm(self, pointers: list[str], args: Sequence[str], dtype: DType) -> None:
        """`cblas_?gemm(RowMajor, …)` with alpha 1 and beta 0."""
        a_rows, b_rows, *sizes = args
        c, a, b = pointers
        m, n, k, lda, ldb, ldc = self._blas_words(sizes)
        one, zero = self._blas_factor(1.0, dtype), self._blas_factor(0.0, dtype)
        modes = [self._blas_mode(a_rows), self._blas_mode(b_rows)]
        operands = ["i32 101", *modes, m, n, k, one, a, lda, b, ldb, zero, c, ldc]
        self._blas_call("void", "gemm", operands, dtype)

    def _cblas_syrk(self, pointers: list[str], args: Sequence[str], dtype: DType) -> None:
        """`cblas_?syrk(RowMajor, Upper, …)` with alpha 1 and beta 0."""
        a_rows, *sizes = args
        c, a = pointers
        n, k, lda, ldc = self._blas_words(sizes)
        one, zero = self._blas_factor(1.0, dtype), self._blas_factor(0.0, dtype)
        operands = ["i32 101", "i32 121", self._blas_mode(a_rows), n, k, one, a, lda, zero, c, ldc]
        self._blas_call("void", "syrk", operands, dtype)

    def _cblas_gemv(self, pointers: list[str], args: Sequence[str], dtype: DType) -> None:
        """`cblas_?gemv(RowMajor, …)` with alpha 1 and beta 0."""
        a_rows, *sizes = args
        y, a, x = pointers
        rows, cols, lda, x_step, y_step = self._blas_words(sizes)
        one, zero = self._blas_factor(1.0, dtype), self._blas_factor(0.0, dtype)
        operands = ["i32 101", self._blas_mode(a_rows), rows, cols, one, a, lda, x, x_step, zero, y, y_step]
        self._blas_call("void", "gemv", operands, dtype)

    def _cblas_dot(self, pointers: list[str], args: Sequence[str], dtype: DType) -> None:
        """`cblas_?dot`, or `cblas_?dotu_sub` of complex vectors, into the one element of C."""
        c, x, y = pointers
        k, x_step, y_step = self._blas_words(args)
        operands = [k, x, x_step, y, y_step]
        if dtype.kind == "c":
            self._blas_call("void", "dot", [*operands, c], dtype)
            return
        kind = value_type(dtype)
        total = self._blas_call(kind, "dot", operands, dtype)
        self.line(f"store {kind} {total}, {c}, align {dtype.itemsize}")

    def _blas_call(self, result: str, function: str, operands: Sequence[str], dtype: DType) -> str:
        symbol = blas_symbol(function, dtype)
        self._declares.declare(f"{result} @{symbol}({', '.join(operand.split()[0] for operand in operands)})")
        call = f"call {result} @{symbol}({', '.join(operands)})"
        if result != "void":
            return self.op(call)
        self.line(call)
        return ""

    def _blas_words(self, sizes: Sequence[str]) -> list[str]:
        """i64 values as operands of the width that the BLAS takes."""
        word = f"i{self._blas_bits}"
        if word != "i64":
            sizes = [self.op(f"trunc i64 {size} to {word}") for size in sizes]
        return [f"{word} {size}" for size in sizes]

    def _blas_mode(self, rows: str) -> str:
        """NoTrans where the rows are consecutive, else Trans."""
        return f"i32 {self.op(f'select i1 {rows}, i32 111, i32 112')}"

    def _blas_factor(self, value: float, dtype: DType) -> str:
        """A factor by value; complex ones go by pointer."""
        kind = value_type(part_dtype(dtype))
        literal = constant(value, part_dtype(dtype))
        if dtype.kind != "c":
            return f"{kind} {literal}"
        place = self.alloca(kind, 2, 16)
        zero = constant(0.0, part_dtype(dtype))
        self.line(f"store [2 x {kind}] [{kind} {literal}, {kind} {zero}], ptr {place}")
        return f"ptr {place}"
