"""Mechanisms by which it is known who may change a task."""

from __future__ import annotations

from affix_server.domain import TaskRights
from affix_server.storage.task_repository import TaskRepository
from tests.resilience.mutations.of_tasks import _sql
from tests.resilience.mutations.patching import Mutation, replaced
from tests.resilience.scenarios import rights


async def _through_redis(self: TaskRepository, task_id: str) -> TaskRights:
    return await self._rights(task_id)


MUTATIONS = (
    Mutation(
        "any Redis is asked who may write",
        replaced(TaskRepository, "rights", _through_redis),
        (
            rights.who_was_taken_out_past_redis_is_out_everywhere,
            rights.a_task_registered_anew_past_redis_has_a_new_owner,
        ),
    ),
    Mutation(
        "a drained task keeps the writers that it had",
        _sql("_DRAIN", ("writers = excluded.writers", "writers = t.writers")),
        (rights.pending_writers_count_at_once_and_arrive,),
    ),
)
