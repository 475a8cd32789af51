"""Loops and branches over sparse values: what they hand on keeps its channels, or is whole, with the reason."""

import linecache

import numpy as np
import pytest

import sparsec
from sparsec import nn
from sparsec.passes.base import run_pipeline
from sparsec.passes.channels.flow import Flow
from sparsec.passes.pipeline import parse_pipeline
from sparsec.passes.propagate import propagate_with_reasons
from sparsec.sparse import ChannelSparse, from_dense

BACKENDS = ("interp", "cpu", pytest.param("opencl", marks=pytest.mark.slow))


def either(x, y, n):
    if n > 2:
        z = x * 2
    else:
        z = nn.relu(x)
    return z


def either_channels(x, y, n):
    return x * 2 if n > 2 else y - 1 * y * y


def early(x, y, n):
    if n > 2:
        return x
    return x + y


def repeated(x, y, n):
    for _ in range(n):
        x = nn.relu(x) * 0.5 + x
    return x


def summed(x, y, n):
    total = np.zeros(x.shape, x.dtype)
    for k in range(n):
        total += x * k
        total = total + y
    return total


def grows(x, y, n):
    z = x * 1
    for k in range(n):
        if k == 1:
            z = z + y
    return z


def swapped(x, y, n):
    for _ in range(n):
        x, y = y, x * 2
    return x - y


def until(x, y, n):
    turns = 0
    while turns < n + 9 and np.abs(x).sum() < 100:
        x = x * 2
        turns += 1
    return x, y * turns


def nested(x, y, n):
    z = np.zeros_like(x)
    for i in range(n):
        for j in range(i + 1):
            if j % 2 == 0:
                z = z + x
            else:
                z = z - y * x
        if z.sum() > 1000:
            break
    return z


def rows(x, y, n):
    z = np.zeros_like(x)
    for k in range(n):
        z[:, :, k % 4] = x[:, :, k % 4] * 2
    return z


def joined(x, y, n):
    if n > 2:
        z = np.concatenate([x, y], 1)
    else:
        z = np.concatenate([y, x * 2], 1)
    return z[:, 2:]


def blurred(x, y, n):
    for _ in range(n):
        x = nn.avg_pool2d(nn.pad(x, (1, 1, 1, 1)), 3, stride=1)
    return x * y


def written_channel(x, y, n):
    z = x * 2
    if n > 2:
        z[:, 3:] += 1
    return z


def written_rows(x, y, n):
    """Ways that leave other channels than there were, each its own."""
    z = x * 2
    if n > 2:
        z[:, :, 0] = y[:, :, 0]
        z[:, :, 1] *= 3
    else:
        z[:, 1, 0] = 1
    return z


def written_copy(x, y, n):
    z, t = y * 1, x * 2
    if n > 2:
        z[...] = t
        z[:, :, 0] *= 3
    return z, t


def known_outside(x, y, n):
    """What a loop asks of an index first, others ask for behind it."""
    z = y * 2
    for _ in range(n):
        z = np.abs(y)
        z[:, 0:1] += y[:, 0:1]
    return y + y * z


KEPT = (either, either_channels, early, repeated, summed, grows, swapped, until, nested, rows, joined, blurred,
        written_channel, written_rows, written_copy, known_outside)


def offset(x, y, n):
    for _ in range(n):
        x = x + 0.5
    return x


def one_way_whole(x, y, n):
    if n > 2:
        z = x + 1
    else:
        z = x * 1
    return z


def other_axis(x, y, n):
    if n > 2:
        z = x.transpose(0, 2, 1, 3)
    else:
        z = y * 1
    return z


def over_channels(x, y, n):
    for _ in range(n):
        x = x - x.max(axis=1, keepdims=True)
    return x


def written_whole(x, y, n):
    z = x + 1
    if n > 2:
        z[:, :2] = 3
        z *= x * 2
    return z


def replaced(x, y, n):
    z = x * 1
    if n > 2:
        z[:, :, 1:] += 2
    else:
        z *= 0.5
        z = x + 3
    return z


def carried_whole(x, y, n):
    z = x * 2
    z += 0.5
    for _ in range(n):
        z *= x
        z[:, :, 0] += 2
    return z


WHOLE = (offset, one_way_whole, other_axis, over_channels, written_whole, replaced, carried_whole)


