"""Traces, from HTTP to both stores, as whoever takes them sees them."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from tests.harness.processes import Command
from tests.harness.service import serving, shimming
from tests.seeing.conftest import Settings, lines
from tests.seeing.receiver import Receiver, receiving

TRACE, ABOVE = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
TRACEPARENT = {"traceparent": f"00-{TRACE}-{ABOVE}-01"}
CONTENT = "what-was-stored"
NOBODY = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:1"}
SERVICE = "affix.v1.AttachmentService"


async def call(
    url: str, http: aiohttp.ClientSession, method: str, params: dict[str, Any], **headers: str
) -> dict[str, Any]:
    body = {"jsonrpc": "2.0", "method": method, "params": params, "id": 1}
    async with http.post(f"{url}/rpc", json=body, headers=headers) as answer:
        answered: dict[str, Any] = await answer.json()
        return answered


def exporting(receiver: Receiver) -> Settings:
    return {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}


async def test_a_call_through_a_shim_is_one_trace_down_to_both_stores(
    stores: Settings, folder: Path, http: aiohttp.ClientSession, redis: Redis, task: str
) -> None:
    async with receiving() as receiver:
        traces = exporting(receiver)
        async with (
            serving({**stores, **traces, "AFFIX_LOG_CALLS": "all"}, folder / "traces.log") as server,
            shimming(server.grpc_address, folder / "traces-shim.log", traces) as url,
        ):
            params = {"taskId": task, "key": "k", "type": "text", "content": CONTENT}
            await call(url, http, "task.create_attachment", params)
            await redis.delete(f"cb:task:{task}:attachment:k")
            await call(url, http, "task.get_attachment", {"taskId": task, "key": "k"}, **TRACEPARENT)
            logged = [line for line in lines(server.command.output) if line.get("trace_id") == TRACE]
    spans = receiver.of(TRACE)
    ways = {tuple(receiver.way(span)) for span in spans}
    served = ("POST /rpc", "task.get_attachment", f"{SERVICE}/GetAttachment")
    assert ways == {
        served[:1],
        served[:2],
        served,
        (*served, "redis HMGET"),
        (*served, "redis EVALSHA lease"),
        (*served, "postgresql statement"),
        (*served, "redis EVALSHA put"),
    }
    (outermost,) = [span for span in spans if span.name == "POST /rpc"]
    assert outermost.parent_id == ABOVE
    assert {span.service for span in spans} == {"affix-shim", "affix"}
    assert not any(span.failed for span in spans)
    assert [line["method"] for line in logged] == [f"/{SERVICE}/GetAttachment"]
    (commit,) = [span for span in receiver.spans if span.name == "postgresql group commit"]
    assert receiver.way(commit)[:3] == ["POST /rpc", "task.create_attachment", f"{SERVICE}/CreateAttachment"]
    for secret in (CONTENT, task):
        assert secret.encode() not in receiver.text


async def test_one_process_traces_as_two_do_and_says_what_failed(
    stores: Settings, folder: Path, http: aiohttp.ClientSession
) -> None:
    async with receiving() as receiver:
        traces = {**exporting(receiver), "OTEL_SERVICE_NAME": "attachments"}
        async with serving({**stores, **traces}, folder / "traces-alone.log") as server:
            await call(server.url, http, "task.get_attachment", {"taskId": "t-none", "key": "k"}, **TRACEPARENT)
            async with http.get(f"{server.url}/events?taskId=t-none", headers=TRACEPARENT) as events:
                assert events.status == 200
                await events.content.readline()
            await call(server.url, http, "task.delete", {"id": "t-none"})
            async with http.get(f"{server.url}/metrics", headers=TRACEPARENT):
                pass  # as all that is asked again and again, not traced
            async with http.request("PROPFIND", f"{server.url}/rpc/more", headers=TRACEPARENT) as refused:
                assert refused.status == 404
    spans = {span.name: span for span in receiver.of(TRACE)}
    served = spans[f"{SERVICE}/GetAttachment"]
    assert receiver.way(served) == ["POST /rpc", "task.get_attachment", served.name]
    # Not found is an answer, no fault of the server's.
    assert (served.attributes["rpc.grpc.status_code"], served.failed) == ("NOT_FOUND", False)
    assert spans["POST /rpc"].attributes["http.response.status_code"] == "200"
    assert receiver.way(spans[f"{SERVICE}/WatchAttachments"]) == ["GET /events", f"{SERVICE}/WatchAttachments"]
    assert {span.service for span in receiver.spans} == {"attachments"}
    assert "_OTHER other" in spans
    assert not any("metrics" in name or "PROPFIND" in name for name in spans)
    others = {span.trace_id for span in receiver.spans if span.trace_id != TRACE}
    assert len(others) == 1, "what runs in the background is not traced"


async def test_a_caller_that_does_not_sample_is_not_traced(
    stores: Settings, folder: Path, http: aiohttp.ClientSession
) -> None:
    async with (
        receiving() as receiver,
        serving({**stores, **exporting(receiver)}, folder / "unsampled.log") as server,
    ):
        headers = {"traceparent": f"00-{TRACE}-{ABOVE}-00"}
        await call(server.url, http, "task.get_attachment", {"taskId": "t-none", "key": "k"}, **headers)
        # Of this one there is a span: whatever was to come of the other has come before it.
        await call(server.url, http, "task.get", {"id": "t-none"})
        await receiver.spans_of("affix.v1.TaskService/GetTask")
    assert receiver.of(TRACE) == []


async def test_nobody_who_takes_traces_holds_nothing_up(
    stores: Settings, folder: Path, http: aiohttp.ClientSession
) -> None:
    async with serving({**stores, **NOBODY}, folder / "untaken.log") as server:
        answered = await call(server.url, http, "task.get_attachment", {"taskId": "t-none", "key": "k"})
        assert answered["error"]["data"]["reason"] == "TASK_NOT_FOUND"


ASK = """
import asyncio, sys
{blocked}
from affix_cli import serve, shim, tracing
from affix_cli.failures import Failure
async def main():
    async with tracing.configured("affix") as spans:
        assert spans is None
