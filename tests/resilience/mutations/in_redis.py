"""Mechanisms in the Lua scripts."""

from __future__ import annotations

from affix_server.storage.redis import cache, kept, publishing
from affix_server.storage.redis.client import RedisClient
from affix_server.storage.redis.hashes import READ
from tests.resilience.mutations.patching import Mutation, lua, replaced, together
from tests.resilience.scenarios import doubt, draining, forward, identity, lists, pending, returning

_NO_LEASES = lua(publishing.PUT, ("not held_revision and not held[4] and", "false and"))
_NO_TOMBSTONE = lua(publishing.PUT, ("redis.call('HSET', entry, ...)", ""))
_NO_NOTE_OF_WRITES = ("elseif complete or redis.call('EXISTS', index) == 1 then", "elseif complete then")
_NO_NOTE_OF_DELETIONS = ("elseif redis.call('EXISTS', index) == 1 then", "elseif false then")
_ENTRY_BY_ENTRY = ("elseif complete or redis.call('EXISTS', index) == 1 then", "else")


async def _as_expected(*_: object, **__: object) -> None:
    """Take what Redis answers for what was expected."""


MUTATIONS = (
    Mutation(
        "what has been read is told again whatever Redis says",
        replaced(RedisClient, "ask_whether", _as_expected),
        (forward.what_has_been_read_is_not_told_again_once_it_has_changed,),
    ),
    Mutation(
        "what Postgres has not seen is kept like all that is read",
        replaced(kept, "_PENDING", READ.index("deleted")),
        (identity.a_provisional_identity_gives_way,),
    ),
    Mutation(
        "put without comparing revisions",
        lua(
            publishing.PUT,
            (
                "if held_revision and (held_revision > revision or (held_revision == revision and not held[2])) then",
                "if false then",
            ),
        ),
        (forward.a_late_fill_does_not_replace_a_newer_write, forward.a_late_publication_does_not_replace_a_newer_one),
    ),
    Mutation(
        "put without a lease",
        _NO_LEASES,
        (
            forward.a_late_fill_is_kept_out_of_an_empty_place,
            forward.a_late_publication_is_kept_out_of_an_empty_place,
        ),
    ),
    Mutation(
        "a publication kept out leaves the leases of others",
        lua(publishing.PUT, ("result = -1\n    redis.call('DEL', entry)", "result = -1")),
        (forward.a_publication_kept_out_keeps_out_what_is_older,),
    ),
    Mutation(
        "the publication of a task kept out leaves the leases of others",
        lua(publishing.TASK_PUT, ("redis.call('DEL', KEYS[1]) -- leases", "-- leases")),
        (forward.a_task_kept_out_keeps_out_what_is_older,),
    ),
    Mutation(
        "a publication kept out leaves the indexes as they are",
        lua(
            publishing.PUT,
            (
                "redis.call('DEL', entry)\n    forget_indexes(name)\n  else",
                "redis.call('DEL', entry)\n  else",
            ),
        ),
        (forward.a_publication_after_an_eviction_leaves_no_gap_in_the_list,),
    ),
    Mutation("no tombstone in Redis", _NO_TOMBSTONE, (pending.what_was_deleted_is_not_found_without_postgres,)),
    Mutation(
        "neither tombstone nor lease",
        together(_NO_TOMBSTONE, _NO_LEASES),
        (forward.a_late_fill_does_not_bring_back_what_was_deleted,),
    ),
    Mutation(
        "no pending tombstone",
        lua(publishing.PEND, ("redis.call('HSET'", "local _ = ARGV[3] ~= '' and redis.call('HSET'")),
        (pending.a_pending_deletion_is_one,),
    ),
    Mutation(
        "an index is believed without its mark",
        together(
            lua(publishing.PUT, _ENTRY_BY_ENTRY),
            lua(
                cache.PAGE,
                ("if not complete or complete.err then", "if redis.call('EXISTS', KEYS[1]) == 0 then"),
                (
                    "redis.call('ZCARD', KEYS[1]) - 1",
                    "redis.call('ZCARD', KEYS[1]) - (redis.call('ZSCORE', KEYS[1], '') and 1 or 0)",
                ),
                ("and 0 or 1\n", "and 0 or (redis.call('ZSCORE', KEYS[1], '') and 1 or 0)\n"),
            ),
        ),
        (lists.an_index_without_its_mark_is_not_believed,),
    ),
    Mutation(
        "an index is built without noting what is written meanwhile",
        lua(publishing.PUT, _NO_NOTE_OF_WRITES),
        (lists.what_is_created_while_an_index_is_built_is_in_it,),
    ),
    Mutation(
        "an index is built without noting what is deleted meanwhile",
        lua(publishing.PUT, _NO_NOTE_OF_DELETIONS),
        (lists.what_is_deleted_while_an_index_is_built_is_not_in_it,),
    ),
    Mutation(
        "whatever an index lacks is new to all",
        lua(publishing.PUT, ("local is_new = previous == 0 and held[4]", "local is_new = true")),
        (lists.what_is_given_another_type_is_in_the_list_of_that_one,),
    ),
    Mutation(
        "whatever Postgres had not heard of is new to all indexes",
        lua(publishing.PUT, ("is_new = note(all, created_ms, key) and is_new", "note(all, created_ms, key)")),
        (lists.what_postgres_has_lost_is_in_the_list_of_its_new_type,),
    ),
    Mutation(
        "an index lost while it is built is completed",
        lua(
            cache.INDEX_LOAD,
            ("if redis.call('ZSCORE', index, ARGV[1]) then", "if not redis.call('ZSCORE', index, '') then"),
        ),
        (lists.an_index_lost_while_it_is_built_is_not_believed,),
    ),
    Mutation(
        "a list leaves out what was evicted",
        lua(
            cache.PAGE,
            ("  page[#page + 1] = key\n", "  if read(ARGV[6] .. key, limit)[1] then\n  page[#page + 1] = key\n"),
            ("read(ARGV[6] .. key, limit)\nend", "read(ARGV[6] .. key, limit)\nend\nend"),
        ),
        (lists.an_entry_that_was_evicted_is_in_the_list,),
    ),
    Mutation(
        "a page is taken for the same although its list has grown",
        lua(cache.SAME_PAGE, (" and count == math.min(tonumber(ARGV[5]), total - offset)", "")),
        (lists.a_page_is_what_there_is_however_often_it_was_read,),
    ),
    Mutation(
        "pend without compare and set",
        lua(publishing.PEND, ("if (held or '') ~= ARGV[1] then", "if false then")),
        (pending.two_pending_creates_of_a_key_are_one_attachment,),
    ),
    Mutation(
        "pend beside a write on its way to Postgres",
        lua(publishing.PEND, ("if count_under_way(KEYS[2], ARGV[2]) > 0 then", "if false then")),
        (pending.a_pending_write_waits_for_one_on_its_way_to_postgres,),
    ),
    Mutation(
        "pend without a look at the task",
        lua(publishing.PEND, ("if task.err or task[1] or not task[2] then", "if false then")),
        (pending.a_task_deleted_meanwhile_takes_no_pending_write,),
    ),
    *(
        Mutation(name, lua(publishing.PEND, change), (pending.a_pending_write_has_no_time_limit,))
        for name, change in {
            "what is pending expires": (
                "redis.call('PERSIST', KEYS[2])",
                "redis.call('EXPIRE', KEYS[1], 3600) redis.call('PERSIST', KEYS[2])",
            ),
            "the task of what is pending expires": ("redis.call('PERSIST', KEYS[2])", ""),
            "the indexes of what is pending expire": ("redis.call('PERSIST', index)", ""),
        }.items()
    ),
    Mutation(
        "what was pending stays for good",
        lua(publishing.PUT, ("if redis.call('SREM', task .. ':pending', key) == 1 and", "if false and")),
        (draining.what_was_pending_has_a_time_limit_again,),
    ),
    Mutation(
        "a deleted task leaves what is pending",
        lua(publishing.TASK_PUT, ("redis.call('DEL', KEYS[1] .. ':attachment:' .. key)", "")),
        (pending.a_pending_write_ends_with_its_task,),
    ),
    Mutation(
        "what Redis has left of a deleted task stays",
        lua(
            publishing.PUT,
            ("redis.call('DEL', entry)\n        redis.call('SREM', name .. ':pending', key)", ""),
        ),
        (doubt.a_task_deleted_past_redis_takes_its_attachments_along,),
    ),
    Mutation(
        "forgetting takes along what is pending",
        lua(cache.FORGET, ("if not keep then", "if true then")),
        (returning.a_redis_older_than_tombstones_is_forgotten,),
    ),
)
