"""What `predict_path` gives back: coefficients along the path, from which the curve of every batch size is arithmetic."""

from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from gradnoise import _checks
from gradnoise.estimate import Estimate, exact, from_samples
from gradnoise.predict.path.domain import GAP_SHARE, NOISE_SHARE, Domain
from gradnoise.predict.path.noise_weights import gap_weight, noise_weights, pattern_weights
from gradnoise.predict.path.second_loop import FittedLoop, second_coefficient, two_loops
from gradnoise.spacetime import Spacetime

TARGETS = ("test", "train", "gap", "displacement", "variance")


@dataclass(frozen=True, eq=False, repr=False)
class PathCurve(Estimate):
    """A predicted curve: `value` and `stderr` (num_steps + 1,), step 0 first; (num_steps + 1, P) for the displacement.

    `partial_sums` (num_steps + 1, loops + 1, ...): the path alone, with one loop, ...; (num_steps + 1, 1) for the variance,
    which has no part without noise. Beyond `domain.end` the numbers carry
    no licence and are not drawn; `licensed_loops` is 0 where the loss has kinks.
    """

    target: str = "test"
    learning_rate: Any = 0.0
    spacetime: Spacetime | None = None
    training_set: str = "drawn"
    setting: str = "population"
    problem_name: str = "problem"
    settings: tuple[tuple[str, Any], ...] = ()
    domain: Domain | None = None
    licensed_loops: int = 1
    partial_sums: Estimate | None = None

    def __repr__(self) -> str:
        return f"PathCurve({self.target} of {self.problem_name}, {len(self.value) - 1} steps, {self.domain})"


class Pairs(NamedTuple):
    """Two-loop coefficients by pair of probes, (R, T+1): of 1/B^2 in pool and test loss, of -1/(N B) in the gap."""

    pool: np.ndarray
    test: np.ndarray
    tied: np.ndarray


@dataclass(frozen=True, eq=False)
class Samples:
    """Coefficients by probe (one, exact, for the dense form) of K patterns.

    R probes first, then t = 0..T: `pool`, `test`, `slope_square` (R, T+1, K), `cross_square`
    (R, T+1, K, K), `tied` (R, T+1) as in `dense.DenseRecord`,
    `shift` and its variance (T+1, K, P) or None. `pairs`: two loops, or None.
    """

    pool: np.ndarray
    test: np.ndarray
    slope_square: np.ndarray
    cross_square: np.ndarray
    tied: np.ndarray
    shift: np.ndarray | None = None
    shift_variance: np.ndarray | None = None
    pairs: Pairs | None = None


