"""The service over gRPC, through the generated stubs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import grpc

from affix.v1.attachments_pb2_grpc import AttachmentServiceStub
from affix.v1.tasks_pb2_grpc import TaskServiceStub
from tests.harness.grpc_errors import call_error
from tests.harness.grpc_messages import METHODS
from tests.harness.secrecy import judge_error, keep
from tests.harness.wire import Params, Result

DEADLINE_SECONDS = 20.0
OPTIONS = (("grpc.max_receive_message_length", 64 * 1024 * 1024), ("grpc.max_send_message_length", 64 * 1024 * 1024))


class GrpcWire:
    """Calls the services of `affix.v1` on a channel."""

    name = "grpc"

    def __init__(self, channel: grpc.aio.Channel, *, token: str | None = None) -> None:
        self.channel = channel
        self._token = token
        self._credentials = (("authorization", f"Bearer {token}"),) if token is not None else ()
        self._stubs = {
            "affix.v1.AttachmentService": AttachmentServiceStub(channel),
            "affix.v1.TaskService": TaskServiceStub(channel),
        }

    async def call(self, method: str, params: Params, *, instance: str | None = None) -> Result:
        secrets = keep(params, self._token)
        metadata = (*self._credentials, *((("x-instance-id", instance),) if instance is not None else ()))
        try:
            if method not in METHODS:
                await self.raw(f"/affix.v1.TaskService/{method.removeprefix('task.')}", b"")
                raise AssertionError(f"{method} is answered and the harness does not know it")
            mapping = METHODS[method]
            call = getattr(self._stubs[mapping.service], mapping.rpc)
            response = await call(mapping.request(params), metadata=metadata, timeout=DEADLINE_SECONDS)
        except grpc.aio.AioRpcError as error:
            refused = call_error(error)
            judge_error(secrets, refused)
            raise refused from None
        return mapping.result(response, params)

    async def raw(self, path: str, request: bytes) -> bytes:
        """Call any path with any bytes; return the bytes of the answer. Raises grpc.aio.AioRpcError."""
        call: Callable[..., Awaitable[bytes]] = self.channel.unary_unary(path)
        return await call(request, timeout=DEADLINE_SECONDS)
