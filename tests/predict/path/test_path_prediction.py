"""What predict_path gives back: curves at other sizes, limits, closed forms, its domain, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from cases import CASES
from gradnoise.predict.path import predict_path
from gradnoise.testbeds import mean_estimation, quadratic
from predict.path.enumeration import partial_sums

TARGETS = ("test", "train", "gap", "displacement", "variance")
STEPS = {"num_steps": 4}
TWO = CASES["two_weights"]()


def same_curves(one, other, targets=TARGETS):
    for target in targets:
        a, b = (each.partial_sums for each in (one(target), other(target)))
        np.testing.assert_allclose(a.value, b.value, rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(a.stderr, b.stderr, rtol=1e-12, atol=1e-14)


OTHER_SIZES = [
    ("drawn", gn.Spacetime(4, 2, 2), gn.Spacetime(6, 3, 2), {"batch_size": 3}),
    ("drawn", gn.Spacetime(4, 2, 2, "reshuffle"), gn.Spacetime(2, 1, 2, "reshuffle"), {"num_examples": 2}),
    (
        "drawn",
        gn.Spacetime(6, 2, sampling="subset", **STEPS),
        gn.Spacetime(9, 7, sampling="subset", **STEPS),
        {"batch_size": 7, "num_examples": 9},
    ),
    ("distinct", gn.Spacetime(2, 1, 2), gn.Spacetime(4, 2, 2), {"batch_size": 2}),
    ("population", gn.Spacetime(4, 1), gn.Spacetime(12, 3), {"batch_size": 3}),
]


@pytest.mark.parametrize(("training_set", "own", "other", "sizes"), OTHER_SIZES, ids=str)
def test_a_curve_at_another_size_is_that_of_a_fresh_prediction(training_set, own, other, sizes):
    path, fresh = (predict_path(*TWO, grid, 0.2, training_set=training_set) for grid in (own, other))
    same_curves(lambda target: path.curve(target, **sizes), fresh.curve)
    assert path.curve(**sizes).spacetime == other


@pytest.mark.slow
def test_probes_serve_another_batch_size_as_a_fresh_prediction_with_the_same_key_does(getkey):
    settings = {"method": "probes", "num_probes": 6, "key": getkey(), "keep_displacement": True}
    own, other = gn.Spacetime(4, 2, 2, "reshuffle"), gn.Spacetime(10, 5, 2, "reshuffle")
    path, fresh = (predict_path(*TWO, grid, 0.1, **settings) for grid in (own, other))
    same_curves(lambda target: path.curve(target, batch_size=5), fresh.curve)


def test_coefficients_are_what_the_inverse_sizes_multiply():
    path = predict_path(*TWO, gn.Spacetime(6, 2, 2), 0.2)
    for batch in (1, 2, 5):
        curve = path.curve("test", batch_size=batch).value
        np.testing.assert_allclose(batch * (curve - path.path_loss.value), path.test_coefficient.value, rtol=1e-11)
        gap = path.curve("gap", batch_size=batch)
        np.testing.assert_allclose(3 * batch * gap.value, path.gap_coefficient.value, rtol=1e-11, atol=1e-15)


REFUSED = [
    (("given", gn.Spacetime(4, 2, 2, "reshuffle")), {"batch_size": 1}, "is not the pool's 4"),
    (("drawn", gn.Spacetime(4, 2, 2)), {"batch_size": 1, "num_examples": 4}, "make other columns an epoch"),
    (("drawn", gn.Spacetime(4, 2)), {"batch_size": 2, "num_examples": 2}, "make other columns an epoch"),
    (("drawn", gn.Spacetime(4, 2)), {"num_examples": 7}, "does not divide"),
    (("distinct", gn.Spacetime(2, 1, 2)), {"num_examples": 6}, "distinct"),
    (("drawn", gn.Spacetime(4, 2)), {"batch_size": 0}, "batch_size=0 is below 1"),
    (("drawn", gn.Spacetime(4, 2)), {"target": "tset"}, "Did you mean 'test'"),
]


@pytest.mark.parametrize(("made", "asked", "words"), REFUSED, ids=str)
def test_curves_that_the_path_does_not_hold_are_refused_in_one_sentence(made, asked, words):
    path = predict_path(*TWO, made[1], 0.1, training_set=made[0])
    with pytest.raises(ValueError, match=words) as raised:
        path.curve(**asked)
    assert str(raised.value).endswith((".", "?"))


def test_a_displacement_that_was_not_kept_is_refused(getkey):
    path = predict_path(*TWO, gn.Spacetime(4, 2, 2, "reshuffle"), 0.1, method="probes", num_probes=6, key=getkey())
    with pytest.raises(ValueError, match="keep_displacement=True"):
        path.curve("displacement")
    assert path.path_weights is None


def test_train_is_test_minus_gap():
    path = predict_path(*TWO, gn.Spacetime(4, 2), 0.2)
    test, train, gap = (partial_sums(path, target) for target in ("test", "train", "gap"))
    np.testing.assert_allclose(train, test - gap, rtol=1e-14, atol=1e-15)


def test_the_domain_ends_where_the_noise_part_passes_its_bound():
    path = predict_path(*TWO, gn.Spacetime(4, 1, 3), 0.2)
    base, with_noise = partial_sums(path, "test").T
    share = np.abs(with_noise - base) / np.abs(base)
    np.testing.assert_allclose(path.domain.share, share, rtol=1e-12)
    assert share[0] == 0
    assert path.domain.end == np.flatnonzero(share > 0.3)[0]
    assert f"outside from step {path.domain.end} on" in str(path.domain)
    assert str(path.curve().domain) == str(path.domain)
    calm = path.curve(batch_size=1000).domain
    assert calm is not None
    assert calm.end is None
    assert str(calm).startswith("inside")
    assert str(calm) in repr(path.curve(batch_size=1000))
    np.testing.assert_allclose(calm.share, share / 1000, rtol=1e-10)


def test_a_full_batch_of_a_given_set_makes_no_noise():
    path = predict_path(*TWO, gn.Spacetime(4, 4, 3), 0.2, training_set="given")
    for target in ("test", "train"):
        np.testing.assert_allclose(path.curve(target).value, path.path_loss.value, rtol=1e-15)
    np.testing.assert_array_equal(path.curve("gap").value, 0)
    np.testing.assert_allclose(path.curve("variance").value, 0, atol=1e-16)  # two patterns cancel


def test_at_learning_rate_0_nothing_moves():
    path = predict_path(*TWO, gn.Spacetime(4, 1), 0.0)
    np.testing.assert_allclose(path.curve("test").value, path.path_loss.value[0], rtol=1e-15)
    for target in ("gap", "displacement", "variance"):
        np.testing.assert_array_equal(path.curve(target).value, 0)


@pytest.mark.parametrize("method", ["dense", "probes"])
def test_a_run_of_no_steps_is_its_start(method, getkey):
    path = predict_path(*TWO, gn.Spacetime(4, 2).truncate(0), 0.1, method=method, num_probes=3, key=getkey())
    with jax.enable_x64(True):
        loss = np.mean([TWO.problem.loss(TWO.params, x) for x in TWO.problem.pool])
    np.testing.assert_allclose(path.curve("test").value, [loss], rtol=1e-15)
    np.testing.assert_array_equal(path.curve("gap").value, [0])


def test_small_learning_rates_agree_with_the_series_through_order_2():
    """The rest of the test loss falls like eta^3, that of the gap like eta^2: to 5 % of a factor 8 or 4."""
    values = gn.diagram_values(*TWO, max_order=2)
    grid = gn.Spacetime(4, 2, 2)
    for target, order, factor in (("test", 2, 8), ("gap", 1, 4)):
        rests = []
        for rate in (2e-3, 1e-3):
            series = gn.predict_curve(values, grid, rate, target, momentum=0.5).value[-1, order]
            rests.append(predict_path(*TWO, grid, rate, momentum=0.5).curve(target).value[-1] - series)
        assert rests[0] / rests[1] == pytest.approx(factor, rel=0.05)


H, S, START, RATE = np.array([0.7, 1.6]), np.array([0.9, 0.4]), np.array([0.5, -0.3]), 0.8


@pytest.mark.parametrize("sampling", ["fixed", "reshuffle", "subset", "with_replacement"])
def test_on_a_quadratic_with_additive_noise_one_loop_is_the_whole_answer(sampling):
    """The closed forms of gradnoise.testbeds.quadratic at every step and a large learning rate, by four samplings."""
    n, b, epochs = 6, 2, 3
    path = predict_path(mean_estimation(H, S, START), START, gn.Spacetime(n, b, epochs, sampling), RATE)
    steps = n * epochs // b
    if sampling == "fixed":
        overfit = quadratic.overfit_cyclic(H, S**2, RATE, b, n, epochs)
    elif sampling == "reshuffle":
        overfit = quadratic.overfit_reshuffled(H, S**2, RATE, b, n, epochs)
    else:
        overfit = quadratic.overfit_redrawn(H, S**2, RATE, b, n, steps, sampling == "with_replacement")
    left = [quadratic.descent(H, START, RATE, t) for t in range(steps + 1)]
    np.testing.assert_allclose(path.path_loss.value, left, rtol=1e-12, atol=1e-16)
    np.testing.assert_allclose(path.curve("test").value[-1], left[-1] + overfit, rtol=1e-12, atol=1e-16)
    gaps = [quadratic.gap(H, S**2, RATE, n, t) for t in range(steps + 1)]
    np.testing.assert_allclose(path.curve("gap").value, gaps, rtol=1e-12, atol=1e-15)


def test_the_variance_on_a_quadratic_lacks_only_the_fourth_cumulant():
    """theta = path + x: Var (h/2) theta^2 = h^2 path^2 S + (h^2/4) (2 S^2 + kappa4), kappa4 = -2 sum c_t^4 / B^3."""
    h, s, start, rate, batch, steps = 1.3, 0.7, 0.4, 0.5, 2, 5
    path = predict_path(mean_estimation(h, s, start), np.array([start]), gn.Spacetime(batch * steps, batch), rate)
    left = rate * s * (1 - rate * h) ** np.arange(steps)
    spread, fourth = np.sum(left**2) / batch, -2 * np.sum(left**4) / batch**3
    mean = start * (1 - rate * h) ** steps
    whole = (h * mean) ** 2 * spread + h**2 / 4 * (2 * spread**2 + fourth)
    np.testing.assert_allclose(path.curve("variance").value[-1], whole - h**2 / 4 * fourth, rtol=1e-12)


def test_kinks_are_said_and_license_no_loop():
    hinge = gn.from_arrays(lambda w, x: jnp.maximum(0.0, 1 - w * x) + w**2, lambda key: 0.5, np.array([0.5, 1.0, 2.0]))
    path = predict_path(hinge, np.float64(0.1), gn.Spacetime(4, 2), 0.1)
    assert path.kinks == ("max",)
    assert path.curve().licensed_loops == 0
    assert predict_path(*TWO, gn.Spacetime(4, 2), 0.1).curve().licensed_loops == 1


POOLLESS = gn.Problem(lambda w, x: (w - x) ** 2, lambda key, n: jnp.ones(n), lambda key: 0.0)
GRID, KEY = gn.Spacetime(4, 2), jax.random.key(0)
BAD = [
    ({"problem": POOLLESS, "params": np.float64(0.0)}, ValueError, "needs a finite pool"),
    ({"problem": "digits"}, TypeError, "problem is a str"),
    ({"spacetime": (4, 2)}, TypeError, "spacetime is tuple"),
    ({"params": np.array([np.nan, 0.0])}, ValueError, "params holds NaN"),
    ({"learning_rate": np.nan}, ValueError, "learning_rate holds nan"),
    (
        {"learning_rate": 5.0, "spacetime": gn.Spacetime(40, 2)},
        ValueError,
        "diverges, its loss is .* after step [0-9]+",
    ),
    ({"momentum": 1.0}, ValueError, "momentum=1 is not below 1"),
    ({"nesterov": True}, ValueError, "nesterov=True came with momentum=0"),
    ({"weight_decay": -1.0}, ValueError, "weight_decay=-1"),
    ({"hessian_damping": 0.1, "method": "dense"}, ValueError, "hessian_damping=0.1 is not in the dense form"),
    ({"hessian_damping": 0.1, "momentum": 0.5, "method": "rows"}, ValueError, "expected one of the two"),
    ({"method": "exact"}, ValueError, "method='exact' is unknown"),
    ({"training_set": "mine"}, ValueError, "training_set='mine' is unknown"),
    ({"training_set": "given", "spacetime": gn.Spacetime(6, 2)}, ValueError, "is not the pool's 4"),
    ({"training_set": "distinct", "spacetime": gn.Spacetime(6, 2)}, ValueError, "exceeds the pool's 4"),
    ({"method": "probes"}, ValueError, "key is missing"),
    ({"num_loops": 2}, ValueError, "key is missing"),
    ({"num_loops": 3}, ValueError, "num_loops=3 is above 2"),
    ({"method": "probes", "key": 0}, TypeError, "key=0 is not one random key"),
    ({"method": "probes", "key": KEY, "num_probes": 1}, ValueError, "num_probes=1 is below 2"),
    ({"num_loops": 2, "key": KEY, "training_set": "given"}, ValueError, 'training_set="given"'),
    ({"max_relative_error": 0.0}, ValueError, "max_relative_error=0"),
    ({"memory": "1 MiB"}, MemoryError, "memory: the dense form"),
]


@pytest.mark.parametrize(
    ("change", "error", "words"), BAD, ids=lambda value: " ".join(value) if isinstance(value, dict) else ""
)
def test_wrong_calls_are_one_sentence_that_says_what_to_do(change, error, words):
    call = {"problem": TWO.problem, "params": TWO.params, "spacetime": GRID, "learning_rate": 0.1, **change}
    with pytest.raises(error, match=words) as raised:
        predict_path(**call)
    assert str(raised.value).endswith((".", "?"))
    assert "\n" not in str(raised.value)
