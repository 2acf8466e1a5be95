"""Linear scaling without an SDE: laws by enumeration, cumulants of all orders through six, the printed numbers of A6."""

from itertools import product

import jax
import numpy as np
import pytest

from gradnoise.dynamics import sgd, svag
from gradnoise.process import Batches
from gradnoise.spacetime import Spacetime
from gradnoise.testbeds.joint_cumulants import cumulants_of, moments_of, pool_moments
from gradnoise.testbeds.linear_losses import (
    gradient_cumulants,
    levy_cumulants,
    linear_losses,
    sde_cumulants,
    sgd_cumulants,
    svag_cumulants,
    thinned_cumulants,
)

SKEWED = (0.0, 0.0, 0.0, 1.0)  # kappa_3 = .09375
THREE = (-1.0, 0.3, 2.0)


def cumulants_of_values(values, order=6):
    table = np.zeros((order + 1, order + 1))
    table[:, 0] = np.mean(values ** np.arange(order + 1)[:, None], axis=1)
    return cumulants_of(table)[:, 0]


def displacements(process, pool, batch_size, learning_rate, num_substeps):
    """x_K - x_0 for every sequence of batches, through the process itself."""
    per_substep, size = process.batches_per_substep, len(pool)
    grid = Spacetime(size, batch_size, sampling="with_replacement", num_steps=1)
    rows = np.array(list(product(range(size), repeat=num_substeps * per_substep * batch_size)))
    rows = rows.reshape(len(rows), num_substeps, per_substep, batch_size)
    with jax.enable_x64(True):
        examples = jax.numpy.asarray(pool)

        def one(rows):
            state = process.init(jax.numpy.zeros(()))
            for substep in rows:
                state = process.step(None, state, Batches(examples[substep], examples, grid), learning_rate)
            return process.params(state)

        return np.asarray(jax.jit(jax.vmap(one))(rows))


