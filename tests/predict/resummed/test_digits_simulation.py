"""The resummed prediction against long simulations of softmax regression, by the script of the example, smaller."""

import importlib.util
from pathlib import Path

import jax
import numpy as np
import pytest

from gradnoise.stationary import find_minimum

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parents[3] / "examples" / "resummed_digits.py"


@pytest.fixture(scope="module")
def found():
    spec = importlib.util.spec_from_file_location("resummed_digits", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    problem = script.small_digits(num_pool=60, classes=3)
    minimum = find_minimum(problem, problem.init(jax.random.key(0)))
    assert minimum.gradient_norm < 1e-10
    return script.compare(problem, minimum, 0.5, 20, 100, 600), script


def test_five_relaxation_times_of_digits_are_predicted_where_the_series_is_lost(found):
    """Penalty 1e-2 in the loss, not in what is measured: V01, C01 and Y01 at the minimum; 20 times, a bound for each."""
    comparison, _ = found
    assert comparison.spacetime.num_steps * 0.5 * 0.01 >= 5
    assert len(comparison.times) == 20
    assert [str(d) for d in comparison.resummed["test"].diagrams] == [
        "(01-2)(01-12)",
        "(01-2)(02-12)",
        "(01-2-3)(02-12-23)",
    ]
    for target in ("test", "gap"):
        assert np.all(np.abs(comparison.z(target)) < 4.5)
        assert np.all(np.abs(comparison.series_z(target)) > 10)


def test_what_is_printed_says_so(found):
    comparison, script = found
    lines = script.lines(comparison)
    assert "converges however long the run" in lines[1]
    assert len(lines) == 2 + 2 * 21
