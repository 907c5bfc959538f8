-- Commits writes of tasks that were accepted while this database was away; their rows are locked. Of two, the higher
-- revision stays; a task that has been deleted stays so, unless it was registered anew.
--
-- $1 id[], $2 text[], $3 status[], $4 priority[], $5 metadata[], $6 assigned_to[], $7 created_by[], $8 updated_by[],
-- $9 created_at[], $10 updated_at[] and $11 completed_at[] in ms, $12 revision[], $13 deletes[],
-- $14 born[]: the revision with which it was registered, if that is to be committed as well, else 0,
-- $15 emptied[]: the revision of the tombstone that it was registered in the place of, or 0, $16 writers[]
WITH input AS (
    SELECT i.*,
           NOT i.deletes AND (i.born > 0 OR held.id IS NOT NULL) AS lives,
           -- What is here hangs on a task that is gone.
           i.deletes OR held.id IS NULL OR held.born < i.emptied AS empties,
           -- A deletion takes along all there is; a task that turns out to be gone is gone after what was accepted.
           CASE
               WHEN i.deletes THEN greatest(
                   i.drained,
                   (SELECT max(a.revision) + 1 FROM task_attachments a WHERE a.task_id = i.id AND a.deleted_at IS NULL)
               )
               WHEN i.born > 0 OR held.id IS NOT NULL THEN i.drained
               ELSE i.drained + 1
           END AS revision
    FROM unnest($1::text[], $2::text[], $3::text[], $4::integer[], $5::text[], $6::text[], $7::text[], $8::text[],
                $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bool[], $14::bigint[], $15::bigint[],
                $16::text[])
        AS i (id, text, status, priority, metadata, assigned_to, created_by, updated_by,
              created_ms, updated_ms, completed_ms, drained, deletes, born, emptied, writers)
    LEFT JOIN tasks held ON held.id = i.id AND held.deleted_at IS NULL
),
task AS (
    INSERT INTO tasks AS t (
        id, text, status, priority, metadata, assigned_to, created_by, updated_by,
        created_at, updated_at, completed_at, revision, born, deleted_at, writers
    )
    SELECT i.id,
           CASE WHEN i.lives THEN i.text ELSE '' END,
           i.status,
           i.priority,
           CASE WHEN i.lives THEN i.metadata ELSE '{}' END::json,
           CASE WHEN i.lives THEN i.assigned_to END,
           i.created_by,
           i.updated_by,
           to_timestamp(i.created_ms / 1000.0),
           to_timestamp(i.updated_ms / 1000.0),
           to_timestamp(i.completed_ms / 1000.0),
           i.revision,
           i.born,
           CASE WHEN NOT i.lives THEN to_timestamp(i.updated_ms / 1000.0) END,
           CASE WHEN i.lives THEN i.writers ELSE '[]' END::json
    FROM input i
    ORDER BY i.id
    ON CONFLICT (id) DO UPDATE SET
        text = excluded.text,
        status = excluded.status,
        priority = excluded.priority,
        metadata = excluded.metadata,
        assigned_to = excluded.assigned_to,
        created_by = excluded.created_by,
        updated_by = excluded.updated_by,
        created_at = excluded.created_at,
        updated_at = excluded.updated_at,
        completed_at = excluded.completed_at,
        revision = excluded.revision,
        born = greatest(excluded.born, t.born),
        deleted_at = excluded.deleted_at,
        writers = excluded.writers
    WHERE excluded.revision > t.revision
    RETURNING t.id
)
UPDATE task_attachments AS a SET
    type = NULL, value = NULL, content = NULL, url = NULL, mime_type = NULL, size = NULL, content_bytes = 0,
    expires_at = NULL,
    updated_by = i.updated_by, updated_at = to_timestamp(i.updated_ms / 1000.0),
    deleted_at = to_timestamp(i.updated_ms / 1000.0),
    revision = greatest(a.revision + 1, CASE WHEN i.lives THEN i.born ELSE i.revision END),
    -- The task's own event tells of their end.
    previous_revision = greatest(a.revision + 1, CASE WHEN i.lives THEN i.born ELSE i.revision END)
FROM input i
JOIN task ON task.id = i.id
WHERE a.task_id = i.id AND a.deleted_at IS NULL AND i.empties
