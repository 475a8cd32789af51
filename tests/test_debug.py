"""The switch `debug`: each level says what the one before says, and more."""

import numpy as np
import pytest

import sparsec
from sparsec.config import settings
from tests.programs.harness import backends


def said(level, backend, capsys):
    with settings.override(debug=level):
        sparsec.jit(lambda x: x * 2.0 + 1.0, backend=backend)(np.ones(3))
    return capsys.readouterr().err


@pytest.mark.parametrize("backend", backends("cpu", "opencl"))
def test_levels(backend, capsys):
    texts = [said(level, backend, capsys) for level in range(5)]
    assert texts[0] == ""
    assert "lambda" in texts[1] and f"for {backend}" in texts[1] and "f64[3]" in texts[1] and " ms" in texts[1]
    assert all(f"for {backend}" in text for text in texts[2:])
    assert [" ops after " in text for text in texts] == [False, False, True, True, True]
    assert [" = fused" in text for text in texts] == [False, False, False, True, True]
    code = "__kernel" if backend == "opencl" else "define i32"
    assert [code in text for text in texts] == [False, False, False, False, True]


def test_the_cache_is_left_out_where_every_stage_is_wanted(tmp_path, capsys):
    with settings.override(cache=True, cache_dir=tmp_path):
        said(2, "cpu", capsys)
        assert "fuse: " in said(2, "cpu", capsys)
