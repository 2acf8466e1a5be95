"""Log-normal and delta approximations of the gap: exact where their law holds, refused where they have no meaning."""

import numpy as np
import pytest

from gradnoise.averaging import (
    TrainingEnsemble,
    averaging_log_weights,
    delta_covariance,
    delta_gap,
    density_variance,
    exponent_moments,
    gap_bound,
    gap_parts,
    gaussian_mean,
    log_normal_bound,
    log_normal_gap,
    logistic_model,
    loss_in_wells,
    shifted_loss,
    training_ensemble,
)

NODES, WEIGHTS = np.polynomial.hermite_e.hermegauss(30)
FIRST, SECOND = (each.ravel() for each in np.meshgrid(NODES, NODES))
NORMAL_WEIGHTS = np.multiply.outer(WEIGHTS, WEIGHTS).ravel() / WEIGHTS.sum() ** 2
GRID = np.linspace(-9, 9, 361)


def jointly_log_normal():
    """exp(-g) and U jointly log-normal over sets at every theta, rhobar normalized (the densities are not)."""
    mean, alpha, beta = GRID**2 / 2, 0.5 * np.tanh(GRID), 0.3
    g = mean + np.multiply.outer(FIRST, alpha) + beta * SECOND[:, None]
    losses = (1 + GRID**2 / 4) * np.exp(0.4 * np.multiply.outer(FIRST, np.sin(GRID)) + 0.2 * SECOND[:, None])
    unnormalized = NORMAL_WEIGHTS @ np.exp(-g)
    cell = GRID[1] - GRID[0]
    return TrainingEnsemble(-g - np.log(unnormalized.sum() * cell), NORMAL_WEIGHTS, cell), losses


def test_for_jointly_log_normal_densities_and_losses_the_corrected_form_is_the_gap_and_the_printed_one_is_not():
    """Erratum 14: E[rho U]/(rhobar Ubar) = exp(-Cov(g, ln U)) = exp(-sigma_gu/Ubar)."""
    ensemble, losses = jointly_log_normal()
    moments = exponent_moments(ensemble, losses)
    ratio = ensemble.data_average(ensemble.density * losses) / (ensemble.mean_density * moments.loss_mean)
    g = -ensemble.log_density
    np.testing.assert_allclose(ratio, np.exp(-ensemble.data_covariance(g, np.log(losses))), rtol=1e-10)
    np.testing.assert_allclose(moments.with_loss / moments.loss_mean, -np.log(ratio), rtol=1e-9, atol=1e-12)
    gap = -ensemble.density_covariance(losses)
    for over in ("exact", "log-normal"):
        assert log_normal_gap(moments, over).full == pytest.approx(gap, rel=1e-9)
        assert log_normal_gap(moments, over, form="printed").full > gap + 1e-3


def test_a_loss_that_is_independent_of_the_weights_has_no_gap_and_in_the_printed_form_one():
    """Erratum 14, sigma_gu = 0: the logistic model's losses beside exponents that know nothing of them."""
    model = logistic_model(561)
    moments = exponent_moments(model.potential.at_temperature(1.0), model.losses)
    independent = moments._replace(with_loss=np.zeros_like(moments.with_loss))
    assert log_normal_gap(independent).full == log_normal_gap(independent).small == 0
    printed = log_normal_gap(independent, form="printed")
    assert printed.full == pytest.approx(0.0104, abs=1e-4)
    assert printed.small > 0.01


def test_for_a_gaussian_exponent_mean_and_variance_of_the_density_and_the_bound_are_exact():
    """(10), (11)."""
    ensemble, losses = jointly_log_normal()
    moments = exponent_moments(ensemble, losses)
    approximate, exact = (averaging_log_weights(moments, over) for over in ("log-normal", "exact"))
    np.testing.assert_allclose(approximate, exact, atol=1e-8)
    spread = ensemble.data_covariance(ensemble.density, ensemble.density)
    np.testing.assert_allclose(density_variance(moments), spread, rtol=1e-8, atol=1e-300)
    assert log_normal_bound(moments).full == pytest.approx(gap_bound(ensemble, moments.loss_variance), rel=1e-9)


