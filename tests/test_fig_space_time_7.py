"""The script of the Gauss figure: its series are exact, its three processes are told apart."""

from itertools import product

import numpy as np
import pytest

import gradnoise as gn
from scripts import load_script


@pytest.fixture(scope="module")
def script():
    return load_script("fig_space_time_7_gauss")


def exact(pool, rate, steps):
    """E l(h_T) - 1/2 over all examples at each step."""
    total = 0.0
    for squares in product(np.asarray(pool).ravel() ** 2, repeat=steps):
        h = 0.0
        for square in squares:
            h -= rate * (1 - square * np.exp(-h)) / 2
        total += (h + np.exp(-h)) / 2 - 0.5
    return total / len(pool) ** steps


def test_the_points_have_the_moments_of_a_normal_x_and_the_series_is_that_of_sgd(script, monkeypatch):
    """Through order 3, which compiles faster than the script's 4: the remainder is then of order 4."""
    monkeypatch.setattr(script, "ORDER", 3)
    problem = script.landscape()
    squares = np.asarray(problem.pool).ravel() ** 2
    assert [squares.mean(), squares.var()] == pytest.approx([1, 2])
    assert np.mean((squares - 1) ** 3) == pytest.approx(8, rel=0.01)
    found = script.series(gn.diagram_values(problem, np.zeros(1), max_order=script.ORDER))["sgd"]
    powers = np.arange(script.ORDER + 1)
    remainders = [exact(problem.pool, rate, script.STEPS) - found @ rate**powers for rate in (0.01, 0.02)]
    assert np.log2(remainders[1] / remainders[0]) == pytest.approx(script.ORDER + 1, abs=0.2)
    assert found[3] == pytest.approx(-script.STEPS * (1 / 48 + script.STEPS / 16), rel=0.01)


@pytest.mark.slow
def test_the_script_prints_its_numbers_and_writes_a_page_that_fetches_nothing(script, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(script, "SUBSTEPS", 4)
    script.main(["--num-replicas", "400", "--out", str(tmp_path / "gauss.html")])
    said = capsys.readouterr().out
    assert said.count(" agrees") + said.count(" in last term") + said.count(" exact") == 16
    assert "finite steps 0.06250, skewness -0.08385" in said
    page = (tmp_path / "gauss.html").read_text(encoding="utf-8")
    assert page.count('class="plot"') == 3
    assert "<link" not in page
