"""One self-contained HTML file from a results tree."""

import base64
import hashlib
import os
import re
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path
from typing import Any

import xarray as xr

from gradnoise.report.curves import curves
from gradnoise.report.diagram_table import diagram_table
from gradnoise.report.equilibrium import linear_scaling
from gradnoise.report.footer import footer
from gradnoise.report.html import Html, element, escape
from gradnoise.report.noise import noise_scale
from gradnoise.report.path import whole_run
from gradnoise.report.residuals import residuals
from gradnoise.report.source import Source
from gradnoise.report.spectrum import spectrum
from gradnoise.report.stationary import stationary_state
from gradnoise.report.temperature import which_temperature
from gradnoise.report.trade_off import trade_off
from gradnoise.report.verdict import verdict
from gradnoise.report.words import number
from gradnoise.results.io import as_tree, checked_path, load, written_aside
from gradnoise.results.schema import validate
from gradnoise.results.variables import MAIN as MAIN_GROUPS

MAIN = (verdict, curves, residuals, whole_run, spectrum, noise_scale, trade_off, diagram_table)
"""The parts of the page of the main job, in order; each takes the Source and gives its markup."""
OTHERS = {"scaling": linear_scaling, "stationary": stationary_state, "temperature": which_temperature}
"""Group of results -> the part of the page that other commands add; before the main job's."""


def write_report(results: Any, path: str | os.PathLike[str]) -> Path:
    """Write the report on `results` as one HTML file that needs no network, and return its path.

    `results`: a results tree, the path of a results file, or anything `gn.to_results` takes. Nothing is run: the same
    results give the same bytes. What is missing from the results is said on the page to be absent. The file (about 5 MB,
    nearly all of it plotly.js) is written beside its place and renamed. Its content security policy lets no script run
    but its own two and loads nothing from anywhere.

    >>> import tempfile
    >>> values = xr.Dataset({"test_loss": ("checkpoint", [2.3])}, {"checkpoint": ["start"]}, {"group": "measured"})
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_report(values, folder + "/report.html").name
    'report.html'

    Raises TypeError or ValueError, in one sentence, for what are no results or no path; as `gn.load` for a file.
    """
    place = checked_path(path)
    tree = load(results) if isinstance(results, (str, os.PathLike)) else as_tree(results)
    text = page(validate(tree))
    with written_aside(place) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="\n")
    return place


def page(tree: xr.DataTree) -> str:
    """The whole page as text, a function of the tree alone."""
    source = Source(tree)
    content = "".join(part(source) for part in _parts(source))
    return filled(f"{_name(source)} – gradnoise", _header(source), Html(content), footer(source))


def filled(title: str, header: Html, main: Html, foot: Html) -> str:
    """The template with these parts: one HTML file that needs no network and runs no script but its own two."""
    from plotly.offline import get_plotlyjs

    scripts = (get_plotlyjs(), _asset("page.js"))
    parts = {
        "title": escape(title),
        "policy": escape(_policy(scripts)),
        "style": _asset("page.css"),
        "header": header,
        "main": main,
        "footer": foot,
        "plotly": scripts[0],
        "script": scripts[1],
    }
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], _asset("page.html"))


def _parts(source: Source) -> list[Callable[[Source], Html]]:
    """What the page has: the main job's parts, unless the results are of other commands alone."""
    others = [part for group, part in OTHERS.items() if group in source.groups]
    return [*others, *(MAIN if not others or any(group in MAIN_GROUPS for group in source.groups) else ())]


def _name(source: Source) -> str:
    return str(source.attr("problem", default=source.attr("problem", "measured", "results")))


def _header(source: Source) -> Html:
    facts = {
        "num_parameters": "{} parameters",
        "num_examples": "{} training examples a run",
        "batch_size": "batch size {}",
        "num_steps": "{} steps",
    }
    known = {told: source.attr_number(name) for name, told in facts.items()}
    told = [words.format(number(value, 7)) for words, value in known.items() if value > 0]
    sampling = source.attr("sampling")
    told += [f"sampling: {str(sampling).replace('_', ' ')}"] if sampling else []
    return element(
        "header",
        element("p", "gradnoise report", class_="brand"),
        element("h1", _name(source)),
        element("p", " · ".join(told), class_="facts-line") if told else None,
    )


def _policy(scripts: tuple[str, ...]) -> str:
    hashes = [base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in scripts]
    allowed = " ".join(f"'sha256-{each}'" for each in hashes)
    nothing = "default-src 'none'; base-uri 'none'; form-action 'none'"
    return f"{nothing}; script-src {allowed}; style-src 'unsafe-inline'; img-src data: blob:"


def _asset(name: str) -> str:
    return (files("gradnoise.report") / "assets" / name).read_text(encoding="utf-8")
