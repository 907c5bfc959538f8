"""Several processes on one pair of ports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import psutil
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.cli.commands import NOBODY, affix, plain_failure
from tests.harness.grpc_wire import GrpcWire
from tests.harness.jsonrpc_wire import JsonRpcWire
from tests.harness.processes import Command
from tests.harness.service import Service, ending, serving

COUNT = 2
_SECONDS = 30.0
_METHODS = {"grpc": ("task.list", "ListTasks"), "jsonrpc": ("task.create", "CreateTask")}
_PARAMS: dict[str, dict[str, Any]] = {"task.list": {"limit": 1}, "task.create": {"text": "x"}}


@pytest.fixture(scope="module")
async def crew(stores: Mapping[str, str], folder: Path) -> AsyncIterator[Service]:
    settings = {**stores, "AFFIX_WORKERS": str(COUNT)}
    async with serving(settings, folder / "crew.log") as service:
        yield service


def workers_of(command: Command) -> dict[int, psutil.Process]:
    return {child.pid: child for child in psutil.Process(command.pid).children()}


async def call_once(service: Service, wire: str) -> None:
    """Call over a connection of its own."""
    method = _METHODS[wire][0]
    if wire == "grpc":
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.insecure_channel(service.grpc_address, options=options) as channel:
            await GrpcWire(channel).call(method, _PARAMS[method])
    else:
        async with aiohttp.ClientSession() as session:
            await JsonRpcWire("jsonrpc", service.url, session).call(method, _PARAMS[method])


async def handled(url: str) -> dict[tuple[str, str], float]:
    """Ask how many calls each worker has answered, by method and worker."""
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
        return {
            (sample.labels["grpc_method"], sample.labels["worker"]): sample.value
            for family in families
            if family.name == "grpc_server_handled"
            for sample in family.samples
            if sample.labels["grpc_code"] == "OK"
        }


@pytest.mark.parametrize("wire", ["grpc", "jsonrpc"])
async def test_every_worker_answers_and_whoever_is_asked_counts_for_all(crew: Service, wire: str) -> None:
    rpc, calls = _METHODS[wire][1], 0
    before = await handled(crew.url)
    async with asyncio.timeout(_SECONDS):
        while True:
            await call_once(crew, wire)
            calls += 1
            now = await handled(crew.url)
            counted = [now[rpc, str(number)] - before[rpc, str(number)] for number in range(COUNT)]
            assert sum(counted) == calls
            if all(counted):
                return


async def test_the_workers_listen_on_both_ports(crew: Service) -> None:
    ports = {int(address.rpartition(":")[2]) for address in (crew.grpc_address, crew.url)}
    found = workers_of(crew.command)
    assert len(found) == COUNT
    for worker in found.values():
        listening = {each.laddr.port for each in worker.net_connections() if each.status == psutil.CONN_LISTEN}
        assert listening == ports


async def test_a_worker_that_is_killed_is_missed_by_nobody_and_replaced(crew: Service) -> None:
    before = workers_of(crew.command)
    killed = min(before)
    before[killed].kill()
    await asyncio.to_thread(before[killed].wait)
    async with asyncio.timeout(_SECONDS):
        while len(after := workers_of(crew.command)) < COUNT or killed in after or "worker_replaced" not in log(crew):
            for wire in _METHODS:
                await call_once(crew, wire)
    assert len(set(after) & set(before)) == COUNT - 1
    assert '"event": "worker_died"' in log(crew)
    assert {worker for _, worker in await handled(crew.url)} == {str(number) for number in range(COUNT)}


def log(service: Service) -> str:
    return service.command.output


async def test_no_worker_outlives_its_parent(stores: Mapping[str, str], folder: Path) -> None:
    settings = {**stores, "AFFIX_WORKERS": str(COUNT)}
    async with ending(settings, folder / "orphans.log") as service:
        workers = workers_of(service.command)
        assert len(workers) == COUNT
        await service.command.kill()
        async with asyncio.timeout(_SECONDS):
            while any(worker.is_running() and worker.status() != psutil.STATUS_ZOMBIE for worker in workers.values()):
                await asyncio.sleep(0.05)


def test_what_keeps_them_from_starting_is_said_once(crew: Service, stores: Mapping[str, str]) -> None:
    free = {"AFFIX_GRPC_LISTEN": "127.0.0.1:0", "AFFIX_HTTP_LISTEN": "127.0.0.1:0"}
    taken = {"AFFIX_GRPC_LISTEN": crew.grpc_address}
    workers = ("serve", "--workers", "2")
    assert plain_failure(affix(*workers, **stores, **free | taken)) == (
        f"cannot listen on {crew.grpc_address} (AFFIX_GRPC_LISTEN): address already in use"
    )
    nowhere = {**stores, "AFFIX_REDIS_URL": f"redis://{NOBODY}"}
    assert "Redis" in plain_failure(affix(*workers, **nowhere, **free))
