"""A gRPC service that writes down what it is asked and answers what it is told to."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as Packed
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2

from affix.v1 import attachments_pb2, tasks_pb2

SERVICES: tuple[ServiceDescriptor, ...] = (
    attachments_pb2.DESCRIPTOR.services_by_name["AttachmentService"],
    tasks_pb2.DESCRIPTOR.services_by_name["TaskService"],
)


@dataclass(frozen=True)
class Refusal:
    """A status with details, as the service explains its errors."""

    code: grpc.StatusCode
    message: str
    details: Sequence[Message] = ()

    @property
    def trailing_metadata(self) -> tuple[tuple[str, bytes], ...]:
        if not self.details:
            return ()
        status = status_pb2.Status(code=self.code.value[0], message=self.message)
        for detail in self.details:
            packed = Packed()
            packed.Pack(detail)
            status.details.append(packed)
        return (("grpc-status-details-bin", status.SerializeToString()),)


def reason(name: str, **metadata: str) -> Message:
    """Make the ErrorInfo of the service."""
    info: Message = error_details_pb2.ErrorInfo(reason=name, domain="affix", metadata=metadata)
    return info


@dataclass(frozen=True)
class Call:
    """One call as it arrived."""

    method: str
    request: Any
    metadata: dict[str, str | bytes]


Answer = Message | Refusal | Callable[[Any], Message]


@dataclass
class Recorder:
    """All methods of both services: `answers` by name of the RPC, the empty response otherwise."""

    answers: dict[str, Answer] = field(default_factory=dict)
    calls: list[Call] = field(default_factory=list)

    def reset(self) -> None:
        self.answers.clear()
        self.calls.clear()

    def handlers(self) -> list[grpc.GenericRpcHandler]:
        return [
            grpc.method_handlers_generic_handler(
                service.full_name,
                {
                    method.name: grpc.unary_unary_rpc_method_handler(
                        self._behaviour(method.name, GetMessageClass(method.output_type)),
                        request_deserializer=GetMessageClass(method.input_type).FromString,
                        response_serializer=GetMessageClass(method.output_type).SerializeToString,
                    )
                    for method in service.methods
                },
            )
            for service in SERVICES
        ]

    def _behaviour(self, name: str, response: type[Message]) -> Any:
        async def serve(request: Message, context: grpc.aio.ServicerContext[Any, Any]) -> Message:
            self.calls.append(Call(name, request, dict(context.invocation_metadata() or ())))
            answer = self.answers.get(name, response())
            if isinstance(answer, Refusal):
                await context.abort(answer.code, answer.message, answer.trailing_metadata)
            return answer if isinstance(answer, Message) else answer(request)

        return serve
