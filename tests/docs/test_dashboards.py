"""deploy/: what the dashboard and the alerts ask Prometheus for is what the service tells it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import aiohttp
import grpc
import promql_parser
import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families
from promql_parser import AggregateExpr, MatrixSelector, VectorSelector

from tests.docs.pages import ROOT, table
from tests.harness.grpc_wire import GrpcWire
from tests.harness.samples import create, get
from tests.harness.service import Service
from tests.harness.wire import CallError

PAGE = "docs/operations.md"
# What Prometheus itself puts to every metric, and the metric that it makes.
TARGET = {"job", "instance"}
UP = "up"
# What a label may be, where it takes more than some use to see it all.
VALUES = {"grpc_code": {code.name for code in grpc.StatusCode}, "result": {"hit", "miss"}}

Labels = dict[str, dict[str, set[str]]]


def rules() -> list[dict[str, Any]]:
    loaded = yaml.safe_load((ROOT / "deploy/prometheus/alerts.yaml").read_text())
    return [rule for group in loaded["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    loaded = json.loads((ROOT / "deploy/grafana/affix.json").read_text())
    return [panel for panel in loaded["panels"] if panel["type"] != "row"]


def queries() -> Iterator[tuple[str, str]]:
    """Every query with the name of what asks it, Grafana's variables filled in."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for panel in panels():
        for target in panel["targets"]:
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m").replace("$job", "affix")


@pytest.fixture(scope="module")
async def told(server: Service, grpc_wire: GrpcWire, http: aiohttp.ClientSession, shim_url: str) -> Labels:
    """What the service tells after some use: by the names of metrics, the labels with their values."""
    task = (await grpc_wire.call("task.create", {"text": "seen"}))["id"]
    await create(grpc_wire, task, "k")
    with pytest.raises(CallError):
        await get(grpc_wire, task, "missing")
    async with http.post(f"{server.url}/rpc", json={"jsonrpc": "2.0", "method": "task.list", "id": 1}) as answer:
        assert answer.status == 200
    found: Labels = {UP: {}}
    for url in (server.url, shim_url, server.url):  # twice: the first answer does not tell of itself
        async with http.get(f"{url}/metrics") as answer:
            for family in text_string_to_metric_families(await answer.text()):
                for sample in family.samples:
                    labels = found.setdefault(sample.name, {})
                    for name, value in sample.labels.items():
                        labels.setdefault(name, set()).add(value)
    return found


def nodes(query: str) -> list[Any]:
    """Everything a query is made of."""
    found: list[Any] = []
    promql_parser.walk(promql_parser.parse(query), found.append)
    return found


def selectors(query: str) -> list[Any]:
    parts = nodes(query)
    return [part for part in parts if isinstance(part, VectorSelector)] + [
        part.vector_selector for part in parts if isinstance(part, MatrixSelector)
    ]


@pytest.mark.parametrize(("asker", "query"), list(queries()))
async def test_every_query_asks_for_what_there_is(told: Labels, asker: str, query: str) -> None:
    asked = selectors(query)
    assert asked, f"{asker} asks for nothing"
    for selector in asked:
        assert selector.name in told, f"{asker}: no metric {selector.name}"
        labels = {matcher.name: matcher.value for matcher in selector.matchers.matchers}
        assert labels["job"] == "affix", f"{asker} asks other jobs too"
        for name, value in labels.items():
            if name not in TARGET:
                assert name in told[selector.name], f"{asker}: {selector.name} has no label {name}"
                known = VALUES.get(name) or told[selector.name][name]
                assert set(value.split("|")) <= known, f"{asker}: {name} is never {value}"
    kept = {name for selector in asked for name in told[selector.name]} | TARGET
    for part in nodes(query):
        if isinstance(part, AggregateExpr) and part.modifier is not None:
            assert set(part.modifier.labels) <= kept, f"{asker}: {part.modifier.labels}"


def test_the_dashboard_shows_every_metric_of_ours() -> None:
    shown = {
        re.sub(r"_(bucket|sum|count)$", "", selector.name)
        for panel in panels()
        for target in panel["targets"]
        for selector in selectors(target["expr"].replace("$__rate_interval", "1m"))
    }
    ours = {row[0] for row in table(PAGE, "name", "type", "labels", "what")}
    assert ours - shown == set()


def test_panels_do_not_overlap_and_have_names_of_their_own() -> None:
    places = [(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in panels()]
    assert len(set(places)) == len(places)
    titles = [panel["title"] for panel in panels()]
    assert len(set(titles)) == len(titles)


def test_each_alert_says_what_it_means_and_what_to_do() -> None:
    assert [row[0] for row in table(PAGE, "alert", "what it means", "what to do")] == [
        rule["alert"] for rule in rules()
    ]
    for rule in rules():
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert rule["annotations"]["summary"]
