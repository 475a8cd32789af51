"""`sparsec.numpy`: NumPy's names outside a trace, the compiler's rules inside."""

from __future__ import annotations

import numpy as np
import pytest

import sparsec
import sparsec.numpy as snp
from sparsec.numpy import linalg


def test_outside_a_trace_it_is_numpy():
    made = snp.zeros((2, 3))
    assert type(made) is np.ndarray and made.shape == (2, 3)
    assert snp.add(1, 2) == 3
    assert snp.add.reduce([1, 2, 3]) == 6
    assert linalg.norm([3.0, 4.0]) == snp.linalg.norm([3.0, 4.0]) == 5.0


def test_constants_dtypes_and_classes_are_numpys():
    assert snp.pi == np.pi and snp.inf == np.inf and snp.newaxis is None
    assert snp.float32 is np.float32 and snp.ndarray is np.ndarray
    assert snp.zeros is snp.zeros


def test_in_a_function_without_source():
    space = {"np": snp}
    exec(  # the point: there is no source to read
        "def f(x):\n"
        "    out = np.zeros(4, np.float32)\n"
        "    out[::2] = np.maximum(x, 0.5)\n"
        "    return np.concatenate((out, np.tri(2).ravel())) @ np.arange(8), np.add.reduce(out)\n",
        space,
    )
    x = np.array([0.25, 3.0], np.float32)
    want = space["f"](x)
    got = sparsec.jit(space["f"], backend="interp")(x)
    for a, b in zip(got, want):
        assert type(a) is type(b) and a == b


def test_in_a_function_with_source():
    def f(x):
        return snp.stack((x, snp.ones_like(x)), axis=1), snp.linalg.norm(x)

    x = np.arange(3.0)
    got, want = sparsec.jit(f, backend="interp")(x), f(x)
    assert np.array_equal(got[0], want[0]) and np.isclose(got[1], want[1])


def test_subscripted_objects():
    space = {"np": snp}
    exec("def f(x):\n    return np.r_[x, 1:3], np.mgrid[0:2, 0:2] * x[0]\n", space)
    x = np.array([2.0, 5.0])
    got, want = sparsec.jit(space["f"], backend="interp")(x), space["f"](x)
    assert all(np.array_equal(a, b) and a.dtype == b.dtype for a, b in zip(got, want))


def test_each_call_gets_a_fresh_array():
    space = {"np": snp}
    exec("def f(x):\n    t = np.array([1.0, 2.0])\n    t += x\n    return t\n", space)
    compiled = sparsec.jit(space["f"], backend="interp")
    assert compiled(1.0).tolist() == compiled(1.0).tolist() == [2.0, 3.0]


@pytest.mark.parametrize("name", ["nonsense", "random", "__wrapped__"])
def test_unknown_names(name):
    with pytest.raises(AttributeError, match=name):
        getattr(snp, name)


def test_unsupported_functions_are_errors():
    with pytest.raises(sparsec.errors.UnsupportedError, match="einsum_path"):
        sparsec.jit(lambda x: snp.einsum_path("i->", x), backend="interp")(np.zeros(8, np.uint8))


def test_names_are_listed():
    assert {"zeros", "linalg", "pi"} <= set(dir(snp)) and "norm" in dir(linalg)


def test_a_jitted_function_shows_its_name():
    @sparsec.jit
    def shown(x):
        return x

    assert repr(shown).startswith("<sparsec.jit of ") and repr(shown).endswith("shown>")
