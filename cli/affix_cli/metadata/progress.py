"""How far a run is, on stderr: a bar on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from affix_cli.metadata.moving import Outcome
from affix_cli.metadata.report import Report
from affix_cli.metadata.walking import Tell

_EVERY_SECONDS = 10.0
_Show = Callable[[], None]


@contextmanager
def showing(report: Report, total: int) -> Iterator[Tell]:
    """Give what is to be told of each task: it is counted in `report` and shown. There are about `total`."""
    with (_on_terminal if sys.stderr.isatty() else _in_lines)(report, total) as show:

        def tell(count: int, outcome: Outcome | None) -> None:
            report.tasks += count
            if outcome is not None:
                report.add(outcome)
            show()

        yield tell


@contextmanager
def _on_terminal(report: Report, total: int) -> Iterator[_Show]:
    columns = (
        TextColumn("tasks"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[moved]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total, moved="")

        def show() -> None:
            bar.update(task, completed=report.tasks, total=max(total, report.tasks), moved=_moved(report))

        yield show


@contextmanager
def _in_lines(report: Report, total: int) -> Iterator[_Show]:
    def line() -> None:
        typer.echo(f"{report.tasks} of {total} tasks, {_moved(report)}", err=True)

    last = time.monotonic()

    def show() -> None:
        nonlocal last
        if time.monotonic() - last >= _EVERY_SECONDS:
            last = time.monotonic()
            line()

    line()
    try:
        yield show
    finally:
        line()


def _moved(report: Report) -> str:
    return f"{report.entries.total()} entries {'moved' if report.applied else 'to move'}, {len(report.skipped)} skipped"
