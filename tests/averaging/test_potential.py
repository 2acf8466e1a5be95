"""v, a and the temperature: the stationary density against a solver, slopes against differences, printed forms that fail."""

import numpy as np
import pytest
from scipy import sparse
from scipy.sparse.linalg import spsolve

from gradnoise.averaging import (
    EffectivePotential,
    approximate_loss_slope,
    effective_potential,
    gap_parts,
    gaussian_mean,
    logistic_model,
    mean_estimation_losses,
    potential_moments,
    predicted_optimum,
    temperature_slope,
)
from gradnoise.averaging.moments import normalized_on_grid
from gradnoise.stationary import boltzmann_exponents

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(30)
FIRST, SECOND = (each.ravel() for each in np.meshgrid(NODES, NODES))
NORMAL_WEIGHTS = np.multiply.outer(WEIGHTS, WEIGHTS).ravel() / WEIGHTS.sum() ** 2
GRID = np.linspace(-9, 9, 361)


def gaussian_potential():
    """v and a jointly Gaussian over training sets at every theta."""
    v = GRID**2 / 2 + np.multiply.outer(FIRST, 0.4 * np.sin(GRID))
    a = 0.1 * np.cos(GRID) + np.multiply.outer(0.6 * FIRST + 0.8 * SECOND, 0.3 * np.tanh(GRID))
    return EffectivePotential(v, a, NORMAL_WEIGHTS, GRID[1] - GRID[0])


def narrow_well():
    """Half of the training sets have a narrow well where the others have none; the test loss is the mean of both."""
    grid = np.linspace(-6, 6, 1201)
    well = 2 * np.exp(-((grid - 2) ** 2) / (2 * 0.1**2))
    v = np.stack([grid**2 / 2 - well, grid**2 / 2])
    return EffectivePotential(v, np.zeros_like(v), np.full(2, 0.5), 0.01), v.mean(axis=0)


def stationary_density(drift, noise, cell):
    """The density with no probability current of d theta = -drift dt + sqrt(noise) dW, differences on the grid's faces.

    The current -drift rho - (noise rho)'/2 is set to zero between neighbours, by central differences: a sparse solve.
    """
    n = len(drift)
    half = (drift[1:] + drift[:-1]) / 4
    lower, upper = half - noise[:-1] / (2 * cell), half + noise[1:] / (2 * cell)
    matrix = sparse.lil_matrix((n, n))
    matrix[np.arange(n - 1), np.arange(n - 1)] = lower
    matrix[np.arange(n - 1), np.arange(1, n)] = upper
    matrix[n - 1, :] = cell
    return spsolve(matrix.tocsr(), np.append(np.zeros(n - 1), 1.0))


@pytest.mark.parametrize("temperature", [0.3, 2.0])
def test_in_one_dimension_the_density_is_that_of_the_diffusion_without_current(temperature):
    """a = ln(D + beta^2) and v = int (U' + alpha theta)/(D + beta^2), against -(f) rho = (T/2) ((D + beta^2) rho)'."""
    grid = np.linspace(-6, 6, 4801)
    slope, noise = np.tanh(grid) + 0.3 * np.sin(2 * grid), 0.5 + 0.4 * np.sin(grid) ** 2
    potential = effective_potential(grid, [slope], [noise], weight_decay=0.2, injected_noise=0.3)
    found = potential.at_temperature(temperature).density[0]
    solved = stationary_density(slope + 0.2 * grid, temperature * (noise + 0.09), potential.cell)
    np.testing.assert_allclose(found, solved, atol=2e-5 * solved.max())
    assert potential.v[0, 2400] == 0


