"""What an example does to the predicted loss: against predictions and runs without it, and as a part of one loop."""

import jax
import numpy as np
import pytest

import gradnoise as gn
from cases import CASES
from gradnoise.predict.path.example_attribution import example_attribution

pytestmark = pytest.mark.slow  # compiling takes minutes in all

LEFT_OUT = {
    "one epoch": (gn.Spacetime(12, 2), {}),
    "momentum": (gn.Spacetime(12, 2), {"momentum": 0.5}),
    "two epochs": (gn.Spacetime(6, 2, epochs=2), {}),
    "measured over the pool": (gn.Spacetime(12, 2), {}),
}


def regression(num_pool, copies=1, held_out=True):
    """Least squares with two weights, a pool of noisy examples, each `copies` times, and held-out ones."""
    rng = np.random.default_rng(3)

    def data(size):
        x = rng.normal(size=(size, 2)).round(2)
        return {"x": x, "y": (x @ np.array([1.0, -0.5]) + 0.7 * rng.normal(size=size)).round(2)}

    pool, test = data(num_pool), data(20)
    pool = jax.tree.map(lambda leaf: np.tile(leaf, (copies, *[1] * (leaf.ndim - 1))), pool)
    return gn.from_arrays(loss, start, pool, "regression", test_pool=test if held_out else None)


def loss(w, e):
    return (e["x"] @ w - e["y"]) ** 2 / 2


def start(key):
    return np.zeros(2)


def without(problem, i):
    """The problem whose pool lacks example i, its loss measured as before."""
    test = problem.pool if problem.test_pool is None else problem.test_pool
    pool = jax.tree.map(lambda leaf: np.delete(leaf, i, axis=0), problem.pool)
    return gn.from_arrays(problem.loss, problem.init, pool, problem.name, test_pool=test)


def parts(problem, params, spacetime, rate, **options):
    """Path and one-loop part of the final test loss."""
    path = gn.predict_path(problem, params, spacetime, rate, **options)
    return np.array([path.path_test[-1], path.curve("test").value[-1] - path.path_test[-1]])


@pytest.mark.parametrize("name", LEFT_OUT)
def test_leaving_out_one_of_many_copies_is_first_order_with_an_error_of_second(name):
    """(actual - predicted) with k copies of the pool falls as 1/k^2, so the predicted change is the first order."""
    spacetime, options = LEFT_OUT[name]
    errors, changes = [], []
    for copies in (6, 12):
        problem = regression(4, copies, name != "measured over the pool")
        found = example_attribution(problem, np.zeros(2), spacetime, 0.1, **options)
        assert found.total.value.sum() == pytest.approx(0, abs=1e-12)
        whole = parts(problem, np.zeros(2), spacetime, 0.1, **options)
        np.testing.assert_allclose([found.path_loss, found.one_loop_part], whole, rtol=1e-12)
        actual = parts(without(problem, 1), np.zeros(2), spacetime, 0.1, **options) - whole
        predicted = np.array([found.path.value[1], found.one_loop.value[1]])
        assert found.total.value[1] == pytest.approx(predicted.sum(), rel=1e-12)
        errors.append(actual - predicted)
        changes.append(actual)
    np.testing.assert_allclose(errors[0] / errors[1], 4, rtol=0.2)
    assert np.all(np.abs(errors[1]) < 0.3 * np.abs(changes[1]))


OWN = {
    "one epoch": (gn.Spacetime(8, 2), {}),
    "two epochs": (gn.Spacetime(4, 2, epochs=2), {}),
    "reshuffled": (gn.Spacetime(4, 2, epochs=2, sampling="reshuffle"), {"momentum": 0.5}),
    "given": (gn.Spacetime(4, 2, epochs=2, sampling="reshuffle"), {"training_set": "given"}),
}


