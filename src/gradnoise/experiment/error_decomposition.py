"""Why the SDE differs from SGD: its steps are infinitely small, and its noise is Gaussian."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float, Int
from scipy import stats

from gradnoise import _checks, dynamics
from gradnoise._types import Key, Params
from gradnoise.dynamics import Simulation, noisy_gd, sde, sgd
from gradnoise.dynamics.prepare import Observe
from gradnoise.estimate import Estimate, from_samples
from gradnoise.problem import Problem, require_problem
from gradnoise.process import Process
from gradnoise.spacetime import Spacetime


class Parts(NamedTuple):
    """E g(X) - E g(x) of one observable g, SDE less SGD, by recorded step: `total` = `discretization` + `non_gaussian`."""

    discretization: Estimate
    non_gaussian: Estimate
    total: Estimate

    def intervals(
        self, level: float = 0.95
    ) -> dict[str, tuple[Float[np.ndarray, " record"], Float[np.ndarray, " record"]]]:
        """Name of each part -> (low, high) at every step, for one step at a time, by Student's t."""
        level = _checks.number("level", level, above=0, below=1)
        reach = stats.t.isf((1 - level) / 2, self.total.num_samples - 1)
        named = self._asdict().items()
        return {name: (part.value - reach * part.stderr, part.value + reach * part.stderr) for name, part in named}


@dataclass(frozen=True, eq=False)
class ErrorDecomposition:
    """`parts[name]` for test_loss, train_loss, gap, metrics and what was observed, at the effective steps `steps`."""

    parts: Mapping[str, Parts] = field(repr=False)
    steps: Int[np.ndarray, " record"] = field(repr=False)
    num_replicas: int
    num_substeps: int

    def sentence(self, name: str) -> str:
        """The parts at the last step, in words.

        Raises KeyError if nothing of that name was recorded.
        """
        told = []
        for words, part in zip(("small steps", "Gaussian noise", "in all"), self.parts[name], strict=True):
            seen = "" if abs(part.value[-1]) > 2 * part.stderr[-1] else " (not told from zero)"
            told.append(f"{words} {part.value[-1]:.3g} +- {part.stderr[-1]:.1g}{seen}")
        return f"{name} of the SDE less that of SGD at step {self.steps[-1]}: {', '.join(told)}."


def decompose_error(
    problem: Problem,
    params: Params,
    spacetime: Spacetime,
    learning_rate: Any,
    *,
    num_replicas: int,
    key: Key,
    observe: Observe | None = None,
    num_substeps: int = 16,
    every: int = 1,
    training_set: str = "drawn",
    momentum: float = 0.0,
    weight_decay: float = 0.0,
    dtype: str = "float32",
    memory: int | str | None = None,
) -> ErrorDecomposition:
    """The difference of the SDE from SGD in two parts, through noisy gradient descent, for every observable and step.

        E g(X) - E g(x) = [E g(X) - E g(xhat)] + [E g(xhat) - E g(x)]
                          discretization         non-Gaussian noise

    X the SDE, xhat noisy gradient descent (`noisy_gd`: steps of SGD's length, Gaussian noise of its covariance), x SGD.
    With sampling "fixed" or "reshuffle" the second part also holds what the dependence of SGD's steps does, for
    xhat's are independent.

    The SDE is run with m = `num_substeps` Euler-Maruyama steps; xhat is the same scheme at m = 1, so the scheme's own error,
    a/m to leading order, drops out of

        discretization = m/(m - 1) (E g(X_m) - E g(xhat))

    and what is left of it, of order eta^2/m, is not in the error bars: double m to see it. Errors are over replicas, of
    differences replica by replica: the three processes have the same key, hence the same training sets. Other
    arguments as in `simulate`.

    >>> import jax, numpy as np
    >>> import gradnoise as gn
    >>> grid = gn.Spacetime(4, 1, sampling="with_replacement", num_steps=10)
    >>> found = decompose_error(gn.testbeds.linear_gradients(), np.float32(1.5), grid, 0.4, num_replicas=2000,
    ...     key=jax.random.key(0), observe={"x": lambda x, examples: x}, training_set="population", every=10)
    >>> found.parts["x"].discretization.value.shape, "small steps" in found.sentence("x")
    ((2,), True)

    Raises ValueError for num_substeps below 2, fewer than 8 replicas, and if a replica diverged; TypeError or ValueError
    for what `simulate` refuses.

    Source: Li, Malladi, Arora, "On the Validity of Modeling SGD with Stochastic Differential Equations", eq (4);
    docs/theory/weak_order.md.
    """
    require_problem(problem)
    num_substeps = _checks.integer("num_substeps", num_substeps, minimum=2)
    num_replicas = _checks.integer("num_replicas", num_replicas, minimum=8)

    def run(process: Process) -> Simulation:
        return dynamics.simulate(
            process, params, spacetime, learning_rate, num_replicas, key, observe, every, training_set, dtype=dtype,
            memory=memory,
        )  # fmt: skip

    runs = [
        run(sgd(problem, momentum, weight_decay=weight_decay)),
        run(noisy_gd(problem, momentum, weight_decay=weight_decay)),
        run(sde(problem, num_substeps, momentum=momentum, weight_decay=weight_decay)),
    ]
    parts = {name: _parts(runs, name, num_substeps) for name in runs[0].observables}
    return ErrorDecomposition(parts, runs[0].steps, num_replicas, num_substeps)


def _parts(runs: list[Simulation], name: str, num_substeps: int) -> Parts:
    for simulation in runs:
        simulation.mean(name)
    stochastic, noisy, diffusion = (np.asarray(simulation.observables[name], dtype=float) for simulation in runs)
    discretization = num_substeps / (num_substeps - 1) * (diffusion - noisy)
    non_gaussian = noisy - stochastic
    return Parts(*map(from_samples, (discretization, non_gaussian, discretization + non_gaussian)))
