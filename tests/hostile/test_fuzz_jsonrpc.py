"""Any bytes, and what is nearly a request: a JSON-RPC answer or none, never a fault of ours, with ids as written."""

from __future__ import annotations

import json
import os
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from msgspec import Raw
from msgspec.json import Decoder

from affix_shim.methods import METHODS
from tests.harness.service import Service
from tests.shim.test_properties import PARAMS, SCALARS, VALUES, damaged, well_formed

# More than CI tries, and others each time: AFFIX_FUZZ_EXAMPLES=10000 pytest tests/hostile/test_fuzz_jsonrpc.py
EXAMPLES = int(os.environ.get("AFFIX_FUZZ_EXAMPLES", "0"))
FUZZ = settings(max_examples=EXAMPLES or 300, derandomize=not EXAMPLES, deadline=None, database=None)

INTERNAL_ERROR = -32603
_members = Decoder(dict[str, Raw])
_items = Decoder(list[Raw])

IDS = SCALARS.filter(lambda text: text not in {"true", "false"})
NAMES = st.sampled_from(
    [
        *("taskId", "id", "key", "type", "value", "content", "url", "mimeType", "size", "requests", "updates", "text"),
        *(
            "metadata",
            "limit",
            "offset",
            "order",
            "ifRevision",
            "view",
            "status",
            "priority",
            "result",
            "workerId",
            "x",
        ),
    ]
)
WORDS = st.sampled_from(['"t-1"', '"k"', '"json"', '"text"', '"binary"', '"asc"', "1", "[]", "{}", '[{"taskId":"t"}]'])
NEARLY = st.lists(st.builds('"{}":{}'.format, NAMES, WORDS | VALUES), max_size=6).map(
    lambda all_: f"{{{','.join(all_)}}}"
)
CALLS = st.builds(
    '{{"jsonrpc":"2.0","id":{},"method":"{}","params":{}}}'.format,
    IDS,
    st.sampled_from([*METHODS, "task.subscribe", "nothing", "__class__"]),
    NEARLY | PARAMS | VALUES,
)


async def answered(server: Service, http: aiohttp.ClientSession, body: bytes) -> bytes | None:
    headers = {"content-type": "application/json"}
    async with http.post(f"{server.url}/rpc", data=BytesIO(body), headers=headers) as answer:
        text = await answer.read()
        assert (answer.status, bool(text)) in {(200, True), (204, False)}
        return text or None


def judged(text: bytes) -> list[Any]:
    """The answers in an answer, each well-formed, none a fault of ours."""
    text.decode()
    whole = json.loads(text, parse_int=_integer)
    answers = whole if isinstance(whole, list) else [whole]
    assert answers
    for one in answers:
        assert well_formed(one)
        assert one.get("error", {}).get("code") != INTERNAL_ERROR
    return answers


def _integer(digits: str) -> int:
    """Python converts no number of thousands of digits."""
    return int(digits) if len(digits) < 100 else 0


@FUZZ
@given(body=st.binary(max_size=100) | damaged())
@example(body=b"")
@example(body=b"\xff" * 10)
@example(body=b"[" * 5000)
@example(body=b'{"jsonrpc":"2.0","method":"task.get","id":' + b"9" * 5000 + b"}")
@example(body=b'{"jsonrpc":"2.0","id":"\\ud800","method":"task.get"}')
async def test_any_bytes(server: Service, http: aiohttp.ClientSession, body: bytes) -> None:
    text = await answered(server, http, body)
    if text is not None:
        judged(text)


@FUZZ
@given(call=CALLS, id_=IDS)
async def test_what_is_nearly_a_call(server: Service, http: aiohttp.ClientSession, call: str, id_: str) -> None:
    sent = _members.decode(call)
    text = await answered(server, http, call.encode())
    assert text is not None
    judged(text)
    assert bytes(_members.decode(text)["id"]) == bytes(sent["id"])
    pair = f'[{call},{{"jsonrpc":"2.0","id":{id_},"method":"nothing"}},{call}]'
    text = await answered(server, http, pair.encode())
    assert text is not None
    judged(text)
    ids = [bytes(_members.decode(item)["id"]) for item in _items.decode(text)]
    assert ids == [bytes(sent["id"]), id_.encode(), bytes(sent["id"])]


@pytest.mark.parametrize("method", METHODS)
@settings(FUZZ, max_examples=EXAMPLES or 40)
@given(params=NEARLY | PARAMS | VALUES)
async def test_any_parameters(server: Service, http: aiohttp.ClientSession, method: str, params: str) -> None:
    body = f'{{"jsonrpc":"2.0","id":1,"method":"{method}","params":{params}}}'
    text = await answered(server, http, body.encode())
    assert text is not None
    judged(text)
