"""What a test of the SDE by SVAG found: differences from SGD, their band, its power, and the approach to the limit."""

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from gradnoise.estimate import Estimate
from gradnoise.experiment.residuals import Slope
from gradnoise.experiment.simultaneous import POWER, detectable_size, largest_size


class Effect(NamedTuple):
    """A difference from SGD, in the observable's units, at one effective step; (low, high) is the simultaneous interval."""

    compared: str
    step: int
    difference: Estimate
    low: float
    high: float


@dataclass(frozen=True, eq=False)
class WeakOrder:
    """Means of one observable under SVAG(l), what they differ by from SGD's (l = 1), and the fit limit + C/l.

    `means` has shape (l or reference, record); `effects` (compared, record): SVAG(l) - SGD for l > 1, last the reference;
    `successive` (row, record): each row of `means` less the one before. Errors are over replicas, of differences taken
    replica by replica. `band` bounds |effect - true effect| / stderr over all of them at once with the chance
    `level`. `limit` and `coefficient` (record): mean_l = limit + coefficient/l, fitted without SGD; `slope`: the
    exponent of 1/l, expected 1, fitted at `slope_step`, where the coefficient is largest in standard errors. `rounding`: a
    difference that rounding alone may make.
    """

    observable: str
    l_values: tuple[int, ...]
    steps: Int[np.ndarray, " record"] = field(repr=False)
    means: Estimate = field(repr=False)
    compared: tuple[str, ...]
    effects: Estimate = field(repr=False)
    successive: Estimate = field(repr=False)
    band: float
    level: float
    limit: Estimate = field(repr=False)
    coefficient: Estimate = field(repr=False)
    slope: Slope
    slope_step: int
    rounding: float

    @property
    def errors(self) -> Float[np.ndarray, "compared record"]:
        """Standard errors of the effects, widened by rounding."""
        return np.hypot(self.effects.stderr, self.rounding)

    @property
    def z(self) -> Float[np.ndarray, "compared record"]:
        """Effects in standard errors."""
        return np.asarray(self.effects.value) / self.errors

    @property
    def holds(self) -> str:
        """ "differs": somewhere the band excludes zero, the SDE does not describe SGD; or "no difference seen"."""
        return "differs" if np.max(np.abs(self.z)) > self.band else "no difference seen"

    @property
    def largest(self) -> Effect:
        """The effect that is largest in standard errors."""
        row, record = np.unravel_index(int(np.argmax(np.abs(self.z))), self.z.shape)
        effect = self.effects[row, record]
        reach = self.band * float(self.errors[row, record])
        value = float(effect.value)
        return Effect(self.compared[row], int(self.steps[record]), effect, value - reach, value + reach)

    @property
    def largest_size(self) -> tuple[float, float]:
        """An interval, at `level`, for the largest true |difference| over all steps and l."""
        return largest_size(np.asarray(self.effects.value), self.errors, self.band)

    @property
    def detectable(self) -> float:
        """The power: a true difference of this size, wherever it stands, is seen with a chance of 80 % at least."""
        return detectable_size(self.errors, self.band)

    @property
    def enough(self) -> int | None:
        """The least l > 1 with |C|/l below two standard errors of its mean at every step; None: no l of these is.

        From there on doubling l changes nothing that so many replicas could tell.

        Source: docs/theory/weak_order.md.
        """
        error = np.hypot(self.means.stderr, self.rounding)
        for row, l in enumerate(self.l_values):
            if l > 1 and np.all(np.abs(self.coefficient.value) / l < 2 * error[row]):
                return l
        return None

    @property
    def sentence(self) -> str:
        """What follows, in plain words."""
        return f"{self._verdict} {self._rule}"

    @property
    def _verdict(self) -> str:
        size, chance = self.largest_size, f"simultaneous {100 * self.level:g} %"
        cells = f"{len(self.compared)} x {len(self.steps)} comparisons"
        if self.holds == "differs":
            effect = self.largest
            mean = float(np.asarray(self.means.value)[0, int(np.searchsorted(self.steps, effect.step))])
            return (
                f"{effect.compared} and SGD differ in {self.observable}, by {effect.difference.value:.3g} +- "
                f"{effect.difference.stderr:.1g} at step {effect.step} beside SGD's {mean:.3g} ({chance} interval "
                f"{effect.low:.3g} to {effect.high:.3g} over {cells}): the SDE does not describe SGD for this observable "
                f"here, by {size[0]:.3g} to {size[1]:.3g} where it is worst."
            )
        return (
            f"No difference seen between SGD and {', '.join(self.compared)} in {self.observable}: the largest one is at "
            f"most {size[1]:.3g} ({chance} over {cells}), and one of {self.detectable:.3g} at any step would have been seen "
            f"with a chance of {100 * POWER:g} %. Smaller ones are not excluded."
        )

    @property
    def _rule(self) -> str:
        replicas = f"{self.means.num_samples} replicas"
        if self.holds == "differs" and not self.slope.holds:
            found, low, high = self.slope[:3]
            return (
                f"The differences fall as l^-s with s = {found:.2g} ({low:.2g} to {high:.2g}), not 1: these l are too small "
                "for the fit limit + C/l."
            )
        if self.enough is None:
            last = self.l_values[-1]
            return f"The distance C/l to the limit is not below two standard errors at l = {last} yet ({replicas})."
        return f"From l = {self.enough} on the distance C/l to the limit is below two standard errors ({replicas})."
