"""Every example of the reference pages works verbatim (design/contract.md, first paragraph)."""

from __future__ import annotations

import json
from typing import Any

import pytest
from redis.asyncio import Redis

from tests.spec.conftest import Attach, Send
from tests.spec.pages import PAGES, TASK, agrees, block, blocks

CREATE, GET, LIST, DELETE = PAGES
REQUEST, SUCCESS, ERROR = "Example Request", "Success Response", "Error Response"
# Every JSON block there is; each is used by a test here or in test_storage_error.py.
KNOWN = {
    CREATE: [
        f"{REQUEST} (JSON Attachment)",
        f"{REQUEST} (Markdown Documentation)",
        f"{REQUEST} (URL Reference)",
        SUCCESS,
        ERROR,
        "Event Emission",
    ],
    GET: [
        REQUEST,
        *(f"{SUCCESS} ({type_} Attachment)" for type_ in ("JSON", "Markdown", "URL", "Binary")),
        ERROR,
    ],
    LIST: [
        f"{REQUEST} (All Attachments)",
        f"{REQUEST} (Filtered by Type)",
        SUCCESS,
        f"{SUCCESS} (Empty)",
        ERROR,
        "JSON Attachments Only",
        "Recent Attachments (First Page)",
        "Documentation Attachments",
    ],
    DELETE: [
        REQUEST,
        f"{REQUEST} (Delete Git Attachment)",
        SUCCESS,
        f"{ERROR} (Attachment Not Found)",
        "Event Emission",
    ],
}


@pytest.mark.parametrize("page", PAGES)
def test_every_example_of_a_page_is_known_here(page: str) -> None:
    assert [each.heading for each in blocks(page)] == KNOWN[page]


def _request(page: str, heading: str = REQUEST) -> Any:
    return block(page, heading).value


def _shown(page: str, heading: str) -> Any:
    """The result that a page documents."""
    return block(page, heading).value["result"]


@pytest.mark.usefixtures("documented_task")
@pytest.mark.parametrize("heading", KNOWN[CREATE][:3])
async def test_create_answers_as_documented(send: Send, heading: str) -> None:
    request = _request(CREATE, heading)
    documented = block(CREATE, SUCCESS).value
    documented["id"] = request["id"]
    documented["result"] |= {name: request["params"][name] for name in ("taskId", "key", "type")}
    agrees(documented, await send(block(CREATE, heading).text))


@pytest.mark.usefixtures("no_task")
async def test_create_without_its_task_fails_as_documented(send: Send) -> None:
    agrees(block(CREATE, ERROR).value, await send(block(CREATE, KNOWN[CREATE][0]).text))


@pytest.mark.usefixtures("documented_task")
async def test_create_is_announced_as_documented(send: Send, redis: Redis) -> None:
    created = (await send(block(CREATE, KNOWN[CREATE][0]).text))["result"]
    event = await _last_event(redis, "task.attachment_created")
    agrees(block(CREATE, "Event Emission").value, event)
    assert event["payload"]["attachmentId"] == created["id"]


@pytest.mark.parametrize("heading", KNOWN[GET][1:5])
async def test_get_answers_as_documented(send: Send, attach: Attach, heading: str) -> None:
    documented = block(GET, heading).value
    await attach(documented["result"])
    # The page has one example request for its four answers; only the key differs.
    request = block(GET, REQUEST).text.replace('"analysis"', json.dumps(documented["result"]["key"]))
    answer = await send(request)
    agrees(documented, answer)
    assert answer["result"]["updatedAt"] == answer["result"]["createdAt"]


@pytest.mark.usefixtures("documented_task")
async def test_get_of_nothing_fails_as_documented(send: Send) -> None:
    agrees(block(GET, ERROR).value, await send(block(GET, REQUEST).text))


async def _attach_the_list(attach: Attach) -> list[Any]:
    shown: list[Any] = _shown(LIST, SUCCESS)["attachments"]
    for each in shown:
        await attach(each)
    return shown


async def test_list_answers_as_documented(send: Send, attach: Attach) -> None:
    await _attach_the_list(attach)
    agrees(block(LIST, SUCCESS).value, await send(block(LIST, KNOWN[LIST][0]).text))


async def test_list_filtered_answers_as_documented(send: Send, attach: Attach) -> None:
    shown = await _attach_the_list(attach)
    agrees(_page(shown, "json", "req-014"), await send(block(LIST, KNOWN[LIST][1]).text))


@pytest.mark.parametrize(("heading", "type_"), list(zip(KNOWN[LIST][5:], ["json", None, "markdown"], strict=True)))
async def test_list_filter_examples_answer_what_they_say(
    send: Send, attach: Attach, heading: str, type_: str | None
) -> None:
    shown = await _attach_the_list(attach)
    params = block(LIST, heading).text
    request = f'{{"jsonrpc": "2.0", "method": "task.list_attachments", "params": {params}, "id": "filter"}}'
    agrees(_page(shown, type_, "filter"), await send(request))


def _page(shown: list[Any], type_: str | None, id_: str) -> Any:
    """The documented page, with only what the filter leaves of it."""
    left = [each for each in shown if type_ in (None, each["type"])]
    return {"jsonrpc": "2.0", "result": {"attachments": left, "totalCount": len(left), "hasMore": False}, "id": id_}


@pytest.mark.usefixtures("documented_task")
async def test_list_of_nothing_answers_as_documented(send: Send) -> None:
    agrees(block(LIST, f"{SUCCESS} (Empty)").value, await send(block(LIST, KNOWN[LIST][0]).text))


@pytest.mark.parametrize("heading", KNOWN[DELETE][:2])
async def test_delete_answers_as_documented(send: Send, attach: Attach, heading: str) -> None:
    request = _request(DELETE, heading)
    await attach({**request["params"], "type": "text", "content": "to be deleted"})
    documented = block(DELETE, SUCCESS).value
    documented["id"] = request["id"]
    documented["result"]["key"] = request["params"]["key"]
    agrees(documented, await send(block(DELETE, heading).text))


@pytest.mark.usefixtures("documented_task")
async def test_delete_of_nothing_fails_as_documented(send: Send) -> None:
    agrees(block(DELETE, KNOWN[DELETE][3]).value, await send(block(DELETE, REQUEST).text))


@pytest.mark.usefixtures("no_task")
@pytest.mark.parametrize("page", [GET, DELETE])
async def test_without_the_task_the_error_is_the_one_of_create(send: Send, page: str) -> None:
    documented = block(CREATE, ERROR).value
    documented["id"] = _request(page)["id"]
    agrees(documented, await send(block(page, REQUEST).text))


async def test_delete_is_announced_as_documented(send: Send, attach: Attach, redis: Redis) -> None:
    await attach(_shown(GET, f"{SUCCESS} (JSON Attachment)"))
    deleted = (await send(block(DELETE, REQUEST).text))["result"]
    event = await _last_event(redis, "task.attachment.deleted")
    agrees(block(DELETE, "Event Emission").value, event)
    assert event["payload"]["attachmentId"] == deleted["id"]
    assert event["metadata"]["deletedAt"] == deleted["deletedAt"]


async def _last_event(redis: Redis, type_: str) -> Any:
    newest: Any = await redis.xrevrange(f"cb:stream:{type_}", count=1)
    event = json.loads(newest[0][1]["data"])
    assert event["payload"]["taskId"] == TASK
    return event
