"""Views are views: for every function that reshapes, memory sharing, strides and later writes are NumPy's."""

from __future__ import annotations

import numpy as np
import pytest

import sparsec
from sparsec.errors import UnsupportedError
from tests.programs.harness import backends, check

LAYOUTS = {
    "c": lambda: np.arange(24.0).reshape(2, 3, 4),
    "f": lambda: np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
    "permuted": lambda: np.arange(24.0).reshape(3, 4, 2).transpose(2, 0, 1),
    "strided": lambda: np.arange(96.0).reshape(4, 3, 8)[::-2, :, ::2],
    "ones": lambda: np.arange(4.0).reshape(1, 4, 1),
    "row": lambda: np.arange(5.0),
    "none": lambda: np.zeros((0, 3, 2)),
    "0d": lambda: np.array(2.0),
}

FUNCTIONS = {
    "reshape": lambda x: (x.reshape(-1), x.reshape((x.size, 1)), np.reshape(x, (1, -1)) if x.size else x),
    "reshape F": lambda x: (
        x.reshape(-1, order="F"),
        np.reshape(x, (1, x.size), order="F"),
        x.reshape(-1, order="A"),
    ),
    "same shape": lambda x: (x.reshape(x.shape), x.reshape(x.shape, order="F"), x.view()),
    "ravel": lambda x: (x.ravel(), x.ravel("F"), np.ravel(x, "A"), np.ravel(x, order="K")),
    "flatten": lambda x: (x.flatten(), x.flatten("F"), x.flatten("A"), x.flatten(order="K")),
    "transpose": lambda x: (
        x.T,
        x.transpose(),
        np.transpose(x, tuple(range(x.ndim))[::-1]),
        np.permute_dims(x),
    ),
    "axes": lambda x: (np.swapaxes(x, 0, -1), np.moveaxis(x, 0, -1), np.rollaxis(x, -1), x.swapaxes(-1, 0)),
    "matrix": lambda x: (np.matrix_transpose(x), x.mT),
    "expand": lambda x: (np.expand_dims(x, 0), np.expand_dims(x, (0, -1)), x[None], x[..., None]),
    "squeeze": lambda x: (np.squeeze(x), x.squeeze(), np.expand_dims(x, 0).squeeze(0)),
    "atleast": lambda x: (np.atleast_1d(x), np.atleast_2d(x), np.atleast_3d(x), np.atleast_2d(x, x)),
    "broadcast": lambda x: (np.broadcast_to(x, (3, *x.shape)), np.broadcast_to(x, x.shape)),
    "arrays": lambda x: np.broadcast_arrays(x, x),
    "diagonal": lambda x: (np.diagonal(x), x.diagonal(1, 0, -1), np.trace(x), x.trace(1), np.diagonal(x, -1)),
    "diag": lambda x: (np.diag(x.reshape(-1)), np.diagflat(x, 1), np.diag(x.reshape(-1), -2)),
    "diag of matrix": lambda x: (np.diag(x[0]), np.diag(x[0], 1)),
    "flip": lambda x: (np.flip(x), np.flip(x, 0), np.flipud(x), np.flip(x, (-1,))),
    "lr": lambda x: np.fliplr(x),
    "rot90": lambda x: (np.rot90(x), np.rot90(x, 2), np.rot90(x, -1), np.rot90(x, 4, (1, 0))),
    "facts": lambda x: (np.ndim(x), np.shape(x), np.size(x), x.size, x.ndim, x.shape, len(np.atleast_1d(x))),
}


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", FUNCTIONS)
def test_views_and_copies(name, layout):
    check(FUNCTIONS[name], lambda: (LAYOUTS[layout](),), "interp")


@pytest.mark.parametrize("name", FUNCTIONS)
def test_on_cpu(name):
    for layout in ("f", "strided"):
        check(FUNCTIONS[name], lambda layout=layout: (LAYOUTS[layout](),), "cpu")


WRITABLE = [
    "reshape",
    "reshape F",
    "same shape",
    "ravel",
    "flatten",
    "transpose",
    "axes",
    "expand",
    "squeeze",
    "atleast",
    "flip",
    "rot90",
    "diag",
]


