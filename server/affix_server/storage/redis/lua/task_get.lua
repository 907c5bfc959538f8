-- Reads a task and the number of its attachments.
--
-- KEYS 1 task, 2 index of all keys
-- Returns {HGETALL, number of attachments, or -1 if the index is not complete}
local task = redis.pcall('HGETALL', KEYS[1])
if task.err then
  task = {}
end
local complete = redis.pcall('ZSCORE', KEYS[2], '')
if not complete or complete.err then
  return { task, -1 }
end
return { task, redis.call('ZCARD', KEYS[2]) - 1 }