def test_moments_of_the_exponent_have_their_cross_term_and_the_printed_ones_do_not():
    """Erratum 12: sigma_g^2, and (24): sigma_g^2 = (2 sigma_v/T)^2 (1 + T sigma_va/sigma_v^2 + (T sigma_a/2 sigma_v)^2)."""
    model = logistic_model(561)
    moments = potential_moments(model.potential)
    inside = np.abs(model.grid) > 0.2
    shares = []
    for T in (0.3, 1.0, 3.0):
        ensemble, g = model.potential.at_temperature(T), model.potential.exponent(T)
        exact = ensemble.data_covariance(g, g)
        np.testing.assert_allclose(moments.exponent_variance(T), exact, rtol=1e-9, atol=1e-12)
        v2, a2, va = (each[inside] for each in (moments.v_variance, moments.a_variance, moments.covariance))
        deviation = 2 / T * np.sqrt(v2 * (1 + T * va / v2 + T**2 * a2 / (4 * v2)))
        np.testing.assert_allclose(deviation, np.sqrt(exact)[inside], rtol=1e-9)
        missing = np.abs(exact - moments.exponent_variance(T, "printed"))
        shares.append(float(np.sum(ensemble.mean_density * missing) / np.sum(ensemble.mean_density * exact)))
    assert 0.005 < shares[0] < shares[1] < shares[2] < 0.3


def test_the_exponent_of_the_mean_density_is_exact_for_gaussian_v_and_a_and_the_printed_one_is_not():
    """Erratum 11, (25): ln E exp(-(2/T) v - a); the printed form is right at T = 2 alone, where 2/T = 1."""
    potential = gaussian_potential()
    moments = potential_moments(potential)
    for T in (0.6, 2.0, 5.0):
        exact = np.log(NORMAL_WEIGHTS @ np.exp(-potential.exponent(T)))
        np.testing.assert_allclose(moments.log_mean_density(T), exact, atol=1e-9)
        error = np.max(np.abs(moments.log_mean_density(T, "printed") - exact))
        assert error > 0.02 if T != 2.0 else error < 1e-9


def approximate_average(moments, f, temperature, form):
    weights = np.exp(normalized_on_grid(moments.log_mean_density(temperature, form), "(25)"))
    return float(weights @ f)


def test_the_slope_over_the_approximate_density_is_its_derivative_and_over_the_printed_density_it_is_not():
    """V: to 1e-6; d<<U>>/dbeta = beta Cov(U, sigma_v^2) - Cov(U, vbar - sigma_va), beta = 2/T, of the corrected (25)."""
    moments, U = potential_moments(gaussian_potential()), GRID**2 / 2 + 0.3 * np.sin(GRID)
    for T in (0.8, 5.0):
        for form, right in (("corrected", True), ("printed", False)):
            beta, step = 2 / T, 1e-5
            ends = [approximate_average(moments, U, 2 / each, form) for each in (beta + step, beta - step)]
            derivative = -2 / T**2 * (ends[0] - ends[1]) / (2 * step)
            slope = approximate_loss_slope(moments, U, T, form)
            assert (abs(slope - derivative) < 1e-6) == right


def test_the_second_derivative_of_the_normalization_has_the_mean_of_sigma_v_squared():
    """Erratum 13: d^2 ln Zbar/dbeta^2 = Var(-vbar + beta sigma_v^2 + sigma_va) + <<sigma_v^2>>. V: 1e-4."""
    moments, beta, step = potential_moments(gaussian_potential()), 1.3, 1e-3
    log_norm = [np.log(np.sum(np.exp(moments.log_mean_density(2 / each)))) for each in (beta + step, beta, beta - step)]
    second = (log_norm[0] - 2 * log_norm[1] + log_norm[2]) / step**2
    weights = np.exp(normalized_on_grid(moments.log_mean_density(2 / beta), "(25)"))
    slope = -moments.v_mean + beta * moments.v_variance + moments.covariance
    variance = weights @ (slope - weights @ slope) ** 2
    assert variance + weights @ moments.v_variance == pytest.approx(second, abs=1e-4)
    assert second - variance > 0.02


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_the_exact_slopes_of_train_and_test_loss_are_their_derivatives(temperature):
    """(27), V: 1e-5; with U_l for the train loss and Ubar for the test loss, whatever the constants in v."""
    model, step = logistic_model(561), 1e-4
    shift = np.random.default_rng(0).normal(size=(len(model.losses), 1))
    shifted = EffectivePotential(
        model.potential.v + shift, model.potential.a, model.potential.weights, model.potential.cell
    )
    parts = [
        gap_parts(model.potential.at_temperature(T), model.losses) for T in (temperature + step, temperature - step)
    ]
    for f, name in ((model.losses, "train"), (model.mean_loss, "test")):
        difference = (getattr(parts[0], name) - getattr(parts[1], name)) / (2 * step)
        for potential in (model.potential, shifted):
            assert temperature_slope(potential, f, temperature) == pytest.approx(difference, rel=1e-5)


