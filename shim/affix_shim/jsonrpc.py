"""The JSON-RPC 2.0 envelope: bytes in, bytes out, whatever carries them and whatever answers.

Source of the rules: https://www.jsonrpc.org/specification and design/contract.md,
"JSON-RPC 2.0, the corners". JSON is never parsed and printed again: ids, parameters
and results travel as `msgspec.Raw`, the text as it was written.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Final, Literal

import structlog
from msgspec import DecodeError, Raw, Struct, ValidationError
from msgspec.json import Decoder, Encoder

from affix_shim.arrays import MOST_ITEMS, items_of

PARSE_ERROR: Final = -32700
INVALID_REQUEST: Final = -32600
METHOD_NOT_FOUND: Final = -32601
INVALID_PARAMS: Final = -32602
INTERNAL_ERROR: Final = -32603

MAX_BATCH: Final = 100

Handler = Callable[[str, Raw], Awaitable[object]]
"""Answer one call: method name and the text of `params` (empty when absent) to a result.

The result is anything msgspec can encode, or bytes: its text. Raise JsonRpcError to answer with an error.
"""

_NULL: Final = Raw(b"null")
_log = structlog.get_logger()


class JsonRpcError(Exception):
    """An error as the caller sees it; `data` is left out of the answer when None."""

    def __init__(self, code: int, message: str, data: Mapping[str, object] | None = None) -> None:
        """Carry the three members of a JSON-RPC error object."""
        super().__init__(code, message, data)
        self.code = code
        self.message = message
        self.data = data


class _Call(Struct, gc=False):
    """A request object as nearly all are; what does not fit is looked at as an `_Envelope`."""

    jsonrpc: Literal["2.0"]
    method: str
    params: Raw = Raw()
    id: Raw = Raw()


class _Envelope(Struct, gc=False):
    """An object that may be a request; an absent member is an empty Raw. Members of other names are ignored."""

    jsonrpc: Raw = Raw()
    method: Raw = Raw()
    params: Raw = Raw()
    id: Raw = Raw()


_call: Final = Decoder(_Call)
_envelope: Final = Decoder(_Envelope)
_any: Final = Decoder(Raw)
_string: Final = Decoder(str)
_encode: Final = Encoder().encode

_KINDS: Final = {
    ord('"'): "a string",
    ord("{"): "an object",
    ord("["): "an array",
    ord("t"): "a boolean",
    ord("f"): "a boolean",
    ord("n"): "null",
}


def kind(text: Raw) -> str:
    """Say what a JSON text is: "a string", "an object", "null", …; the text is not empty."""
    return _KINDS.get(memoryview(text)[0], "a number")


def internal_error() -> JsonRpcError:
    """Make the answer for a fault of our own; it says nothing about the fault."""
    return JsonRpcError(INTERNAL_ERROR, "Internal error", {"reason": "INTERNAL"})


def error_answer(error: JsonRpcError, id_: Raw = _NULL) -> bytes:
    """Encode an error answer; `id_` is the request's id as written."""
    return _encode({"jsonrpc": "2.0", "error": error_object(error), "id": id_})


def error_object(error: JsonRpcError) -> dict[str, object]:
    """Make the error object of an answer, for what is told in another frame too."""
    body: dict[str, object] = {"code": error.code, "message": error.message}
    if error.data is not None:
        body["data"] = error.data
    return body


async def answer(body: bytes, handle: Handler, max_batch: int = MAX_BATCH) -> bytes | None:
    """Answer a request or a batch of at most `max_batch`; None when there is nothing to say (notifications only).

    The items of a batch run concurrently and are answered in their order. Never
    raises for anything in `body`: what `handle` raises becomes an error answer,
    an exception that is no JsonRpcError is logged and answered with -32603.
    """
    try:
        parsed = _parse(body, max_batch)
    except JsonRpcError as error:
        return error_answer(error)
    if not isinstance(parsed, list):
        return await _answer_one(parsed, handle)
    answers = [a for a in await asyncio.gather(*(_answer_item(item, handle) for item in parsed)) if a is not None]
    return b"[" + b",".join(answers) + b"]" if answers else None


