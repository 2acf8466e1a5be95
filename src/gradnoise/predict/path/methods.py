"""Which method predicts a path, and with how many probes."""

from typing import Any

from gradnoise import _checks
from gradnoise.predict.path.setting import Setting

METHODS = ("dense", "probes", "rows")
DENSE_LIMIT = 1000
"""Most weights for which the dense form is taken unless asked for."""
NUM_PROBES = 100


def choose_method(method: str | None, setting: Setting, methods: tuple[str, ...] = METHODS) -> str:
    """`method` checked; by default "dense" up to 1000 weights without hessian damping, else "probes"."""
    damping = setting.motion.hessian_damping
    if method is None:
        return "dense" if setting.num_weights <= DENSE_LIMIT and not damping else "probes"
    _checks.one_of("method", method, methods)
    if method == "dense" and damping:
        others = " or ".join(f'"{name}"' for name in methods if name != "dense")
        raise ValueError(f"hessian_damping={damping:g} is not in the dense form. Use method={others}.")
    return method


def read_probes(num_probes: int | None, key: Any, needed: bool) -> int:
    """How many probes; raises ValueError if a key is `needed` and missing."""
    if needed and key is None:
        raise ValueError("key is missing, expected a random key: probes draw examples. Give jax.random.key(0), say.")
    if key is not None:
        _checks.random_key("key", key)
    return NUM_PROBES if num_probes is None else _checks.integer("num_probes", num_probes, minimum=2)
