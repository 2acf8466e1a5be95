"""Verdicts on constructed cases, and prediction against simulation on cases with known truth."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

import gradnoise as gn
from gradnoise.dynamics.simulation import Simulation
from gradnoise.experiment import compare, control_variates, residual_slope
from gradnoise.experiment.comparison import simultaneous_band
from gradnoise.experiment.residuals import fit_power_law
from gradnoise.predict import Curve

SPACETIME = gn.Spacetime(4, 2)


def constructed(curve, runs, dtype="float64"):
    """A prediction (steps, orders) and a simulation whose test losses are `runs` (replica, step)."""
    steps = np.arange(3)
    prediction = Curve(curve, np.zeros_like(curve), 10, learning_rate=0.1, spacetime=SPACETIME, problem_name="made")
    simulation = Simulation(
        {"test_loss": runs, "train_loss": runs, "gap": 0 * runs}, steps, np.full(len(runs), -1), None, SPACETIME, 0.1,
        len(runs), "drawn", None, dtype, "cpu", 1, 1, "population", "made", "sgd",
    )  # fmt: skip
    return prediction, simulation


def noisy_runs(rng, means, spread, num_replicas=400):
    noise = rng.normal(size=(num_replicas, 1)) * np.array([0.0, 1.0, 2.0])
    return np.asarray(means) + spread * (noise - noise.mean(0))


CURVE = np.array([[1.0, 1.0, 1.0], [1.0, 0.9, 0.91], [1.0, 0.8, 0.84]])
"""Orders 0, 1, 2 at steps 0, 1, 2: the last terms are 0.01 and 0.04."""


@pytest.mark.parametrize(
    ("means", "spread", "verdict"),
    [
        ((1.0, 0.91, 0.84), 1e-3, "agrees"),
        ((1.0, 0.91, 0.84), 3.0, "statistical"),
        ((1.0, 0.908, 0.83), 1e-3, "truncation"),
        ((1.0, 0.91, 0.94), 1e-3, "disagrees"),
    ],
)
def test_verdict_of_the_highest_order(rng, means, spread, verdict):
    prediction, simulation = constructed(CURVE, noisy_runs(rng, means, spread))
    assert compare(prediction, simulation).verdict == verdict


def test_low_orders_are_excused_by_the_orders_above_them(rng):
    prediction, simulation = constructed(CURVE, noisy_runs(rng, (1.0, 0.91, 0.84), 1e-4))
    assert compare(prediction, simulation).verdicts == ("truncation", "truncation", "agrees")


def test_exact_agreement_up_to_rounding_is_no_disagreement():
    runs = np.tile(CURVE[:, -1], (10, 1)) + 1e-15
    prediction, simulation = constructed(CURVE, runs)
    assert compare(prediction, simulation).verdict == "agrees"


def test_the_domain_ends_where_the_last_term_is_a_third_of_the_change(rng):
    curve = np.array([[1.0, 1.0], [1.0, 0.9], [1.0, 0.8]])
    curve = np.column_stack([curve, [1.0, 0.905, 0.9]])
    prediction, simulation = constructed(curve, noisy_runs(rng, curve[:, -1], 1e-4))
    assert compare(prediction, simulation).domain_end() == 2


@pytest.mark.parametrize("correlation", [0.0, 0.9])
def test_the_band_holds_at_all_steps_at_once_with_99_percent(rng, correlation):
    num_steps, repetitions = 20, 20_000
    shared = rng.normal(size=(repetitions, 1))
    z = np.sqrt(correlation) * shared + np.sqrt(1 - correlation) * rng.normal(size=(repetitions, num_steps))
    misses = np.mean(np.abs(z).max(axis=1) > simultaneous_band(num_steps, 10**6))
    assert misses < 0.01 + 4 * np.sqrt(0.01 * 0.99 / repetitions)


def mean_problem(pool):
    return gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), pool)


def test_paired_processes_have_the_error_of_their_difference(getkey):
    problem, key = mean_problem(np.array([0.0, 2.0])), getkey()
    spacetime, start = gn.Spacetime(8, 2), np.float64(0)
    runs = [
        gn.simulate(process, start, spacetime, 0.1, 500, key, dtype="float64")
        for process in (gn.sgd(problem), gn.sgd(problem, momentum=0.1))
    ]
    paired, independent = compare(*runs, paired=True), compare(*runs)
    difference = runs[1].observables["test_loss"] - runs[0].observables["test_loss"]
    np.testing.assert_allclose(paired.stderr[:, 0], difference.std(0, ddof=1) / np.sqrt(500))
    assert paired.stderr[-1, 0] < 0.3 * independent.stderr[-1, 0]


def logistic_setting(getkey, num_replicas, rates, controlled, max_order=3):
    """digits-logistic on 200 examples, N = 20, B = 2, E = 2: comparisons by learning rate, each with own replicas."""
    problem = gn.testbeds.problem("digits-logistic", num_pool=200)
    params, spacetime = problem.init(jax.random.key(0)), gn.Spacetime(20, 2, 2)
    values = gn.diagram_values(problem, params, max_order=max_order)
    observe, found = control_variates(problem, params), []
    for rate in rates:
        key = getkey()
        runs = gn.simulate(gn.sgd(problem), params, spacetime, rate, num_replicas, key, every=20, dtype="float64")
        records = gn.simulate(
            gn.sgd(problem), params, spacetime.truncate(0), rate, num_replicas, key, observe, dtype="float64"
        )
        curve = gn.predict_curve(values, spacetime, rate)
        found.append(compare(curve, runs, controls=records if controlled else None))
    return values, found


@pytest.mark.slow
def test_control_variates_leave_the_mean_and_shrink_the_error(getkey):
    """Against 16 times as many plain replicas: the adjusted mean is within 4 standard errors, its error 5 times less."""
    _, (adjusted,) = logistic_setting(getkey, 500, [0.01], controlled=True, max_order=1)
    _, (plain,) = logistic_setting(getkey, 8000, [0.01], controlled=False, max_order=1)
    difference = adjusted.simulated.value[-1] - plain.simulated.value[-1]
    assert abs(difference) < 4 * np.hypot(adjusted.simulated.stderr[-1], plain.simulated.stderr[-1])
    assert adjusted.simulated.stderr[-1] < plain.simulated.stderr[-1] * np.sqrt(16) / 5


def test_a_control_whose_mean_is_not_zero_is_refused(getkey):
    problem = mean_problem(np.array([0.0, 2.0]))
    observe = {"control_wrong": lambda params, examples: jnp.sum(examples)}
    runs = gn.simulate(gn.sgd(problem), np.float64(0), SPACETIME, 0.1, 500, getkey(), observe, dtype="float64")
    curve = gn.predict_curve(gn.diagram_values(problem, np.float64(0)), SPACETIME, 0.1)
    with pytest.raises(ValueError, match=r"control_wrong.*standard errors from zero"):
        compare(curve, runs, controls=runs)


def test_the_exponent_of_a_bent_power_law_is_found(rng):
    rates = np.geomspace(0.01, 0.08, 4)
    truth = 5 * rates**3 * (1 - 4 * rates)
    _, low, high = fit_power_law(rates, truth + 1e-7 * rng.normal(size=4), np.full(4, 1e-7))
    assert low <= 3 <= high
    assert high - low < 0.6


BAD_CALLS = [
    ({"prediction": 3}, TypeError, "prediction"),
    ({"simulation": None}, TypeError, "simulation"),
    ({"paired": True}, ValueError, "paired=True"),
    ({"controls": {"a": 1}}, TypeError, "controls"),
]


@pytest.mark.parametrize(("change", "error", "word"), BAD_CALLS)
def test_a_wrong_call_is_one_sentence_that_names_the_argument(rng, change, error, word):
    prediction, simulation = constructed(CURVE, noisy_runs(rng, CURVE[:, -1], 0.1))
    with pytest.raises(error, match=word):
        compare(**{"prediction": prediction, "simulation": simulation, **change})


def test_a_prediction_for_another_learning_rate_is_refused(getkey):
    problem = mean_problem(np.array([0.0, 2.0]))
    runs = gn.simulate(gn.sgd(problem), np.float64(0), SPACETIME, 0.1, 5, getkey())
    curve = gn.predict_curve(gn.diagram_values(problem, np.float64(0)), SPACETIME, 0.2)
    with pytest.raises(ValueError, match="learning_rate differs"):
        compare(curve, runs)


def test_a_prediction_for_another_optimizer_is_refused(getkey):
    problem = mean_problem(np.array([0.0, 2.0]))
    values = gn.diagram_values(problem, np.float64(0))
    curve = gn.predict_curve(values, SPACETIME, 0.1, momentum=0.5)
    for process, word in (
        (gn.sgd(problem), "momentum"),
        (gn.sgd(problem, momentum=0.5, weight_decay=0.1), "weight_decay"),
    ):
        runs = gn.simulate(process, np.float64(0), SPACETIME, 0.1, 5, getkey())
        with pytest.raises(ValueError, match=f"{word} differs"):
            compare(curve, runs)


def test_processes_of_other_problems_are_not_compared(getkey):
    a, b = (
        gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]), name)
        for name in ("one", "other")
    )
    runs = [gn.simulate(gn.sgd(problem), np.float64(0), SPACETIME, 0.1, 5, getkey()) for problem in (a, b)]
    with pytest.raises(ValueError, match="problem_name differs"):
        compare(*runs)


def test_two_processes_that_cannot_be_told_apart_are_not_called_equal(getkey):
    problem = mean_problem(np.array([0.0, 2.0]))
    runs = [gn.simulate(gn.sgd(problem), np.float64(0), SPACETIME, 0.1, 20, getkey()) for _ in range(2)]
    assert compare(*runs).verdict == "statistical"


def test_a_comparison_goes_into_a_results_file(getkey, tmp_path):
    problem = mean_problem(np.array([0.0, 2.0]))
    runs = gn.simulate(gn.sgd(problem), np.float64(0), SPACETIME, 0.1, 50, getkey())
    comparison = compare(gn.predict_curve(gn.diagram_values(problem, np.float64(0)), SPACETIME, 0.1), runs)
    gn.save(comparison, tmp_path / "one.nc")
    assert gn.load(tmp_path / "one.nc")["compared"]["verdict"].shape == (1, 1, 4)


def test_fewer_than_four_learning_rates_give_no_slope(rng):
    prediction, simulation = constructed(CURVE, noisy_runs(rng, CURVE[:, -1], 0.1))
    with pytest.raises(ValueError, match="4 different"):
        residual_slope([compare(prediction, simulation)] * 5, 1)


# The slow evidence: slopes on real data, a perturbed coefficient found out, and calibrated cells.

RANGES = {0: (2e-4, 1.6e-3), 1: (1e-3, 8e-3), 2: (2e-3, 1.2e-2), 3: (8e-3, 3e-2)}


@pytest.mark.slow
@pytest.mark.parametrize("order", [0, 1, 2, 3])
def test_the_residual_of_order_k_falls_as_the_learning_rate_to_the_k_plus_1(getkey, order):
    rates = [float(f"{rate:.3g}") for rate in np.geomspace(*RANGES[order], 4)]
    _, comparisons = logistic_setting(getkey, 8000, rates, controlled=True)
    slope = residual_slope(comparisons, order)
    assert slope.holds, slope
    assert slope.high - slope.low < 1.5, slope


@pytest.mark.slow
@pytest.mark.parametrize("order", [0, 1, 2])
def test_the_residual_of_an_mlp_falls_as_the_learning_rate_to_the_k_plus_1(getkey, order):
    problem = gn.testbeds.problem("digits-mlp", num_pool=200)
    params, spacetime = problem.init(jax.random.key(0)), gn.Spacetime(20, 2, 2)
    values, observe = gn.diagram_values(problem, params, max_order=2), control_variates(problem, params)
    comparisons = []
    for rate in np.geomspace(*RANGES[order], 4):
        key, rate = getkey(), float(f"{rate:.3g}")
        runs = gn.simulate(gn.sgd(problem), params, spacetime, rate, 3000, key, every=20, dtype="float64")
        start = gn.simulate(gn.sgd(problem), params, spacetime.truncate(0), rate, 3000, key, observe, dtype="float64")
        comparisons.append(compare(gn.predict_curve(values, spacetime, rate), runs, controls=start))
    slope = residual_slope(comparisons, order)
    assert slope.holds, slope
    assert slope.high - slope.low < 1.5, slope


@pytest.mark.slow
def test_a_coefficient_that_is_off_by_10_percent_is_found_out(getkey):
    """The same residuals with the order-2 coefficient perturbed: the slope of order 2 is then 2, not 3."""
    rates = [float(f"{rate:.3g}") for rate in np.geomspace(*RANGES[2], 4)]
    values, comparisons = logistic_setting(getkey, 8000, rates, controlled=True)
    second = gn.series_coefficients(values, gn.Spacetime(20, 2, 2)).value[2]
    residuals = np.array([c.difference[-1, 2] for c in comparisons]) - 0.1 * second * np.array(rates) ** 2
    errors = np.array([c.stderr[-1, 2] for c in comparisons])
    value, low, high = fit_power_law(np.array(rates), residuals, errors)
    assert not low <= 3 <= high
    assert abs(value - 2) < 0.5


def one_cell(key):
    """z of one independent cell: own problem (pool, start), own replicas, one step of the run."""
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    pool = rng.normal(size=(6, 3)) * rng.uniform(0.5, 2)
    problem = gn.from_arrays(cell_loss, lambda key: jnp.zeros(2), pool)
    params, spacetime = rng.normal(size=2) * 0.5, gn.Spacetime(6, 2, 1, "reshuffle")
    values = gn.diagram_values(problem, params, max_order=3)
    runs = gn.simulate(gn.sgd(problem), params, spacetime, 3e-3, 300, key, every=3, dtype="float64")
    comparison = compare(gn.predict_curve(values, spacetime, 3e-3), runs)
    assert comparison.last_term[-1, -1] < comparison.stderr[-1, -1] / 5
    return comparison.z[-1, -1]


def cell_loss(w, x):
    return jnp.log(jnp.cosh(w @ x[:2] - x[2])) + 0.05 * jnp.sum(w**4)


@pytest.mark.slow
def test_z_scores_of_200_independent_cells_are_standard_normal(getkey):
    z = np.array([one_cell(getkey()) for _ in range(200)])
    assert 0.02 <= np.mean(np.abs(z) > 1.96) <= 0.09
    assert stats.kstest(z, "norm").pvalue > 0.001


def test_a_series_on_a_schedule_is_compared_with_runs_on_that_schedule():
    problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]))
    spacetime, rates = gn.Spacetime(4, 2), np.array([0.02, 0.01])
    values = gn.diagram_values(problem, 0.0, max_order=2)
    curve = gn.predict_curve(values, spacetime, 0.02, schedule=lambda step: rates[step] / 0.02)
    runs = gn.simulate(gn.sgd(problem), np.float32(0), spacetime, rates, 2000, jax.random.key(0))
    assert gn.compare(curve, runs).verdict in ("agrees", "statistical")
    flat = gn.simulate(gn.sgd(problem), np.float32(0), spacetime, 0.02, 10, jax.random.key(0))
    with pytest.raises(ValueError, match="learning_rate differs"):
        gn.compare(curve, flat)


def test_a_predicted_variance_is_not_compared_with_a_recorded_loss():
    problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: np.float64(0.0), np.array([0.0, 2.0]))
    values = gn.diagram_values(problem, 0.0, max_order=2, variance=True)
    curve = gn.predict_curve(values, gn.Spacetime(4, 2), 0.01, target="variance")
    runs = gn.simulate(gn.sgd(problem), np.float32(0), gn.Spacetime(4, 2), 0.01, 10, jax.random.key(0))
    with pytest.raises(ValueError, match="not recorded by simulate"):
        gn.compare(curve, runs)
    orders = gn.to_results(values)["order"].values
    assert orders.max() == 2
