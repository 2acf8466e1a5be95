"""Prediction beside simulation: difference, error of both sides, size of the last included order, and a verdict."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
import xarray as xr
from jaxtyping import Float, Int
from scipy import stats

from gradnoise.dynamics import Simulation
from gradnoise.estimate import Estimate, from_samples
from gradnoise.experiment.control_variates import subtract_controls
from gradnoise.predict import Curve

OBSERVABLES = {"test": "test_loss", "train": "train_loss", "gap": "gap"}
VERDICTS = ("agrees", "statistical", "truncation", "disagrees")
CONFIDENCE = 0.99


@dataclass(frozen=True, eq=False)
class Comparison:
    """simulation - prediction at the recorded steps (record,), one column an order of the prediction (order).

    `stderr` holds the errors of both sides, `z` their ratio (0 where they differ by rounding alone), `last_term` the size
    of the last included order, `band` the bound on |z| that holds at all steps at once with 99 %. `verdicts` has one
    word an order:

        agrees       inside the band everywhere, and the errors are smaller than the last included term (for order 0:
                     than the first left out)
        statistical  inside the band, but the errors are as large as that term: more replicas could tell. Two processes
                     that cannot be told apart are always this: no finite run shows that they are equal
        truncation   outside the band, by no more than the orders next to the cut explain
        disagrees    outside the band by more than that: theory, model or simulation is wrong here
    """

    target: str
    learning_rate: float
    steps: Int[np.ndarray, " record"]
    simulated: Estimate
    predicted: Float[np.ndarray, "record order"]
    difference: Float[np.ndarray, "record order"]
    stderr: Float[np.ndarray, "record order"]
    z: Float[np.ndarray, "record order"]
    last_term: Float[np.ndarray, "record order"]
    band: float
    verdicts: tuple[str, ...]

    @property
    def residual(self) -> Estimate:
        """simulation - prediction at the last step, by order (order,)."""
        return Estimate(self.difference[-1], self.stderr[-1], self.simulated.num_samples)

    @property
    def verdict(self) -> str:
        """The verdict on the highest order."""
        return self.verdicts[-1]

    def domain_end(self, share: float = 0.3) -> int | None:
        """The first recorded step at which the last term exceeds `share` of the predicted change; None: nowhere.

        Beyond it the series is no prediction, and is not drawn. A last term below the error does not count.
        """
        change = np.abs(self.predicted[:, -1] - self.predicted[0, -1])
        outside = self.last_term[:, -1] > np.maximum(share * change, 2 * self.stderr[:, -1])
        return int(self.steps[np.argmax(outside)]) if outside[1:].any() else None

    def to_dataset(self) -> xr.Dataset:
        """The comparison as a piece of the group "compared" of a results tree."""
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
            {"group": "compared"},
        )


def compare(
    prediction: Curve | Simulation, simulation: Simulation, paired: bool = False, controls: Simulation | None = None
) -> Comparison:
    """Compare a predicted curve, or another process, with a simulation, step by step.

    The simulation's mean over replicas is aligned with the prediction by step. `prediction` may be another Simulation of
    the same steps; with `paired=True` the two share training sets and batches (same key), and the error is that of the
    differences replica by replica, otherwise they are taken as independent. `controls` is a simulation of the same
    replicas that recorded `control_variates`, whose expectation is zero by construction: the mean is adjusted by them
    without bias, its error shrinks.

    >>> import jax, numpy as np
    >>> import gradnoise as gn
    >>> problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]))
    >>> spacetime = gn.Spacetime(4, 2)
    >>> curve = gn.predict_curve(gn.diagram_values(problem, 0.0), spacetime, learning_rate=0.01)
    >>> runs = gn.simulate(gn.sgd(problem), np.float32(0), spacetime, 0.01, 2000, jax.random.key(0))
    >>> gn.compare(curve, runs).verdicts
    ('truncation', 'agrees', 'statistical', 'statistical')

    Raises TypeError for other kinds; ValueError if problem, spacetime, learning rate or setting differ, if a replica
    diverged, or if a control's mean is not zero within 5 standard errors.
    """
    if not isinstance(simulation, Simulation):
        raise TypeError(f"simulation is {type(simulation).__name__}, expected the result of simulate.")
    if isinstance(prediction, Simulation):
        return _compare_processes(prediction, simulation, paired, controls)
    if not isinstance(prediction, Curve):
        raise TypeError(f"prediction is {type(prediction).__name__}, expected that of predict_curve, or a Simulation.")
    if paired:
        raise ValueError(
            "paired=True needs two simulations that share their draws, and prediction is a curve. Leave it out."
        )
    _check_same(prediction, simulation)
    runs = subtract_controls(simulation, OBSERVABLES[prediction.target], controls)
    simulated = from_samples(runs)
    predicted, errors = prediction.value[simulation.steps], prediction.stderr[simulation.steps]
    terms = np.diff(np.asarray(prediction.value), axis=1, prepend=0.0)[simulation.steps]
    stderr = np.hypot(simulated.stderr[:, None], errors)
    rounding = _rounding(simulation)
    return _judge(
        prediction.target, prediction.learning_rate, simulation.steps, simulated, predicted, stderr, terms, rounding
    )


def _compare_processes(first: Simulation, second: Simulation, paired: bool, controls: Simulation | None) -> Comparison:
    if controls is not None:
        raise ValueError("controls sharpen a mean beside a curve, and prediction is a simulation. Leave them out.")
    _require_same(_facts(first, "problem_name", "setting"), _facts(second, "problem_name", "setting"))
    if not np.array_equal(first.steps, second.steps):
        raise ValueError("steps differ: prediction and simulation recorded others. Use the same spacetime and every.")
    if paired and first.num_replicas != second.num_replicas:
        raise ValueError(
            f"paired=True needs equally many replicas, got {first.num_replicas} and {second.num_replicas}."
        )
    a, b = (subtract_controls(runs, "test_loss") for runs in (first, second))
    simulated, other = from_samples(b), from_samples(a)
    stderr = from_samples(b - a).stderr if paired else np.hypot(simulated.stderr, other.stderr)
    predicted, errors = np.asarray(other.value)[:, None], np.asarray(stderr)[:, None]
    return _judge("test", second.learning_rate, second.steps, simulated, predicted, errors, None, _rounding(second))


def simultaneous_band(num_records: int, num_samples: int, confidence: float = CONFIDENCE) -> float:
    """The c with P(|z_i| <= c at all of num_records steps) >= confidence, whatever the correlation (Sidak).

    Student's t with num_samples - 1 degrees of freedom. Source: Sidak 1967; exact for independent steps, safe otherwise.

    >>> round(simultaneous_band(1, 10**6), 3)
    2.576
    """
    per_step = confidence ** (1 / max(num_records, 1))
    return float(stats.t.ppf((1 + per_step) / 2, max(num_samples - 1, 1)))


def _rounding(simulation: Simulation) -> float:
    """A difference that a mean of losses may have from rounding alone: some ulps of the simulation's dtype."""
    ulps = 16 * np.finfo(simulation.dtype).eps + 1e-12
    return float(ulps * np.max(np.abs(simulation.observables["test_loss"])))


