-- Reads a task and the number of its attachments.
--
-- KEYS 1 task, 2 index of all keys, 3 what will be gone; ARGV 1 the time in ms
-- Returns {HGETALL, number of attachments, or -1 if the index is not complete}
local task = redis.pcall('HGETALL', KEYS[1])
if task.err then
  task = {}
end
for i = 2, 3 do
  local complete = redis.pcall('ZSCORE', KEYS[i], '')
  if not complete or complete.err then
    return { task, -1 }
  end
end
return { task, redis.call('ZCARD', KEYS[2]) - 1 - redis.call('ZCOUNT', KEYS[3], 0, ARGV[1]) }