def test_the_slope_is_the_covariance_of_all_less_that_between_training_sets():
    """(27), its second form: (2/T^2)[Cov_{theta,x}(v, U) - Cov_x(<v>, <U>)]."""
    model, T = logistic_model(561), 1.0
    ensemble, v, U = model.potential.at_temperature(T), model.potential.v, model.losses
    together = ensemble.average(v * U) - ensemble.average(v) * ensemble.average(U)
    w, means = ensemble.weights, (ensemble.set_averages(v), ensemble.set_averages(U))
    between = w @ (means[0] * means[1]) - (w @ means[0]) * (w @ means[1])
    assert temperature_slope(model.potential, U, T) == pytest.approx(2 / T**2 * (together - between), rel=1e-9)


@pytest.mark.parametrize(("s", "M"), [(0.5, 1.0), (0.2, 3.0)])
def test_for_mean_estimation_the_predicted_optimum_is_an_artefact_and_is_said_to_be(s, M):
    """Erratum 17, (26), B6.2: T = 4 s/M, where the test loss, T M/4 + s, only rises."""
    model = gaussian_mean(s, M)
    found = predicted_optimum(model.potential, model.mean_loss, (s / M, 20 * s / M))
    assert found.predicted == pytest.approx(4 * s / M, rel=1e-8)
    assert not found.is_real
    assert np.isnan(found.exact)
    for T in (s / M, 4 * s / M, 20 * s / M):
        assert temperature_slope(model.potential, model.mean_loss, T) == pytest.approx(M / 4, rel=1e-9)


def test_the_predicted_optimum_solves_its_equation():
    """(26) itself, with covariances under the approximate density at T_opt."""
    potential, U = narrow_well()
    T, moments = predicted_optimum(potential, U, (0.05, 5.0)).predicted, potential_moments(potential)
    weights = np.exp(normalized_on_grid(moments.log_mean_density(T), "(25)"))
    covariance = lambda f, h: weights @ (f * h) - (weights @ f) * (weights @ h)  # noqa: E731
    ratio = covariance(U, moments.v_variance) / covariance(U, moments.v_mean - moments.covariance)
    assert pytest.approx(2 * ratio, rel=1e-6) == T


def test_an_optimum_that_is_there_is_found_and_a_prediction_beside_it_told_as_real():
    """At low temperature weights sit in the wells of single training sets, which are half as deep in the mean."""
    potential, U = narrow_well()
    found = predicted_optimum(potential, U, (0.05, 5.0))
    assert found.is_real
    loss = lambda T: potential.at_temperature(T).double_average(U)  # noqa: E731
    assert loss(found.exact) < min(loss(found.exact * 0.97), loss(found.exact * 1.03))
    assert temperature_slope(potential, U, found.exact) == pytest.approx(0, abs=1e-8)
    assert found.exact / 2 < found.predicted < 2 * found.exact


def test_without_any_temperature_at_which_the_approximation_is_normalizable_nothing_is_predicted():
    model = logistic_model(281)
    with pytest.raises(ValueError, match="not normalizable on the grid between"):
        predicted_optimum(model.potential, model.mean_loss, (0.3, 3.0))
    with pytest.raises(ValueError, match=r"approximate density \(25\) at T=1 has"):
        approximate_loss_slope(potential_moments(model.potential), model.mean_loss, 1.0)


