"""Convolutions with lanes along their outputs: every bit as it was, in the loop interpreter."""

import numpy as np
import pytest

from sparsec.ir.builder import Builder
from sparsec.ir.loop_interp import run
from sparsec.ir.loop_text import parse_program
from sparsec.ir.loop_verify import verify_program
from sparsec.ir.loops import Alloc, Prefetch, walk_stmts
from sparsec.ir.types import tensor
from sparsec.passes.base import run_pipeline
from sparsec.passes.choices import Choices
from sparsec.passes.lower import lower_program
from sparsec.passes.schedule import outputs_in_lanes
from sparsec.passes.schedule.outputs_in_lanes import suits_outputs
from sparsec.passes.schedule.register_block import Registers, register_blocks

MACHINE = Registers(64, 32)
SAME = {"padding": ((1, 1), (1, 1))}
LISTS = [np.array(x, np.int32) for x in ([1, 4], [0, *range(2, 8)])]
BOTH = {"extras": ("inputs", "rows"), "in_channels": 5}


def lowered(shapes, attrs, dtype="f8", epilogue=None):
    rng = np.random.default_rng(0)
    args = [s if isinstance(s, np.ndarray) else rng.uniform(-1, 1, s).astype(dtype) for s in shapes]
    b = Builder()
    made = b.op("conv2d", *(b.param(tensor(a.dtype, *a.shape)) for a in args), **attrs)
    made = b.op("maximum", made, b.op("neg", made)) if epilogue else made
    planned = run_pipeline(b.func("f", (made,)), Choices().pipeline(vector_bytes=64))
    return lower_program(planned), args, made.type


def outcome(made, args, type_, order="shuffle"):
    verify_program(made)
    out = np.full(type_.static_shape, np.nan, type_.dtype)
    memory = [np.ascontiguousarray(a).reshape(-1).view(np.uint8) for a in (*args, out)]
    assert run(made, memory, order, uninitialised=True) == (0, 0)
    return out


def scratch(program):
    return [s.buffer.name for k in program.kernels for s in walk_stmts(k.body) if isinstance(s, Alloc)]


def keeps_every_bit(*case, **options):
    made, args, type_ = lowered(*case, **options)
    by_outputs = register_blocks(made, MACHINE)
    assert "tile" in scratch(by_outputs)
    np.testing.assert_array_equal(outcome(by_outputs, args, type_), outcome(made, args, type_))
    return by_outputs


