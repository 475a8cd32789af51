"""Loops, branches and jumps against NumPy: what unrolls and what becomes one op gives the same."""

import math

import numpy as np
import pytest

from tests.programs.harness import backends, check, check_calls, check_refused, ir_text

each_backend = pytest.mark.parametrize("backend", backends("interp", "cpu"))


def grid(*shape):
    return lambda: (np.random.default_rng(5).standard_normal(shape),)


# --- loops over ranges ------------------------------------------------------------------------------------


def time_loop(x):
    for t in range(1, 40):
        x[1:-1] = (x[:-2] + x[1:-1] + x[2:]) / 3.0
        x[0] = t
    return x


def forward_and_backward(x):
    n = x.shape[0]
    for i in range(1, n):
        x[i] = x[i - 1] * 0.5 + x[i]
    for i in range(n - 2, -1, -1):
        x[i] -= 0.25 * x[i + 1]
    return x


def triangle(x):
    total = 0.0
    for i in range(x.shape[0]):
        for j in range(i + 1):
            total += x[i, j]
        for j in range(i + 1, x.shape[1]):
            x[i, j] = -x[j, i]
    return total


def two_buffers(x):
    a = x.copy()
    b = np.empty_like(x)
    for _ in range(25):
        b[0] = a[-1]
        b[1:] = a[:-1] + 0.5
        a, b = b, a
    return a


def swapped_arguments(a, b):
    for k in range(20):
        b[:] = a * 0.5 + k
        a, b = b, a
    return a + b


def written_then_replaced(x):
    for k in range(20):
        x[0] = k + 1.0
        x = x * 2.0
    return x


def pair(x):
    best = (0, x[0])
    for i in range(1, x.shape[0]):
        if x[i] > best[1]:
            best = (i, x[i])
    return best


def rows(a):
    total = np.zeros(a.shape[1])
    for row in a:
        total += row * row
    return total


def numbered(a):
    out = 0.0
    for i, (u, v) in enumerate(zip(a, a[::-1])):
        out += i * u * v
    return out


def backwards(a):
    out = np.zeros(a.shape[0])
    last = 0.0
    for i, v in enumerate(reversed(a)):
        last = last * 0.5 + v
        out[i] = last
    return out


def last_of_body(x):
    for i in range(30):
        row = x * i
    return row


def list_of_results(x):
    parts = []
    for i in range(20):
        parts.append(x * i)
    return sum(parts)


def counting_list(x):
    count = [0]
    for i in range(100):
        count[0] += i
    return x + count[0]


def deep(x):
    total = np.zeros(3)
    for a in range(2):
        for b in range(2):
            for c in range(3):
                for d in range(2):
                    if a - b >= 0:
                        total[c] += x[a, b] * (c + d)
    return total


def layers(x):
    for w in [x * 0.5, x + 1.0, x.T]:
        x = np.tanh(x @ w)
    return x


def doubling(x):
    width = 1
    while width < x.shape[0]:
        x[width:] = x[width:] + x[:-width]
        width *= 2
    return x


def static_while(x):
    i = 0
    while i < 500:
        x[i % 7] += i
        i += 1
    return i


def written_on_a_path_then_replaced(x):
    v = x * 2
    for _ in range(20):
        if x[0] > v[0]:
            v[1:] = 1
        v = x[::-1] + v[[1, 2, 1, 1]] * 0.5
    return v


def names_used_again(x):
    """What a turn calls its row has nothing to do with the row before the loop, nor with that of the turn before."""
    row, low, high = x[0], 0, x.shape[0]
    row += 1
    while low < high:
        row = x[low:high]
        row += 0.5
        middle = (low + high) // 2
        if row[0, 0] > 30:
            high = middle
        else:
            low = middle + 1
    for k in range(low):
        row = x[k]
        row *= 2
    row = x[1]
    row -= 1
    return low, high


