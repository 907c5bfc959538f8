"""`/ws`: every method as on `POST /rpc`, and subscriptions."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Coroutine
from contextlib import suppress
from typing import Any, Final

import structlog
from aiohttp import WSCloseCode, WSMsgType, web
from msgspec import Raw
from msgspec.json import encode

from affix_shim.errors import shutting_down
from affix_shim.gateway import Caller, Gateway
from affix_shim.jsonrpc import JsonRpcError, answer, error_object, internal_error
from affix_shim.methods import SUBSCRIBE, UNSUBSCRIBE
from affix_shim.params import open_params
from affix_shim.request_ids import REQUEST_ID, current
from affix_shim.results import Result
from affix_shim.violations import Violation, invalid_params
from affix_shim.watches import Watch, Watches

_log = structlog.get_logger()
_PING_SECONDS: Final = 30.0
_CLOSE_SECONDS: Final = 1.0
_MAX_SUBSCRIPTIONS: Final = 100
# So many messages of one connection are answered at the same time; further ones are not read meanwhile.
_MAX_IN_FLIGHT: Final = 100


class WebSockets:
    """GET /ws."""

    def __init__(self, gateway: Gateway, watches: Watches, max_message_bytes: int, max_batch: int) -> None:
        """Answer by the gateway, and subscribe to watches."""
        self._max_batch = max_batch
        self._gateway = gateway
        self._watches = watches
        self._max_message_bytes = max_message_bytes
        self._open: set[_Conversation] = set()

    async def handle(self, request: web.Request) -> web.WebSocketResponse:
        """Talk until the client or this process ends."""
        socket = web.WebSocketResponse(
            heartbeat=_PING_SECONDS, timeout=_CLOSE_SECONDS, compress=False, max_msg_size=self._max_message_bytes
        )
        if (request_id := current.get(None)) is not None:
            socket.headers[REQUEST_ID] = request_id
        await socket.prepare(request)
        caller = Caller(request.headers, request.remote)
        conversation = _Conversation(socket, self._gateway, self._watches, caller, self._max_batch)
        self._open.add(conversation)
        try:
            await conversation.run()
        finally:
            self._open.discard(conversation)
        return socket

    async def close(self) -> None:
        """End all conversations: what is under way is answered, subscriptions end with an error."""
        await asyncio.gather(*(conversation.shut_down() for conversation in self._open))


class _Conversation:
    """One connection."""

    def __init__(
        self, socket: web.WebSocketResponse, gateway: Gateway, watches: Watches, caller: Caller, max_batch: int
    ) -> None:
        self._socket = socket
        self._max_batch = max_batch
        self._gateway = gateway
        self._watches = watches
        self._caller = caller
        self._numbers = itertools.count(1)
        self._subscriptions: dict[str, asyncio.Task[None]] = {}
        self._opening = 0
        self._in_flight: set[asyncio.Task[None]] = set()
        self._room = asyncio.Semaphore(_MAX_IN_FLIGHT)

    async def run(self) -> None:
        try:
            async for message in self._socket:
                if message.type is WSMsgType.TEXT:
                    body = message.data.encode()
                elif message.type is WSMsgType.BINARY:
                    body = message.data
                else:
                    continue
                await self._room.acquire()
                self._spawn(self._answer(body))
        finally:
            under_way = [*self._in_flight, *self._subscriptions.values()]
            for task in under_way:
                task.cancel()
            await asyncio.gather(*under_way, return_exceptions=True)

    async def shut_down(self) -> None:
        if self._in_flight:
            await asyncio.wait(self._in_flight)
        for subscription, pump in list(self._subscriptions.items()):
            pump.cancel()
            with suppress(ConnectionError):
                await self._tell(subscription, error=error_object(shutting_down()))
        await self._socket.close(code=WSCloseCode.GOING_AWAY, message=b"shutting down")

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._in_flight.add(task)
        task.add_done_callback(self._in_flight.discard)

    async def _answer(self, body: bytes) -> None:
        begun: dict[str, Watch] = {}

        async def handle(method: str, params: Raw) -> Result | Raw | bytes:
            if method == SUBSCRIBE:
                return await self._subscribe(params, begun)
            if method == UNSUBSCRIBE:
                return await self._unsubscribe(params)
            return await self._gateway.call(method, params, self._caller)

        try:
            answered = await answer(body, handle, self._max_batch)
            if answered is not None:
                await self._send(answered)
            # Only now does the client know its subscriptions.
            while begun:
                subscription, watch = begun.popitem()
                self._subscriptions[subscription] = asyncio.create_task(self._pump(subscription, watch))
                self._opening -= 1
        except ConnectionError:
            pass  # the client has gone; the reader finds out as well
        finally:
            self._room.release()
            self._opening -= len(begun)
            for watch in begun.values():
                await watch.close()

    async def _subscribe(self, params: Raw, begun: dict[str, Watch]) -> Result:
        if len(self._subscriptions) + self._opening >= _MAX_SUBSCRIPTIONS:
            why = f"may be subscribed to {_MAX_SUBSCRIPTIONS} times a connection, no more"
            raise invalid_params([Violation("params", why)], {})
        self._opening += 1
        try:
            watch = await self._watches.begin(params, self._caller)
        except BaseException:
            self._opening -= 1
            raise
        subscription = f"s-{next(self._numbers)}"
        begun[subscription] = watch
        return {"subscriptionId": subscription, "resumeToken": watch.token}

    async def _unsubscribe(self, text: Raw) -> Result:
        violations: list[Violation] = []
        params = open_params(text, violations)
        subscription = ""
        if params is not None:
            subscription = params.required_string("subscriptionId")
            params.close()
        pump = self._subscriptions.get(subscription)
        if pump is None and not violations:
            violations.append(Violation("subscriptionId", "is not a subscription of this connection"))
        if violations or pump is None:
            raise invalid_params(violations, {})
        pump.cancel()
        await asyncio.wait((pump,))
        return {"subscriptionId": subscription, "unsubscribed": True}

    async def _pump(self, subscription: str, watch: Watch) -> None:
        """Pass on events until the subscription ends; the client's slowness is passed back to where they come from."""
        try:
            async for event in watch.events():
                await self._tell(subscription, event=event, resumeToken=watch.token)
        except JsonRpcError as error:
            await self._tell(subscription, error=error_object(error))
        except ConnectionError:
            pass  # the client has gone, and so does all of this
        except Exception:  # noqa: BLE001 - whatever our fault is, the client hears of it and the log has the rest
            _log.exception("watch_failed")
            await self._tell(subscription, error=error_object(internal_error()))
        finally:
            self._subscriptions.pop(subscription, None)
            await watch.close()

    async def _tell(self, subscription: str, **what: object) -> None:
        params = {"subscriptionId": subscription, **what}
        await self._send(encode({"jsonrpc": "2.0", "method": "task.subscription", "params": params}))

    async def _send(self, text: bytes) -> None:
        await self._socket.send_str(text.decode())
