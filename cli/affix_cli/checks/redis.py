"""Redis or Valkey: reachable, fit, and keeping what only it has."""

from __future__ import annotations

import time
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import AuthenticationError, RedisError

from affix_cli.checks.findings import Finding, clock, ok, problem, warning
from affix_server.config import NO_POSTGRES, Settings
from affix_server.storage.redis.names import PROBE

_SECONDS = 5.0
_OLDEST = (6, 2)
_FULL = 0.9
_PASSWORD_WANTED = ("authenticated", "NOAUTH", "username-password")
# So many clients a process: one for calls, two for watches, eight for rate limits.
_CLIENTS_A_PROCESS = 11


async def look_at_redis(url: str, settings: Settings) -> list[Finding]:
    """Look at the Redis that a URL names."""
    try:
        client = Redis.from_url(url, socket_timeout=_SECONDS, socket_connect_timeout=_SECONDS, retry=None)
    except ValueError as fault:
        return [problem("redis", f"its URL cannot be read: {fault}", "see AFFIX_REDIS_URL")]
    async with client:
        try:
            await client.ping()
            info: dict[str, Any] = await client.info()
            theirs, asked, answered = await _time(client)
        except (OSError, RedisError) as fault:
            return [_unusable(fault)]
        return [
            ok("redis", "answers"),
            _version(info),
            _mode(info),
            await _writable(client),
            await _scripts(client),
            _persistence(info, alone=settings.postgres_dsn == NO_POSTGRES),
            _eviction(info),
            _memory(info),
            await _clients(client, settings),
            await _notifications(client),
            clock("redis.clock", theirs, asked, answered),
        ]


def _unusable(fault: Exception) -> Finding:
    said = str(fault).splitlines()[0].rstrip(".")
    if isinstance(fault, AuthenticationError) or any(
        word in said for word in ("authenticated", "NOAUTH", "username-password")
    ):
        what = "asks for a password, or for another one"
        return problem("redis", what, "put user and password into AFFIX_REDIS_URL: redis://user:password@host:6379/0")
    return problem("redis", f"cannot be used: {said}", "see that it runs, and that AFFIX_REDIS_URL names it")


async def _time(client: Redis) -> tuple[float, float, float]:
    asked = time.time()
    seconds, microseconds = await client.time()
    return seconds + microseconds / 1_000_000, asked, time.time()


def _version(info: dict[str, Any]) -> Finding:
    name = "Valkey" if "valkey_version" in info else "Redis"
    version = str(info.get("valkey_version") or info["redis_version"])
    # Valkey says which Redis it stands for.
    if tuple(int(part) for part in str(info["redis_version"]).split(".")[:2]) < _OLDEST:
        return problem("redis.version", f"is {name} {version}", "use Redis 6.2 or newer, or Valkey")
    return ok("redis.version", f"is {name} {version}")


def _mode(info: dict[str, Any]) -> Finding:
    if info.get("cluster_enabled"):
        what = "is a cluster, which cannot keep the keys of one task together"
        return problem("redis.mode", what, "use a Redis without cluster mode, with a replica for failover")
    if info.get("role") == "slave":
        return problem("redis.mode", "is a replica, which takes no writes", "name the master in AFFIX_REDIS_URL")
    return ok("redis.mode", "is a master")


async def _writable(client: Redis) -> Finding:
    try:
        await client.set(PROBE, "check", px=1000)
    except RedisError as fault:
        advice = "see its memory, its disk and the rights (ACL) of its user"
        return problem("redis.writable", f"refuses a write: {str(fault).rstrip('.')}", advice)
    return ok("redis.writable", "takes writes")


async def _scripts(client: Redis) -> Finding:
    try:
        await client.eval("return redis.call('TIME')", 0)
    except RedisError as fault:
        advice = "allow EVAL, EVALSHA and SCRIPT LOAD to its user (ACL)"
        return problem("redis.scripts", f"refuses a script: {str(fault).rstrip('.')}", advice)
    return ok("redis.scripts", "runs scripts")


def _persistence(info: dict[str, Any], *, alone: bool) -> Finding:
    if info.get("aof_enabled"):
        if info.get("aof_last_write_status", "ok") != "ok":
            return problem("redis.persistence", "its append-only file cannot be written", "see its disk and its log")
        return ok("redis.persistence", "keeps an append-only file")
    advice = "set appendonly yes and appendfsync everysec"
    if alone:
        return problem("redis.persistence", "keeps no append-only file, and is the only store", advice)
    what = "keeps no append-only file: writes accepted while PostgreSQL is away are lost if it restarts meanwhile"
    return warning("redis.persistence", what, f"{advice}, or AFFIX_WHEN_POSTGRES_DOWN=refuse")


def _eviction(info: dict[str, Any]) -> Finding:
    policy = str(info.get("maxmemory_policy", "noeviction"))
    if policy.startswith("allkeys"):
        what = f"maxmemory-policy is {policy}: it may evict writes that only it has, and events"
        return problem("redis.eviction", what, "set maxmemory-policy noeviction or volatile-lru")
    return ok("redis.eviction", f"maxmemory-policy is {policy}")


def _memory(info: dict[str, Any]) -> Finding:
    used, most = int(info["used_memory"]), int(info.get("maxmemory", 0))
    if not most:
        return ok("redis.memory", f"uses {used >> 20} MiB, without a limit of its own")
    what = f"uses {used >> 20} of {most >> 20} MiB"
    if used >= most * _FULL:
        return warning("redis.memory", what, "raise maxmemory, or lower AFFIX_CACHE_TTL_SECONDS")
    return ok("redis.memory", what)


async def _clients(client: Redis, settings: Settings) -> Finding:
    most = int((await _configured(client, "maxclients")) or 0)
    needed = settings.workers * _CLIENTS_A_PROCESS
    if most and most < needed:
        what = f"takes {most} clients; {settings.workers} processes use up to {needed}"
        return problem("redis.clients", what, "raise maxclients, or lower AFFIX_WORKERS")
    return ok("redis.clients", f"takes {most or 'as many'} clients, of which this service uses up to {needed}")


async def _notifications(client: Redis) -> Finding:
    wanted = await _configured(client, "notify-keyspace-events")
    if wanted:
        what = f"notify-keyspace-events is {wanted}: each write is published once more than Affix needs"
        return warning("redis.notifications", what, "set it to nothing, unless something else of yours needs it")
    return ok("redis.notifications", "no keyspace notifications, which Affix does not need")


async def _configured(client: Redis, name: str) -> str | None:
    """Return a parameter; None where it may not be asked for, as with many a hosted Redis."""
    try:
        found = await client.config_get(name)
    except RedisError:
        return None
    value = next(iter(found.values()), None)
    return value.decode() if isinstance(value, bytes) else value
