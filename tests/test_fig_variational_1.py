"""The script of the spectra runs small, has networks of the stated sizes and writes a page that needs no network."""

import jax
import pytest

from gradnoise.testbeds.catalogue import MODELS
from scripts import load_script


@pytest.fixture(scope="module")
def script():
    return load_script("fig_variational_1_spectrum")


@pytest.mark.parametrize(("side", "weights"), [(8, [13_240, 19_882, 26_920]), (28, [13_304, 19_885, 26_576])])
def test_networks_have_about_13_20_and_27_thousand_weights(script, side, weights):
    counted = []
    for options in script.NETWORKS[side].values():
        own = dict(options)
        shapes = jax.eval_shape(MODELS[own.pop("model")](side**2, 10, **own).init, jax.random.key(0))
        counted.append(sum(leaf.size for leaf in jax.tree.leaves(shapes)))
    assert counted == weights


@pytest.mark.slow
def test_it_runs_small_and_writes_a_page(script, capsys, tmp_path):
    place = tmp_path / "spectra.html"
    script.main(["--num-pool", "30", "--num-steps", "20", "--networks", "1", "--only-networks", "--out", str(place)])
    said = capsys.readouterr().out
    assert "conv, 13k: 13240 weights" in said
    assert "30 examples allow at most 29" in said
    text = place.read_text()
    assert 'id="spectra-data"' in text
    assert "{{" not in text.split("<script>")[0]
    assert "src=" not in text.split("<script>")[0]
