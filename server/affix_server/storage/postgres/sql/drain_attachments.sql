-- Commits writes that were accepted while this database was away. Of two, the higher revision stays.
--
-- $1 task_id[], $2 key[], $3 id[], $4 type[], $5 value[], $6 content[], $7 url[], $8 mime_type[], $9 size[],
-- $10 content_bytes[], $11 created_by[], $12 updated_by[], $13 created_at[] and $14 updated_at[] in ms, $15 revision[],
-- $16 deletes[], $17 provisional[]: whether id and creation give way to those of a row that is there and has not
-- expired, $18 expires_at[] in ms
WITH input AS (
    SELECT *
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::bigint[], $10::bigint[], $11::text[], $12::text[], $13::bigint[], $14::bigint[], $15::bigint[],
                $16::bool[], $17::bool[], $18::bigint[])
        AS i (task_id, key, id, type, value, content, url, mime_type, size, content_bytes,
              created_by, updated_by, created_ms, updated_ms, revision, deletes, provisional, expires_ms)
),
task AS (
    SELECT id, born FROM tasks WHERE id = ANY ($1) AND deleted_at IS NULL ORDER BY id FOR KEY SHARE
)
INSERT INTO task_attachments AS a (
    task_id, key, id, type, value, content, url, mime_type, size, content_bytes,
    created_by, updated_by, created_at, updated_at, revision, deleted_at, expires_at
)
SELECT i.task_id, i.key, i.id, i.type, i.value::json, i.content, i.url, i.mime_type, i.size, i.content_bytes,
       i.created_by, i.updated_by, to_timestamp(i.created_ms / 1000.0), to_timestamp(i.updated_ms / 1000.0), i.revision,
       CASE WHEN i.deletes THEN to_timestamp(i.updated_ms / 1000.0) END, to_timestamp(i.expires_ms / 1000.0)
FROM input i
-- What is older than its task hung on another one of that name.
JOIN task ON task.id = i.task_id AND task.born < i.revision
ORDER BY i.task_id, i.key
ON CONFLICT (task_id, key) DO UPDATE SET
    id = CASE
        WHEN a.deleted_at IS NULL AND (excluded.deleted_at IS NOT NULL OR EXISTS (
            SELECT FROM input i WHERE i.task_id = a.task_id AND i.key = a.key AND i.provisional
        ) AND (a.expires_at <= excluded.updated_at) IS NOT TRUE) THEN a.id ELSE excluded.id
    END,
    type = excluded.type,
    value = excluded.value,
    content = excluded.content,
    url = excluded.url,
    mime_type = excluded.mime_type,
    size = excluded.size,
    content_bytes = excluded.content_bytes,
    created_by = CASE
        WHEN a.deleted_at IS NULL AND (a.expires_at <= excluded.updated_at) IS NOT TRUE AND EXISTS (
            SELECT FROM input i WHERE i.task_id = a.task_id AND i.key = a.key AND i.provisional
        ) THEN a.created_by ELSE excluded.created_by
    END,
    created_at = CASE
        WHEN a.deleted_at IS NULL AND (a.expires_at <= excluded.updated_at) IS NOT TRUE AND EXISTS (
            SELECT FROM input i WHERE i.task_id = a.task_id AND i.key = a.key AND i.provisional
        ) THEN a.created_at ELSE excluded.created_at
    END,
    updated_by = excluded.updated_by,
    updated_at = excluded.updated_at,
    revision = excluded.revision,
    deleted_at = excluded.deleted_at,
    expires_at = excluded.expires_at,
    previous_revision = CASE WHEN a.previous_revision = a.revision THEN 0 ELSE a.revision END,
    overwrites = a.deleted_at IS NULL AND (a.expires_at <= excluded.updated_at) IS NOT TRUE
WHERE excluded.revision > a.revision
