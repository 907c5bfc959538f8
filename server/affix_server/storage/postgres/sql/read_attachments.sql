-- Reads attachments by name, tombstones included.
--
-- $1 task_id[], $2 key[], $3 most bytes of content to send along for all of them, -1 for none
-- Returns a row for each, in order; contents are null throughout when they exceed $3 together.
SELECT r.place,
       r.task_exists,
       r.found,
       r.content_bytes,
       r.total_bytes,
       r.id,
       r.type,
       CASE WHEN r.total_bytes <= $3 THEN r.value END AS value,
       CASE WHEN r.total_bytes <= $3 THEN r.content END AS content,
       r.url,
       r.mime_type,
       r.size,
       r.created_by,
       r.updated_by,
       (extract(epoch FROM r.created_at) * 1000)::bigint AS created_at,
       (extract(epoch FROM r.updated_at) * 1000)::bigint AS updated_at,
       (extract(epoch FROM r.deleted_at) * 1000)::bigint AS deleted_at,
       (extract(epoch FROM r.expires_at) * 1000)::bigint AS expires_at,
       r.revision,
       r.previous_revision,
       r.overwrites
FROM (
    SELECT named.place,
           t.id IS NOT NULL AS task_exists,
           a.key IS NOT NULL AS found,
           coalesce(sum(a.content_bytes) OVER (), 0)::bigint AS total_bytes,
           a.*
    FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS named (task_id, key, place)
    LEFT JOIN tasks t ON t.id = named.task_id AND t.deleted_at IS NULL
    LEFT JOIN task_attachments a ON a.task_id = named.task_id AND a.key = named.key
) r
ORDER BY r.place
