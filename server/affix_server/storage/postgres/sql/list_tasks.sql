-- A page of tasks and the number of all that match; one row of nulls but the total if the page is empty.
--
-- $1 status, $2 assigned_to, $3 priority (null for any), $4 limit, $5 offset
SELECT matching.total, page.*
FROM (
    SELECT count(*) AS total
    FROM tasks t
    WHERE t.deleted_at IS NULL
      AND ($1::text IS NULL OR t.status = $1)
      AND ($2::text IS NULL OR t.assigned_to = $2)
      AND ($3::integer IS NULL OR t.priority = $3)
) AS matching
LEFT JOIN LATERAL (
    SELECT row_number() OVER () AS place, found.*, (
        SELECT count(*) FROM task_attachments a WHERE a.task_id = found.id AND a.deleted_at IS NULL
    ) AS attachment_count
    FROM (
        SELECT /* columns */
        FROM tasks t
        WHERE t.deleted_at IS NULL
          AND ($1::text IS NULL OR t.status = $1)
          AND ($2::text IS NULL OR t.assigned_to = $2)
          AND ($3::integer IS NULL OR t.priority = $3)
        ORDER BY /* order */
        LIMIT $4 OFFSET $5
    ) AS found
) AS page ON true
ORDER BY page.place
