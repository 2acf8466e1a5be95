"""`gradnoise diagrams`: the terms of the expansion, drawn, counted, with their coefficients."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gradnoise.cli import diagram_options as own
from gradnoise.cli import options as given
from gradnoise.cli.environment import prepare
from gradnoise.cli.expected import WrongUse
from gradnoise.cli.output import to_json

if TYPE_CHECKING:
    from gradnoise.diagrams import Diagram
    from gradnoise.spacetime import Spacetime

MAX_ORDER = 4
TARGETS = {"test": "test loss", "train": "train loss", "gap": "gap", "displacement": "mean displacement"}


def diagrams(
    diagram: own.Written = None,
    order: own.Order = None,
    target: own.DiagramTarget = None,
    num_examples: own.GridExamples = None,
    batch_size: own.GridBatch = None,
    epochs: own.GridEpochs = None,
    sampling: given.Sampling = None,
    momentum: own.GridMomentum = None,
    svg: own.Svg = None,
    gallery_file: own.Gallery = None,
    as_json: given.Json = False,
    debug: given.Debug = False,
) -> None:
    """Draw and count the theory's terms.

    All diagrams of an order, or one: drawing, meaning, and the factor of value * learning_rate^order. Factors are
    formulas in N, B, E (--num-examples, --batch-size, --epochs) of plain SGD in a fixed order; with these given, numbers
    too, for any --sampling and --momentum.
    """
    prepare(None)
    spacetime = _grid(num_examples, batch_size, epochs, sampling, momentum)
    if gallery_file is not None:
        from gradnoise.cli.diagram_gallery import gallery

        if any(each is not None for each in (diagram, target, svg, momentum)):
            raise WrongUse(
                f"--gallery={gallery_file!r} shows all diagrams and targets, without momentum. Leave other choices out."
            )
        orders = range((MAX_ORDER if order is None else _checked(order)) + 1)
        path = _write("gallery", gallery_file, lambda: gallery(orders, spacetime))
        print(to_json({"command": "diagrams", "files": {"gallery": path}}) if as_json else path)
        return
    chosen = _chosen(diagram, order, target)
    entries = [_entry(each, spacetime, momentum or 0, target) for each in chosen]
    files = {} if svg is None else {"svg": _write("svg", svg, lambda: sheet(chosen))}
    if as_json:
        print(to_json({"command": "diagrams", "count": len(chosen), "diagrams": entries, "files": files}))
        return
    if diagram is None:
        print(f"{_count(chosen, target)}\n")
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


def _chosen(written: str | None, order: int | None, target: str | None) -> list["Diagram"]:
    """The written diagram, or those of an order that the target sees (without one: all of test loss and gap)."""
    from gradnoise.diagrams import Diagram, enumerate_diagrams

    if written is not None:
        if order is not None:
            raise WrongUse(f"--order={order} came beside the diagram {written!r}, expected one of them. Leave one out.")
        return [Diagram.parse(written)]
    untied = list(enumerate_diagrams(_checked(2 if order is None else order)))
    if target == "displacement":
        return [each for each in untied if len(each.children(each.root)) == 1]
    tied = list(dict.fromkeys(joined for each in untied for joined, _ in each.attach_root()))
    return {"test": untied, "gap": tied}.get(target or "", [*untied, *tied])


def _checked(order: int) -> int:
    from gradnoise.diagrams import number_of_diagrams

    if 0 <= order <= MAX_ORDER:
        return order
    if order < 0:
        raise WrongUse(f"--order={order} is out of range, expected 0 to {MAX_ORDER}. Give --order 2, say.")
    count = f"{number_of_diagrams(order):,}" if order <= 10 else "more than 90 million"
    raise WrongUse(
        f"--order={order} means {count} diagrams in the test loss, expected 0 to {MAX_ORDER}. Give --order 2, say, or one "
        "written diagram."
    )


def _count(chosen: Sequence["Diagram"], target: str | None) -> str:
    tied = sum(each.is_root_tied for each in chosen)
    kinds = {"of the test loss (root alone)": len(chosen) - tied, "of the gap (root tied)": tied}
    own = ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count or target is None)
    head = f"{own}; factors in the {TARGETS[target]}" if target else own
    order = f"Order {chosen[0].order}: " if chosen else ""
    return f"{order}{head}.\nNodes with the same letter look at one example; the root is the measured loss."


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


def _entry(diagram: "Diagram", spacetime: "Spacetime | None", momentum: float, target: str | None) -> dict[str, Any]:
    from gradnoise.cli.diagram_gallery import holds
    from gradnoise.predict import coefficient, coefficient_formula
    from gradnoise.results.meaning import meaning

    target = target or ("gap" if diagram.is_root_tied else "test")
    formula = coefficient_formula(diagram, target)
    entry: dict[str, Any] = {
        "diagram": str(diagram),
        "order": diagram.order,
        "meaning": meaning(diagram),
        "target": target,
        "coefficient_formula": str(formula),
    }
    if spacetime is not None:
        exact = coefficient(diagram, spacetime, target, momentum=momentum)
        entry |= {"coefficient": str(exact), "coefficient_value": float(exact)}
        entry["coefficient_formula_holds"] = holds(formula, exact, spacetime)
    return entry | ({} if diagram.is_root_tied else _embeddings(diagram, spacetime))


def _embeddings(diagram: "Diagram", spacetime: "Spacetime | None") -> dict[str, Any]:
    """W(D), as formula, and as a number where the grid is given."""
    from gradnoise.cli.diagram_gallery import embeddings_formula, holds
    from gradnoise.diagrams import embedding_count

    formula = embeddings_formula(diagram)
    if spacetime is None:
        return {"embeddings_formula": str(formula)}
    count = embedding_count(diagram, spacetime)
    told = {"embeddings_formula": str(formula), "embeddings": str(count)}
    return {**told, "embeddings_formula_holds": holds(formula, count, spacetime)}


def _lines(diagram: "Diagram", entry: dict[str, Any]) -> str:
    target = f"factor in the {TARGETS[entry['target']]}"
    lines = [f"{diagram}  {entry['meaning']}", *(f"    {line}" for line in diagram.draw("text").splitlines())]
    if "embeddings_formula" in entry:
        lines.append(f"  embeddings W = {entry['embeddings_formula']}" + _number(entry, "embeddings"))
    return "\n".join([*lines, f"  {target} = {entry['coefficient_formula']}" + _number(entry, "coefficient")])


def _number(entry: dict[str, Any], name: str) -> str:
    """The number, pointed at by a formula that gives it; the formula is of plain SGD in a fixed order."""
    if name not in entry:
        return ""
    arrow = "->" if entry[f"{name}_formula_holds"] else "(plain, in a fixed order); as asked for:"
    return f" {arrow} {entry[name]}"


def _write(name: str, path: str, made: Callable[[], str]) -> str:
    """Write what `made` gives, once the file can be written."""
    from gradnoise.results.io import checked_path, written_aside

    try:
        if Path(path).is_dir():
            raise IsADirectoryError
        with written_aside(checked_path(path)) as temporary:
            temporary.write_text(made(), encoding="utf-8")
    except OSError as error:
        reason = "it is a folder" if isinstance(error, IsADirectoryError) else error.strerror
        raise WrongUse(
            f"--{name}={path!r} cannot be written ({reason}), expected a file. Give another name."
        ) from error
    return path
