"""Mechanisms that decide whether Redis is believed."""

# ruff: noqa: SLF001 - a mutation is another body of a method, and sees what that sees

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from affix_server.storage import redis_watch, trust
from affix_server.storage.announcement import Announcement
from affix_server.storage.postgres import doubts
from affix_server.storage.postgres.doubts import DoubtTable, Others
from affix_server.storage.redis.client import CacheUnavailableError
from affix_server.storage.redis.connection import Connection
from affix_server.storage.redis_watch import RedisWatch
from affix_server.storage.trust import Trust
from tests.resilience.mutations.in_servers import _nothing
from tests.resilience.mutations.patching import Mutation, replaced, together
from tests.resilience.scenarios import doubt, returning

_others = DoubtTable.others


async def _catch_up_without_heartbeat(self: RedisWatch) -> None:
    await self._trust.nothing_unpublished()
    await self._republisher.republish(self._since - redis_watch._MARGIN_US)


async def _wait_for_nobody(self: RedisWatch, *_: object) -> bool:
    self._looked = self._loop.time()
    return False


async def _finish_whatever_happens(self: Trust, through: Any, past: Any) -> Any:
    if self.believed:
        try:
            return await through()
        except CacheUnavailableError:
            pass
    return await past()


def _unless_doubted(self: Trust, epoch: int) -> bool:
    return self.epoch == epoch


def _believed_without_comparing(self: Trust) -> bool:
    return self._believed


async def _others_if_closed(self: DoubtTable, **_: object) -> Others | None:
    return await _others(self)


MUTATIONS = (
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
        replaced(redis_watch, "_START_SECONDS", 1e9),
        (doubt.a_server_starts_while_another_is_cut_off,),
    ),
    Mutation(
        "nothing is published again",
        replaced(RedisWatch, "_catch_up", _nothing()),
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
        together(replaced(RedisWatch, "_others_soon", _nothing()), replaced(RedisWatch, "_others", _nothing())),
        (doubt.nobody_believes_a_redis_that_one_writes_past,),
    ),
    Mutation(
        "a look at the others holds for ever",
        replaced(trust, "LOOK_HOLDS_SECONDS", 1e9),
        (doubt.a_server_that_has_not_looked_does_not_believe,),
    ),
    Mutation(
        "a look holds until the end of an answer",
        replaced(Trust, "_stands", _unless_doubted),
        (doubt.an_answer_that_took_too_long_is_not_given,),
    ),
    Mutation(
        "Redis is to blame for whatever takes long",
        replaced(Connection, "_listened", lambda _, now: now),
        (doubt.a_server_that_was_busy_does_not_blame_redis,),
    ),
    Mutation(
        "nobody waits for those who do without Redis",
        replaced(RedisWatch, "_wait_until_all_are", _wait_for_nobody),
        (returning.a_server_that_does_without_redis_is_waited_for,),
    ),
    Mutation(
        "Redis is believed before a write past it is over",
        replaced(Trust, "unpublished", lambda _: nullcontext()),
        (returning.redis_is_not_believed_before_a_write_past_it_is_over,),
    ),
    Mutation(
        "what was written just before the outage is not published again",
        replaced(redis_watch, "_MARGIN_US", 0),
        (returning.a_failed_publication_is_made_up_for,),
    ),
    Mutation(
        "the heartbeat is not asked how old Redis is",
        replaced(RedisWatch, "_catch_up", _catch_up_without_heartbeat),
        (returning.what_a_restored_redis_lacks_is_published_again,),
    ),
    Mutation(
        "no Redis is too old",
        replaced(redis_watch, "_FURTHEST_BEHIND_US", 1 << 62),
        (returning.a_redis_older_than_tombstones_is_forgotten,),
    ),
    Mutation(
        "an answer is finished although Redis was doubted meanwhile",
        replaced(Trust, "redis_first", _finish_whatever_happens),
        (returning.an_answer_begun_before_a_failover_is_not_finished_after_it,),
    ),
)
