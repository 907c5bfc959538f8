"""Any bytes, sent to any method: an answer, or an error that somebody thought of."""

from __future__ import annotations

import os
from typing import Any

import grpc
import pytest
from google.protobuf.message_factory import GetMessageClass
from hypothesis import example, given, settings
from hypothesis import strategies as st

from affix.v1 import attachments_pb2, tasks_pb2
from tests.harness.grpc_wire import GrpcWire

# More than CI tries, and others each time: AFFIX_FUZZ_EXAMPLES=10000 pytest tests/hostile/test_fuzz_grpc.py
EXAMPLES = int(os.environ.get("AFFIX_FUZZ_EXAMPLES", "0"))
FUZZ = settings(max_examples=EXAMPLES or 100, derandomize=not EXAMPLES, deadline=None, database=None)

METHODS = {
    f"/{service.full_name}/{method.name}": method
    for module in (attachments_pb2, tasks_pb2)
    for service in module.DESCRIPTOR.services_by_name.values()
    for method in service.methods
}
# What a request may be answered with, whatever is in it.
EXPECTED = {
    grpc.StatusCode.INVALID_ARGUMENT,
    grpc.StatusCode.NOT_FOUND,
    grpc.StatusCode.ABORTED,
    grpc.StatusCode.OUT_OF_RANGE,
    grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def _varint(number: int) -> bytes:
    digits = bytearray()
    while number >= 128:
        digits.append(number % 128 + 128)
        number //= 128
    return bytes((*digits, number))


VARINT = st.integers(0, 2**64 - 1).map(_varint) | st.binary(max_size=11)
NUMBERS = st.integers(1, 20) | st.integers(0, 2**29 - 1)
STRINGS = st.text(max_size=20).map(str.encode) | st.binary(max_size=20) | st.sampled_from([b"t-1", b"k", b"{}", b"[1"])


def _field(kind: int, body: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(lambda number, text: _varint(number << 3 | kind) + text, NUMBERS, body)


def _long(body: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return _field(2, body.map(lambda text: _varint(len(text)) + text))


FIELDS = st.recursive(
    _field(0, VARINT)
    | _field(1, st.binary(min_size=8, max_size=8))
    | _field(5, st.binary(min_size=4, max_size=4))
    | _long(STRINGS),
    lambda fields: _long(st.lists(fields, max_size=4).map(b"".join)),
    max_leaves=12,
)
MESSAGES = st.binary(max_size=60) | st.lists(FIELDS, max_size=8).map(b"".join)


@pytest.mark.parametrize("path", METHODS)
@FUZZ
@given(request=MESSAGES)
@example(request=b"")
@example(request=b"\x0a\xff\xff\xff\xff\x0f")
@example(request=b"\x0a\x02" * 40)
@example(request=b"\x0b" * 200)
async def test_any_bytes(grpc_wire: GrpcWire, path: str, request: bytes) -> None:
    method: Any = METHODS[path]
    try:
        if method.server_streaming:
            begin: Any = grpc_wire.channel.unary_stream(path)
            stream = begin(request, timeout=20)
            answer = await stream.read()
            stream.cancel()
        else:
            answer = await grpc_wire.raw(path, request)
    except grpc.aio.AioRpcError as error:
        code = error.code()
    else:
        GetMessageClass(method.output_type).FromString(answer)
        return
    assert code in EXPECTED