def _parse(body: bytes, max_batch: int) -> _Call | _Envelope | list[Raw]:
    """Decode an object, or the items of a batch, which are JSON but may be no requests."""
    try:
        if not body.isascii():
            body.decode()  # msgspec does not look for invalid UTF-8 inside strings it passes over
        # Most bodies are one object, so the type is found out by trying.
        try:
            return _object(body)
        except ValidationError:
            pass
        try:
            items = items_of(body)
        except ValidationError:
            text = _any.decode(body)  # a type error comes before the syntax is checked to the end
            raise _invalid_request(f"a request must be an object or a batch, not {kind(text)}") from None
    except UnicodeDecodeError as error:
        raise JsonRpcError(PARSE_ERROR, f"Parse error: invalid UTF-8 (byte {error.start})") from error
    except RecursionError as error:
        raise JsonRpcError(PARSE_ERROR, "Parse error: nested too deeply") from error
    except DecodeError as error:
        raise JsonRpcError(PARSE_ERROR, f"Parse error: {_syntax(error)}") from error
    if items is not None and 1 <= len(items) <= max_batch:
        return items
    actual = f"more than {MOST_ITEMS}" if items is None else str(len(items))
    raise _invalid_request(f"a batch must hold 1 to {max_batch} requests, not {actual}")


def _object(text: bytes | Raw) -> _Call | _Envelope:
    """Decode a request object, or what may be one. Raises ValidationError when it is no object."""
    try:
        return _call.decode(text)
    except ValidationError:
        return _envelope.decode(text)


def _syntax(error: DecodeError) -> str:
    """Say what is wrong with the JSON; msgspec calls a lone surrogate truncated too."""
    text = str(error).removeprefix("JSON is malformed: ")
    return "the text ends early or holds a lone surrogate" if "truncated" in text else text


def _invalid_request(what: str) -> JsonRpcError:
    return JsonRpcError(INVALID_REQUEST, f"Invalid Request: {what}")


async def _answer_item(item: Raw, handle: Handler) -> bytes | None:
    try:
        called = _object(item)
    except ValidationError:
        return error_answer(_invalid_request(f"a request must be an object, not {kind(item)}"))
    return await _answer_one(called, handle)


async def _answer_one(called: _Call | _Envelope, handle: Handler) -> bytes | None:
    """Answer a request object; None for a notification, whatever becomes of it."""
    id_ = called.id
    try:
        method = _check(called)
    except JsonRpcError as error:  # not a Request, so not a notification either: always answered
        return error_answer(error, id_ if _is_id(id_) else _NULL)
    try:
        result = await handle(method, called.params)
        if not len(id_):
            return None
        text = result if isinstance(result, bytes) else _encode(result)
        return b"".join((b'{"jsonrpc":"2.0","result":', text, b',"id":', id_, b"}"))
    except JsonRpcError as error:
        failure = error
    except Exception:  # noqa: BLE001  # whatever our fault is, the caller gets an answer and the log the rest
        _log.exception("answer_failed", method=method)
        failure = internal_error()
    return error_answer(failure, id_) if len(id_) else None


def _check(envelope: _Call | _Envelope) -> str:
    """Give the method's name. Raises JsonRpcError (-32600) when the object is no Request."""
    if len(envelope.id) and not _is_id(envelope.id):
        raise _invalid_request(f"id must be a string, a number or null, not {kind(envelope.id)}")
    if isinstance(envelope, _Call):
        return envelope.method
    if _text_of(envelope.jsonrpc) != "2.0":
        raise _invalid_request('jsonrpc must be "2.0"')
    method = _text_of(envelope.method)
    if method is None:
        what = f"must be a string, not {kind(envelope.method)}" if len(envelope.method) else "is required"
        raise _invalid_request(f"method {what}")
    return method


def _is_id(text: Raw) -> bool:
    return bool(len(text)) and kind(text) in {"a string", "a number", "null"}


def _text_of(text: Raw) -> str | None:
    return _string.decode(text) if len(text) and memoryview(text)[0] == ord('"') else None
