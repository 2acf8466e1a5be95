"""The stabilized Takeuchi term: how far the test loss will stand above the training loss after T steps of descent."""

import math
from functools import partial
from typing import Any

import jax
import numpy as np

from gradnoise import _checks, _tree
from gradnoise._types import Key, Params
from gradnoise.estimate import Estimate, exact, from_samples
from gradnoise.predict.takeuchi_forms import DENSE_FORMS, flat_problem, probed_takeuchi
from gradnoise.problem import Loss, Problem, require_pool, require_problem

DENSE_LIMIT = 1000
"""Most weights for which the hessian is formed unless probes are asked for."""
NUM_PROBES, DEPTH = 30, 30


def takeuchi_term(
    problem: Problem,
    params: Params,
    learning_rate: float,
    num_steps: int,
    weight_decay: float = 0.0,
    *,
    form: str = "takeuchi",
    num_probes: int | None = None,
    depth: int | None = None,
    key: Key | None = None,
) -> Estimate:
    """(1/N) tr[C phi_T(H + lam I)]: the expected gap test - train after T steps of descent with weight decay lam.

        phi_T(h) = eta sum_{t<T} (1 - eta h)^t = (1 - (1 - eta h)^T)/h,    eta T at h = 0;  1/h for T -> inf: Takeuchi's

    The problem's pool is the training set: C its unbiased covariance S2 of one example's gradient, H the hessian of its
    mean loss, lam = `weight_decay`, in addition to any penalty inside the loss. Unit: loss. Leading order in 1/N, for H
    and C constant along the run. At fitted weights with fewer examples than weights C and H are far too small, and so is
    the term; `form="removal"` takes each example out of what it was fitted by (`dense_removal`), up to 1000 weights.

    Up to 1000 weights it is exact. Beyond, or with `num_probes` and `key`, random signs s give a = sum_i s_i (g_i - gbar)
    / (n-1)^(1/2), whose E a a^T is C, and Lanczos of `depth` (default 30; exact from T/2 on) gives a.phi_T(H) a: `stderr`
    is that over probes, and in quadrature what the last step of Lanczos changed. Cost a probe: `depth` hessian products.

    >>> import gradnoise as gn
    >>> pool = np.array([-1.0, 1.0, -1.0, 1.0])
    >>> problem = gn.from_arrays(lambda w, x: w**2 / 2 + x * w, lambda key: np.float64(0.0), pool)
    >>> takeuchi_term(problem, 0.0, learning_rate=0.5, num_steps=2)               # (4/3) (1 - 1/4) / 4
    Estimate(0.25 +- 0, num_samples=4)

    Raises ValueError without a pool or with one example, for an unknown form, where "removal" has no value, without a key
    for probes or with one for none; TypeError if `problem` is no Problem.

    Source: diagrams.md section 3, "Regularizer for hyperparameters"; Takeuchi 1976 for T -> infinity.
    """
    require_problem(problem)
    pool = require_pool(problem, "takeuchi_term")
    rate = _checks.number("learning_rate", learning_rate, above=0)
    steps = _checks.integer("num_steps", num_steps, minimum=0)
    decay = _checks.number("weight_decay", weight_decay, minimum=0)
    formula = DENSE_FORMS[_checks.one_of("form", form, DENSE_FORMS)]
    with jax.enable_x64(True):
        loss, flat, examples = flat_problem(problem, params)
        size = _tree.num_examples(pool)
        if num_probes is None and (len(flat) <= DENSE_LIMIT or form != "takeuchi"):
            require_dense(len(flat))
            if key is not None:
                raise ValueError(
                    "key has no meaning without num_probes: the term is exact. Leave it out, or give both."
                )
            found = float(_compiled_dense(formula, loss, rate, steps, flat, decay, examples))
            if form == "removal" and math.isnan(found):
                raise ValueError(
                    'form="removal" has no value here: without one of the examples the quadratic model has no minimum. '
                    "Give more weight_decay or more examples."
                )
            return exact(found, size)
        if form != "takeuchi":
            raise ValueError(f"form={form!r} came with num_probes={num_probes}, and it is exact. Leave num_probes out.")
        probes = NUM_PROBES if num_probes is None else _checks.integer("num_probes", num_probes, minimum=2)
        wanted = DEPTH if depth is None else _checks.integer("depth", depth, minimum=2)
        if key is None:
            raise ValueError("key is missing, expected a random key: probes are random. Give jax.random.key(0), say.")
        signs = jax.random.rademacher(_checks.random_key("key", key), (probes, size), float)
        wanted = min(len(flat), max(2, min(wanted, -(-steps // 2))))
        found = np.asarray(_compiled_probed(loss, rate, steps, wanted, flat, decay, examples, signs))
    mean = from_samples(found[:, 0])
    return Estimate(mean.value, np.hypot(mean.stderr, np.mean(found[:, 0] - found[:, 1])), probes)


def require_dense(num_weights: int) -> None:
    """Raise ValueError, in a sentence, for more weights than a hessian is formed for."""
    if num_weights > DENSE_LIMIT:
        raise ValueError(
            f"params holds {num_weights} weights, expected at most {DENSE_LIMIT} where the hessian is formed. Use a smaller "
            'model, or compare a grid of settings by takeuchi_term with probes and form="takeuchi".'
        )


@partial(jax.jit, static_argnums=(0, 1, 2, 3))
def _compiled_dense(
    formula: Any, loss: Loss, rate: float, steps: int, flat: Any, decay: Any, examples: Any
) -> jax.Array:
    return formula(loss, rate, steps, flat, decay, examples)


_compiled_probed = jax.jit(probed_takeuchi, static_argnums=(0, 1, 2, 3))
