"""The `affix` command: what each subcommand takes; the work is imported when it is asked for."""

# Each command imports what it needs when it runs, so that `affix shim` works without the server's packages:
# ruff: noqa: PLC0415

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from affix_cli import __version__, tokens
from affix_cli.failures import Failure

app = typer.Typer(
    name="affix",
    help="Typed attachments for tasks, over gRPC and JSON-RPC. Redis answers, Postgres keeps.",
    epilog="Settings come from the environment; `affix config` lists them all.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _version(wanted: bool) -> None:  # noqa: FBT001 - the signature typer calls
    if wanted:
        typer.echo(f"affix {__version__}")
        raise typer.Exit


@app.callback()
def _affix(
    *,
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def up() -> None:
    """Serve both wires with a PostgreSQL and a Valkey of its own.

    The stores live in AFFIX_DATA_DIR, start and stop with it, and keep their data.
    Ctrl-C stops everything it started, once the calls in flight are answered.
    """
    with _needs("embedded"):
        from affix_cli import foreground
        from affix_cli import up as command
    raise typer.Exit(foreground.run(command.up()))


@app.command()
def serve() -> None:
    """Serve both wires with stores that are already there.

    They are named by AFFIX_POSTGRES_DSN and AFFIX_REDIS_URL; `affix migrate` prepares the database.
    """
    with _needs("cli"):
        from affix_cli import foreground
        from affix_cli import serve as command
    raise typer.Exit(foreground.run(command.serve()))


@app.command()
def shim(
    target: Annotated[str, typer.Option(help="The gRPC server to pass calls on to, host:port.")],
    listen: Annotated[
        str, typer.Option(envvar="AFFIX_HTTP_LISTEN", help="Where to serve JSON-RPC, host:port; port 0 picks one.")
    ] = "127.0.0.1:8080",
    max_message_bytes: Annotated[
        int, typer.Option(envvar="AFFIX_MAX_MESSAGE_BYTES", min=4096, help="Largest request or response.")
    ] = 64 * 1024 * 1024,
    operation_timeout_seconds: Annotated[
        float, typer.Option(envvar="AFFIX_OPERATION_TIMEOUT_SECONDS", min=0.1, help="Upper bound of any call.")
    ] = 5.0,
    metrics: Annotated[
        str, typer.Option("--metrics", envvar="AFFIX_METRICS_ACCESS", help="Whether to serve /metrics: open or off.")
    ] = "open",
) -> None:
    """Serve JSON-RPC alone, for a gRPC server elsewhere."""
    with _needs("shim"):
        from affix_cli import foreground
        from affix_cli import shim as command
    raise typer.Exit(
        foreground.run(command.shim(target, listen, max_message_bytes, operation_timeout_seconds, metrics))
    )


@app.command()
def migrate() -> None:
    """Bring the database of AFFIX_POSTGRES_DSN up to date, and say what was applied."""
    with _needs("server"):
        from affix_cli import migrate as command
    command.migrate()


@app.command()
def migrate_metadata(
    *,
    apply: Annotated[bool, typer.Option("--apply", help="Do it; else it only says what it would do.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON.")] = False,
) -> None:
    """Move what is in `metadata.data` of tasks into attachments.

    It uses the stores of AFFIX_POSTGRES_DSN and AFFIX_REDIS_URL, beside the service that uses them too. It can be
    interrupted and run again. Exit code 3: something was skipped, and is left where it is.
    """
    with _needs("server"):
        from affix_cli import foreground
        from affix_cli.metadata import command
    raise typer.Exit(foreground.run(command.migrate_metadata(apply=apply, as_json=json)))


@app.command()
def config(*, json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Print every setting, its environment variable, default and value, with secrets masked."""
    with _needs("server"):
        from affix_cli import settings as command
    typer.echo(command.as_json() if json else command.as_table())


def main() -> None:
    """Run the command of this process's arguments, and exit.

    Exit codes: 0, 1 (a fault of ours), 2 (it cannot be done; one plain line a
    problem on stderr), 3 (done, but for what `migrate-metadata` skipped), 130
    (stopped by a second signal, or `migrate-metadata` by the first).
    """
    # gRPC's own remarks, such as about a port in use, would stand beside the one line we print.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        app()
    except Failure as failure:
        for line in str(failure).splitlines():
            typer.echo(f"affix: {line}", err=True)
        sys.exit(2)


def _tokens_need_the_server() -> None:
    with _needs("server"):
        import affix_server.auth.tokens  # noqa: F401 - to find out whether it can be


app.add_typer(tokens.app, name="token", callback=_tokens_need_the_server, help=tokens.HELP)


@contextmanager
def _needs(extra: str) -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name is None or error.name.startswith("affix"):
            raise  # ours are always there: this is a fault, not a missing extra
        raise Failure(
            f"this command needs the {extra} extra ({error.name} is missing): pip install 'affix[{extra}]'"
        ) from error
