"""Progress on stderr: a bar with stage, share and time; silent where stderr is no terminal."""

import signal
import sys
import threading
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
    with _heeded_interrupts() as heed:
        if shown and sys.stderr.isatty():
            yield from _bar(heed)
        else:
            yield lambda stage, share: heed()


@contextmanager
def _heeded_interrupts() -> Iterator[Callable[[], None]]:
    """A function that raises KeyboardInterrupt if one came: where compiled code calls back, Python may swallow the first."""
    came = False

    def interrupt(signal_number: int, frame: Any) -> None:
        nonlocal came
        came = True
        raise KeyboardInterrupt

    def heed() -> None:
        if came:
            raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield heed
        return
    usual = signal.signal(signal.SIGINT, interrupt)
    try:
        yield heed
    finally:
        signal.signal(signal.SIGINT, usual or signal.default_int_handler)


def _bar(heed: Callable[[], None]) -> Iterator[Hear]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import TimeRemainingColumn as Remaining

    columns = TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeElapsedColumn()
    with Progress(*columns, TextColumn("left"), Remaining(), console=Console(stderr=True)) as bar:
        tasks: dict[str, TaskID] = {}

        def hear(stage: str, share: float | None) -> None:
            heed()
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
