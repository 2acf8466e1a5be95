"""JSON is strict, progress goes to a terminal alone, what fails is told in the command line's words."""

import contextlib
import io
import json
import math
import signal
import sys

import numpy as np
import pytest
import xarray as xr
from pydantic import ValidationError

from gradnoise.cli.errors import BUG, INTERRUPTED, WRONG_USE, Interrupted, explain, tell
from gradnoise.cli.expected import WrongUse
from gradnoise.cli.output import table, to_json, tree_to_dict
from gradnoise.cli.progress import progress
from gradnoise.experiment.config import Config
from gradnoise.spacetime import Spacetime


def refuse(name):
    raise AssertionError(f"{name} is no JSON")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (math.nan, None),
        (math.inf, "Infinity"),
        (np.float32(-math.inf), "-Infinity"),
        (np.array([1.0, math.nan]), [1.0, None]),
        (np.int64(3), 3),
        (np.bool_(True), True),
        ({"a": (1, None)}, {"a": [1, None]}),
        (np.array(2.5), 2.5),
        (np.array(["x", "y"]), ["x", "y"]),
    ],
)
def test_json_is_strict(value, expected):
    assert json.loads(to_json(value), parse_constant=refuse) == expected


def test_a_whole_results_tree_becomes_strict_json():
    dataset = xr.Dataset({"loss": ("step", [1.0, math.nan])}, {"step": [0, 1]}, {"rate": np.float64(math.inf)})
    told = json.loads(to_json(tree_to_dict(xr.DataTree.from_dict({"simulated": dataset}))), parse_constant=refuse)
    assert told["groups"]["simulated"]["data_vars"]["loss"]["data"] == [1.0, None]
    assert told["groups"]["simulated"]["attrs"]["rate"] == "Infinity"


def test_columns_are_aligned():
    assert table([["a", "b"], ["long", "1"]]) == "a     b\nlong  1"


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("stream", "shown", "silent"),
    [(io.StringIO, True, True), (Terminal, False, True), (Terminal, True, False)],
)
def test_progress_is_shown_on_a_terminal_alone(monkeypatch, stream, shown, silent):
    monkeypatch.setattr(sys, "stderr", stream())
    with progress(shown) as hear:
        hear("values", None)
        hear("simulation", 0.5)
    told = sys.stderr.getvalue()
    assert (told == "") == silent
    assert silent or "simulation" in told


def caught(action):
    try:
        action()
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")


def test_a_sentence_of_the_library_is_told_in_options():
    error = caught(lambda: Spacetime(100, 48))
    sentence, code = explain(error)
    assert code == WRONG_USE
    assert sentence.startswith("--batch-size=48 does not divide --num-examples=100")
    assert '--sampling="with_replacement"' in sentence


def test_what_pydantic_refuses_is_told_with_the_option_and_an_example():
    error = caught(lambda: Config(batch_size=0))
    assert isinstance(error, ValidationError)
    assert explain(error) == (
        "--batch-size=0 does not do, expected a whole number of at least 1. Give --batch-size 8, say.",
        WRONG_USE,
    )


def test_an_exception_that_nobody_raised_on_purpose_is_called_a_bug():
    sentence, code = explain(caught(lambda: np.zeros(3) + np.zeros(4)))
    assert code in (BUG, WRONG_USE)  # raised under this file, which counts as the user's code
    error = ValueError("internal")  # no traceback at all: nobody's sentence
    sentence, code = explain(error)
    assert code == BUG
    assert "this is a bug" in sentence
    assert "--debug" in sentence


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (MemoryError(), WRONG_USE, "--memory"),
        (RuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"), WRONG_USE, "--memory"),
        (PermissionError(13, "Permission denied", "x.nc"), WRONG_USE, "'x.nc'"),
        (OSError(28, "No space left on device", "x.nc"), WRONG_USE, "Make room"),
        (KeyboardInterrupt(), INTERRUPTED, "interrupted"),
        (Interrupted("stopped; use --resume."), INTERRUPTED, "--resume"),
        (WrongUse("two\nlines"), WRONG_USE, "two lines"),
    ],
)
def test_every_failure_is_one_line_with_an_exit_code(capsys, error, code, words):
    assert tell(error) == code
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    assert words in told.err


@pytest.mark.parametrize("shown", [True, False])
def test_an_interrupt_that_was_swallowed_is_heard_at_the_next_progress(shown):
    """As where compiled code calls back into Python, and an exception in there is only printed."""
    usual = signal.getsignal(signal.SIGINT)
    with progress(shown) as hear:
        hear("working", 0.1)
        with contextlib.suppress(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            hear("working", 0.2)
    assert signal.getsignal(signal.SIGINT) is usual