CONVOLUTIONS = {
    "edges": ([(1, 2, 5, 7), (8, 2, 3, 3)], SAME),
    "outputs left over": ([(1, 1, 5, 7), (13, 1, 3, 3)], SAME),
    "no edges": ([(1, 1, 7, 9), (8, 1, 3, 3)], {}),
    "only rows have edges": ([(1, 1, 5, 9), (8, 1, 3, 3)], {"padding": ((1, 1), (0, 0))}),
    "uneven": ([(1, 1, 6, 7), (8, 1, 3, 2)], {"padding": ((0, 2), (1, 0)), "dilation": (1, 2)}),
    "strides": ([(1, 1, 10, 13), (8, 1, 3, 3)], {**SAME, "stride": (2, 2)}),
    "window larger than the image": ([(1, 1, 6, 6), (8, 1, 7, 7)], {"padding": ((3, 3), (3, 3))}),
    "1x1 with strides": ([(1, 3, 12, 12), (8, 3, 1, 1)], {"stride": (2, 2)}),
    "images": ([(2, 1, 4, 8), (8, 1, 3, 3)], SAME),
    "lists": ([(1, 2, 4, 8), (8, 5, 3, 3), *LISTS], {**SAME, **BOTH}),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_every_bit_is_kept(name):
    keeps_every_bit(*CONVOLUTIONS[name])


def test_float32_and_what_follows():
    keeps_every_bit([(1, 1, 4, 8), (16, 1, 3, 3)], SAME, dtype="f4", epilogue=True)


@pytest.mark.parametrize("rows", [(), LISTS[1:]])
def test_tiles_that_hold_some_inputs_ask_for_the_next(monkeypatch, rows):
    """Weights of outputs and inputs that there are none of are asked for, never read."""
    monkeypatch.setattr(outputs_in_lanes, "_TILE", 9 * 64 * 2)
    attrs = {**SAME, "extras": ("rows",)} if rows else SAME
    made = keeps_every_bit([(1, 3, 4, 8), (8, 3, 3, 3), *rows], attrs)
    assert any(isinstance(s, Prefetch) for k in made.kernels for s in walk_stmts(k.body))


@pytest.mark.parametrize("size", [(5, 8), (9, 4)])
def test_bands_and_strips(monkeypatch, size):
    monkeypatch.setattr(outputs_in_lanes, "_PIXELS", 16)
    keeps_every_bit([(1, 1, *size), (8, 1, 3, 3)], SAME)
    monkeypatch.setattr(outputs_in_lanes, "_TILE", 9 * 64)
    keeps_every_bit([(1, 2, *size), (8, 2, 3, 3)], SAME)


@pytest.mark.parametrize("value", [-np.inf, np.nan])
def test_weights_that_are_not_finite_count_outside_of_the_image_too(value):
    """0 times them is NaN, also where the image has nothing."""
    (image, weights), attrs = CONVOLUTIONS["edges"]
    made, args, type_ = lowered([image, weights], attrs)
    args[0][:] = 1
    args[1][3, 1, 0, 0] = value
    found = outcome(register_blocks(made, MACHINE), args, type_)
    np.testing.assert_array_equal(found, outcome(made, args, type_))
    assert np.isnan(found[0, 3, 0, 0]) and np.isfinite(found[0, 4]).all()


@pytest.mark.parametrize(("channel", "image"), [(64, 0), (64, 32)])
def test_inputs_that_are_apart_in_memory_all_count(channel, image):
    """Every other channel of three, and channels of which each has all images: as many as the call says."""
    images = 2 if image else 1
    size = channel + 32 * images
    made = parse_program(f"""program @p {{ arena 0 slot %k: global i64[1] r = param 0
        slot %x: global f64[{size}] r = param 1 slot %w: global f64[64] r = param 2
        slot %y: global f64[{images * 256}] w = result 0
        kernel @f(%x: global f64[{size}] r, %w: global f64[64] r, %y: global f64[{images * 256}] w; k) {{
          for n in 0..{images} bind(parallel) {{ for j in 0..8 bind(parallel) {{
            for y in 0..4 bind(parallel) {{ for x in 0..8 bind(parallel) {{
              mut s = 0.0:f64
              for p in 0..k {{ for r in 0..2 {{ for t in 0..2 {{
                let e = %x[p * {channel} + n * {image} + y * 8 + x]
                s = fma(e, %w[j * 8 + p * 4 + r * 2 + t], s) }} }} }}
              %y[n * 256 + j * 32 + y * 8 + x] = s }} }} }} }} }}
        host {{ launch @f(%x, %w, %y; %k[0]) }} }}""")
    rng = np.random.default_rng(0)
    args = [np.array([2]), rng.uniform(-1, 1, size), rng.uniform(-1, 1, 64)]
    by_outputs = register_blocks(made, MACHINE)
    assert "tile" in scratch(by_outputs)
    results = tensor(np.dtype("f8"), images, 8, 4, 8)
    np.testing.assert_array_equal(outcome(by_outputs, args, results), outcome(made, args, results))


def test_what_gains_nothing_stays_as_it_was():
    for shapes, attrs in (
        ([(1, 2, 5, 5), (8, 2, 3, 3)], SAME),  # few pixels
        ([(1, 2, 6, 7), (11, 2, 3, 3)], SAME),  # vectors that are not filled
        ([(1, 2, 6, 7), (8, 2, 1, 1)], {}),  # one tap
        ([(1, 0, 5, 8), (15, 5, 3, 3), LISTS[0][:0], LISTS[1]], {**SAME, **BOTH}),
        ([(1, 32, 6, 7), (32, 2, 3, 3)], {**SAME, "groups": 16}),
    ):
        assert "tile" not in scratch(register_blocks(lowered(shapes, attrs)[0], MACHINE))
    assert "tile" not in scratch(register_blocks(lowered(*CONVOLUTIONS["edges"])[0], Registers(32, 16)))
    assert not suits_outputs(64, 4, 16, (4, 4096), 9, 1)


def test_strided_images_are_not_taken_apart():
    made, *_ = lowered(*CONVOLUTIONS["strides"])
    assert len(made.kernels) == 1
