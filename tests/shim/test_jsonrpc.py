"""The envelope: JSON-RPC 2.0 and the corners the contract adds, without any wire."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec import Raw
from structlog.testing import capture_logs

from affix_shim.jsonrpc import JsonRpcError, answer


async def handle(method: str, params: Raw) -> object:
    """A few methods that show what the envelope does."""
    match method:
        case "echo":
            return params if len(params) else None
        case "refuse":
            raise JsonRpcError(-32004, "No", {"why": "because"})
        case "crash":
            raise RuntimeError("the secret of the store")
        case "unprintable":
            return object()
    raise JsonRpcError(-32601, "Method not found")


async def ask(body: str | bytes) -> Any:
    answered = await answer(body.encode() if isinstance(body, str) else body, handle)
    return None if answered is None else json.loads(answered)


PARSE_ERRORS: dict[str, str | bytes] = {
    "empty": "",
    "blank": " \n",
    "cut": '{"jsonrpc":"2.0","method":"echo","id":1',
    "a second value": '{"jsonrpc":"2.0","method":"echo","id":1} {}',
    "a batch with a cut item": '[{"jsonrpc":"2.0","method":"echo","id":1},{"jsonrpc"',
    "a scalar with a tail": "1x",
    "trailing comma": '{"jsonrpc":"2.0","method":"echo","params":[1,],"id":1}',
    "NaN": '{"jsonrpc":"2.0","method":"echo","params":[NaN],"id":1}',
    "leading zero": '{"jsonrpc":"2.0","method":"echo","id":01}',
    "lone surrogate": '{"jsonrpc":"2.0","method":"echo","params":["\\ud800"],"id":1}',
    "lone surrogate in a name": '{"jsonrpc":"2.0","method":"echo","params":{"\\udc00":1},"id":1}',
    "bad escape": '{"jsonrpc":"2.0","method":"echo","params":["\\x41"],"id":1}',
    "control character": '{"jsonrpc":"2.0","method":"echo","params":["\n"],"id":1}',
    "invalid UTF-8": b'{"jsonrpc":"2.0","method":"echo","params":["\xff"],"id":1}',
    "UTF-8 of a surrogate": b'{"jsonrpc":"2.0","method":"echo","params":["\xed\xa0\x80"],"id":1}',
    "overlong UTF-8": b'{"jsonrpc":"2.0","method":"echo","params":["\xc0\x80"],"id":1}',
    "UTF-16": '{"jsonrpc":"2.0","method":"echo","id":1}'.encode("utf-16"),
    "byte order mark": '\ufeff{"jsonrpc":"2.0","method":"echo","id":1}',
    "10,000 brackets in params": '{"jsonrpc":"2.0","method":"echo","params":'
    + "[" * 10_000
    + "]" * 10_000
    + ',"id":1}',
    "10,000 brackets": "[" * 10_000 + "]" * 10_000,
    "10,000 brackets left open": "[" * 10_000,
}


@pytest.mark.parametrize("body", PARSE_ERRORS.values(), ids=PARSE_ERRORS)
async def test_what_is_no_json_is_a_parse_error_with_the_id_null(body: str | bytes) -> None:
    answered = await ask(body)
    assert (answered["error"]["code"], answered["id"]) == (-32700, None)
    assert answered["error"]["message"].startswith("Parse error: ")


INVALID_REQUESTS = {
    "number": ("1", "null"),
    "string": ('"echo"', "null"),
    "null": ("null", "null"),
    "empty batch": ("[]", "null"),
    "empty object": ("{}", "null"),
    "no jsonrpc": ('{"method":"echo","id":1}', "1"),
    "jsonrpc 1.0": ('{"jsonrpc":"1.0","method":"echo","id":"a"}', '"a"'),
    "jsonrpc a number": ('{"jsonrpc":2.0,"method":"echo","id":1}', "1"),
    "no method": ('{"jsonrpc":"2.0","id":1}', "1"),
    "method a number": ('{"jsonrpc":"2.0","method":1,"id":1}', "1"),
    "method null": ('{"jsonrpc":"2.0","method":null,"id":1}', "1"),
    "no method and no id": ('{"jsonrpc":"2.0"}', "null"),
    "method a number, params a string": ('{"jsonrpc":"2.0","method":1,"params":"bar"}', "null"),
    "id true": ('{"jsonrpc":"2.0","method":"echo","id":true}', "null"),
    "id array": ('{"jsonrpc":"2.0","method":"echo","id":[1]}', "null"),
    "id object": ('{"jsonrpc":"2.0","method":"echo","id":{}}', "null"),
}


@pytest.mark.parametrize(("body", "id_"), INVALID_REQUESTS.values(), ids=INVALID_REQUESTS)
async def test_json_that_is_no_request_is_answered_with_its_id_if_that_is_one(body: str, id_: str) -> None:
    answered = await ask(body)
    assert answered["error"]["code"] == -32600
    assert json.dumps(answered["id"]) == id_
    assert answered["error"]["message"].startswith("Invalid Request: ")


IDS = ["1", "1.0", "-0.0", "1e2", "12345678901234567890123", "null", '""', '"a\\u0062\\/"', '"é🧪"', '"\\ud83e\\uddea"']


@pytest.mark.parametrize("id_", IDS)
@pytest.mark.parametrize("method", ["echo", "refuse", "nothing", "crash"])
async def test_the_id_comes_back_as_it_was_written(id_: str, method: str) -> None:
    answered = await answer(f'{{"jsonrpc":"2.0","method":"{method}","id": {id_} }}'.encode(), handle)
    assert answered is not None
    assert answered.endswith(f',"id":{id_}}}'.encode())


async def test_an_answer_has_the_members_of_the_specification_in_its_order() -> None:
    request = b' { "id" : 7 , "params" : {"x": 1.0 } , "method" : "echo" , "jsonrpc" : "\\u0032.0" } '
    assert await answer(request, handle) == b'{"jsonrpc":"2.0","result":{"x": 1.0 },"id":7}'
    assert await answer(request.replace(b"echo", b"refuse"), handle) == (
        b'{"jsonrpc":"2.0","error":{"code":-32004,"message":"No","data":{"why":"because"}},"id":7}'
    )
    assert await answer(request.replace(b"echo", b"gone"), handle) == (
        b'{"jsonrpc":"2.0","error":{"code":-32601,"message":"Method not found"},"id":7}'
    )


@pytest.mark.parametrize("method", ["echo", "refuse", "nothing", "crash", "unprintable"])
async def test_a_notification_is_never_answered(method: str) -> None:
    notification = f'{{"jsonrpc":"2.0","method":"{method}","params":[1]}}'
    assert await ask(notification) is None
    assert await ask(f"[{notification},{notification}]") is None
    both = f'[{notification},{{"jsonrpc":"2.0","method":"echo","id":2}},{notification}]'
    assert await ask(both) == [{"jsonrpc": "2.0", "result": None, "id": 2}]


@pytest.mark.parametrize("method", ["crash", "unprintable"])
async def test_a_fault_of_ours_is_logged_and_not_told(method: str) -> None:
    with capture_logs() as logged:
        answered = await ask(f'{{"jsonrpc":"2.0","method":"{method}","id":"r"}}')
    error = {"code": -32603, "message": "Internal error", "data": {"reason": "INTERNAL"}}
    assert answered == {"jsonrpc": "2.0", "error": error, "id": "r"}
    assert [(line["event"], line["exc_info"]) for line in logged] == [("answer_failed", True)]


async def test_a_batch_is_answered_item_by_item_in_its_order() -> None:
    answered = await ask(
        '[{"jsonrpc":"2.0","method":"echo","params":[1],"id":"a"}, 5, {"jsonrpc":"2.0","method":"echo"},'
        ' {"jsonrpc":"2.0","method":"refuse","id":"b"}, {"id":"c"}, {"jsonrpc":"2.0","method":"crash","id":null}]'
    )
    codes = [item.get("error", {}).get("code") for item in answered]
    assert codes == [None, -32600, -32004, -32600, -32603]
    assert [item["id"] for item in answered] == ["a", None, "b", "c", None]
    assert answered[0]["result"] == [1]


async def test_three_numbers_are_three_invalid_requests() -> None:
    assert [(item["error"]["code"], item["id"]) for item in await ask("[1,2,3]")] == [(-32600, None)] * 3
    assert [item["error"]["code"] for item in await ask("[[]]")] == [-32600]


async def test_a_batch_holds_1_to_100_requests() -> None:
    one = '{"jsonrpc":"2.0","method":"echo","id":1}'
    assert len(await ask("[" + ",".join([one] * 100) + "]")) == 100
    refused = await ask("[" + ",".join([one] * 101) + "]")
    message = "Invalid Request: a batch must hold 1 to 100 requests, not 101"
    assert refused == {"jsonrpc": "2.0", "error": {"code": -32600, "message": message}, "id": None}


async def test_the_items_of_a_batch_run_at_the_same_time_and_answer_in_order() -> None:
    barrier = asyncio.Barrier(3)
    done: list[str] = []

    async def meet(method: str, _params: Raw) -> object:
        await barrier.wait()
        await asyncio.sleep({"first": 0.02, "second": 0.01, "third": 0}[method])
        done.append(method)
        return method

    items = ",".join(f'{{"jsonrpc":"2.0","method":"{name}","id":0}}' for name in ("first", "second", "third"))
    async with asyncio.timeout(5):
        answered = await answer(f"[{items}]".encode(), meet)
    assert answered is not None
    assert [item["result"] for item in json.loads(answered)] == ["first", "second", "third"]
    assert done == ["third", "second", "first"]


@pytest.mark.parametrize("levels", [129, 500, 900])
async def test_params_deeper_than_the_service_takes_still_reach_it(levels: int) -> None:
    deep = "[" * levels + "]" * levels
    answered = await answer(f'{{"jsonrpc":"2.0","method":"echo","params":{deep},"id":1}}'.encode(), handle)
    assert answered == f'{{"jsonrpc":"2.0","result":{deep},"id":1}}'.encode()


async def test_every_depth_is_answered() -> None:
    # Around the depth where the parser gives up, the batch and its items see different stacks.
    for levels in range(850, 1010):
        deep = "[" * levels + "]" * levels
        one = f'{{"jsonrpc":"2.0","method":"echo","params":{deep},"id":1}}'.encode()
        for body in (one, b"[" + one + b"]"):
            answered = await answer(body, handle)
            assert answered is not None
            assert deep.encode() in answered or b'"code":-32700' in answered
