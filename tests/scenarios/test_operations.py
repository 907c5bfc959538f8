"""What operators and the usual tools rely on: reflection, health, metrics (design/contract.md, "Wires")."""

from __future__ import annotations

import json
from typing import Any

import aiohttp
import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from tests.harness.grpc_wire import GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.processes import output_of
from tests.harness.samples import TASK_ID, create, get
from tests.harness.service import Service


async def test_grpcurl_lists_the_services(server: Service) -> None:
    listed = (await output_of("grpcurl", "-plaintext", server.grpc_address, "list")).split()
    assert {"affix.v1.AttachmentService", "affix.v1.TaskService", "grpc.health.v1.Health"} <= set(listed)


async def test_grpcurl_creates_a_task(server: Service, grpc_wire: GrpcWire) -> None:
    arguments = ("-plaintext", "-d", '{"text": "from grpcurl"}', server.grpc_address, "affix.v1.TaskService/CreateTask")
    task = json.loads(await output_of("grpcurl", *arguments))["task"]
    assert TASK_ID.fullmatch(task["id"])
    assert (await grpc_wire.call("task.get", {"id": task["id"]}))["text"] == "from grpcurl"


@pytest.mark.parametrize("reflection", ["grpc-v1", "grpc-v1alpha"])
async def test_buf_curl_reads_through_reflection(
    server: Service, grpc_wire: GrpcWire, task: str, reflection: str
) -> None:
    await create(grpc_wire, task, "notes")
    stored = await get(grpc_wire, task, "notes")
    answer = await output_of(
        "buf",
        "curl",
        *("--protocol", "grpc", "--http2-prior-knowledge", "--reflect", "--reflect-protocol", reflection),
        *("-d", json.dumps({"taskId": task, "key": "notes"})),
        f"http://{server.grpc_address}/affix.v1.AttachmentService/GetAttachment",
    )
    assert json.loads(answer)["attachment"]["id"] == stored["id"]


async def test_the_grpc_health_service_says_serving(channel: grpc.aio.Channel) -> None:
    stub: Any = health_pb2_grpc.HealthStub(channel)
    answer = await stub.Check(health_pb2.HealthCheckRequest(), timeout=5)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


@pytest.mark.parametrize(("path", "status"), [("/healthz", "ok"), ("/readyz", "ready")])
async def test_the_http_port_says_whether_it_lives_and_is_ready(
    jsonrpc: JsonRpcWire, http: aiohttp.ClientSession, path: str, status: str
) -> None:
    async with http.get(jsonrpc.url + path) as answer:
        assert (answer.status, (await answer.json())["status"]) == (200, status)


async def test_metrics_are_prometheus_text(jsonrpc: JsonRpcWire, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{jsonrpc.url}/metrics") as answer:
        assert (answer.status, answer.content_type) == (200, "text/plain")
        text = await answer.text()
    assert "# HELP " in text
    assert "# TYPE " in text
