"""Who may change a task is told as it was answered last, by any server (docs/decisions/0022-who-may-do-what.md)."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

from affix_server.domain import NewTask, TaskChanges, TaskRights
from affix_server.storage.republisher import Republisher
from tests.resilience.inside import postgres_refused, redis_unreachable
from tests.resilience.scenarios.tasks import both_without_postgres, settled
from tests.resilience.world import Pair


async def _registered(world: Pair) -> str:
    """Register a task that names a writer; both servers know of it from Redis."""
    new = NewTask(None, "a task", 50, "{}", ("writer",))
    task_id = (await world.storage.tasks.create(new, "owner")).task.id
    assert await world.other.tasks.rights(task_id) == TaskRights("owner", ("writer",))
    return task_id


@contextmanager
def _republished_later() -> Iterator[None]:
    """Let no server bring Redis up to date before the end of the block."""
    real, end = Republisher.republish, asyncio.Event()

    async def later(self: Republisher, since: int) -> int:
        await end.wait()
        return await real(self, since)

    with patch.object(Republisher, "republish", later):
        try:
            yield
        finally:
            end.set()


async def who_was_taken_out_past_redis_is_out_everywhere(world: Pair) -> None:
    """One server is cut off from Redis, whose task still names the writer."""
    task_id = await _registered(world)
    with redis_unreachable(world.storage), _republished_later():
        await world.storage.tasks.update(task_id, TaskChanges(writers=()), "owner")
        assert await world.other.tasks.rights(task_id) == TaskRights("owner")
    await world.both_believe()
    assert await world.other.tasks.rights(task_id) == TaskRights("owner")


async def a_task_registered_anew_past_redis_has_a_new_owner(world: Pair) -> None:
    """Redis still has the task that was deleted."""
    task_id = await _registered(world)
    with redis_unreachable(world.storage), _republished_later():
        await world.storage.tasks.delete(task_id, "owner")
        await world.storage.tasks.create(NewTask(task_id, "another", 50, "{}"), "somebody else")
        assert await world.other.tasks.rights(task_id) == TaskRights("somebody else")
    await world.both_believe()
    assert await world.other.tasks.rights(task_id) == TaskRights("somebody else")


async def pending_writers_count_at_once_and_arrive(world: Pair) -> None:
    """Writers are changed while Postgres is away; then all of Redis is lost."""
    task_id = await _registered(world)
    with postgres_refused(world.storage), postgres_refused(world.other):
        await world.storage.tasks.update(task_id, TaskChanges(writers=("another",)), "owner")
        await both_without_postgres(world)
        assert await world.other.tasks.rights(task_id) == TaskRights("owner", ("another",))
    await settled(world, task_id)
    await world.redis.delete(f"cb:task:{task_id}")
    assert await world.other.tasks.rights(task_id) == TaskRights("owner", ("another",))
