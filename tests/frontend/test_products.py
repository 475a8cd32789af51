"""Products of vectors, matrices and tensors, compared with NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import sparsec
from tests.programs.harness import backends, check, check_refused

RNG = np.random.default_rng(3)
A = RNG.normal(size=(2, 3))
B = RNG.normal(size=(3, 4))
T = RNG.normal(size=(5, 2, 3))
Z = RNG.normal(size=(3, 3)) + 1j * RNG.normal(size=(3, 3))
N = RNG.integers(-5, 5, (3, 3))


def args(*arrays):
    return lambda: tuple(a.copy("K") if isinstance(a, np.ndarray) else a for a in arrays)


def matmul_out(a, b, t, z, n):
    out = np.zeros((2, 4))
    kept = np.matmul(a, b, out=out)
    return out, kept


def matmul_into_itself(a, b, t, z, n):
    z @= z
    np.matmul(n, n.T, out=n)


def dot_out(a, b, t, z, n):
    out = np.empty((2, 4))
    return a.dot(b, out=out), out


def einsum_diagonal_written(a, b, t, z, n):
    np.einsum("ii->i", n)[:] = 7
    return np.einsum("ij->ji", n)


def norms(a, b, t, z, n):
    norm = np.linalg.norm
    return (
        norm(a),
        norm(a[0]),
        norm(n),
        norm(z),
        norm(a, axis=1),
        norm(a, 1),
        norm(a, np.inf),
        norm(a, -1),
        norm(a, -np.inf),
        norm(a[0], 1),
        norm(a[0], np.inf),
        norm(a[0], 0),
        norm(a[0], 3),
        norm(z, axis=0),
        norm(t, axis=(1, 2)),
        norm(t, axis=(2, 0), keepdims=True),
        norm(a, keepdims=True),
        norm(t),
        norm(a, 2, axis=0, keepdims=True),
        norm(z, "fro"),
        norm(a.astype("f4"), 0.5, axis=1),
    )


def array_api_norms(a, b, t, z, n):
    linalg = np.linalg
    return (
        linalg.vector_norm(t),
        linalg.vector_norm(t, axis=(0, 2)),
        linalg.matrix_norm(t),
        linalg.vector_norm(t, axis=1, keepdims=True),
        linalg.vector_norm(a, keepdims=True, ord=1),
        linalg.vector_norm(t, axis=(0, 1), keepdims=True),
        linalg.matrix_norm(t, ord=1, keepdims=True),
    )


PROGRAMS = {
    "matmul": lambda a, b, t, z, n: a @ b,
    "matmul transposed": lambda a, b, t, z, n: b.T @ a.T,
    "matmul slices": lambda a, b, t, z, n: a[::-1, ::2] @ b[::2, ::-1],
    "matmul vector": lambda a, b, t, z, n: (a @ b[:, 0], a[0] @ b, a[0] @ b[:, 1]),
    "matmul batch": lambda a, b, t, z, n: t @ b,
    "matmul batch of rows": lambda a, b, t, z, n: (t[:, :, None] @ b, t[:, :, None, :2] @ b[:2], t[::2, :1] @ b),
    "matmul own transpose": lambda a, b, t, z, n: (a @ a.T, b.T @ b, z @ z.T, t @ t.transpose(0, 2, 1)),
    "matmul batches": lambda a, b, t, z, n: t[:, None] @ t.transpose(0, 2, 1),
    "matmul batch order": lambda a, b, t, z, n: (t[:, None].transpose(1, 0, 2, 3) @ b).ravel("K"),
    "matmul vector batch": lambda a, b, t, z, n: (a[0] @ t.transpose(0, 2, 1), t @ a[0]),
    "matmul int": lambda a, b, t, z, n: n @ n,
    "matmul mixed": lambda a, b, t, z, n: n.astype("i4") @ n.astype("f4"),
    "matmul bool": lambda a, b, t, z, n: (n > 0) @ (n < 0),
    "matmul complex": lambda a, b, t, z, n: z @ n,
    "matmul half": lambda a, b, t, z, n: n.astype("f2") @ n.astype("f2"),
    "matmul empty": lambda a, b, t, z, n: (a[:, :0] @ b[:0], a[:0] @ b),
    "matmul shapes": lambda a, b, t, z, n: a @ a,
    "matmul scalar": lambda a, b, t, z, n: a @ 2.0,
    "matmul batch shapes": lambda a, b, t, z, n: t[:2] @ t[:3].transpose(0, 2, 1),
    "matmul out": matmul_out,
    "matmul into itself": matmul_into_itself,
    "matmul dtype": lambda a, b, t, z, n: np.matmul(n, n, dtype=np.float64),
    "matmul list": lambda a, b, t, z, n: a @ [[1, 2], [3, 4], [5, 6]],
    "linalg.matmul": lambda a, b, t, z, n: np.linalg.matmul(a, b),
    "dot": lambda a, b, t, z, n: np.dot(a, b),
    "dot vectors": lambda a, b, t, z, n: a[0].dot(a[1]),
    "dot scalar": lambda a, b, t, z, n: (np.dot(a, 2.0), np.dot(3, n), np.dot(a[0, 0], b[0, 0])),
    "dot tensor": lambda a, b, t, z, n: np.dot(t, t.transpose(0, 2, 1)),
    "dot vector": lambda a, b, t, z, n: np.dot(t, b[:, 0]),
    "dot out": dot_out,
    "dot shapes": lambda a, b, t, z, n: np.dot(a, a),
    "dot empty": lambda a, b, t, z, n: np.dot(a[0, :0], a[1, :0]),
    "vdot": lambda a, b, t, z, n: (np.vdot(z, z), np.vdot(a, a[::-1])),
    "inner": lambda a, b, t, z, n: (np.inner(a, a), np.inner(a[0], a[1]), np.inner(t, a[0]), np.inner(a, 2)),
    "outer": lambda a, b, t, z, n: (np.outer(a, n[0]), np.outer(2.0, a[0]), np.linalg.outer(a[0], b[0])),
    "tensordot": lambda a, b, t, z, n: np.tensordot(t, a, 2),
    "tensordot one": lambda a, b, t, z, n: np.tensordot(t, b, 1),
    "tensordot none": lambda a, b, t, z, n: np.tensordot(a, b[0], 0),
    "tensordot axes": lambda a, b, t, z, n: np.tensordot(t, t, axes=([0, 2], [0, 2])),
    "tensordot axis": lambda a, b, t, z, n: np.tensordot(t, a, axes=(-1, 1)),
    "tensordot shapes": lambda a, b, t, z, n: np.tensordot(a, b, 2),
    "kron": lambda a, b, t, z, n: (np.kron(a, n), np.kron(a[0], n), np.kron(2, n)),
    "cross": lambda a, b, t, z, n: (np.cross(n[0], n[1]), np.cross(a, n[:2]), np.cross(b, b[:, :1], axis=0)),
    "cross axes": lambda a, b, t, z, n: np.cross(b, n[0], axisa=0, axisc=0),
    "cross shapes": lambda a, b, t, z, n: np.cross(b, b),
    "linalg.cross": lambda a, b, t, z, n: np.linalg.cross(n, n[0]),
    "vecdot": lambda a, b, t, z, n: (
        np.vecdot(a, a[0]),
        np.vecdot(z, z),
        np.linalg.vecdot(b, b, axis=0),
        np.vecdot(n[0], n[1]),
    ),
    "matvec": lambda a, b, t, z, n: (np.matvec(t, a), np.matvec(n, n[0])),
    "vecmat": lambda a, b, t, z, n: (np.vecmat(a, b), np.vecmat(z[0], z), np.vecmat(a[0], n)),
    "norms": norms,
    "array API norms": array_api_norms,
    "norm order": lambda a, b, t, z, n: np.linalg.norm(a, 3),
    "norm rank": lambda a, b, t, z, n: np.linalg.norm(t, 1),
    "matrix_power": lambda a, b, t, z, n: [np.linalg.matrix_power(n, k) for k in (0, 1, 2, 3, 5, 6)],
    "matrix_power shape": lambda a, b, t, z, n: np.linalg.matrix_power(a, 2),
    "multi_dot": lambda a, b, t, z, n: (
        np.linalg.multi_dot([a, n, b]),
        np.linalg.multi_dot([a[0], n, b, b[0]]),
        np.linalg.multi_dot((a, b)),
    ),
    "multi_dot one": lambda a, b, t, z, n: np.linalg.multi_dot([a]),
    "linalg views": lambda a, b, t, z, n: (
        np.linalg.matrix_transpose(t),
        np.linalg.diagonal(t),
        np.linalg.trace(t),
    ),
    "einsum product": lambda a, b, t, z, n: np.einsum("ij,jk->ik", a, b),
    "einsum implicit": lambda a, b, t, z, n: np.einsum("kj,jl", a, b),
    "einsum trace": lambda a, b, t, z, n: np.einsum("ii", n),
    "einsum sum": lambda a, b, t, z, n: (np.einsum("ij->", a), np.einsum("ij->j", a), np.einsum("tij->t", t)),
    "einsum batch": lambda a, b, t, z, n: np.einsum("tij,tkj->tik", t, t),
    "einsum batch order": lambda a, b, t, z, n: np.einsum("tij,tkj->kti", t, t),
    "einsum ellipsis": lambda a, b, t, z, n: np.einsum("...ij,jk->...ik", t, b),
    "einsum two ellipses": lambda a, b, t, z, n: np.einsum("...i,...i->...", t, a),
    "einsum implicit ellipsis": lambda a, b, t, z, n: np.einsum("...i,i", t, a[0]),
    "einsum outer": lambda a, b, t, z, n: np.einsum("i,j", a[0], b[0]),
    "einsum multiply": lambda a, b, t, z, n: np.einsum("ij,ij->ij", a, a),
    "einsum inner": lambda a, b, t, z, n: np.einsum("i,i", a[0], a[1]),
    "einsum three": lambda a, b, t, z, n: np.einsum("ij,jk,kl->il", a, n, b, optimize=True),
    "einsum three shared": lambda a, b, t, z, n: np.einsum("ij,ij,ij->i", a, a, n[:2]),
    "einsum diagonal": lambda a, b, t, z, n: np.einsum("ii,i->i", n, a[0]),
    "einsum diagonal sum": lambda a, b, t, z, n: np.einsum("ii,ij->j", n, n),
    "einsum written": einsum_diagonal_written,
    "einsum broadcast": lambda a, b, t, z, n: np.einsum("ij,ij->ij", a[:1], n),
    "einsum broadcast sum": lambda a, b, t, z, n: np.einsum("ij,jk->ik", a[:, :1], b),
    "einsum list form": lambda a, b, t, z, n: np.einsum(a, [0, 1], b, [1, 2], [2, 0]),
    "einsum list implicit": lambda a, b, t, z, n: np.einsum(a, [0, 1], b, [1, 2]),
    "einsum bool": lambda a, b, t, z, n: np.einsum("ij,jk", n > 0, n > 1),
    "einsum mixed": lambda a, b, t, z, n: np.einsum("ij,jk", n.astype("i4"), n.astype("f4")),
    "einsum complex": lambda a, b, t, z, n: np.einsum("ij,kj->ik", z, n),
    "einsum spaces": lambda a, b, t, z, n: np.einsum("i j, j k -> i k", a, b),
    "einsum bad output": lambda a, b, t, z, n: np.einsum("ij->ik", a),
    "einsum bad sizes": lambda a, b, t, z, n: np.einsum("ij,jk", a, a),
    "einsum too many": lambda a, b, t, z, n: np.einsum("ij", a, b),
    "einsum bad rank": lambda a, b, t, z, n: np.einsum("ijk->i", a),
    "einsum repeated output": lambda a, b, t, z, n: np.einsum("ij->ii", a),
    "einsum empty": lambda a, b, t, z, n: np.einsum("ij,jk->ik", a[:, :0], b[:0]),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_like_numpy(name):
    check(PROGRAMS[name], args(A, B, T, Z, N), "interp", rtol=1e-6, atol=1e-12)


ON_CPU = (
    "matmul slices",
    "matmul vector",
    "matmul batches",
    "matmul batch order",
    "matmul int",
    "matmul bool",
    "matmul half",
    "matmul empty",
    "matmul into itself",
    "dot tensor",
    "tensordot axes",
    "cross axes",
    "vecdot",
    "matrix_power",
    "einsum batch order",
    "einsum two ellipses",
    "einsum three shared",
    "einsum written",
    "einsum broadcast sum",
)


@pytest.mark.parametrize("backend", backends("cpu"))
@pytest.mark.parametrize("name", ON_CPU)
def test_compiled(name, backend):
    check(PROGRAMS[name], args(A, B, T, Z, N), backend, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("backend", backends("interp", "cpu"))
def test_linear_layer(backend):
    def layer(x, w, bias, out):
        np.maximum(x @ w.T + bias, 0, out=out[:, ::2])
        out[:, 1::2] = np.einsum("ni,oi->no", x, w)

    x, w = RNG.normal(size=(7, 5)).astype("f4"), RNG.normal(size=(3, 5)).astype("f4")
    check(layer, args(x, w, np.ones(3, "f4"), np.zeros((7, 6), "f4")), backend, rtol=1e-5, atol=1e-6)


REFUSED = {
    "linalg.svd": lambda a, b, t, z, n: np.linalg.svd(a),
    "linalg.norm": lambda a, b, t, z, n: np.linalg.norm(a, 2),
    "linalg.matrix_power": lambda a, b, t, z, n: np.linalg.matrix_power(z, -1),
    "cross": lambda a, b, t, z, n: np.cross(a[0, :2], a[1, :2]),
    "matmul": lambda a, b, t, z, n: np.matmul(n, n, axes=[(0, 1), (0, 1), (0, 1)]),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    error = check_refused(REFUSED[name], args(A, B, T, Z, N), "interp", "UnsupportedError")
    assert f"np.{name}" in str(error)


def test_a_product_of_single_elements_keeps_the_sign_of_zero():
    for shapes in (((1,), (1,)), ((1, 1), (1,)), ((1,), (1, 1)), ((1, 1), (1, 1))):
        x, y = np.zeros(shapes[0]), np.full(shapes[1], -1.0)
        wanted, got = np.dot(x, y), sparsec.jit(lambda a, b: np.dot(a, b), backend="interp")(x, y)
        assert type(got) is type(wanted) and np.shape(got) == np.shape(wanted) and np.all(np.signbit(got))
