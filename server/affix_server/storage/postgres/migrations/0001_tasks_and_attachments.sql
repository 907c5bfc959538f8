-- Tasks, and the attachments that hang on them. Names sort by code point (COLLATE "C"), the
-- order in which Redis sorts them too. A row with deleted_at is a tombstone: it keeps its
-- identity and revision and nothing of its content, until it is purged.

CREATE TABLE tasks (
    id           text COLLATE "C" PRIMARY KEY,
    text         text NOT NULL,
    status       text NOT NULL CHECK (status IN ('pending', 'in_progress', 'completed', 'failed')),
    priority     integer NOT NULL CHECK (priority BETWEEN 0 AND 100),
    metadata     json NOT NULL,
    assigned_to  text COLLATE "C",
    created_by   text NOT NULL,
    updated_by   text NOT NULL,
    created_at   timestamptz(3) NOT NULL,
    updated_at   timestamptz(3) NOT NULL,
    completed_at timestamptz(3),
    revision     bigint NOT NULL,
    deleted_at   timestamptz(3)
);

CREATE INDEX tasks_by_creation ON tasks (created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_update ON tasks (updated_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_status ON tasks (status, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_priority ON tasks (priority, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_assignee ON tasks (assigned_to, created_at, id) WHERE deleted_at IS NULL;
CREATE INDEX tasks_by_revision ON tasks (revision);
CREATE INDEX tasks_deleted ON tasks (deleted_at) WHERE deleted_at IS NOT NULL;

CREATE TABLE task_attachments (
    task_id       text COLLATE "C" NOT NULL,
    key           text COLLATE "C" NOT NULL,
    id            text NOT NULL,
    type          text CHECK (type IN ('json', 'markdown', 'text', 'url', 'binary')),
    value         json,
    content       text,
    url           text,
    mime_type     text,
    size          bigint,
    content_bytes bigint NOT NULL,
    created_by    text NOT NULL,
    updated_by    text NOT NULL,
    created_at    timestamptz(3) NOT NULL,
    updated_at    timestamptz(3) NOT NULL,
    revision      bigint NOT NULL,
    deleted_at    timestamptz(3),
    PRIMARY KEY (task_id, key),
    CONSTRAINT content_matches_type CHECK (
        CASE
            WHEN deleted_at IS NOT NULL THEN num_nonnulls(type, value, content, url, mime_type, size) = 0
            WHEN type = 'json' THEN value IS NOT NULL AND num_nonnulls(content, url, mime_type, size) = 0
            WHEN type IN ('markdown', 'text') THEN content IS NOT NULL AND num_nonnulls(value, url, mime_type, size) = 0
            WHEN type = 'url' THEN url IS NOT NULL AND num_nonnulls(value, content, mime_type, size) = 0
            WHEN type = 'binary' THEN mime_type IS NOT NULL AND num_nonnulls(value, content, url) = 0
            ELSE false
        END
    )
);

CREATE INDEX task_attachments_in_order ON task_attachments (task_id, created_at, key) WHERE deleted_at IS NULL;
CREATE INDEX task_attachments_by_type ON task_attachments (task_id, type, created_at, key) WHERE deleted_at IS NULL;
CREATE INDEX task_attachments_by_revision ON task_attachments (revision);
CREATE INDEX task_attachments_deleted ON task_attachments (deleted_at) WHERE deleted_at IS NOT NULL;