@pytest.mark.slow
def test_in_two_dimensions_the_potential_is_built_of_exponents_whose_curl_was_tested():
    """Mean estimation, noise diag(1, 3): theta = N(xbar, T M/2), gap = tr Cov(xbar) = 1/4; other noise is refused."""
    import jax.numpy as jnp

    axis = np.linspace(-7, 7, 43)
    points = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1).reshape(-1, 2)
    means = np.array([[-0.5, 0.0], [0.5, 0.0]])
    found = [
        boltzmann_exponents(lambda x, m=mean: x - m, lambda x: jnp.diag(jnp.array([1.0, 3.0])), points, mean, 4)
        for mean in means
    ]
    v, a = (np.array([each[part] for each in found]).reshape(2, 43, 43) for part in (0, 1))
    potential = EffectivePotential(v, a, np.full(2, 0.5), float((axis[1] - axis[0]) ** 2))
    losses = (np.sum((points - means[:, None]) ** 2, axis=2) / 2).reshape(2, 43, 43)
    parts = gap_parts(potential.at_temperature(1.0), losses)
    assert parts.gap == pytest.approx(0.25, rel=1e-6)
    assert parts.train == pytest.approx((0.5 + 1.5) / 2, rel=1e-5)
    hessian = jnp.diag(jnp.array([1.0, 2.0]))
    with pytest.raises(ValueError, match="has a curl of"):
        boltzmann_exponents(lambda x: hessian @ x, lambda x: jnp.array([[1.0, 0.4], [0.4, 1.0]]), points, [0.0, 0.0], 4)


@pytest.mark.parametrize("law", ["signs", "skewed"])
def test_mean_estimation_has_its_losses_for_any_law_of_the_data(law):
    """B6.1, V: enumeration of all training sets of 3 from two points, theta = mean + an independent number."""
    points, p = (np.array([-1.0, 1.0]), 0.5) if law == "signs" else (np.array([0.0, 3.0]), 0.2)
    offsets = np.array([-0.4, 0.1, 0.9]) - 0.2
    probability = np.array([1 - p, p])
    mean, variance = probability @ points, probability @ points**2 - (probability @ points) ** 2
    train = test = 0.0
    for choice in np.ndindex(2, 2, 2):
        x, weight = points[list(choice)], np.prod(probability[list(choice)])
        for theta in x.mean() + offsets:
            train += weight / 3 * np.mean((theta - x) ** 2) / 2
            test += weight / 3 * (variance + (theta - mean) ** 2) / 2
    found = mean_estimation_losses(variance, 3, float(np.mean(offsets**2)))
    np.testing.assert_allclose(found, (train, test, test - train), rtol=1e-12)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: effective_potential([0.0, 1.0, 3.0], np.zeros((1, 3)), np.ones((1, 3))), "evenly spaced, rising"),
        (lambda: effective_potential(np.arange(3.0), np.zeros((1, 4)), np.ones((1, 4))), r"expected both \(sets, 3\)"),
        (lambda: effective_potential(np.arange(3.0), np.zeros((1, 3)), np.zeros((1, 3))), "injected_noise above 0"),
        (lambda: gaussian_potential().at_temperature(0.0), "temperature=0 does not do"),
        (lambda: potential_moments(gaussian_potential()).exponent_variance(1.0, "right"), "form='right' is unknown"),
        (
            lambda: approximate_loss_slope(potential_moments(gaussian_potential()), np.zeros(3), 1.0),
            r"mean_losses have shape \(3,\)",
        ),
        (lambda: predicted_optimum(gaussian_potential(), np.zeros(3), (1.0, 2.0)), r"mean_losses have shape \(3,\)"),
        (lambda: temperature_slope(gaussian_potential(), np.zeros(3), 1.0), "Evaluate f on the ensemble's grid"),
        (lambda: predicted_optimum(gaussian_potential(), GRID**2, (2.0, 1.0)), r"bracket\[1\]=1 does not do"),
        (lambda: mean_estimation_losses(-1.0, 3, 1.0), "variance=-1 does not do"),
        (lambda: logistic_model(2), "num_points=2 is below 3"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    with pytest.raises(ValueError, match=words):
        call()
