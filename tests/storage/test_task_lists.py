"""Every list of tasks with at most one filter is read along an index (docs/decisions/0018)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import asyncpg
import pytest

from affix_cli.embedded import EmbeddedPostgres
from affix_server.domain import TaskOrderBy
from affix_server.storage.postgres.migrate import migrate
from affix_server.storage.postgres.tasks import list_statement
from affix_server.times import now_ms

_ROWS = 20_000
_FILL = """
INSERT INTO tasks (id, text, status, priority, metadata, assigned_to, created_by, updated_by, created_at, updated_at,
                   completed_at, revision, deleted_at)
SELECT 't-' || n, 'a task', (ARRAY['pending', 'in_progress', 'completed', 'failed'])[1 + n % 4], n * 7 % 101, '{}',
       CASE WHEN n % 3 > 0 THEN 'worker-' || n % 50 END, 'a', 'a', at, at + n * 13 % 1000 * interval '1 hour', NULL, n,
       CASE WHEN n % 20 = 0 THEN now() END
FROM (SELECT n, timestamptz '2026-01-01' + n * interval '1 minute' AS at FROM generate_series(1, $1::integer) n) AS made
"""
_FILTERS = {"t.status": "failed", "t.assigned_to": "worker-7", "t.priority": 7}
# A page of 50, and what the planner may pass over to find it: a quarter of all tasks are of a status.
_LONGEST_LOOK = 1000


@pytest.fixture(scope="module")
async def tasks(postgres_store: EmbeddedPostgres) -> AsyncIterator[asyncpg.Connection]:
    """A database of its own with many tasks in it."""
    admin = await asyncpg.connect(postgres_store.dsn)
    await admin.execute("CREATE DATABASE task_lists")
    dsn = postgres_store.dsn.replace("/affix?", "/task_lists?")
    assert dsn != postgres_store.dsn
    await migrate(dsn)
    connection = await asyncpg.connect(dsn)
    await connection.execute(_FILL, _ROWS)
    await connection.execute("ANALYZE")
    yield connection
    await connection.close()
    await admin.execute("DROP DATABASE task_lists")
    await admin.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for below in plan.get("Plans", []):
        yield from nodes(below)


async def page_plan(connection: asyncpg.Connection, sql: str, *args: object) -> list[dict[str, Any]]:
    """Run a list and return the nodes of its plan that read the page, without those that count."""
    (record,) = await connection.fetch(f"EXPLAIN (ANALYZE, FORMAT JSON, TIMING OFF) {sql}", *args)
    (explained,) = json.loads(record[0])
    limits = [node for node in nodes(explained["Plan"]) if node["Node Type"] == "Limit"]
    assert len(limits) == 1
    return list(nodes(limits[0]))


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("order_by", list(TaskOrderBy))
@pytest.mark.parametrize("filters", [(), *((column,) for column in _FILTERS)])
async def test_a_page_is_read_along_an_index(
    tasks: asyncpg.Connection, filters: tuple[str, ...], order_by: TaskOrderBy, order: str
) -> None:
    sql = list_statement(filters, order_by, descending=order == "desc")
    found = await page_plan(tasks, sql, 50, 0, now_ms(), *(_FILTERS[column] for column in filters))
    kinds = {node["Node Type"] for node in found}
    assert not kinds & {"Sort", "Incremental Sort", "Seq Scan", "Bitmap Heap Scan"}, kinds
    (scan,) = [node for node in found if "Index Name" in node]
    looked_at = scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)
    assert looked_at <= _LONGEST_LOOK, scan


async def test_the_total_is_counted_along_an_index(tasks: asyncpg.Connection) -> None:
    for column in ("t.assigned_to", "t.priority"):  # of a quarter of all rows, reading the table is as good
        sql = list_statement((column,), TaskOrderBy.CREATED_AT, descending=True)
        (record,) = await tasks.fetch(f"EXPLAIN (FORMAT JSON) {sql}", 50, 0, now_ms(), _FILTERS[column])
        counted = [node for node in nodes(json.loads(record[0])[0]["Plan"]) if node["Node Type"] == "Aggregate"]
        assert counted
        assert not [node for node in nodes(counted[0]) if node["Node Type"] == "Seq Scan"], column