try:
    asyncio.run(main())
except Failure as failure:
    sys.exit(str(failure))
# redis-py imports some of OpenTelemetry where it is installed; what exports is imported by us alone.
ours = ("opentelemetry.exporter", "affix_cli.otel")
sys.exit(", ".join(name for name in sys.modules if name.startswith(ours)) or 0)
"""
MISSING = "OTEL_… asks for traces, and they need the otel extra: pip install 'affix[otel]'"


async def asked(settings: Settings, blocked: str = "") -> tuple[int | None, str]:
    """Ask for traces as the environment says; return the exit code, and what went wrong."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", ASK.format(blocked=blocked)),
        env={**settings, "PYTHONPATH": ":".join(sys.path)},
        stderr=asyncio.subprocess.PIPE,
    )
    _, err = await process.communicate()
    return process.returncode, err.decode().strip()


@pytest.mark.parametrize(
    "settings", [{}, {**NOBODY, "OTEL_TRACES_EXPORTER": "none"}, {**NOBODY, "OTEL_SDK_DISABLED": "true"}]
)
async def test_without_being_asked_nothing_of_it_is_imported(settings: Settings) -> None:
    assert await asked(settings) == (0, "")


async def test_without_the_extra_all_else_works_and_traces_are_refused() -> None:
    blocked = "sys.modules['opentelemetry'] = None"
    assert await asked({}, blocked) == (0, "")
    assert await asked(NOBODY, blocked) == (1, MISSING)


async def test_an_exporter_that_is_not_there_is_said_to_be(stores: Settings, folder: Path) -> None:
    command = await Command.start(
        "serve", settings={**stores, "OTEL_TRACES_EXPORTER": "jaeger"}, log=folder / "jaeger.log"
    )
    assert await command.wait() == 2
    assert command.output == "affix: OTEL_TRACES_EXPORTER must be otlp or none, not 'jaeger'\n"
