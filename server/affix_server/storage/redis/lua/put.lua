-- Publishes one attachment or tombstone, unless Redis holds something as new or
-- newer, and keeps the indexes right. A cache fill is the same step: what a reader
-- saw in Postgres must not be missing from a list read after it.
--
-- KEYS 1 entry, 2 task, 3 index of all keys, 4.. index of each type
-- ARGV 1 revision, 2 TTL in seconds, 3 key, 4 number of the type's index in KEYS, or 0 for
--      a tombstone, 5 createdAt in ms, 6.. fields of the entry
-- Returns 1 if published, 0 if something as new was there or the task is deleted.
local revision = tonumber(ARGV[1])
local held = redis.pcall('HGET', KEYS[1], 'revision')
if held and not held.err and tonumber(held) and tonumber(held) >= revision then
  return 0
end

-- The tombstone of a task outlives every request that was under way when it was deleted.
local task = redis.pcall('HMGET', KEYS[2], 'deleted', 'revision')
if not task.err and task[1] and (tonumber(task[2]) or 0) >= revision then
  return 0
end

redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(ARGV, 6))
redis.call('EXPIRE', KEYS[1], ARGV[2])

local of_type = tonumber(ARGV[4])
for i = 3, #KEYS do
  local complete = redis.pcall('ZSCORE', KEYS[i], '')
  if complete and complete.err then
    redis.call('DEL', KEYS[i])
  elseif of_type > 0 and (i == 3 or i == of_type) then
    if complete or redis.call('EXISTS', KEYS[i]) == 1 then
      redis.call('ZADD', KEYS[i], ARGV[5], ARGV[3])
    end
  elseif complete then
    redis.call('ZREM', KEYS[i], ARGV[3])
  elseif redis.call('EXISTS', KEYS[i]) == 1 then
    -- Being built: note that the key is gone, whatever the builder read before.
    redis.call('ZADD', KEYS[i], '+inf', ARGV[3])
  end
end
return 1
