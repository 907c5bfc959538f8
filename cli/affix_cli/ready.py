"""What a service prints when it is ready: where it is, and lines that work when pasted."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

from affix_cli import __version__

EXAMPLE = '{"jsonrpc": "2.0", "id": 1, "method": "task.create", "params": {"text": "Say hello"}}'
WILDCARDS = {"0.0.0.0": "127.0.0.1", "[::]": "[::1]"}  # noqa: S104 - read here, not bound


def up_message(grpc: str, http: str, postgres_dsn: str | None, redis_url: str, data_dir: Path) -> str:
    """Say that `affix up` serves, and how to look into its stores."""
    socket = unquote(urlsplit(redis_url).path)
    inside = [
        "Look inside:",
        *([] if postgres_dsn is None else [f"  psql {shlex.quote(postgres_dsn)}"]),
        f"  redis-cli -s {shlex.quote(socket)}",
        "",
        f"Ctrl-C stops it and its stores; the data stay in {data_dir}.",
    ]
    return "\n".join([*_both(grpc, http), "", *inside])


def serve_message(grpc: str, http: str) -> str:
    """Say that `affix serve` serves."""
    return "\n".join([*_both(grpc, http), "", "Ctrl-C stops it."])


def shim_message(http: str, target: str) -> str:
    """Say that `affix shim` serves, and for whom."""
    head = [f"Affix {__version__}, JSON-RPC for {target}, is ready.", "", f"  JSON-RPC  {_url(http)}", ""]
    return "\n".join([*head, "Try it:", _curl(http), "", "Ctrl-C stops it."])


def _both(grpc: str, http: str) -> list[str]:
    return [
        f"Affix {__version__} is ready.",
        "",
        f"  gRPC      {grpc}",
        f"  JSON-RPC  {_url(http)}",
        "",
        "Try it:",
        _curl(http),
        f'  {_grpcurl()} -plaintext -d \'{{"text": "Say hello"}}\' {_reachable(grpc)} affix.v1.TaskService/CreateTask',
    ]


def _curl(http: str) -> str:
    return f"  curl -s {shlex.quote(_url(_reachable(http)))} -H 'content-type: application/json' -d '{EXAMPLE}'"


def _url(address: str) -> str:
    return f"http://{address}/rpc"


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
