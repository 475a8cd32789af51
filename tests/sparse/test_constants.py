"""`sparsec.constant`: arrays that nobody writes to, and weights that are kept in a second order."""

import gc
import inspect

import numpy as np
import pytest

import sparsec
from sparsec import nn
from sparsec.config import settings
from sparsec.errors import ArgumentError, OutOfMemory, ReadOnlyError, UnsupportedDtype
from sparsec.frontend.jit import Jitted
from sparsec.ir.loop_reader import parse_program
from sparsec.ir.loop_text import program_text
from sparsec.ir.loop_verify import verify_program
from sparsec.ir.text import parse, to_text
from sparsec.runtime import constants, native
from sparsec.sparse import from_dense, prune

OUTPUTS, INPUTS = 64, 6


def rand(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def layer(x, w, b):
    return nn.relu(nn.conv2d(x, w, b, padding=1))


def dense_layer(x, w, b):
    return nn.linear(x, w, b)


IMAGE, WEIGHT, BIAS = rand(1, INPUTS, 5, 5), rand(OUTPUTS, INPUTS, 3, 3), rand(OUTPUTS)
MATRIX = rand(OUTPUTS, 30)


def pruned(x, keep, axis=1, **options):
    """`x` with other channels than the kept ones not even stored."""
    return from_dense(x, keep=keep, axis=axis, **options)


CASES = {
    "conv": (layer, IMAGE, WEIGHT),
    "two images": (layer, rand(2, INPUTS, 3, 6), WEIGHT),
    "live inputs": (layer, pruned(IMAGE, [0, 2, 5], ratio=0.25), WEIGHT),
    "live outputs": (layer, pruned(IMAGE, [1, 3], ratio=0.5), pruned(WEIGHT, range(5, 60), 0, ratio=0.02)),
    "static outputs": (layer, pruned(IMAGE, [1, 3]), pruned(WEIGHT, range(1, 64), 0, static=True)),
    "1x1": (layer, IMAGE, rand(OUTPUTS, INPUTS, 1, 1)),
    "one row": (dense_layer, pruned(rand(1, 30), [3, 4, 29], ratio=0.5), MATRIX),
    "rows": (dense_layer, pruned(rand(5, 30), [3, 4, 29], ratio=0.5), MATRIX),
}  # fmt: skip


ON_OTHERS = [(case, backend) for case in ("live outputs", "one row") for backend in ("opencl", "interp")]


@pytest.mark.parametrize(("case", "backend"), [*((case, "cpu") for case in CASES), *ON_OTHERS])
def test_values_are_those_of_the_array(case, backend):
    function, x, w = CASES[case]
    run, fixed = sparsec.jit(function, backend=backend), sparsec.constant(w)
    want = np.asarray(sparsec.jit(function, backend="interp")(x, w, BIAS))
    for _ in range(3):  # the third call is native
        np.testing.assert_allclose(np.asarray(run(x, fixed, BIAS)), want, rtol=1e-5, atol=1e-5)
    blocks = [p.block for p in run.trace(x, fixed, BIAS).compilation.packings]
    assert len(blocks) == (backend == "cpu") and all(blocks)


def test_a_constant_is_a_plain_array_for_good():
    made = sparsec.constant(WEIGHT)
    assert type(made) is np.ndarray and np.array_equal(made, WEIGHT) and not np.shares_memory(made, WEIGHT)
    assert sparsec.constant(made) is made and not constants.is_constant(made[:]) and made.dtype == WEIGHT.dtype
    for write in (lambda: made.__setitem__(0, 1), lambda: setattr(made.flags, "writeable", True)):
        with pytest.raises(ValueError, match=r"(?i)read-only|writeable"):
            write()
    tree = sparsec.constant({"layers": [(WEIGHT, 2)], "none": None, "empty": np.ones((0, 3)), "order": WEIGHT.T})
    assert constants.is_constant(tree["layers"][0][0]) and tree["layers"][0][1] == 2 and tree["none"] is None
    assert tree["empty"].shape == (0, 3) and np.array_equal(tree["order"], WEIGHT.T)
    given = from_dense(WEIGHT, keep=[1, 3], axis=0, ratio=0.5)
    fixed = sparsec.constant(given)
    assert fixed.index is given.index and fixed.cap == given.cap and constants.is_constant(fixed.data)
    few = sparsec.constant(prune(WEIGHT, "pattern"))
    assert not few.values.flags.writeable


def test_what_is_no_constant_is_refused():
    for wrong in (object(), np.ma.ones(3), {1, 2}):
        with pytest.raises(ArgumentError):
            sparsec.constant(wrong)
    with pytest.raises(UnsupportedDtype):
        sparsec.constant(np.array(["a"]))

    def inside(x):
        return sparsec.constant(x)

    with pytest.raises(ArgumentError) as found:
        sparsec.jit(inside)(IMAGE)
    assert found.value.loc is not None and found.value.loc.line == inspect.getsourcelines(inside)[1] + 1


def test_a_write_is_refused_at_its_line():
    def writes(w):
        w[0] = 1
        return w

    with pytest.raises(ReadOnlyError) as found:
        sparsec.jit(writes)(sparsec.constant(WEIGHT))
    assert found.value.loc is not None and found.value.loc.line == inspect.getsourcelines(writes)[1] + 1


def test_constants_do_not_mix(monkeypatch):
    run = sparsec.jit(layer)
    given = [sparsec.constant(rand(*WEIGHT.shape, seed=k)) for k in range(3)]
    want = [layer(IMAGE, w, BIAS) for w in given]
    for k in (0, 0, 0, 1, 2, 1, 1, 1, 0, 2, 0):
        np.testing.assert_allclose(run(IMAGE, given[k], BIAS), want[k], rtol=1e-5, atol=1e-5)
    assert run.specialisations == 1
    if native.enable(Jitted):
        with monkeypatch.context() as patched:
            patched.setattr(run._binder, "bind", None)  # no call in Python
            assert np.array_equal(run(IMAGE, given[0], BIAS), run(IMAGE, given[0], BIAS))
            np.testing.assert_allclose(run(IMAGE, given[1], BIAS), want[1], rtol=1e-5, atol=1e-5)
    writeable = given[1].copy()
    for _ in range(3):
        np.testing.assert_allclose(run(IMAGE, writeable, BIAS), want[1], rtol=1e-5, atol=1e-5)
        writeable *= 2
        want[1] = layer(IMAGE, writeable, BIAS)


@pytest.mark.skipif(not native.enable(Jitted), reason="this interpreter's calls stay in Python")
def test_records_of_other_arrays_do_not_serve_constants(monkeypatch):
    def total(x, w):
        return nn.conv2d(x, w, padding=1).sum(1)

    _, x, w = CASES["live outputs"]
    run, fixed = sparsec.jit(total), sparsec.constant(w)
    want = [run(x, w) for _ in range(3)][-1]
    monkeypatch.setattr(run._binder, "bind", None)  # no call in Python
    assert np.array_equal(run(x, w), want)
    with pytest.raises(TypeError):
        run(x, fixed)


def test_captured_constants():
    first, second = sparsec.constant(WEIGHT), sparsec.constant(2 * WEIGHT)
    held = [first]

    def run(x):
        return layer(x, held[0], BIAS)

    compiled = sparsec.jit(run)
    for w in (first, first, first, second, second, second):
        held[0] = w
        np.testing.assert_allclose(compiled(IMAGE), layer(IMAGE, w, BIAS), rtol=1e-5, atol=1e-5)
    assert any(p.block for p in compiled.trace(IMAGE).compilation.packings)


def test_the_array_itself_comes_back():
    def both(x, w):
        return nn.conv2d(x, w, padding=1), w, w[1]

    run, w = sparsec.jit(both), sparsec.constant(WEIGHT)
    for _ in range(4):
        _, whole, part = run(IMAGE, w)
        assert whole is w and np.array_equal(part, WEIGHT[1])
    assert run.trace(IMAGE, w).compilation.packings[0].block


def test_two_orders_are_not_kept():
    def two(x, w):
        return nn.conv2d(x, w, padding=1), w * np.float32(2)

    run, w = sparsec.jit(two), sparsec.constant(WEIGHT)
    (found,) = run.trace(IMAGE, w).compilation.packings
    assert not found.block and "another order" in found.text
    np.testing.assert_allclose(run(IMAGE, w)[0], nn.conv2d(IMAGE, WEIGHT, padding=1), rtol=1e-5, atol=1e-5)


def test_a_part_of_a_constant_stays_where_it_is():
    def half(x, w):
        return nn.conv2d(x, w[8:], padding=1)

    run, w = sparsec.jit(half), sparsec.constant(WEIGHT)
    assert not any(p.block for p in run.trace(IMAGE, w).compilation.packings)
    np.testing.assert_allclose(run(IMAGE, w), half(IMAGE, WEIGHT), rtol=1e-5, atol=1e-5)


def test_bytes_are_counted_and_said():
    run, w = sparsec.jit(layer), sparsec.constant(WEIGHT)
    (found,) = run.trace(IMAGE, w, BIAS).compilation.packings
    rows = -(-OUTPUTS // found.block) * found.block
    memory = run.memory_analysis(IMAGE, w, BIAS)
    assert memory.packed_weights == found.nbytes == rows * INPUTS * 9 * 4
    assert memory.weight_temporaries == 0 and "packed weights" in str(memory)
    assert memory.total == memory.peak + memory.parameters + memory.results + memory.packed_weights
    text = str(run.explain(IMAGE, w, BIAS))
    assert "repacked: w: vectors along its inputs have" in text and f"{found.nbytes:,} bytes" in text
    dense = str(sparsec.jit(dense_layer).explain(rand(2, 30), sparsec.constant(MATRIX), BIAS))
    assert "not repacked: w: a library multiplies by it" in dense
    wide = str(run.explain(rand(1, INPUTS, 16, 16), w, BIAS))
    assert "not repacked: w: rows of 16 elements fill vectors themselves" in wide


def test_packing_is_a_choice_and_keeps_the_limit():
    w = sparsec.constant(WEIGHT)
    assert sparsec.jit(layer, choices="pack=0").memory_analysis(IMAGE, w, BIAS).packed_weights == 0
    plan = sparsec.jit(layer).memory_analysis(IMAGE, w, BIAS)
    needs = plan.peak + plan.results + plan.packed_weights
    assert sparsec.jit(layer, choices=f"limit={needs}").memory_analysis(IMAGE, w, BIAS).packed_weights
    tight = sparsec.jit(layer, choices=f"limit={needs - 1}")
    assert tight.memory_analysis(IMAGE, w, BIAS).packed_weights == 0
    assert "the memory limit leaves" in str(tight.explain(IMAGE, w, BIAS))
    np.testing.assert_allclose(tight(IMAGE, w, BIAS), layer(IMAGE, WEIGHT, BIAS), rtol=1e-5, atol=1e-5)
    with pytest.raises(OutOfMemory):
        sparsec.jit(layer, choices="limit=1")(IMAGE, w, BIAS)


def test_without_constants_nothing_changes():
    readonly = WEIGHT.copy()
    readonly.flags.writeable = False
    for w in (WEIGHT, readonly):
        texts = [sparsec.jit(layer, choices=c).trace(IMAGE, w, BIAS).as_text("scheduled") for c in ("", "pack=0")]
        assert texts[0] == texts[1] and "= param 1\n" in texts[0]
    unpacked = sparsec.jit(layer, choices="pack=0").trace(IMAGE, sparsec.constant(WEIGHT), BIAS)
    assert unpacked.as_text("scheduled").replace(f" constant {INPUTS * 9}", "") == texts[0]


def test_text_reads_back():
    function, x, w = CASES["live inputs"]
    stages = sparsec.jit(function).trace(x, sparsec.constant(w), BIAS)
    assert "constant @w" in stages.as_text() and parse(to_text(stages.func)) == stages.func
    program = stages.compilation.scheduled
    text = program_text(program)
    assert " block " in text and "prefetch %w[" in text and parse_program(text) == program
    verify_program(program)


def test_compiled_code_from_the_disk_gets_its_own_copies(tmp_path):
    with settings.override(cache=True, cache_dir=tmp_path):
        for seed in range(3):
            w = sparsec.constant(rand(*WEIGHT.shape, seed=seed))
            run = sparsec.jit(layer)
            np.testing.assert_allclose(run(IMAGE, w, BIAS), layer(IMAGE, w, BIAS), rtol=1e-5, atol=1e-5)
            np.testing.assert_allclose(run(IMAGE, w.copy(), BIAS), layer(IMAGE, w, BIAS), rtol=1e-5, atol=1e-5)


def test_copies_live_as_long_as_the_array():
    before = len(constants._KNOWN)
    w = sparsec.constant(WEIGHT)
    sparsec.jit(layer)(IMAGE, w, BIAS)
    assert len(constants._KNOWN) == before + 1
    del w
    gc.collect()
    assert len(constants._KNOWN) == before
