"""Runs a function the long way (passes, lowering, loop interpreter) and compares with the short one."""

import numpy as np

from sparsec.ir.dims import evaluate
from sparsec.ir.interp import _Frame, interpret
from sparsec.ir.loop_interp import run
from sparsec.ir.tensorref import TensorRef, span
from sparsec.passes.base import run_pipeline
from sparsec.passes.lower import lower_program
from sparsec.passes.pipeline import DEFAULT, UNOPTIMISED

PIPELINES = {"default": DEFAULT, "unoptimised": UNOPTIMISED}


def check_everywhere(func, args, *, orders=("forward", "reverse"), compare=np.testing.assert_array_equal):
    """Every pass keeps the meaning, and so does the lowered program, whatever the order of parallel loops."""
    with np.errstate(all="ignore"):
        wanted = interpret(func, args)
        for passes in PIPELINES.values():
            def same_meaning(step, new):
                for have, want in zip(flat(interpret(new, args)), flat(wanted), strict=True):
                    compare(have, want)

            planned = run_pipeline(func, passes, verify=True, observe=same_meaning)
            program = lower_program(planned)
            for order in orders:
                have = run_program(program, planned, args, order)
                for one, other in zip(flat(have), flat(wanted), strict=True):
                    compare(one, other)


def flat(outcome):
    results, writes = outcome
    return [*results, *writes]


def run_program(program, func, args, order="forward"):
    """What the program gives for results and written storages; raises where it fails."""
    storages = {}
    for param, arg in zip(func.params, args, strict=True):
        data = np.array(arg).reshape(-1).copy().view(np.uint8)
        if len(data) >= len(storages.get(param.storage, b"")):
            storages[param.storage] = data
    memory = {}
    pointers = []
    for slot in program.slots:
        if slot.role == "param":
            data = storages[func.params[slot.position].storage]
        elif slot.role == "result":
            data = np.zeros(slot.buffer.size * slot.buffer.dtype.itemsize, np.uint8)
        else:
            continue
        memory[slot.buffer.name] = data
        pointers.append(data)
    status, _ = run(program, pointers, order, uninitialised=True)
    assert status == 0, program.failures[status - 1]
    frame = _Frame({})
    frame.bind_params(func.params, args)  # what named dims are in this call
    results = [elements(memory[v.storage], v, frame.dims) for v in func.results]
    return results, [memory[v.storage].view(v.type.dtype) for v in func.writes]


def elements(data, value, dims=None):
    """The array that a result's type says lies in these bytes; `dims` are the symbols of the type."""
    flat, ref = data.view(value.type.dtype), value.ref
    shape = tuple(evaluate(d, dims or {}) for d in value.type.shape)
    if 0 in shape:
        return np.zeros(shape, value.type.dtype)
    strides = tuple(evaluate(s, dims or {}) for s in ref.strides)
    ref = TensorRef(ref.storage, evaluate(ref.offset, dims or {}), strides)
    assert span(ref, shape)[1] <= flat.size
    strides = [s * flat.itemsize for s in ref.strides]
    return np.lib.stride_tricks.as_strided(flat[ref.offset :], shape, strides)
