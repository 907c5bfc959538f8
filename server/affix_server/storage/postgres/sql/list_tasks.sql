-- A page of tasks and the number of all that match; one row of nulls but the total if the page is empty.
--
-- $1 limit, $2 offset, $3 the time in ms: what is gone by then is not counted; and from $4 on what the filters compare with. What is left out of the statement when a
-- filter is not asked for, no plan has to provide for.
SELECT matching.total, page.*
FROM (
    SELECT count(*) AS total
    FROM tasks t
    WHERE t.deleted_at IS NULL /* filters */
) AS matching
LEFT JOIN LATERAL (
    SELECT row_number() OVER () AS place, found.*, (
        SELECT count(*) FROM task_attachments a WHERE a.task_id = found.id AND a.deleted_at IS NULL
    ) - (
        SELECT count(*) FROM task_attachments a
        WHERE a.expires_at <= to_timestamp($3::bigint / 1000.0) AND a.task_id = found.id AND a.deleted_at IS NULL
    ) AS attachment_count
    FROM (
        SELECT /* columns */
        FROM tasks t
        WHERE t.deleted_at IS NULL /* filters */
        ORDER BY /* order */
        LIMIT $1 OFFSET $2
    ) AS found
) AS page ON true
ORDER BY page.place
