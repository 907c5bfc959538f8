"""What the document says of each parameter is what a running service takes and refuses."""

from __future__ import annotations

import itertools
import json
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from affix_server import validation
from affix_shim.methods import METHODS
from tests.discovery.probes import BASES, Call, calls, probes
from tests.harness import openrpc
from tests.harness.openrpc import DOCUMENT, params_of, resolved
from tests.harness.service import Service

_BATCH = 50


async def _answers(server: Service, http: aiohttp.ClientSession, made: list[Call]) -> list[Any]:
    """What each call is answered with."""
    found: list[Any] = []
    numbered = [
        {"jsonrpc": "2.0", "id": number, "method": name, "params": params} for number, (name, params) in enumerate(made)
    ]
    for begin in range(0, len(numbered), _BATCH):
        body = json.dumps(numbered[begin : begin + _BATCH]).encode()
        headers = {"content-type": "application/json"}
        async with http.post(f"{server.url}/rpc", data=BytesIO(body), headers=headers) as answer:
            found += await answer.json()
    return found


def _differences(made: list[Call], answers: list[Any]) -> list[Any]:
    """The calls that the service judges otherwise than the document does."""
    return [
        (name, params, answer)
        for (name, params), answer in zip(made, answers, strict=True)
        if params_of(name).is_valid(params) != _is_taken(answer)
    ]


def _is_taken(answer: Any) -> bool:
    return not ("error" in answer and answer["error"].get("data", {}).get("reason") == "INVALID_PARAMS")


@pytest.mark.parametrize("method", METHODS)
async def test_the_service_takes_what_is_described(server: Service, http: aiohttp.ClientSession, method: str) -> None:
    made = calls(method)
    answers = await _answers(server, http, made)
    assert _differences(made, answers) == []
    taken = [_is_taken(answer) for answer in answers]
    assert taken.count(True) > 1
    assert taken.count(False) > 30


async def test_a_subscription_takes_what_is_described(server: Service, http: aiohttp.ClientSession) -> None:
    for name, of_parameter in itertools.groupby(calls("task.subscribe"), key=lambda call: next(iter(call[1]), "")):
        if name == "resumeToken":
            continue  # any text is described, and the service knows its own
        made = list(of_parameter)
        async with http.ws_connect(f"{server.url}/ws") as socket:  # which may subscribe a hundred times
            answers = []
            for number, (method, params) in enumerate(made):
                await socket.send_json({"jsonrpc": "2.0", "id": number, "method": method, "params": params})
                answers.append(await socket.receive_json())
        assert _differences(made, answers) == []


@st.composite
def _together(draw: st.DrawFn) -> Call:
    """A call with any of its parameters, each with any value, more often a valid one: what some ask of others."""
    name, valid = draw(st.sampled_from([base for base in BASES if base[0] in METHODS]))
    properties: dict[str, Any] = resolved(openrpc.METHODS[name]["x-params"])["properties"]
    values = {
        parameter: st.sampled_from([*([valid[parameter]] * 20 if parameter in valid else ()), *probes(schema)])
        for parameter, schema in properties.items()
        if "items" not in resolved(schema)
    }
    return name, {**valid, **draw(st.fixed_dictionaries({}, optional=values))}


def _is_in_words(call: Call) -> bool:
    """Whether it breaks a rule that the document can only put in words."""
    name, params = call
    return name == "task.complete" and "id" in params and "taskId" in params and params["id"] != params["taskId"]


@settings(max_examples=25, derandomize=True, deadline=None, database=None)
@given(made=st.lists(_together(), min_size=_BATCH, max_size=_BATCH))
async def test_parameters_together_are_taken_as_described(
    server: Service, http: aiohttp.ClientSession, made: list[Call]
) -> None:
    tried = [call for call in made if not _is_in_words(call)]
    assert _differences(tried, await _answers(server, http, tried)) == []


def test_the_numbers_are_the_servers() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    limits = {
        "taskId": ("maxLength", validation.MAX_TASK_ID),
        "key": ("maxLength", validation.MAX_KEY),
        "keyPrefix": ("maxLength", validation.MAX_KEY),
        "name": ("maxLength", validation.MAX_NAME),
        "writers": ("maxItems", validation.MAX_WRITERS),
        "taskText": ("maxLength", validation.MAX_TASK_TEXT),
        "priority": ("maximum", validation.MAX_PRIORITY),
        "url": ("maxLength", validation.MAX_URL),
        "mimeType": ("maxLength", validation.MAX_MIME_TYPE),
    }
    bounded = {
        name
        for name, schema in schemas.items()
        if not name.startswith("params.")
        and ({"maxLength", "maxItems"} & schema.keys() or schema.get("maximum", 2**63) < 2**32)
    }
    assert bounded == limits.keys()
    assert {name: schemas[name][bound] for name, (bound, _) in limits.items()} == {
        name: most for name, (_, most) in limits.items()
    }
