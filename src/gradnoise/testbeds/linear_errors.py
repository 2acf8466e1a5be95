"""On linear gradients: how far SVAG is from the SDE, and why the SDE is not SGD, exactly and at every step."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from gradnoise.testbeds.linear_gradients import (
    LinearRun,
    Moments,
    noisy_gd_moments,
    sde_moments,
    sgd_moments,
    svag_moments,
)


def weak_errors(run: LinearRun, l: int) -> Float[np.ndarray, " order"]:
    """max_t |E x_t^p - E X_t^p| of SVAG(l) against the SDE, over effective steps; entry p of (order + 1,).

    >>> run = LinearRun(learning_rate=0.4, num_steps=10)
    >>> np.round(weak_errors(run, 64)[1:] / weak_errors(run, 128)[1:], 1)              # falls as 1/l
    array([2., 2., 2., 2.])

    Raises ValueError for l below 1.

    Source: Li, Malladi, Arora, "On the Validity of Modeling SGD with Stochastic Differential Equations", definition 4.2
    (there over substeps); docs/theory/weak_order.md, whose numbers are the errors at the last step.
    """
    return np.abs(svag_moments(run, l) - sde_moments(run)).max(axis=0)


class Decomposition(NamedTuple):
    """E X^p - E x^p of SDE and SGD in two parts, (num_steps + 1, order + 1) each."""

    discretization: Moments
    non_gaussian: Moments


def decomposition(run: LinearRun) -> Decomposition:
    """E X^p - E x^p = [SDE - noisy gradient descent] + [noisy gradient descent - SGD], exactly.

    The second part is zero for p = 1, 2: it begins with the third cumulant of the gradients.

    >>> decomposition(LinearRun(learning_rate=0.4, num_steps=10)).discretization[-1, 1:].round(5)
    array([ 0.01472, -0.02126, -0.01767, -0.03183])

    Source: Li, Malladi, Arora, "On the Validity of Modeling SGD with Stochastic Differential Equations", eq (4);
    docs/theory/weak_order.md.
    """
    noisy = noisy_gd_moments(run)
    return Decomposition(sde_moments(run) - noisy, noisy - sgd_moments(run))
