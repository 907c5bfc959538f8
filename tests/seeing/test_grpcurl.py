"""What a person with grpcurl sees of an error: the google.rpc details, decoded."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

from tests.harness.grpc_wire import GrpcWire
from tests.harness.processes import AFFIX, READY_SECONDS
from tests.harness.samples import create
from tests.harness.service import Service, serving
from tests.seeing.conftest import Settings

_DETAIL = re.compile(r"^  \d+\)\t(\{.*\})$", re.MULTILINE)
_TYPE = "type.googleapis.com/google.rpc."


async def failure(
    address: str, method: str, request: dict[str, Any], instance: str = "g"
) -> tuple[str, dict[str, dict[str, Any]]]:
    """Call a method, which must fail; return the code, and the details by their types, as grpcurl shows them."""
    process = await asyncio.create_subprocess_exec(
        AFFIX.parent / "grpcurl",
        *("-plaintext", "-H", f"x-instance-id: {instance}"),
        *("-d", json.dumps(request), address, f"affix.v1.{method}"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    async with asyncio.timeout(READY_SECONDS):
        _, err = await process.communicate()
    text = err.decode()
    assert process.returncode != 0, text
    details = [json.loads(detail) for detail in _DETAIL.findall(text)]
    code = re.search(r"Code: (\w+)", text)
    assert code, text
    return code[1], {detail.pop("@type").removeprefix(_TYPE): detail for detail in details}


async def test_a_bad_parameter_is_named(server: Service) -> None:
    code, details = await failure(server.grpc_address, "AttachmentService/GetAttachment", {"taskId": "a b"})
    assert code == "InvalidArgument"
    assert details == {
        "ErrorInfo": {"reason": "INVALID_PARAMS", "domain": "affix", "metadata": {"taskId": "a b"}},
        "BadRequest": {
            "field_violations": [
                {"field": "task_id", "description": "must consist of A-Z a-z 0-9 . _ - only"},
                {"field": "key", "description": "is required"},
            ]
        },
    }


async def test_what_is_not_there_is_named(server: Service, task: str) -> None:
    code, details = await failure(server.grpc_address, "AttachmentService/GetAttachment", {"taskId": task, "key": "k"})
    assert code == "NotFound"
    metadata = {"taskId": task, "key": "k"}
    assert details == {
        "ErrorInfo": {"reason": "ATTACHMENT_NOT_FOUND", "domain": "affix", "metadata": metadata},
        "ResourceInfo": {"resource_type": "attachment", "resource_name": f"{task}/k"},
    }


async def test_a_conflict_tells_the_revision(server: Service, grpc_wire: GrpcWire, task: str) -> None:
    await create(grpc_wire, task, "k")
    request = {"taskId": task, "key": "k", "ifAbsent": True, "text": {"content": "x"}}
    code, details = await failure(server.grpc_address, "AttachmentService/CreateAttachment", request)
    assert code == "Aborted"
    assert details["ErrorInfo"]["reason"] == "CONFLICT"
    assert int(details["ErrorInfo"]["metadata"]["currentRevision"]) > 0
    assert details["ResourceInfo"] == {"resource_type": "attachment", "resource_name": f"{task}/k"}


async def test_a_refusal_tells_when_to_come_back(stores: Settings, folder: Path) -> None:
    request = {"taskId": "t-none", "key": "k"}
    async with serving({**stores, "AFFIX_DELETE_RATE_LIMIT": "1/minute"}, folder / "grpcurl.log") as limited:
        method = "AttachmentService/DeleteAttachment"
        await failure(limited.grpc_address, method, request, "grpcurl")
        code, details = await failure(limited.grpc_address, method, request, "grpcurl")
    assert code == "ResourceExhausted"
    assert details["ErrorInfo"]["reason"] == "RATE_LIMITED"
    assert 0 < float(details["RetryInfo"]["retry_delay"].removesuffix("s")) <= 61
