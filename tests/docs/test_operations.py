"""docs/operations.md: its tables are those of the service that runs."""

from __future__ import annotations

import ast
import json
import re
import socket
from typing import Any

import aiohttp
import pytest
from typer.main import get_command

from affix_cli.main import app
from tests.docs.commands import run
from tests.docs.pages import ROOT, table
from tests.harness.service import Service

PAGE = "docs/operations.md"
_METRIC = re.compile(
    r"^# HELP (?P<name>\S+) (?P<help>.*)\n# TYPE \S+ (?P<type>\w+)\n(?P<samples>(?:[^#].*\n)*)", re.MULTILINE
)
_LABEL = re.compile(r'(\w+)="')
# structlog's name for what log.exception writes.
_LEVELS = {"exception": "error"}


def test_the_commands_are_all_there_are() -> None:
    command: Any = get_command(app)
    assert {row[0] for row in table(PAGE, "command", "what it does")} == {f"affix {name}" for name in command.commands}


async def test_the_settings_are_those_of_affix_config() -> None:
    rows = json.loads(await run(".venv/bin/affix config --json"))
    shown = {None: "not set", socket.gethostname(): "the name of the host"}
    expected = [
        [row["variable"], shown.get(row["default"], str(row["default"])), row["description"].replace("`", "")]
        for row in rows
    ]
    assert table(PAGE, "variable", "default", "what") == expected, _rendered(expected)


async def test_the_metrics_are_those_of_the_service(server: Service, http: aiohttp.ClientSession) -> None:
    body = {"jsonrpc": "2.0", "method": "task.list", "id": 1}
    async with http.post(f"{server.url}/rpc", json=body) as answer:  # what has not been used has no labels yet
        assert answer.status == 200
    async with http.get(f"{server.url}/metrics") as answer:
        found = [metric.groupdict() for metric in _METRIC.finditer(await answer.text())]
    ours = [metric for metric in found if not metric["name"].startswith(("process_", "python_"))]
    expected = sorted(
        [metric["name"], metric["type"], _labels(metric["samples"]), metric["help"]]
        for metric in ours
        if not metric["name"].endswith("_created")
    )
    assert table(PAGE, "name", "type", "labels", "what") == expected, _rendered(expected)


async def test_a_shim_alone_has_only_the_metrics_of_its_process(shim_url: str, http: aiohttp.ClientSession) -> None:
    async with http.get(f"{shim_url}/metrics") as answer:
        names = [metric["name"] for metric in _METRIC.finditer(await answer.text())]
    assert names
    ours = [name for name in names if not name.startswith(("process_", "python_"))]
    assert ours
    assert [name for name in ours if not name.startswith(("affix_http_", "affix_jsonrpc_"))] == []


def test_the_log_events_are_those_in_the_code() -> None:
    rows = table(PAGE, "event", "level", "fields", "what happened")
    assert {(event, level) for events, level, _, _ in rows for event in events.split(", ")} == _logged()


@pytest.mark.parametrize("name", ["/healthz", "/readyz"])
async def test_the_health_paths_answer(server: Service, http: aiohttp.ClientSession, name: str) -> None:
    assert f"GET {name}" in {row[0] for row in table(PAGE, "where", "answer")}
    async with http.get(server.url + name) as answer:
        assert answer.status == 200


def _labels(samples: str) -> str:
    """The labels of a metric's samples, but for the bounds of a histogram."""
    return ", ".join(sorted(set(_LABEL.findall(samples)) - {"le"}))


def _logged() -> set[tuple[str, str]]:
    """Each event that the server, the shim or the command writes to its log, with its level."""
    found = set()
    for path in [path for source in ("server", "shim", "cli") for path in (ROOT / source).rglob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Call(
                    func=ast.Attribute(value=ast.Name(id="_log"), attr=level), args=[ast.Constant(value=str(event)), *_]
                ):
                    found.add((event, _LEVELS.get(level, level)))
    return found


def _rendered(rows: list[list[str]]) -> str:
    """What the page should say, to be pasted."""
    return "\n" + "\n".join(f"| {' | '.join([f'`{first}`', *rest])} |" for first, *rest in rows)
