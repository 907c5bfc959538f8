-- Changes a task that is locked; a null leaves its column as it is.
--
-- $1 id, $2 text, $3 status, $4 priority, $5 metadata, $6 assigned_to, $7 updated_by,
-- $8 highest revision seen so far, $9 writers
UPDATE tasks AS t SET
    text = coalesce($2, t.text),
    status = coalesce($3, t.status),
    priority = coalesce($4, t.priority),
    metadata = coalesce($5::json, t.metadata),
    assigned_to = coalesce($6, t.assigned_to),
    writers = coalesce($9::json, t.writers),
    updated_by = $7,
    updated_at = greatest(next.at, t.updated_at),
    completed_at = CASE
        WHEN $3 = 'completed' THEN greatest(next.at, t.updated_at)
        WHEN $3 IS NULL THEN t.completed_at
    END,
    revision = next.revision
FROM (
    SELECT greatest(us, $8::bigint + 1, held.revision + 1) AS revision, to_timestamp((us / 1000) / 1000.0) AS at
    FROM tasks held
    CROSS JOIN (SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::bigint AS us) AS clock
    WHERE held.id = $1
) AS next
WHERE t.id = $1
RETURNING /* columns */
