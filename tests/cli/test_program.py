"""The program as a whole: help, version, what it imports, how it is started."""

import io
import os
import re
import statistics
import subprocess
import sys
import time

import pytest

from gradnoise.cli.app import COMMANDS, main
from gradnoise.cli.expected import EXPECTED, option
from gradnoise.experiment.config import Config
from gradnoise.testbeds.catalogue import CATALOGUE

HEAVY = ("jax", "numpy", "scipy", "xarray", "plotly", "sklearn", "sympy", "equinox", "netCDF4", "rich")
NAMES = [command.__name__ for command in COMMANDS]


def started(*arguments, **options):
    return subprocess.run(
        [sys.executable, "-m", "gradnoise", *arguments], capture_output=True, text=True, timeout=120, **options
    )


def test_python_m_gradnoise_tells_the_version():
    told = started("--version")
    assert (told.returncode, told.stderr) == (0, "")
    assert re.fullmatch(r"gradnoise \d+\.\d+\.\d+\n", told.stdout)


def test_help_imports_nothing_heavy():
    code = (
        "import sys; from gradnoise.cli import main; main(['--help']); early = 'pydantic' in sys.modules;"
        f"main(['report', '--help']); print(early, [name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    )
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert told.stderr == "False []\n"  # typer itself imports pydantic for the help of a command


def test_help_answers_at_once():
    def seconds():
        start = time.perf_counter()
        assert started("--help").returncode == 0
        return time.perf_counter() - start

    bare = []
    for _ in range(5):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-c", "import typer, inspect"], check=True)
        bare.append(time.perf_counter() - start)
    # 0.4 s on an idle machine; a loaded one is as much slower for a bare interpreter that imports typer (0.1 s).
    assert statistics.median(seconds() for _ in range(5)) < max(0.4, 4 * statistics.median(bare))


def test_without_a_command_it_shows_its_help(call):
    told = call()
    assert told.code == 0
    assert all(f"  {name} " in told.out for name in NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_every_command_has_help_without_unfinished_words(call, name):
    told = call(name, "--help")
    assert (told.code, told.err) == (0, "")
    assert f"Usage: gradnoise {name}" in told.out
    assert "..." not in told.out.replace("ARGS]...", "")


def test_every_command_of_the_public_surface_is_offered(call):
    told = call("--help").out
    for name in ("report", "measure", "predict", "simulate", "scaling", "stationary", "sweep", "diagrams", "cite"):
        assert f"  {name} " in told


def test_help_of_problem_names_the_catalogue_and_says_that_it_runs_code(call):
    told = re.sub(r"-\s+", "-", re.sub(r"\n\s+", " ", call("report", "--help").out))
    assert all(name in told for name in CATALOGUE)
    assert "runs that module's code" in told


def test_defaults_in_the_help_are_those_of_the_settings(call):
    told = re.sub(r"\s+", " ", call("report", "--help").out)
    for name, field in Config.model_fields.items():
        if field.default is None:
            continue
        here = told[told.index(f"{option(name)} ") :]
        shown = re.search(r"\((?:one order, the )?default ?([^)\s,]*)", here) if name != "sampling" else None
        if name == "sampling":
            assert here[: here.index("default")].split()[2] == field.default
        else:
            assert shown is not None
            assert shown[1] == f"{field.default:g}" if isinstance(field.default, float) else str(field.default)


def test_examples_in_error_messages_are_accepted():
    for name in Config.model_fields.keys() & EXPECTED:
        Config.model_validate({name: EXPECTED[name][1]})


def test_cite_prints_balanced_bibtex_of_the_papers(call):
    told = call("cite")
    assert (told.code, told.err) == (0, "")
    entries = re.findall(r"^@\w+\{(\S+),$", told.out, flags=re.MULTILINE)
    assert len(entries) == len(set(entries)) == 7
    assert told.out.count("{") == told.out.count("}")
    for author in ("Tenka", "Malladi", "Gomez-Uribe", "Soatto", "McCandlish"):
        assert author in told.out


def test_a_reader_that_stops_early_is_no_error():
    reader, writer = os.pipe()
    os.close(reader)
    told = subprocess.run([sys.executable, "-m", "gradnoise", "cite"], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert (told.returncode, told.stderr) == (1, "")


def test_a_terminal_without_unicode_gets_question_marks_and_no_traceback(monkeypatch):
    shown = io.TextIOWrapper(io.BytesIO(), encoding="ascii", write_through=True)
    monkeypatch.setattr(sys, "stdout", shown)
    assert main(["diagrams", "--order", "1"]) == 0
    assert b"??? 0" in shown.buffer.getvalue()
