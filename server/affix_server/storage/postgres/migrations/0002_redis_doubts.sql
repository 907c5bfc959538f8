-- Servers that cannot reach Redis, or do not believe it yet. While there is one, none of them does:
-- what it writes is in Postgres only. A server that has not renewed its row for some seconds is gone.

CREATE TABLE redis_doubts (
    server     text PRIMARY KEY,
    since      bigint NOT NULL,
    renewed_at timestamptz NOT NULL
);
