"""Training labels that are wrong on purpose: gradients of a fitted network then keep their noise."""

from dataclasses import replace

import numpy as np

from gradnoise import _checks
from gradnoise.problem import Problem, from_arrays, require_pool


def with_label_noise(problem: Problem, share: float, seed: int = 0) -> Problem:
    """The problem with `share` of its pool's labels drawn anew, uniform over the classes; the test pool stays as it is.

    The pool is a mapping with integer labels "y". Without a test pool the test loss is over the noisy labels.

    >>> import gradnoise as gn
    >>> clean = gn.testbeds.problem("digits-logistic")
    >>> noisy = with_label_noise(clean, 0.5)
    >>> round(float(np.mean(noisy.pool["y"] != clean.pool["y"])), 1)                      # 0.5 * 9/10
    0.5

    Raises ValueError for a share outside [0, 1), without a pool, or for a pool without integer labels.
    """
    share = _checks.number("share", share, minimum=0.0, below=1.0)
    pool = require_pool(problem, "with_label_noise")
    labels = np.asarray(pool["y"]) if isinstance(pool, dict) and "y" in pool else np.zeros(0)
    if labels.dtype.kind not in "iu" or labels.ndim != 1:
        raise ValueError(
            f'label noise={share:g} came with a pool without integer labels "y", expected classification. Leave it out.'
        )
    random = np.random.default_rng(_checks.integer("seed", seed, minimum=0))
    drawn = random.integers(0, int(labels.max()) + 1, size=len(labels)).astype(labels.dtype)
    noisy = {**pool, "y": np.where(random.random(len(labels)) < share, drawn, labels)}
    made = from_arrays(problem.loss, problem.init, noisy)
    return replace(problem, pool=made.pool, sample=made.sample, name=f"{problem.name}, {share:.0%} label noise")
