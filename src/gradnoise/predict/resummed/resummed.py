"""The resummed prediction: diagrams without links, their edges summed to all orders in the curvature."""

import jax
import jax.numpy as jnp
import numpy as np

from gradnoise import _checks, _tree
from gradnoise._types import Params
from gradnoise.predict.resummed.curve import ResummedCurve, domain_sentence
from gradnoise.predict.resummed.engines import Setting, complete_curve, limited_curve
from gradnoise.predict.resummed.linkless import MOST_POWER
from gradnoise.problem import Problem, probe_problem, require_pool, require_problem
from gradnoise.smoothness import kinks
from gradnoise.spacetime import Spacetime, require_spacetime

TARGETS = ("test", "train", "gap", "displacement")


def predict_resummed(
    problem: Problem,
    params: Params,
    spacetime: Spacetime,
    learning_rate: float,
    target: str = "test",
    momentum: float = 0.0,
    excess_power: int = 1,
    rank: int | None = None,
) -> ResummedCurve:
    """Mean "test" or "train" loss, "gap" or "displacement" of SGD near a minimum, for as many steps as wanted.

        sum over linkless D of (-1/B)^d (1/|Aut D|) sum over embeddings of v(D), each edge eta (1 - eta H)^(steps - 1)

    All linkless diagrams with edges - times <= `excess_power` (0, 1 or 2), an untied leaf (a factor G) counting one half
    and a tied root one (see `ResummedCurve.diagrams`). Near a minimum what is left out is of the next power of eta, or of
    its half where G is not zero, however many steps; far from one use `predict_path`. The training set is drawn from the
    pool; `momentum` is heavy-ball.

    excess_power=1: exact in all directions, up to 2000 weights (1000 for a measured function with a slope, 300 for the
    displacement: these need third derivatives). `rank`: the so many most curved directions, the rest as flat, with a
    bound on the error: nothing P x P, for losses measured over the pool; of the diagrams only those without third
    derivatives. excess_power=2: up to 12 weights; each diagram step by step.

    >>> import gradnoise as gn
    >>> problem = gn.testbeds.mean_estimation(hessian=1.0, noise=1.0, theta0=0.0)
    >>> curve = predict_resummed(problem, np.array([0.0]), gn.Spacetime(4, 1), learning_rate=0.5, target="test")
    >>> curve.value                                             # (1/2)(eta/(2 - eta)) (1 - (1 - eta)^(2T))
    array([0.        , 0.125     , 0.15625   , 0.1640625 , 0.16601562])
    >>> curve.domain
    '0 < eta h < 2 for the one curvature: the sum converges however long the run'

    Raises ValueError without a pool, for targets, ranks and sizes that do not go together; TypeError for other types.

    Source: diagrams.md sections 3 and 4.3; docs/theory/resummation.md.
    """
    require_problem(problem)
    pool = require_pool(problem, "predict_resummed")
    _checks.one_of("target", target, TARGETS)
    require_spacetime(spacetime)
    rate = _checks.number("learning_rate", learning_rate, minimum=0)
    mass = _checks.number("momentum", momentum, 0, below=1)
    power = _checks.integer("excess_power", excess_power, minimum=0, maximum=MOST_POWER)
    with jax.enable_x64(True):
        probe_problem(problem, params, pool)
        params = _tree.cast(params, jnp.float64)
        found_kinks = kinks(problem, params)
    setting = Setting(problem, params, spacetime, rate, mass, target, power)
    found = complete_curve(setting) if rank is None else limited_curve(setting, rank)
    num_left = sum(np.size(leaf) for leaf in jax.tree.leaves(params)) - len(found.eigenvalues)
    return ResummedCurve(
        found.curve, np.zeros(found.curve.shape), _tree.num_examples(pool), None, found.diagrams, found.error,
        np.sort(found.eigenvalues), domain_sentence(found.eigenvalues, rate, mass, num_left), found_kinks, target, rate,
        spacetime, power, rank, problem.setting, problem.name, (("momentum", mass), ("weight_decay", problem.weight_decay)),
    )  # fmt: skip
