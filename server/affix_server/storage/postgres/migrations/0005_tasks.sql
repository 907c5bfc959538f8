-- One by one.
-- `born` is the revision with which a task was last registered: a statement that may only have an effect below that
-- is from before (docs/decisions/0017-tasks-without-postgres.md).

ALTER TABLE tasks ADD COLUMN IF NOT EXISTS born bigint NOT NULL DEFAULT 0;

-- An index for each order of a list, after each filter (docs/decisions/0018-an-index-for-each-list.md).

DROP INDEX CONCURRENTLY IF EXISTS tasks_by_update;
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_by_update ON tasks (updated_at, created_at, id) WHERE deleted_at IS NULL;
-- Unassigned tasks come last in either direction, so the ways back are indexes of their own.
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_by_assignee_down
    ON tasks (assigned_to DESC NULLS LAST, created_at DESC, id DESC)
    WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_by_status_assignee_down ON tasks
    (status, assigned_to DESC NULLS LAST, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_by_priority_assignee_down ON tasks
    (priority, assigned_to DESC NULLS LAST, created_at DESC, id DESC) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_by_status_update
    ON tasks (status, updated_at, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_by_status_priority
    ON tasks (status, priority, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_by_status_assignee
    ON tasks (status, assigned_to, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_by_priority_update
    ON tasks (priority, updated_at, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_by_priority_status
    ON tasks (priority, status, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_by_priority_assignee
    ON tasks (priority, assigned_to, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_by_assignee_update
    ON tasks (assigned_to, updated_at, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_by_assignee_status
    ON tasks (assigned_to, status, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX CONCURRENTLY IF NOT EXISTS tasks_by_assignee_priority
    ON tasks (assigned_to, priority, created_at, id) WHERE deleted_at IS NULL;
