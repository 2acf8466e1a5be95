"""`gradnoise stationary`: what is known to be stationary is called so, what still moves is not."""

import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.experiment import stationary_run
from gradnoise.report.source import Source
from gradnoise.report.stationary import stationary_cards


def told(tree):
    return "\n".join(line for _, finding, more, _ in stationary_cards(Source(tree)) for line in (finding, *more))


@pytest.fixture(scope="module")
def problem():
    """Two weights whose steps contract by 1 - 0.1 (1 + 0.01): settled after some fifty steps."""
    pool = np.array([[0.0, 1.0], [2.0, -1.0], [1.0, 0.5], [-3.0, 2.0]])
    return gn.from_arrays(lambda w, x: jnp.sum((w - x) ** 2) / 2, lambda key: np.array([3.0, 3.0]), pool, "quadratic")


@pytest.mark.slow
def test_a_quadratic_is_stationary_and_an_equilibrium_and_the_identities_hold(problem):
    config = stationary_run.Config(learning_rate=0.1, batch_size=2, num_steps=40_000)
    tree = stationary_run.run(problem, config)
    found = tree["stationary"].to_dataset()
    for name in ("norm", "loss"):
        at = found.sel(identity=name, form="discrete")
        assert float(at["identity_ratio_low"]) < 1 < float(at["identity_ratio_high"])
    assert "Nothing speaks against a stationary run" in told(tree)
    assert "not told from reversible" in told(tree)
    assert found.attrs["temperature"] == 0.05


@pytest.mark.slow
def test_a_run_that_has_just_begun_is_not_stationary(problem):
    config = stationary_run.Config(learning_rate=0.0005, batch_size=2, weight_decay=0.0, num_steps=4000)
    assert "not stationary" in told(stationary_run.run(problem, config))


@pytest.mark.slow
def test_one_weight_has_nowhere_to_circulate():
    config = stationary_run.Config(num_steps=2000)
    assert "nowhere to circulate" in told(stationary_run.run(gn.testbeds.problem("mean-estimation"), config))


def test_steps_and_records_fit():
    config = stationary_run.Config(num_steps=12_345)
    assert config.whole_steps % config.every == 0 == config.burn_in % config.every
    assert 0 < config.burn_in < config.whole_steps <= 12_345


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"learning_rate": 0}, "learning_rate"), ({"num_steps": 10}, "num_steps"), ({"sampling": "fixed"}, "sampling")],
)
def test_settings_that_do_not_do_are_refused(settings, named):
    with pytest.raises(ValueError, match=named):
        stationary_run.Config(**settings)


def test_batches_larger_than_the_training_set_are_refused(problem):
    with pytest.raises(ValueError, match="batch_size=8"):
        stationary_run.run(problem, stationary_run.Config(sampling="subset"))
