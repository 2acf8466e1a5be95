"""From one path: final losses by batch size, where a doubling stops paying, and larger batches at the same examples."""

from functools import cache

import numpy as np
import pytest
from scipy import stats

import gradnoise as gn
from cases import CASES
from gradnoise.predict.path.batch_choice import BatchChoice, batch_choice, noise_polynomial

SPACETIME = gn.Spacetime(16, 2)


def path_of(spacetime=SPACETIME, **options):
    case = CASES["logistic"]()
    return gn.predict_path(case.problem, case.params, spacetime, 0.2, **options)


@cache
def one_path():
    """16 examples in steps of 2, dense."""
    return path_of()


def test_losses_and_gaps_are_those_of_the_curves():
    path = one_path()
    choice = batch_choice(path, [1, 3, 20])
    for i, size in enumerate([1, 3, 20]):
        test, gap = path.curve("test", batch_size=size), path.curve("gap", batch_size=size)
        assert (choice.test_loss.value[i], choice.gap.value[i]) == (test.value[-1], gap.value[-1])
        assert choice.num_examples[i] == 8 * size
        assert choice.in_domain[i] == (test.domain.end is None)


@pytest.mark.parametrize("share", [0.001, 0.01, 0.1])
def test_at_one_loop_the_critical_batch_solves_a_linear_equation(share):
    path = one_path()
    noise, loss = path.test_coefficient.value[-1], path.path_loss.value[-1]
    found = batch_choice(path, [2], share).batch_size.value
    assert found == pytest.approx(noise * (0.5 - share) / (share * loss), rel=1e-10)
    assert noise / (2 * found) == pytest.approx(share * (loss + noise / found), rel=1e-10)


def test_the_interval_is_the_one_of_the_coefficient_and_the_error_its_image(getkey):
    path = path_of(method="probes", num_probes=60, key=getkey())
    share, loss, noise = 0.01, path.path_loss.value[-1], path.test_coefficient[-1]
    choice = batch_choice(path, [2], share)
    t = stats.t.ppf(0.975, 59)
    ends = [(noise.value + k * noise.stderr) * (0.5 - share) / (share * loss) for k in (-t, t)]
    assert choice.interval == pytest.approx(ends, rel=1e-8)
    assert choice.batch_size.stderr == pytest.approx(noise.stderr * (0.5 - share) / (share * loss), rel=1e-3)


@pytest.mark.slow
def test_with_two_loops_the_answer_still_loses_the_share(getkey):
    path = path_of(spacetime=gn.Spacetime(4, 2, epochs=2), num_loops=2, num_probes=200, key=getkey())
    coefficients, covariance = noise_polynomial(path)
    size = batch_choice(path, [1]).batch_size.value
    loss = lambda b: coefficients @ b ** -np.arange(3.0)  # noqa: E731
    assert loss(size) - loss(2 * size) == pytest.approx(0.01 * loss(size), rel=1e-8)
    assert loss(4.0) == pytest.approx(path.curve("test", batch_size=4).value[-1], rel=1e-12)
    error = np.sqrt([1, 1 / 4, 1 / 16] @ covariance @ [1, 1 / 4, 1 / 16])
    assert error == pytest.approx(path.curve("test", batch_size=4).stderr[-1], rel=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("sampling", ["fixed", "with_replacement"])
def test_as_many_examples_in_larger_batches_is_the_path_of_fewer_steps(sampling):
    spacetime = gn.Spacetime(16, 2, sampling=sampling)
    fixed = batch_choice(path_of(spacetime=spacetime)).fixed_examples
    assert fixed.batch_sizes.tolist() == [2, 4, 8, 16]
    assert fixed.num_steps.tolist() == [8, 4, 2, 1]
    apart = [path_of(spacetime=gn.Spacetime(16, int(b), sampling=sampling)).curve("test") for b in fixed.batch_sizes]
    losses = [curve.value[-1] for curve in apart]
    np.testing.assert_allclose(fixed.test_loss.value, losses, rtol=1e-12)
    np.testing.assert_allclose(fixed.doubling.value[:-1], np.diff(losses), rtol=1e-9)
    assert fixed.in_domain.tolist() == [curve.domain.end is None for curve in apart]


def test_probes_share_their_draws_in_the_cost_of_a_doubling(getkey):
    fixed = batch_choice(path_of(method="probes", num_probes=300, key=getkey())).fixed_examples
    exact = batch_choice(one_path()).fixed_examples
    difference = (fixed.doubling.value - exact.doubling.value)[:-1]
    assert np.all(np.abs(difference) < 4.5 * fixed.doubling.stderr[:-1] + 1e-14)
    assert np.all(fixed.doubling.stderr[:-1] > 0)


def test_no_curve_at_fixed_examples_where_epochs_share_noise_or_the_rate_changes():
    assert batch_choice(path_of(spacetime=gn.Spacetime(8, 2, epochs=2))).fixed_examples is None
    case = CASES["logistic"]()
    path = gn.predict_path(case.problem, case.params, gn.Spacetime(8, 2), np.array([0.1, 0.1, 0.1, 0.05]))
    assert batch_choice(path).fixed_examples is None


def test_it_says_plainly_which_batch_to_take():
    told = str(batch_choice(one_path()))
    size = batch_choice(one_path()).batch_size.value
    assert f"lowers the test loss by 0.01 of it at batch size {size:.3g}" in told
    assert "At the same 16 examples and rate a doubling of the batch halves the steps" in told
    assert "2 to 4: test loss" in told


def test_without_noise_no_doubling_pays():
    problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2 + 1, lambda key: 0.0, np.array([1.0, 1.0]))
    choice = batch_choice(gn.predict_path(problem, np.float64(0), gn.Spacetime(4, 2), 0.1))
    assert (choice.batch_size.value, choice.interval) == (0, (0, 0))
    assert "no doubling of the batch" in str(choice)


def test_outside_the_expansion_it_says_so_and_gives_no_prediction():
    problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: 0.0, np.array([-1.0, 1.0]))
    choice = batch_choice(gn.predict_path(problem, np.float64(0), gn.Spacetime(8, 1), 1.5), [1, 1000])
    assert choice.in_domain.tolist() == [False, True]
    assert str(choice).count("outside the expansion") == 1


BAD = [
    (dict(batch_sizes=[2, 1]), "do not increase"),
    (dict(batch_sizes=[0]), "below 1"),
    (dict(share=0.5), "share=0.5 is not below 0.25"),
    (dict(share=0), "share=0"),
]


@pytest.mark.parametrize(("options", "message"), BAD)
def test_wrong_input_is_one_sentence(options, message):
    with pytest.raises(ValueError, match=message):
        batch_choice(one_path(), **options)


def test_a_given_set_in_epochs_and_other_things_are_refused():
    path = path_of(spacetime=gn.Spacetime(6, 2, epochs=2, sampling="reshuffle"), training_set="given")
    with pytest.raises(ValueError, match="one batch size a path"):
        batch_choice(path)
    with pytest.raises(TypeError, match="expected that of predict_path"):
        batch_choice(0.1)
    assert isinstance(batch_choice(one_path()), BatchChoice)


def test_distinct_examples_of_which_two_a_step_are_too_many_are_refused():
    size = CASES["logistic"]().problem.num_pool
    with pytest.raises(ValueError, match=f"more than the pool's {size}"):
        batch_choice(path_of(gn.Spacetime(size, 1), training_set="distinct"))
