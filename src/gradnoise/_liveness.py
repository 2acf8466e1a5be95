"""How many bytes a function needs beside its inputs: a walk over its jaxpr, nothing compiled."""

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jax.extend import core


def working_bytes(function: Callable[..., Any], *shapes: Any) -> int:
    """The largest sum of live intermediate and output arrays, in bytes, of `function` at arguments of these shapes.

    Every equation's result counts from its birth to its last use. The compiler fuses and reuses more than that, and
    sometimes copies: an estimate to within a factor of about two.
    """
    return _peak(jax.make_jaxpr(function)(*shapes).jaxpr)


def array_bytes(tree: Any) -> int:
    """The bytes of all leaves (arrays, shapes with dtypes or abstract values)."""
    return sum(_bytes(leaf) for leaf in jax.tree.leaves(tree))


def _peak(jaxpr: Any) -> int:
    equations, last_use = _needed(jaxpr), {}
    for position, equation in enumerate(equations):
        last_use |= {variable: position for variable in _variables(equation.invars)}
    last_use |= {variable: len(equations) for variable in _variables(jaxpr.outvars)}
    inputs = {*jaxpr.invars, *jaxpr.constvars}
    live, now, peak = {}, 0, 0
    for position, equation in enumerate(equations):
        born = {variable: _bytes(variable.aval) for variable in equation.outvars}
        inner = max((_peak(inside) for inside in _inner(equation)), default=0)
        now += sum(born.values())
        live |= born
        peak = max(peak, now + inner)
        done = {v for v in (*_variables(equation.invars), *equation.outvars) if last_use.get(v, -1) <= position}
        now -= sum(live.pop(variable, 0) for variable in done - inputs)
    return peak


def _needed(jaxpr: Any) -> list[Any]:
    """The equations on which an output depends: the compiler drops the others."""
    wanted, kept = set(_variables(jaxpr.outvars)), []
    for equation in reversed(jaxpr.eqns):
        if wanted.intersection(equation.outvars):
            wanted.update(_variables(equation.invars))
            kept.append(equation)
    return kept[::-1]


def _inner(equation: Any) -> list[Any]:
    found = []
    for parameter in equation.params.values():
        for value in parameter if isinstance(parameter, (tuple, list)) else (parameter,):
            if isinstance(value, core.ClosedJaxpr):
                found.append(value.jaxpr)
            elif isinstance(value, core.Jaxpr):
                found.append(value)
    return found


def _variables(atoms: Any) -> list[Any]:
    return [atom for atom in atoms if not isinstance(atom, core.Literal)]


def _bytes(leaf: Any) -> int:
    shape, dtype = getattr(leaf, "shape", ()), getattr(leaf, "dtype", None)
    return int(np.prod(shape, dtype=np.int64)) * int(getattr(dtype, "itemsize", 8))
