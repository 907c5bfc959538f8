-- Reads who may change a task.
--
-- KEYS 1 task
-- Returns {createdBy, writers, deleted}, nil for what is not there
local held = redis.pcall('HMGET', KEYS[1], 'createdBy', 'writers', 'deleted')
if held.err then
  return { false, false, false }
end
return held
