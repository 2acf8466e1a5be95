"""The script of the trajectories records the run that it says, and its sentence claims the power that the test has."""

import re
from itertools import permutations

import numpy as np
import pytest

from gradnoise.measure.trajectory import increment_spectrum
from gradnoise.testbeds.datasets import Data
from measure.linear_paths import paths, transition
from scripts import load_script


@pytest.fixture(scope="module")
def script():
    return load_script("fig_variational_2_trajectory")


def words(command):
    return command.split()


def turning(rotation, num_records, replicas, rng, components=2):
    """Equal rates 1 seen every 0.1, the first two components turning by `rotation` rad in a relaxation time."""
    force = np.eye(components)
    force[:2, :2] += rotation * np.array([[0, -1], [1, 0]])
    found = paths(*transition(force, np.eye(components), 0.1), num_records, rng, replicas)
    return found * np.array([3.0, 3.0, 1.0, 0.9])[:components]


def test_images_whose_side_7_divides_are_averaged_and_others_are_left(script):
    x = np.arange(2 * 14**2, dtype=np.float32).reshape(2, -1)
    small = script.reduced(Data({"x": x, "y": np.arange(2)}, None, "classification", 196, 2))
    assert small.num_features == 49
    np.testing.assert_allclose(small.pool["x"][1, :2], [x[1, [0, 1, 14, 15]].mean(), x[1, [2, 3, 16, 17]].mean()])
    digits = Data({"x": x[:, :64], "y": np.arange(2)}, None, "classification", 64, 2)
    assert script.reduced(digits) is digits


def test_the_overlaid_models_are_the_amplitudes_of_reversible_weights(script, rng):
    """Both have their closed forms where they are true: of 300 weights an error of 0.523/sqrt(300) of each amplitude."""
    rates = rng.uniform(0.1, 0.5, size=300)
    noise = rng.normal(size=(4001, 300))
    pulled = np.zeros_like(noise)
    for t in range(1, len(noise)):
        pulled[t] = (1 - rates) * pulled[t - 1] + noise[t]
    keep = slice(20, -1, 20)
    for weights, which in ((pulled[100:], 1), (np.cumsum(noise, axis=0), 0)):
        found = increment_spectrum(weights, hann=True)
        expected = script.null_amplitudes(weights, found.frequency[keep])[which]
        share = found.amplitude.value[keep] / expected - 1
        error = np.sqrt(4 / np.pi - 1) / np.sqrt(300)
        assert np.abs(share).max() < 4.5 * error
        assert abs(share.mean()) < 4.5 * error / np.sqrt(share.size) + 0.01  # a at lag 1 errs by O(1/records)


def test_shuffling_leaves_of_a_slow_modes_variance_the_square_of_its_relaxation_in_an_epoch_over_12():
    """x <- r x - eta xi, r = 1 - eta h: all orders of one epoch's noise enumerated, the next epoch's independent of it."""
    noise = np.random.default_rng(0).normal(size=6)
    noise -= noise.mean()
    orders = np.array(list(permutations(noise)))
    for decay in (1e-2, 1e-3):  # eta h, eta = 1
        kept = (1 - decay) ** np.arange(len(noise))
        shuffled = np.mean((orders @ kept) ** 2) / (1 - (1 - decay) ** (2 * len(noise)))
        drawn = np.mean(noise**2) / (decay * (2 - decay))
        length = len(noise)
        wanted = (decay * length) ** 2 / 12 * (1 + 1 / length)  # N/(N - 1) times 1 - 1/N^2, of distinct examples
        assert shuffled / drawn == pytest.approx(wanted, rel=4 * length * decay)


@pytest.mark.slow
def test_the_covariance_stated_for_a_rotation_is_that_of_a_turning_process(script, rng):
    """2 rho/r, r records of relaxation, but for O(dt) and the 1 + rho^2 by which turning shortens the time r."""
    rotation, dt = 0.2, 0.1
    found = script.circulation(turning(rotation, 100_000, 1, rng)[0], 2, rotation)
    error = found.test.antisymmetry.stderr[0, 1]
    exact = 2 * np.exp(-dt) * np.sin(rotation * dt)
    assert abs(abs(found.test.antisymmetry.value[0, 1]) - exact) < 4.5 * error
    step = np.exp(-dt * (1 - 1j * rotation))
    relaxation = np.real((1 + step) / (1 - step)) / 2
    assert found.relaxation == pytest.approx(relaxation, rel=4.5 * np.sqrt(2 * 2 * 5 * 2 * relaxation / 100_000))
    assert found.stated * found.relaxation == pytest.approx(2 * rotation)
    assert found.power > 1 - 1e-6


@pytest.mark.slow
@pytest.mark.parametrize("components", [2, 4])
def test_the_stated_power_is_the_share_of_turning_runs_that_are_found(script, rng, components):
    rotation, runs = 0.25, 150
    found = [
        script.circulation(path, components, rotation, seed)
        for seed, path in enumerate(turning(rotation, 2000, runs, rng, components))
    ]
    power = np.mean([one.power for one in found])
    assert 0.5 < power < 0.98
    share = np.mean([one.test.p_value <= script.LEVEL for one in found])
    # the stated size errs by O(dt), 10 %, and other pairs may alarm: both less than the 0.05 that is allowed beside chance
    assert abs(share - power) < 4.5 * np.sqrt(power * (1 - power) / runs) + 0.05


@pytest.mark.slow
def test_records_are_those_of_gradient_descent_where_the_batch_is_the_whole_set(script):
    told = "--num-epochs 40 --burn-in 3 --num-pool 50 --batch-size 50 --momentum 0 --sampling reshuffle --width 3"
    options = script.arguments_of(words(told))
    problem = script.network(script.digits(), options)
    run = script.record(problem, options)
    size = 3 * 65 + 5 * 4
    moved = np.linalg.norm(np.diff(run.weights.astype(float), axis=0), axis=1)
    np.testing.assert_allclose(moved, options.learning_rate * np.sqrt(size) * run.norms[:-1, 1], rtol=1e-3)
    assert np.all(np.diff(run.loss) < 0)


@pytest.mark.slow
def test_it_runs_small_and_writes_a_page_with_its_finding(script, capsys, tmp_path):
    place = tmp_path / "trajectory.html"
    small = "--num-pool 96 --num-epochs 1500 --burn-in 500 --learning-rate 0.05 --weight-decay 0.05 --width 4"
    script.main([*words(small), "--out", str(place)])
    said = capsys.readouterr().out
    finding = re.search(r"Antisymmetric lag covariance of the first two components .* \(95 %: .* to .*\): .*", said)
    assert finding is not None
    assert "would have been found with probability" in finding[0]
    text = place.read_text(encoding="utf-8")
    before = text.split("<script>")[0]
    assert "{{" not in before
    assert "src=" not in before
    assert finding[0] in before
    for name in ("increments", "autocorrelation", "gradient-norm", "plane"):
        assert f'id="{name}-data"' in before
    assert "99 % band of one weight" in before


@pytest.mark.slow
def test_a_run_that_is_too_short_says_so_and_one_that_diverges_stops(script, capsys):
    script.main(words("--num-pool 96 --num-epochs 60 --burn-in 0"))
    assert "cannot tell: the run holds" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="learning_rate=1e\\+06: the weights diverged"):
        script.main(words("--num-pool 96 --num-epochs 60 --burn-in 0 --learning-rate 1e6"))
