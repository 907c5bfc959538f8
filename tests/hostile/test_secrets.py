"""What callers store, what they show to be let in, and passwords of stores: in no line of the log and in no error."""

from __future__ import annotations

import asyncio
import os
import pty
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.harness.grpc_wire import GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.processes import environment
from tests.harness.service import migrate
from tests.harness.wire import CallError, RawJson, Wire

SECRET = "s3cr3t"  # noqa: S105 - it is what nobody may see
PASSWORDS = {"postgres": f"pg-{SECRET}-word", "redis": f"rd-{SECRET}-word"}
VALUE = f"value-{SECRET}"
BEARER = f"Bearer {SECRET}"


def calls(task: str) -> list[tuple[str, dict[str, Any]]]:
    """Calls that succeed, calls that fail, and calls that meet bugs, with something secret in each value."""
    attachment = {"taskId": task, "key": "k"}
    json_value = RawJson(f'{{"password": "{VALUE}"}}')
    return [
        ("task.create_attachment", {**attachment, "type": "text", "content": VALUE}),
        ("task.create_attachment", {**attachment, "type": "json", "value": json_value}),
        ("task.create_attachment", {**attachment, "type": "url", "url": f"https://x/?token={VALUE}"}),
        ("task.create_attachment", {**attachment, "type": "markdown", "content": f"{VALUE}\0"}),
        (
            "task.create_attachment",
            {**attachment, "type": "json", "value": RawJson("[" * 200 + f'"{VALUE}"' + "]" * 200)},
        ),
        ("task.create_attachment", {**attachment, "type": "url", "url": f"javascript:{VALUE}"}),
        ("task.create_attachment", {**attachment, "type": "url", "url": VALUE}),
        ("task.create_attachment", {**attachment, "type": "binary", "mimeType": VALUE}),
        ("task.create_attachment", {**attachment, "key": "BUG", "type": "text", "content": VALUE}),
        ("task.create_attachment", {**attachment, "key": "STORE", "type": "text", "content": VALUE}),
        ("task.create_attachment", {**attachment, "type": "text", "content": VALUE, "ifRevision": 1}),
        ("task.create_attachment", {"taskId": "t-none", "key": "k", "type": "text", "content": VALUE}),
        (
            "task.create_attachments_batch",
            {"requests": [{**attachment, "key": "STORE", "type": "text", "content": VALUE}]},
        ),
        ("task.create", {"text": f"BUG {VALUE}", "metadata": json_value}),
        ("task.create", {"text": VALUE * 100, "metadata": json_value}),
        ("task.create", {"text": VALUE, "metadata": RawJson(f'["{VALUE}"]')}),
        ("task.create", {"text": VALUE, "metadata": json_value}),
        ("task.update", {"id": task, "updates": {"text": f"BUG {VALUE}"}}),
        ("task.update", {"id": "t-none", "updates": {"text": VALUE, "metadata": json_value}}),
        ("task.complete", {"id": task, "result": RawJson(f'"{VALUE}"')}),
        ("task.delete_attachment", {**attachment, "ifRevision": 1}),
    ]


async def told(wire: Wire, task: str) -> list[str]:
    """Make all calls and return what the errors say."""
    errors = []
    for method, params in calls(task):
        try:
            await wire.call(method, params)
        except CallError as error:
            errors.append(f"{method} {error!r}")
    return errors


class Attacked:
    """The server with bugs; its log is a file, or a terminal of which all is kept."""

    def __init__(self, process: asyncio.subprocess.Process, terminal: int | None, log: Path) -> None:
        self.process = process
        self._terminal = terminal
        self._log = log
        self._shown = bytearray()
        if terminal is not None:
            asyncio.get_running_loop().add_reader(terminal, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._terminal or 0, 65536)
        except OSError:  # nobody is left to write
            data = b""
        self._shown += data
        if not data:
            asyncio.get_running_loop().remove_reader(self._terminal or 0)

    @property
    def log(self) -> str:
        shown = self._log.read_bytes() if self._terminal is None else bytes(self._shown)
        return shown.decode(errors="replace")


