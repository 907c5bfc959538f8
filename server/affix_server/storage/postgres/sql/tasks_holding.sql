-- The next tasks in the order of their ids, as many as are quickly read; the metadata is null where it certainly has no
-- member of a name.
--
-- $1 the id after which to read on, $2 the name in quotes
--
-- The operators of type json are not used: they fail on a \u0000 anywhere in a text. A name may be spelled with escapes.
SELECT id, revision, CASE
    WHEN strpos(metadata::text, $2) > 0 OR strpos(metadata::text, '\u') > 0 THEN metadata
END AS metadata
FROM (
    SELECT id, revision, metadata, sum(pg_column_size(metadata)) OVER (ORDER BY id) AS up_to_here
    FROM (
        SELECT id, revision, metadata FROM tasks WHERE id > $1 AND deleted_at IS NULL ORDER BY id LIMIT 500
    ) AS next
) AS page
-- At least one, however large it is.
WHERE up_to_here - pg_column_size(metadata) < 1048576
ORDER BY id
