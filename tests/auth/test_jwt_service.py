"""A service that knows its callers by JSON Web Tokens, and takes new keys while it runs."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import aiohttp
import grpc
import pytest

from affix_cli.embedded import EmbeddedPostgres, EmbeddedValkey
from tests.auth.issuer import AUDIENCE, EC, ISSUER, RSA, jwk, jwks, signed
from tests.auth.site import Guarded, every_call, outcome, refused
from tests.conftest import WIRES
from tests.harness.service import Service, serving, shimming

OLD, NEW = jwk("RS256", RSA, kid="old"), jwk("ES256", EC, kid="new")


@pytest.fixture(scope="module")
async def jwt_site(
    folder: Path,
    postgres_store: EmbeddedPostgres,
    valkey_store: EmbeddedValkey,
    server: Service,
    http: aiohttp.ClientSession,
) -> AsyncIterator[Guarded]:
    assert server.command.running  # it has migrated the database
    keys = folder / "jwks.json"
    keys.write_bytes(jwks(OLD))
    settings = {
        "AFFIX_POSTGRES_DSN": postgres_store.dsn,
        "AFFIX_REDIS_URL": valkey_store.url,
        "AFFIX_AUTH": "jwt",
        "AFFIX_JWT_JWKS_FILE": str(keys),
        "AFFIX_JWT_ISSUER": ISSUER,
        "AFFIX_JWT_AUDIENCE": AUDIENCE,
    }
    async with AsyncExitStack() as stack:
        log, shim_log = folder / "jwt.log", folder / "jwt-shim.log"
        service = await stack.enter_async_context(serving(settings, log))
        shim_url = await stack.enter_async_context(shimming(service.grpc_address, shim_log))
        channel = await stack.enter_async_context(grpc.aio.insecure_channel(service.grpc_address))
        yield Guarded(service, shim_url, channel, http, keys, log, shim_log)


@pytest.mark.parametrize("name", WIRES)
async def test_claims_say_who_calls_and_what_they_may(jwt_site: Guarded, name: str) -> None:
    task = f"team-a.{secrets.token_hex(8)}"
    owner = jwt_site.wire(name, signed(kid="old"))
    await owner.call("task.create", {"id": task, "text": "a task"}, instance="another")
    await owner.call("task.create_attachment", every_call(task)["task.create_attachment"])
    assert (await owner.call("task.get", {"id": task}))["createdBy"] == "instance-1"
    reader = jwt_site.wire(name, signed(kid="old", scope="read"))
    assert await outcome(reader, "task.get", {"id": task}) == "done"
    assert await outcome(reader, "task.complete", {"id": task}) == "PERMISSION_DENIED"
    other = jwt_site.wire(name, signed(kid="old", sub="instance-2"))
    assert await outcome(other, "task.complete", {"id": task}) == "PERMISSION_DENIED"
    bound = jwt_site.wire(name, signed(kid="old", scope="admin", task_prefix="team-b."))
    assert await outcome(bound, "task.get", {"id": task}) == "PERMISSION_DENIED"
    nothing = jwt_site.wire(name, signed(kid="old", scope="openid"))
    assert (await refused(nothing, "task.get", {"id": task})).message == "The scope read is needed"


@pytest.mark.parametrize("name", WIRES)
async def test_what_is_not_the_issuers_is_not_taken(jwt_site: Guarded, name: str) -> None:
    for token in (signed("ES256", kid="old"), signed(kid="old", exp=None), "x.y.z"):
        assert (await refused(jwt_site.wire(name, token), "task.list", {})).message == "The token is not valid"
    expired = await refused(jwt_site.wire(name, signed(kid="old", exp=1)), "task.list", {})
    assert (expired.reason, expired.message) == ("UNAUTHENTICATED", "The token has expired")


async def test_keys_are_taken_and_given_up_while_it_runs(jwt_site: Guarded) -> None:
    old, new = (jwt_site.wire("grpc", token) for token in (signed(kid="old"), signed("ES256", kid="new")))
    assert [await outcome(wire, "task.list", {}) for wire in (old, new)] == ["done", "UNAUTHENTICATED"]
    _put(jwt_site.tokens, jwks(OLD, NEW))
    while await outcome(new, "task.list", {}) != "done":
        pass
    assert await outcome(old, "task.list", {}) == "done"
    _put(jwt_site.tokens, jwks(NEW))
    # It had been known before.
    while await outcome(old, "task.list", {}) != "UNAUTHENTICATED":
        pass
    assert await outcome(new, "task.list", {}) == "done"
    _put(jwt_site.tokens, jwks(OLD))
    while await outcome(old, "task.list", {}) != "done":
        pass


async def test_no_token_is_in_a_log(jwt_site: Guarded) -> None:
    tokens = [signed(kid="old"), signed("ES256", kid="old")]
    for token in tokens:
        for name in WIRES:
            await outcome(jwt_site.wire(name, token), "task.list", {})
    logged = jwt_site.log.read_text() + jwt_site.shim_log.read_text()
    assert [part for token in tokens for part in token.split(".") if part in logged] == []


def _put(path: Path, text: bytes) -> None:
    beside = path.with_suffix(".new")
    beside.write_bytes(text)
    beside.replace(path)
