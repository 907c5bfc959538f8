"""Mechanisms that work beside the calls, in the server processes."""

from __future__ import annotations

from affix_server.storage import reading
from affix_server.storage.postgres.database import Database
from affix_server.storage.reading import AttachmentReading
from affix_server.storage.reconciler import Reconciler
from affix_server.storage.redis.cache import Cache
from affix_server.storage.redis.connection import Connection
from affix_server.storage.single_flight import SingleFlight
from affix_server.storage.writing import AttachmentWriting, Done
from tests.resilience.mutations.in_servers import _fly_alone, _nothing, _purge_in_doubt, _without_fuse
from tests.resilience.mutations.patching import Mutation, replaced
from tests.resilience.scenarios import deletion, doubt, forward, freezing, lists

MUTATIONS = (
    Mutation(
        "a deletion of nothing does not look why",
        replaced(AttachmentWriting, "_show_why_not", _nothing(Done(None))),
        (forward.nothing_to_delete_is_nothing_to_read,),
    ),
    Mutation(
        "an index is believed to name only what is there",
        replaced(AttachmentReading, "_agrees", _nothing(result=True)),
        (lists.an_index_that_names_what_is_not_there_is_built_anew,),
    ),
    Mutation(
        "an index is built beside what contradicts it",
        replaced(Cache, "_overtake", _nothing()),
        (
            lists.an_index_that_shows_a_deletion_hides_what_was_deleted,
            lists.an_index_that_shows_a_creation_shows_what_was_created,
        ),
    ),
    Mutation(
        "a page is not looked through for its order",
        replaced(reading, "pairwise", lambda _: ()),
        (lists.a_page_is_in_order_whatever_was_made_anew,),
    ),
    Mutation(
        "tombstones stay for ever", replaced(Reconciler, "_purge", _nothing()), (deletion.an_old_tombstone_is_purged,)
    ),
    Mutation(
        "tombstones are purged while Redis is doubted",
        replaced(Reconciler, "_purge", _purge_in_doubt),
        (deletion.no_tombstone_is_purged_that_redis_may_need,),
    ),
    Mutation(
        "a call waits for Postgres as long as it takes",
        replaced(Database, "_run_bounded", _without_fuse),
        (freezing.calls_end_while_postgres_is_frozen,),
    ),
    Mutation(
        "a call waits for Redis as long as it takes",
        replaced(Connection, "_check_oldest", lambda _: None),
        (freezing.calls_end_while_redis_is_frozen,),
    ),
    Mutation(
        "every caller loads for itself",
        replaced(SingleFlight, "run", _fly_alone),
        (lists.five_hundred_callers_make_one_query,),
    ),
    Mutation(
        "a load takes others along after it has departed",
        replaced(SingleFlight, "depart", lambda _, __: None),
        (doubt.a_load_is_shared_only_by_those_it_is_fresh_for,),
    ),
)
