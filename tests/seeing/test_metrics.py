"""What the metrics say after something has happened."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import aiohttp
import pytest
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from structlog.contextvars import merge_contextvars
from structlog.testing import capture_logs

from affix_server.calls import Behavior, Method
from affix_server.interceptors.metrics import CallMetrics
from affix_server.interceptors.outcomes import Outcomes
from affix_server.interceptors.request_log import RequestLog
from affix_server.local_channel import LocalContext
from affix_server.metrics import BOUNDS, Shown, Timings, timings
from tests.harness.grpc_wire import GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.samples import create, get
from tests.harness.service import Service
from tests.harness.wire import CallError

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]
METHOD = Method("a.B", "C")


async def read(url: str, http: aiohttp.ClientSession) -> Samples:
    async with http.get(f"{url}/metrics") as answer:
        return samples(await answer.text())


def samples(text: str) -> Samples:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(found: Samples, name: str, **labels: str) -> float:
    return found.get((name, tuple(sorted(labels.items()))), 0.0)


async def test_calls_are_counted_and_timed_under_the_usual_names(
    server: Service, grpc_wire: GrpcWire, http: aiohttp.ClientSession, task: str
) -> None:
    before = await read(server.url, http)
    await create(grpc_wire, task, "k")
    for key in ("k", "k", "missing"):
        try:
            await get(grpc_wire, task, key)
        except CallError:
            assert key == "missing"
    after = await read(server.url, http)
    labels = {"grpc_type": "unary", "grpc_service": "affix.v1.AttachmentService", "grpc_method": "GetAttachment"}
    for name, more, extra in (
        ("grpc_server_started_total", 3, {}),
        ("grpc_server_handled_total", 2, {"grpc_code": "OK"}),
        ("grpc_server_handled_total", 1, {"grpc_code": "NOT_FOUND"}),
        ("grpc_server_handling_seconds_count", 3, {}),
        ("grpc_server_handling_seconds_bucket", 3, {"le": "+Inf"}),
    ):
        assert value(after, name, **labels, **extra) - value(before, name, **labels, **extra) == more, name


async def test_both_stores_are_timed_and_the_pool_is_seen(
    server: Service, grpc_wire: GrpcWire, http: aiohttp.ClientSession, task: str
) -> None:
    before = await read(server.url, http)
    await create(grpc_wire, task, "k")
    await get(grpc_wire, task, "k")
    after = await read(server.url, http)
    for store, least in (("redis", 3), ("postgres", 1)):
        name = f"affix_{store}_seconds_count"
        assert value(after, name) - value(before, name) >= least
        assert 0 < value(after, f"affix_{store}_seconds_sum") < 60 * value(after, name)
        assert value(after, f"affix_{store}_circuit_closed") == 1
    assert 1 <= value(after, "affix_postgres_pool_size") <= 11
    assert 0 <= value(after, "affix_postgres_pool_in_use") <= value(after, "affix_postgres_pool_size")
    assert value(after, "affix_postgres_pool_waiting") == 0
    created = {"type": "text"}
    assert value(after, "affix_attachments_created_total", **created) > value(
        before, "affix_attachments_created_total", **created
    )
    assert value(after, "affix_cache_reads_total", result="hit") > value(
        before, "affix_cache_reads_total", result="hit"
    )


async def test_http_and_json_rpc_are_counted_apart(
    jsonrpc: JsonRpcWire, http: aiohttp.ClientSession, absent_task: str
) -> None:
    before = await read(jsonrpc.url, http)
    with pytest.raises(CallError):
        await jsonrpc.call("task.get", {"id": absent_task})
    with pytest.raises(CallError):
        await jsonrpc.call("no.such.method", {})
    async with http.get(f"{jsonrpc.url}/{absent_task}") as answer:
        assert answer.status == 404
    after = await read(jsonrpc.url, http)
    for name, more, labels in (
        ("affix_http_requests_total", 2, {"path": "/rpc", "status": "200"}),
        ("affix_http_requests_total", 1, {"path": "other", "status": "404"}),
        ("affix_http_request_seconds_count", 2, {"path": "/rpc"}),
        ("affix_jsonrpc_calls_total", 1, {"method": "task.get", "code": "-32602"}),
        ("affix_jsonrpc_calls_total", 1, {"method": "unknown", "code": "-32601"}),
    ):
        assert value(after, name, **labels) - value(before, name, **labels) == more, (name, labels)
    assert not any(absent_task in str(sample) for sample in after), "a name from outside is in the metrics"


def test_timings_are_what_a_histogram_of_prometheus_client_says() -> None:
    ours, theirs = CollectorRegistry(), CollectorRegistry()
    values = Timings()
    ours.register(Shown(lambda: [timings("t_seconds", "t", values)]))
    histogram = Histogram("t_seconds", "t", buckets=BOUNDS, registry=theirs)
    for seconds in (0.0, 0.00025, 0.00026, 0.3, 0.5, 9.99, 10.0, 10.1, 1000.0):
        values.observe(seconds)
        histogram.observe(seconds)
    text = re.sub(r"(?m)^.*_created.*\n", "", generate_latest(theirs).decode())
    assert generate_latest(ours).decode() == text


@pytest.fixture
def seen() -> tuple[CollectorRegistry, Outcomes]:
    registry = CollectorRegistry()
    return registry, Outcomes(CallMetrics(registry), RequestLog("failed", 1.0))


def context(**metadata: str) -> LocalContext:
    return LocalContext(tuple((name.replace("_", "-"), value) for name, value in metadata.items()), None)


async def test_a_caller_that_goes_away_is_counted(seen: tuple[CollectorRegistry, Outcomes]) -> None:
    registry, outcomes = seen
    begun = asyncio.Event()

    async def endless(_request: Any, _context: Any) -> None:
        begun.set()
        await asyncio.Event().wait()

    wrapped: Behavior = outcomes.calls(METHOD, endless)
    with capture_logs() as logged:
        call = asyncio.ensure_future(wrapped(None, context(x_request_id="gone")))
        await begun.wait()
        call.cancel()
        await asyncio.wait((call,))
    (line,) = logged
    assert (line["status"], line["request_id"], line["log_level"]) == ("CANCELLED", "gone", "info")
    labels = {"grpc_type": "unary", "grpc_service": "a.B", "grpc_method": "C"}
    found = samples(generate_latest(registry).decode())
    assert value(found, "grpc_server_handled_total", **labels, grpc_code="CANCELLED") == 1


async def test_what_is_logged_during_a_call_has_its_id(seen: tuple[CollectorRegistry, Outcomes]) -> None:
    async def crash(_request: Any, _context: Any) -> None:
        raise RuntimeError("the secret of the store")

    wrapped: Behavior = seen[1].calls(METHOD, crash)
    with capture_logs(processors=[merge_contextvars]) as logged, pytest.raises(Exception, match="Internal error"):
        await wrapped(None, context(x_request_id="crashed"))
    assert [(line["event"], line["request_id"]) for line in logged] == [
        ("internal_error", "crashed"),
        ("call", "crashed"),
    ]
