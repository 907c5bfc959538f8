"""One line for a call, of those that are wanted, and nothing of what it held."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from affix_server.interceptors.request_log import RequestLog
from tests.harness.grpc_wire import GrpcWire
from tests.harness.samples import create, get, text
from tests.harness.service import Service, serving, shimming
from tests.harness.wire import CallError
from tests.seeing.conftest import Settings, lines

CONTENT = "hunter2-is-the-content"


@asynccontextmanager
async def logging(stores: Settings, log: Path, **settings: str) -> AsyncIterator[tuple[Service, GrpcWire]]:
    named = {f"AFFIX_LOG_{name.upper()}": value for name, value in settings.items()}
    async with serving({**stores, **named}, log) as server, grpc.aio.insecure_channel(server.grpc_address) as channel:
        yield server, GrpcWire(channel)


def calls(server: Service) -> list[dict[str, Any]]:
    return [line for line in lines(server.command.output) if line["event"] == "call"]


async def some_calls(wire: GrpcWire, task: str) -> None:
    """One that succeeds, one that is refused."""
    await create(wire, task, "logged", text(CONTENT), instance="i-logged")
    with pytest.raises(CallError):
        await get(wire, task, "missing")


async def test_what_failed_is_logged_by_default(stores: Settings, folder: Path, task: str) -> None:
    async with logging(stores, folder / "failed.log") as (server, wire):
        await some_calls(wire, task)
        (line,) = calls(server)
    assert line.pop("ms") > 0
    assert line.pop("request_id")
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "call",
        "level": "info",
        "method": "/affix.v1.AttachmentService/GetAttachment",
        "caller": "address/127.0.0.1",
        "status": "NOT_FOUND",
        "reason": "ATTACHMENT_NOT_FOUND",
    }


async def test_all_calls_can_be_logged_and_none_of_what_they_hold(stores: Settings, folder: Path, task: str) -> None:
    async with logging(stores, folder / "all.log", calls="all") as (server, wire):
        await some_calls(wire, task)
        logged = [(line["method"].rpartition("/")[2], line["caller"], line["status"]) for line in calls(server)]
    assert logged == [
        ("CreateAttachment", "instance/i-logged", "OK"),
        ("GetAttachment", "address/127.0.0.1", "NOT_FOUND"),
    ]
    assert CONTENT not in server.command.output


async def test_calls_can_go_unlogged(stores: Settings, folder: Path, task: str) -> None:
    async with logging(stores, folder / "off.log", calls="off", slow_seconds="0.000001") as (server, wire):
        await some_calls(wire, task)
        assert calls(server) == []


async def test_what_was_slow_is_logged_and_a_warning(stores: Settings, folder: Path, task: str) -> None:
    async with logging(stores, folder / "slow.log", slow_seconds="0.000001") as (server, wire):
        await some_calls(wire, task)
        logged = [(line["level"], line["status"]) for line in calls(server)]
    assert logged == [("warning", "OK"), ("info", "NOT_FOUND")]


async def test_lines_can_be_for_people(stores: Settings, folder: Path, task: str) -> None:
    async with logging(stores, folder / "people.log", format="console") as (server, wire):
        await some_calls(wire, task)
        assert calls(server) == []
        assert "method=/affix.v1.AttachmentService/GetAttachment" in server.command.output
    assert "\x1b[" not in server.command.output, "colours in a file"


async def test_a_shim_logs_what_never_reaches_a_server(folder: Path, http: aiohttp.ClientSession) -> None:
    async with shimming("127.0.0.1:1", folder / "lonely.log") as url:
        body = {"jsonrpc": "2.0", "method": "task.get", "params": {"id": "t-1"}, "id": 1}
        async with http.post(f"{url}/rpc", json=body, headers={"x-request-id": "r-1", "x-instance-id": "i"}) as answer:
            assert (await answer.json())["error"]["data"]["reason"] == "Service unreachable"
        (line,) = lines((folder / "lonely.log").read_text())
    assert line.pop("timestamp")
    assert line == {
        "event": "call",
        "level": "warning",
        "request_id": "r-1",
        "method": "task.get",
        "caller": "instance/i",
        "status": -32500,
        "reason": "Service unreachable",
    }


@pytest.mark.parametrize(("wanted", "bound"), [("all", 0.0), ("failed", 0.5), ("off", float("inf"))])
def test_a_call_that_is_not_logged_costs_one_comparison(wanted: Any, bound: float) -> None:
    assert RequestLog(wanted, 0.5).from_seconds == bound