def test_the_limits_are_reached_for_small_and_for_large_fluctuations():
    """(11), (13): of moments scaled down and up."""
    ensemble, losses = jointly_log_normal()
    moments = exponent_moments(ensemble, losses)
    small = moments._replace(variance=1e-8 * moments.variance, with_loss=1e-8 * moments.with_loss)
    large = moments._replace(variance=moments.variance + 60, with_loss=1e3 * np.ones_like(moments.variance))
    for function in (log_normal_bound, log_normal_gap):
        assert function(small).full == pytest.approx(function(small).small, rel=1e-6)
        assert function(large).full == pytest.approx(function(large).large, rel=1e-6)


@pytest.mark.parametrize("temperature", [0.3, 1.0, 3.0])
def test_where_the_log_normal_density_has_no_normalization_it_is_refused_and_forced_it_is_nonsense(temperature):
    """Erratum 16, V: (13) gives 7.0, the loss at the grid's edge, where the gap is 0.40; (11) has no bound."""
    model = logistic_model(1401)
    moments = exponent_moments(model.potential.at_temperature(temperature), model.losses)
    for function in (log_normal_gap, log_normal_bound, delta_gap):
        with pytest.raises(ValueError, match="of its largest value at the edge of the grid"):
            function(moments, "log-normal")
    forced = log_normal_gap(moments, "log-normal", edge_tolerance=2.0).full
    assert forced == pytest.approx(7.0, abs=0.04)
    assert log_normal_bound(moments).full > 1e50
    gap = gap_parts(model.potential.at_temperature(temperature), model.losses).gap
    assert gap < log_normal_gap(moments).full < 2 * gap
    assert averaging_log_weights(moments, "log-normal", edge_tolerance=2.0).argmax() in (0, 1400)


@pytest.mark.parametrize("temperature", [0.8, 2.0, 5.0])
def test_for_gaussian_means_the_log_normal_density_is_too_wide_and_the_delta_gap_too_large(temperature):
    """B6.2, V: N(0, tau/(1 - s/tau)) for T > 2 s/M; (52) is s + s^2/(2 tau), the gap s."""
    s, M = 0.3, 1.2
    model = gaussian_mean(s, M, num_points=1601)
    tau = temperature * M / 2
    ensemble = model.potential.at_temperature(temperature)
    moments = exponent_moments(ensemble, model.losses)
    variance = {
        over: float(np.exp(averaging_log_weights(moments, over)) @ model.grid**2) for over in ("exact", "log-normal")
    }
    assert variance["exact"] == pytest.approx(tau + s, rel=1e-9)
    assert variance["log-normal"] == pytest.approx(tau / (1 - s / tau), rel=1e-6)
    assert gap_parts(ensemble, model.losses).gap == pytest.approx(s, rel=1e-9)
    assert delta_gap(moments) == pytest.approx(s + s**2 / (2 * tau), rel=1e-9)
    assert delta_gap(moments, "exact") == pytest.approx(s + 3 * s**2 / (2 * tau), rel=1e-9)
    assert ensemble.double_average(model.mean_loss) == pytest.approx(tau / 2 + s, rel=1e-9)


def test_for_gaussian_means_the_log_normal_density_is_refused_up_to_two_s_over_m():
    s, M = 0.3, 1.2
    model = gaussian_mean(s, M)
    for temperature, exists in ((1.9 * s / M, False), (2 * s / M, False), (2.1 * s / M, True)):
        moments = exponent_moments(model.potential.at_temperature(temperature), model.losses)
        if exists:
            averaging_log_weights(moments, "log-normal")
        else:
            with pytest.raises(ValueError, match="no finite normalization"):
                averaging_log_weights(moments, "log-normal")


