"""`affix shim`: JSON-RPC for a gRPC server elsewhere. Imports nothing of the server."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import grpc.aio
import typer

from affix_cli import certificates, http, metrics, ready, tracebacks
from affix_cli.certificates import Certificates, Files
from affix_cli.connections import Bounds
from affix_cli.failures import Failure
from affix_cli.foreground import Operator, serve_until_stopped
from affix_shim.app import make_app

# As a CA: those that the system trusts.
SYSTEM = "system"

_logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Target:
    """The gRPC server behind: plain without a CA; with a certificate of ours where it asks for one."""

    address: str
    ca: str | None
    certificate: Path | None
    key: Path | None

    def channel(self, options: list[tuple[str, int]]) -> grpc.aio.Channel:
        """Make the channel; nothing connects yet. Raises Failure when a file cannot be read, or one is missing."""
        if self.ca is None:
            if self.certificate is not None or self.key is not None:
                raise Failure("a certificate for the target needs --target-ca: a PEM file, or system")
            return grpc.aio.insecure_channel(self.address, options=options)
        if (self.certificate is None) != (self.key is None):
            raise Failure("--target-certificate and --target-key need each other")
        roots = None if self.ca == SYSTEM else _pem(Path(self.ca), "--target-ca")
        chain = None if self.certificate is None else _pem(self.certificate, "--target-certificate")
        key = None if self.key is None else _pem(self.key, "--target-key")
        credentials = grpc.ssl_channel_credentials(roots, key, chain)
        return grpc.aio.secure_channel(self.address, credentials, options=options)


@dataclass(frozen=True, slots=True)
class Serving:
    """How JSON-RPC is served."""

    listen: str
    files: Files | None
    bounds: Bounds
    max_message_bytes: int
    max_batch: int
    timeout_seconds: float


async def shim(target: Target, serving: Serving) -> int:
    """Serve until a signal; return the exit code. Raises Failure when it cannot start."""
    http.host_and_port(target.address)
    tracebacks.configure_logging(logging.WARNING)
    operator = Operator()

    def announce(address: str) -> None:
        typer.echo(ready.shim_message(address, target.address, tls=serving.files is not None))

    return await serve_until_stopped(_service(target, serving), operator, announce)


@asynccontextmanager
async def _service(target: Target, serving: Serving) -> AsyncIterator[str]:
    options = [
        ("grpc.max_send_message_length", serving.max_message_bytes),
        ("grpc.max_receive_message_length", serving.max_message_bytes),
        # A server that comes back is found again within a second, not within two minutes.
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
        # The target is the one named; http_proxy is meant for the web.
        ("grpc.enable_http_proxy", 0),
    ]
    registry = metrics.process_registry()
    shown = None if serving.files is None else Certificates(serving.files, _refused)
    async with target.channel(options) as channel:
        app = make_app(
            channel,
            metrics=lambda: metrics.text(registry),
            max_body_bytes=serving.max_message_bytes,
            max_batch=serving.max_batch,
            timeout_seconds=serving.timeout_seconds,
        )
        # A call ends within its timeout; the second more is for writing its answer.
        grace = serving.timeout_seconds + 1
        async with http.serving(
            app, serving.listen, grace_seconds=grace, bounds=serving.bounds, certificates=shown
        ) as address:
            yield address


def _refused(cause: str) -> None:
    _logger.error("certificates_refused: %s", cause)


def _pem(path: Path, option: str) -> bytes:
    try:
        text = path.read_bytes()
    except OSError as error:
        raise Failure(f"cannot read {path} ({option}): {(error.strerror or 'it cannot be read').lower()}") from None
    if not certificates.is_pem(text):
        raise Failure(f"{path} ({option}) is not a PEM file")
    return text
