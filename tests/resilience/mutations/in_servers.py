"""Mechanisms in the server processes."""

# ruff: noqa: SLF001 - a mutation is another body of a method, and sees what that sees

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Hashable
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

from affix_server.domain import Ref
from affix_server.errors import StorageUnavailableError
from affix_server.storage import acceptor, trust, watch
from affix_server.storage.acceptor import Acceptor
from affix_server.storage.announcement import Announcement
from affix_server.storage.drainer import Drainer
from affix_server.storage.entries import Entry, Write
from affix_server.storage.postgres import doubts
from affix_server.storage.postgres.database import Database
from affix_server.storage.postgres.doubts import DoubtTable, Others
from affix_server.storage.reconciler import Reconciler
from affix_server.storage.redis import names, publishing
from affix_server.storage.redis.cache import Cache
from affix_server.storage.redis.client import CacheUnavailableError
from affix_server.storage.redis.intents import Begun, Intents
from affix_server.storage.redis.pending import PendingWrites, Seen
from affix_server.storage.single_flight import SingleFlight
from affix_server.storage.trust import Trust
from affix_server.storage.watch import Watch
from affix_server.times import now_ms
from tests.resilience.mutations.patching import Mutation, lua, replaced, together
from tests.resilience.scenarios import deletion, doubt, draining, freezing, lists, pending, returning

_begin, _accept, _look = Intents.begin, Acceptor.accept, PendingWrites.look
_drain, _others = Drainer._drain, DoubtTable.others


def _nothing(result: object = None) -> Callable[..., Awaitable[Any]]:
    async def nothing(*_: object, **__: object) -> object:
        return result

    return nothing


async def _begin_without_trace(self: Intents, ref: Ref) -> Begun:
    begun = await _begin(self, ref)
    await self._client.execute("ZREM", names.INTENTS, names.intent(ref, begun.token))
    return begun


async def _accept_without_trace(self: Acceptor, write: Write, begun: Begun, fault: Any) -> Entry:
    entry = await _accept(self, write, begun, fault)
    client = self._pending._client
    for member in await client.execute("ZRANGE", names.INTENTS, 0, -1):
        await client.execute("ZREM", names.INTENTS, member)
    return entry


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


async def _catch_up_without_heartbeat(self: Watch) -> None:
    await self._trust.nothing_unpublished()
    await self._republisher.republish(self._since - watch._MARGIN_US)


async def _wait_for_nobody(self: Watch, *_: object) -> bool:
    self._looked = self._loop.time()
    return False


async def _finish_whatever_happens(self: Trust, through: Any, past: Any) -> Any:
    if self.believed:
        try:
            return await through()
        except CacheUnavailableError:
            pass
    return await past()


def _believed_without_comparing(self: Trust) -> bool:
    return self._believed


async def _others_if_closed(self: DoubtTable, **_: object) -> Others | None:
    return await _others(self)


async def _without_fuse(self: Database, work: Any) -> Any:
    connection = await self._pool.acquire(timeout=self.timeout)
    try:
        return await work(connection)
    except OSError:
        raise StorageUnavailableError("Database connection failed") from None
    finally:
        await self._release(connection)


async def _fly_alone(_: SingleFlight[Any], __: Hashable, work: Callable[[], Coroutine[Any, Any, Any]]) -> Any:
    return await work()