@pytest.mark.parametrize("scale", [2, 3, 6])
def test_steps_scaled_together_have_exactly_the_law_of_one_step(scale):
    """All sequences of kappa batches of 6/kappa examples against all batches of six: the same numbers as often."""
    problem = linear_losses(THREE)
    many = displacements(sgd(problem), THREE, 6 // scale, 0.1, scale)
    one = displacements(sgd(problem), THREE, 6, 0.1 * scale, 1)
    np.testing.assert_allclose(np.sort(many), np.sort(one), atol=1e-14)


@pytest.mark.parametrize(("batch_size", "num_steps"), [(1, 4), (2, 3), (3, 1)])
def test_sgds_cumulants_through_the_sixth_are_those_of_all_sequences(batch_size, num_steps):
    found = sgd_cumulants(THREE, 0.5, num_steps, batch_size)
    expected = cumulants_of_values(displacements(sgd(linear_losses(THREE)), THREE, batch_size, 0.5, num_steps))
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_svags_cumulants_through_the_sixth_are_those_of_all_sequences_of_pairs():
    for l, num_steps in ((1, 3), (2, 1), (3, 1)):
        found = svag_cumulants(THREE, l, 0.5, num_steps)
        values = displacements(svag(linear_losses(THREE), l), THREE, 1, 0.5, num_steps * l)
        np.testing.assert_allclose(found, cumulants_of_values(values), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("cumulants", [sgd_cumulants, sde_cumulants, levy_cumulants])
@pytest.mark.parametrize("scale", [2, 5])
def test_linear_scaling_keeps_every_cumulant_of_sgd_of_the_sde_and_of_levy(cumulants, scale):
    few, many = cumulants(THREE, 0.1 * scale, 4, 2 * scale), cumulants(THREE, 0.1, 4 * scale, 2)
    np.testing.assert_allclose(few, many, rtol=1e-12)


def test_the_printed_third_cumulants_are_reproduced():
    assert gradient_cumulants(SKEWED)[3] == pytest.approx(0.09375, abs=1e-15)
    printed = {1: -7.5e-4, 2: -4.69e-4, 8: -1.35e-4, 64: -1.75e-5}
    for l, value in printed.items():
        assert svag_cumulants(SKEWED, l, 0.1, 8)[3] == pytest.approx(
            value, abs=0.5e-2 * 10 ** np.floor(np.log10(-value))
        )


def test_svag_leaves_the_coinciding_curves_of_sgd_and_meets_the_sde_as_one_over_l():
    third = {l: svag_cumulants(SKEWED, l, 0.1, 8)[3] for l in (64, 128, 256)}
    assert third[64] / third[128] == pytest.approx(2, rel=0.01)
    assert third[256] * 256 == pytest.approx(-7.5e-4 * 1.5, rel=0.01)
    assert sde_cumulants(SKEWED, 0.1, 8)[3] == 0


def test_levy_has_sgds_cumulants_through_the_third_and_another_fourth():
    ours, theirs = levy_cumulants(THREE, 0.2, 5, 2), sgd_cumulants(THREE, 0.2, 5, 2)
    np.testing.assert_allclose(ours[:4], theirs[:4], rtol=1e-12)
    excess = 3 * 0.2 * 5 * 0.1**3 * np.var(THREE) ** 2
    assert ours[4] - theirs[4] == pytest.approx(excess, rel=1e-12)


def test_levys_cumulants_are_those_of_poisson_numbers_of_jumps():
    """The sum over n of c_n d_n, c_n Poisson, has cumulants (mean c) sum_n d_n^k, whatever k."""
    jumps = -0.2 / 2 * (np.array(THREE) - np.mean(THREE))
    each = 5 * 2 / 3  # jumps of each example in 5 steps at B = 2
    expected = [0, -0.2 * 5 * np.mean(THREE), *(each * np.sum(jumps**k) for k in range(2, 7))]
    np.testing.assert_allclose(levy_cumulants(THREE, 0.2, 5, 2), expected, rtol=1e-12)


def test_one_example_a_step_is_where_thinning_begins():
    np.testing.assert_allclose(
        thinned_cumulants(THREE, 0.3, 4, 1.0), sgd_cumulants(THREE, 0.3, 4), rtol=1e-12, atol=1e-14
    )


def test_thinned_steps_have_the_cumulants_of_their_law():
    """One step at B = 1/3, enumerated: two empty draws for each full one."""
    gamma, mean = np.array(THREE), np.mean(THREE)
    values = np.concatenate([-0.3 * mean - 0.9 * (gamma - mean), np.full(6, -0.3 * mean)])
    np.testing.assert_allclose(
        thinned_cumulants(THREE, 0.3, 1, 1 / 3), cumulants_of_values(values), rtol=1e-9, atol=1e-12
    )


def test_scaled_down_below_one_example_sgd_becomes_levy_and_not_the_sde():
    """eta/B = .2 and t = 2 fixed: every cumulant goes to levy's, with an error of order B."""
    limit = levy_cumulants(THREE, 0.2, 10)
    errors = [thinned_cumulants(THREE, 0.2 / parts, 10 * parts, 1 / parts) - limit for parts in (64, 128)]
    np.testing.assert_allclose(errors[1][:4], 0, atol=1e-14)
    np.testing.assert_allclose(errors[0][4:] / errors[1][4:], 2, rtol=0.05)
    assert np.all(np.abs(errors[1][4:]) < 0.1 * np.abs(limit[4:]))
    assert np.all(np.abs(limit[3:] - sde_cumulants(THREE, 0.2, 10)[3:]) > 1e-4)


def test_sgds_formula_below_one_example_is_of_no_law():
    """E y^4 >= (E y^2)^2 means kappa_4 >= -2 kappa_2^2; read at B = 1/2 the formula for +-1 falls below it."""
    per_example, eta, batch = gradient_cumulants((-1.0, 1.0), 4), 0.1, 0.5
    variance, fourth = (eta**k * per_example[k] / batch ** (k - 1) for k in (2, 4))
    assert fourth < -2 * variance**2 * 1.9


def test_joint_cumulants_of_independent_numbers_vanish_across_and_invert():
    a, b = np.array([0.0, 1.0, 3.0]), np.array([-1.0, 2.0])
    joint = cumulants_of(pool_moments(np.repeat(a, 2), np.tile(b, 3), 5))
    np.testing.assert_allclose(joint[1:, 1:], 0, atol=1e-11)
    np.testing.assert_allclose(joint[:, 0], gradient_cumulants(a, 5), atol=1e-11)
    np.testing.assert_allclose(
        moments_of(joint), pool_moments(np.repeat(a, 2), np.tile(b, 3), 5), rtol=1e-11, atol=1e-10
    )


def test_wrong_input_is_answered_with_one_sentence():
    with pytest.raises(ValueError, match="above 1, where no example is left out"):
        thinned_cumulants(THREE, 0.1, 1, 2)
    with pytest.raises(ValueError, match="expected a list of numbers"):
        linear_losses([[1.0]])
    with pytest.raises(ValueError, match="l=0 is below 1"):
        svag_cumulants(THREE, 0, 0.1, 1)
    with pytest.raises(ValueError, match="learning_rate=0"):
        sgd_cumulants(THREE, 0, 1)
