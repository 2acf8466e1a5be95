"""The documentation is true as far as a machine can tell: code runs, links lead somewhere, tests that it names exist."""

import ast
import inspect
import re
from fractions import Fraction
from functools import cache
from pathlib import Path
from urllib.parse import unquote

import pytest

import gradnoise as gn

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").rglob("*.md"))]
FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.S | re.M)


def name_of(page):
    return str(page.relative_to(ROOT))


def python_blocks(page):
    text = page.read_text(encoding="utf-8")
    return [(text.count("\n", 0, m.start(2)), m[2]) for m in FENCE.finditer(text) if m[1] == "python"]


@pytest.mark.parametrize("page", [page for page in PAGES if python_blocks(page)], ids=name_of)
def test_every_python_block_runs_one_after_the_other(page, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    namespace = {"__name__": "example"}
    for line, block in python_blocks(page):
        exec(compile("\n" * line + block, name_of(page), "exec"), namespace)
    assert not any(tmp_path.iterdir()), "an example left files behind"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_relative_links_lead_to_files_and_headings(page):
    prose = re.sub(r"`[^`\n]*`", "", FENCE.sub("", page.read_text(encoding="utf-8")))
    for target in re.findall(r"\]\(([^)\s]+)\)", prose):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        place = page.parent / unquote(path) if path else page
        assert place.exists(), f"{name_of(page)} links to {target}, which is not there"
        if anchor and place.suffix == ".md":
            assert anchor in headings(place), f"{name_of(page)} links to {target}, which has no such heading"


def headings(page):
    """GitHub's anchors of a page's headings."""
    titles = re.findall(r"^#+ (.*)$", FENCE.sub("", page.read_text(encoding="utf-8")), re.M)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@cache
def defined_tests(path):
    return {node.name for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.FunctionDef)}


def named_tests(page):
    return re.findall(r"`(tests/[\w/]+\.py)::(\w+)`", page.read_text(encoding="utf-8"))


@pytest.mark.parametrize("page", [page for page in PAGES if "tests/" in page.read_text(encoding="utf-8")], ids=name_of)
def test_every_test_that_a_page_names_exists(page):
    for file, test in named_tests(page):
        assert test.startswith("test_")
        assert (ROOT / file).exists(), f"{name_of(page)} names {file}"
        assert test in defined_tests(ROOT / file), f"{name_of(page)} names {file}::{test}"


def test_every_erratum_names_a_test_or_a_block_or_says_that_it_has_none():
    rows = [line for line in (ROOT / "docs/theory/errata.md").read_text().splitlines() if re.match(r"\| \d+ \|", line)]
    assert [int(row.split("|")[1]) for row in rows] == list(range(1, len(rows) + 1))
    for row in rows:
        settled = re.split(r"(?<!\\)\|", row)[-2]
        assert "tests/" in settled or "block " in settled or "not yet built" in settled, row


@pytest.mark.parametrize("grid", [(4, 2, 3), (6, 1, 2), (5, 5, 4), (12, 3, 1)])
def test_the_table_of_counts_is_the_counts(grid):
    """The columns "written", "Aut" and "W(D)" of docs/theory/diagrams.md, evaluated."""
    N, B, E = map(Fraction, grid)
    tau, T = N / B, E * N / B
    names = {"N": N, "B": B, "E": E, "tau": tau, "T": T, "T2": T * (T - 1) / 2, "T3": T * (T - 1) * (T - 2) / 6}
    names |= {"S1": E * (E - 1) / 2, "S2": E * (E - 1) * (2 * E - 1) / 6, "q": (tau - 1) / 2}
    names["A"] = B * N * ((T - 1 - names["q"]) * names["S1"] - tau * names["S2"])
    text = (ROOT / "docs/theory/diagrams.md").read_text()
    rows = re.findall(r"^\| \w+ \| `(\([^`]+)` \| [^|]* \| [^|]*\| (\d+) \| `([^`]+)` \|", text, re.M)
    known = {gn.Diagram.parse(written): (int(aut), count) for written, aut, count in rows}
    assert set(known) == {diagram for order in (1, 2, 3) for diagram in gn.enumerate_diagrams(order)}
    for diagram, (automorphisms, count) in known.items():
        assert diagram.num_automorphisms == automorphisms
        assert eval(count, names) == gn.embedding_count(diagram, gn.Spacetime(*grid)), count


def signature(public):
    """The call as docs/api.md writes it: no annotations, 2**0.5 for the square root of two."""
    found = inspect.signature(public)
    bare = [parameter.replace(annotation=inspect.Parameter.empty) for parameter in found.parameters.values()]
    written = str(found.replace(parameters=bare, return_annotation=inspect.Signature.empty))
    return written.replace(repr(2**0.5), "2**0.5")


def test_the_api_page_lists_every_public_name_with_its_signature_and_no_other():
    written = re.findall(r"^\| `(\w+)([^`]*)` \| \S", (ROOT / "docs/api.md").read_text(), re.M)
    assert [name for name, _ in written] == list(dict.fromkeys(name for name, _ in written))
    assert {name for name, _ in written} == set(gn.__all__)
    for name, call in written:
        public = getattr(gn, name)
        assert call == (signature(public) if callable(public) else ""), name


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_no_page_names_a_place_on_somebodys_machine(page):
    found = re.findall(r"(?<![\w.])/(?:work|home|root|tmp|Users)\b\S*|\b[A-Z]:\\", page.read_text(encoding="utf-8"))
    assert not found