@dataclass(frozen=True, eq=False)
class PathPrediction:
    """The deterministic path of a run and the noise around it, by step; made by `predict_path`.

    `path_loss`: mean test loss on the path, (num_steps + 1,). `test_coefficient`, `gap_coefficient`: what 1/batch_size
    and 1/num_examples multiply in test loss and gap, at the spacetime's own sizes. `curve(target, batch_size,
    num_examples)` puts them together for any batch with the same columns an epoch. `domain`: where the noise part of the
    test loss passes 0.3 of it. `path_weights` (num_steps + 1, P): the path itself, where it was kept. `fitted`: the
    simulation that the second loop was fitted to (`fit_two_loops`), or None.
    """

    spacetime: Spacetime
    learning_rate: Any
    training_set: str
    setting: str
    problem_name: str
    settings: tuple[tuple[str, Any], ...]
    method: str
    num_pool: int
    num_loops: int
    kinks: tuple[str, ...]
    kinds: tuple[str, ...]
    path_pool: np.ndarray = field(repr=False)
    path_test: np.ndarray = field(repr=False)
    samples: Samples = field(repr=False)
    path_weights: np.ndarray | None = field(default=None, repr=False)
    fitted: FittedLoop | None = None

    @property
    def path_loss(self) -> Estimate:
        """Mean test loss of gradient descent on the population: no noise."""
        return exact(self.path_test, self.num_pool)

    @property
    def test_coefficient(self) -> Estimate:
        """B (one-loop test loss - path loss), loss x examples; the same for every B if W is proportional to 1/B."""
        return self._scaled(self.one_loop("test", self.spacetime), self.spacetime.batch_size)

    @property
    def gap_coefficient(self) -> Estimate:
        """N times the one-loop gap of drawn training sets, loss x examples; the same for every N, B and order.

        Zero for training sets that are given or without end.
        """
        return self.estimate(-self.samples.tied)

    @property
    def second_test_coefficient(self) -> Estimate:
        """B^2 (two loops - one loop) of test loss, loss x examples^2; ValueError for a prediction of one loop."""
        return second_coefficient(self, "test")

    @property
    def second_gap_coefficient(self) -> Estimate:
        """N B (two loops - one loop) of the gap, loss x examples^2; ValueError for a prediction of one loop."""
        return second_coefficient(self, "gap")

    @property
    def domain(self) -> Domain:
        """Where the expansion is trusted at the spacetime's own batch size."""
        return self._domain(self.spacetime)

    def curve(self, target: str = "test", batch_size: int | None = None, num_examples: int | None = None) -> PathCurve:
        """The predicted `target` at every step, for `batch_size` and `num_examples` instead of the spacetime's own.

        "test", "train", "gap" (test - train): mean losses. "displacement": mean of the weights minus the start, (num_steps +
        1, P), path included. "variance": of the test loss over runs, (1/B) G S G plus (1/2) tr(HSHS) / B^2 (without the
        cross terms of third cumulants). Given one of batch_size and num_examples, the other follows so that an epoch
        keeps its number of steps; samplings without epochs take any pair.

        Raises ValueError for an unknown target, for sizes with other columns an epoch than the path was expanded for, and
        for a displacement that was not kept.
        """
        _checks.one_of("target", target, TARGETS)
        spacetime = self.resized(batch_size, num_examples)
        if target == "displacement":
            sums = self._displacement(spacetime)
        elif target == "variance":
            sums = [self._variance(spacetime)]
        else:
            sums = self.losses(target, spacetime)
        values, errors = (np.stack([getattr(each, name) for each in sums], axis=1) for name in ("value", "stderr"))
        table = Estimate(values, errors, sums[-1].num_samples)
        return PathCurve(
            sums[-1].value, sums[-1].stderr, sums[-1].num_samples, target=target, learning_rate=self.learning_rate,
            spacetime=spacetime, training_set=self.training_set, setting=self.setting, problem_name=self.problem_name,
            settings=self.settings, domain=self._domain(spacetime, target),
            licensed_loops=0 if self.kinks else max(len(sums) - 1, 1),
            partial_sums=table,
        )  # fmt: skip

    def resized(self, batch_size: int | None = None, num_examples: int | None = None) -> Spacetime:
        """The spacetime of as many steps with other sizes; ValueError if the path does not serve them."""
        own = self.spacetime
        if batch_size is None and num_examples is None:
            return own
        columns = own.num_examples / own.batch_size
        if batch_size is None:
            num_examples = _checks.integer("num_examples", num_examples)
            batch_size = round(num_examples / columns) if own.has_epochs else own.batch_size
        batch_size = _checks.integer("batch_size", batch_size)
        if num_examples is None:
            num_examples = round(batch_size * columns) if own.has_epochs else own.num_examples
        num_examples = _checks.integer("num_examples", num_examples)
        if self.training_set == "given" and num_examples != own.num_examples:
            raise ValueError(
                f'num_examples={num_examples} is not the pool\'s {own.num_examples}, and training_set="given" trains on the '
                'pool. Predict with training_set="drawn" for other sizes.'
            )
        if self.training_set == "distinct" and num_examples > self.num_pool:
            raise ValueError(
                f'num_examples={num_examples} exceeds the pool\'s {self.num_pool}, and training_set="distinct" takes '
                f"distinct examples. Use at most {self.num_pool}."
            )
        resized = _same_steps(own, num_examples, batch_size)
        needed = noise_weights(resized, self.training_set, self.num_pool)
        other = own.has_epochs and own.steps_per_epoch != resized.steps_per_epoch
        if not set(needed) <= set(self.kinds) or (other and set(needed) & {"column", "epoch"}):
            raise ValueError(
                f"batch_size={batch_size} and num_examples={num_examples} make other columns an epoch than the path's "
                f"{columns:g}. Keep num_examples / batch_size, or predict the path for that spacetime."
            )
        return resized

    def _weights(self, spacetime: Spacetime) -> np.ndarray:
        return pattern_weights(self.kinds, spacetime, self.training_set, self.num_pool)

    def estimate(self, samples: np.ndarray) -> Estimate:
        """The mean over probes (the first axis); exact for the methods that draw nothing."""
        if self.method == "probes":
            return from_samples(samples)
        return exact(samples[0], self.num_pool)

    def _scaled(self, estimate: Estimate, factor: float) -> Estimate:
        return Estimate(factor * estimate.value, abs(factor) * np.asarray(estimate.stderr), estimate.num_samples)

    def one_loop(self, target: str, spacetime: Spacetime) -> Estimate:
        """The one-loop part of a loss, each probe's own combination, (num_steps + 1,)."""
        return self.estimate(self.one_loop_samples(target, spacetime))

    def one_loop_samples(self, target: str, spacetime: Spacetime) -> np.ndarray:
        """The one-loop part of a loss by probe, (R, num_steps + 1)."""
        weights, samples = self._weights(spacetime), self.samples
        tie = float(gap_weight(spacetime, self.training_set, self.num_pool)) * samples.tied
        test, pool = samples.test @ weights, samples.pool @ weights
        return {"test": test, "train": pool + tie, "gap": test - pool - tie}[target]

    def base(self, target: str) -> np.ndarray:
        """A loss on the path, without noise, (num_steps + 1,)."""
        return {"test": self.path_test, "train": self.path_pool, "gap": self.path_test - self.path_pool}[target]

    def losses(self, target: str, spacetime: Spacetime) -> list[Estimate]:
        """A loss by order of the noise: the path alone, with one loop, with two."""
        base, part = self.base(target), self.one_loop(target, spacetime)
        sums = [exact(base, self.num_pool), Estimate(base + part.value, part.stderr, part.num_samples)]
        second = two_loops(self, target, spacetime)
        return sums if second is None else [*sums, second]

    def _displacement(self, spacetime: Spacetime) -> list[Estimate]:
        samples, weights = self.samples, self._weights(spacetime)
        if samples.shift is None or samples.shift_variance is None or self.path_weights is None:
            raise ValueError(
                "displacement was not kept: with probes it takes num_steps x P numbers. Predict with keep_displacement=True."
            )
        moved = self.path_weights - self.path_weights[0]
        mean = moved + np.einsum("k,tkp->tp", weights, samples.shift)
        errors = np.sqrt(np.einsum("k,tkp->tp", weights**2, samples.shift_variance))  # patterns have their own rows
        return [exact(moved, self.num_pool), Estimate(mean, errors, len(samples.tied))]

    def _variance(self, spacetime: Spacetime) -> Estimate:
        if self.method == "rows":
            raise ValueError('variance needs pairs of rows, which method="rows" does not run. Use "dense" or "probes".')
        weights = self._weights(spacetime)
        pairs = np.einsum("rtkl,k,l->rt", self.samples.cross_square, weights, weights)
        samples = self.samples.slope_square @ weights + pairs / 2
        if self.method == "probes":  # partners share their product: together they are one sample
            samples = samples[: len(samples) // 2 * 2].reshape(-1, 2, samples.shape[1]).mean(1)
        return self.estimate(samples)

    def _domain(self, spacetime: Spacetime, target: str = "test") -> Domain:
        """Patterns count by their absolute size: where two cancel, what was left out need not."""
        sums = [np.asarray(each.value) for each in self.losses("test", spacetime)]
        noise = np.abs(sums[-1] - sums[-2])
        if len(sums) == 2:
            own = self._weights(spacetime) * (
                self.samples.test.mean(0) if self.method == "probes" else self.samples.test[0]
            )
            leads = np.isin(self.kinds, ("fresh", "column"))
            noise = np.abs(own[:, leads].sum(1)) + np.abs(own[:, ~leads].sum(1))
        share = _ratio(noise, np.abs(sums[-2]))
        end = int(np.argmax(share > NOISE_SHARE)) if (share > NOISE_SHARE).any() else len(share)
        inside, bound = np.arange(len(share)) < end, NOISE_SHARE
        if target == "gap" and gap_weight(spacetime, self.training_set, self.num_pool):
            drop = np.abs(sums[0][0] - sums[0])
            share, bound = _ratio(noise, np.minimum(np.abs(sums[-2]), drop)), GAP_SHARE
            inside = inside & (share <= bound)
        last = np.flatnonzero(inside)
        return Domain(None if inside[-1] else int(last[-1]) + 1 if len(last) else 0, share, inside, bound)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """part / whole, 0 where there is no part."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(part == 0, 0.0, part / whole)


def _same_steps(own: Spacetime, num_examples: int, batch_size: int) -> Spacetime:
    """As many steps with other sizes."""
    if not own.has_epochs:
        return Spacetime(num_examples, batch_size, sampling=own.sampling, num_steps=max(own.num_steps, 1)).truncate(
            own.num_steps
        )
    whole = Spacetime(num_examples, batch_size, sampling=own.sampling)
    epochs = max(1, -(-own.num_steps // whole.steps_per_epoch))
    return Spacetime(num_examples, batch_size, epochs, own.sampling).truncate(own.num_steps)
