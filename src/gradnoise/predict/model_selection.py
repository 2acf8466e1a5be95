"""Myopic model selection: which of several models will end lowest, told from their noise before any training."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import jax
import numpy as np

from gradnoise import _checks
from gradnoise._types import Key
from gradnoise.estimate import Estimate, from_samples
from gradnoise.measure import DiagramValues, diagram_values
from gradnoise.predict.curve_fit import fit_curve
from gradnoise.predict.series import series_coefficients
from gradnoise.problem import Problem, require_problem
from gradnoise.spacetime import Spacetime

ORDER = 3
REDRAWS = 2000


@dataclass(frozen=True, eq=False)
class Outlook:
    """What a model promises for a training run that was not made; means over initializations.

    `predicted`: test loss after the run, through order 3 and extended past the series' radius by `fit_curve`.
    `optimization_ease`: |G|^2, the fall of the test loss by learning_rate and step at the start. `architecture`: loss at
    the start plus the predicted gap. Errors are over initializations, each measured on draws of its own;
    `error_between` is the standard deviation of initializations, `error_within` that of one's measurement.
    `ratio`: |order-3 term| / |order-1 term|, the median; where it passes 1 the series says nothing: `is_declined`.
    """

    name: str
    predicted: Estimate
    optimization_ease: Estimate
    architecture: Estimate
    error_between: float
    error_within: float
    ratio: float

    @property
    def is_declined(self) -> bool:
        return not (self.ratio <= 1 and math.isfinite(self.predicted.value))


def outlook(
    problem: Problem,
    spacetime: Spacetime,
    learning_rate: float,
    key: Key,
    num_inits: int = 4,
    num_draws: int | None = None,
    name: str | None = None,
) -> Outlook:
    """Measure diagram values through order 3 at `num_inits` fresh starts and say how SGD of `spacetime` would end.

    `num_draws` examples are drawn for each start (unbiased values); None: the pool itself, as the population, without
    error within. Nothing is trained.

    >>> import jax, gradnoise as gn
    >>> problem = gn.from_arrays(
    ...     lambda w, x: (w - x) ** 2 / 2, lambda key: jax.random.normal(key) + 3, np.array([1.0, -1.0]))
    >>> found = outlook(problem, gn.Spacetime(4, 1), 0.05, jax.random.key(0))
    >>> found.is_declined, bool(found.predicted.value > 0.5)
    (False, True)

    Raises ValueError for fewer than 2 starts, and as `diagram_values` and `fit_curve`.

    Source: diagrams.md section 7.
    """
    require_problem(problem)
    rate = _checks.number("learning_rate", learning_rate, above=0)
    starts, draws = jax.random.split(_checks.random_key("key", key))
    found = []
    for number in range(_checks.integer("num_inits", num_inits, minimum=2)):
        values = diagram_values(
            problem,
            problem.init(jax.random.fold_in(starts, number)),
            ORDER,
            "population" if num_draws is None else "unbiased",
            num_draws,
            jax.random.fold_in(draws, number),
        )
        found.append(_of_one_start(values, spacetime, rate))
    predicted, within, ease, architecture, ratio = np.array(found).T
    error_within = math.sqrt(np.mean(within**2))
    between = math.sqrt(max(float(np.var(predicted, ddof=1)) - error_within**2, 0.0))
    return Outlook(
        name or problem.name,
        from_samples(predicted),
        from_samples(ease),
        from_samples(architecture),
        error_between=between,
        error_within=error_within,
        ratio=float(np.median(ratio)),
    )


def _of_one_start(values: DiagramValues, spacetime: Spacetime, rate: float) -> tuple[float, ...]:
    """(predicted loss, its error, |G|^2, loss + gap, |order-3 term| / |order-1 term|)."""
    test, gap = (series_coefficients(values, spacetime, target) for target in ("test", "gap"))
    end = fit_curve(test)(rate)
    terms = np.abs(test.value) * rate ** np.arange(ORDER + 1)
    ease = -test.value[1] / spacetime.num_steps
    architecture = test.value[0] + float(fit_curve(gap)(rate).value)
    return float(end.value), float(end.stderr), float(ease), architecture, float(terms[3] / terms[1])


@dataclass(frozen=True, eq=False)
class Agreement:
    """Kendall's rank correlation of predicted and actual losses, with its 95 % interval; see `agreement`."""

    tau: float
    low: float
    high: float
    num_candidates: int
    num_declined: int

    @property
    def sentence(self) -> str:
        """What follows from it."""
        told = f"Kendall's tau {self.tau:.2f} ({self.low:.2f} to {self.high:.2f}) on {self.num_candidates} candidates"
        if self.num_declined:
            told += f", {self.num_declined} more declined"
        verdict = (
            "the ranking before training agrees with the one after it"
            if self.low > 0
            else "the heuristic failed: its ranking is not told from a random one"
        )
        return f"{told}: {verdict}."


