"""The Redis client: one shared connection, re-made when lost, with our scripts loaded."""

from __future__ import annotations

import asyncio
import hashlib
import importlib.resources
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qs, unquote, urlsplit

import hiredis

from affix_server.errors import StartError, StorageUnavailableError
from affix_server.storage.redis.connection import (
    Command,
    Connection,
    ConnectionLostError,
    Reply,
    ReplyTimeoutError,
)
from affix_server.storage.redis.tls import Tls, tls_of
from affix_server.storage.single_flight import SingleFlight


class CacheUnavailableError(StorageUnavailableError):
    """Redis failed, or did not answer in time; the commands may or may not have been done."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a Redis URL points, and how to introduce oneself there."""

    host: str
    port: int
    path: str | None
    tls: Tls | None
    username: str | None
    password: str | None
    db: int

    @classmethod
    def parse(cls, url: str) -> Address:
        """Parse `redis://`, `rediss://` or `unix://`; StartError says what is wrong with it."""
        parts = urlsplit(url)
        query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
        try:
            db = int(query.get("db") or (parts.path.strip("/") if parts.scheme != "unix" else "") or 0)
            port = parts.port or 6379
        except ValueError:
            raise StartError("AFFIX_REDIS_URL: the port and the database must be numbers") from None
        if parts.scheme not in {"redis", "rediss", "unix"}:
            raise StartError("AFFIX_REDIS_URL must begin with redis://, rediss:// or unix://")
        secret = parts.password if parts.password is not None else query.get("password")
        return cls(
            host=parts.hostname or "localhost",
            port=port,
            path=unquote(parts.path) if parts.scheme == "unix" else None,
            tls=tls_of(parts.scheme, query),
            username=unquote(parts.username) if parts.username else query.get("username"),
            password=unquote(secret) if secret else None,
            db=db,
        )

    def greeting(self) -> list[Command]:
        """Return the commands that open a session."""
        commands: list[Command] = []
        if self.password is not None:
            commands.append(("AUTH", self.username, self.password) if self.username else ("AUTH", self.password))
        if self.db:
            commands.append(("SELECT", self.db))
        commands.append(("CLIENT", "SETNAME", "affix"))
        return commands


class Script:
    """A Lua script from `lua/`, called by its SHA-1."""

    def __init__(self, *names: str) -> None:
        """Read `lua/{name}.lua`; where there are several, one behind the other."""
        self.name = names[-1]
        folder = importlib.resources.files(__package__) / "lua"
        self.source = "".join((folder / f"{name}.lua").read_text() for name in names)
        self.sha = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    def __call__(self, keys: Sequence[str | bytes], *args: str | bytes | float) -> Command:
        """Return the command that runs it."""
        return ("EVALSHA", self.sha, len(keys), *keys, *args)


