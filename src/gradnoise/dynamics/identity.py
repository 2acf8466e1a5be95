"""What makes a run the run it is: arguments, numbers, the functions as traced, versions, kind of machine."""

import hashlib
import platform
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

from gradnoise._types import PyTree
from gradnoise.dynamics.plan import Layout, Shapes
from gradnoise.dynamics.replica import Setup
from gradnoise.dynamics.runner import Inputs, one_run
from gradnoise.dynamics.runs import Runs

ADDRESS = re.compile(r" at 0x[0-9a-f]+")
DIGEST = "sha256 "
"""How a value begins that stands for numbers or operations too many to show."""
NAMES = ("name", "source_info")
"""Parameters of an equation that change no number."""


def identity(setup: Setup, inputs: Inputs, plan: Layout, runs: Runs, steps: range) -> dict[str, str | int]:
    """Name -> text or number, all that the last bits of a run depend on; two runs are the same if these are equal.

    Arrays and functions stand as hashes. Of loss, process and observables the traced operations count, not their
    text: renaming changes nothing, another constant does.
    """
    import gradnoise

    devices = jax.local_devices()
    return {
        "gradnoise_version": gradnoise.__version__,
        "jax_version": jax.__version__,
        "device": devices[0].device_kind,
        "num_devices": len(devices),
        "machine": platform.machine(),
        "problem": setup.process.problem.name,
        "process": setup.process.name,
        "settings": ADDRESS.sub("", str(setup.process.settings)),
        "spacetime": str(setup.spacetime),
        "training_set": setup.training_set,
        "dtype": setup.dtype,
        "num_test_draws": setup.num_test_draws,
        "num_replicas": len(runs.number),
        "replica_numbers": "in order"
        if np.array_equal(runs.number, np.arange(len(runs.number)))
        else digest(runs.number),
        "rate_scales": digest(runs.rate_scale),
        "every": steps.step,
        "observe": str([name for name, _ in setup.observe]),
        "params": digest(inputs.params),
        "learning_rate": digest(inputs.rates),
        "key": digest(inputs.keys),
        "pool": digest(inputs.data.pool),
        "test_pool": digest(inputs.data.test_pool),
        "chunk_width": plan.width,
        "block_steps": plan.block_steps,
        "evaluation_block": plan.evaluation_block,
        **_functions(setup, Shapes.of(inputs), plan),
    }


def differing(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """The names under which two identities differ, in their order.

    >>> differing({"dtype": "float32", "every": 1}, {"dtype": "float64", "every": 1})
    ['dtype']
    """
    return [name for name in dict.fromkeys([*one, *other]) if one.get(name) != other.get(name)]


def digest(tree: PyTree) -> str:
    """A hash of a tree's structure, shapes, dtypes and numbers, as text."""
    leaves, structure = jax.tree.flatten(tree)
    return DIGEST + _hashed([ADDRESS.sub("", str(structure)), *map(_array_bytes, leaves)])


@lru_cache(maxsize=64)
def _functions(setup: Setup, shapes: Shapes, plan: Layout) -> dict[str, str]:
    """What begins, moves and records a run, each traced at these shapes."""
    single, inputs = one_run(setup, plan.block_steps, plan.evaluation_block), shapes.tree()
    step = jax.ShapeDtypeStruct((), jnp.int32)
    run = jax.eval_shape(single.begin, inputs, Runs(step))
    traced = {"start": jax.make_jaxpr(single.begin)(inputs, Runs(step))}
    if setup.spacetime.num_steps:
        block = jax.eval_shape(single.draw, inputs, run, step)
        traced["draws"] = jax.make_jaxpr(single.draw)(inputs, run, step)
        traced["step"] = jax.make_jaxpr(single.advance)(inputs, run, block, step, (step, step))
    traced["records"] = jax.make_jaxpr(single.record)(inputs, run, step)
    return {f"function of the {name}": DIGEST + _hashed([_program(program)]) for name, program in traced.items()}


def _program(program: ClosedJaxpr | Jaxpr) -> bytes:
    """A hash of the operations and constants of a traced function, however its parts were named or shared."""
    jaxpr = program.jaxpr if isinstance(program, ClosedJaxpr) else program
    constants = program.consts if isinstance(program, ClosedJaxpr) else []
    numbers: dict[Any, int] = {}

    def told(atoms: Iterable[Any]) -> list[str | bytes]:
        return [
            _array_bytes(atom.val)
            if isinstance(atom, Literal)
            else f"{numbers.setdefault(atom, len(numbers))}{atom.aval}"
            for atom in atoms
        ]

    parts = [*map(_array_bytes, constants), *told(jaxpr.constvars), *told(jaxpr.invars)]
    for equation in jaxpr.eqns:
        parts += [equation.primitive.name, *told(equation.invars), "->", *told(equation.outvars)]
        parts += [part for name in sorted(equation.params) for part in (name, _parameter(name, equation.params[name]))]
    return _hashed([*parts, *told(jaxpr.outvars)]).encode()


def _parameter(name: str, value: Any) -> str | bytes:
    if isinstance(value, (ClosedJaxpr, Jaxpr)):
        return _program(value)
    if isinstance(value, (tuple, list)):
        return _hashed([_parameter(name, part) for part in value])
    if isinstance(value, (np.ndarray, jax.Array)):
        return _array_bytes(value)
    if isinstance(value, (set, frozenset)):
        return _hashed(sorted(str(part) for part in value))  # their order differs from process to process
    return "" if name in NAMES or callable(value) else ADDRESS.sub("", str(value))


def _array_bytes(leaf: Any) -> bytes:
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        return str(leaf.dtype).encode() + _array_bytes(jax.random.key_data(leaf))
    array = np.asarray(leaf)
    return f"{array.dtype}{array.shape}".encode() + np.ascontiguousarray(array).tobytes()


def _hashed(parts: Iterable[str | bytes]) -> str:
    found = hashlib.sha256()
    for part in parts:
        raw = part.encode() if isinstance(part, str) else part
        found.update(f"{len(raw)}:".encode())
        found.update(raw)
    return found.hexdigest()[:16]
