"""The script of the weak-order figure prints the numbers it is there for, and runs small."""

import pytest

from scripts import load_script


@pytest.fixture(scope="module")
def script():
    return load_script("fig_svag_1_weak_order")


def test_the_closed_forms_are_printed_with_the_numbers_of_the_theory(script, capsys):
    script.main(["--exact"])
    said = capsys.readouterr().out
    for numbers in ("0.32197877    0.21587193    0.13819901    0.11885035", "0.01472   -0.02126   -0.01767   -0.03183"):
        assert numbers in said
    assert "non gaussian    0.00000    0.00000   -0.00276    0.01819" in said.replace("-0.00000", " 0.00000")


@pytest.mark.slow
def test_the_network_runs_small_at_two_batch_sizes(script, capsys):
    script.main(["--num-replicas", "16", "--largest-l", "4"])
    said = capsys.readouterr().out
    assert "Digits, B = 2, rate 0.05" in said
    assert said.count("of the SDE less that of SGD at step 20: small steps") == 4
