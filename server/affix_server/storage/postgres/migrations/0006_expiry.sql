-- One by one.
-- When an attachment is to be gone; null for one that stays. From that moment on no answer has it, and whoever finds it
-- first deletes it.
ALTER TABLE task_attachments ADD COLUMN IF NOT EXISTS expires_at timestamptz;
-- Holds nothing but what expires, and little of that has expired at any moment.
CREATE INDEX CONCURRENTLY IF NOT EXISTS task_attachments_expiring ON task_attachments (expires_at, task_id)
    WHERE expires_at IS NOT NULL AND deleted_at IS NULL;
