-- What a write replaced, so that its event can follow that of the write before it: that revision, 0 if there was nothing,
-- or the write's own if there is no event of it, because its task was deleted and that event tells of all attachments;
-- and whether what it replaced was an attachment.

ALTER TABLE task_attachments
    ADD COLUMN previous_revision bigint NOT NULL DEFAULT 0,
    ADD COLUMN overwrites        boolean NOT NULL DEFAULT false;