IN_DOUBT = (
    Mutation(
        "a Redis that returns is believed at once",
        replaced(Trust, "believed", property(lambda _: True)),
        (doubt.a_thawed_redis_is_not_believed_at_once,),
    ),
    Mutation(
        "no fault of Redis is a reason for doubt",
        replaced(Trust, "doubt", lambda *_, **__: None),
        (returning.a_refused_publication_is_made_up_for, doubt.a_thawed_redis_is_not_believed_at_once),
    ),
    Mutation(
        "a Redis believed without Postgres is believed with it",
        replaced(Trust, "believed", property(_believed_without_comparing)),
        (doubt.a_redis_believed_without_postgres_is_caught_up_with_it,),
    ),
    Mutation(
        "a server looks at the others only while its circuit is closed",
        replaced(DoubtTable, "others", _others_if_closed),
        (doubt.a_server_whose_circuit_is_open_hears_of_doubt_too,),
    ),
    Mutation(
        "a server starts when it believes Redis",
        replaced(watch, "_START_SECONDS", 1e9),
        (doubt.a_server_starts_while_another_is_cut_off,),
    ),
    Mutation(
        "nothing is published again",
        replaced(Watch, "_catch_up", _nothing()),
        (doubt.what_redis_missed_is_published_again, returning.a_failed_publication_is_made_up_for),
    ),
    Mutation(
        "doubt is not announced",
        replaced(DoubtTable, "announce", _nothing()),
        (doubt.nobody_believes_a_redis_that_one_writes_past,),
    ),
    Mutation(
        "nobody waits until others have heard",
        replaced(Announcement, "has_been_heard", property(lambda _: True)),
        (doubt.nobody_believes_a_redis_that_one_writes_past, doubt.nobody_goes_back_behind_a_read_past_redis),
    ),
    Mutation(
        "what is not decided is answered past Redis",
        together(
            replaced(Trust, "_answers_past_redis", property(lambda _: True)),
            replaced(Announcement, "has_been_heard", property(lambda _: True)),
        ),
        (doubt.nobody_reads_past_a_redis_that_others_believe,),
    ),
    Mutation(
        "readers do not wait until all can believe Redis",
        replaced(Trust, "wait_for_others", _nothing()),
        (doubt.all_believe_together,),
    ),
    Mutation(
        "a statement about doubt that was given up undoes a later one",
        replaced(doubts, "_ANNOUNCE", doubts._ANNOUNCE.replace("WHERE mine.sequence < excluded.sequence", "")),
        (doubt.what_postgres_hears_late_about_doubt_undoes_nothing,),
    ),
    Mutation(
        "nobody looks for the doubts of others",
        together(replaced(Watch, "_others_soon", _nothing()), replaced(Watch, "_others", _nothing())),
        (doubt.nobody_believes_a_redis_that_one_writes_past,),
    ),
    Mutation(
        "a look at the others holds for ever",
        replaced(trust, "LOOK_HOLDS_SECONDS", 1e9),
        (doubt.a_server_that_has_not_looked_does_not_believe,),
    ),
    Mutation(
        "nobody waits for those who do without Redis",
        replaced(Watch, "_wait_until_all_are", _wait_for_nobody),
        (returning.a_server_that_does_without_redis_is_waited_for,),
    ),
    Mutation(
        "Redis is believed before a write past it is over",
        replaced(Trust, "unpublished", lambda _: nullcontext()),
        (returning.redis_is_not_believed_before_a_write_past_it_is_over,),
    ),
    Mutation(
        "what was written just before the outage is not published again",
        replaced(watch, "_MARGIN_US", 0),
        (returning.a_failed_publication_is_made_up_for,),
    ),
    Mutation(
        "the heartbeat is not asked how old Redis is",
        replaced(Watch, "_catch_up", _catch_up_without_heartbeat),
        (returning.what_a_restored_redis_lacks_is_published_again,),
    ),
    Mutation(
        "no Redis is too old",
        replaced(watch, "_FURTHEST_BEHIND_US", 1 << 62),
        (returning.a_redis_older_than_tombstones_is_forgotten,),
    ),
    Mutation(
        "an answer is finished although Redis was doubted meanwhile",
        replaced(Trust, "redis_first", _finish_whatever_happens),
        (returning.an_answer_begun_before_a_failover_is_not_finished_after_it,),
    ),
)

WITHOUT_POSTGRES = (
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
        "a write does not begin with what is pending",
        lua(publishing.BEGIN, ("math.max(pending, redis.call('HEXISTS', KEYS[1], 'pending'))", "0")),
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

MUTATIONS = (*IN_DOUBT, *WITHOUT_POSTGRES)
