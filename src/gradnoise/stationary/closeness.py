"""How close two stationary runs are: the smallest C of C-closeness and of linear-scaling invariance, with intervals."""

import math
from collections.abc import Mapping
from typing import NamedTuple

from scipy import stats

from gradnoise import _checks
from gradnoise.estimate import Estimate, fieller_interval
from gradnoise.stationary.averages import StationaryAverages


class Interval(NamedTuple):
    """A value between two ends."""

    value: float
    low: float
    high: float


class Closeness(NamedTuple):
    """The smallest C >= 1 with all ratios in [1/C, C], and the ratios; intervals hold for all of them at once."""

    smallest: Interval
    ratios: Mapping[str, Interval]
    level: float

    def holds(self, closeness: float) -> bool | None:
        """Whether the runs are C-close for C = `closeness`: True, False, or None where the interval leaves it open."""
        closeness = _checks.number("closeness", closeness, above=1.0)
        if self.smallest.high <= closeness:
            return True
        return False if self.smallest.low > closeness else None


def c_closeness(sgd: StationaryAverages, sde: StationaryAverages, level: float = 0.95) -> Closeness:
    """The smallest C for which SGD and its SDE are C-close: R/Rbar, G/Gbar and eta N/Nbar all in [1/C, C].

    The bars are the averages along the SDE, Nbar = E tr(eta Sigma); here `sde.noise` is E tr Sigma of one batch, as
    `equilibrium_records` gives it, and eta divides out. The runs are independent. The three ratios' intervals are
    Fieller's, each at 1 - (1 - level)/3, so that all hold at once, and the interval of C with them: conservative.

    >>> run = lambda R, G, N: StationaryAverages(*(Estimate(x, 0.0, 1) for x in (R, G, N)), None)
    >>> c_closeness(run(2.0, 0.5, 1.0), run(1.0, 1.0, 1.5)).smallest
    Interval(value=2.0, low=2.0, high=2.0)

    Raises ValueError for a level outside (0, 1) or averages that are not positive.

    Source: Li, Malladi, Arora 2021, eq (8); the interval is ours.
    """
    pairs = {
        "R/Rbar": (sgd.squared_norm, sde.squared_norm, 1.0),
        "G/Gbar": (sgd.signal, sde.signal, 1.0),
        "eta N/Nbar": (sgd.noise, sde.noise, 1.0),
    }
    return _closeness(pairs, level)


def linear_scaling_invariance(
    baseline: StationaryAverages, scaled: StationaryAverages, kappa: float, level: float = 0.95
) -> Closeness:
    """The smallest C of (C, kappa)-invariance: R/R', N/(kappa N') and G/G' all in [1/C, C].

    The prime is for the run whose learning rate and batch are kappa times the baseline's; N' is of one of its own
    batches. The definition asks for C < sqrt(kappa). Intervals as in `c_closeness`.

    >>> run = lambda R, G, N: StationaryAverages(*(Estimate(x, 0.0, 1) for x in (R, G, N)), None)
    >>> found = linear_scaling_invariance(run(1.0, 1.0, 4.0), run(1.5, 1.0, 1.0), kappa=4)
    >>> found.smallest.value, found.ratios["R/R'"].value
    (1.5, 0.666...)

    Raises ValueError for kappa not above 1, a level outside (0, 1), averages not positive.

    Source: Li, Malladi, Arora 2021, eq (13); the interval is ours.
    """
    kappa = _checks.number("kappa", kappa, above=1.0)
    pairs = {
        "R/R'": (baseline.squared_norm, scaled.squared_norm, 1.0),
        "G/G'": (baseline.signal, scaled.signal, 1.0),
        "N/(kappa N')": (baseline.noise, scaled.noise, kappa),
    }
    return _closeness(pairs, level)


def _closeness(pairs: Mapping[str, tuple[Estimate, Estimate, float]], level: float) -> Closeness:
    level = _checks.number("level", level, above=0.0, below=1.0)
    each = 1 - (1 - level) / len(pairs)
    ratios = {name: _independent_ratio(name, *pair, each) for name, pair in pairs.items()}
    value = max(_size(ratio.value) for ratio in ratios.values())
    low = max(1.0 if r.low <= 1 <= r.high else min(_size(r.low), _size(r.high)) for r in ratios.values())
    high = max(_size(end) for ratio in ratios.values() for end in ratio[1:])
    return Closeness(Interval(value, low, high), ratios, level)


def _independent_ratio(name: str, first: Estimate, second: Estimate, factor: float, level: float) -> Interval:
    """first / (factor second) of independent runs."""
    if not (first.value > 0 and second.value > 0):
        raise ValueError(
            f"{name} is {first.value:g} over {second.value:g}, expected two positive averages. Run longer."
        )
    value = float(first.value / (factor * second.value))
    samples = [one.num_samples for one in (first, second) if one.stderr > 0]
    if not samples:
        return Interval(value, value, value)
    t = float(stats.t.ppf((1 + level) / 2, max(min(samples) - 1, 1)))
    spreads = float(first.stderr) ** 2, float(factor * second.stderr) ** 2
    return Interval(value, *fieller_interval(float(first.value), float(factor * second.value), *spreads, 0.0, t))


def _size(ratio: float) -> float:
    """The smallest C with the ratio in [1/C, C]."""
    return max(ratio, 1 / ratio) if ratio > 0 else math.inf
