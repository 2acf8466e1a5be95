"""What runs record of their equilibrium is what it says."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.dynamics.equilibrium_records import RECORDS, equilibrium_records
from gradnoise.problem import from_arrays, penalized
from gradnoise.testbeds.scale_invariant_toys import angle_toy

POOL = np.random.default_rng(5).normal(size=(5, 2))
PARAMS = {"free": np.array(0.3), "unit": np.array([1.0, -2.0])}
PROBLEM = from_arrays(lambda w, x: (w["unit"] @ x + w["free"]) ** 2 / 2, lambda key: PARAMS, POOL)
ROWS = (POOL @ PARAMS["unit"] + PARAMS["free"])[:, None] * np.column_stack([np.ones(5), POOL])
"""The gradients of single examples, "free" first."""


def grid(batch_size=2, sampling="with_replacement"):
    return gn.Spacetime(5, batch_size, sampling=sampling, num_steps=1)


def values_of(*records):
    """The records of each kind at PARAMS, in float64, compiled together."""
    with jax.enable_x64(True):
        found = jax.jit(lambda w, x: [{name: f(w, x) for name, f in one.items()} for one in records])(PARAMS, POOL)
        return [{name: float(value) for name, value in one.items()} for one in found]


def definitions(columns=slice(None), noise_fraction=1.0):
    rows = ROWS[:, columns]
    mean, weights = rows.mean(axis=0), np.append(PARAMS["free"], PARAMS["unit"])[columns]
    noise = np.square(rows - mean).sum() / 5 / 2 * noise_fraction
    return dict(zip(RECORDS, [weights @ weights, mean @ mean, noise, mean @ mean + noise], strict=True))


def test_exact_records_are_the_definitions_for_sampling_and_groups():
    found = values_of(
        equilibrium_records(PROBLEM, grid()),
        equilibrium_records(PROBLEM, grid(sampling="subset")),
        equilibrium_records(PROBLEM, grid(), ["unit"]),
        equilibrium_records(PROBLEM, grid(), {"free": True, "unit": False}),
    )
    expected = definitions(), definitions(noise_fraction=3 / 4), definitions(slice(1, 3)), definitions(slice(0, 1))
    for one, other in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=1e-12)


def test_what_decides_is_in_the_value_so_that_equal_records_compile_once():
    names, flags = ["unit"], {"unit": True, "free": False}
    assert equilibrium_records(PROBLEM, grid(), names) == equilibrium_records(PROBLEM, grid(), flags)
    population = equilibrium_records(PROBLEM, grid(sampling="subset"), training_set="population")
    assert population == equilibrium_records(PROBLEM, grid())
    assert population != equilibrium_records(PROBLEM, grid(sampling="subset"))


def test_weight_decay_in_the_loss_is_left_out_unless_asked_for():
    decayed = penalized(PROBLEM, 0.5)
    assert equilibrium_records(decayed, grid()) == equilibrium_records(PROBLEM, grid())
    assert equilibrium_records(decayed, grid(), loss=decayed.loss) != equilibrium_records(PROBLEM, grid())


def test_estimates_from_batches_are_unbiased_and_change_with_the_bits_of_the_weights():
    kinds = {"with_replacement": definitions(), "subset": definitions(noise_fraction=3 / 4)}
    records = [equilibrium_records(PROBLEM, grid(2, sampling), num_batches=2) for sampling in kinds]
    with jax.enable_x64(True):
        nearby = {"free": PARAMS["free"] + 1e-12 * np.arange(4000), "unit": PARAMS["unit"]}
        run = lambda w: [{name: one[name](w, jnp.asarray(POOL)) for name in RECORDS[1:]} for one in records]  # noqa: E731
        found = jax.jit(jax.vmap(run, ({"free": 0, "unit": None},)))(nearby)
        for one, exact in zip(found, kinds.values(), strict=True):
            for name, values in one.items():
                draws = np.asarray(values)
                assert len(np.unique(draws.round(6))) > 3
                assert abs(draws.mean() - exact[name]) < 4.5 * draws.std() / np.sqrt(4000)


@pytest.mark.slow
def test_the_squared_norm_of_runs_follows_its_balance_step_by_step(getkey):
    """(1 - eta wd)^2 R + eta^2 (G + N) is the mean of the next |x|^2."""
    problem, rate, decay = angle_toy(), 0.3, 0.2
    spacetime = gn.Spacetime(2, 1, sampling="with_replacement", num_steps=4)
    process = gn.sgd(problem, weight_decay=decay)
    runs = gn.simulate(
        process,
        problem.init(getkey()),
        spacetime,
        rate,
        2000,
        getkey(),
        observe=equilibrium_records(problem, spacetime),
        training_set="given",
    ).observables
    before, after = runs["squared_norm"][:, :-1], runs["squared_norm"][:, 1:]
    left = after - (1 - rate * decay) ** 2 * before
    change = left - rate**2 * (runs["gradient_norm_squared"] + runs["batch_noise_trace"])[:, :-1]
    assert np.all(np.abs(change.mean(axis=0)) < 4.5 * change.std(axis=0) / np.sqrt(2000) + 1e-6)
    np.testing.assert_allclose(runs["gradient_norm_squared"] * runs["squared_norm"], 0.36, rtol=1e-4)


@pytest.mark.parametrize(
    ("wrong", "error", "words"),
    [
        ({"problem": 3}, TypeError, "problem is a int"),
        ({"spacetime": 3}, TypeError, "spacetime is int"),
        ({"num_batches": 1}, ValueError, "num_batches=1 is below 2"),
        ({"groups": "unit"}, TypeError, "groups='unit' is no collection of names"),
        ({"groups": []}, ValueError, "groups names no parameter group"),
        ({"groups": {"unit": False}}, ValueError, "groups names no parameter group"),
        ({"training_set": "mine"}, ValueError, "training_set='mine' is unknown"),
    ],
)
def test_wrong_calls_are_one_sentence(wrong, error, words):
    with pytest.raises(error, match=words):
        equilibrium_records(**({"problem": PROBLEM, "spacetime": grid()} | wrong))


def test_a_group_that_is_not_there_is_told_with_the_nearest_one():
    records = equilibrium_records(PROBLEM, grid(), ["uint"])
    with pytest.raises(ValueError, match=r"groups='uint' is unknown.*Did you mean 'unit'"):
        records["squared_norm"](PARAMS, POOL)
