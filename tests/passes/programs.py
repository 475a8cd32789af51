"""Random straight-line programs: views of views, overlapping and aliased writes, reductions, gathers."""

import math
import random

import numpy as np

from sparsec.ir.builder import Builder
from sparsec.ir.types import F32, F64, I64, TensorType


def random_view(rng, b, value):
    """A view of `value`, up to two steps away."""
    for _ in range(rng.randint(0, 2)):
        shape = value.type.shape
        kind = rng.random()
        if kind < 0.5 and shape:
            value = b.op("slice", value, **random_slice(rng, shape))
        elif kind < 0.7 and len(shape) >= 2:
            value = b.op("transpose", value, perm=tuple(rng.sample(range(len(shape)), len(shape))))
        elif kind < 0.85:
            try:
                value = b.op("reshape", value, shape=(math.prod(shape),))
            except ValueError:
                continue  # it would have to copy
        else:
            lead = (rng.choice([1, 2]),) if rng.random() < 0.3 else ()
            spread = tuple(d if d != 1 or rng.random() < 0.5 else rng.randint(1, 3) for d in shape)
            value = b.op("broadcast", value, shape=lead + spread)
    return value


def random_slice(rng, shape):
    start, size, step = [], [], []
    for dim in shape:
        stride = rng.choice([1, 1, 1, 2, -1, -2])
        count = rng.randint(0 if rng.random() < 0.1 else min(1, dim), dim) if rng.random() < 0.8 else dim
        count = min(count, -(-dim // abs(stride)))
        if count == 0:
            start, size, step = [*start, 0], [*size, 0], [*step, 1]
            continue
        reach = (count - 1) * abs(stride)
        first = rng.randint(0, dim - 1 - reach)
        start, size, step = [*start, first + (reach if stride < 0 else 0)], [*size, count], [*step, stride]
    return {"start": tuple(start), "size": tuple(size), "step": tuple(step)}


class Program:
    """A function under construction: `newest` are the versions of all its storages."""

    def __init__(self, seed):
        self.rng = random.Random(seed)
        self.b = Builder()
        self.dtype = self.rng.choice([F64, F32, I64])
        self.newest = [self.param(n) for n in range(self.rng.randint(1, 3))]
        self.params = len(self.newest)
        for _ in range(self.rng.randint(1, 9)):
            self.step()

    def param(self, number):
        shape = tuple(self.rng.choice([1, 2, 3, 4, 5]) for _ in range(self.rng.choice([1, 2, 2, 3, 0])))
        return self.b.param(TensorType(self.dtype, shape), f"p{number}")

    def view(self):
        return random_view(self.rng, self.b, self.rng.choice(self.newest))

    def scalar(self, value):
        return self.b.const(value, TensorType(self.dtype, ()))

    def step(self):
        kind = self.rng.random()
        if kind < 0.35:
            self.newest.append(self.elementwise(self.view()))
        elif kind < 0.8:
            self.write()
        elif kind < 0.9:
            self.reduce(self.view())
        elif kind < 0.95:
            value = tuple(range(6)) if self.rng.random() < 0.5 else 3
            self.newest.append(self.b.const(value, TensorType(self.dtype, (2, 3))))
        else:
            self.gather(self.view())

    def elementwise(self, x):
        name = self.rng.choice(["add", "mul", "maximum", "copy", "neg", "abs"])
        if name in ("copy", "neg", "abs"):
            return self.b.op(name, x)
        y = self.view()
        if y.type.shape not in (x.type.shape, ()) and x.type.shape != ():
            y = self.scalar(self.rng.choice([2, 3, -1])) if self.rng.random() < 0.5 else x
        return self.b.op(name, x, y)

    def write(self):
        number = self.rng.randrange(len(self.newest) if self.rng.random() < 0.5 else self.params)
        version = self.newest[number]
        region = random_view(self.rng, self.b, version)
        if any(s == 0 and d != 1 for s, d in zip(region.ref.strides, region.type.shape)):
            return  # read-only
        found = [random_view(self.rng, self.b, v) for v in self.newest for _ in range(6)]
        found = [v for v in found if v.type.shape in (region.type.shape, ())]
        value = self.rng.choice(found) if found else self.scalar(7)
        if self.rng.random() < 0.5:
            value = self.b.op("add", value, self.scalar(1))
        self.newest[number] = self.b.op("update", version, region, value)

    def reduce(self, x):
        axes = tuple(a for a in range(x.type.rank) if self.rng.random() < 0.6) or (0,)
        name = self.rng.choice(["max", "sum", "min"])
        if x.type.rank == 0 or (name != "sum" and any(x.type.shape[a] == 0 for a in axes)):
            return
        self.newest.append(self.b.op(name, x, axes=axes))

    def gather(self, x):
        if x.type.rank != 1 or x.type.shape[0] == 0:
            return
        rows = tuple(self.rng.randrange(x.type.shape[0]) for _ in range(3))
        self.newest.append(self.b.op("gather", x, self.b.const(rows, TensorType(I64, (3,)))))

    def func(self):
        fresh = [v for v in self.newest[self.params :] if self.rng.random() < 0.6]
        results = [random_view(self.rng, self.b, v) for v in fresh]
        if self.rng.random() < 0.3:
            results.append(random_view(self.rng, self.b, self.newest[0]))
        writes = [v for v, p in zip(self.newest, self.b.params) if v is not p]
        return self.b.func("f", tuple(results), tuple(writes))


def random_program(seed):
    """A function and its arguments."""
    func = Program(seed).func()
    rng = np.random.default_rng(seed)
    args = [np.asarray(rng.integers(-3, 4, p.type.shape)).astype(p.type.dtype) for p in func.params]
    return func, args
