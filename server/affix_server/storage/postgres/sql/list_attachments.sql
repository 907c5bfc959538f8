-- A page of a task's attachments in (created_at, key) order, and how many match; one row without an id if it is empty.
--
-- $1 task_id, $2 type or null for any, $3 limit, $4 offset, $5 most bytes of content to send along for the page,
-- -1 for none, $6 what the keys begin with, $7 the time in ms: what is gone by then is not listed
SELECT whole.task_exists,
       whole.total,
       page.key,
       page.id,
       page.type,
       page.total_bytes,
       page.content_bytes,
       CASE WHEN page.total_bytes <= $5 THEN page.value END AS value,
       CASE WHEN page.total_bytes <= $5 THEN page.content END AS content,
       page.url,
       page.mime_type,
       page.size,
       page.created_by,
       (extract(epoch FROM page.created_at) * 1000)::bigint AS created_at,
       (extract(epoch FROM page.updated_at) * 1000)::bigint AS updated_at,
       (extract(epoch FROM page.deleted_at) * 1000)::bigint AS deleted_at,
       (extract(epoch FROM page.expires_at) * 1000)::bigint AS expires_at,
       page.revision
FROM (
    SELECT EXISTS (SELECT FROM tasks t WHERE t.id = $1 AND t.deleted_at IS NULL) AS task_exists,
           (
               SELECT count(*)
               FROM task_attachments a
               WHERE a.task_id = $1 AND a.deleted_at IS NULL AND ($2::text IS NULL OR a.type = $2)
                 AND starts_with(a.key, $6)
           -- Counted apart, so that the others are counted in an index that does not know of it.
           ) - (
               SELECT count(*)
               FROM task_attachments a
               WHERE a.expires_at <= to_timestamp($7::bigint / 1000.0)
                 AND a.task_id = $1 AND a.deleted_at IS NULL AND ($2::text IS NULL OR a.type = $2)
                 AND starts_with(a.key, $6)
           ) AS total
) AS whole
LEFT JOIN LATERAL (
    SELECT found.*, sum(found.content_bytes) OVER () AS total_bytes
    FROM (
        SELECT *
        FROM task_attachments a
        WHERE a.task_id = $1 AND a.deleted_at IS NULL AND ($2::text IS NULL OR a.type = $2)
          AND starts_with(a.key, $6)
          AND (a.expires_at IS NULL OR a.expires_at > to_timestamp($7::bigint / 1000.0))
        ORDER BY a.created_at /* direction */, a.key /* direction */
        LIMIT $3 OFFSET $4
    ) AS found
) AS page ON true
ORDER BY page.created_at /* direction */, page.key /* direction */