PROGRAMS = [
    (time_loop, grid(12)),
    (forward_and_backward, grid(33)),
    (triangle, grid(20, 20)),
    (two_buffers, grid(8)),
    (swapped_arguments, lambda: (np.arange(4.0), np.ones(4))),
    (written_then_replaced, grid(4)),
    (pair, grid(40)),
    (rows, grid(30, 4)),
    (numbered, grid(40)),
    (backwards, grid(30)),
    (last_of_body, grid(3)),
    (list_of_results, grid(3)),
    (counting_list, grid(3)),
    (deep, grid(2, 2)),
    (layers, grid(4, 4)),
    (doubling, grid(20)),
    (static_while, grid(7)),
    (written_on_a_path_then_replaced, grid(4)),
    (names_used_again, grid(20, 4)),
]


@each_backend
@pytest.mark.parametrize("program, arguments", PROGRAMS, ids=lambda p: getattr(p, "__name__", ""))
def test_loops(program, arguments, backend):
    check(program, arguments, backend, rtol=1e-12)


# --- builtins on run-time values -----------------------------------------------------------------------------


def extremes(x):
    n = x.shape[0]
    out = np.zeros(n)
    for i in range(n):
        lo, hi = max(0, i - 2), min(n, i + 3)
        out[i] = x[lo:hi].sum() + max(x[i], 0.5) - min(x[i], x[0], 0.25)
    return out


def of_arrays(x):
    return max(x), min(x), sum(x), any(x > 2.5), all(x < 100.0)


def conversions(x, k):
    cells = np.zeros(8)
    for i in range(x.shape[0]):
        where = int(abs(x[i]) * 3) % 8
        cells[where] += float(i) + round(x[i])
    return cells, int(x[0]), float(k), bool(k), complex(x[0]), divmod(k, 3), pow(k, 2)


def mathematics(x):
    out = np.zeros(x.shape[0])
    for i in range(x.shape[0]):
        out[i] = math.sqrt(abs(x[i])) + math.exp(x[i]) * math.floor(x[i]) - math.atan2(x[i], 2.0)
    return out, math.hypot(x[0], x[1]), math.isnan(x[0]), math.ceil(x[1])


def kinds(x):
    assert isinstance(x, np.ndarray) and type(x) is np.ndarray and isinstance(x[0], np.float64)
    total = 0.0
    for i in reversed(range(len(x))):
        total = total * 0.5 + x[i] * np.int64(i)
    return total


BUILTIN_PROGRAMS = [
    (extremes, grid(30)),
    (of_arrays, grid(40)),
    (conversions, lambda: (np.linspace(-3.2, 4.1, 30), 7)),
    (mathematics, grid(20)),
    (kinds, grid(20)),
]


@each_backend
@pytest.mark.parametrize("program, arguments", BUILTIN_PROGRAMS, ids=lambda p: getattr(p, "__name__", ""))
def test_builtins(program, arguments, backend):
    check(program, arguments, backend, rtol=1e-12)


# --- errors of the program's own -------------------------------------------------------------------------------


def raises(x):
    for i in range(x.shape[0]):
        if x[i] < 0:
            raise ValueError("negative element")
        x[i] = np.sqrt(x[i])
    return x


def asserts(x, limit):
    assert x.ndim == 1
    assert x.max() < limit, "too large"
    return x / limit


@each_backend
def test_errors(backend):
    check(raises, lambda: (np.arange(30.0),), backend)
    check_refused(raises, lambda: (np.arange(30.0) - 3.0,), backend, base=ValueError)
    check(asserts, lambda: (np.arange(30.0), 50.0), backend)
    check_refused(asserts, lambda: (np.arange(30.0), 5.0), backend, base=AssertionError)


# --- jumps -------------------------------------------------------------------------------------------------------


def early_return(x, limit):
    total = 0.0
    for i in range(x.shape[0]):
        total += x[i]
        if total > limit:
            return i, total
    return -1, total


def breaks(x):
    count = 0
    for row in x:
        for v in row:
            if v < -1.0:
                break
            if v < 0:
                continue
            count += 1
        else:
            count += 100
    return count


def while_else(x, limit):
    i, found = 0, -1
    while i < 5:
        if x[i] > limit:
            break
        i += 1
    else:
        found = 7
    return i, found


