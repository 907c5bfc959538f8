"""What a service prints when it is ready: where it is, and lines that work when pasted."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from affix_cli import __version__

EXAMPLE = '{"jsonrpc": "2.0", "id": 1, "method": "task.create", "params": {"text": "Say hello"}}'
WILDCARDS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - read here, not bound


def up_message(
    grpc: str, http: str, postgres_dsn: str | None, redis_url: str, data_dir: Path, *, tls: bool = False
) -> str:
    """Say that `affix up` serves, and how to look into its stores."""
    socket = unquote(urlsplit(redis_url).path)
    inside = [
        "Look inside:",
        *([] if postgres_dsn is None else [f"  psql {shlex.quote(postgres_dsn)}"]),
        f"  redis-cli -s {shlex.quote(socket)}",
        "",
        f"Ctrl-C stops it and its stores; the data stay in {data_dir}.",
    ]
    return "\n".join([*_both(grpc, http, tls=tls), "", *inside])


def serve_message(grpc: str, http: str, *, tls: bool = False) -> str:
    """Say that `affix serve` serves."""
    return "\n".join([*_both(grpc, http, tls=tls), "", "Ctrl-C stops it."])


def shim_message(http: str, target: str, *, tls: bool = False) -> str:
    """Say that `affix shim` serves, and for whom."""
    head = [f"Affix {__version__}, JSON-RPC for {target}, is ready.", "", f"  JSON-RPC  {_url(http, tls=tls)}", ""]
    return "\n".join([*head, _try(tls=tls), _curl(http, tls=tls), "", "Ctrl-C stops it."])


def _try(*, tls: bool) -> str:
    if tls:
        return "Try it (with --cacert for a CA of your own, --cert and --key if clients must show a certificate):"
    return "Try it:"


def _both(grpc: str, http: str, *, tls: bool) -> list[str]:
    plain = "" if tls else " -plaintext"
    return [
        f"Affix {__version__} is ready.",
        "",
        f"  gRPC      {grpc}",
        f"  JSON-RPC  {_url(http, tls=tls)}",
        "",
        _try(tls=tls),
        _curl(http, tls=tls),
        f'  {_grpcurl()}{plain} -d \'{{"text": "Say hello"}}\' {_reachable(grpc)} affix.v1.TaskService/CreateTask',
    ]


def _curl(http: str, *, tls: bool) -> str:
    return (
        f"  curl -s {shlex.quote(_url(_reachable(http), tls=tls))} -H 'content-type: application/json' -d '{EXAMPLE}'"
    )


def _url(address: str, *, tls: bool) -> str:
    return f"{'https' if tls else 'http'}://{address}/rpc"


def _reachable(address: str) -> str:
    host, _, port = address.rpartition(":")
    return f"{WILDCARDS.get(host, host)}:{port}"


def _grpcurl() -> str:
    # Not resolved: the interpreter of a virtual environment is a link out of it.
    beside = Path(sys.executable).parent / "grpcurl"
    if not beside.exists():
        return "grpcurl"
    here = Path.cwd()
    return shlex.quote(str(beside.relative_to(here) if beside.is_relative_to(here) else beside))