def agreement(
    predicted: Sequence[Outlook], actual: Sequence[Estimate], key: Key, score: str = "predicted"
) -> Agreement:
    """Rank correlation of what was promised with what came, over the candidates that were not declined.

    `score`: an Outlook's "predicted", "architecture" or "optimization_ease" (the larger the better: its sign is turned).
    The interval is of tanh(atanh(tau) +- 1.96 s), s^2 = 0.437/(n - 4) for the choice of candidates, plus the variance
    of atanh(tau) when all losses are redrawn within their errors.

    >>> from gradnoise.estimate import exact
    >>> promised = [Outlook(str(k), exact(k, 1), exact(-k, 1), exact(k, 1), 0.0, 0.0, 0.1) for k in range(9)]
    >>> agreement(promised, [exact(k**2, 1) for k in range(9)], jax.random.key(0)).tau
    1.0

    A candidate whose score is not finite counts as declined. Raises ValueError for lengths that differ, for an actual loss
    that is not finite and for fewer than 5 candidates that are not declined.

    Source: diagrams.md section 7 (5); Fieller, Hartley, Pearson 1957 for the variance.
    """
    _checks.one_of("score", score, ("predicted", "architecture", "optimization_ease"))
    if len(predicted) != len(actual):
        raise ValueError(
            f"actual has {len(actual)} losses for {len(predicted)} candidates, expected as many. Give one for each."
        )
    scores = [getattr(each, score) for each in predicted]
    kept = [k for k, each in enumerate(predicted) if not each.is_declined and math.isfinite(scores[k].value)]
    if len(kept) < 5:
        raise ValueError(
            f"{len(kept)} of {len(predicted)} candidates are inside the series' domain, expected at least 5. Use a smaller "
            "learning rate or fewer steps."
        )
    sign = -1.0 if score == "optimization_ease" else 1.0
    ahead = np.array([[sign * scores[k].value, scores[k].stderr] for k in kept]).T
    after = np.array([[actual[k].value, actual[k].stderr] for k in kept]).T
    if not np.all(np.isfinite(after)):
        raise ValueError(
            "actual holds a loss or an error that is not finite, as of a run that diverged, expected finite ones. Leave "
            "these candidates out of both."
        )
    tau = float(_concordance(ahead[:1], after[:1])[0])
    noise = np.asarray(jax.random.normal(_checks.random_key("key", key), (REDRAWS, 2, len(kept))))
    redrawn = _concordance(ahead[0] + ahead[1] * noise[:, 0], after[0] + after[1] * noise[:, 1])
    most = 1 - 1 / len(kept) ** 2  # atanh(1) is infinite
    spread = np.var(np.arctanh(np.clip(redrawn, -most, most)))
    reach = 1.96 * math.sqrt(0.437 / (len(kept) - 4) + float(spread))
    low, high = (math.tanh(math.atanh(min(max(tau, -most), most)) + side * reach) for side in (-1, 1))
    return Agreement(tau, low, high, len(kept), len(predicted) - len(kept))


def _concordance(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Kendall's tau of each row, (r, n) and (r, n) -> (r,): pairs in the same order less those in the other, over all."""
    first, second = np.triu_indices(x.shape[1], 1)
    return np.mean(np.sign(x[:, first] - x[:, second]) * np.sign(y[:, first] - y[:, second]), axis=1)
