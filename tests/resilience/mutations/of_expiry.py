"""Mechanisms by which attachments expire."""

from __future__ import annotations

from affix_server.storage.clock import Clock
from affix_server.storage.expiry import Expiry
from affix_server.storage.postgres import tasks
from affix_server.storage.redis import cache, publishing, task_cache
from tests.resilience.mutations.in_servers import _nothing
from tests.resilience.mutations.patching import Mutation, edited, lua, replaced, sql
from tests.resilience.scenarios import expiry

_GONE_AT_ONCE = (expiry.what_has_expired_is_gone_before_it_is_deleted,)
_LISTED = "AND (a.expires_at IS NULL OR a.expires_at > to_timestamp($7::bigint / 1000.0))"

MUTATIONS = (
    Mutation(
        "what has expired is answered until it is deleted", replaced(Clock, "has_come", lambda *_: False), _GONE_AT_ONCE
    ),
    Mutation("an index lists what has expired", lua(cache.PAGE, ("if rank then", "if false then")), _GONE_AT_ONCE),
    Mutation(
        "what has expired is counted in an index",
        lua(task_cache.TASK_GET, ("- redis.call('ZCOUNT', KEYS[3], 0, ARGV[1])", "")),
        _GONE_AT_ONCE,
    ),
    Mutation(
        "an index does not hear of what will be gone",
        lua(publishing.PUT, ("if expires_ms ~= '' then", "if false then")),
        _GONE_AT_ONCE,
    ),
    Mutation(
        "an index is built without what will be gone",
        lua(cache.INDEX_LOAD, ("or i == #KEYS and expires_ms ~= '' and expires_ms", "")),
        _GONE_AT_ONCE,
    ),
    Mutation("Postgres lists what has expired", sql("_LIST", (_LISTED, "AND $7::bigint > 0")), _GONE_AT_ONCE),
    Mutation(
        "Postgres counts what has expired",
        replaced(tasks, "_COUNT", edited(tasks._COUNT, (("$2::bigint / 1000.0", "$2::bigint / 1e6"),))),  # noqa: SLF001
        _GONE_AT_ONCE,
    ),
    Mutation(
        "nobody deletes what has expired",
        replaced(Expiry, "sweep", _nothing(0)),
        (expiry.what_has_expired_is_deleted_from_both_stores,),
    ),
    Mutation(
        "what has expired is written over",
        sql(
            "_WRITE",
            (
                "coalesce(a.expires_at <= excluded.updated_at, false) = ($19 AND EXISTS (",
                "($19::bool IS NOT NULL OR EXISTS (",
            ),
        ),
        (expiry.what_takes_its_place_is_new, expiry.an_end_that_meets_a_writer_ends_nothing_new),
    ),
    Mutation(
        "what has expired is written over without Postgres",
        replaced(Clock, "has_expired", lambda *_: False),
        (expiry.without_postgres_it_is_gone_all_the_same,),
    ),
    Mutation(
        "what has expired lends its identity",
        sql("_DRAIN", ("(a.expires_at <= excluded.updated_at) IS NOT TRUE", "true")),
        (expiry.what_has_expired_lends_its_identity_to_nothing,),
    ),
)
