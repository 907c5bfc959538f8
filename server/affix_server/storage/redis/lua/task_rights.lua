-- Reads who may change a task.
--
-- KEYS 1 task
-- Returns {createdBy, writers}, nil for what is not there, as in a tombstone
local held = redis.pcall('HMGET', KEYS[1], 'createdBy', 'writers')
if held.err then
  return { false, false }
end
return held
