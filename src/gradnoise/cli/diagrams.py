"""`gradnoise diagrams`: the terms of the expansion, drawn, counted, with their coefficients."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradnoise.cli import options as given
from gradnoise.cli.environment import prepare
from gradnoise.cli.expected import WrongUse
from gradnoise.cli.output import to_json

if TYPE_CHECKING:
    from gradnoise.diagrams import Diagram
    from gradnoise.spacetime import Spacetime

MAX_ORDER = 4


def diagrams(
    diagram: given.Written = None,
    order: given.Order = None,
    num_examples: given.GridExamples = None,
    batch_size: given.GridBatch = None,
    epochs: given.GridEpochs = None,
    sampling: given.Sampling = None,
    momentum: given.GridMomentum = None,
    svg: given.Svg = None,
    as_json: given.Json = False,
    debug: given.Debug = False,
) -> None:
    """Draw and count the theory's terms.

    All diagrams of an order, or one: drawing, meaning, and the factor of value * learning_rate^order. Factors are
    formulas in N, B, E (--num-examples, --batch-size, --epochs); with these given, numbers too.
    """
    prepare(None)
    chosen = _chosen(diagram, order)
    spacetime = _grid(num_examples, batch_size, epochs, sampling, momentum)
    entries = [_entry(each, spacetime, momentum or 0) for each in chosen]
    files = {} if svg is None else {"svg": _write(svg, sheet(chosen))}
    if as_json:
        print(to_json({"command": "diagrams", "count": len(chosen), "diagrams": entries, "files": files}))
        return
    if diagram is None:
        print(f"{_count(chosen)}\n")
    print("\n\n".join(_lines(each, entry) for each, entry in zip(chosen, entries, strict=True)))
    for path in files.values():
        print(path)


def sheet(chosen: Sequence["Diagram"]) -> str:
    """All drawings below each other in one SVG document, each under its written form."""
    import re

    body, top, widest = [], 0.0, 0.0
    for diagram in chosen:
        picture = diagram.draw("svg")
        width, height = (float(size) for size in re.findall(r'(?:width|height)="([\d.]+)"', picture)[:2])
        placed = picture.replace("<svg ", f'<svg x="0" y="{top + 24:g}" ', 1)
        body.append(f'<text x="10" y="{top + 16:g}" font-family="monospace" font-size="14">{diagram}</text>{placed}')
        top, widest = top + height + 32, max(widest, width, 10 + 9 * len(str(diagram)))
    size = f'width="{widest:g}" height="{top:g}" viewBox="0 0 {widest:g} {top:g}"'
    return f'<svg xmlns="http://www.w3.org/2000/svg" {size}>{"".join(body)}</svg>\n'


def _chosen(written: str | None, order: int | None) -> list["Diagram"]:
    from gradnoise.diagrams import Diagram, enumerate_diagrams

    if written is not None:
        if order is not None:
            raise WrongUse(
                f"--order={order} came beside the diagram {written!r}, expected one of the two. Leave one out."
            )
        return [Diagram.parse(written)]
    order = 2 if order is None else order
    if not 0 <= order <= MAX_ORDER:
        raise WrongUse(
            f"--order={order} is out of range, expected 0 to {MAX_ORDER} (order 5 has 700 diagrams). Give --order 2, say, "
            "or one written diagram."
        )
    untied = list(enumerate_diagrams(order))
    tied = [joined for each in untied for joined, _ in each.attach_root()]
    return [*untied, *dict.fromkeys(tied)]


def _count(chosen: Sequence["Diagram"]) -> str:
    tied = sum(each.is_root_tied for each in chosen)
    own = f"{len(chosen) - tied} diagrams of the test loss (root alone), {tied} of the gap (root tied)"
    return f"Order {chosen[0].order}: {own}.\nNodes with the same letter look at one example; the root is the measured loss."


def _grid(
    num_examples: int | None, batch_size: int | None, epochs: int | None, sampling: str | None, momentum: float | None
) -> "Spacetime | None":
    from gradnoise.spacetime import Spacetime

    needed = {"--num-examples": num_examples, "--batch-size": batch_size}
    others = {"--epochs": epochs, "--sampling": sampling, "--momentum": momentum}
    given_names = [name for name, value in {**needed, **others}.items() if value is not None]
    if not given_names:
        return None
    for name, value in needed.items():
        if value is None:
            raise WrongUse(f"{name} is missing beside {given_names[0]}, expected both for numbers. Give {name} 8, say.")
    return Spacetime(num_examples or 0, batch_size or 0, 1 if epochs is None else epochs, sampling or "fixed")


def _entry(diagram: "Diagram", spacetime: "Spacetime | None", momentum: float) -> dict[str, Any]:
    from gradnoise.predict import coefficient, coefficient_formula
    from gradnoise.results.meaning import meaning

    target = "gap" if diagram.is_root_tied else "test"
    entry: dict[str, Any] = {
        "diagram": str(diagram),
        "order": diagram.order,
        "meaning": meaning(diagram),
        "target": target,
        "coefficient_formula": str(coefficient_formula(diagram, target)),
    }
    if spacetime is not None:
        exact = coefficient(diagram, spacetime, target, momentum=momentum)
        entry |= {"coefficient": str(exact), "coefficient_value": float(exact)}
    return entry | ({} if diagram.is_root_tied else _embeddings(diagram, spacetime))


def _embeddings(diagram: "Diagram", spacetime: "Spacetime | None") -> dict[str, str]:
    """W(D), as formula from the test factor (-1/B)^d W(D), and as a number where the grid is given."""
    import sympy

    from gradnoise.diagrams import embedding_count
    from gradnoise.predict import coefficient_formula

    formula = sympy.factor(coefficient_formula(diagram, "test") * (-sympy.Symbol("B")) ** diagram.order)
    number = {} if spacetime is None else {"embeddings": str(embedding_count(diagram, spacetime))}
    return {"embeddings_formula": str(formula), **number}


def _lines(diagram: "Diagram", entry: dict[str, Any]) -> str:
    target = f"factor in the {'gap' if entry['target'] == 'gap' else 'test loss'}"
    lines = [f"{diagram}  {entry['meaning']}", *(f"    {line}" for line in diagram.draw("text").splitlines())]
    if "embeddings_formula" in entry:
        lines.append(f"  embeddings W = {entry['embeddings_formula']}" + _number(entry, "embeddings"))
    return "\n".join([*lines, f"  {target} = {entry['coefficient_formula']}" + _number(entry, "coefficient")])


def _number(entry: dict[str, Any], name: str) -> str:
    return f" -> {entry[name]}" if name in entry else ""


def _write(path: str, text: str) -> str:
    from gradnoise.results.io import checked_path, written_aside

    try:
        if Path(path).is_dir():
            raise IsADirectoryError
        with written_aside(checked_path(path)) as temporary:
            temporary.write_text(text, encoding="utf-8")
    except OSError as error:
        reason = "it is a folder" if isinstance(error, IsADirectoryError) else error.strerror
        raise WrongUse(f"--svg={path!r} cannot be written ({reason}), expected a file. Give another name.") from error
    return path
