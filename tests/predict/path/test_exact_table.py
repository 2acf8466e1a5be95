"""The loops as series in the learning rate, against exact_table.json: enumeration of training sets in rationals.

One loop is right through eta^2 in the test loss and eta^1 in the gap; with third cumulants and pairs of rows through
eta^4 and eta^3. The coefficients are read from Chebyshev interpolation of the engines' pure functions of the rates, on
|eta| <= 0.12 / T, where the series converges like 2^-k; the tolerance is what rounding can do to such a coefficient.
"""

import json
from fractions import Fraction
from functools import partial
from itertools import product
from math import factorial
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.polynomial import chebyshev

import gradnoise as gn
from gradnoise.predict.path.engines import run_dense_on
from gradnoise.predict.path.noise_weights import gap_weight, noise_weights
from gradnoise.predict.path.probes import run_probes
from gradnoise.predict.path.sampling import every_row
from gradnoise.predict.path.setting import read_setting
from gradnoise.predict.path.two_loops import run_pairs
from gradnoise.testbeds.polynomial import polynomial_landscape
from predict.path.enumeration import outcomes

TABLE = json.loads((Path(__file__).parents[2] / "exact_table.json").read_text())
SAMPLING = {None: "fixed", "reshuffle": "reshuffle", "iid_subset": "subset", "replacement": "with_replacement"}
LONGEST = 9
"""Steps of the longest case: the others run on with learning rate 0, so that all share one compilation."""
BLOCK = 128
"""Pairs of rows a call, the last block filled up, for the same reason."""
NODES = 16


def named(case, *marks):
    return pytest.param(case, marks=marks, id="-".join(map(str, case["hyper"].values())))


def compiles_alone(case):
    return case["landscape"] == "mean_estimation" or {"beta", "lam"} & set(case["hyper"])


cases = pytest.mark.parametrize("case", [named(case) for case in TABLE["cases"]])
two_loop_cases = pytest.mark.parametrize(
    "case", [named(case, *[pytest.mark.slow] * bool(compiles_alone(case))) for case in TABLE["cases"]]
)
PROBLEMS = {name: polynomial_landscape(each["points"], each["theta0"]) for name, each in TABLE["landscapes"].items()}


def setting_of(case):
    hyper, problem = case["hyper"], PROBLEMS[case["landscape"]]
    spacetime = gn.Spacetime(int(hyper["N"]), int(hyper["B"]), int(hyper["E"]), SAMPLING[hyper.get("scheme")])
    beta, lam = (float(Fraction(hyper.get(name, "0"))) for name in ("beta", "lam"))
    start = np.asarray(problem.init(jax.random.key(0)), float)
    return read_setting(problem, start, spacetime, 1.0, "drawn", beta, False, 0.0, 0.0, lam)


def assert_coefficients(values, case, reach, target, through):
    """The monomial coefficients of a function of eta at the nodes are the table's, up to `through`."""
    found = chebyshev.cheb2poly(chebyshev.chebfit(nodes(), values, NODES - 1))
    size = np.abs(values).max()
    for k in range(through + 1):
        rounding = 30 * np.finfo(float).eps * size * NODES**k / factorial(k)
        expected = float(Fraction(case[target][k]))
        assert abs(found[k] - expected * reach**k) <= rounding + 1e-10 * abs(expected) * reach**k, (target, k)
    return found


def nodes():
    return np.cos(np.pi * (np.arange(NODES) + 0.5) / NODES)


def one_loop(setting, reach):
    """Test loss and gap after the last step at every node, to one loop, (nodes,) each."""
    spacetime, size = setting.spacetime, setting.num_pool
    weights = np.array([float(weight) for weight in noise_weights(spacetime, "drawn", size).values()])
    tie = float(gap_weight(spacetime, "drawn", size))
    rates = jnp.asarray(reach * nodes()[:, None] * np.ones(spacetime.num_steps))
    if setting.motion.hessian_damping:
        assert setting.kinds == ("column",)
        draws = every_row(spacetime, "column", size)
        run = lambda rates: run_probes(  # noqa: E731
            setting.motion, setting.start, rates, setting.pool, setting.test, *draws, keep_shift=False
        )
        record = jax.vmap(run)(rates)
        path, test = record.path_test[:, -1], record.test[:, -1].sum(1) / size
        tied = record.tied[:, -1].sum(1) / size
    else:
        record = jax.jit(jax.vmap(lambda rates: run_dense_on(setting, rates, 1)))(rates)
        path, test, tied = record.path_test[:, -1], record.test[:, -1], record.tied[:, -1]
    return np.asarray(path + test @ weights), np.asarray(-tie * tied)


