"""Mechanisms that tasks have beside those of attachments."""

# ruff: noqa: SLF001 - a mutation is another body of a method, and sees what that sees

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from unittest.mock import patch

from affix_server.domain import Ref
from affix_server.storage import task_changes
from affix_server.storage.drainer import Drainer
from affix_server.storage.postgres import tasks as task_table
from affix_server.storage.reading import AttachmentReading
from affix_server.storage.redis import cache, pending_tasks, publishing
from affix_server.storage.redis.task_cache import TaskCache
from affix_server.storage.redis.task_marks import TaskMarks
from affix_server.storage.task_acceptor import TaskAcceptor
from affix_server.storage.task_writing import TaskWriting
from tests.resilience.mutations.in_servers import _nothing
from tests.resilience.mutations.patching import Change, Mutation, edited, lua, replaced, sql
from tests.resilience.scenarios import conditions, task_deletion, task_races, tasks

_create = TaskAcceptor.create


def _sql(statement: str, *changes: tuple[str, str]) -> Change:
    return lambda: patch.object(task_table, statement, edited(getattr(task_table, statement), changes))


async def _create_anything(self: TaskAcceptor, *args: Any, **_: object) -> Any:
    return await _create(self, *args, fresh=True)


async def _drain_keys_alone(self: Drainer, refs: Iterable[Ref], *, probing: bool = False) -> set[Ref]:
    found = await self._pending.get(keys) if (keys := [ref for ref in refs if ref.key]) else []
    await self.drain({ref: one for ref, one in zip(keys, found, strict=True) if one}, probing=probing)
    return {ref for ref, one in zip(keys, found, strict=True) if one}


def _no_marks(*_: object) -> TaskMarks:
    return TaskMarks(frozenset(), frozenset())


IN_REDIS = (
    Mutation(
        "a pending task without compare and set",
        lua(pending_tasks.TASK_PEND, ("return (held or '') == revision and", "return")),
        (tasks.two_pending_changes_are_both_kept,),
    ),
    Mutation(
        "a pending result without compare and set",
        lua(pending_tasks.TASK_PEND, ("if ARGV[result] and not as_seen", "if false and not as_seen")),
        (tasks.a_completion_and_its_result_are_one_write,),
    ),
    Mutation(
        "a pending task beside a write on its way to Postgres",
        lua(pending_tasks.TASK_PEND, ("count_under_way(KEYS[1], key) == 0", "true")),
        (tasks.a_pending_change_waits_for_one_on_its_way_to_postgres,),
    ),
    Mutation(
        "a write does not begin with the pending task",
        lua(
            publishing.BEGIN, ("local pending = redis.pcall('HEXISTS', task, 'pending') == 1", "local pending = false")
        ),
        (tasks.a_write_begins_with_the_pending_task, task_deletion.a_reader_with_postgres_sees_the_pending_deletion),
    ),
    Mutation(
        "a pending task expires with its attachments",
        lua(publishing.PUT, ("if redis.pcall('HEXISTS', task, 'pending') ~= 1 then", "if true then")),
        (tasks.a_pending_task_outlives_its_attachments_being_settled,),
    ),
    Mutation(
        "a pending task stays for good",
        lua(publishing.TASK_PUT, ("if held[4] then", "if false then")),
        (tasks.a_pending_task_has_no_time_limit,),
    ),
    Mutation(
        "a task published as it was settled is not settled",
        lua(publishing.TASK_PUT, ("(held_revision == revision and not held[4])", "held_revision == revision")),
        (tasks.a_pending_task_arrives, task_deletion.a_pending_deletion_takes_all_along),
    ),
    Mutation(
        "a task registered anew may be filled with what its deletion took",
        lua(publishing.PUT, ("if task[2] and not task[1] and", "if false and")),
        (task_deletion.a_late_fill_does_not_reach_a_task_registered_anew,),
    ),
    Mutation(
        "a deletion spares what is pending",
        lua(pending_tasks.TASK_BURY, ("local keys = redis.call('SMEMBERS', KEYS[2])", "local keys = {}")),
        (task_deletion.a_deletion_is_above_all_that_is_pending,),
    ),
    Mutation(
        "a deletion below what it deletes",
        lua(pending_tasks.TASK_BURY, ("if highest >= tonumber(ARGV[2]) then", "if false then")),
        (task_deletion.a_deletion_is_above_all_that_is_pending,),
    ),
    Mutation(
        "a deletion beside a write on its way to Postgres, or another",
        lua(pending_tasks.TASK_BURY, ("  return '0'", "  local _ = '0'")),
        (task_races.a_change_is_published_after_a_pending_deletion,),
    ),
    Mutation(
        "what is left of a deleted task goes with what followed",
        lua(publishing.EXPUNGE, ("(tonumber(held) or 0) <= tonumber(ARGV[1])", "true")),
        (task_deletion.a_late_drain_of_a_deletion_spares_what_followed,),
    ),
    Mutation(
        "a tombstone of a task lets late attachments in",
        lua(publishing.PUT, ("if gone >= revision then", "if false then")),
        (task_races.a_creation_is_published_after_its_task_is_gone,),
    ),
)