def test_constants_added_set_by_set_change_the_printed_estimates_and_not_those_with_the_constant_fixed():
    """Erratum 18: g is known up to a constant a set; g = -ln rho fixes it. In Gaussian means v(0) = 0 gives (52) = s."""
    model = logistic_model(561)
    g, random = model.potential.exponent(3.0), np.random.default_rng(0)
    shifted = g + 2 * random.normal(size=(len(g), 1))
    ensemble = model.potential.at_temperature(3.0)
    other = training_ensemble(-shifted, ensemble.cell, ensemble.weights)
    fixed = [delta_gap(exponent_moments(each, model.losses), "exact") for each in (ensemble, other)]
    printed = [delta_gap(exponent_moments(ensemble, model.losses, each), "exact") for each in (g, shifted)]
    assert fixed[0] == pytest.approx(fixed[1], rel=1e-10)
    assert fixed[0] == pytest.approx(1.3555, abs=1e-3)
    assert abs(printed[0] - printed[1]) > 0.05
    assert abs(printed[0] - fixed[0]) > 0.05
    v = model.potential.v
    ends = [g - 2 / 3.0 * v[:, [end]] for end in (0, -1)]  # v zero at either end of the grid
    found = [delta_gap(exponent_moments(ensemble, model.losses, each), "exact") for each in ends]
    np.testing.assert_allclose(found, (3.58, 0.442), rtol=5e-3)
    means = gaussian_mean(0.3, num_points=1601)
    at_zero = exponent_moments(means.potential.at_temperature(2.0), means.losses, means.potential.exponent(2.0))
    assert delta_gap(at_zero) == pytest.approx(0.3, rel=1e-9)


def test_the_delta_gap_of_sgd_is_that_of_v_and_a_apart():
    """(53): (2/T) <<sigma_vu>> + <<sigma_au>>."""
    model, T = logistic_model(561), 3.0
    ensemble = model.potential.at_temperature(T)
    g = model.potential.exponent(T)
    moments = exponent_moments(ensemble, model.losses, g)
    weights = np.exp(averaging_log_weights(moments, "mean exponent"))
    parts = [weights @ ensemble.data_covariance(each, model.losses) for each in (model.potential.v, model.potential.a)]
    assert delta_gap(moments) == pytest.approx(2 / T * parts[0] + parts[1], rel=1e-12)


def gaussian_covariance(S, f, h):
    """Cov(f(x), h(x)), x ~ N(0, S) in two dimensions, by quadrature: exact for polynomials."""
    x = np.linalg.cholesky(S) @ np.stack([FIRST, SECOND])
    values = [np.array([each(point) for point in x.T]) for each in (f, h)]
    centred = [each - NORMAL_WEIGHTS @ each for each in values]
    return float(NORMAL_WEIGHTS @ (centred[0] * centred[1]))


def quadratic(matrix, slope):
    return lambda x: x @ matrix @ x / 2 + slope @ x


def test_the_second_order_of_a_covariance_is_exact_for_quadratics_and_the_printed_one_can_be_a_negative_variance(rng):
    """Erratum 15, (50)."""
    for _ in range(3):
        S, A, B = (each @ each.T + 0.1 * np.eye(2) for each in rng.normal(size=(3, 2, 2)))
        u, w = rng.normal(size=(2, 2))
        f, h, square = quadratic(A, u), quadratic(B, w), quadratic(A, np.zeros(2))
        exact = gaussian_covariance(S, f, h)
        assert delta_covariance(S, (u, w), (A, B)) == pytest.approx(exact, rel=1e-10)
        assert delta_covariance(S, (u, w), (A, B), form="printed") < exact - 0.01
        variance = gaussian_covariance(S, square, square)
        zero = np.zeros(2)
        assert delta_covariance(S, (zero, zero), (A, A)) == pytest.approx(variance, rel=1e-10)
        assert delta_covariance(S, (zero, zero), (A, A), form="printed") < 0 < variance


def test_linear_functions_need_the_first_order_alone():
    """(51) is unaffected by the second order of (50)."""
    S, u, w = np.array([[2.0, 0.3], [0.3, 1.0]]), np.array([1.0, -2.0]), np.array([0.5, 1.0])
    assert delta_covariance(S, (u, w)) == pytest.approx(gaussian_covariance(S, lambda x: u @ x, lambda x: w @ x))


