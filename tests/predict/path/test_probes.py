"""Random probes: all of them together are the dense form, a few are unbiased and know their error; pairs for two loops."""

import re
from functools import cache
from itertools import product

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradnoise as gn
from cases import CASES
from gradnoise.predict.path import engines, predict_path
from gradnoise.predict.path.engines import dense_samples
from gradnoise.predict.path.probes import Draws, run_probes
from gradnoise.predict.path.setting import read_setting
from gradnoise.predict.path.two_loops import run_pairs
from predict.path.enumeration import Settings, means, outcomes, partial_sums

GRID = gn.Spacetime(4, 2, 2, "reshuffle")
ONE, TWO = CASES["one_weight"](), CASES["two_weights"]()
Z = 5
"""Of some fifty correlated z-scores a test; a normal one passes 5 with chance 6e-7, and 1000 probes are near normal."""


def plain_setting(case, spacetime, rate):
    return read_setting(case.problem, case.params, spacetime, rate, "drawn", 0.0, False, 0.0, 0.0, 0.0)


def all_rows(num_pool, columns, epochs):
    """Every assignment of examples to columns, (n^columns, epochs columns), and the examples of the columns."""
    tied = np.array(list(product(range(num_pool), repeat=columns)))
    return np.tile(tied, (1, epochs)), tied