class RedisClient:
    """Runs pipelines on one connection; safe for any number of concurrent callers.

    Every method raises CacheUnavailableError when Redis cannot be reached or
    does not answer within `timeout` seconds; the commands may have been done then.
    """

    def __init__(
        self,
        url: str,
        *,
        reply_timeout: float,
        scripts: Sequence[Script],
        observe: Callable[[float], None] | None = None,
    ) -> None:
        """Remember where Redis is; `connect` or the first command connects.

        `observe` is told how many seconds each answered round trip took.
        """
        self._address = Address.parse(url)
        self._timeout = reply_timeout
        self._scripts = scripts
        self._observe = observe or _unobserved
        self._connection: Connection | None = None
        self._attempts: SingleFlight[Connection] = SingleFlight()
        self.on_fault: Callable[[], None] = _ignore
        self.on_late: Callable[[], None] = _ignore

    async def connect(self) -> None:
        """Connect now, if not connected."""
        try:
            await self._ready()
        except (ConnectionLostError, OSError) as fault:
            raise _translated(fault) from None

    async def close(self) -> None:
        """Close the connection; what is in flight fails."""
        if self._connection is not None:
            self._connection.close()

    async def pipeline(self, commands: Sequence[Command]) -> list[Reply]:
        """Run commands in one round trip and return their replies in order.

        A reply may be a hiredis.ReplyError: the caller knows which it can take.
        """
        if not commands:
            return []
        try:
            connection = self._at_hand() or await self._ready()
            replies = await connection.send(commands)
            if hiredis.ReplyError in map(type, replies):
                await self._rerun_unknown_scripts(connection, commands, replies)
        except (ConnectionLostError, OSError) as fault:
            raise _translated(fault) from None
        return replies

    async def ask(self, command: Command, weight: int = 0) -> Reply:
        """Run one command, as `pipeline` runs several, and return its reply; for `weight` see Connection.ask."""
        try:
            connection = self._at_hand() or await self._ready()
            reply = await connection.ask(command, weight)
        except (ConnectionLostError, OSError) as fault:
            raise _translated(fault) from None
        if type(reply) is hiredis.ReplyError and _is_error(reply, "NOSCRIPT"):
            (reply,) = await self.pipeline((command,))
        return reply

    async def ask_whether(self, question: bytes, answer: bytes, count: int = 1) -> list[Reply] | None:
        """Run commands that need not be parsed, nor what they answer; for both see Connection.ask_whether."""
        try:
            connection = self._at_hand() or await self._ready()
            return await connection.ask_whether(question, answer, count)
        except (ConnectionLostError, OSError) as fault:
            raise _translated(fault) from None

    async def execute(self, *command: str | bytes | float) -> Reply:
        """Run one command; an error reply raises CacheUnavailableError."""
        (reply,) = await self.run((command,))
        return reply

    async def run(self, commands: Sequence[Command]) -> list[Reply]:
        """Run commands in one round trip; an error reply to any of them raises CacheUnavailableError."""
        return [accept(reply) for reply in await self.pipeline(commands)]

    async def _rerun_unknown_scripts(
        self, connection: Connection, commands: Sequence[Command], replies: list[Reply]
    ) -> None:
        """After a SCRIPT FLUSH: load ours again and run the calls that were refused."""
        refused = [i for i, reply in enumerate(replies) if _is_error(reply, "NOSCRIPT")]
        if refused:
            loads: list[Command] = [("SCRIPT", "LOAD", script.source) for script in self._scripts]
            again = await connection.send([*loads, *(commands[i] for i in refused)])
            for i, reply in zip(refused, again[len(loads) :], strict=True):
                replies[i] = reply

    async def _ready(self) -> Connection:
        """Return the connection, made anew if need be: one attempt, shared by all who wait for it."""
        return self._at_hand() or await self._attempts.run("connect", self._connect)

    def _at_hand(self) -> Connection | None:
        """Return the connection if it can be used: most calls need not wait for one."""
        connection = self._connection
        return connection if connection is not None and connection.usable else None

    async def _connect(self) -> Connection:
        try:
            async with asyncio.timeout(self._timeout):
                self._connection = await self._open()
        except TimeoutError:
            self._fault()
            raise ReplyTimeoutError("no connection in time") from None
        except OSError:
            self._fault()
            raise
        return self._connection

    def _fault(self) -> None:
        self.on_fault()

    def _late(self) -> None:
        self.on_late()

    async def _open(self) -> Connection:
        loop = asyncio.get_running_loop()
        address = self._address

        def new_connection() -> Connection:
            return Connection(self._timeout, on_fault=self._fault, on_late=self._late, observe=self._observe)

        if address.path is not None:
            _, connection = await loop.create_unix_connection(new_connection, address.path)
        else:
            # Read anew each time, so that a certificate that was replaced is used from the next connection on.
            context = None if address.tls is None else address.tls.context()
            _, connection = await loop.create_connection(new_connection, address.host, address.port, ssl=context)
        greeting = [*address.greeting(), *(("SCRIPT", "LOAD", script.source) for script in self._scripts)]
        for reply in await connection.send(greeting):
            if isinstance(reply, hiredis.ReplyError):
                connection.close()
                raise ConnectionLostError(str(reply))
        return connection


def _unobserved(_seconds: float) -> None:
    """Stand in for `observe` where nobody wants to know."""


def _ignore() -> None:
    """Stand in for `on_fault` and `on_late` until somebody wants to hear of them."""


def _translated(fault: Exception) -> CacheUnavailableError:
    """Turn a fault of the connection into ours, at the border of the store."""
    late = isinstance(fault, ReplyTimeoutError)
    return CacheUnavailableError("Cache connection timeout" if late else "Cache connection failed")


def _is_error(reply: Reply, kind: str) -> bool:
    return isinstance(reply, hiredis.ReplyError) and str(reply).startswith(kind)


def is_wrong_type(reply: Reply) -> bool:
    """Tell whether a key held another Redis type than ours."""
    return _is_error(reply, "WRONGTYPE")


def accept(reply: Reply) -> Reply:
    """Return a reply; an error reply raises CacheUnavailableError, its text kept from callers."""
    if isinstance(reply, hiredis.ReplyError):
        raise CacheUnavailableError("Cache refused the operation") from reply
    return reply