def test_the_variance_of_a_logarithm_grows_beyond_its_first_order():
    """Footnote to (51): Var ln U = eps^2 + 2.5 eps^4 for U = 1 + eps x; the printed second order would lower it."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(40)
    weights = weights / weights.sum()
    for eps in (0.02, 0.04):
        log = np.log1p(eps * nodes)
        variance = weights @ (log - weights @ log) ** 2
        assert (variance - eps**2) / eps**4 == pytest.approx(2.5, abs=40 * eps**2)
    assert delta_covariance([[0.01]], ([1.0], [1.0]), ([[-1.0]], [[-1.0]]), form="printed") < 0.01


def test_losses_in_wells_and_under_shifts_are_exact_for_quadratics(rng):
    """(54), (55) and the shift by sampling, against quadrature."""
    C, Sigma, S = (each @ each.T for each in rng.normal(size=(3, 2, 2)))
    offset = rng.normal(size=2)
    x = np.linalg.cholesky(Sigma) @ np.stack([FIRST, SECOND]) + offset[:, None]
    in_well = float(NORMAL_WEIGHTS @ np.einsum("ik,ij,jk->k", x, C, x)) / 2
    found = loss_in_wells([0.3, 0.7], [1.0, 2.0], [C, C], [Sigma, Sigma], [offset, offset])
    assert found == pytest.approx(0.3 + 1.4 + in_well, rel=1e-10)
    shifts = np.linalg.cholesky(S) @ np.stack([FIRST, SECOND])
    theta = rng.normal(size=2)
    shifted = theta[:, None] - shifts
    mean = float(NORMAL_WEIGHTS @ np.einsum("ik,ij,jk->k", shifted, C, shifted)) / 2
    assert float(shifted_loss(theta @ C @ theta / 2, C, S)) == pytest.approx(mean, rel=1e-10)


def test_an_exponent_that_all_sets_share_leaves_the_exact_mean_density_as_it_is():
    """As many sets as points: a row for the weights of the sets would be taken for one of the grid."""
    ensemble = training_ensemble(-np.array([[0.0, 1.0, 4.0], [1.0, 0.0, 1.0], [4.0, 1.0, 0.0]]), 1.0, [0.6, 0.3, 0.1])
    moments = exponent_moments(ensemble, np.zeros(3), exponent=np.arange(3.0))
    np.testing.assert_allclose(np.exp(moments.log_mean_density), ensemble.mean_density, rtol=1e-12)
    np.testing.assert_allclose(moments.variance, 0, atol=1e-15)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda moments: log_normal_gap(moments, form="right"), "form='right' is unknown"),
        (lambda moments: averaging_log_weights(moments, "lognormal"), "Did you mean 'log-normal'"),
        (
            lambda moments: log_normal_gap(moments._replace(loss_mean=-moments.loss_mean)),
            "expected above 0 for",
        ),
        (lambda moments: averaging_log_weights(moments, edge_tolerance=0.0), "edge_tolerance=0 does not do"),
        (lambda moments: delta_covariance(np.eye(2), ([1.0], [1.0, 2.0])), "Give derivatives in the same d variables"),
        (
            lambda moments: loss_in_wells([1.0], [1.0], np.eye(2), np.eye(2), [0.0, 0.0]),
            "Give one of each for every well",
        ),
        (lambda moments: shifted_loss(0.5, [[2.0]], [0.1]), r"shift_covariance \(1,\), expected \(\*grid\)"),
        (lambda moments: shifted_loss(0.5, [[2.0]], np.eye(2)), r"hessian \(1, 1\) and shift_covariance \(2, 2\)"),
    ],
)
def test_wrong_calls_are_one_sentence(call, words):
    ensemble, losses = jointly_log_normal()
    with pytest.raises(ValueError, match=words):
        call(exponent_moments(ensemble, losses))
