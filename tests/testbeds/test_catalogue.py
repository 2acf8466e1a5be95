"""Every stock problem can be studied as it comes, and wrong names are answered with the nearest right one."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cases import CASES
from gradnoise import _tree, testbeds
from gradnoise.problem import probe_problem


@pytest.mark.parametrize("name", testbeds.CATALOGUE)
def test_every_stock_problem_passes_the_probe_in_float64(name, getkey):
    problem = testbeds.problem(name)
    assert problem.name == name
    with jax.enable_x64(True):
        examples = problem.sample(getkey(), 5) if problem.pool is None else problem.pool
        probe_problem(problem, problem.init(getkey()), examples)


@pytest.mark.parametrize("name", testbeds.CATALOGUE)
def test_every_stock_problem_stays_in_float32_in_64_bit_mode_too(name, getkey):
    problem = testbeds.problem(name)
    with jax.enable_x64(True):
        params = _tree.cast(problem.init(getkey()), jnp.float32)
        example = _tree.take(_tree.cast(problem.sample(getkey(), 1), jnp.float32), 0)
        assert jax.eval_shape(problem.loss, params, example).dtype == jnp.float32


@pytest.mark.parametrize("name", CASES)
def test_every_test_case_passes_the_probe(name):
    problem, params = CASES[name]()
    assert all(leaf.dtype == np.float64 for leaf in jax.tree.leaves(params))
    with jax.enable_x64(True):
        probe_problem(problem, params, problem.pool)


def test_the_names_that_the_interface_promises_are_there():
    promised = "digits-mlp digits-logistic mean-estimation gauss helix helix-ring ring-engine double-well"
    assert set(testbeds.CATALOGUE) >= set(promised.split())


def test_options_reach_the_constructor():
    assert testbeds.problem("mean-estimation", hessian=3.0, theta0=1 / 3).init(None)[0] == 1 / 3
    assert testbeds.problem("digits-mlp", num_pool=7, num_test=5).setting == "held out"


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("digits-mpl", {}, "Did you mean 'digits-mlp'"),
        ("", {}, "problem='' is unknown"),
        ("helix", {"inclin": 1.0}, "Did you mean 'incline'"),
        ("digits-mlp", {"widht": 3}, "Did you mean 'width'"),
        ("digits-logistic", {"width": 3}, "option of digits-logistic='width' is unknown"),
        ("digits-mlp", {"num_pool": 1800}, "num_pool=1800"),
        ("digits-mlp", {"num_test": 1797}, "num_test=1797"),
        ("digits-mlp", {"num_test": -1}, "num_test=-1"),
    ],
)
def test_wrong_names_and_options_are_told(name, options, words):
    with pytest.raises(ValueError, match=words):
        testbeds.problem(name, **options)


def test_importing_the_testbeds_does_not_import_scikit_learn():
    code = "import sys, gradnoise.testbeds; sys.exit('sklearn' in sys.modules or 'scipy.integrate' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
