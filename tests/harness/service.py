"""The service as its users run it: `affix migrate`, `affix serve`, `affix shim`, each a process of its own."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.harness.processes import Command

INSTANCE = "instance-suite"
MAX_CONTENT_BYTES = 1024 * 1024
MAX_MESSAGE_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True)
class Service:
    """A running `affix serve`."""

    grpc_address: str
    url: str
    command: Command


_ANY_PORT = "127.0.0.1:0"
_PRINTED = {
    "grpc": re.compile(r"^  gRPC +(\S+)$", re.MULTILINE),
    "url": re.compile(r"^  JSON-RPC +(\S+)/rpc$", re.MULTILINE),
}


async def migrate(settings: Mapping[str, str], log: Path) -> None:
    """Run `affix migrate` to its successful end."""
    command = await Command.start("migrate", settings=settings, log=log)
    code = await command.wait()
    assert code == 0, f"affix migrate ended with {code}:\n{command.output}"


@asynccontextmanager
async def serving(settings: Mapping[str, str], log: Path) -> AsyncIterator[Service]:
    """Run `affix serve` until the end of the block, which it must survive, and then stop with exit code 0."""
    listen = {"AFFIX_GRPC_LISTEN": _ANY_PORT, "AFFIX_HTTP_LISTEN": _ANY_PORT}
    async with _running("serve", settings={**settings, **listen}, log=log) as command:
        yield Service(_printed(command, "grpc"), _printed(command, "url"), command)


@asynccontextmanager
async def shimming(target: str, log: Path, **settings: str) -> AsyncIterator[str]:
    """Run `affix shim` in front of a gRPC address and give its URL; it must stop with exit code 0."""
    settings = {"AFFIX_HTTP_LISTEN": _ANY_PORT, **settings}
    async with _running("shim", "--target", target, settings=settings, log=log) as command:
        yield _printed(command, "url")


@asynccontextmanager
async def _running(*arguments: str, settings: Mapping[str, str], log: Path) -> AsyncIterator[Command]:
    command = await Command.start(*arguments, settings=settings, log=log)
    try:
        await command.ready("is ready.")
        yield command
        assert command.running, f"it ended by itself:\n{command.output}"
    finally:
        code = await command.stop()
    assert code == 0, f"SIGTERM ended it with {code}:\n{command.output}"


def _printed(command: Command, what: str) -> str:
    """Return an address as the command printed it when it was ready."""
    found = _PRINTED[what].search(command.output)
    assert found, f"no address of {what} in:\n{command.output}"
    return found[1]
