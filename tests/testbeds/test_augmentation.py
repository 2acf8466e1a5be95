"""The augmented population is that of all transformed images, exactly; held-out images are as asked."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from gradnoise.problem import probe_problem
from gradnoise.smoothness import kinks
from gradnoise.testbeds.augmentation import augmented, identity_transform, num_transforms, transformed
from gradnoise.testbeds.image_problems import shifted
from gradnoise.testbeds.networks import logistic

SHAPE = (2, 3, 4)
X = np.random.default_rng(0).normal(size=(5, 24))
Y = np.array([0, 1, 2, 0, 1], np.int32)


def problem_of(test=False, weight_l2=0.0, x=X):
    model = logistic(24, 3, weight_l2=weight_l2)
    held_out = {"x": x[:2] + 1, "y": Y[:2]} if test else None
    return gn.from_arrays(
        model.loss, model.init, {"x": x, "y": Y}, "images", model.measured, held_out, metrics=model.metrics
    )


def by_hand(images, flips, shifts):
    """Every transform of every image, written with slices of a padded array, image by image."""
    found = []
    for image in images.reshape(-1, *SHAPE):
        for mirrored, i, j in itertools.product(range(1 + flips), range(2 * shifts + 1), range(2 * shifts + 1)):
            around = np.pad(np.flip(image, 2) if mirrored else image, ((0, 0), (shifts, shifts), (shifts, shifts)))
            found.append(around[:, i : i + SHAPE[1], j : j + SHAPE[2]].reshape(-1))
    return np.array(found)


def each_of(function, params, pool):
    return jax.jit(jax.vmap(function, (None, 0)))(params, pool)


def mean_of(function, params, pool):
    return each_of(function, params, pool).mean()


@pytest.mark.parametrize(("flips", "shifts"), [pytest.param(False, 2, marks=pytest.mark.slow), (True, 1)])
def test_losses_on_the_augmented_pool_are_those_on_all_transformed_images(flips, shifts):
    plain = problem_of(weight_l2=0.1)
    found = augmented(plain, flips, shifts, image_shape=SHAPE)
    every = {"x": by_hand(X, flips, shifts), "y": np.repeat(Y, num_transforms(flips, shifts))}
    with jax.enable_x64(True):
        params = jax.tree.map(lambda leaf: leaf.astype("float64"), plain.init(jax.random.key(0)))
        for name in ("loss", "measured_loss"):
            own, other = getattr(found, name), getattr(plain, name)
            np.testing.assert_allclose(each_of(own, params, found.pool), each_of(other, params, every), rtol=1e-13)
        accuracy = mean_of(found.metrics["accuracy"], params, found.pool)
        assert accuracy == mean_of(plain.metrics["accuracy"], params, every)
    assert found.num_pool == len(every["y"])


def test_without_mirroring_transforms_are_the_shifted_images_of_image_problems(rng):
    images = rng.integers(0, 9, size=(3, 16)).astype(np.float32)
    images[:, 5] = 0  # what moves in there is the smallest value
    move = jax.vmap(jax.vmap(lambda x, number: transformed(x, number, 1), (None, 0)), (0, None))
    found = jax.jit(move)(images.reshape(-1, 1, 4, 4), np.arange(9))
    np.testing.assert_array_equal(found.reshape(27, 16), shifted(images))


@pytest.mark.parametrize("shifts", [0, 2])
def test_the_identity_leaves_images_and_mirroring_twice_does(shifts):
    image, number = X[0].reshape(SHAPE).astype(np.float32), identity_transform(shifts)
    move = jax.jit(transformed, static_argnums=2)
    np.testing.assert_array_equal(move(image, number, shifts), image)
    mirror = number + (2 * shifts + 1) ** 2
    np.testing.assert_array_equal(move(move(image, mirror, shifts), mirror, shifts), image)


def test_without_shifts_and_flips_nothing_changes():
    plain, params = problem_of(), problem_of().init(jax.random.key(0))
    same = augmented(plain, flips=False, shifts=0, image_shape=SHAPE)
    np.testing.assert_array_equal(*(each_of(each.loss, params, each.pool) for each in (plain, same)))


@pytest.mark.parametrize(("test", "count"), [("plain", 1), ("augmented", 18)])
def test_held_out_images_stay_or_have_all_transforms(test, count):
    plain = problem_of(test=True)
    found, params = augmented(plain, shifts=1, image_shape=SHAPE, test=test), plain.init(jax.random.key(0))
    every = {"x": by_hand(X[:2] + 1, True, 1), "y": np.repeat(Y[:2], 18)} if count > 1 else plain.test_pool
    assert len(found.test_pool["image"]) == 2 * count
    assert found.setting == "held out"
    held_out = mean_of(found.loss, params, found.test_pool)
    assert float(held_out) == pytest.approx(float(mean_of(plain.loss, params, every)), rel=1e-6)


def test_images_and_transforms_are_drawn_uniformly(getkey):
    found = augmented(problem_of(), flips=True, shifts=1, image_shape=SHAPE)
    drawn = found.sample(getkey(), 9000)
    counts = np.bincount(18 * np.asarray(drawn["image"]) + np.asarray(drawn["transform"]), minlength=90)
    chi_square = ((counts - 100) ** 2 / 100).sum()
    assert abs(chi_square - 89) < 4.5 * np.sqrt(2 * 89)


def test_images_in_their_shape_may_be_augmented():
    def loss(weights, example):
        return (weights * example["x"].reshape(-1)).sum() ** 2

    params = np.linspace(0, 1, 24, dtype=np.float32)
    shaped = gn.from_arrays(loss, lambda key: params, {"x": X.reshape(-1, *SHAPE), "y": Y})
    flat = gn.from_arrays(loss, lambda key: params, {"x": X, "y": Y})
    losses = [mean_of(each.loss, params, each.pool) for each in (augmented(shaped), augmented(flat, image_shape=SHAPE))]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-6)


def test_it_has_no_kinks():
    found = augmented(problem_of(), shifts=1, image_shape=SHAPE)
    assert not kinks(found, found.init(jax.random.key(0)))


@pytest.mark.slow
def test_it_passes_the_probe():
    found = augmented(problem_of(x=X.astype(np.float32)), shifts=1, image_shape=SHAPE)
    with jax.enable_x64(True):
        probe_problem(found, found.init(jax.random.key(0)), found.pool)


@pytest.mark.slow
@pytest.mark.filterwarnings("error")
def test_measures_and_runs_are_those_of_the_pool_of_all_transformed_images(getkey):
    plain = problem_of()
    found = augmented(plain, flips=True, shifts=1, image_shape=SHAPE)
    every = {"x": by_hand(X, True, 1), "y": np.repeat(Y, 18)}
    copied = gn.from_arrays(plain.loss, plain.init, every, "copied")
    params, key, grid = plain.init(getkey()), getkey(), gn.Spacetime(20, 5)
    traces = [float(gn.noise_covariance(each, params).trace()) for each in (found, copied)]
    assert traces[0] == pytest.approx(traces[1], rel=1e-9)
    runs = [gn.simulate(gn.sgd(each), params, grid, 0.1, 3, key) for each in (found, copied)]
    for name in ("test_loss", "train_loss"):
        np.testing.assert_allclose(*(run.observables[name] for run in runs), rtol=1e-5)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"image_shape": (1, 5, 5)}, r"image_shape=\(1, 5, 5\)"),
        ({}, "num_features=24 is no square image"),
        ({"image_shape": SHAPE, "shifts": 3}, "shifts=3 is above 2"),
        ({"image_shape": SHAPE, "shifts": -1}, "shifts=-1 is below 0"),
        ({"image_shape": SHAPE, "test": "same"}, "test='same' is unknown"),
    ],
)
def test_wrong_options_are_told(options, words):
    with pytest.raises(ValueError, match=words):
        augmented(problem_of(), **options)


def test_a_problem_without_a_pool_of_images_is_told():
    with pytest.raises(ValueError, match="needs a finite pool"):
        augmented(gn.Problem(lambda w, x: w * x, lambda key, n: jnp.ones(n), lambda key: 0.0))
    with pytest.raises(ValueError, match=r'no \{"x": images, "y": labels\}'):
        augmented(gn.from_arrays(lambda w, x: w * x, lambda key: 0.0, np.ones(3)))
