"""The commands of the documentation, run as they are written but for the two addresses."""

from __future__ import annotations

import asyncio
import re
import shlex

import aiohttp

from tests.docs.pages import ROOT
from tests.harness.processes import environment
from tests.harness.samples import ATTACHMENT_ID, TASK_ID, TIME
from tests.harness.service import Service

SECONDS = 30
GRPC, HTTP = "127.0.0.1:50051", "http://127.0.0.1:8080"

# What differs from run to run, each shown by an example of itself: ids, times, revisions, the server's own name.
_VARYING = (
    ATTACHMENT_ID.pattern,
    TASK_ID.pattern,
    TIME.pattern,
    r"\b\d{13}\b",
    r"\b\d{16}\b",
    *(rf'"{name}":"[^"]+"' for name in ("createdBy", "deletedBy", "instanceId")),
    r'"created_by": "[^"]+"',
)
_ANY_VARYING = re.compile("|".join(f"(?:{pattern})" for pattern in _VARYING))


def addressed(command: str, server: Service) -> str:
    """Point a command at the suite's service instead of the default addresses."""
    return command.replace(GRPC, server.grpc_address).replace(HTTP, server.url)


def shown_as(shown: str) -> re.Pattern[str]:
    """The pattern of which a shown output is an example."""
    parts, end = [], 0
    for found in _ANY_VARYING.finditer(shown):
        form = next(pattern for pattern in _VARYING if re.fullmatch(pattern, found[0]))
        parts += [re.escape(shown[end : found.start()]), form]
        end = found.end()
    return re.compile("".join(parts) + re.escape(shown[end:]))


async def run(command: str) -> str:
    """Run a command in a shell, in the root of the repository; return what a terminal would show."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", command),
        cwd=ROOT,
        env=environment({}),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    async with asyncio.timeout(SECONDS):
        out, _ = await process.communicate()
    return out.decode()


async def send(curl: str, http: aiohttp.ClientSession) -> str:
    """Send the request that a curl command says, without curl. Fails on an option it does not know."""
    program, *arguments = shlex.split(curl)
    assert program == "curl"
    headers, body, urls = {}, None, []
    rest = iter(arguments)
    for argument in rest:
        match argument:
            case "-s":
                pass
            case "-H":
                name, _, value = next(rest).partition(": ")
                headers[name] = value
            case "-d":
                body = next(rest)
            case _:
                assert not argument.startswith("-"), f"unknown option {argument}"
                urls.append(argument)
    (url,) = urls
    async with http.request("GET" if body is None else "POST", url, headers=headers, data=body) as answer:
        return await answer.text()