def test_all_probes_together_are_the_dense_form():
    """The nine training sets of one example a column: their means are test, displacement and tied parts to 1e-13."""
    with jax.enable_x64(True):
        setting = plain_setting(ONE, gn.Spacetime(2, 1, 2), 0.1)
        _, dense = dense_samples(setting, None)
        rows, tied = all_rows(3, 2, 2)
        draws = Draws(
            jnp.asarray(rows[:, None]), jnp.ones((9, 1, 4)), jnp.ones(9), jnp.asarray(tied),
            jnp.broadcast_to(jnp.arange(2), tied.shape),
        )  # fmt: skip
        record = run_probes(
            setting.motion, setting.start, setting.rates, setting.pool, setting.test, *draws, keep_shift=True
        )
    record = jax.tree.map(np.asarray, record)
    np.testing.assert_allclose(record.test.mean(1), dense.test[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(record.slope.mean(1), 0, atol=1e-13)
    np.testing.assert_allclose((record.slope**2).mean(1), dense.slope_square[0], rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(record.tied.mean(1), dense.tied[0], rtol=1e-12, atol=1e-13)
    assert dense.shift is not None
    np.testing.assert_allclose(record.shift / 9, dense.shift, rtol=1e-12, atol=1e-13)


@cache
def exact_path():
    return predict_path(*TWO, GRID, 0.2)


@cache
def probe_path(seed, num_probes=1000):
    return predict_path(
        *TWO, GRID, 0.2, method="probes", num_probes=num_probes, key=jax.random.key(seed), keep_displacement=True
    )


@pytest.mark.slow
@pytest.mark.parametrize("target", ["test", "train", "gap", "variance", "displacement"])
def test_probes_are_unbiased(target, seed):
    exact, found = exact_path().curve(target).value, probe_path(seed % 3).curve(target)
    known = found.stderr > 1e-14 * np.abs(exact).max()
    assert (np.abs(found.value - exact)[known] < Z * found.stderr[known]).all()
    np.testing.assert_allclose(found.value[~known], exact[~known], rtol=1e-12, atol=1e-15)
    assert known[-1].all()


def test_standard_errors_are_the_spread_of_the_means_of_fifty():
    """The mean of z^2 over 20 groups is 1 within 5 of its errors sqrt(2/20), at every step but the start."""
    for target in ("test", "train", "gap"):
        exact = exact_path().one_loop(target, GRID).value
        groups = probe_path(0).one_loop_samples(target, GRID).reshape(20, 50, -1)
        error = groups.std(1, ddof=1) / np.sqrt(50)
        z = (groups.mean(1) - exact)[:, 1:] / error[:, 1:]
        assert (np.abs((z**2).mean(0) - 1) < 5 * np.sqrt(2 / 20)).all(), target


@pytest.mark.slow
def test_chunks_of_probes_and_examples_change_rounding_only(monkeypatch):
    """Five probes at once, or two by two with one of padding, the pool whole or example by example; one loop and two."""
    found, heard = [], []
    settings = {"num_probes": 5, "num_loops": 2, "keep_displacement": True, "key": jax.random.key(3)}
    for width, chunk in ((6, 3), (2, 1)):
        monkeypatch.setattr(engines, "plan_chunks", lambda *arguments, sizes=(width, chunk): sizes)
        report = lambda done, total: heard.append((done, total))  # noqa: E731
        path = predict_path(*ONE, GRID, 0.1, method="probes", progress=report, **settings)
        assert heard[-1] == (5, 5)
        targets = ("test", "train", "gap", "variance", "displacement")
        found.append([part for target in targets for part in (path.curve(target).value, path.curve(target).stderr)])
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(other, one, rtol=1e-10, atol=1e-15)


@pytest.mark.slow
def test_fewer_probes_are_the_first_ones():
    few, more = probe_path(1, 50).samples, probe_path(1).samples
    for name in ("test", "pool", "tied", "cross_square"):
        np.testing.assert_allclose(getattr(few, name), getattr(more, name)[:50], rtol=1e-12, atol=1e-15)


def test_too_few_probes_are_told_how_many_do_and_so_many_pass():
    call = {"problem": TWO.problem, "params": TWO.params, "spacetime": GRID, "learning_rate": 0.2, "method": "probes"}
    call |= {"key": jax.random.key(1), "keep_displacement": True, "max_relative_error": 0.06}
    words = r"num_probes=50 give the last \w+ to [\d.]+%, expected 6.0%. Use about (\d+) probes"
    with pytest.raises(ValueError, match=words) as raised:
        predict_path(**call, num_probes=50)
    found = re.search(words, str(raised.value))
    assert found is not None
    assert 50 < int(found[1]) < 1000
    path = predict_path(**call, num_probes=1000)
    for coefficient in (path.test_coefficient, path.gap_coefficient):
        error = coefficient.stderr[-1] / abs(coefficient.value[-1])
        assert error <= 0.06
        assert error * np.sqrt(1000 / int(found[1])) < 0.06 * 1.5  # with as many as it said, but for the chance in 50


@pytest.fixture(scope="module")
def every_pair():
    """Two loops of the one-weight problem by all 9 x 9 pairs of training sets of a fixed order, B = 1."""
    with jax.enable_x64(True):
        setting = plain_setting(ONE, gn.Spacetime(2, 1, 2), 0.1)
        rows, tied = all_rows(3, 2, 2)
        first, second = (index.ravel() for index in np.meshgrid(np.arange(9), np.arange(9), indexing="ij"))
        both = np.stack([rows[first], rows[second]], axis=1)
        fixed = setting.start, setting.rates, setting.pool, setting.test
        kicks, since = jnp.ones(both.shape), jnp.broadcast_to(jnp.arange(2), tied[first].shape)
        return run_pairs(setting.motion, *fixed, jnp.asarray(both), kicks, jnp.asarray(tied[first]), since)


@pytest.mark.slow
def test_pairs_of_probes_are_unbiased(every_pair, getkey):
    """The mean over 2000 pairs against all 81, in test loss and gap at every step."""
    path = predict_path(*ONE, gn.Spacetime(2, 1, 2), 0.1, method="dense", num_loops=2, num_probes=2000, key=getkey())
    pairs = path.samples.pairs
    assert pairs is not None
    exact_test = np.asarray(every_pair["test"]).mean(1) @ [1, 0.5]
    exact_tied = np.asarray(every_pair["tied"]).mean(1).sum(-1)
    for samples, exact in ((pairs.test, exact_test), (pairs.pool, exact_test), (pairs.tied, exact_tied)):
        error = samples.std(0, ddof=1) / np.sqrt(len(samples))
        assert (np.abs(samples.mean(0) - exact) <= Z * error + 1e-13).all()
    for target, scale in (("test", 1 / 4**2), ("gap", 1 / (8 * 4))):
        sums = partial_sums(path, target, batch_size=4)
        own = {"test": pairs.test, "gap": -pairs.tied}[target].mean(0) * scale
        np.testing.assert_allclose(sums[:, 2] - sums[:, 1], own, rtol=1e-9, atol=1e-14)


def test_pairs_are_the_order_1_over_B_squared_of_all_training_sets(every_pair):
    """E test = l + L1/B + L2/B^2 + ...: of the order s^3 all, of s^4 = a/B^2 + b/B^3 the part a of pairs.

    Enumerated at B = 1 and 2, which tells a from b, the fourth cumulant.
    """
    with jax.enable_x64(True):
        grids = [gn.Spacetime(2 * batch, batch, 2) for batch in (1, 2)]
        exact = [means(*ONE, outcomes(grid, "drawn", 3), np.full(4, 0.1), Settings(), order=4) for grid in grids]
    one, two = (np.asarray(each["test"]) for each in exact)
    np.testing.assert_allclose(two[3] * 4, one[3], rtol=1e-10, atol=1e-13)
    second = np.asarray(every_pair["test"]).mean(1) @ [1, 0.5]
    np.testing.assert_allclose(second, one[3] + 8 * two[4] - one[4], rtol=1e-9, atol=1e-12)
