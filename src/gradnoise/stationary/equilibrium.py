"""Whether a run with weight decay is at equilibrium: the balance of decay against gradient noise, with errors.

From a problem to the batch size above which linear scaling must fail:

>>> import jax, gradnoise as gn
>>> from gradnoise import dynamics, stationary
>>> problem = gn.testbeds.problem("angle-toy")
>>> params, grid = problem.init(None), gn.Spacetime(2, 1, sampling="with_replacement", num_steps=600)
>>> groups = stationary.scale_invariant_groups(problem, params)
>>> records = dynamics.equilibrium_records(problem, grid, groups)
>>> process = gn.sgd(problem, weight_decay=0.05)
>>> runs = gn.simulate(process, params, grid, 0.5, 4, jax.random.key(0), records, training_set="given")
>>> R, G, N, _ = (runs.observables[name] for name in records)
>>> stationary.equilibrium_identity(R, G, N, learning_rate=0.5, weight_decay=0.05, window=(200, 600)).conclusion
'equilibrium'
>>> averages = stationary.stationary_averages(R, G, N, window=(200, 600))
>>> both = {"G": averages.signal, "N": averages.noise, "covariance": averages.covariance[1, 2]}
>>> round(float(gn.critical_batch(**both, batch_size=1).sharp.value), 3)                  # 2 + N/G, N/G = 25/9
4.778
>>> stationary.scaling_up_must_fail(**both, kappa=8).must_fail
True
"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from numpy.typing import ArrayLike

from gradnoise import _checks
from gradnoise.bootstrap import RatioOfMeans, ratio_of_means, time_averages
from gradnoise.estimate import Estimate
from gradnoise.stationary.averages import in_window

PROCESSES = ("sgd", "svag", "noisy_gd", "sde")
TOLERANCE = 0.05
"""The share of the balance that a drift of R may take in a run called stationary."""


class EquilibriumIdentity(NamedTuple):
    """Both sides of the balance over a window, and whether it is one of equilibrium; see `equilibrium_identity`."""

    left: Estimate
    """decay + drift."""
    right: Estimate
    """What the gradients put in."""
    ratio: RatioOfMeans
    """left/right with an interval; 1 is inside if the run obeys its identity."""
    decay: Estimate
    """What the weight decay takes out: (2 - eta wd) wd R and its like."""
    drift: Estimate
    """(R_end - R_start)/(n eta); its error is that of two far records at equilibrium."""
    conclusion: str
    """"equilibrium", or "not yet: ...", or "cannot tell: ..."."""

    @property
    def drift_share(self) -> Estimate:
        """drift/right: the error made by leaving the drift out, as the equilibrium identity does."""
        return Estimate(
            self.drift.value / self.right.value, self.drift.stderr / abs(self.right.value), self.drift.num_samples
        )


def equilibrium_identity(
    squared_norm: ArrayLike,
    signal: ArrayLike,
    noise: ArrayLike,
    learning_rate: float,
    weight_decay: float,
    window: tuple[int, int] | None = None,
    every: int = 1,
    process: str = "sgd",
    num_substeps: int | None = None,
    order: int = 1,
    level: float = 0.95,
    tolerance: float = TOLERANCE,
) -> EquilibriumIdentity:
    """The balance of |x|^2 of a scale-invariant loss over a window, and whether |x|^2 has stopped drifting.

    With R = |x|^2, G = |grad L|^2, N = tr Sigma of one batch, averaged over the n steps of the window, eta the learning
    rate, wd the coupled weight decay, and drift = (R_end - R_start)/(n eta):

        sgd, noisy_gd       (2 - eta wd) wd R + drift    = eta (G + N)
        svag(l), sde(m)     (2 - eta wd/l) wd R + drift  = eta N + (eta/l) G             m in place of l
        sde                 2 wd R + drift               = eta N                         num_substeps=None
        sde(m), order 2     (2 + eta wd - eta wd/m) wd R + drift = eta N + eta (1 + 1/m) G    m = infinity if None

    R, G, N: series (record,) or (replica, record), recorded every `every` effective steps, of the data loss without
    weight decay, restricted to scale-invariant groups. The averages run over steps t0, ..., t1 - 1; between records they
    are interpolated. `num_substeps` is l or m. The first row is exact in the mean, step by step, so with the drift both
    sides agree in any window, stationary or not, if the loss is scale-invariant and there is no momentum: `ratio` tests
    that. The others are exact over substeps, and here, where R is seen once a step, up to eta wd of the drift; order 2
    leaves out eta^2/m. `conclusion` is about the drift: "equilibrium" if its share of the right side plus two standard
    errors is below `tolerance`; "not yet" if the share is above it and above two errors; else "cannot tell", as in a
    window of less than 20 autocorrelation times of R.

    >>> R = np.full(1001, 2.0)                                                 # 2 wd R = eta (G + N), nearly
    >>> noise = 19.99 + np.random.default_rng(0).normal(size=1001)
    >>> found = equilibrium_identity(R, np.ones(1001) - 0.99, noise, learning_rate=0.001, weight_decay=0.005)
    >>> found.left, found.ratio.contains(1.0), found.conclusion
    (Estimate(0.0199999 +- 0, num_samples=1000), True, 'equilibrium')

    Raises ValueError for an unknown process, settings that the process has not, a window outside the records, series
    that differ in shape, fewer than 3 records, weight_decay or learning_rate not positive.

    Source: Li, Malladi, Arora 2021, eqs (11), (12); SVAG, order 2 and the finite window: docs/theory/equilibrium.md, ours.
    """
    rate = _checks.number("learning_rate", learning_rate, above=0.0)
    decay_rate = _checks.number("weight_decay", weight_decay, above=0.0)
    tolerance = _checks.number("tolerance", tolerance, above=0.0)
    coefficient, signal_share = _balance(process, num_substeps, order, rate, decay_rate)
    R, G, N = in_window({"squared_norm": squared_norm, "signal": signal, "noise": noise}, window, every)
    taken_out = coefficient * decay_rate * _between(R, every)
    drift = np.diff(R, axis=-1) / (every * rate)
    put_in = rate * (_between(N, every) + signal_share * _between(G, every))
    ratio = ratio_of_means(taken_out + drift, put_in, level, at_least=R)
    sides = time_averages(taken_out, put_in, at_least=R)
    drifted = _drift(R, every * rate * (R.shape[-1] - 1), sides.num_samples)
    left = Estimate(sides.value[0] + drifted.value, sides.stderr[0], sides.num_samples)
    return EquilibriumIdentity(
        left, sides[1], ratio, sides[0], drifted, _conclusion(drifted, sides[1], ratio.warning, tolerance)
    )


def _balance(process: str, num_substeps: int | None, order: int, rate: float, decay: float) -> tuple[float, float]:
    """The coefficient of wd R and the weight of eta G."""
    _checks.one_of("process", process, PROCESSES)
    order = _checks.integer("order", order, maximum=2)
    if order == 2 and process != "sde":
        raise ValueError(f'order=2 came with process={process!r}, expected "sde". Leave order out.')
    if num_substeps is not None and process in ("sgd", "noisy_gd"):
        raise ValueError(f"num_substeps={num_substeps} came with process={process!r}, which has one. Leave it out.")
    if num_substeps is None and process == "svag":
        raise ValueError('num_substeps is missing: process="svag" needs its l. Give num_substeps=4, say.')
    part = 1.0 if process in ("sgd", "noisy_gd") else 0.0
    if num_substeps is not None:
        part = 1 / _checks.integer("num_substeps", num_substeps)
    if order == 2:
        return 2 + rate * decay * (1 - part), 1.0 + part
    return 2 - rate * decay * part, part


def _between(series: Float[np.ndarray, "replica record"], every: int) -> Float[np.ndarray, "replica interval"]:
    """The mean over the steps t, ..., t + every - 1 between two records, of a straight line through them."""
    first, last = (every + 1) / (2 * every), (every - 1) / (2 * every)
    return first * series[:, :-1] + last * series[:, 1:]


def _drift(R: Float[np.ndarray, "replica record"], time: float, num_samples: int) -> Estimate:
    """(R_end - R_start)/time over replicas; the error is that of two independent records of R."""
    error = float(R.std()) * np.sqrt(2 / len(R))
    return Estimate(float((R[:, -1] - R[:, 0]).mean()) / time, error / time, num_samples)


def _conclusion(drift: Estimate, right: Estimate, warning: str, tolerance: float) -> str:
    share, error = abs(float(drift.value / right.value)), float(drift.stderr / abs(right.value))
    told = f"{share:.1%} +- {error:.1%} of what the gradients put in"
    word = "grows" if drift.value > 0 else "shrinks"
    if share > tolerance and share > 2 * error:
        return f"not yet: R still drifts by {told}: it {word}. Start the window later."
    if warning:
        return f"cannot tell: {warning}"
    if share + 2 * error > tolerance:
        return f"cannot tell: R {word} by {told}, which fluctuation may explain. Take a longer window."
    return "equilibrium"