@asynccontextmanager
async def attacked(settings: dict[str, str], folder: Path, log_format: str) -> AsyncIterator[tuple[Attacked, str, str]]:
    """Run it; give it, and the addresses of gRPC and HTTP."""
    ours, theirs = pty.openpty() if log_format == "terminal" else (None, None)
    log = folder / f"buggy-{secrets.token_hex(4)}.log"
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "tests.hostile.buggy_server"),
            stdout=asyncio.subprocess.PIPE,
            stderr=out if theirs is None else theirs,
            env=environment(settings | {"AFFIX_GRPC_LISTEN": "127.0.0.1:0", "AFFIX_HTTP_LISTEN": "127.0.0.1:0"}),
        )
    if theirs is not None:
        os.close(theirs)
    running = Attacked(process, ours, log)
    try:
        assert process.stdout is not None
        places: list[str] = []
        while len(places) < 2:
            line = (await process.stdout.readline()).decode()
            assert line, running.log
            if line.startswith(("  gRPC ", "  JSON-RPC ")):
                places.append(line.split()[1].removesuffix("/rpc"))
        yield running, places[0], places[1]
    finally:
        if process.returncode is None:
            process.terminate()
        await process.communicate()
        if ours is not None:
            asyncio.get_running_loop().remove_reader(ours)
            os.close(ours)


@pytest.mark.parametrize("log_format", ["json", "terminal"])
async def test_nothing_secret_is_told(folder: Path, http: aiohttp.ClientSession, log_format: str) -> None:
    base = folder / f"secrets-{log_format}"
    base.mkdir()
    postgres, valkey = EmbeddedPostgres(base), EmbeddedValkey(base)
    await postgres.start()
    await valkey.start()
    try:
        async with Redis.from_url(valkey.url) as redis:
            await redis.config_set("requirepass", PASSWORDS["redis"])
        settings = {
            "AFFIX_POSTGRES_DSN": postgres.dsn.replace("affix@", f"affix:{PASSWORDS['postgres']}@"),
            "AFFIX_REDIS_URL": f"{valkey.url}&password={PASSWORDS['redis']}",
            "AFFIX_DELETE_RATE_LIMIT": "3/minute",
            "AFFIX_LOG_LEVEL": "debug",
            "AFFIX_CIRCUIT_THRESHOLD": "3",
        }
        await migrate(settings, base / "migrate.log")
        async with attacked(settings, base, log_format) as (running, grpc_address, url):
            errors = await _use(running, grpc_address, url, http, postgres, valkey)
        log = running.log
    finally:
        await valkey.stop()
        await postgres.stop()
    assert len(errors) > 40
    for bug in ("RuntimeError", "_strike", "buggy_server.py"):
        assert bug in log  # where it happened is told, and what it was
    assert [error for error in errors if SECRET in error] == []
    assert [line for line in log.splitlines() if SECRET in line] == []


async def _use(
    running: Attacked,
    grpc_address: str,
    url: str,
    http: aiohttp.ClientSession,
    postgres: EmbeddedPostgres,
    valkey: EmbeddedValkey,
) -> list[str]:
    errors: list[str] = []
    async with grpc.aio.insecure_channel(grpc_address) as channel:
        wires: list[Wire] = [GrpcWire(channel), JsonRpcWire("jsonrpc", url, http)]
        tasks = [(await wire.call("task.create", {"text": VALUE}))["id"] for wire in wires]
        for wire, task in zip(wires, tasks, strict=True):
            errors += await told(wire, task)
        errors += await _garbage(url, http)
        valkey.kill()
        for wire, task in zip(wires, tasks, strict=True):
            errors += await told(wire, task)
        postgres.kill()
        for wire, task in zip(wires, tasks, strict=True):
            errors += await told(wire, task)
    assert running.process.returncode is None
    return errors


async def _garbage(url: str, http: aiohttp.ClientSession) -> list[str]:
    """What is no request, with something secret beside it."""
    headers = {"content-type": "application/json", "authorization": BEARER, "x-instance-id": "i"}
    found = []
    for body in (f'{{"jsonrpc":"2.0","id":1,"method":"nothing","params":"{VALUE}"', f'["{VALUE}"]', f'"{VALUE}"'):
        async with http.post(f"{url}/rpc", data=body, headers=headers) as answer:
            found.append(await answer.text())
    host, _, port = url.removeprefix("http://").rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(f"POST /rpc HTTP/1.1\r\nAuthorization: {BEARER}\r\nX: {VALUE}\0\r\n\r\n".encode())
    await reader.read()  # it quotes what was sent, to whoever sent it
    writer.close()
    await writer.wait_closed()
    return found
