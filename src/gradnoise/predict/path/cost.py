"""What a prediction along the path will cost, counted before anything runs, beside plain simulation."""

from typing import NamedTuple

import jax
import numpy as np

from gradnoise import _memory, _tree
from gradnoise._types import Params
from gradnoise.predict.path.chunks import direction_bytes
from gradnoise.predict.path.methods import choose_method, read_probes
from gradnoise.predict.path.noise_weights import num_classes
from gradnoise.predict.path.setting import Setting, read_setting
from gradnoise.problem import Problem
from gradnoise.spacetime import Spacetime

STEP = 4.0
"""Second-order Taylor step of the mean gradient along one direction, in gradients of the mean loss."""
LOSS = 1 / 3
"""A mean loss, in gradients of it."""
SECOND = 4 * LOSS
"""Its second derivative along given directions, by nested forward derivatives."""


class PathCost(NamedTuple):
    """Counted in gradients of the mean loss over the pool (gradient equivalents).

    `gradient_equivalents`: of the prediction; the path's own share is in it. `simulation_equivalents`: of `num_runs` plain
    SGD runs at the spacetime's (N, B), test loss measured once at their end. `bytes`: what the prediction works on.
    """

    gradient_equivalents: float
    simulation_equivalents: float
    num_runs: int
    bytes: int


def estimate_path(
    problem: Problem,
    params: Params,
    spacetime: Spacetime,
    method: str | None = None,
    num_probes: int | None = None,
    momentum: float = 0.0,
    training_set: str = "drawn",
    memory: int | str | None = None,
) -> PathCost:
    """What `predict_path` with these arguments (one loop) will cost; nothing is run.

    Probes: R T K (4 + (1 + K) 4/3), R probes of K noise patterns over T steps: a second-order Taylor step of the mean
    gradient is about 4 gradients, a second derivative of the mean loss 4/3. Dense: T (2 P + 4 K P) hessian columns and third
    derivatives, and the P x P algebra. Twice the path, T, is added. The simulation beside it has as many runs as there are
    probes: a probe has about the same spread as the noise part of a run, so both know the loss at (N, B) about equally
    well. (Dense is exact; there it is 100 runs.) The count holds to a factor of about two in time.

    >>> import gradnoise as gn
    >>> problem = gn.testbeds.problem("digits-logistic", num_pool=200)
    >>> cost = estimate_path(problem, problem.init(jax.random.key(0)), gn.Spacetime(640, 10), "probes", num_probes=100)
    >>> round(cost.gradient_equivalents), round(cost.simulation_equivalents), cost.num_runs   # 64 steps
    (42837, 353, 100)

    Raises what `predict_path` raises for wrong arguments.
    """
    wanted = read_probes(num_probes, None, needed=False)
    with jax.enable_x64(True):
        setting = read_setting(problem, params, spacetime, 0.0, training_set, momentum, False, 0.0, 0.0, 0.0)
        method = choose_method(method, setting)
        steps, tests = spacetime.num_steps, _test_share(setting)
        each = {"dense": _dense, "probes": _probes, "rows": _probes}[method](setting, tests)
        probes = {"dense": 1, "probes": wanted, "rows": _num_rows(setting)}[method]
        used = _bytes(setting, method, probes, memory)
    own = steps * (2 + 2 * LOSS * tests) + probes * steps * each
    return PathCost(own, wanted * run_equivalents(spacetime, setting.num_pool, tests), wanted, used)


def run_equivalents(spacetime: Spacetime, num_pool: int, test_share: float = 1.0) -> float:
    """One SGD run, in gradients over the pool: T B example gradients, and the test loss once at the end."""
    return spacetime.num_steps * spacetime.batch_size / num_pool + LOSS * test_share


def _test_share(setting: Setting) -> float:
    return 1.0 if setting.test is None else _tree.num_examples(setting.test) / setting.num_pool


def _probes(setting: Setting, tests: float) -> float:
    kinds = len(setting.kinds)
    over_pool = SECOND if setting.test is None else SECOND * (1 + tests)
    return kinds * (STEP + over_pool + kinds * SECOND * tests)


def _dense(setting: Setting, tests: float) -> float:
    """Hessian columns at 2 gradients each, third derivatives at 4, products of P x P matrices at 2 P^3 operations."""
    weights, kinds = setting.num_weights, len(setting.kinds)
    own_measure = setting.motion.landscape.measured is not setting.motion.landscape.loss
    hessians = 1 + own_measure + (0 if setting.test is None else tests)
    size = weights * setting.motion.update.num_slots
    algebra = (8 * kinds * size**3 + 2 * setting.num_pool * size**2) / (6 * setting.num_pool * weights)
    return 1 + 2 * weights * hessians + STEP * kinds * weights + algebra


def _num_rows(setting: Setting) -> int:
    return setting.num_pool * sum(num_classes(kind, setting.spacetime) for kind in setting.kinds)


def _bytes(setting: Setting, method: str, probes: int, memory: int | str | None) -> int:
    """Working memory of one direction times those treated at a time, and the P x P matrices; at most the room there is."""
    one = direction_bytes(setting)
    size = setting.num_weights * setting.motion.update.num_slots
    fixed = 8 * len(setting.kinds) * (12 * size**2 if method == "dense" else 0)
    directions = min(setting.num_weights, 16) if method == "dense" else probes * len(setting.kinds)
    return int(np.clip(fixed + directions * one, one, max(_memory.room(memory), one)))
