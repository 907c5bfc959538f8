-- Registers a task, in the place of a deleted one if need be; no row if there is a live one, or if it comes too late.
--
-- $1 id, $2 text, $3 priority, $4 metadata, $5 created_by, $6 highest revision seen so far,
-- $7 the fence: the revision at and after which this statement has no effect, $8 writers
INSERT INTO tasks AS t (
    id, text, status, priority, metadata, created_by, updated_by, created_at, updated_at, revision, born, writers
)
SELECT $1, $2, 'pending', $3, $4::json, $5, $5, at, at, now, now, $8::json
FROM (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us) AS clock
CROSS JOIN LATERAL greatest(us, $6::bigint + 1) AS now
CROSS JOIN LATERAL to_timestamp((us / 1000) / 1000.0) AS at
WHERE now < $7
ON CONFLICT (id) DO UPDATE SET
    text = excluded.text,
    status = excluded.status,
    priority = excluded.priority,
    metadata = excluded.metadata,
    assigned_to = NULL,
    created_by = excluded.created_by,
    updated_by = excluded.updated_by,
    created_at = excluded.created_at,
    updated_at = excluded.updated_at,
    completed_at = NULL,
    writers = excluded.writers,
    revision = greatest(excluded.revision, t.revision + 1),
    born = greatest(excluded.revision, t.revision + 1),
    deleted_at = NULL
WHERE t.deleted_at IS NOT NULL
  AND t.revision + 1 < $7
  AND extract(epoch FROM clock_timestamp()) * 1000000 < $7
RETURNING /* columns */
