"""How often a caller may call a method (design/contract.md, "Settings": `AFFIX_DELETE_RATE_LIMIT` and its like).

Moving windows of the library `limits` (docs/decisions/0001-dependencies.md). They are kept in Redis, so that all
server processes count together, and in each process' memory while Redis is away.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Mapping
from typing import Any

import structlog
from limits import RateLimitItem, parse
from limits.aio.storage import MemoryStorage, RedisStorage
from limits.aio.strategies import MovingWindowRateLimiter
from redis.asyncio import BlockingConnectionPool, Connection, SSLConnection, UnixDomainSocketConnection
from redis.exceptions import RedisError

from affix_server.config import NO_LIMIT, Settings
from affix_server.errors import RateLimitedError

KEY_PREFIX = "cb:limits"
# The setting of each method.
SETTINGS = {
    "CreateAttachment": "create_rate_limit",
    "GetAttachment": "get_rate_limit",
    "ListAttachments": "list_rate_limit",
    "DeleteAttachment": "delete_rate_limit",
    "BatchGetAttachments": "batch_get_rate_limit",
    "WatchAttachments": "watch_rate_limit",
    "CreateTask": "task_create_rate_limit",
    "GetTask": "task_get_rate_limit",
    "UpdateTask": "task_update_rate_limit",
    "ListTasks": "task_list_rate_limit",
    "CompleteTask": "task_complete_rate_limit",
    "DeleteTask": "task_delete_rate_limit",
}
_CONNECTIONS = 8
# How long Redis is left alone after a failure.
_AWAY_SECONDS = 1.0

_log = structlog.get_logger()


def limits_of(settings: Settings) -> dict[str, RateLimitItem]:
    """Return the limit of each method that has one, by the method's name."""
    notations = {method: getattr(settings, name) for method, name in SETTINGS.items()}
    return {method: parse(notation) for method, notation in notations.items() if notation != NO_LIMIT}


def connection_pool(address: Mapping[str, Any], *, longest_seconds: float) -> BlockingConnectionPool:
    """Make a pool for Redis at an address with the fields of storage.redis.client.Address; nothing connects yet.

    No connection waits for Redis longer than `longest_seconds`, nor tries twice.
    """
    place: dict[str, Any]
    if address["path"] is not None:
        place = {"connection_class": UnixDomainSocketConnection, "path": address["path"]}
    else:
        place = {"connection_class": Connection, "host": address["host"], "port": address["port"]}
    if address["tls"] is not None:
        place |= {"connection_class": SSLConnection, "ssl_check_hostname": True}
        for name, option in (("ca", "ssl_ca_certs"), ("certificate", "ssl_certfile"), ("key", "ssl_keyfile")):
            place[option] = address["tls"][name]
    return BlockingConnectionPool(
        max_connections=_CONNECTIONS,
        timeout=longest_seconds,
        socket_timeout=longest_seconds,
        socket_connect_timeout=longest_seconds,
        retry=None,
        db=address["db"],
        username=address["username"],
        password=address["password"],
        client_name="affix-limits",
        **place,
    )


class RateLimits:
    """Counts calls. Safe for any number of concurrent callers; all processes with the same Redis share the counts.

    While Redis fails or is late, each process counts by itself, beginning
    with nothing: a caller may then call as often as the limit says at every process.
    """

    def __init__(self, pool: BlockingConnectionPool, *, longest_seconds: float) -> None:
        """Count in the Redis of `pool`, which stays the caller's to close; ask it for `longest_seconds` at most."""
        # Its options are typed as those of a URL; a pool is what `use_basic` takes instead of one.
        options: dict[str, Any] = {"connection_pool": pool}
        storage = RedisStorage("async+redis://", implementation="redispy", key_prefix=KEY_PREFIX, **options)
        self._shared = MovingWindowRateLimiter(storage)
        self._own = MovingWindowRateLimiter(MemoryStorage())
        self._longest_seconds = longest_seconds
        self._away = False
        self._ask_again = 0.0

    async def count(self, limit: RateLimitItem, calls: int, method: str, caller: str) -> None:
        """Count calls, all or none. Raises RateLimitedError when the caller has not so many left of the limit."""
        if not await self._shared_window(limit, calls, method, caller):
            await _take(self._own, limit, calls, method, caller)

    async def _shared_window(self, limit: RateLimitItem, calls: int, method: str, caller: str) -> bool:
        """Count in Redis; False if it is away, which only one call a second finds out by waiting."""
        now = time.monotonic()
        if self._away:
            if now < self._ask_again:
                return False
            self._ask_again = now + _AWAY_SECONDS
        try:
            async with asyncio.timeout(self._longest_seconds):
                await _take(self._shared, limit, calls, method, caller)
        except (RedisError, OSError):  # asyncio's TimeoutError is an OSError
            self._lost()
            return False
        except RateLimitedError:
            self._found()
            raise
        self._found()
        return True

    def _lost(self) -> None:
        self._ask_again = time.monotonic() + _AWAY_SECONDS
        if not self._away:
            self._away = True
            _log.warning("rate_limits_per_process")

    def _found(self) -> None:
        if self._away:
            self._away = False
            _log.info("rate_limits_shared")


async def _take(windows: MovingWindowRateLimiter, limit: RateLimitItem, calls: int, *names: str) -> None:
    if not await windows.hit(limit, *names, cost=calls):
        left = (await windows.get_window_stats(limit, *names)).reset_time - time.time()
        # A call leaves the window after this moment, not at it.
        raise RateLimitedError(max(math.ceil(left * 1000), 0) + 1)
