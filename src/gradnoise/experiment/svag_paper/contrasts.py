"""Pairs of processes with one key, compared replica by replica: differences, one band, and a sentence."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from gradnoise.dynamics import Simulation
from gradnoise.estimate import Estimate, from_samples
from gradnoise.experiment.simultaneous import (
    POWER,
    detectable_size,
    largest_size,
    rounding_size,
    simultaneous_band,
)

LEVEL = 0.95


@dataclass(frozen=True, eq=False)
class Contrasts:
    """Differences other - base of one observable for each of `pairs`, shape (pair, record), with errors over replicas.

    `band` bounds |difference - true difference| in standard errors over all pairs and steps at once, with the chance
    `level`; `rounding` is what single precision alone may make of a difference, in the observable's units.

    >>> differences = Estimate(np.array([[0.0, -0.5]]), np.array([[0.0, 0.1]]), 100)
    >>> found = Contrasts("test_loss", (("GD", "SGD"),), np.array([0, 5]), differences, np.ones((1, 2)), 2.0, 1e-7)
    >>> found.differs(0), found.size(0)
    (True, (0.3, 0.7))
    """

    observable: str
    pairs: tuple[tuple[str, str], ...]
    steps: Int[np.ndarray, " record"] = field(repr=False)
    differences: Estimate = field(repr=False)
    base: Float[np.ndarray, "pair record"] = field(repr=False)
    band: float
    rounding: float
    level: float = LEVEL

    @property
    def errors(self) -> Float[np.ndarray, "pair record"]:
        """Standard errors, widened by rounding."""
        return np.hypot(self.differences.stderr, self.rounding)

    @property
    def z(self) -> Float[np.ndarray, "pair record"]:
        """Differences in standard errors."""
        return np.asarray(self.differences.value) / self.errors

    def differs(self, pair: int) -> bool:
        """Whether the band leaves out zero at some step of the pair."""
        return bool(np.max(np.abs(self.z[pair])) > self.band)

    def size(self, pair: int) -> tuple[float, float]:
        """An interval, at `level`, for the pair's largest true |difference| over the recorded steps."""
        return largest_size(np.asarray(self.differences.value)[pair], self.errors[pair], self.band)

    def detectable(self, pair: int) -> float:
        """A true difference of this size at any step of the pair is seen with a chance of 80 % at least."""
        return detectable_size(self.errors[pair], self.band)

    @property
    def sentence(self) -> str:
        """What each pair shows, in words, with the strength of the statement."""
        told = "; ".join(self._told(pair) for pair in range(len(self.pairs)))
        cells = f"{len(self.pairs)} x {len(self.steps)} comparisons"
        return (
            f"In {self.observable}, {told} (simultaneous {100 * self.level:g} % over {cells}, "
            f"{self.differences.num_samples} replicas)."
        )

    def _told(self, pair: int) -> str:
        other, base = self.pairs[pair]
        low, high = self.size(pair)
        if not self.differs(pair):
            return (
                f"{other} and {base}: no difference seen, at most {high:.3g}; one of {self.detectable(pair):.3g} at any "
                f"step would have been seen with a chance of {100 * POWER:g} %"
            )
        record = int(np.argmax(np.abs(self.z[pair])))
        difference = self.differences[pair, record]
        return (
            f"{other} less {base}: {difference.value:.3g} +- {difference.stderr:.1g} at step {self.steps[record]} beside "
            f"{self.base[pair, record]:.3g} ({low:.3g} to {high:.3g} where it is worst)"
        )


def contrasts(
    simulations: Mapping[str, Simulation], pairs: Sequence[tuple[str, str]], observable: str, level: float = LEVEL
) -> Contrasts:
    """Compare pairs of `simulations` (labels other, base) that had one key: what their replicas share drops out.

    Raises ValueError if a replica diverged, KeyError if the observable was not recorded.
    """
    for simulation in simulations.values():
        simulation.mean(observable)
    samples = {label: np.asarray(runs.observables[observable], float) for label, runs in simulations.items()}
    differences = np.stack([samples[other] - samples[base] for other, base in pairs], axis=1)
    first = next(iter(simulations.values()))
    return Contrasts(
        observable=observable,
        pairs=tuple((other, base) for other, base in pairs),
        steps=first.steps,
        differences=from_samples(differences),
        base=np.stack([samples[base].mean(axis=0) for _, base in pairs]),
        band=simultaneous_band(differences.reshape(len(differences), -1), level),
        rounding=rounding_size(first.dtype, *samples.values()) + float(np.finfo(float).tiny),
        level=level,
    )


def shrinks(found: Contrasts, samples: Float[np.ndarray, "replica pair record"]) -> str:
    """Whether the first pair's difference, averaged over steps, is larger in size than the last pair's.

    With m_p the mean over records of pair p's difference, replica by replica: |E m_first| - |E m_last|, each taken with the
    sign of its mean, so that the error is that of the differences. Where a mean is not told from zero the error is right
    to leading order only.
    """
    averages = samples.mean(axis=2)
    means = from_samples(averages)
    change = from_samples(averages[:, 0] * np.sign(means.value[0]) - averages[:, -1] * np.sign(means.value[-1]))
    low, high = (change.value + sign * stats.norm.isf(0.025) * change.stderr for sign in (-1, 1))
    verdict = "it shrinks" if low > 0 else "it grows" if high < 0 else "no change is seen"
    (first, _), (last, _) = found.pairs[0], found.pairs[-1]
    return (
        f"Averaged over steps the difference is {means.value[0]:.3g} +- {means.stderr[0]:.1g} for {first} and "
        f"{means.value[-1]:.3g} +- {means.stderr[-1]:.1g} for {last}: {verdict}, by {low:.3g} to {high:.3g} (95 %)."
    )
