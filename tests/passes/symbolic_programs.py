"""Random programs whose extents and offsets are integers that the program computes, in loops and branches too.

Such an integer is no operand of the ops that need it: it must live as long as anything with its dim does.
"""

import random

import numpy as np

from sparsec.ir.builder import Builder
from sparsec.ir.dims import sym
from sparsec.ir.graph import Region, Value
from sparsec.ir.ops.control import control_op
from sparsec.ir.types import F64, I64, TensorType

SIZE = 8


class Program:
    """`arrays` are the newest versions of arrays of SIZE; `counts` integers in 0..SIZE."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.b = Builder()
        self.arrays = [self.b.param(TensorType(F64, (SIZE,)), name) for name in "xy"]
        self.counts = [self.b.param(TensorType(I64, ()), name) for name in ("k", "m")]
        self.computed = []  # of run-time length
        for _ in range(self.rng.randint(3, 10)):
            self.step()

    def integer(self, value):
        return self.b.const(value, TensorType(I64, ()))

    def count(self):
        """An integer in 0..SIZE, often a new one."""
        if self.rng.random() < 0.5:
            made = self.b.op("add", self.rng.choice(self.counts), self.rng.choice(self.counts))
            made = self.b.op("minimum", made, self.integer(self.rng.randint(2, SIZE)))
            self.counts.append(made)
        return self.rng.choice(self.counts[-3:])

    def head(self, array, count):
        """The first or the last `count` elements, forwards or backwards."""
        n = sym(f"%{count.name}", SIZE)
        offset, stride = self.rng.choice([(0, 1), (SIZE - n, 1), (SIZE - 1, -1)])
        return self.b.op("view", array, offset=offset, shape=(n,), strides=(stride,))

    def step(self):
        kind = self.rng.random()
        if kind < 0.3:
            self.compute()
        elif kind < 0.5:
            self.write()
        elif kind < 0.65:
            self.reduce()
        elif kind < 0.8:
            self.loop()
        elif kind < 0.9:
            self.branch()
        else:
            self.arrays.append(self.b.op("neg", self.rng.choice(self.arrays)))

    def compute(self):
        count = self.count()
        one, other = (self.head(self.rng.choice(self.arrays), count) for _ in range(2))
        self.computed.append((count, self.b.op(self.rng.choice(["add", "maximum"]), one, other)))

    def write(self, number=None):
        number = self.rng.randrange(len(self.arrays)) if number is None else number
        if self.computed and self.rng.random() < 0.6:
            count, value = self.rng.choice(self.computed)
        else:
            count = self.count()
            value = self.b.op("neg", self.head(self.rng.choice(self.arrays), count))
        region = self.head(self.arrays[number], count)
        self.arrays[number] = self.b.op("update", self.arrays[number], region, value)

    def reduce(self):
        value = self.rng.choice(self.computed)[1] if self.computed else self.head(self.arrays[0], self.count())
        total = self.b.op("sum", value, axes=(0,))
        least = self.b.op("minimum", self.b.op("cast", total, dtype=I64), self.integer(SIZE))
        self.counts.append(self.b.op("maximum", least, self.integer(0)))

    def inside(self, change):
        """A region in which `change` replaces self.arrays[0]; gives its ops."""
        outer, kept = self.b.ops, (list(self.arrays), list(self.counts), list(self.computed))
        self.b.ops = []
        change()
        ops, last = tuple(self.b.ops), self.arrays[0]
        self.b.ops = outer
        self.arrays, self.counts, self.computed = kept
        return ops, last

    def loop(self):
        """for i in range(count): write to x, at i or up to a count."""
        stop, count = self.count(), self.count()
        before = self.arrays[0]
        counter = Value(self.b.names.fresh("i"), TensorType(I64, ()))
        version = Value(self.b.names.fresh("s"), before.type.with_ref(before.ref))
        at = sym(f"%{counter.name}", SIZE - 1)

        def turn():
            self.arrays[0] = version
            if self.rng.random() < 0.5:
                region = self.b.op("view", version, offset=at, shape=(), strides=())
                value = self.b.op("sum", self.head(self.arrays[1], count), axes=(0,))
            else:
                region = self.head(version, count)
                value = self.b.op("neg", self.head(version, count))
            self.arrays[0] = self.b.op("update", version, region, value)
            if self.rng.random() < 0.5:
                self.write(0)

        ops, last = self.inside(turn)
        region = Region((counter, version), ops, (last,))
        bounds = (self.integer(0), stop, self.integer(1), before)
        op = control_op("for", bounds, [region], [self.b.names.fresh()])
        self.b.ops.append(op)
        self.arrays[0] = op.results[0]

    def branch(self):
        test = self.b.op("less", self.count(), self.count())
        before = self.arrays[0]

        def change():
            region = self.head(before, self.count())
            self.arrays[0] = self.b.op("update", before, region, self.b.op("neg", region))

        regions = [Region((), *_yielding(self.inside(step))) for step in (change, lambda: None)]
        op = control_op("if", (test,), regions, [self.b.names.fresh()])
        self.b.ops.append(op)
        self.arrays[0] = op.results[0]

    def func(self):
        results = [self.b.op("sum", v, axes=(0,)) for _, v in self.computed] + self.arrays[2:] + self.counts[2:]
        writes = [v for v, p in zip(self.arrays[:2], self.b.params) if v is not p]
        return self.b.func("f", tuple(results), tuple(writes))


def _yielding(inside):
    ops, last = inside
    return ops, (last,)


def random_symbolic_program(seed):
    """A function and its arguments."""
    func = Program(seed).func()
    rng = np.random.default_rng(seed)
    arrays = [np.asarray(rng.integers(-2, 3, SIZE), "f8") for _ in range(2)]
    return func, [*arrays, *(np.asarray(rng.integers(0, SIZE), "i8") for _ in range(2))]
