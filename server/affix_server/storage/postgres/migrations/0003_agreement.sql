-- How far a server that does without Redis has come (docs/decisions/0014-believing-together.md), so that all of them
-- believe it again together. A statement that arrives late has a lower sequence than what it must not undo.

ALTER TABLE redis_doubts
    ADD COLUMN stage    smallint NOT NULL DEFAULT 0,
    ADD COLUMN sequence bigint NOT NULL DEFAULT 0;
