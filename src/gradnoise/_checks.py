"""Sentences for wrong input: what was expected, what came, what to do.

JAX and numpy are imported by the checks that need them: pure Python modules use the others.
"""

import math
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Integral
from typing import Any

from gradnoise._types import Key, PyTree


def integer(name: str, value: Any, minimum: int = 1, maximum: int | None = None) -> int:
    """`value` as an int from `minimum` to `maximum`; numpy integers are welcome, booleans and floats are not."""
    wanted = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(
            f"{name}={value!r} is not an integer but a {type(value).__name__}. Give a whole number {wanted}."
        )
    result = int(value)
    if result < minimum:
        raise ValueError(f"{name}={result} is below {minimum}. Give a whole number {wanted}.")
    if maximum is not None and result > maximum:
        raise ValueError(f"{name}={result} is above {maximum}. Give a whole number {wanted}.")
    return result


def number(
    name: str, value: Any, minimum: float = -math.inf, above: float = -math.inf, below: float = math.inf
) -> float:
    """`value` as a finite float, at least `minimum`, greater than `above` and less than `below`."""
    ends = {"of at least": minimum, "above": above, "below": below}
    told = [f"{words} {end:g}" for words, end in ends.items() if math.isfinite(end)]
    bound = " " + " and ".join(told) if told else ""
    try:
        if isinstance(value, (bool, str)) or getattr(value, "ndim", 0) != 0:
            raise TypeError
        result = float(value)
    except TypeError:
        raise TypeError(f"{name}={value!r} is not a number. Give one finite number{bound}.") from None
    if not math.isfinite(result) or result < minimum or result <= above:
        raise ValueError(f"{name}={result:g} does not do. Give one finite number{bound}.")
    if result >= below:
        raise ValueError(f"{name}={result:g} is not below {below:g}. Give one finite number{bound}.")
    return result


def one_of(name: str, value: Any, choices: Iterable[str]) -> str:
    """`value` if it is among `choices`; otherwise an error that lists them and the nearest one."""
    known = list(choices)
    if isinstance(value, str) and value in known:
        return value
    near = get_close_matches(str(value), known, n=1)
    hint = f" Did you mean {near[0]!r}?" if near else ""
    raise ValueError(f"{name}={value!r} is unknown. Choose one of {', '.join(map(repr, known))}.{hint}")


def random_key(name: str, key: Any) -> Key:
    """`key` if it is one JAX random key."""
    import jax
    import numpy as np

    is_new = isinstance(key, jax.Array) and jax.numpy.issubdtype(key.dtype, jax.dtypes.prng_key)
    is_old = isinstance(key, (jax.Array, np.ndarray)) and key.dtype == np.uint32 and key.ndim >= 1
    if is_new and key.shape == ():
        return key
    if is_old and key.ndim == 1:
        return jax.random.wrap_key_data(jax.numpy.asarray(key))
    raise TypeError(f"{name}={_short(key)} is not one random key. Give jax.random.key(0), say.")


def floating_tree(name: str, tree: PyTree) -> None:
    """Raise unless `tree` has leaves, all of them finite floating arrays."""
    import jax
    import numpy as np

    leaves = jax.tree_util.tree_leaves_with_path(tree)
    if not leaves:
        raise ValueError(f"{name} holds no arrays. Give a pytree of floating arrays, problem.init(key), say.")
    for path, leaf in leaves:
        place = name + jax.tree_util.keystr(path)
        array = np.asarray(leaf) if not isinstance(leaf, jax.Array) else leaf
        if not jax.numpy.issubdtype(array.dtype, np.floating):
            raise TypeError(f"{place} has dtype {array.dtype}, expected a floating array. Convert it to float first.")
        if not bool(np.all(np.isfinite(np.asarray(array)))):
            raise ValueError(f"{place} holds NaN or infinity, expected finite numbers. Clean it or start elsewhere.")


def stacked_examples(name: str, examples: PyTree) -> int:
    """The common leading length of all leaves of `examples`; raises if there is none, or if a value is not finite."""
    import jax
    import numpy as np

    leaves = jax.tree_util.tree_leaves_with_path(examples)
    if not leaves:
        raise ValueError(f"{name} holds no arrays. Give arrays whose leading axis counts the examples.")
    lengths = {}
    for path, leaf in leaves:
        place, array = name + jax.tree_util.keystr(path), np.asarray(leaf)
        if array.dtype == object or array.dtype.kind in "USV":
            raise TypeError(f"{place} has dtype {array.dtype}, expected numbers. Convert it to a numeric array first.")
        if array.ndim == 0:
            raise ValueError(f"{place} is a single number, expected an array with a leading axis of examples.")
        if array.dtype.kind in "fc" and not np.all(np.isfinite(array)):
            raise ValueError(f"{place} holds NaN or infinity, expected finite numbers. Remove or mend those examples.")
        lengths[place] = len(array)
    if len(set(lengths.values())) > 1:
        told = ", ".join(f"{place} has {length}" for place, length in lengths.items())
        raise ValueError(f"{name}: lengths differ ({told}). Give arrays that share one leading axis of examples.")
    (length,) = set(lengths.values())
    if length == 0:
        raise ValueError(f"{name} holds no examples. Give at least one.")
    return length


def _short(value: Any) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."
