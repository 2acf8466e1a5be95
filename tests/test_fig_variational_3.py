"""The script of the double-well figure prints the numbers it is there for, and writes a page that needs nothing else."""

import pytest

from scripts import load_script


@pytest.fixture(scope="module")
def script():
    return load_script("fig_variational_3_double_well")


def test_the_constants_of_the_grid_are_printed_beside_their_closed_forms(script, capsys):
    script.main(["--cells", "50"])
    said = capsys.readouterr().out
    for number in ("1.04180", "0.41209", "1.23628", "-0.0016, -0.0066, -0.1090, -0.3544, -0.5393, -0.7188"):
        assert number in said


@pytest.mark.slow
def test_the_page_is_one_file_without_scripts(script, tmp_path):
    script.main(["--cells", "40", "--out", str(tmp_path / "page.html")])
    page = (tmp_path / "page.html").read_text(encoding="utf-8")
    assert page.count("<svg") == 4
    assert "http" not in page
    assert "<script" not in page