def two_rows(setting):
    """All pairs of rows (n, n') of all training sets and schedules: examples, kicks, chance, and whether n = n'.

    The kick of a row is its share of the batch; a pair n = n' has twice the same row.
    """
    spacetime, size = setting.spacetime, setting.num_pool
    runs = outcomes(spacetime, "given", spacetime.num_examples)
    shares = runs.batches.swapaxes(1, 2) / spacetime.batch_size  # (S, N, T)
    if spacetime.has_epochs:  # the rows are alike: one order of the first epoch will do
        first = shares[:, :, : spacetime.steps_per_epoch]
        shares = shares[(first == first[0]).all((1, 2))]
    assert len(set(runs.chances)) == 1 or len(shares) == len(runs.chances)
    chances = np.array(runs.chances[: len(shares)], float)
    shares = np.pad(shares, ((0, 0), (0, 0), (0, LONGEST - spacetime.num_steps)))
    found = []
    for chance, own in zip(chances / chances.sum(), shares, strict=True):
        one = chance / size
        for (n, first), (m, second) in product(enumerate(own), repeat=2):
            if n == m:
                found += [((x, x), (first, second), one, True) for x in range(size)]
            else:
                found += [(both, (first, second), one / size, False) for both in product(range(size), repeat=2)]
    found += [(*found[0][:2], 0.0, False)] * (-len(found) % BLOCK)
    return tuple(map(np.array, zip(*found, strict=True)))


@partial(jax.jit, static_argnames=("motion",))
def run_at_nodes(motion, start, rates, pool, rows, kicks):
    """Coefficients of s_a^3, s_a^2 s_b^2 of the test loss and s_a^2, s_a s_b^2 of row a's loss: (nodes, R, 2) each."""

    def run(rates):
        record = run_pairs(motion, start, rates, pool, None, rows, kicks, rows[:, 0, :1], jnp.full((len(rows), 1), -1))
        return record["test"][-1], record["tied"][-1]

    return jax.vmap(run)(rates)


def second_loop(setting, reach):
    """What third and fourth cumulants and pairs of distinct rows add to test loss and gap at every node."""
    examples, kicks, chances, same = two_rows(setting)
    rows = np.repeat(examples[:, :, None], LONGEST, axis=2)
    rates = reach * nodes()[:, None] * (np.arange(LONGEST) < setting.spacetime.num_steps)
    fixed = setting.motion, setting.start, jnp.asarray(rates), setting.pool
    blocks = [slice(first, first + BLOCK) for first in range(0, len(rows), BLOCK)]
    parts = [run_at_nodes(*fixed, jnp.asarray(rows[block]), jnp.asarray(kicks[block])) for block in blocks]
    tests, ties = (np.concatenate(part, axis=1) for part in zip(*parts, strict=True))
    own, pairs = chances * same, chances * ~same  # of twice the same row: all four or three derivatives along it
    test = tests[..., 0] @ own + tests[..., 1] @ (pairs / 2 + own / 6)
    gap = -(ties[..., 0] @ own + ties[..., 1] @ (pairs + own / 3)) / setting.spacetime.num_examples
    return np.asarray(test), np.asarray(gap)


@cases
def test_one_loop_is_exact_through_order_2_in_the_test_loss_and_order_1_in_the_gap(case):
    """Every scheme; mean estimation, where the loss is quadratic and its noise additive, through order 4."""
    reach = 0.12 / int(case["hyper"]["T"])
    whole = case["landscape"] == "mean_estimation"
    with jax.enable_x64(True):
        test, gap = one_loop(setting_of(case), reach)
    found = assert_coefficients(test, case, reach, "test", through=4 if whole else 2)
    assert_coefficients(gap, case, reach, "gap", through=4 if whole else 1)
    if not whole:
        expected = float(Fraction(case["test"][3])) * reach**3
        assert abs(found[3] - expected) > 1e-3 * abs(expected)  # one loop ends here


@two_loop_cases
def test_two_loops_are_exact_through_order_4_in_the_test_loss_and_order_3_in_the_gap(case):
    """With third and fourth cumulants of one row and pairs of distinct rows; momentum and hessian update alike."""
    reach = 0.12 / int(case["hyper"]["T"])
    with jax.enable_x64(True):
        setting = setting_of(case)
        parts = zip(one_loop(setting, reach), second_loop(setting, reach), strict=True)
        test, gap = (one + two for one, two in parts)
    assert_coefficients(test, case, reach, "test", through=4)
    assert_coefficients(gap, case, reach, "gap", through=3)