def newton(c):
    z, turns = c[0], 0
    while True:
        step = (z * z * z - 1.0) / (3.0 * z * z)
        z = z - step
        turns += 1
        if np.abs(step) < 1e-10 or turns == 50:
            break
    return z, turns


def collatz(n):
    steps = 0
    while n != 1:
        n = n // 2 if n % 2 == 0 else 3 * n + 1
        steps += 1
    return steps


def factorial(n):
    return 1 if n <= 1 else n * factorial(n - 1)


def nested(x):
    scale = 2.0

    def add(a, b):
        if b > 0.5:
            return a + b * scale
        return a - b

    total = 0.0
    for v in x:
        total = add(total, v)
    return total * factorial(5)


def interval(x, lo, hi):
    inside = 0
    for v in x:
        if (lo <= v < hi and v != 0.25) or v > 2.0:
            inside += 1
    return inside


def chosen(x, flag):
    y = x * 2.0 if flag > 0 else x - 1.0
    return y.sum()


def pixels(image):
    out = np.zeros_like(image)
    h, w = image.shape
    for i in range(1, h - 1):
        for j in range(1, w - 1):
            best = image[i, j]
            for di in range(-1, 2):
                for dj in range(-1, 2):
                    if image[i + di, j + dj] > best:
                        best = image[i + di, j + dj]
            out[i, j] = best
    return out


def returns_from_blocks(x, n):
    """What follows an `if` that returns is a function of its own: returns out of `with`, `try`, `match` leave it."""
    if n == 0:
        return x
    with np.errstate(all="ignore"):
        if n == 1:
            return x * 2
    try:
        if n == 2:
            return x * 3
    finally:
        x = x + 1
    match n:
        case 3:
            return x * 4
    return x * 5


JUMPS = [
    (early_return, lambda: (np.arange(40.0), 100.0)),
    (early_return, lambda: (np.zeros(40), 1.0)),
    (breaks, grid(20, 6)),
    (while_else, lambda: (np.arange(9.0), 3.0)),
    (while_else, lambda: (np.arange(9.0), 30.0)),
    (newton, lambda: (np.array([0.3 + 1.1j]),)),
    (collatz, lambda: (27,)),
    (nested, grid(30)),
    (interval, lambda: (np.linspace(0, 3, 25), 0.5, 1.5)),
    (chosen, lambda: (np.arange(5.0), 1)),
    (chosen, lambda: (np.arange(5.0), -1)),
    (pixels, grid(18, 19)),
    *((returns_from_blocks, lambda n=n: (np.arange(3.0), int(n))) for n in range(5)),
]


@each_backend
@pytest.mark.parametrize("program, arguments", JUMPS, ids=lambda p: getattr(p, "__name__", ""))
def test_jumps(program, arguments, backend):
    check(program, arguments, backend, rtol=1e-12)


@pytest.mark.parametrize("backend", backends("opencl"))
@pytest.mark.parametrize("program, arguments", [PROGRAMS[1], PROGRAMS[3], PROGRAMS[6], JUMPS[0], JUMPS[-1]],
                         ids=lambda p: getattr(p, "__name__", ""))
def test_on_a_device(program, arguments, backend):
    check(program, arguments, backend, rtol=1e-12)


# --- variables that inner functions and conditions assign, jumps out of `with` --------------------------------


def counted_by_a_helper(x):
    n, total = 0, 0.0

    def add(v):
        nonlocal n, total
        n += 1
        total = total + v

    for i in range(40):
        add(x[i % 4])
        if total > 9:
            return n, i, total
    if x[0] > 0:
        add(x[0])
    return n, -1, total


def counted_two_levels_below(x):
    k = 0.0

    def outer():
        t = 0

        class Adder:
            def add(self, v):
                nonlocal k, t
                k = k + v
                t += 1

        adder = Adder()
        for i in range(20):
            adder.add(x[i % 4])
        return t

    found = 0
    for _ in range(20):
        found += outer()
    return k, found


