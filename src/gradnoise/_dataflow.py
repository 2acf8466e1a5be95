"""A jaxpr unrolled into the graph of its values: what moves with the weights, and what reaches the result."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend.core import ClosedJaxpr, Jaxpr, Literal

NEVER_NEGATIVE = frozenset({"exp", "exp2", "square", "abs", "logistic", "cosh"})
KEEP_SIGN = frozenset(  # nothing negative comes of these when no operand is negative
    """broadcast_in_dim convert_element_type copy reshape squeeze transpose slice dynamic_slice rev concatenate select_n
    reduce_sum reduce_prod reduce_max reduce_min cumsum add add_any mul div max min sqrt pow dot_general""".split()  # noqa: SIM905
)
FOLDED = {"add": np.add, "sub": np.subtract, "mul": np.multiply, "div": np.divide, "max": np.maximum}


@dataclass(eq=False)
class Value:
    """A value: the operation it comes from and its operands; `chooser` selects among them where it is set.

    `constant`: its one number, where known; `nonnegative`: it is never below zero; `label`: the custom-derivative
    function it lies in; `format`: exponent and mantissa bits of a reduced precision.
    """

    operation: str
    operands: Sequence["Value"]
    dtype: Any
    chooser: "Value | None" = None
    constant: Any = None
    nonnegative: bool = False
    label: str = ""
    format: tuple[int, int] | None = None

    @property
    def floating(self) -> bool:
        """Whether it is a real or complex number rather than an integer, a truth value or a random key."""
        return bool(jnp.issubdtype(self.dtype, jnp.inexact))

    @property
    def sources(self) -> list["Value"]:
        """The operands, and the chooser."""
        return [*self.operands, *([] if self.chooser is None else [self.chooser])]


class Dataflow:
    """The values of a function of (params, example), in order, and which of them matter.

    `dependent`: moves with the weights by any path; `differentiable`: by a path of floating values that avoids
    stop_gradient and choosers; `needed`: reaches the result by such a path. Calls are entered (jit, checkpoint, cond,
    custom derivatives but for those named in `opaque`), loop bodies once, with what they carry joined to itself.
    """

    def __init__(self, function: Callable[..., Any], params: Any, example: Any, opaque: Iterable[str] = ()) -> None:
        closed = jax.make_jaxpr(function)(params, example)
        inputs = [Value("input", (), var.aval.dtype) for var in closed.jaxpr.invars]
        self.opaque = frozenset(opaque)
        self.values: list[Value] = []
        results = self._unroll(closed.jaxpr, [*map(_constant, closed.consts), *inputs], "")
        users: dict[Value, list[Value]] = {}
        paths: dict[Value, list[Value]] = {}
        for value in self.values:
            for source in value.sources:
                users.setdefault(source, []).append(value)
            for operand in value.operands if value.floating and value.operation != "stop_gradient" else ():
                paths.setdefault(operand, []).append(value)
        weights = inputs[: len(jax.tree.leaves(params))]
        moving = reachable(weights, users)
        telling = {source: [u for u in found if not _harmless(u, moving)] for source, found in users.items()}
        back = {v: [s for s in v.operands if s.operation != "stop_gradient"] for v in self.values if v.floating}
        self.dependent, self.differentiable = reachable(weights, telling), reachable(weights, paths)
        self.needed = reachable([v for v in results if v.operation != "stop_gradient"], back)

    def _add(self, operation: str, operands: Sequence[Value], dtype: Any, **known: Any) -> Value:
        value = Value(operation, operands, dtype, **known)
        value.constant = _folded(value)
        value.nonnegative = _is_nonnegative(value)
        self.values.append(value)
        return value

    def _unroll(self, jaxpr: Jaxpr, arguments: Sequence[Value], label: str) -> list[Value]:
        """The values of the jaxpr's results; `arguments` are its constants and inputs."""
        known: dict[Any, Value] = dict(zip([*jaxpr.constvars, *jaxpr.invars], arguments, strict=True))

        def read(atom: Any) -> Value:
            return _constant(atom.val) if isinstance(atom, Literal) else known[atom]

        for eqn in jaxpr.eqns:
            outputs = self._apply(eqn, [read(atom) for atom in eqn.invars], label)
            known.update(zip(eqn.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def _call(self, inner: Any, operands: Sequence[Value], label: str) -> list[Value]:
        constants = [_constant(value) for value in inner.consts] if isinstance(inner, ClosedJaxpr) else []
        return self._unroll(_open(inner), [*constants, *operands], label)

    def _apply(self, eqn: Any, operands: list[Value], label: str) -> list[Value]:
        name, parameters = eqn.primitive.name.replace("-", "_"), eqn.params
        dtypes = [var.aval.dtype for var in eqn.outvars]
        if name in ("scan", "while", "cond"):
            control = {"scan": self._scan, "while": self._while, "cond": self._cond}[name]
            return control(parameters, operands, dtypes, label)
        if name == "select_n":
            return [self._add(name, operands[1:], dtypes[0], chooser=operands[0], label=label)]
        inner = next((parameters[key] for key in ("jaxpr", "call_jaxpr", "fun_jaxpr") if key in parameters), None)
        function = _open(inner).debug_info.func_name if inner is not None and name.startswith("custom_") else ""
        if inner is not None and function not in self.opaque and len(_open(inner).invars) == len(operands):
            return self._call(inner, operands, label or ("" if "<" in function else function))
        form = (parameters["exponent_bits"], parameters["mantissa_bits"]) if name == "reduce_precision" else None
        if name == "integer_pow" and parameters["y"] % 2 == 0:
            name = "square"
        return [self._add(name, operands, dtype, label=label, format=form) for dtype in dtypes]

    def _cond(self, parameters: Mapping[str, Any], operands: list[Value], dtypes: list[Any], label: str) -> list[Value]:
        branches = [self._call(branch, operands[1:], label) for branch in parameters["branches"]]
        results = zip(zip(*branches, strict=True), dtypes, strict=True)
        return [self._add("cond", cases, dtype, chooser=operands[0], label=label) for cases, dtype in results]

    def _scan(self, parameters: Mapping[str, Any], operands: list[Value], dtypes: list[Any], label: str) -> list[Value]:
        first, last = parameters["num_consts"], parameters["num_consts"] + parameters["num_carry"]
        carry = [self._add("carry", [v], d) for v, d in zip(operands[first:last], dtypes, strict=False)]
        results = self._call(parameters["jaxpr"], [*operands[:first], *carry, *operands[last:]], label)
        for value, result in zip(carry, results, strict=False):
            value.operands = [*value.operands, result]
        return [*carry, *results[len(carry) :]]

    def _while(
        self, parameters: Mapping[str, Any], operands: list[Value], dtypes: list[Any], label: str
    ) -> list[Value]:
        first, last = parameters["cond_nconsts"], parameters["cond_nconsts"] + parameters["body_nconsts"]
        carry = [self._add("carry", [v], d) for v, d in zip(operands[last:], dtypes, strict=True)]
        (goes_on,) = self._call(parameters["cond_jaxpr"], [*operands[:first], *carry], label)
        results = self._call(parameters["body_jaxpr"], [*operands[first:last], *carry], label)
        for value, result in zip(carry, results, strict=True):
            value.operands = [*value.operands, result]
        return [self._add("while", [v], v.dtype, chooser=goes_on, label=label) for v in carry]


def reachable(start: Iterable[Value], links: Mapping[Value, Sequence[Value]]) -> set[Value]:
    """All values that `links` lead to from `start`, which is among them."""
    found, ends = set(start), list(start)
    while ends:
        new = [value for value in links.get(ends.pop(), ()) if value not in found]
        found.update(new)
        ends.extend(new)
    return found


def _open(jaxpr: Any) -> Jaxpr:
    return jaxpr.jaxpr if isinstance(jaxpr, ClosedJaxpr) else jaxpr


def _constant(value: Any) -> Value:
    dtype = value.dtype if hasattr(value, "dtype") else np.result_type(value)
    known = np.size(value) == 1 and any(jnp.issubdtype(dtype, kind) for kind in (np.bool_, np.integer, jnp.floating))
    number = np.asarray(value).reshape(()) if known else None
    return Value("constant", (), dtype, constant=number, nonnegative=number is not None and not number < 0)


def _folded(value: Value) -> Any:
    """The value as one number where it is made of known ones by the few operations of FOLDED."""
    numbers = [operand.constant for operand in value.operands]
    if not numbers or any(number is None for number in numbers):
        return None
    if value.operation in ("convert_element_type", "broadcast_in_dim", "copy"):
        return numbers[0]
    with np.errstate(all="ignore"):
        return FOLDED[value.operation](*numbers) if value.operation in FOLDED else None


def _is_nonnegative(value: Value) -> bool:
    if value.constant is not None:
        return not value.constant < 0
    if value.operation in NEVER_NEGATIVE or (value.operation == "mul" and value.operands[0] is value.operands[1]):
        return True
    return value.operation in KEEP_SIGN and all(operand.nonnegative for operand in value.operands)


def _harmless(test: Value, moving: set[Value]) -> bool:
    """A truth value that differs on single points at most: is finite, is NaN, equals something fixed."""
    if test.operation == "is_finite":
        return True
    if test.operation not in ("eq", "ne") or not all(operand.floating for operand in test.operands):
        return False
    a, b = test.operands
    return a is b or a not in moving or b not in moving
