"""Mechanisms that tell watchers of every write, once and in order."""

from __future__ import annotations

from collections.abc import Sequence

from affix_server.storage.redis import names, publishing
from affix_server.storage.redis.event_stream import EventStream, Line, _accept, _parse
from affix_server.storage.republisher import Republisher
from tests.resilience.mutations.patching import Mutation, lua, replaced, together
from tests.resilience.scenarios import watching


async def _after_without_looking(self: EventStream, place: bytes) -> Sequence[Line]:
    command = ("XREAD", "COUNT", 500, "BLOCK", 1000, "STREAMS", names.WATCHED, place)
    found = _accept((await self._client.pipeline((command,)))[0])
    return [_parse(*entry) for entry in found[0][1]] if found else []


async def _forget_all_but_the_stream(self: Republisher) -> None:
    await self._cache.forget_all()


_NO_GAPS = lua(publishing.PUT, ("  tell_of_gap(task_id, key)", ""))

MUTATIONS = (
    Mutation(
        "what is filled in counts as told of",
        lua(
            publishing.PUT, ("local told = tonumber(held[5]) or held_revision or 0", "local told = held_revision or 0")
        ),
        (
            watching.what_a_reader_fills_in_first_is_told_of_once,
            watching.a_deletion_that_somebody_else_made_visible_is_told_of_once,
            watching.a_write_cut_short_is_told_of_once,
        ),
    ),
    Mutation(
        "nobody notes what has been told of",
        lua(publishing.PUT, ("redis.call('HDEL', entry, 'told')", "")),
        (watching.a_write_cut_short_is_told_of_once,),
    ),
    Mutation(
        "a task's end that is filled in counts as told of",
        lua(publishing.TASK_PUT, ("redis.call('HSET', KEYS[1], 'untold', '1')", "")),
        (watching.the_end_of_a_task_is_told_of_once,),
    ),
    Mutation(
        "nobody waits for the write before",
        lua(publishing.PUT, ("if others > 0 and WAITS then", "if false then")),
        (watching.two_servers_tell_of_a_key_in_the_order_of_its_revisions,),
    ),
    Mutation(
        "an event that is missing is kept quiet",
        _NO_GAPS,
        (
            watching.a_write_that_is_never_told_of_is_not_kept_quiet,
            watching.what_was_written_past_redis_is_told_of_when_it_is_back,
        ),
    ),
    Mutation(
        "nobody looks whether the last event is still there",
        replaced(EventStream, "after", _after_without_looking),
        (watching.a_stream_that_was_lost_is_not_read_on,),
    ),
    Mutation(
        "what nobody can tell of is forgotten, and the stream is not",
        # The server that believes last may find the heartbeat of the first, and say itself that something is missing.
        together(replaced(Republisher, "forget_all", _forget_all_but_the_stream), _NO_GAPS),
        (watching.a_redis_too_far_behind_takes_no_token,),
    ),
)