def breaks_out_of_with(x):
    s = 0.0
    for i in range(6):
        with np.errstate(all="ignore"):
            s += x[i % 4]
            if i == 4:
                break
            if i % 2:
                continue
            for j in range(3):
                if j == 1:
                    break
                s += j
        s += 100
    return s, i


def binds_in_its_condition(x):
    i, s = 0, 0.0
    while (v := x[i % 4] * i) < 8:
        i += 1
        if v > 2:
            continue
        s += v
    return s, i, v


@each_backend
@pytest.mark.parametrize("program", [counted_by_a_helper, counted_two_levels_below, breaks_out_of_with,
                                     binds_in_its_condition])
def test_what_python_binds_elsewhere(program, backend):
    check(program, lambda: (np.array([0.5, -0.25, 0.125, 1.0]),), backend)


# --- errors on one path -------------------------------------------------------------------------------------


def bad_index(x, y):
    if x[0] > 5:
        y[3.5] = 0
    else:
        y[0] = 7
    return y


def bad_number(x, y):
    if x[0] > 5:
        y += 1000
    return y


def bad_shapes(x, y):
    return y if x[0] < 5 else y + np.zeros(7)


def bad_turns(x, y):
    for _ in range(int(x[0])):
        y[:] = np.zeros(7)
    return y


def bad_while(x, y):
    while x[0] > 5:
        y[3.5] = 0
    return y


@each_backend
@pytest.mark.parametrize("f", [bad_index, bad_number, bad_shapes, bad_turns, bad_while])
def test_an_error_on_a_path_that_is_not_taken_is_none(backend, f):
    check_calls(f, [lambda: (np.zeros(2), np.zeros(3, np.uint8)), lambda: (np.full(2, 9.0), np.zeros(3, np.uint8))],
                backend)


def many_ways_out(x, n):
    s = 0.0
    for i in range(n[0]):
        if x[0] > s:
            s += x[i]
            if s > 40:
                break
        s = s * 1.5
        if x[1] > s:
            if x[i] > 3:
                continue
            s = s - 1
        s = s * 1.25
        if x[2] > s:
            s += 2
        elif x[3] < s:
            if x[i] < 0:
                return s, -1
            s -= 0.5
        s = s * 1.125
        if x[4] > s:
            s += x[4]
            if s > 30:
                break
        s = s * 0.5
        if x[5] > s:
            s += 1
            if x[i] > 4:
                return s, i
        s = s * 0.25
    return s, 0


def test_what_follows_a_way_out_is_not_traced_for_each_path():
    values = [3.0, 9.0, 1.0, -2.0, 5.0, 4.5, -1.0, 2.0]
    calls = [lambda k=k, n=n: (np.roll(values, k), np.array([n])) for k in range(8) for n in (8, 0)]
    for backend in backends("interp", "cpu"):
        check_calls(many_ways_out, calls, backend)
    assert ir_text(many_ways_out, np.array(values), np.array([8])).count("value=0.25,") <= 8


def turned_often(x, k):
    for _ in range(3):
        x = np.sqrt(x * x + k) - np.minimum(x, 2) + np.maximum(x, -1) * np.where(x > 1, x, k) + x.mean()
        x = np.abs(x - x.mean()) * (x.max() - x.min()) + np.floor(x / 3) - np.ceil(x / 5) + x.std()
        x = np.clip(x, -9, 9) + np.sin(x) * np.cos(x) + np.exp(-x * x) + np.log1p(np.abs(x)) - x.var()
    return x


def test_a_short_range_is_a_loop_if_the_program_would_be_long():
    def short(x):
        for k in range(5):
            x = x * k + 1
        return x

    def long(x):
        for k in range(5):
            x = turned_often(x, k)
        return x

    def listed(x):
        seen = []
        for k in range(5):
            seen.append(k)
            x = turned_often(x, k)
        return x, seen

    x = np.linspace(-1.0, 2.0, 7)
    assert "= for" not in ir_text(short, x)
    assert ir_text(long, x).count("= for") == 1
    check(long, lambda: (x.copy(),), "interp")
    check(listed, lambda: (x.copy(),), "interp")  # which no loop can express: it is taken apart from the beginning
