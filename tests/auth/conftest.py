"""One guarded service for all tests of this folder, on the stores of the suite."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import grpc
import pytest

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.auth.site import Guarded, People, make_people
from tests.conftest import WATCHERS, WIRES
from tests.harness.service import Service, serving, shimming
from tests.harness.watches import Watcher
from tests.harness.wire import Wire

CallAs = Callable[[str | None], Wire]
WatchAs = Callable[[str | None], Watcher]


@pytest.fixture(scope="package")
def token_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tokens") / "tokens"


@pytest.fixture(scope="package")
def people(token_file: Path) -> People:
    return make_people(token_file)


@pytest.fixture(scope="package")
async def guarded(
    folder: Path,
    postgres_store: EmbeddedPostgres,
    valkey_store: EmbeddedValkey,
    server: Service,
    token_file: Path,
    people: People,
    http: aiohttp.ClientSession,
) -> AsyncIterator[Guarded]:
    assert server.command.running  # it has migrated the database
    assert people
    settings = {
        "AFFIX_POSTGRES_DSN": postgres_store.dsn,
        "AFFIX_REDIS_URL": valkey_store.url,
        "AFFIX_AUTH": "token",
        "AFFIX_TOKEN_FILE": str(token_file),
        "AFFIX_DELETE_RATE_LIMIT": "none",
        "AFFIX_TASK_COMPLETE_RATE_LIMIT": "20/minute",
        "AFFIX_METRICS_ACCESS": "authenticated",
        "AFFIX_REFLECTION_ACCESS": "authenticated",
        "AFFIX_DISCOVER_ACCESS": "authenticated",
    }
    async with AsyncExitStack() as stack:
        log, shim_log = folder / "guarded.log", folder / "guarded-shim.log"
        service = await stack.enter_async_context(serving(settings, log))
        shim_url = await stack.enter_async_context(shimming(service.grpc_address, shim_log))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(service.grpc_address))
        yield Guarded(service, shim_url, channel, http, token_file, log, shim_log)


@pytest.fixture(params=WIRES)
def call_as(request: pytest.FixtureRequest, guarded: Guarded) -> CallAs:
    """Each wire in turn, for the bearer of a token."""
    return lambda token: guarded.wire(request.param, token)


@pytest.fixture(params=WATCHERS)
def watch_as(request: pytest.FixtureRequest, guarded: Guarded) -> WatchAs:
    """Each way to watch in turn, for the bearer of a token."""
    return lambda token: guarded.watcher(request.param, token)


@pytest.fixture
def unused() -> str:
    """The id of a task that nobody has registered yet."""
    return f"t-{secrets.token_hex(8)}"


@pytest.fixture
async def owned(guarded: Guarded, people: People, unused: str) -> str:
    """A task that `owner` has registered, with an attachment `k`, for which it has named `writer`."""
    wire = guarded.wire("grpc", people.owner)
    await wire.call("task.create", {"id": unused, "text": "a task", "writers": ["writer"]})
    await wire.call("task.create_attachment", {"taskId": unused, "key": "k", "type": "text", "content": "c"})
    return unused
