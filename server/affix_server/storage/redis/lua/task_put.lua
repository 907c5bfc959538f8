-- Publishes a task or its tombstone, unless Redis holds something as new or newer.
--
-- KEYS 1 task, and with a tombstone all that goes with it: its indexes and entries
-- ARGV 1 revision, 2 TTL in seconds, 3.. fields of the task
-- Returns 1 if published, 0 if something as new was there.
local held = redis.pcall('HGET', KEYS[1], 'revision')
if held and not held.err and (tonumber(held) or 0) >= tonumber(ARGV[1]) then
  return 0
end
redis.call('DEL', unpack(KEYS))
redis.call('HSET', KEYS[1], unpack(ARGV, 3))
redis.call('EXPIRE', KEYS[1], ARGV[2])
return 1