def arguments(a, b, seed=0):
    rng = np.random.default_rng(seed)
    return [from_dense(rng.standard_normal((1, 4, 4, 4)).astype("f4"), keep=k, ratio=0.25) for k in (a, b)]


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("program", [*KEPT, *WHOLE], ids=lambda p: p.__name__)
def test_control_flow_over_channels(program, backend):
    compiled = sparsec.jit(program, backend=backend)
    for number, (a, b, n) in enumerate([([0, 2], [1, 2], 3), ([0, 1, 3], [], 1), ([], [1], 5), ([2], [2], 0)]):
        x, y = arguments(a, b, number)
        found = compiled(x, y, np.int64(n))
        wanted = program(x.to_dense(), y.to_dense(), n)
        for got, want in zip(*(v if isinstance(v, tuple) else (v,) for v in (found, wanted)), strict=True):
            assert isinstance(got, ChannelSparse) == (program in KEPT)
            np.testing.assert_allclose(np.asarray(got), want, rtol=1e-5, atol=1e-5)
    assert compiled.specialisations == 1


@pytest.mark.parametrize("backend", BACKENDS)
def test_an_argument_is_written_in_place(backend):
    def accumulate(out, x, n):
        for _ in range(n):
            out += x
        if n > 1:
            out[:, 1] = 0
        return x * out

    (x, _), out = arguments([0, 1], []), np.ones((1, 4, 4, 4), "f4")
    wanted, mine = out.copy(), out.copy()
    result = sparsec.jit(accumulate, backend=backend)(mine, x, np.int64(3))
    masked = accumulate(wanted, x.to_dense(), 3)
    np.testing.assert_allclose(mine, wanted, rtol=1e-6)
    np.testing.assert_allclose(result.to_dense(), masked, rtol=1e-6)


def reasons_of(program):
    stages = sparsec.jit(program).trace(*arguments([0, 2], [1]), np.int64(1))
    before = run_pipeline(stages.func, parse_pipeline("canonicalize,whole-writes,fold,cse,dce"))
    made, reasons = propagate_with_reasons(before)
    return made, [r.reason for r in reasons]


@pytest.mark.parametrize(("program", "words"), [
    (one_way_whole, "the ways of a branch leave arrays that do not go together"),
    (over_channels, "a loop changes which channels there are, or what the others hold"),
])
def test_why_control_flow_makes_whole(program, words):
    assert words in reasons_of(program)[1]


def test_what_a_loop_needs_of_outside_is_taken_before_it():
    def scaled(x, scale, n):
        for _ in range(n):
            x = x * scale[:, None, None]
        return x

    x, _ = arguments([0, 2], [1])
    text = sparsec.jit(scaled).trace(x, np.ones(4, "f4"), np.int64(2)).as_text("propagate")
    assert "spread" not in text
    assert text.index("take_channels") < text.index("= for ") and text.count("take_channels") == 1


def test_layers_in_branches_keep_channels_apart():
    def step(x, w, gamma, beta, mean, var, n):
        if n > 0:
            y = nn.batch_norm(nn.conv2d(x, w, padding=1), mean, var, gamma, beta)
        else:
            y = nn.conv2d(x, w, beta, padding=1)
        return nn.relu(y)

    rng = np.random.default_rng(3)
    x, _ = arguments([0, 2], [1])
    w = from_dense(rng.standard_normal((6, 4, 3, 3)).astype("f4"), keep=[1, 4], axis=0)
    vectors = [rng.uniform(0.5, 1, 6).astype("f4") for _ in range(4)]
    compiled = sparsec.jit(step)
    for n in (0, 1):
        y = compiled(x, w, *vectors, np.int64(n))
        want = step(x.to_dense(), w.to_dense(), *vectors, n)
        assert y.index.tolist() == [1, 4]
        np.testing.assert_allclose(y.data, want[:, [1, 4]], rtol=1e-5, atol=1e-6)


def nest(depth):
    """A loop over `depth` loops, each around the next; what they carry begins with no channel."""
    lines = ["def nest(x, y, n):", "    z = np.zeros_like(x)"]
    lines += [f"{'    ' * (d + 1)}for i{d} in range(n):" for d in range(depth)]
    source = "\n".join([*lines, f"{'    ' * (depth + 1)}z = z * 0.5 + x * y + y", "    return z", ""])
    name = f"<nest of {depth}>"
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    found = {"np": np}
    exec(compile(source, name, "exec"), found)
    return found["nest"]


def test_nests_are_not_walked_over_and_over(monkeypatch):
    """What an inner loop carries is known when an outer one is walked again: work grows with the square of depth."""
    walked = []
    add = Flow.add
    monkeypatch.setattr(Flow, "add", lambda self, op: (walked.append(op), add(self, op)))

    def work(depth):
        func = sparsec.jit(nest(depth)).trace(*arguments([0, 2], [1]), np.int64(2)).func
        walked.clear()
        propagate_with_reasons(func)
        return len(walked)

    assert work(4) < 5 * work(2)
