"""The script of the engine: three accounts of the net angle, and SGD against them where gradient flow rests."""

import re

import pytest

from gradnoise.testbeds.valleys import helix_ring_rate, ring_engine_rate
from scripts import load_script


@pytest.fixture(scope="module")
def script():
    return load_script("fig_space_time_8_engine")


def test_the_account_by_the_image_of_the_noise_sees_the_ring_engine_and_not_the_helix(script):
    engine, ring = script.rings()
    assert engine.ours == pytest.approx(ring_engine_rate(script.RATE))
    assert engine.in_image == pytest.approx(engine.ours, rel=1e-12)
    assert ring.ours == pytest.approx(helix_ring_rate(script.RATE))
    assert ring.in_image == pytest.approx(0, abs=1e-15)
    assert min(engine.ours, ring.ours) > 0


@pytest.mark.slow
def test_sgd_circulates_at_the_predicted_rates_climbs_and_gradient_flow_rests(script, capsys, tmp_path):
    out = tmp_path / "engine.html"
    script.main(["--num-replicas", "500", "--climb", "20000", "--out", str(out)])
    said = capsys.readouterr().out
    rows = [line.split() for line in said.splitlines()[1:5]]
    for row in rows:
        if row[2] == "flow":
            assert row[4:6] == ["0.0000", "0.0000"]
            assert row[7] == "exact"
        else:
            angle, error, _, z = map(float, row[4:8])
            assert abs(z) < 4.5
            assert angle > 20 * error
    z_low, z_high = map(float, re.search(r"prediction: z (\S+) to (\S+)", said).groups())
    assert max(-z_low, z_high) < 4.5
    page = out.read_text(encoding="utf-8")
    assert page.count('class="plot"') == 2
    assert "<link" not in page
