"""Mechanisms in the SQL statements."""

from __future__ import annotations

from typing import Any

from affix_server.storage.postgres import attachments
from tests.resilience.mutations.patching import Mutation, replaced, sql
from tests.resilience.scenarios import conditions, deletion, draining, identity

_write_attachments = attachments.write_attachments
_CLOCK = "extract(epoch FROM clock_timestamp()) * 1000000"


async def _delete_the_row(connection: Any, writes: Any, revisions: Any, fence: int) -> Any:
    rows = await _write_attachments(connection, writes, revisions, fence)
    await connection.execute("DELETE FROM task_attachments WHERE deleted_at IS NOT NULL")
    return rows


MUTATIONS = (
    Mutation(
        "no tombstone in Postgres",
        replaced(attachments, "write_attachments", _delete_the_row),
        (deletion.a_late_drain_does_not_bring_back_what_was_deleted,),
    ),
    Mutation(
        "a statement has no fence",
        sql("_WRITE", ("$14", "($14::bigint * 1000)")),
        (
            deletion.a_statement_given_up_does_not_undo_what_followed,
            deletion.a_statement_given_up_does_nothing_after_a_while,
        ),
    ),
    Mutation(
        "the fence does not look at revisions",
        sql("_WRITE", ("AND a.revision + 1 < $14", "")),
        (deletion.a_statement_given_up_does_not_undo_what_followed,),
    ),
    Mutation(
        "the fence does not look at the clock",
        sql("_WRITE", ("now < $14 AND", ""), (f"AND {_CLOCK} < $14", "")),
        (deletion.a_statement_given_up_does_nothing_after_a_while,),
    ),
    Mutation(
        "the fence does not look at the clock at first",
        sql("_WRITE", ("now < $14 AND", "")),
        (deletion.a_statement_given_up_creates_nothing_after_a_while,),
    ),
    Mutation(
        "the fence does not look at the clock in the end",
        sql("_WRITE", (f"AND {_CLOCK} < $14", "")),
        (deletion.a_statement_that_waited_too_long_does_nothing,),
    ),
    Mutation(
        "Postgres does not look at conditions",
        sql("_WRITE", ("AND (NOT $16 OR EXISTS (", "AND ($16::bool IS NOT NULL OR EXISTS (")),
        (conditions.a_revision_that_has_gone_by_is_none_any_more, conditions.what_is_no_longer_absent_is_not_created),
    ),
    Mutation(
        "drain without comparing revisions",
        sql("_DRAIN", ("WHERE excluded.revision > a.revision", "")),
        (deletion.a_late_drain_does_not_bring_back_what_was_deleted,),
    ),
    Mutation(
        "a write does not hold its task",
        sql("_WRITE", ("FOR KEY SHARE", "")),
        (deletion.a_write_does_not_outlive_its_task,),
    ),
    Mutation(
        "a drain does not hold its task",
        sql("_DRAIN", ("FOR KEY SHARE", "")),
        (deletion.a_drain_does_not_outlive_its_task,),
    ),
    Mutation(
        "a drain does not ask for the task",
        sql("_DRAIN", ("AND deleted_at IS NULL ORDER BY id", "ORDER BY id")),
        (draining.nothing_of_a_deleted_task_is_drained,),
    ),
    Mutation(
        "a provisional identity does not give way",
        sql("_DRAIN", ("AND i.provisional", "AND i.provisional AND false")),
        (identity.a_provisional_identity_gives_way,),
    ),
    Mutation(
        "every identity gives way, even to a tombstone's",
        sql("_DRAIN", ("a.deleted_at IS NULL AND", "true OR")),
        (identity.a_known_identity_does_not_give_way,),
    ),
    Mutation(
        "an overwrite has an identity of its own",
        sql("_WRITE", ("CASE WHEN a.deleted_at IS NULL THEN a.id ELSE excluded.id END", "excluded.id")),
        (identity.an_overwrite_keeps_the_identity,),
    ),
)