@pytest.mark.parametrize("backend", ["interp", "cpu"])
@pytest.mark.parametrize("name", WRITABLE)
def test_later_writes(name, backend):
    """A write through each result, and one to the base, are seen exactly where NumPy shows them."""
    function = FUNCTIONS[name]

    def f(x):
        made = [m for m in function(x) if not isinstance(m, tuple)]
        for k in range(len(made)):
            made[k][..., -1:] += 100 * (k + 1)
        x[0] = -1
        return made, x.sum()

    for layout in ("c", "f", "permuted", "strided"):
        check(f, lambda layout=layout: (LAYOUTS[layout](),), backend)


READ_ONLY = {
    "broadcast_to": lambda x: np.broadcast_to(x, (2, *x.shape)),
    "diagonal": lambda x: x.diagonal(),
    "diag": lambda x: np.diag(x),
}


@pytest.mark.parametrize("name", READ_ONLY)
def test_read_only_views(name):
    function = READ_ONLY[name]

    def f(x):
        x[0] = 5
        y = function(x)
        y[0] = 1
        return y

    check(f, lambda: (np.arange(9.0).reshape(3, 3),), "interp")


WRONG = {
    "size": lambda x: x.reshape(5, 5),
    "two unknown": lambda x: x.reshape(-1, -1),
    "no whole number": lambda x: x.reshape(-1, 5),
    "order": lambda x: x.reshape(-1, order="X"),
    "no copy": lambda x: np.reshape(x.T, -1, copy=False),
    "transpose count": lambda x: x.transpose(0, 1),
    "transpose twice": lambda x: np.transpose(x, (0, 1, 1)),
    "axis": lambda x: np.swapaxes(x, 0, 3),
    "moveaxis": lambda x: np.moveaxis(x, (0, 1), 0),
    "squeeze": lambda x: x.squeeze(1),
    "expand": lambda x: np.expand_dims(x, (0, 0)),
    "broadcast": lambda x: np.broadcast_to(x, (2, 2)),
    "flip": lambda x: np.flip(x, 3),
    "rot90": lambda x: np.rot90(x, axes=(1, 1)),
    "diagonal": lambda x: np.diagonal(x, axis1=1, axis2=1),
    "rollaxis": lambda x: np.rollaxis(x, 0, 7),
    "diag": lambda x: np.diag(x),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_arguments(name):
    check(WRONG[name], lambda: (LAYOUTS["c"](),), "interp")


def test_refused():
    x = np.arange(6.0)
    with pytest.raises(UnsupportedError):
        sparsec.jit(lambda x: x.resize(4), backend="interp")(x)


@pytest.mark.parametrize("backend", ["interp", "cpu"])
def test_bits_of_scalars(backend):
    def f(x):
        return x[0].view(np.int64), x[1].view(np.uint64)

    check(f, lambda: (np.array([-1.5, 2.25]),), backend)


# --- windows ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", backends())
def test_windows_are_views(backend):
    def f(x):
        over = np.lib.stride_tricks.sliding_window_view
        rows, boxes = over(x, 3, axis=1), over(x[::-1], (2, 3))
        x[1, 2] = 50
        return rows, boxes.sum((-1, -2)), over(x[0], 2)[:, ::-1], over(x, (2, 0), axis=(0, 0)), rows.max(-1)

    check(f, lambda: (np.arange(20.0).reshape(4, 5),), backend)


@pytest.mark.parametrize("call", [
    lambda x: np.lib.stride_tricks.sliding_window_view(x, 7, axis=0),
    lambda x: np.lib.stride_tricks.sliding_window_view(x, -1, axis=0),
    lambda x: np.lib.stride_tricks.sliding_window_view(x, (2, 2), axis=0),
    lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, axis=2),
    lambda x: np.lib.stride_tricks.sliding_window_view(x, 2, axis=0).__setitem__(0, 1),
])
def test_windows_that_do_not_fit(call):
    check(call, lambda: (np.zeros((4, 5)),), "interp")
