"""The spectrum along training: each checkpoint is the network's own, and the words follow the numbers."""

import jax
import numpy as np
import pytest
import xarray as xr

import gradnoise as gn
from gradnoise.dynamics.train import train
from gradnoise.experiment.spectrum_along_training import checkpoint_steps, spectrum_along_training
from gradnoise.experiment.spectrum_words import spectrum_sentences
from gradnoise.testbeds import datasets
from gradnoise.testbeds.image_problems import image_problem, shifted


@pytest.fixture(scope="module")
def trained():
    pool = np.random.default_rng(0).normal(size=(5, 12)).astype(np.float32)
    problem = gn.from_arrays(lambda w, x: (x @ w - 1) ** 2, lambda key: np.ones(12, np.float32), pool)
    params, key = np.ones(12, np.float32), jax.random.key(1)
    return problem, params, key, spectrum_along_training(problem, params, 25, 4, 0.01, key, num_directions=3)


def test_each_checkpoint_is_that_of_the_network_trained_so_far(trained):
    problem, params, key, found = trained
    np.testing.assert_array_equal(found["step"], [5, 10, 25])
    point = train(gn.sgd(problem), params, 10, 4, 0.01, key)
    spectrum = gn.noise_spectrum(problem, point)
    middle = found.isel(checkpoint=1)
    np.testing.assert_allclose(middle["eigenvalue"], spectrum.eigenvalues[:5])
    assert int(middle["rank"]) == spectrum.rank == 4
    assert float(middle["rank_fraction"]) == spectrum.rank / 12
    assert float(middle["spread"]) == pytest.approx(float(spectrum.spread.value))
    assert float(middle["trace_se"]) == 0


def test_the_end_is_that_of_an_uninterrupted_run(trained):
    problem, params, key, found = trained
    end = train(gn.sgd(problem), params, 25, 4, 0.01, key)
    loss = jax.vmap(problem.loss, (None, 0))(end, problem.pool).mean()
    assert float(found["train_loss"][-1]) == pytest.approx(float(loss), rel=1e-5)


def test_distances_and_overlaps_are_symmetric_and_trivial_with_itself(trained):
    found = trained[-1]
    for name, own in {"distance": 0.0, "overlap": 1.0}.items():
        matrix = found[name].values
        np.testing.assert_allclose(matrix, matrix.T, atol=1e-12)
        np.testing.assert_allclose(np.diag(matrix), own, atol=1e-9)
    assert float(found["overlap_random"]) == 3 / 12


def table(distance, overlap, method="exact"):
    checkpoints = [0.2, 1.0]
    scalars = {"mean": 0.1, "spread": 0.5, "rank_fraction": 0.05, "participation_ratio": 7.0, "trace": 10.0}
    variables = {name: ("checkpoint", [value, value / 2]) for name, value in scalars.items()}
    variables |= {name: ("checkpoint", [5, 5]) for name in ("rank", "rank_float32")}
    pairs = {"distance": np.array([[0, distance], [distance, 0]]), "overlap": np.array([[1, overlap], [overlap, 1]])}
    variables |= {name: (("checkpoint", "other"), matrix) for name, matrix in pairs.items()}
    attributes = {"num_parameters": 100, "num_examples": 30, "method": method, "num_directions": 10}
    coordinates = {"checkpoint": checkpoints, "other": checkpoints}
    return xr.Dataset(variables | {"overlap_random": 0.1, "overlap_random_spread": 0.01}, coordinates, attributes)


@pytest.mark.parametrize(
    ("distance", "overlap", "told"),
    [
        (0.1, 0.12, "hardly changed"),
        (1.0, 0.95, "the eigenvalues changed"),
        (0.1, 0.12, "no more than chance, so D depends on the weights"),
        (0.1, 0.5, "far more than chance, far from 1"),
        (0.1, 0.95, "nearly the same directions"),
    ],
)
def test_eigenvalues_and_directions_are_judged_apart(distance, overlap, told):
    assert any(told in sentence for sentence in spectrum_sentences(table(distance, overlap)))


def test_the_bound_of_the_rank_by_the_examples_is_said():
    assert "30 examples allow at most 29" in spectrum_sentences(table(0, 1))[0]
    assert "rank at least 5" in spectrum_sentences(table(0, 1, "lanczos"))[0]


@pytest.mark.parametrize("fractions", [(), (0.4, 0.2), (0.01, 0.02), (0.5, 1.5)])
def test_fractions_that_give_no_growing_steps_are_refused(fractions):
    with pytest.raises(ValueError, match="expected growing ones"):
        checkpoint_steps(20, fractions)


def test_a_shifted_image_is_all_nine_neighbours_and_draws_are_uniform_over_them():
    image = np.zeros((1, 16), np.float32)
    image[0, 5] = 1.0  # row 1, column 1
    moved = shifted(image).reshape(9, 4, 4)
    assert moved.dtype == np.float32
    assert sorted(tuple(np.argwhere(one)[0]) for one in moved) == [(i, j) for i in range(3) for j in range(3)]
    corner = np.zeros((1, 16), np.float32)
    corner[0, 0] = 1.0
    assert sorted(shifted(corner).sum(axis=1)) == [0, 0, 0, 0, 0, 1, 1, 1, 1]  # what leaves the image is gone


def test_fewer_classes_and_shifts_make_the_pool_that_is_stated():
    data = datasets.digits(num_test=97)
    problem = image_problem(data, "logistic", num_classes=2, num_pool=10, shifts=True)
    assert (problem.num_pool, problem.setting) == (90, "held out")
    np.testing.assert_array_equal(np.unique(problem.pool["y"]), [0, 1])
    np.testing.assert_array_equal(np.unique(problem.test_pool["y"]), [0, 1])
    np.testing.assert_array_equal(problem.pool["x"][4], data.pool["x"][data.pool["y"] < 2][0])
    np.testing.assert_array_equal(problem.pool["y"][:9], problem.pool["y"][0])


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"model": "cnn"}, "model='cnn' is unknown"),
        ({"num_classes": 11}, "num_classes=11 is above 10"),
        ({"num_pool": 5000}, "num_pool=5000 is above 1797"),
    ],
)
def test_wrong_image_problems_are_refused(options, told):
    with pytest.raises(ValueError, match=told):
        image_problem(datasets.digits(), **options)