@pytest.mark.parametrize("name", OWN)
def test_the_examples_own_parts_have_the_one_loop_part_as_their_mean(name):
    spacetime, options = OWN[name]
    case = CASES["two_weights"]()
    found = example_attribution(*case, spacetime, 0.2, **options)
    whole = parts(*case, spacetime, 0.2, **options)
    assert found.own_one_loop.value.mean() == pytest.approx(whole[1], rel=1e-12)
    assert found.one_loop_part == pytest.approx(whole[1], rel=1e-12)


def test_adjoint_and_single_rows_give_the_same_own_parts():
    """Fixed order of two epochs cut after one: a column is then one step, worked out row by row."""
    case = CASES["logistic"]()
    fresh = example_attribution(*case, gn.Spacetime(6, 2), 0.2).own_one_loop.value
    rows = example_attribution(*case, gn.Spacetime(6, 2, epochs=2), 0.2).own_one_loop.value
    from gradnoise.predict.path.example_attribution import _rows
    from gradnoise.predict.path.setting import read_setting

    with jax.enable_x64(True):
        setting = read_setting(*case, gn.Spacetime(6, 2), 0.2, "drawn", 0.0, False, 0.0, 0.0, 0.0)
        np.testing.assert_allclose(_rows(setting, "fresh", None) / 2, fresh, rtol=1e-11)
    assert not np.allclose(rows, fresh)


def test_words_name_the_examples():
    found = example_attribution(regression(6), np.zeros(2), gn.Spacetime(12, 2), 0.1)
    assert f"Left out, example {found.total.value.argmax()} changes it by +" in str(found)


def test_one_example_cannot_be_left_out():
    problem = gn.from_arrays(lambda w, x: (w - x) ** 2 / 2, lambda key: 0.0, np.array([1.0]))
    with pytest.raises(ValueError, match="leaves one example out, and the pool holds one"):
        example_attribution(problem, np.float64(0), gn.Spacetime(4, 2), 0.1)


def test_runs_without_an_example_change_as_attributed(getkey):
    """A given set of 24, reshuffled, and 23 of it, 72 steps of one example each.

    The runs against the predictions for the 23: their truncation is twice (largest noise share on the way)^2 of the loss,
    the size of the next loop. The first order misses O(1/n) of a change, and the change of the noise weights that all sets
    of 23 share: so correlation, not size.
    """
    problem, rate, given = regression(24), 0.02, {"training_set": "given"}
    whole = gn.Spacetime(24, 1, epochs=3, sampling="reshuffle")
    cut = gn.Spacetime(23, 1, epochs=4, sampling="reshuffle").truncate(72)
    attributed = example_attribution(problem, np.zeros(2), whole, rate, **given).total.value
    chosen = np.argsort(attributed)[::3]
    key, predicted, simulated, z = getkey(), [], [], []
    for i, smaller in enumerate([problem, *(without(problem, i) for i in chosen)]):
        grid = whole if i == 0 else cut
        curve = gn.predict_path(smaller, np.zeros(2), grid, rate, **given).curve("test")
        runs = gn.simulate(
            gn.sgd(smaller),
            np.zeros(2),
            grid,
            rate,
            2000,
            jax.random.fold_in(key, i),
            every=72,
            dtype="float64",
            **given,
        ).mean("test_loss")[-1]
        truncation = 2 * curve.domain.share.max() ** 2 * curve.value[-1]
        difference = runs.value - curve.value[-1]
        z.append(np.sign(difference) * max(abs(difference) - truncation, 0) / runs.stderr)
        predicted.append(curve.value[-1])
        simulated.append(runs.value)
    assert np.all(np.abs(z) < 4), z
    by_runs, by_theory = (
        np.corrcoef(attributed[chosen], np.array(each[1:]) - each[0])[0, 1] for each in (simulated, predicted)
    )
    print(f"correlation with runs {by_runs:.4f}, with exact predictions {by_theory:.4f}")
    assert min(by_runs, by_theory) > 0.95
