"""The script of the overfitting figure: closed forms and runs agree, the peak is where it should be, a page is written."""

import numpy as np
import pytest

from scripts import load_script


@pytest.fixture(scope="module")
def script():
    return load_script("fig_small_rates_1_overfitting")


def test_the_page_has_the_peak_and_needs_no_network(script, capsys, tmp_path):
    place = tmp_path / "overfitting.html"
    script.main(["--num-replicas", "0", "--out", str(place)])
    assert "largest at x = 1.2566; the root of exp(x) = 1 + 2x is 1.256431" in capsys.readouterr().out
    text = place.read_text()
    assert 'id="overfitting-data"' in text
    assert "{{" not in text.split("<script>")[0]
    assert "src=" not in text.split("<script>")[0]


@pytest.mark.slow
def test_runs_overfit_as_the_closed_forms_say(script):
    for seed, (spacetime, _) in enumerate(script.SCHEDULES.values()):
        dots = script.simulated(spacetime, 500, seed)
        values = script.predicted(spacetime, script.SIMULATED).values
        z = [(one.value - value) / one.stderr for one, value in zip(dots, values, strict=True)]
        assert np.all(np.abs(z) < 4.5)
