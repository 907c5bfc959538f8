"""Clients that tell a definite answer from one that leaves open what happened."""

from __future__ import annotations

import itertools
from typing import Protocol

import aiohttp
import grpc

from affix.v1.attachments_pb2_grpc import AttachmentServiceStub
from affix.v1.tasks_pb2_grpc import TaskServiceStub
from tests.harness.grpc_errors import call_error
from tests.harness.grpc_messages import METHODS
from tests.harness.json_text import dump, members, read_result
from tests.harness.wire import CallError, Params, Result

# A server that was killed is tried again soon, not after gRPC's minutes.
_OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 200),
    ("grpc.enable_retries", 0),
)


class BrokenError(Exception):
    """There was no answer: the connection broke, or could not be made."""


class NotSentError(BrokenError):
    """There is nobody to connect to: the call never left."""


class LateError(Exception):
    """There was no answer in time."""


class Client(Protocol):
    """One way to one server."""

    async def call(self, method: str, params: Params, seconds: float) -> Result:
        """Call a method. Raises CallError for an answer that is an error, the others for none."""
        ...


class GrpcClient:
    """Calls a server over gRPC."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._stubs = {
            "affix.v1.AttachmentService": AttachmentServiceStub(channel),
            "affix.v1.TaskService": TaskServiceStub(channel),
        }

    async def call(self, method: str, params: Params, seconds: float) -> Result:
        mapping = METHODS[method]
        call = getattr(self._stubs[mapping.service], mapping.rpc)
        try:
            response = await call(mapping.request(params), timeout=seconds)
        except grpc.aio.AioRpcError as error:
            if any(name == "grpc-status-details-bin" for name, _ in error.trailing_metadata() or ()):
                raise call_error(error) from None
            if error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                raise LateError from None
            # What gRPC says when no connection could be made, hence nothing was sent.
            if "failed to connect to all addresses" in (error.details() or ""):
                raise NotSentError from None
            raise BrokenError(f"{error.code().name} {error.details()}") from None
        return mapping.result(response, params)


class JsonRpcClient:
    """Calls a server over JSON-RPC."""

    def __init__(self, url: str, session: aiohttp.ClientSession) -> None:
        self._url = f"{url}/rpc"
        self._session = session
        self._ids = itertools.count(1)

    async def call(self, method: str, params: Params, seconds: float) -> Result:
        body = dump({"jsonrpc": "2.0", "method": method, "params": dict(params), "id": next(self._ids)})
        limit = aiohttp.ClientTimeout(total=seconds)
        headers = {"content-type": "application/json"}
        try:
            async with self._session.post(self._url, data=body.encode(), headers=headers, timeout=limit) as response:
                text = await response.text(encoding="utf-8")
        except aiohttp.ClientConnectorError:
            raise NotSentError from None
        except TimeoutError:
            raise LateError from None
        except (aiohttp.ClientError, OSError) as error:
            raise BrokenError(type(error).__name__) from None
        return _result(text)


def _result(text: str) -> Result:
    answer = members(text)
    if "result" in answer:
        return read_result(answer["result"])
    error = read_result(answer["error"])
    raise CallError(error["code"], error["message"], error.get("data", {}))


def open_channel(address: str) -> grpc.aio.Channel:
    """Open a channel that no other client of this process shares."""
    return grpc.aio.insecure_channel(address, options=(*_OPTIONS, ("grpc.use_local_subchannel_pool", 1)))