IN_POSTGRES = (
    Mutation(
        "a drain of tasks does not compare revisions",
        _sql("_DRAIN", ("WHERE excluded.revision > t.revision", "")),
        (task_deletion.a_late_drain_does_not_undo_what_followed,),
    ),
    Mutation(
        "a drained change brings a deleted task back",
        _sql("_DRAIN", ("NOT i.deletes AND (i.born > 0 OR held.id IS NOT NULL)", "NOT i.deletes")),
        (task_deletion.a_pending_change_does_not_bring_a_deleted_task_back,),
    ),
    Mutation(
        "a drained deletion leaves the attachments",
        _sql("_DRAIN", ("AND i.empties", "AND false")),
        (
            task_deletion.a_pending_deletion_takes_all_along,
            task_deletion.a_task_registered_anew_without_postgres_is_empty,
        ),
    ),
    Mutation(
        "a drained deletion does not wait for what is being written",
        replaced(task_table, "_LOCK_ALL", task_table._LOCK_ALL.replace("FOR UPDATE", "")),
        (task_deletion.a_drained_deletion_waits_for_what_is_being_written,),
    ),
    Mutation(
        "a registration has no fence",
        _sql("_CREATE", ("$7", "($7::bigint * 1000)")),
        (task_deletion.a_registration_given_up_does_not_bring_a_deleted_task_back,),
    ),
    Mutation(
        "a write does not ask when its task was born",
        sql("_WRITE", ("AND task.born < $14", "")),
        (task_deletion.what_was_written_to_a_task_does_not_reach_the_next_of_its_name,),
    ),
    Mutation(
        "a task is deleted without a lock on it",
        replaced(task_table, "_LOCK_WHOLE", task_table._LOCK),
        (task_deletion.a_deletion_waits_for_what_is_being_written,),
    ),
)

IN_SERVERS = (
    Mutation(
        "a task that cannot be changed is not looked at",
        replaced(TaskWriting, "_show_why_not", _nothing()),
        (
            task_races.a_task_that_cannot_be_deleted_again_is_gone,
            task_races.a_task_that_cannot_be_registered_again_is_there,
        ),
    ),
    Mutation(
        "tasks are not drained before their attachments",
        replaced(Drainer, "drain_all", _drain_keys_alone),
        (tasks.a_pending_task_arrives,),
    ),
    Mutation(
        "one task that Postgres refuses keeps out all others",
        replaced(Drainer, "drain_tasks", Drainer._drain_tasks),
        (tasks.one_bad_pending_task_keeps_no_other_from_arriving,),
    ),
    Mutation(
        "Postgres is asked without having been told",
        replaced(AttachmentReading, "_tell_postgres", _nothing()),
        (
            tasks.a_reader_with_postgres_sees_the_pending_task,
            task_deletion.a_reader_with_postgres_sees_a_task_registered_anew,
        ),
    ),
    Mutation(
        "attachments are counted without those that are pending",
        replaced(Drainer, "drain_task", _nothing()),
        (tasks.a_reader_with_postgres_sees_the_pending_task,),
    ),
    Mutation(
        "a reader does not ask Redis for the task",
        replaced(cache, "read_marks", _no_marks),
        (task_deletion.a_reader_with_postgres_sees_the_pending_deletion,),
    ),
    Mutation(
        "Postgres changes a task at any revision",
        replaced(task_table, "require_revision", lambda *_: None),
        (conditions.a_task_is_not_changed_at_a_revision_that_has_gone_by,),
    ),
    Mutation(
        "without Postgres a task is changed at any revision",
        replaced(task_changes, "require_revision", lambda *_: None),
        (conditions.a_task_is_changed_at_its_revision_without_postgres,),
    ),
    Mutation(
        "any id is accepted",
        replaced(TaskAcceptor, "create", _create_anything),
        (tasks.what_only_postgres_can_tell_of_a_task_is_not_made_up,),
    ),
    Mutation(
        "what no index names outlives its task",
        replaced(TaskCache, "expunge_all", _nothing()),
        (task_deletion.a_pending_deletion_needs_no_index,),
    ),
)

MUTATIONS = (*IN_REDIS, *IN_POSTGRES, *IN_SERVERS)
