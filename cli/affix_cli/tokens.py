"""`affix token`: makes, lists and revokes the tokens of AFFIX_AUTH=token."""

# What the server brings is imported when a command runs, as in main.py:
# ruff: noqa: PLC0415

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from affix_cli.failures import Failure

HELP = "Make, list and revoke the tokens of AFFIX_AUTH=token."
app = typer.Typer(no_args_is_help=True)

File = Annotated[Path, typer.Option("--file", envvar="AFFIX_TOKEN_FILE", help="The file of tokens.")]


@app.command()
def new(
    file: File,
    instance: Annotated[str, typer.Option(help="Whose token it is: what `createdBy` says.")],
    scope: Annotated[str, typer.Option(help="read, write or admin; each includes those before it.")],
    task_prefix: Annotated[
        str | None, typer.Option(help="What the ids of its tasks begin with; left out: all.")
    ] = None,
) -> None:
    """Make a token and print it, this once: the file keeps its hash alone."""
    from affix_server.auth import tokens

    if task_prefix == "":  # a variable of a shell that was not set must not make a token for all tasks
        raise Failure("--task-prefix must not be empty: leave it out for all tasks")
    with _plain_failures(file):
        token, line = tokens.new_token(instance, scope, task_prefix or "")
        tokens.add_token(file, line)
    typer.echo(token)


@app.command(name="list")
def list_(file: File) -> None:
    """List the tokens of the file, without their secrets, which nobody has."""
    from affix_server.auth import tokens

    with _plain_failures(file):
        lines = tokens.read_tokens(file)
    head = ("id", "instance", "scope", "task prefix", "created")
    rows = [head, *((one.id, one.instance, one.scope, one.task_prefix or "-", one.created_at or "-") for one in lines)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        typer.echo("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@app.command()
def revoke(
    id: Annotated[str, typer.Argument(help="The token's id: what follows affix_ in it, or in the list.")],  # noqa: A002
    file: File,
) -> None:
    """Take a token out of the file; servers refuse it within a second."""
    from affix_server.auth import tokens

    with _plain_failures(file):
        found = tokens.remove_token(file, id)
    if not found:
        raise Failure(f"no token of {file} has the id {id}")


@contextmanager
def _plain_failures(file: Path) -> Iterator[None]:
    from affix_server.auth.files import BadFileError
    from affix_server.errors import InvalidParamsError

    try:
        yield
    except InvalidParamsError as refused:
        lines = (f"--{one.field.replace('_', '-')} {one.description}" for one in refused.violations)
        raise Failure("\n".join(lines)) from None
    except BadFileError as fault:
        raise Failure(f"{file} {fault}") from None
    except OSError as fault:
        why = os.strerror(fault.errno).lower() if fault.errno else "it cannot be used"
        raise Failure(f"cannot use {file}: {why}") from None
