"""Progress on stderr: a bar with stage, share and time; silent where stderr is no terminal."""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

MOST = 0.999
"""A stage is over when the next begins: some run through their share several times."""

Hear = Callable[[str, float | None], None]


@contextmanager
def progress(shown: bool = True) -> Iterator[Hear]:
    """A function (stage, share of it or None) that moves the bar; a stage that is over stays as a line with its time."""
    if not (shown and sys.stderr.isatty()):
        yield lambda stage, share: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, TextColumn("left"), Remaining(), console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def hear(stage: str, share: float | None) -> None:
            if stage not in tasks:
                finish()
                tasks[stage] = bar.add_task(stage, total=None if share is None else 1.0)
            if share is not None:
                bar.update(tasks[stage], total=1.0, completed=min(share, MOST))

        def finish() -> None:
            for task in tasks.values():
                bar.update(task, total=1.0, completed=1.0)

        yield hear
        finish()


def say(sentence: str) -> None:
    """A line on stderr for whoever watches; nothing where stderr is no terminal."""
    if sys.stderr.isatty():
        print(sentence, file=sys.stderr)


@contextmanager
def one_line_warnings() -> Iterator[None]:
    """A warning of gradnoise's own is one plain line on stderr, told once; others stay as they are."""
    with warnings.catch_warnings():
        usual = warnings.showwarning

        def show(message: Warning | str, category: type[Warning], *place: Any, **more: Any) -> None:
            if category.__module__.startswith("gradnoise."):
                print(f"gradnoise: {message}", file=sys.stderr)
            else:
                usual(message, category, *place, **more)

        warnings.showwarning = show
        yield
