"""What must stay between a caller and the service is in nothing that others see: logs, metrics, traces, errors."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest
from redis.asyncio import Redis

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.harness.grpc_wire import GrpcWire
from tests.harness.processes import Command
from tests.harness.service import Service, serving, shimming
from tests.harness.wire import CallError, RawJson
from tests.seeing.conftest import Settings
from tests.seeing.receiver import Receiver, receiving
from tests.storage.outages import dead

OF_POSTGRES, OF_REDIS, TOKEN, CONTENT = "pg-hunter2", "redis-hunter2", "token-hunter2", "content-hunter2"
PLANTED = (OF_POSTGRES, OF_REDIS, TOKEN, CONTENT)
CONTENTS: list[dict[str, Any]] = [
    {"type": "text", "content": CONTENT},
    {"type": "markdown", "content": CONTENT},
    {"type": "json", "value": RawJson(f'{{"{CONTENT}": "{CONTENT}"}}')},
    {"type": "url", "url": f"https://example.com/{CONTENT}"},
]
# Contents that are refused, each for a reason of its own.
BAD: list[dict[str, Any]] = [
    {"type": "text", "content": f"{CONTENT}\x00"},
    {"type": "json", "value": RawJson(f'{{"{CONTENT}": ')},
    {"type": "url", "url": f"javascript:{CONTENT}"},
    {"type": "binary", "mimeType": CONTENT},
]


@pytest.fixture
async def valkey(apart: Path) -> AsyncIterator[EmbeddedValkey]:
    store = EmbeddedValkey(apart)
    await store.start()
    yield store
    await store.stop()


async def settings(stores: Settings, valkey: EmbeddedValkey, receiver: Receiver) -> Settings:
    """Everything that is said to anybody, at its most talkative, and stores that ask for passwords."""
    async with Redis.from_url(valkey.url) as redis:
        await redis.config_set("requirepass", OF_REDIS)
    return {
        "AFFIX_POSTGRES_DSN": f"{stores['AFFIX_POSTGRES_DSN']}&password={OF_POSTGRES}",
        "AFFIX_REDIS_URL": f"{valkey.url}&password={OF_REDIS}",
        "AFFIX_LOG_LEVEL": "debug",
        "AFFIX_LOG_CALLS": "all",
        "AFFIX_OPERATION_TIMEOUT_SECONDS": "2",
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
    }


async def told_of(server: Service, shim_url: str, http: aiohttp.ClientSession, task: str) -> list[str]:
    """Do what goes well and what does not, over both wires; return every error that callers get."""
    told: list[str] = []
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with grpc.aio.insecure_channel(server.grpc_address) as channel:
        wire = GrpcWire(channel)
        for number, content in enumerate([*CONTENTS, *BAD]):
            params = {"taskId": task, "key": f"k{number}", **content}
            try:
                await wire.call("task.create_attachment", params)
            except CallError as error:
                told.append(str(error.args))
        for url in (server.url, shim_url):
            for number, content in enumerate([*CONTENTS, *BAD]):
                params = {"taskId": task, "key": f"h{number}", **content, "unknown": CONTENT}
                body = {"jsonrpc": "2.0", "method": "task.create_attachment", "params": params, "id": 1}
                async with http.post(f"{url}/rpc", json=body, headers=headers) as answer:
                    told.append(await answer.text())
            async with http.post(f"{url}/rpc", data=f'{{"jsonrpc": "{CONTENT}', headers=headers) as answer:
                told.append(await answer.text())
    return told


async def test_nothing_that_others_see_holds_a_secret(
    stores: Settings, valkey: EmbeddedValkey, folder: Path, http: aiohttp.ClientSession, task: str
) -> None:
    async with receiving() as receiver:
        named = await settings(stores, valkey, receiver)
        traces = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "AFFIX_LOG_LEVEL": "debug"}
        async with (
            serving(named, folder / "secrets.log") as server,
            shimming(server.grpc_address, folder / "secrets-shim.log", traces) as url,
        ):
            seen = await told_of(server, url, http, task)
            async with dead(valkey):
                seen += await told_of(server, url, http, task)
            for at in (server.url, url):
                async with http.get(f"{at}/metrics") as answer:
                    seen.append(await answer.text())
    assert len(seen) > 40
    assert receiver.spans
    logs = [(folder / name).read_text() for name in ("secrets.log", "secrets-shim.log")]
    assert all('"event": "call"' in log for log in logs)
    for secret in PLANTED:
        for text in (*seen, *logs):
            assert secret not in text, f"{secret} in {text}"
        assert secret.encode() not in receiver.text


@pytest.mark.parametrize(
    ("named", "why"),
    [
        ({"AFFIX_POSTGRES_DSN": f"postgresql://affix:{OF_POSTGRES}@127.0.0.1:1/affix"}, "PostgreSQL"),
        ({"AFFIX_REDIS_URL": f"redis://:{OF_REDIS}@127.0.0.1:1"}, "Redis"),
        ({"AFFIX_REDIS_URL": f"nonsense://:{OF_REDIS}@127.0.0.1:1"}, "AFFIX_REDIS_URL"),
    ],
)
async def test_a_start_that_fails_tells_no_password(
    stores: Settings, folder: Path, named: Settings, why: str, postgres_store: EmbeddedPostgres
) -> None:
    assert postgres_store.dsn
    command = await Command.start("serve", settings={**stores, **named}, log=folder / "secrets-start.log")
    assert await command.wait() == 2
    assert why in command.output
    assert not any(secret in command.output for secret in PLANTED), command.output


async def test_the_settings_are_shown_without_passwords(folder: Path) -> None:
    named = {
        "AFFIX_POSTGRES_DSN": f"postgresql://affix:{OF_POSTGRES}@db/affix",
        "AFFIX_REDIS_URL": f"redis://:{OF_REDIS}@cache",
    }
    command = await Command.start("config", "--json", settings=named, log=folder / "secrets-config.log")
    assert await command.wait() == 0
    shown = {row["variable"]: row["value"] for row in json.loads(command.output)}
    assert shown["AFFIX_REDIS_URL"] == "redis://:***@cache"
    assert not any(secret in command.output for secret in PLANTED)
