"""Mechanisms in the server processes."""

# ruff: noqa: SLF001 - a mutation is another body of a method, and sees what that sees

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Hashable, Sequence
from dataclasses import replace
from typing import Any

from affix_server.domain import Ref
from affix_server.errors import StorageUnavailableError
from affix_server.storage import acceptor
from affix_server.storage.acceptor import Acceptor
from affix_server.storage.drainer import Drainer
from affix_server.storage.entries import Entry, Write
from affix_server.storage.postgres.database import Database
from affix_server.storage.reconciler import Reconciler
from affix_server.storage.redis import names, publishing
from affix_server.storage.redis.cache import Cache
from affix_server.storage.redis.intents import Begun, Intents
from affix_server.storage.redis.pending import PendingWrites, Seen
from affix_server.storage.single_flight import SingleFlight
from affix_server.times import now_ms
from tests.resilience.mutations.patching import Mutation, lua, replaced
from tests.resilience.scenarios import conditions, deletion, draining, freezing, lists, pending

_begin, _accept, _look = Intents.begin, Acceptor.accept, PendingWrites.look
_drain = Drainer._drain


def _nothing(result: object = None) -> Callable[..., Awaitable[Any]]:
    async def nothing(*_: object, **__: object) -> object:
        return result

    return nothing


async def _begin_without_trace(self: Intents, refs: Sequence[Ref]) -> list[Begun]:
    begun = await _begin(self, refs)
    await self._client.execute("ZREM", names.INTENTS, *(one.trace for one in begun))
    return begun


async def _accept_without_trace(self: Acceptor, write: Write, begun: Begun, fault: Any) -> Entry:
    client = self._pending._client  # before it is accepted, or the trace may be found first
    for member in await client.execute("ZRANGE", names.INTENTS, 0, -1):
        await client.execute("ZREM", names.INTENTS, member)
    return await _accept(self, write, begun, fault)


class _NoFence:
    def __init__(self, revisions: Any) -> None:
        self.observe = revisions.observe

    def beyond_fences(self, *_: object) -> int:
        return 0


async def _accept_without_fence(self: Acceptor, write: Write, begun: Begun, fault: Any) -> Entry:
    if not isinstance(self._revisions, _NoFence):
        self._revisions = _NoFence(self._revisions)  # type: ignore[assignment]
    return await _accept(self, write, begun, fault)


async def _deny_what_is_not_found(self: PendingWrites, ref: Ref) -> Seen:
    seen = await _look(self, ref)
    return replace(seen, denied=seen.entry is None)


async def _close_before_the_drain(self: Reconciler) -> None:
    if self._circuit.begin_probe():
        await self._database.probe()
        self._circuit.close()
        await self.reconcile(now_ms() - 10_000, recent_ms=0, probing=True)


async def _purge_in_doubt(self: Reconciler) -> None:
    await self._attachments.purge(600)


async def _without_fuse(self: Database, pool: Any, work: Any) -> Any:
    connection = await pool.acquire(timeout=self.timeout)
    try:
        return await work(connection)
    except OSError:
        raise StorageUnavailableError("Database connection failed") from None
    finally:
        await self._release(pool, connection)


async def _fly_alone(_: SingleFlight[Any], __: Hashable, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return await work()


MUTATIONS = (
    Mutation(
        "nothing is drained",
        replaced(Drainer, "drain", _nothing()),
        (pending.a_pending_write_arrives, pending.a_pending_deletion_is_one),
    ),
    Mutation(
        "one write that Postgres refuses keeps out all others",
        replaced(Drainer, "drain", _drain),
        (draining.one_bad_pending_write_keeps_no_other_from_arriving,),
    ),
    Mutation(
        "nothing is settled",
        replaced(Reconciler, "_settle", _nothing()),
        (freezing.a_write_cut_short_is_finished_by_another,),
    ),
    Mutation(
        "a write leaves no trace",
        replaced(Intents, "begin", _begin_without_trace),
        (freezing.a_write_cut_short_is_finished_by_another,),
    ),
    Mutation(
        "what is accepted leaves no trace",
        replaced(Acceptor, "accept", _accept_without_trace),
        (pending.a_pending_write_arrives,),
    ),
    Mutation(
        "what is accepted is not above the fence",
        replaced(Acceptor, "accept", _accept_without_fence),
        (deletion.what_was_accepted_wins_over_what_was_given_up,),
    ),
    Mutation(
        "a write whose fate is not known is accepted whatever followed",
        replaced(acceptor, "may_follow", lambda *_: True),
        (
            pending.a_write_that_may_have_been_done_is_not_done_again,
            pending.a_deletion_that_may_have_been_done_is_not_done_again,
        ),
    ),
    Mutation(
        "without Postgres nobody looks at conditions",
        replaced(acceptor, "require", lambda *_: None),
        (conditions.conditions_hold_without_postgres,),
    ),
    Mutation(
        "a write does not begin with what is pending",
        lua(publishing.BEGIN, ("(pending or held[3]) and 1 or 0", "0")),
        (
            pending.an_overwrite_wins_over_what_is_pending,
            pending.a_deletion_finds_what_is_pending,
            pending.a_deletion_wins_over_a_pending_overwrite,
            pending.a_result_wins_over_what_is_pending,
        ),
    ),
    Mutation(
        "what Redis cannot find, it denies",
        replaced(PendingWrites, "look", _deny_what_is_not_found),
        (pending.what_only_postgres_can_tell_is_not_denied,),
    ),
    Mutation(
        "Postgres is asked before it is up to date",
        replaced(Reconciler, "_probe", _close_before_the_drain),
        (draining.postgres_is_not_asked_before_it_is_up_to_date,),
    ),
    Mutation(
        "an index is built from Postgres alone",
        replaced(Cache, "_pending_lines", _nothing([])),
        (lists.what_is_pending_is_in_an_index_that_is_built,),
    ),
)
