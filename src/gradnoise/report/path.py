"""A whole training run for several batch sizes: predicted curves on simulated ones, with their reading."""

from gradnoise.report import path_words as say
from gradnoise.report.html import Html, absent, element, section, table
from gradnoise.report.path_figures import curves_figure, residual_figure
from gradnoise.report.scaling import Finding
from gradnoise.report.source import Source
from gradnoise.report.words import with_error

TITLE = "A whole training run, for {} batch sizes"


def whole_run(source: Source) -> Html:
    """The section of the whole run: words, curves, and what is missing."""
    sizes = say.batch_sizes(source)
    if not sizes:
        why = source.attr("absent", "path", "these results hold no whole run.")
        return section("path", TITLE.format("several"), absent("The run", f"{str(why).rstrip('.')}."))
    words = [
        say.what_batch_buys(source),
        say.doubling(source),
        say.where_it_stops(source),
        *say.short(source),
        say.cost(source),
    ]
    if not say.licensed(source):
        words = [say.kinked(source), *say.short(source), say.cost(source)]
    return section(
        "path",
        TITLE.format(say.counted(sizes)),
        *(element("p", element("strong", sentence)) for sentence in words[:1] if sentence),
        *(element("p", sentence) for sentence in words[1:] if sentence),
        curves_figure(source),
        *_rest(source),
        _table(source, sizes),
    )


def path_cards(source: Source) -> list[Finding]:
    """What a larger batch buys over a whole run, for the verdict; none where no run was predicted."""
    if not say.batch_sizes(source):
        return []
    title = "What a larger batch buys over a whole run"
    if not say.licensed(source):
        return [(title, "Not licensed: the loss has kinks.", [say.kinked(source)], "caution")]
    return [
        (
            title,
            say.doubling(source) or "Unknown.",
            [*filter(None, (say.what_batch_buys(source), say.where_it_stops(source)))],
            "plain",
        )
    ]


def _rest(source: Source) -> list[Html]:
    """The second figure with its reading; nothing where nothing was simulated or no curvature is licensed."""
    drawn = residual_figure(source, [b for b in say.batch_sizes(source) if say.domain_end(source, b) is None])
    if drawn is None or not say.licensed(source):
        return []
    return [element("h3", "What the prediction leaves out"), element("p", say.level(source)), drawn]


def _table(source: Source, sizes: list[int]) -> Html:
    """Final losses in numbers."""
    steps = source.attr_number("num_steps", "path")

    def told(name: str, target: str, b: int, **place: int) -> str:
        pair = (
            source.number("path", f"{name}{e}", batch_size=b, target=target, step=steps, **place) for e in ("", "_se")
        )
        return with_error(*pair)

    rows = []
    for b in sizes:
        inside = say.licensed(source) and say.domain_end(source, b) is None
        predicted = [told("predicted", t, b, loops=1) if inside else "outside" for t in ("test", "gap")]
        rows.append(
            [b, *(cell for k, t in enumerate(("test", "gap")) for cell in (predicted[k], told("simulated", t, b)))]
        )
    head = ["Batch size", "Test loss, predicted", "simulated", "Gap, predicted", "simulated"]
    return element("details", element("summary", "Last step in numbers"), table(head, rows, numeric=range(5)))
