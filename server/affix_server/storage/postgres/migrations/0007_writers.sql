-- The instances that may change a task beside the one that created it, an array of their names
-- (docs/decisions/0022-who-may-do-what.md).

ALTER TABLE tasks ADD COLUMN writers json NOT NULL DEFAULT '[]';
