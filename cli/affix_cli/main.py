"""The `affix` command: what each subcommand takes; the work is imported when it is asked for."""

# Each command imports what it needs when it runs, so that `affix shim` works without the server's packages:
# ruff: noqa: PLC0415

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Literal

import typer

from affix_cli import __version__, tokens, tracebacks
from affix_cli.failures import Failure

LogLevel = Literal["debug", "info", "warning", "error"]
LogFormat = Literal["auto", "json", "console"]
LogCalls = Literal["all", "failed", "off"]

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
def serve(
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, help="So many processes on the two ports; else AFFIX_WORKERS.")
    ] = None,
) -> None:
    """Serve both wires with stores that are already there.

    They are named by AFFIX_POSTGRES_DSN and AFFIX_REDIS_URL; `affix migrate` prepares the database.
    """
    with _needs("cli"):
        from affix_cli import foreground
        from affix_cli import serve as command
    raise typer.Exit(foreground.run(command.serve(workers)))


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
    drain_pause_seconds: Annotated[
        float,
        typer.Option(envvar="AFFIX_DRAIN_PAUSE_SECONDS", min=0, help="From not being ready to taking no more calls."),
    ] = 0.0,
    drain_seconds: Annotated[
        float, typer.Option(envvar="AFFIX_DRAIN_SECONDS", min=0.1, help="How long calls under way may take after that.")
    ] = 10.0,
    log_level: Annotated[LogLevel, typer.Option(envvar="AFFIX_LOG_LEVEL", help="What is logged, at least.")] = "info",
    log_format: Annotated[LogFormat, typer.Option(envvar="AFFIX_LOG_FORMAT", help="How log lines look.")] = "auto",
    log_calls: Annotated[
        LogCalls, typer.Option(envvar="AFFIX_LOG_CALLS", help="Which calls are logged of those that the server misses.")
    ] = "failed",
    max_jsonrpc_batch: Annotated[
        int, typer.Option(envvar="AFFIX_MAX_JSONRPC_BATCH", min=1, max=1000, help="Requests in a JSON-RPC batch.")
    ] = 100,
    max_connections: Annotated[
        int, typer.Option(envvar="AFFIX_MAX_CONNECTIONS", min=1, help="Connections open at the same time.")
    ] = 10_000,
    max_unsent_bytes: Annotated[
        int, typer.Option(envvar="AFFIX_MAX_UNSENT_BYTES", min=1024 * 1024, help="Answers that clients do not take.")
    ] = 1024 * 1024 * 1024,
    receive_timeout_seconds: Annotated[
        float, typer.Option(envvar="AFFIX_RECEIVE_TIMEOUT_SECONDS", min=0.01, help="For a request that is half sent.")
    ] = 10.0,
    send_timeout_seconds: Annotated[
        float, typer.Option(envvar="AFFIX_SEND_TIMEOUT_SECONDS", min=0.01, help="For an answer that is not taken.")
    ] = 30.0,
    tls_certificate: Annotated[
        Path | None, typer.Option(envvar="AFFIX_TLS_CERTIFICATE", help="PEM file; with it, TLS only.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(envvar="AFFIX_TLS_KEY", help="PEM file with its key.")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(envvar="AFFIX_TLS_CLIENT_CA", help="PEM file; clients need a certificate of its CAs.")
    ] = None,
    target_ca: Annotated[
        str | None,
        typer.Option(envvar="AFFIX_TARGET_CA", help="PEM file with the CA of a target with TLS, or system."),
    ] = None,
    target_certificate: Annotated[
        Path | None, typer.Option(envvar="AFFIX_TARGET_CERTIFICATE", help="PEM file to show to the target.")
    ] = None,
    target_key: Annotated[
        Path | None, typer.Option(envvar="AFFIX_TARGET_KEY", help="PEM file with the key of that.")
    ] = None,
    metrics: Annotated[
        str, typer.Option("--metrics", envvar="AFFIX_METRICS_ACCESS", help="Whether to serve /metrics: open or off.")
    ] = "open",
    discover: Annotated[
        str,
        typer.Option("--discover", envvar="AFFIX_DISCOVER_ACCESS", help="Whether to answer rpc.discover: open or off."),
    ] = "open",
) -> None:
    """Serve JSON-RPC alone, for a gRPC server elsewhere."""
    with _needs("shim"):
        from affix_cli import foreground
        from affix_cli import shim as command
        from affix_cli.certificates import files
        from affix_cli.connections import Bounds
        from affix_cli.target import Target
    serving = command.Serving(
        listen=listen,
        files=files(tls_certificate, tls_key, tls_client_ca),
        bounds=Bounds(max_connections, receive_timeout_seconds, send_timeout_seconds, max_unsent_bytes),
        max_message_bytes=max_message_bytes,
        max_batch=max_jsonrpc_batch,
        timeout_seconds=operation_timeout_seconds,
        drain_pause_seconds=drain_pause_seconds,
        drain_seconds=drain_seconds,
        log=command.Logs(log_level, log_format, log_calls),
        metrics_access=metrics,
        discover_access=discover,
    )
    server = Target(target, target_ca, target_certificate, target_key)
    raise typer.Exit(foreground.run(command.shim(server, serving)))


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
def check(*, json: Annotated[bool, typer.Option("--json", help="Print as JSON.")] = False) -> None:
    """Try everything that the service depends on, and say what is wrong and what to do.

    Settings, PostgreSQL, Redis, ports, folders, files. Run it where and as whom the service will run, before it does.
    Exit code 2: it would not start, or not keep what it promises.
    """
    with _needs("server"):
        from affix_cli.checks import command
    raise typer.Exit(command.check(as_json=json))


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
    except Exception as fault:  # noqa: BLE001 - said, but for its text, which may hold a password
        typer.echo(f"affix: a fault of ours\n{tracebacks.safe(fault)}", err=True)
        sys.exit(1)


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