def _judge(
    target: str,
    learning_rate: float,
    steps: np.ndarray,
    simulated: Estimate,
    predicted: np.ndarray,
    stderr: np.ndarray,
    terms: np.ndarray | None,
    rounding: float,
) -> Comparison:
    difference = np.asarray(simulated.value)[:, None] - predicted
    with np.errstate(divide="ignore", invalid="ignore"):
        z = np.where(difference == 0, 0.0, difference / stderr)
    z = np.where(np.abs(difference) <= rounding, 0.0, z)
    noisy = int(np.sum(stderr[:, -1] > 0))
    band = simultaneous_band(noisy, simulated.num_samples)
    sizes = np.abs(terms) if terms is not None else np.zeros_like(predicted)
    verdicts = tuple(_verdict(k, difference, stderr, z, sizes, band) for k in range(predicted.shape[1]))
    return Comparison(target, learning_rate, steps, simulated, predicted, difference, stderr, z, sizes, band, verdicts)


def _verdict(k: int, difference: np.ndarray, stderr: np.ndarray, z: np.ndarray, sizes: np.ndarray, band: float) -> str:
    """One word for order k. What truncation explains: the last included term, or twice the first left out, if known."""
    included = sizes[:, k] if k > 0 else np.zeros(len(sizes))
    left_out = 2 * sizes[:, k + 1] if k + 1 < sizes.shape[1] else np.zeros(len(sizes))
    outside = np.abs(z[:, k]) > band
    if not outside.any():
        scale = max(included[-1], left_out[-1])
        return "agrees" if band * stderr[-1, k] < scale or not stderr[:, k].any() else "statistical"
    beyond = np.abs(difference[:, k]) - band * stderr[:, k] > np.maximum(included, left_out)
    return "disagrees" if (outside & beyond).any() else "truncation"


def _check_same(prediction: Curve, simulation: Simulation) -> None:
    if simulation.num_replicas < 2:
        raise ValueError("num_replicas=1 gives no error, expected at least 2. Simulate more replicas.")
    if callable(simulation.learning_rate) or np.size(jax.tree.leaves(simulation.learning_rate)) != 1:
        raise ValueError(
            "learning_rate of the simulation is a schedule or a tree, expected one number, as in the series."
        )
    facts = ("problem_name", "spacetime", "setting", "learning_rate")
    _require_same(_facts(prediction, *facts), _facts(simulation, *facts))
    predicted, simulated = dict(prediction.settings), dict(simulation.process.settings if simulation.process else ())
    if simulated:
        simulated["weight_decay"] = simulated.get("weight_decay", 0.0) + simulation.process.problem.weight_decay
        _require_same(
            *({name: told.get(name, 0) for name in {**predicted, **simulated}} for told in (predicted, simulated))
        )
    if simulation.training_set != "drawn":
        raise ValueError(
            f'training_set={simulation.training_set!r} was simulated, expected "drawn": the series averages over training '
            'sets. Simulate with training_set="drawn".'
        )


def _facts(of: Curve | Simulation, *names: str) -> dict[str, Any]:
    return {name: getattr(of, name) for name in names}


def _require_same(predicted: Mapping[str, Any], simulated: Mapping[str, Any]) -> None:
    for name, value in predicted.items():
        if value != simulated[name]:
            raise ValueError(
                f"{name} differs: the prediction has {value}, the simulation {simulated[name]}. "
                f"Compare the two for the same {name}."
            )
