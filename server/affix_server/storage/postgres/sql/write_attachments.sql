-- One group commit: creates and deletes of different keys, each at most once.
--
-- $1 task_ids, $2 keys, $3 deletes[], $4 random parts of new ids, $5 types, $6 value[],
-- $7 content[], $8 url[], $9 mime_type[], $10 size[], $11 content_bytes, $12 written_by[],
-- $13 highest revision seen so far, $14 the fence: the revision at and after which this statement has no effect,
-- $15 if_revision[]: the revision that has to be there, 0 for no attachment, null for any;
-- $16 whether any of those is not null, so that statements without conditions do not pay for them,
-- $17 expires_at[] in ms, null for never, $18 ends[]: whether to delete only what has expired, $19 whether any does
-- An array of nothing but null or false may be empty instead, one of which all are the same ($12) have the first alone.
-- What is no array is a text of all: random parts are 9 characters each, others have U+001F between them, and nothing for null.
-- Returns a row for each input, in order: whether its task exists, if anything was written, what, and if
-- nothing was written although there was something to write, that it came too late, or that what is there has expired
-- and is to be ended first. What else was not written has a condition that does not hold.
WITH input AS (
    SELECT task_id, key, coalesce(deletes, false) AS deletes, type, url, mime_type, size, content_bytes,
           coalesce(written_by, ($12::text[])[1]) AS written_by,
           substr($4::text, (place::int - 1) * 9 + 1, 9) AS suffix, if_revision, expires_ms, coalesce(ends, false) AS ends, place
    FROM unnest(string_to_array($1, E'\x1f'), string_to_array($2, E'\x1f'), $3::bool[],
                string_to_array($5, E'\x1f', ''), $8::text[], $9::text[], $10::bigint[],
                string_to_array($11, E'\x1f')::bigint[], $12::text[], $15::bigint[], $17::bigint[], $18::bool[])
        WITH ORDINALITY AS i (task_id, key, deletes, type, url, mime_type,
                              size, content_bytes, written_by, if_revision, expires_ms, ends, place)
),
-- Held until the commit, so that a task cannot be deleted between being found and being written to. What is deleted is
-- left out behind OFFSET 0, here and below: that keeps the planner from all indexes but the primary key, to which it
-- may prefer one of the lists', as a whole, while it does not know how much there is of anything.
task AS (
    SELECT id, born
    FROM (SELECT id, born, deleted_at FROM tasks WHERE id = ANY (string_to_array($1::text, E'\x1f')) ORDER BY id FOR KEY SHARE OFFSET 0) AS named
    WHERE deleted_at IS NULL
),
-- Revisions may be ahead of the clock; what people read as times may not.
clock AS (
    SELECT greatest(us, $13::bigint + 1) AS now, us / 1000 AS ms, to_timestamp((us / 1000) / 1000.0) AS at
    FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us) AS read
),
written AS (
    INSERT INTO task_attachments AS a (
        task_id, key, id, type, value, content, url, mime_type, size, content_bytes,
        created_by, updated_by, created_at, updated_at, revision, deleted_at, expires_at
    )
    -- What may be large is taken from its array only here, so that nothing on the way has to copy it.
    SELECT task_id, key, id, type, ($6::json[])[place], ($7::text[])[place], url, mime_type, size, content_bytes,
           written_by, written_by, at, at, now, CASE WHEN deletes THEN at END, to_timestamp(expires_ms / 1000.0)
    FROM (
        SELECT i.*, 'ta-' || ms || '-' || i.suffix AS id, at, now
        FROM input i
        JOIN task ON task.id = i.task_id
        CROSS JOIN clock
        -- Looked for only where something has to be there, which OFFSET 0 keeps the planner from forgetting.
        LEFT JOIN LATERAL (
            SELECT a.key, a.deleted_at
            FROM task_attachments a
            WHERE (i.deletes OR coalesce(i.if_revision > 0, false)) AND a.task_id = i.task_id AND a.key = i.key
            OFFSET 0
        ) AS held ON held.deleted_at IS NULL
        -- What was meant for a task of this name that has been deleted since does not reach this one.
        WHERE now < $14 AND task.born < $14
          AND (NOT (i.deletes OR coalesce(i.if_revision > 0, false)) OR held.key IS NOT NULL)
        -- One order for all writers, or two of them could wait for each other.
        ORDER BY i.task_id, i.key
        OFFSET 0
    ) AS due
    ON CONFLICT (task_id, key) DO UPDATE SET
        id = CASE WHEN a.deleted_at IS NULL THEN a.id ELSE excluded.id END,
        type = excluded.type,
        value = excluded.value,
        content = excluded.content,
        url = excluded.url,
        mime_type = excluded.mime_type,
        size = excluded.size,
        content_bytes = excluded.content_bytes,
        created_by = CASE WHEN a.deleted_at IS NULL THEN a.created_by ELSE excluded.created_by END,
        updated_by = excluded.updated_by,
        created_at = CASE WHEN a.deleted_at IS NULL THEN a.created_at ELSE excluded.created_at END,
        updated_at = greatest(excluded.updated_at, a.updated_at),
        revision = greatest(excluded.revision, a.revision + 1),
        expires_at = excluded.expires_at,
        deleted_at = CASE WHEN excluded.deleted_at IS NOT NULL THEN greatest(excluded.updated_at, a.updated_at) END,
        previous_revision = CASE WHEN a.previous_revision = a.revision THEN 0 ELSE a.revision END,
        overwrites = a.deleted_at IS NULL
    WHERE (a.deleted_at IS NULL OR excluded.deleted_at IS NULL)
      AND (NOT $16 OR EXISTS (
          SELECT FROM input i
          WHERE i.task_id = a.task_id AND i.key = a.key
            AND coalesce(i.if_revision = CASE WHEN a.deleted_at IS NULL THEN a.revision ELSE 0 END, true)
      ))
      -- What has expired is ended, and nothing but ended.
      AND (a.deleted_at IS NOT NULL OR coalesce(a.expires_at <= excluded.updated_at, false) = ($19 AND EXISTS (
          SELECT FROM input i WHERE i.task_id = a.task_id AND i.key = a.key AND i.ends
      )))
      AND a.revision + 1 < $14
      AND extract(epoch FROM clock_timestamp()) * 1000000 < $14
    RETURNING a.task_id, a.key, a.id, a.created_by, a.created_at, a.updated_at, a.revision, a.previous_revision,
              a.overwrites
)
SELECT i.place,
       task.id IS NOT NULL AS task_exists,
       w.id,
       w.created_by,
       (extract(epoch FROM w.created_at) * 1000)::bigint AS created_at,
       (extract(epoch FROM w.updated_at) * 1000)::bigint AS updated_at,
       w.revision,
       w.previous_revision,
       w.overwrites,
       task.id IS NOT NULL AND w.id IS NULL AND NOT coalesce(held.expired, false)
           AND ((NOT i.deletes AND i.if_revision IS NULL)
           OR held.revision + 1 >= $14 OR clock.now >= $14 OR task.born >= $14
           OR extract(epoch FROM clock_timestamp()) * 1000000 >= $14) AS too_late,
       task.id IS NOT NULL AND coalesce(held.expired, false) AND NOT i.ends AS expired
FROM input i
CROSS JOIN clock
LEFT JOIN task ON task.id = i.task_id
LEFT JOIN written w ON w.task_id = i.task_id AND w.key = i.key
-- Only where nothing was written.
LEFT JOIN LATERAL (
    SELECT a.revision, a.expires_at <= clock.at AS expired, a.deleted_at
    FROM task_attachments a
    WHERE w.id IS NULL AND a.task_id = i.task_id AND a.key = i.key
    OFFSET 0
) AS held ON held.deleted_at IS NULL
ORDER BY i.place
