-- Reads what was written or deleted after a revision, with its contents, in the order of revisions.
--
-- $1 the revision, $2 how many at most; all that share the last revision come along
SELECT a.task_id, a.key, a.id, a.type, a.value, a.content, a.url, a.mime_type, a.size, a.created_by, a.updated_by,
       (extract(epoch FROM a.created_at) * 1000)::bigint AS created_at,
       (extract(epoch FROM a.updated_at) * 1000)::bigint AS updated_at,
       (extract(epoch FROM a.deleted_at) * 1000)::bigint AS deleted_at,
       (extract(epoch FROM a.expires_at) * 1000)::bigint AS expires_at,
       a.revision,
       a.previous_revision,
       a.overwrites
FROM task_attachments a
WHERE a.revision > $1
ORDER BY a.revision
FETCH FIRST $2 ROWS WITH TIES
