"""The cost that is told before values are measured, orders and groups that are refused, and values from groups."""

import warnings
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.measure.branches import tags
from gradnoise.measure.entries import entries_through, node_kinds
from gradnoise.measure.values_cost import MANY_GRADIENTS, estimate_values, warn_of_cost, work


def loss(w, x):
    return jnp.sin(w @ x) + w[0] ** 2 * x[1]


ROWS = np.random.default_rng(5).normal(size=(60, 2)).round(2)
DRAWN = gn.Problem(loss, lambda key, n: jnp.asarray(ROWS[:n]), lambda key: jnp.zeros(2))
START = np.array([0.3, -0.8])


def planned(order, n, method="population", groups=None):
    entries = entries_through(order, held_out=False, variance=False)
    return work(entries, [node_kinds(entry, False, False) for entry in entries], n, method, groups)


def test_values_from_groups_are_the_mean_of_each_groups_own(getkey):
    found = gn.diagram_values(DRAWN, START, 1, "unbiased", num_draws=60, key=getkey(), num_groups=4)
    own = []
    for group in range(4):
        rows = ROWS[15 * group : 15 * (group + 1)]
        own.append(gn.diagram_values(gn.from_arrays(loss, DRAWN.init, rows), START, 1, "unbiased").table.value)
    np.testing.assert_allclose(found.table.value, np.mean(own, axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.table.covariance, np.cov(np.array(own).T) / 4, rtol=1e-10, atol=1e-16)
    assert found.table.num_samples == 60


@pytest.mark.slow
def test_groups_are_unbiased_forests_too_over_all_samples_of_a_small_pool(getkey):
    """Every one of the 2^5 samples of 5 draws from two examples as a group: the mean is the population's value."""
    samples = np.array(list(product(range(2), repeat=5)))
    rows = ROWS[samples.ravel()]
    every = gn.Problem(loss, lambda key, n: jnp.asarray(rows), DRAWN.init)
    found = gn.diagram_values(
        every, START, 3, "unbiased", num_draws=len(rows), key=getkey(), num_groups=len(samples), variance=True
    )
    truth = gn.diagram_values(gn.from_arrays(loss, DRAWN.init, ROWS[:2]), START, 3, variance=True)
    assert found.entries == truth.entries
    np.testing.assert_allclose(found.table.value, truth.table.value, rtol=1e-8, atol=1e-10)


@pytest.mark.slow
def test_errors_of_groups_hold_at_order_2(getkey):
    """z-scores of all values against the pool's own, which is the population: their mean square is one."""
    problem = gn.from_arrays(loss, DRAWN.init, ROWS)
    exact = gn.diagram_values(problem, START, max_order=2)
    found = gn.diagram_values(problem, START, 2, "unbiased", num_draws=6000, key=getkey(), num_groups=200)
    z = (found.table.value - exact.table.value) / found.table.stderr
    assert np.all(np.abs(z) < 4.5)


@pytest.mark.parametrize(("order", "power"), [(1, 1), (2, 2), (3, 2), (4, 3)])
def test_the_work_of_a_population_grows_as_a_power_of_its_size(order, power):
    """One example at a time; the mean along each example's gradient; from order 4 on pairs of examples at a mean."""
    small, large = planned(order, 10**4).losses, planned(order, 10**5).losses
    assert np.log10(large / small) == pytest.approx(power, abs=0.1)


def test_groups_cost_in_proportion_to_their_number():
    assert planned(3, 1200, "unbiased", 40).losses == 2 * planned(3, 600, "unbiased", 20).losses
    assert planned(3, 1200, "unbiased", 40).losses < planned(3, 1200, "unbiased").losses / 1000


def test_the_number_of_loops_counts_contractions_in_which_examples_meet():
    done = planned(4, 100)
    assert sum(len(tags(plan)) > 1 for plan in done.plans) < done.num_loops < 2 * len(done.plans)


def test_an_estimate_tells_counts_time_and_memory():
    problem = gn.from_arrays(loss, DRAWN.init, ROWS)
    third, fourth = (estimate_values(problem, START, order) for order in (3, 4))
    assert (third.num_values, fourth.num_values) == (60, 389)
    assert third.gradients < fourth.gradients
    assert 0 < third.seconds < fourth.seconds
    assert 0 < third.memory <= fourth.memory


def test_much_work_is_told_beforehand_with_the_way_out():
    with pytest.warns(UserWarning, match=r"num_draws=1200.*num_groups=40"):
        warn_of_cost(planned(4, 1797), 4)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_cost(planned(3, 1797), 3)
    assert planned(4, 1797).losses > 10 * MANY_GRADIENTS


BAD_CALLS = [
    ({"max_order": 7}, "55,818 diagrams"),
    ({"max_order": -1}, "max_order=-1"),
    ({"num_groups": 1}, "num_groups=1"),
    ({"num_groups": 4, "num_draws": None}, "num_draws"),
    ({"num_groups": 4, "method": "population", "num_draws": None}, 'method="unbiased"'),
    ({"num_groups": 7}, "equal groups"),
    ({"num_groups": 30, "max_order": 2}, "equal groups"),
]


@pytest.mark.parametrize(("change", "word"), BAD_CALLS)
def test_orders_and_groups_that_do_not_do_are_named(change, word):
    arguments = {"max_order": 1, "method": "unbiased", "num_draws": 60, "key": jax.random.key(0), **change}
    with pytest.raises(ValueError, match=word):
        gn.diagram_values(DRAWN, START, **arguments)


def test_estimates_refuse_what_measuring_refuses():
    problem = gn.from_arrays(loss, DRAWN.init, ROWS)
    for change, word in (
        ({"max_order": 7}, "55,818"),
        ({"method": "exact"}, "method='exact'"),
        ({"num_groups": 3}, "num_groups=3"),
    ):
        with pytest.raises(ValueError, match=word):
            estimate_values(problem, START, **change)
    with pytest.raises(ValueError, match="num_draws"):
        estimate_values(DRAWN, START)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"num_draws": 3}, "num_draws=3 is below 4"),
        ({"num_draws": 4, "variance": True}, "num_draws=4 is below 5"),
        ({"num_draws": 6, "num_groups": 2}, "equal groups of at least 4"),
        ({"method": "population", "num_draws": 60}, "no meaning"),
    ],
)
def test_estimate_and_measurement_refuse_too_few_draws_in_the_same_words(change, word):
    problem = gn.from_arrays(loss, DRAWN.init, ROWS)
    arguments = {"max_order": 3, "method": "unbiased", **change}
    for function, key in ((estimate_values, {}), (gn.diagram_values, {"key": jax.random.key(0)})):
        with pytest.raises(ValueError, match=word):
            function(problem, START, **arguments, **key)


def test_a_forest_that_was_not_measured_is_called_one():
    values = gn.diagram_values(gn.from_arrays(loss, DRAWN.init, ROWS), START, 1)
    with pytest.raises(KeyError, match="variance=True"):
        values.index(gn.Diagram.parse("(02-1-3-4)(01-14-23-34)"), "variance")
