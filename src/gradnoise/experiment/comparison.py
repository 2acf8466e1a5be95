"""What a comparison holds, and how its verdicts are found from difference, error and the size of the terms."""

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from jaxtyping import Bool, Float, Int
from scipy import stats

from gradnoise.estimate import Estimate

VERDICTS = ("agrees", "statistical", "truncation", "disagrees", "not licensed")
CONFIDENCE = 0.99


class Expansion(NamedTuple):
    """What a prediction's orders are worth at the recorded steps; all arrays (record, order).

    `name`: what it is expanded in, "learning rate", "noise" (loops) or "" for another process. `terms`: the size of each
    order's own term. `excused`: the difference that leaving out the next orders explains. `licensed`: whether the number
    carries a licence at all.
    """

    name: str
    terms: np.ndarray
    excused: np.ndarray
    licensed: np.ndarray


@dataclass(frozen=True, eq=False)
class Comparison:
    """simulation - prediction at the recorded steps (record,), one column an order of the prediction (order).

    Orders are powers of the learning rate for a series, loops for the curve of a path (`expansion` "learning rate" or
    "noise"). `stderr` holds the errors of both sides, `z` their ratio (0 where they differ by rounding alone), `last_term`
    the size of the last included order, `band` the bound on |z| that holds at all steps at once with 99 %. `verdicts` has
    one word an order:

        agrees        inside the band everywhere, and the errors are smaller than the last included term (for order 0:
                      than the first left out)
        statistical   inside the band, but the errors are as large as that term: more replicas could tell. Two processes
                      that cannot be told apart are always this: no finite run shows that they are equal
        truncation    outside the band, by no more than the orders next to the cut explain
        disagrees     outside the band by more than that: theory, model or simulation is wrong here
        not licensed  no recorded step after the start lies inside the prediction's domain, or the loss has kinks

    Where `licensed` is False (a path's curve beyond its domain) predicted, difference, stderr, z and last_term are NaN,
    and the step does not enter the verdict.
    """

    target: str
    learning_rate: Any
    steps: Int[np.ndarray, " record"]
    simulated: Estimate
    predicted: Float[np.ndarray, "record order"]
    difference: Float[np.ndarray, "record order"]
    stderr: Float[np.ndarray, "record order"]
    z: Float[np.ndarray, "record order"]
    last_term: Float[np.ndarray, "record order"]
    licensed: Bool[np.ndarray, "record order"]
    band: float
    verdicts: tuple[str, ...]
    expansion: str

    @property
    def residual(self) -> Estimate:
        """simulation - prediction at the last step, by order (order,)."""
        return Estimate(self.difference[-1], self.stderr[-1], self.simulated.num_samples)

    @property
    def verdict(self) -> str:
        """The verdict on the highest order."""
        return self.verdicts[-1]

    def domain_end(self, share: float = 0.3) -> int | None:
        """The first recorded step outside the domain; None: there is none.

        For a series where the last term exceeds `share` of the predicted change: beyond it it is no prediction, and is
        not drawn; a last term below the error does not count. A path's curve brings its own domain.
        """
        if self.expansion == "noise":
            outside = ~self.licensed[:, -1]
        else:
            change = np.abs(self.predicted[:, -1] - self.predicted[0, -1])
            outside = self.last_term[:, -1] > np.maximum(share * change, 2 * self.stderr[:, -1])
            outside[0] = False
        return int(self.steps[np.argmax(outside)]) if outside.any() else None

    def to_dataset(self) -> xr.Dataset:
        """The comparison as a piece of the group "compared" of a results tree; its attribute `expansion` says of what.

        Raises ValueError unless the learning rate is one number, which labels the piece.
        """
        if not isinstance(self.learning_rate, (int, float, np.number)):
            raise ValueError(
                "learning_rate is a schedule or a tree, expected one number to label a comparison. Keep those with one "
                "learning rate."
            )
        coords = {
            "target": [self.target],
            "learning_rate": [float(self.learning_rate)],
            "step": np.asarray(self.steps),
            "order": np.arange(self.difference.shape[1]),
        }
        dims, last = tuple(coords), ("target", "order", "learning_rate")
        curves = {"difference": self.difference, "difference_se": self.stderr, "z": self.z, "last_term": self.last_term}
        return xr.Dataset(
            {name: (dims, array[None, None]) for name, array in curves.items()}
            | {
                "verdict": (("target", "learning_rate", "order"), np.array(self.verdicts)[None, None]),
                "band": (("target", "learning_rate"), [[self.band]]),
                "residual": (last, self.difference[-1][None, :, None]),
                "residual_se": (last, self.stderr[-1][None, :, None]),
            },
            coords,
            {"group": "compared", "expansion": self.expansion},
        )


def judge(
    target: str,
    learning_rate: Any,
    steps: np.ndarray,
    simulated: Estimate,
    predicted: np.ndarray,
    stderr: np.ndarray,
    expansion: Expansion,
    rounding: float,
) -> Comparison:
    """The comparison; differences up to `rounding` count as none."""
    licensed = expansion.licensed
    predicted, stderr, terms = (np.where(licensed, each, np.nan) for each in (predicted, stderr, expansion.terms))
    difference = np.asarray(simulated.value)[:, None] - predicted
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(difference == 0, 0.0, difference / stderr)
    z = np.where(np.abs(difference) <= rounding, 0.0, z)
    band = simultaneous_band(int(np.sum((stderr > 0).any(axis=1))), simulated.num_samples)
    verdicts = tuple(_verdict(k, steps, difference, stderr, z, expansion, band) for k in range(predicted.shape[1]))
    return Comparison(
        target, learning_rate, steps, simulated, predicted, difference, stderr, z, terms, licensed, band, verdicts,
        expansion.name,
    )  # fmt: skip


def simultaneous_band(num_records: int, num_samples: int, confidence: float = CONFIDENCE) -> float:
    """The c with P(|z_i| <= c at all of num_records steps) >= confidence, whatever the correlation (Sidak).

    Student's t with num_samples - 1 degrees of freedom. Source: Sidak 1967; exact for independent steps, safe otherwise.

    >>> round(simultaneous_band(1, 10**6), 3)
    2.576
    """
    per_step = confidence ** (1 / max(num_records, 1))
    return float(stats.t.ppf((1 + per_step) / 2, max(num_samples - 1, 1)))


def _verdict(
    k: int, steps: np.ndarray, difference: np.ndarray, stderr: np.ndarray, z: np.ndarray, expansion: Expansion, band: float
) -> str:  # fmt: skip
    """One word for order k, from the steps that are licensed."""
    known = np.flatnonzero(expansion.licensed[:, k])
    if not len(known) or steps[known[-1]] == 0 < steps[-1]:
        return "not licensed"
    excused, included = expansion.excused[known, k], expansion.terms[known[-1], k] if k > 0 else 0.0
    own, errors = np.abs(difference[known, k]), stderr[known, k]
    outside = np.abs(z[known, k]) > band
    if not outside.any():
        scale = max(included, excused[-1])
        return "agrees" if band * errors[-1] < scale or not errors.any() else "statistical"
    return "disagrees" if (outside & (own - band * errors > excused)).any() else "truncation"
