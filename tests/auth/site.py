"""A server that asks who calls, a shim before it, and callers with tokens of their own."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import grpc

from tests.conftest import JSONRPC_WIRES
from tests.harness.grpc_wire import GrpcWire
from tests.harness.openrpc import DescribedWire
from tests.harness.processes import AFFIX, environment
from tests.harness.service import Service
from tests.harness.watches import GrpcWatcher, SseWatcher, Watcher, WebSocketWatcher
from tests.harness.wire import CallError, Params, Wire

NOT_ALLOWED = -32002
PREFIX = "team-a."


@dataclass(frozen=True)
class Guarded:
    """A service that knows its callers by the tokens of a file, and all the ways to it."""

    service: Service
    shim_url: str
    channel: grpc.aio.Channel
    http: aiohttp.ClientSession
    tokens: Path
    log: Path
    shim_log: Path

    @property
    def urls(self) -> dict[str, str]:
        """Where JSON-RPC is served, by the name of the wire."""
        return dict(zip(JSONRPC_WIRES, (self.service.url, self.shim_url), strict=True))

    def wire(self, name: str, token: str | None) -> Wire:
        """One of the three wires, for the bearer of a token."""
        if name == "grpc":
            return GrpcWire(self.channel, token=token)
        return DescribedWire(name, self.urls[name], self.http, token=token)

    def watcher(self, name: str, token: str | None) -> Watcher:
        """One of the ways to watch, for the bearer of a token."""
        if name == "grpc":
            return GrpcWatcher(self.channel, token=token)
        url = self.shim_url if name.endswith("-shim") else self.service.url
        kind = WebSocketWatcher if name.startswith("websocket") else SseWatcher
        return kind(name, url, self.http, token=token)


def affix_token(*arguments: str, file: Path) -> str:
    """Run `affix token` to its successful end, and return what it printed."""
    done = subprocess.run(
        [AFFIX, "token", *arguments],
        env=environment({"AFFIX_TOKEN_FILE": str(file)}),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def new_token(file: Path, instance: str, scope: str, prefix: str = "") -> str:
    """Make a token."""
    bound = ("--task-prefix", prefix) if prefix else ()
    return affix_token("new", "--instance", instance, "--scope", scope, *bound, file=file)


@dataclass(frozen=True)
class People:
    """Tokens of callers that differ in what they may do; each is its own instance, named like its field."""

    owner: str
    writer: str
    other: str
    reader: str
    admin: str
    bound: str
    bound_admin: str


def make_people(file: Path) -> People:
    """Give everybody a token."""
    return People(
        owner=new_token(file, "owner", "write"),
        writer=new_token(file, "writer", "write"),
        other=new_token(file, "other", "write"),
        reader=new_token(file, "reader", "read"),
        admin=new_token(file, "admin", "admin"),
        bound=new_token(file, "bound", "write", PREFIX),
        bound_admin=new_token(file, "bound_admin", "admin", PREFIX),
    )


async def refused(wire: Wire, method: str, params: Params, *, instance: str | None = None) -> CallError:
    """Call a method that must fail, and return how."""
    try:
        answer = await wire.call(method, params, instance=instance)
    except CallError as error:
        return error
    raise AssertionError(f"{method} was answered: {answer}")


async def outcome(wire: Wire, method: str, params: Params) -> str:
    """Call a method and return "done", or the reason why not."""
    try:
        await wire.call(method, params)
    except CallError as error:
        return error.reason or str(error.code)
    return "done"


def every_call(task: str) -> dict[str, Params]:
    """A valid call of every method that is about a task."""
    ref = {"taskId": task, "key": "k"}
    text = {"type": "text", "content": "c"}
    return {
        "task.create_attachment": {**ref, **text},
        "task.get_attachment": ref,
        "task.list_attachments": {"taskId": task},
        "task.delete_attachment": ref,
        "task.get_attachments_batch": {"requests": [ref]},
        "task.create_attachments_batch": {"requests": [{**ref, **text}]},
        "task.delete_attachments_batch": {"requests": [ref]},
        "task.create": {"id": task, "text": "a task"},
        "task.get": {"id": task},
        "task.update": {"id": task, "updates": {"priority": 1}},
        "task.complete": {"id": task},
        "task.delete": {"id": task},
    }


# The methods that change something.
CHANGES = (
    "task.create_attachment",
    "task.delete_attachment",
    "task.create_attachments_batch",
    "task.delete_attachments_batch",
    "task.create",
    "task.update",
    "task.complete",
    "task.delete",
)
