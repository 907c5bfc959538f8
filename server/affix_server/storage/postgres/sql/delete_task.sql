-- Makes tombstones of a task that is locked and of all its attachments: their contents go at once.
--
-- $1 id, $2 deleted_by, $3 highest revision seen so far
-- Returns the tombstone's time and revision, and all keys that went with it or shortly before.
WITH clock AS (
    SELECT revision, to_timestamp((us / 1000) / 1000.0) AS at
    FROM (
        SELECT us, greatest(
            us,
            $3::bigint + 1,
            (SELECT t.revision + 1 FROM tasks t WHERE t.id = $1),
            (SELECT max(a.revision) + 1 FROM task_attachments a WHERE a.task_id = $1)
        ) AS revision
        FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us) AS read
    ) AS highest
),
attachments AS (
    UPDATE task_attachments SET
        type = NULL, value = NULL, content = NULL, url = NULL, mime_type = NULL, size = NULL, content_bytes = 0,
        expires_at = NULL,
        updated_by = $2, updated_at = clock.at, deleted_at = clock.at, revision = clock.revision,
        previous_revision = clock.revision
    FROM clock
    WHERE task_id = $1 AND deleted_at IS NULL
    RETURNING key
),
task AS (
    UPDATE tasks SET
        text = '', metadata = '{}', assigned_to = NULL, writers = '[]',
        updated_by = $2, updated_at = clock.at, deleted_at = clock.at, revision = clock.revision
    FROM clock
    WHERE id = $1
    RETURNING tasks.deleted_at, tasks.revision
)
SELECT (extract(epoch FROM task.deleted_at) * 1000)::bigint AS deleted_at,
       task.revision,
       ARRAY(SELECT a.key FROM task_attachments a WHERE a.task_id = $1) AS keys
FROM task
